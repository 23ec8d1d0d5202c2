//! Lengths, chunks and trailers.

use super::table::Wanted::{Answered, Closed};
use super::table::{BODY, Row, row};

pub(crate) fn rows() -> Vec<Row> {
    [lengths(), codings(), chunks(), extensions_and_trailers()].concat()
}

/// A request with these lines in its head, and this body.
fn request(fields: &str, body: &str) -> String {
    format!("POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{body}")
}

/// Values of `Content-Length` that are refused.
const BAD_LENGTHS: [&str; 23] = [
    "",
    "+27",
    "-27",
    "-0",
    "0x1b",
    "1b",
    "27,27",
    "27, 27",
    "27 27",
    "2 7",
    "27;",
    "27.0",
    "2.7e1",
    "\"27\"",
    "27\u{b}",
    "NaN",
    "\u{ff12}\u{ff17}",
    "9223372036854775808",
    "18446744073709551616",
    "18446744073709551643",
    "99999999999999999999999999",
    "1_000",
    "027,0",
];

fn lengths() -> Vec<Row> {
    let good = BODY.len();
    let mut rows = Vec::new();
    for length in BAD_LENGTHS {
        let fields = format!("Content-Length: {length}");
        rows.push(row(&format!("{fields:?}"), Closed(400), request(&fields, BODY)));
    }
    let twice = |first: &str, second: &str| {
        request(&format!("Content-Length: {first}\r\ncontent-length: {second}"), BODY)
    };
    let (length, padded) = (good.to_string(), format!("000{good}"));
    rows.extend([
        row("Content-Length twice, equal", Closed(400), twice(&length, &length)),
        row("Content-Length twice, different", Closed(400), twice(&length, "0")),
        row("Content-Length twice, one bad", Closed(400), twice(&length, "x")),
        row("Content-Length of 0 and another", Closed(400), twice("0", &length)),
        row(
            "Content-Length over the limit",
            Closed(413),
            request("Content-Length: 40000000", BODY),
        ),
        row(
            "Content-Length of 2^63-1",
            Closed(413),
            request("Content-Length: 9223372036854775807", BODY),
        ),
        row(
            "Content-Length with zeros",
            Answered,
            request(&format!("Content-Length: {padded}"), BODY),
        ),
        row(
            "Content-Length with spaces around",
            Answered,
            request(&format!("Content-Length: \t{good} \t"), BODY),
        ),
    ]);
    rows
}

/// Values of `Transfer-Encoding` that are refused.
const BAD_CODINGS: [&str; 24] = [
    "gzip",
    "gzip, chunked",
    "chunked, gzip",
    ",chunked",
    "chunked,",
    "chunked, chunked",
    "chunked;q=1",
    "identity",
    "chunked, identity",
    "identity, chunked",
    "x",
    "xchunked",
    "chunkedx",
    "\"chunked\"",
    "",
    "chunk",
    "deflate",
    "chunked\u{b}",
    "\u{b}chunked",
    "chunked\u{0}",
    "cow",
    "chunked ; a",
    "'chunked'",
    "ch\u{fc}nked",
];

fn codings() -> Vec<Row> {
    let chunked = format!("{:x}\r\n{BODY}\r\n0\r\n\r\n", BODY.len());
    let mut rows = Vec::new();
    for coding in BAD_CODINGS {
        let fields = format!("Transfer-Encoding: {coding}");
        rows.push(row(&format!("{fields:?}"), Closed(400), request(&fields, &chunked)));
    }
    let length = BODY.len();
    rows.extend([
        row(
            "Content-Length, then Transfer-Encoding",
            Closed(400),
            request(&format!("Content-Length: {length}\r\nTransfer-Encoding: chunked"), &chunked),
        ),
        row(
            "Transfer-Encoding, then Content-Length",
            Closed(400),
            request(&format!("Transfer-Encoding: chunked\r\nContent-Length: {length}"), &chunked),
        ),
        row(
            "Transfer-Encoding and Content-Length of 0",
            Closed(400),
            request("Transfer-Encoding: chunked\r\nContent-Length: 0", &chunked),
        ),
        row(
            "Transfer-Encoding twice",
            Closed(400),
            request("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", &chunked),
        ),
        row(
            "Transfer-Encoding twice, one of identity",
            Closed(400),
            request("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", &chunked),
        ),
        row(
            "Transfer-Encoding twice, the second unknown",
            Closed(400),
            request("Transfer-Encoding: chunked\r\nTransfer-Encoding: cow", &chunked),
        ),
        row(
            "Transfer-Encoding in HTTP/1.0",
            Closed(400),
            request("Transfer-Encoding: chunked", &chunked).replace("HTTP/1.1", "HTTP/1.0"),
        ),
        row(
            "Transfer-Encoding of a GET, and Content-Length",
            Closed(400),
            request("Transfer-Encoding: chunked\r\nContent-Length: 5", &chunked)
                .replace("POST", "GET"),
        ),
        row(
            "Transfer-Encoding: CHUNKED",
            Answered,
            request("Transfer-Encoding: CHUNKED", &chunked),
        ),
    ]);
    rows
}

fn chunks() -> Vec<Row> {
    let length = BODY.len();
    let bad = [
        ("a size with 0x", format!("0x{length:x}\r\n{BODY}\r\n0\r\n\r\n")),
        ("a size with a plus", format!("+{length:x}\r\n{BODY}\r\n0\r\n\r\n")),
        ("a size with a minus", format!("-{length:x}\r\n{BODY}\r\n0\r\n\r\n")),
        ("a size behind a space", format!(" {length:x}\r\n{BODY}\r\n0\r\n\r\n")),
        ("a size before a space", format!("{length:x} \r\n{BODY}\r\n0\r\n\r\n")),
        ("a size before a tab", format!("{length:x}\t\r\n{BODY}\r\n0\r\n\r\n")),
        ("a size with an underscore", format!("1_0\r\n{BODY}\r\n0\r\n\r\n")),
        ("a size that is no number", format!("xyz\r\n{BODY}\r\n0\r\n\r\n")),
        ("no size", format!("\r\n{BODY}\r\n0\r\n\r\n")),
        ("no size, but an extension", format!(";a\r\n{BODY}\r\n0\r\n\r\n")),
        ("a size of 2^64", format!("10000000000000000\r\n{BODY}\r\n0\r\n\r\n")),
        (
            "a size of 2^64 and the right one",
            format!("100000000000000{length:02x}\r\n{BODY}\r\n0\r\n\r\n"),
        ),
        ("a size of 2^64 - 1", format!("ffffffffffffffff\r\n{BODY}\r\n0\r\n\r\n")),
        ("a size of 1,000 zeros", format!("{}{length:x}\r\n{BODY}\r\n0\r\n\r\n", "0".repeat(1000))),
        ("a size of UTF-8", format!("\u{ff11}\r\n{BODY}\r\n0\r\n\r\n")),
        ("a size with a NUL", format!("{length:x}\0\r\n{BODY}\r\n0\r\n\r\n")),
        ("a bare LF behind a size", format!("{length:x}\n{BODY}\r\n0\r\n\r\n")),
        ("a bare CR behind a size", format!("{length:x}\r{BODY}\r\n0\r\n\r\n")),
        ("CR CR LF behind a size", format!("{length:x}\r\r\n{BODY}\r\n0\r\n\r\n")),
        ("a bare LF behind data", format!("{length:x}\r\n{BODY}\n0\r\n\r\n")),
        ("a bare CR behind data", format!("{length:x}\r\n{BODY}\r0\r\n\r\n")),
        ("nothing behind data", format!("{length:x}\r\n{BODY}0\r\n\r\n")),
        ("a size that is too small", format!("{:x}\r\n{BODY}\r\n0\r\n\r\n", length - 1)),
        ("a size that is too large", format!("{:x}\r\n{BODY}\r\n0\r\n\r\n", length + 1)),
        ("a bare LF behind the last chunk", format!("{length:x}\r\n{BODY}\r\n0\n\r\n")),
        ("a bare LF at the end", format!("{length:x}\r\n{BODY}\r\n0\r\n\n")),
        ("no chunk at all", BODY.to_owned()),
    ];
    let chunked = |body: &str| request("Transfer-Encoding: chunked", body);
    let mut rows: Vec<Row> =
        bad.iter().map(|(name, body)| row(name, Closed(400), chunked(body))).collect();
    let byte_by_byte: String = BODY.chars().map(|c| format!("1\r\n{c}\r\n")).collect();
    rows.extend([
        row("a chunk a byte", Answered, chunked(&format!("{byte_by_byte}0\r\n\r\n"))),
        row(
            "a size with zeros",
            Answered,
            chunked(&format!("0000{length:X}\r\n{BODY}\r\n000\r\n\r\n")),
        ),
    ]);
    rows
}

fn extensions_and_trailers() -> Vec<Row> {
    let length = BODY.len();
    let extended = |extension: &str| {
        request(
            "Transfer-Encoding: chunked",
            &format!("{length:x}{extension}\r\n{BODY}\r\n0\r\n\r\n"),
        )
    };
    let trailed = |trailers: &str| {
        request(
            "Transfer-Encoding: chunked",
            &format!("{length:x}\r\n{BODY}\r\n0\r\n{trailers}\r\n"),
        )
    };
    let mut rows = vec![
        row("an extension of 64 KiB", Closed(400), extended(&format!(";{}", "a".repeat(64 << 10)))),
        row("an extension of 257 bytes", Closed(400), extended(&format!(";{}", "a".repeat(257)))),
        row("an extension with a bare LF", Closed(400), extended(";a\nb")),
        row("an extension with a bare CR", Closed(400), extended(";a\rb")),
        row("an extension with a NUL", Closed(400), extended(";a\0")),
        row("an extension behind a space", Closed(400), extended(" ;a")),
        row("1,000 trailers", Closed(431), trailed(&"x: a\r\n".repeat(1000))),
        row("17 trailers", Closed(431), trailed(&"x: a\r\n".repeat(17))),
        row("a trailer of 5 KiB", Closed(431), trailed(&format!("x: {}\r\n", "a".repeat(5 << 10)))),
        row("a trailer with a bare LF", Closed(400), trailed("x: a\n")),
        row("a folded trailer", Closed(400), trailed("x: a\r\n b\r\n")),
        row("a trailer without a colon", Closed(400), trailed("x\r\n")),
        row("a trailer with a space before its colon", Closed(400), trailed("x : a\r\n")),
        row("a trailer with a NUL", Closed(400), trailed("x: a\0\r\n")),
        row("a request in the trailers", Closed(400), trailed("GET / HTTP/1.1\r\nhost: a\r\n")),
        row("an extension", Answered, extended(";a=\"b; c\"")),
        row("16 trailers", Answered, trailed(&"x: a\r\n".repeat(16))),
    ];
    for name in [
        "Content-Length: 5",
        "Transfer-Encoding: chunked",
        "Host: b",
        "Authorization: b",
        "Content-Type: b",
        "x_forwarded_for: b",
    ] {
        rows.push(row(
            &format!("the trailer {name}"),
            Closed(400),
            trailed(&format!("{name}\r\n")),
        ));
    }
    rows
}
