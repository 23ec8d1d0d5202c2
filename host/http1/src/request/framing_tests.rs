//! The gate as a function of bytes: which requests it passes and which it refuses. Neither depends
//! on how the bytes are cut.

use proptest::prelude::*;

use crate::Refusal;
use crate::oracle::request::{bodies, read};
use crate::request::{Apart, RequestFraming};

use super::super::refusals::*;

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
fn targets_mean_one_path() {
    let target = |target: &str| refusal(format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n"));
    for good in [
        "/",
        "/v1/models/org/m-1.5",
        "/v1/models/org%2Fm%3Alatest",
        "/a..b/...",
        "/a?b=%00&c[]=../",
        "http://a",
        "HTTP://a:8000/v1/models",
        "https://[::1]:80?b",
        "http://other/a..b",
    ] {
        assert_eq!(target(good), None, "{good}");
    }
    for bad in [
        "/a%2fb",
        "/v1/models/..%2fm",
        "/v1/models/a%2f..",
        "/a/./b",
        "/..",
        "/%2e%2e",
        "/a%5cb",
        "/a\\b",
        "*",
        "a:80",
        "v1/models",
        "http:/a",
        "http:///a",
        "http://user@a/",
        "http://a:b/",
        "http://a/../b",
        "http://a/b%2fc",
        "http://a\\b/",
        "ftp://a/",
    ] {
        assert!(target(bad).is_some(), "{bad}");
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
