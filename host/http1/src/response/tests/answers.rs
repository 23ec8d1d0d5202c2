//! Answers one by one: what is read, and what is refused.

use super::{End, Read, read};

fn whole(text: &str) -> Read {
    let read = read([text.as_bytes()]);
    assert_eq!(read.end, End::Whole, "{text:?}");
    read
}

fn refused(text: &[u8]) -> bool {
    matches!(read([text]).end, End::Refused(_))
}

#[test]
fn an_answer_is_read_however_it_is_framed() {
    // Answer, body, true if the connection can be used again, bytes after the end.
    let table = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "hi", true, 0),
        ("HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nhi", "hi", true, 0),
        ("HTTP/1.1 200 \r\ncontent-length:002 \r\n\r\nhi more", "hi", true, 5),
        ("HTTP/1.1 200 OK\r\ncontent-length: 000000000000000002\r\n\r\nhi", "hi", true, 0),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "", true, 0),
        ("HTTP/1.1 200 OK\r\nconnection: x, Close\r\ncontent-length: 2\r\n\r\nhi", "hi", false, 0),
        ("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi", "hi", false, 0),
        ("HTTP/1.0 200 OK\r\nconnection: Keep-Alive\r\ncontent-length: 2\r\n\r\nhi", "hi", true, 0),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103\r\nlink: x\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
            "",
            true,
            0,
        ),
        ("HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\nhi", "", false, 2),
        ("HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n", "", false, 0),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            "hi",
            true,
            0,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nh\r\n01 ;a=\"b\"\r\ni\r\n00;x\r\nt: v\r\nu:\r\n\r\nHTTP",
            "hi",
            true,
            4,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nA\r\n0123456789\r\na\r\nabcdefghij\r\n0\r\n\r\n",
            "0123456789abcdefghij",
            true,
            0,
        ),
    ];
    for (text, body, keep_alive, behind) in table {
        let read = whole(text);
        assert_eq!(String::from_utf8_lossy(&read.body), body, "{text:?}");
        assert_eq!((read.keep_alive, read.behind), (keep_alive, behind), "{text:?}");
    }
}

#[test]
fn an_answer_without_framing_goes_on_until_the_connection_ends() {
    let read = read([b"HTTP/1.1 200 OK\r\n\r\nhi".as_slice(), b" there"]);
    assert_eq!((read.body.as_slice(), read.end), (b"hi there".as_slice(), End::Open));
    assert!(!read.keep_alive);
}

#[test]
fn an_answer_that_is_cut_is_not_whole() {
    for text in [
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nt: v\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n",
    ] {
        assert_eq!(read([text.as_bytes()]).end, End::Open, "{text:?}");
    }
}

#[test]
fn heads_that_are_not_beyond_doubt_are_refused() {
    let lines = [
        "content-length: 2\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 2",
        "content-length: 2\r\ncontent-length: 2",
        "content-length: 2\r\ncontent-length: 3",
        "content-length: 2, 2",
        "content-length:",
        "content-length: +2",
        "content-length: -2",
        "content-length: 0x2",
        "content-length: 2 2",
        "content-length: 9223372036854775808",
        "content-length: 99999999999999999999",
        "content-length: 2\r\n ,2",
        "transfer-encoding: gzip",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: chunked, chunked",
        "transfer-encoding: ,chunked",
        "transfer-encoding: chunked;q=1",
        "transfer-encoding:",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "transfer-encoding: \u{b}chunked",
        "transfer-encoding : chunked",
        "x: folded\r\n value",
        " x: y",
        "x y: z",
        ": z",
        "no colon",
        "x: a\0b",
        "x: a\rb",
        "x: y\ncontent-length: 2",
        "content-length: 2\n",
    ];
    for line in lines {
        assert!(refused(format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\nhi").as_bytes()), "{line:?}");
    }
    for start in [
        "HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\n",
        "HTTP/1.1 99 X\r\n\r\n",
        "HTTP/1.1 20 X\r\n\r\n",
        "HTTP/1.1 2000 X\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/1.2 200 OK\r\n\r\n",
        "HTTP/2 200",
        "http/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\n\n",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "SSH-2.0-x",
        "{",
        "\u{15}\u{3}\u{1}",
    ] {
        assert!(refused(start.as_bytes()), "{start:?}");
    }
}

#[test]
fn heads_are_bounded() {
    let interim = |count| "HTTP/1.1 100 C\r\n\r\n".repeat(count) + "HTTP/1.1 204 N\r\n\r\n";
    assert_eq!(whole(&interim(16)).status, Some(204));
    assert!(refused(interim(17).as_bytes()));
    let headers = |count| format!("HTTP/1.1 204 N\r\n{}\r\n", "x: y\r\n".repeat(count));
    assert_eq!(whole(&headers(100)).headers.len(), 100);
    assert!(refused(headers(101).as_bytes()));
    let long = |length: usize| format!("HTTP/1.1 204 N\r\nx: {}\r\n\r\n", "y".repeat(length - 23));
    assert_eq!(whole(&long(64 * 1024)).status, Some(204));
    assert!(refused(long(64 * 1024 + 2).as_bytes()));
    assert!(refused(&[b"HTTP/1.1 200 ", [b'x'; 65 * 1024].as_slice()].concat()), "without an end");
}

#[test]
fn chunks_that_are_not_framed_as_chunks_are_refused() {
    let body = |text: &str| {
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n{text}")
    };
    for text in [
        "\r\n",
        "g\r\n",
        "-1\r\n",
        "+1\r\n",
        "0x1\r\n",
        " 1\r\n",
        ";x\r\n",
        "1_0\r\n",
        "11112222333344445\r\n",
        "00000000000000001\r\n",
        "1\nx",
        "1\rx",
        "1;a\nb",
        "1;a\0b",
        "1\r\nxy",
        "1\r\nx\n",
        "1\r\nx\ry",
        "0\n\n",
        "0\r\n\n",
        "0\r\n\rx",
        "0\r\nHTTP/1.1 200 OK\r\n",
        "0\r\n folded: x\r\n\r\n",
        "0\r\n: x\r\n\r\n",
        "0\r\nt: a\nb: c\r\n\r\n",
    ] {
        let read = read([body(text).as_bytes()]);
        assert!(matches!(read.end, End::Refused(_)), "{text:?}: {read:?}");
        assert!(read.body.starts_with(b"hi"), "what came before is passed on: {text:?}");
    }
    let extension = |length| body(&format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(length)));
    assert_eq!(whole(&extension(4 * 1024)).body, b"hix");
    assert!(refused(extension(64 * 1024).as_bytes()));
    let trailers = |count| body(&format!("0\r\n{}\r\n", "trailer: value\r\n".repeat(count)));
    assert_eq!(whole(&trailers(1000)).body, b"hi");
    assert!(refused(trailers(5000).as_bytes()));
}

#[test]
fn a_connection_is_used_again_only_beyond_doubt() {
    let read = |head: &str| whole(&format!("{head}\r\n\r\n")).keep_alive;
    for (head, keep_alive) in [
        ("HTTP/1.1 204 N", true),
        ("HTTP/1.1 204 N\r\ncontent-length: 0", true),
        ("HTTP/1.1 204 N\r\ncontent-length: 1", false),
        ("HTTP/1.1 204 N\r\nconnection: close", false),
        ("HTTP/1.1 304 N\r\ntransfer-encoding: chunked", false),
        ("HTTP/1.1 304 N\r\nconnection: keep-alive, close", false),
        ("HTTP/1.0 204 N", false),
        ("HTTP/1.0 204 N\r\nconnection: keep-alive", true),
        ("HTTP/1.0 204 N\r\nconnection: keep-alive\r\nconnection: x", true),
        ("HTTP/1.1 200 N\r\nconnection: close\r\nconnection: x\r\ncontent-length: 0", false),
        ("HTTP/1.1 200 N\r\ncontent-length: 0", true),
    ] {
        assert_eq!(read(head), keep_alive, "{head:?}");
    }
}

#[test]
fn lengths_are_read_to_the_last_digit() {
    for (digits, body) in [("10", "0123456789"), ("011", "0123456789a"), ("9", "012345678")] {
        let read = whole(&format!("HTTP/1.1 200 N\r\ncontent-length: {digits}\r\n\r\n{body}"));
        assert_eq!((&*read.body, read.behind), (body.as_bytes(), 0), "{digits}");
    }
    for (digits, good) in [(18, true), (19, false)] {
        let head = format!("HTTP/1.1 200 N\r\ncontent-length: {}0\r\n\r\n", "0".repeat(digits - 1));
        assert_eq!(refused(head.as_bytes()), !good, "{digits}");
    }
}

#[test]
fn chunks_may_reach_their_limits() {
    let body =
        |text: String| format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{text}");
    let sized = |digits: usize| body(format!("{}1\r\nx\r\n0\r\n\r\n", "0".repeat(digits - 1)));
    let extended = |length| body(format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(length)));
    // Bytes of names and values, over all trailers.
    let trailers = |length: usize| {
        let name = "n".repeat(length / 4);
        let value = "v".repeat(length / 4);
        let more = "v".repeat(length % 4);
        body(format!("1\r\nx\r\n0\r\n{name}:{value}\r\n{name}:{value}{more}\r\n\r\n"))
    };
    for (largest, more) in [
        (sized(16), sized(17)),
        (extended(4 * 1024), extended(4 * 1024 + 1)),
        (trailers(16 * 1024), trailers(16 * 1024 + 1)),
    ] {
        assert_eq!(whole(&largest).body, b"x");
        assert!(refused(more.as_bytes()), "{more:.120}");
    }
    for bad in ["1;\x7f\r\n", "1;\x1f\r\n", "0\r\nn: \x7f\r\n", "0\r\nn(: v\r\n", "0\r\nn\r\n"] {
        assert!(refused(body(bad.to_owned()).as_bytes()), "{bad:?}");
    }
    assert_eq!(whole(&body("1\t;a=\t~\u{e9}\r\nx\r\n0\r\nn!~9:\tv\r\n\r\n".into())).body, b"x");
}
