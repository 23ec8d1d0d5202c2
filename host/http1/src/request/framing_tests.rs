//! The gate as a function of bytes: which requests it passes and which it refuses. Neither depends
//! on how the bytes are cut.

use proptest::prelude::*;

use crate::Refusal;
use crate::oracle::request::{bodies, read};
use crate::request::Apart;

use super::super::refusals::*;
use super::{Disposition, RequestFraming};

fn refusal(bytes: impl AsRef<[u8]>) -> Option<Refusal> {
    read([bytes.as_ref()]).refusal
}

fn head(fields: &str) -> String {
    format!("POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\n{fields}\r\n\r\n")
}

#[test]
fn lines_that_would_be_read_in_two_ways_are_refused() {
    let cases = [
        ("GET / HTTP/1.1\nhost: a\n\n".to_owned(), BARE_LF),
        ("\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), METHOD),
        ("\x16\x03\x01\x02\x00\x01".to_owned(), TLS),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), HTTP2),
        (head("x: a\r\n b"), FOLD),
        (head("x: a\rb: c"), FIELD_VALUE),
        (head("x : a"), FIELD_NAME),
        (head("content_length: 5"), FIELD_TWIN),
        (head("x-forwarded_for: 5"), FIELD_TWIN),
        (head("host: a"), HOST_TWICE),
        (head("content-length: 5\r\ntransfer-encoding: chunked"), BOTH),
        (head("content-length: 5\r\ncontent-length: 5"), LENGTH_TWICE),
        (head("content-length: 9223372036854775808"), LENGTH),
        (head("transfer-encoding: gzip, chunked"), CODING),
        (head("connection: close, content-length"), CONNECTION),
        (head(&format!("x: {}", "a".repeat(70_000))), HEAD_LARGE),
        (head(&"x: a\r\n".repeat(101)), FIELDS),
        (format!("GET /{}", "a".repeat(9_000)), REQUEST_LINE_LONG),
    ];
    for (bytes, expected) in cases {
        assert_eq!(refusal(&bytes), Some(expected), "{:.80}", bytes);
    }
}

#[test]
fn unusual_lines_that_mean_one_thing_pass() {
    let hosts = ["a:80", "a:", "[::1]", "[::1]:8080"].map(|host| format!("host: {host}\r\n"));
    // An underscore makes a twin only in place of a hyphen.
    let fields = ["content-leng_h: 5\r\n", "a_b: c\r\n", "x:\r\n"]
        .map(|field| format!("host: a\r\n{field}"));
    for version in ["HTTP/1.0", "HTTP/1.1"] {
        for fields in hosts.iter().chain(&fields) {
            let request = format!("GET / {version}\r\n{fields}\r\n");
            assert_eq!(refusal(&request), None, "{request}");
        }
    }
}

#[test]
fn hosts_that_are_none_are_refused() {
    for host in ["a b", "a:b", "a:65536", "[::1", "[]", "[g]", "[::1]x", ":80"] {
        let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n");
        assert!(refusal(&request).is_some(), "{request}");
    }
}

#[test]
fn chunks_that_would_be_read_in_two_ways_are_refused() {
    let chunked = head("transfer-encoding: chunked");
    let cases = [
        ("5\nhello\r\n0\r\n\r\n".to_owned(), CHUNK_SIZE),
        ("5 \r\nhello\r\n0\r\n\r\n".to_owned(), CHUNK_SIZE),
        ("0x5\r\nhello\r\n0\r\n\r\n".to_owned(), CHUNK_SIZE),
        ("\r\n".to_owned(), CHUNK_SIZE),
        ("ffffffffffffffff\r\n".to_owned(), CHUNK_SIZE),
        ("5\r\nhello!\r\n".to_owned(), CHUNK_END),
        ("5\r\nhello\n".to_owned(), CHUNK_END),
        (format!("5;{}\r\n", "a".repeat(257)), CHUNK_EXTENSION),
        (format!("{}0\r\n\r\n", "1;aaaaaaaaaaaaaaa\r\nx\r\n".repeat(300)), CHUNK_EXTENSION),
        ("5;a\nb\r\n".to_owned(), CHUNK_EXTENSION),
        ("0\r\ncontent-length: 5\r\n\r\n".to_owned(), TRAILER),
        ("0\r\nx: a\n\r\n".to_owned(), TRAILER),
        (format!("0\r\n{}\r\n", "x: a\r\n".repeat(17)), TRAILERS),
        (format!("0\r\nx: {}\r\n\r\n", "a".repeat(5_000)), TRAILERS),
    ];
    for (body, expected) in cases {
        assert_eq!(refusal(format!("{chunked}{body}")), Some(expected), "{:.80}", body);
    }
}

#[test]
fn offers_of_other_protocols_are_left_out() {
    let body = "content-length: 3\r\n\r\nabc";
    for (before, after) in [
        ("upgrade: h2c\r\n", ""),
        ("host: b\r\nupgrade: h2c, TLS/1.0\r\n", "host: b\r\n"),
        ("Upgrade:\r\nx: 1\r\nUPGRADE: foo/2\r\ny: 2\r\n", "x: 1\r\ny: 2\r\n"),
    ] {
        let host = if before.contains("host") { "" } else { "host: a\r\n" };
        for start in ["", "\r\n"] {
            let request = |fields: &str| format!("POST /x HTTP/1.1\r\n{host}{fields}{body}");
            let mut bytes = format!("{start}{}", request(before)).into_bytes();
            let outcome = read([&bytes[..]]);
            assert_eq!(outcome.refusal, None, "{before}");
            assert_eq!(outcome.passed, [request(after).into_bytes()]);
            // The length is found where it stands then.
            let mut verdict = RequestFraming::start().advance(&bytes).expect("good");
            verdict.remove_ignored(&mut bytes);
            let apart = verdict.apart.expect("a body");
            let head = &mut bytes[verdict.skip..];
            let length = Apart {
                bytes: apart.bytes,
                length_at: apart.length_at.start - verdict.skip..apart.length_at.end - verdict.skip,
            };
            length.hide(head);
            assert!(head.starts_with(
                format!("POST /x HTTP/1.1\r\n{host}{after}content-length: 0").as_bytes()
            ));
        }
    }
    let websocket =
        |offer: &str| refusal(format!("GET / HTTP/1.1\r\nhost: a\r\nupgrade: {offer}\r\n\r\n"));
    for offer in ["websocket", "WebSocket", "h2c, websocket/13"] {
        assert_eq!(websocket(offer), Some(WEBSOCKET), "{offer}");
    }
}

/// Requests of every kind that is accepted, with their bodies.
fn request() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let method = prop::sample::select(vec!["GET", "POST", "DELETE", "PATCH"]);
    let field = (r"[a-z][a-z0-9-]{0,8}", r"[!-~]([ -~]{0,20}[!-~])?");
    let fields = prop::collection::vec(field, 0..6);
    let body = prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..5);
    let kind = (any::<bool>(), any::<bool>(), any::<bool>());
    (method, r"/[a-z0-9/]{0,20}(\?[a-z=&]{0,9})?", fields, body, kind).prop_map(
        |(method, path, fields, pieces, (empty_line, chunked, extended))| {
            let body = pieces.concat();
            let mut bytes = if empty_line { b"\r\n".to_vec() } else { Vec::new() };
            bytes.extend(format!("{method} {path} HTTP/1.1\r\nHost: a.b:80\r\n").bytes());
            for (name, value) in fields {
                bytes.extend(format!("x-{name}:{value}\r\n").bytes());
            }
            if !chunked {
                bytes.extend(format!("content-length: {}\r\n\r\n", body.len()).bytes());
                bytes.extend(&body);
                return (bytes, body);
            }
            bytes.extend(b"Transfer-Encoding: Chunked\r\n\r\n");
            let extension = if extended { ";a=\"b\"" } else { "" };
            for piece in pieces {
                bytes.extend(format!("{:X}{extension}\r\n", piece.len()).bytes());
                bytes.extend(piece);
                bytes.extend(b"\r\n");
            }
            bytes.extend(if extended { &b"000\r\nx-a: b\r\n\r\n"[..] } else { b"0\r\n\r\n" });
            (bytes, body)
        },
    )
}

/// The text, split at these positions.
fn cut<'a>(bytes: &'a [u8], at: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = at.iter().map(|at| at.index(bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|ends| &bytes[ends[0]..ends[1]]).collect()
}

proptest! {
    #[test]
    fn good_requests_pass_unchanged_and_hyper_reads_them_alike(
        requests in prop::collection::vec(request(), 1..4),
        at in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let bytes: Vec<u8> = requests.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        let outcome = read(cut(&bytes, &at));
        prop_assert_eq!(outcome.refusal, None);
        let sent = requests.iter().map(|(bytes, _)| {
            bytes.strip_prefix(b"\r\n").unwrap_or(bytes).to_vec()
        });
        prop_assert_eq!(&outcome.passed, &sent.collect::<Vec<_>>());
        let wanted: Vec<_> = requests.iter().map(|(_, body)| body.clone()).collect();
        prop_assert_eq!(bodies(&outcome.passed.concat()), wanted);
    }

    #[test]
    fn the_verdict_does_not_depend_on_how_bytes_are_cut(
        (mut bytes, _) in request(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), r"[\r\n\t :;0-9a\x00]{0,2}"), 0..3),
        at in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        for (at, with) in damage {
            let at = at.index(bytes.len());
            bytes.splice(at..=at, with.bytes());
        }
        prop_assert_eq!(read(cut(&bytes, &at)), read([bytes.as_slice()]));
    }
}

/// A request line of this length, its line end included.
fn line_of(length: usize) -> String {
    let around = "GET / HTTP/1.1\r\n".len();
    format!("GET /{} HTTP/1.1\r\n", "a".repeat(length - around))
}

#[test]
fn a_head_may_reach_its_limits() {
    let line = |length| line_of(length) + "host: a\r\n\r\n";
    let of_head = |length: usize| {
        let around = head("x: ").len();
        head(&format!("x: {}", "a".repeat(length - around)))
    };
    // The host is a field, too.
    let fields = |count: usize| head(&vec!["x: a"; count - 1].join("\r\n"));
    for (largest, more, why) in [
        (line(8 << 10), line((8 << 10) + 1), REQUEST_LINE_LONG),
        ("G".repeat(8 << 10), "G".repeat((8 << 10) + 1), REQUEST_LINE_LONG),
        (of_head(64 << 10), of_head((64 << 10) + 1), HEAD_LARGE),
        (fields(100), fields(101), FIELDS),
        (
            head("content-length: 9223372036854775807"),
            head("content-length: 9223372036854775808"),
            LENGTH,
        ),
    ] {
        // An empty line before the head does not count.
        for before in ["", "\r\n"] {
            assert_eq!(refusal(format!("{before}{largest}")), None, "{:.40}", largest);
            assert_eq!(refusal(format!("{before}{more}")), Some(why), "{:.40}", more);
        }
    }
}

#[test]
fn every_kind_of_bad_head_has_its_refusal() {
    let line = |line: &str| format!("{line}\r\nhost: a\r\n\r\n");
    for (bytes, expected) in [
        (line("GET / HTTP/1.2"), VERSION),
        (line("GET / HTTP/2.0"), VERSION),
        (line("GET / HTTP/x.1"), REQUEST_LINE),
        (line("GET / HTTP/1.x"), REQUEST_LINE),
        (line("GET / http/1.1"), REQUEST_LINE),
        (line("GET /"), REQUEST_LINE),
        (line("GET"), REQUEST_LINE),
        (line("GET / HTTP/1.1 "), REQUEST_LINE),
        (line("GET  / HTTP/1.1"), REQUEST_LINE),
        (line("G@T / HTTP/1.1"), METHOD),
        (line("@ET / HTTP/1.1"), METHOD),
        (line(" GET / HTTP/1.1"), METHOD),
        ("\rG".to_owned(), METHOD),
        (line("CONNECT / HTTP/1.1"), METHOD_FORBIDDEN),
        (line("TRACE / HTTP/1.1"), METHOD_FORBIDDEN),
        ("\r\n\x16".to_owned(), TLS),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), HOST_MISSING),
        ("GET / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n".to_owned(), CODING_OLD),
        (head("transfer-encoding: chunked\r\ntransfer-encoding: chunked"), CODING_TWICE),
        (head("transfer-encoding: chunked\r\ncontent-length: 5"), BOTH),
        (head("content-length: 0\r\ntransfer-encoding: chunked"), BOTH),
        (head("no colon"), FIELD),
        (head(": a"), FIELD_NAME),
        (head("x\x7f: a"), FIELD_NAME),
        (head(&format!("(: {}", "a".repeat(20))), FIELD_NAME),
        (head(&format!("{}: a", "(".repeat(15))), FIELD_NAME),
        (head(&format!("{}(: a", "a".repeat(14))), FIELD_NAME),
        (head("x: \x7f"), FIELD_VALUE),
        (head("upgrade: websocket"), WEBSOCKET),
        (head("expect: 101-continue"), EXPECT),
        (head("content-length:"), LENGTH),
        (head("content-length: +5"), LENGTH),
        (head("content-length: 5/"), LENGTH),
        (head("content-length: 5:"), LENGTH),
        (head("content-length: 99999999999999999999"), LENGTH),
        (head("connection: close, a b"), CONNECTION),
        (head("connection: X-Forwarded-Any"), CONNECTION),
        (head("connection: content_length"), CONNECTION),
        (head("host_: a\r\nx_real_ip: a"), FIELD_TWIN),
    ] {
        assert_eq!(refusal(&bytes), Some(expected), "{bytes:?}");
    }
    for good in [
        "GET / HTTP/1.0\r\n\r\n".to_owned(),
        head("connection: keep-alive, , x-mine"),
        head("connection:"),
        head("expect: 100-Continue"),
        head("x: \t\u{e9}~"),
        head("hosts: a\r\nhos: a\r\nx_forwarded: a"),
        head("X-Forwarded-For: a\r\nauthorization: a\r\nVia: a"),
        "\r".to_owned(),
        "\r\n".to_owned(),
    ] {
        assert_eq!(refusal(&good), None, "{good:?}");
    }
}

#[test]
fn chunks_may_reach_their_limits() {
    let body = |body: String| format!("{}{body}", head("transfer-encoding: chunked"));
    let last = "0\r\n\r\n";
    let sized = |digits: usize| body(format!("{}1\r\nx\r\n{last}", "0".repeat(digits - 1)));
    let extended = |length| body(format!("1;{}\r\nx\r\n{last}", "a".repeat(length)));
    // Sixteen extensions, the last of which has one byte more or less.
    let extensions = |length: usize| {
        let chunk = |length| format!("1;{}\r\nx\r\n", "a".repeat(length));
        body(chunk(256).repeat(length / 256) + &chunk(length % 256) + last)
    };
    let trailers = |count| body(format!("0\r\n{}\r\n", "x: a\r\n".repeat(count)));
    // The lines of trailers, the empty one included.
    let trailer = |length: usize| {
        body(format!("0\r\nx: {}\r\n\r\n", "a".repeat(length - "x: \r\n\r\n".len())))
    };
    for (largest, more, why) in [
        (sized(15), sized(16), CHUNK_SIZE),
        (extended(256), extended(257), CHUNK_EXTENSION),
        (extensions(4 << 10), extensions((4 << 10) + 1), CHUNK_EXTENSION),
        (trailers(16), trailers(17), TRAILERS),
        (trailer(4 << 10), trailer((4 << 10) + 1), TRAILERS),
    ] {
        assert_eq!(refusal(&largest), None, "{:.120}", largest);
        assert_eq!(refusal(&more), Some(why), "{:.120}", more);
    }
    for (bytes, expected) in [
        ("5;a\x7f\r\n", CHUNK_EXTENSION),
        ("5;\x1f\r\n", CHUNK_EXTENSION),
        ("5\rx", CHUNK_SIZE),
        ("g\r\n", CHUNK_SIZE),
        ("1\r\nx\ry", CHUNK_END),
        ("0\r\nno colon\r\n\r\n", TRAILER),
        ("0\r\nHost: a\r\n\r\n", TRAILER),
    ] {
        assert_eq!(refusal(body(bytes.to_owned())), Some(expected), "{bytes:?}");
    }
    assert_eq!(refusal(body("Aa\r\n".to_owned())), None);
    assert_eq!(refusal(body(format!("1;\t ~\r\nx\r\n{last}"))), None);
}

#[test]
fn a_body_of_known_length_is_left_to_the_caller() {
    let mut framing = RequestFraming::start();
    let mut bytes = head("content-length: 105\r\nx-1: 1").into_bytes();
    let Disposition { skip, pass, apart, .. } = framing.advance(&bytes).expect("good");
    assert_eq!((skip, pass, framing.in_head()), (0, bytes.len(), false));
    let apart = apart.expect("a body");
    assert_eq!(apart.bytes, 105);
    apart.hide(&mut bytes);
    assert_eq!(bytes, head("content-length: 000\r\nx-1: 1").into_bytes());
    assert_eq!(framing.advance(b"body").expect("good"), Disposition::default());

    for fields in ["content-length: 0", "x: a", "expect: 100-continue"] {
        let mut framing = RequestFraming::start();
        let read = framing.advance(head(fields).as_bytes()).expect("good");
        assert_eq!(read.apart, None, "{fields}");
        assert!(matches!(framing, RequestFraming::End), "{fields}");
    }
}

#[test]
fn a_body_that_is_waited_for_passes_to_its_end() {
    let mut framing = RequestFraming::start();
    let bytes = head("content-length: 5\r\nexpect: 100-continue").into_bytes();
    let passes = |pass| Disposition { pass, ..Disposition::default() };
    assert_eq!(framing.advance(&bytes), Ok(passes(bytes.len())));
    assert!(!framing.in_head());
    for (bytes, pass) in [(&b"he"[..], 2), (b"llo, and more", 3), (b"more", 0)] {
        assert_eq!(framing.advance(bytes), Ok(passes(pass)));
    }
    assert!(matches!(framing, RequestFraming::End));
}
