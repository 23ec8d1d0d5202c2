//! Fuzz oracle of the headers that cross the gateway.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

use crate::headers::{Down, Passing, Up, never_goes_up, passed};
use crate::outgoing::{Authority, Outgoing};

/// Headers that no upstream gets from a client.
const NEVER_UP: [&str; 12] = [
    "api-key",
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "host",
    "openai-organization",
    "origin",
    "te",
    "transfer-encoding",
    "upgrade",
    "x-api-key",
];

/// Headers that no client gets from an upstream.
const NEVER_DOWN: [&str; 12] = [
    "access-control-allow-origin",
    "alt-svc",
    "connection",
    "content-location",
    "forwarded",
    "location",
    "openai-organization",
    "server",
    "set-cookie",
    "transfer-encoding",
    "www-authenticate",
    "x-accel-redirect",
];

/// Checks that hop-by-hop and framing headers, credentials and headers that reveal the upstream do
/// not pass, and that all others pass unchanged. The bytes for an upstream must be one request. The
/// input is a head, line by line, and a body after an empty line.
pub fn headers(data: &[u8]) {
    let (given, body) = head_and_body(data);
    let named = ["x-listed".to_owned()];
    let up = |passing| Up {
        headers: &given,
        request_id: "id-1",
        client: None,
        asks_load: false,
        passing,
        hop: "here",
        on_dropped: |_, _| {},
    };
    let written = up(Passing::AllBut(&[]));
    let to_local = went_up(written);
    let own = ["accept-encoding", "cdn-loop", "content-type", "x-request-id"];
    same_but_for(&given, &to_local, |name| never_goes_up(name) || own.contains(&name));
    let to_remote = went_up(up(Passing::Only(&named)));
    for (name, value) in &to_remote {
        let is_own = own.contains(&name.as_str()) || name == "user-agent";
        assert!(is_own || to_local.get_all(name).iter().any(|known| known == value), "{name}");
    }
    for up in [&to_local, &to_remote] {
        assert!(!up.keys().any(|name| NEVER_UP.contains(&name.as_str())), "{up:?}");
        assert!(up.get_all("accept-encoding").iter().eq(["identity"]));
        assert!(up.get_all("content-type").iter().eq(["application/json"]));
        assert!(up.get_all("x-request-id").iter().eq(["id-1"]));
        assert!(passed(up, "here"));
        assert_eq!(up.get_all("cdn-loop").iter().count(), 1);
    }
    check_down(&given);
    one_request(written, to_local.len(), body);
}

/// Checks the headers of an answer with the `given` ones.
fn check_down(given: &HeaderMap) {
    let asked = &HeaderMap::new();
    let down = Down { dropped: &[], asked, rate_limits: true, on_dropped: |_, _| {} };
    let down = down.pass(given.clone());
    assert!(!down.keys().any(|name| NEVER_DOWN.contains(&name.as_str())), "{down:?}");
    for name in down.keys() {
        assert!(given.get_all(name).iter().eq(down.get_all(name)), "{name} is changed");
    }
}

fn went_up(written: Up<'_>) -> HeaderMap {
    let mut up = HeaderMap::new();
    written.each(|name, value| {
        let name = HeaderName::from_bytes(name).expect("a name");
        up.append(name, HeaderValue::from_bytes(value).expect("a value"));
    });
    up
}

fn head_and_body(data: &[u8]) -> (HeaderMap, &[u8]) {
    let (mut headers, mut rest) = (HeaderMap::new(), data);
    while let Some(end) = memchr::memchr(b'\n', rest) {
        let line = rest[..end].trim_ascii();
        rest = &rest[end + 1..];
        if line.is_empty() {
            break;
        }
        let colon = memchr::memchr(b':', line).unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default().trim_ascii();
        let (name, value) =
            (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(value));
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    (headers, rest)
}

fn same_but_for(given: &HeaderMap, passed: &HeaderMap, but: impl Fn(&str) -> bool) {
    for name in given.keys().chain(passed.keys()).filter(|name| !but(name.as_str())) {
        assert!(given.get_all(name).iter().eq(passed.get_all(name)), "{name} is changed");
    }
}

/// Checks that the written bytes are read as these headers, the gateway's own, and this body.
fn one_request(headers: Up<'_>, count: usize, body: &[u8]) {
    let outgoing = Outgoing {
        authority: Authority { host: "engine", port: 8000, tls: false },
        prefix: "/prefix/v1",
        path: "/chat/completions",
        query: "?api-version=1",
        api_key: Some("sk-1"),
        headers,
    };
    let head = outgoing.head(body.len()).expect("a good key and path");
    let text = [&head, body].concat();
    let mut read = vec![httparse::EMPTY_HEADER; count + 3];
    let mut request = httparse::Request::new(&mut read);
    let length = match request.parse(&text) {
        Ok(httparse::Status::Complete(length)) => length,
        other => panic!("{other:?}"),
    };
    assert_eq!(&text[length..], body);
    assert_eq!(request.headers.len(), count + 3);
    let all = |name: &str| {
        let named = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        named.map(|header| String::from_utf8_lossy(header.value)).collect::<Vec<_>>()
    };
    assert_eq!(all("host"), ["engine:8000"]);
    assert_eq!(all("authorization"), ["Bearer sk-1"]);
    assert_eq!(all("content-length"), [body.len().to_string()]);
    assert!(all("transfer-encoding").is_empty());
}
