//! Request lines and headers.

use super::table::Wanted::{Answered, Closed, Refused};
use super::table::{BODY, Row, row};

pub(crate) fn rows() -> Vec<Row> {
    [protocols(), lines(), targets(), fields(), hosts(), connections(), sizes()].concat()
}

/// A good request with this line in its head.
fn with(field: impl AsRef<[u8]>) -> Vec<u8> {
    let start = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n",
        BODY.len()
    );
    [start.as_bytes(), field.as_ref(), b"\r\n\r\n", BODY.as_bytes()].concat()
}

fn protocols() -> Vec<Row> {
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    vec![
        row("a TLS hello", Closed(400), b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
        row("the preface of HTTP/2", Closed(400), preface),
        row("SSH", Closed(400), "SSH-2.0-OpenSSH_9.6\r\n"),
        row("SMTP", Closed(400), "EHLO a.example\r\n"),
        row("Redis", Closed(400), "*1\r\n$4\r\nPING\r\n"),
        row(
            "PROXY protocol 1",
            Closed(400),
            "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\nGET / HTTP/1.1\r\n\r\n",
        ),
        row("PROXY protocol 2", Closed(400), b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c"),
        row("an answer", Closed(400), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        row("RTSP", Closed(400), "OPTIONS / RTSP/1.0\r\nHost: a\r\n\r\n"),
    ]
}

fn lines() -> Vec<Row> {
    let line = |name: &str, status, line: &str| {
        row(name, Closed(status), format!("{line}\r\nHost: a\r\n\r\n"))
    };
    let mut rows = vec![
        line("HTTP/0.9", 400, "GET /"),
        line("HTTP/1.2", 400, "GET / HTTP/1.2"),
        line("HTTP/2.0", 400, "GET / HTTP/2.0"),
        line("HTTP/3.0", 400, "GET / HTTP/3.0"),
        line("HTTP/0.9 by name", 400, "GET / HTTP/0.9"),
        line("HTTP/1.10", 400, "GET / HTTP/1.10"),
        line("HTTP/01.1", 400, "GET / HTTP/01.1"),
        line("HTTP/1", 400, "GET / HTTP/1"),
        line("lower-case http/1.1", 400, "GET / http/1.1"),
        line("HTTP/1.1 and a space", 400, "GET / HTTP/1.1 "),
        line("HTTP/1.1 and more", 400, "GET / HTTP/1.1 x"),
        line("two spaces behind the method", 400, "GET  / HTTP/1.1"),
        line("two spaces behind the target", 400, "GET /  HTTP/1.1"),
        line("a tab behind the method", 400, "GET\t/ HTTP/1.1"),
        line("a tab behind the target", 400, "GET /\tHTTP/1.1"),
        line("a space before the method", 400, " GET / HTTP/1.1"),
        line("a space in the target", 400, "GET /a b HTTP/1.1"),
        line("no method", 400, "/ HTTP/1.1"),
        line("a method with a colon", 400, "GET: / HTTP/1.1"),
        line("a method with a bracket", 400, "G[T / HTTP/1.1"),
        line("a method of UTF-8", 400, "GÉT / HTTP/1.1"),
        line("a NUL in the method", 400, "GE\0T / HTTP/1.1"),
        line("CONNECT", 405, "CONNECT /v1/models HTTP/1.1"),
        line("CONNECT of an authority", 405, "CONNECT a.example:443 HTTP/1.1"),
        line("TRACE", 405, "TRACE /v1/models HTTP/1.1"),
        row("a bare LF behind the request line", Closed(400), "GET / HTTP/1.1\nHost: a\r\n\r\n"),
        row("bare LFs everywhere", Closed(400), "GET / HTTP/1.1\nHost: a\n\n"),
        row("a bare CR behind the request line", Closed(400), "GET / HTTP/1.1\rHost: a\r\n\r\n"),
        row("CR CR LF", Closed(400), "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n"),
        row("two empty lines first", Closed(400), "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        row("a bare LF first", Closed(400), "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        row("a byte order mark first", Closed(400), "\u{feff}GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        row("a line of nothing but NUL", Closed(400), b"\0\0\0\0\r\n"),
    ];
    for method in
        ["PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "get", "PURGE", "TRACK", "M-SEARCH"]
    {
        let line = format!("{method} /v1/chat/completions HTTP/1.1\r\nHost: a\r\n\r\n");
        rows.push(row(&format!("the method {method}"), Refused(405), line));
    }
    rows.push(row("one empty line first", Answered, [b"\r\n", &with("x: a")[..]].concat()));
    rows
}

/// Targets that are refused.
const BAD_TARGETS: [&str; 43] = [
    "HTTP://user@a/",
    "http://a/../v1/models",
    "http://a/v1%2fmodels",
    "ftp://a/v1/models",
    "http:/v1/models",
    "a:80",
    "*",
    "v1/models",
    "\\v1\\models",
    "/v1\\models",
    "/v1/../v1/models",
    "/..",
    "/../etc/passwd",
    "/v1/.",
    "/./v1/models",
    "/v1/models/..",
    "/v1/%2e%2e/models",
    "/%2E/v1/models",
    "/v1%2fmodels",
    "/v1%2Fmodels",
    "/v1%5cmodels",
    "/v1/models/%5C..",
    "/v1/models%00",
    "/v1/models/%0d%0ax:",
    "/v1/models/%7f",
    "/v1/models/..%2f..%2frouting",
    "/v1/models/a%2f..%2fb",
    "/v1/models/%",
    "/v1/models/%2",
    "/v1/models/%zz",
    "/v1/models?a=%g0",
    "/v1/models#a",
    "/v1/models?a#b",
    "/v1/mod\u{e9}ls",
    "/v1/models?\u{e9}",
    "/v1/<models>",
    "/v1/\"models\"",
    "/v1/models?\"",
    "/v1/mod\u{1}els",
    "/v1/models\u{7f}",
    "/v1/models?a\0b",
    "/v1/models/{a}",
    "/v1/mo`dels",
];

fn targets() -> Vec<Row> {
    let request = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut rows: Vec<Row> = BAD_TARGETS
        .iter()
        .map(|target| row(&format!("the target {target:?}"), Closed(400), request(target)))
        .collect();
    for target in [
        "//v1/models",
        "/v1//models",
        "/v1/models;a/x/..b",
        "/V1/MODELS",
        "/v1/%6dodels",
        "/.well-known",
    ] {
        rows.push(row(&format!("the path {target}"), Refused(404), request(target)));
    }
    let odd = "/v1/chat/completions?a[]={b}|c&d=%00'(e)*//..?";
    let request = String::from_utf8(with("x: a")).expect("text");
    rows.push(row("an odd query", Answered, request.replace("/v1/chat/completions", odd)));
    for before in ["http://a", "HTTPS://other:80"] {
        let whole = format!("{before}/v1/chat/completions");
        let bytes = request.replace("/v1/chat/completions", &whole);
        rows.push(row(&format!("the target {whole}"), Answered, bytes));
    }
    let slash = request.replace("/v1/chat/completions", "/v1/chat/completions/");
    rows.push(row("a final slash", Answered, slash));
    rows
}

fn fields() -> Vec<Row> {
    let bad = |name: &str, field: &[u8]| row(name, Closed(400), with(field));
    let mut rows = vec![
        bad("obs-fold by a space", b"x: a\r\n b"),
        bad("obs-fold by a tab", b"x: a\r\n\tb"),
        bad("a folded line of spaces", b"x: a\r\n "),
        bad("a folded Transfer-Encoding", b"Transfer-Encoding:\r\n chunked"),
        bad("a NUL in a value", b"x: a\0b"),
        bad("a bare CR in a value", b"x: a\rb"),
        bad("a bare CR and a header in a value", b"x: a\rTransfer-Encoding: chunked"),
        bad("a bare LF in a value", b"x: a\nb: c"),
        bad("a bare LF behind a value", b"x: a\n"),
        bad("an escape in a value", b"x: \x1b[31m"),
        bad("a vertical tab in a value", b"x: a\x0bb"),
        bad("DEL in a value", b"x: a\x7f"),
        bad("a space before the colon", b"x : a"),
        bad("a tab before the colon", b"x\t: a"),
        bad("a space before a framing colon", b"Transfer-Encoding : chunked"),
        bad("no colon", b"x"),
        bad("no name", b": a"),
        bad("a name of a space", b" : a"),
        bad("a NUL in a name", b"x\0y: a"),
        bad("a vertical tab in a name", b"\x0bTransfer-Encoding: chunked"),
        bad("a name with a bracket", b"x(y): a"),
        bad("a name with a slash", b"x/y: a"),
        bad("a name with a quote", b"\"x\": a"),
        bad("a name of UTF-8", "h\u{e9}ader: a".as_bytes()),
        bad("a name with a space inside", b"Content Length: 5"),
        bad("a comma in a name", b"a, b: c"),
        row("Expect: something else", Closed(417), with("Expect: 200-ok")),
        row("Expect: 100-continue and more", Closed(417), with("Expect: 100-continue, x")),
        row("an empty Expect", Closed(417), with("Expect:")),
        row("Expect: 100-Continue", Answered, with("Expect: 100-Continue")),
        row("a value of Latin-1", Answered, with(b"x: caf\xe9")),
        row("a value that is empty", Answered, with("x:")),
        row("a name with an underscore", Answered, with("my_header: a")),
    ];
    for twin in [
        "content_length: 5",
        "Content_Length: 5",
        "transfer_encoding: chunked",
        "Transfer_Encoding: gzip",
        "content_encoding: gzip",
        "proxy_authorization: a",
        "x_api_key: a",
        "api_key: a",
        "x_forwarded_for: 1.1.1.1",
        "x-forwarded_for: 1.1.1.1",
        "x_real_ip: 1.1.1.1",
        "x_gateway_side: local",
        "x_request_id: a",
    ] {
        rows.push(bad(&format!("the twin {twin}"), twin.as_bytes()));
    }
    rows
}

fn hosts() -> Vec<Row> {
    let request = |fields: &str| format!("GET /v1/models HTTP/1.1\r\n{fields}\r\n");
    let mut rows = vec![
        row("no Host", Closed(400), request("")),
        row("two Hosts", Closed(400), request("Host: a\r\nHost: a\r\n")),
        row("two Hosts in HTTP/1.0", Closed(400), "GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n"),
    ];
    for host in [
        "",
        "user@a",
        "user:pw@a",
        "a/b",
        "a b",
        "a, b",
        "a\\b",
        "a?b",
        "a#b",
        "a:b",
        "a:-1",
        "a:65536",
        "a:+80",
        "a:80:80",
        "[::1",
        "[]",
        "::1",
        "[g::1]",
        "[::1]x",
        "http://a",
        "a%00",
        "\u{e9}",
        "<a>",
        "a:80@b",
        "a\tb",
    ] {
        rows.push(row(
            &format!("the Host {host:?}"),
            Closed(400),
            request(&format!("Host: {host}\r\n")),
        ));
    }
    for host in ["[::1]:8080", "my_gateway:80", "127.0.0.1:1", "a.example:"] {
        let field = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n{BODY}",
            BODY.len()
        );
        rows.push(row(&format!("the good Host {host}"), Answered, field));
    }
    rows
}

fn connections() -> Vec<Row> {
    let mut rows = Vec::new();
    for name in [
        "Content-Length",
        "transfer-encoding",
        "Host",
        "Authorization",
        "close, host",
        "keep-alive,authorization",
        "content-type",
        "x-api-key",
        "cookie",
        "x-request-id",
        "x-forwarded-for",
        "content_length",
        "close\u{e9}",
        "\"close\"",
        "close host",
        "expect",
        "connection",
    ] {
        let name = format!("Connection: {name}");
        rows.push(row(&name, Closed(400), with(&name)));
    }
    rows.push(row("a websocket", Closed(400), with("Upgrade: websocket\r\nConnection: Upgrade")));
    for upgrade in [
        "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
        "Upgrade: TLS/1.0",
        "Upgrade: h2c",
        "Upgrade:",
        "upgrade: x, y",
    ] {
        rows.push(row(&format!("{upgrade:?}"), Answered, with(upgrade)));
    }
    for good in [
        "Connection: keep-alive",
        "Connection: keep-alive, TE\r\nTE: trailers",
        "Connection: x-mine,",
    ] {
        rows.push(row(good, Answered, with(good)));
    }
    rows
}

fn sizes() -> Vec<Row> {
    let long = |bytes: usize| "a".repeat(bytes);
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    vec![
        row("a path of 9 KiB", Closed(414), get(&format!("/{}", long(9 << 10)))),
        row("a query of 9 KiB", Closed(414), get(&format!("/?{}", long(9 << 10)))),
        row("a path of 1 MiB", Closed(414), get(&format!("/{}", long(1 << 20)))),
        row("a method of 9 KiB", Closed(414), format!("{} / HTTP/1.1\r\n\r\n", long(9 << 10))),
        row("a line without an end", Closed(414), long(100 << 10)),
        row("a value of 65 KiB", Closed(431), with(format!("x: {}", long(65 << 10)))),
        row("a name of 65 KiB", Closed(431), with(format!("{}: x", long(65 << 10)))),
        row("a value of 1 MiB", Closed(431), with(format!("x: {}", long(1 << 20)))),
        row("101 headers", Closed(431), with("x: a\r\n".repeat(98) + "x: a")),
        row("5,000 headers", Closed(431), with("x: a\r\n".repeat(5000) + "x: a")),
        row("100 headers", Answered, with("x: a\r\n".repeat(97) + "x: a")),
        row("a value of 30 KiB", Answered, with(format!("x-mine: {}", long(30 << 10)))),
    ]
}
