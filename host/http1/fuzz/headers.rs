//! Fuzz oracle of the headers that cross the gateway.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

use crate::headers::{self, Up};
use crate::outgoing::{Authority, Outgoing};

/// Checks that hop-by-hop and framing headers, credentials and headers that reveal the upstream do
/// not pass, and that all others pass unchanged. The bytes for an upstream must be one request. The
/// input is a head, line by line, and a body after an empty line.
pub fn headers(data: &[u8]) {
    const NEVER: [&str; 9] = [
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    const NEVER_UP: [&str; 7] =
        ["api-key", "authorization", "content-length", "cookie", "expect", "host", "x-api-key"];
    const NEVER_DOWN: [&str; 11] = [
        "alt-svc",
        "content-location",
        "forwarded",
        "location",
        "server",
        "set-cookie",
        "strict-transport-security",
        "via",
        "www-authenticate",
        "x-real-ip",
        "x-request-id",
    ];
    let (given, body) = head_and_body(data);
    let written = Up { headers: &given, request_id: "id-1", client: None, hop: "here" };
    let mut up = HeaderMap::new();
    written.each(|name, value| {
        let name = HeaderName::from_bytes(name).expect("a name");
        up.append(name, HeaderValue::from_bytes(value).expect("a value"));
    });
    let stays = |name: &str| NEVER.contains(&name) || NEVER_UP.contains(&name);
    let own = ["accept-encoding", "cdn-loop", "content-type", "x-request-id"];
    same_but_for(&given, &up, |name| stays(name) || own.contains(&name));
    assert!(!up.keys().any(|name| stays(name.as_str())), "{up:?}");
    assert!(up.get_all("accept-encoding").iter().eq(["identity"]));
    assert!(up.get_all("content-type").iter().eq(["application/json"]));
    assert!(up.get_all("x-request-id").iter().eq(["id-1"]));
    assert!(headers::passed(&up, "here"));
    assert_eq!(up.get_all("cdn-loop").iter().count(), 1);

    let down = headers::down(given.clone());
    let stays = |name: &str| {
        let own = name.starts_with("x-forwarded-") || name == "x-should-retry";
        own || NEVER.contains(&name) || NEVER_DOWN.contains(&name)
    };
    same_but_for(&given, &down, stays);
    assert!(!down.keys().any(|name| stays(name.as_str())), "{down:?}");
    one_request(written, up.len(), body);
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
        prefix: "/prefix",
        path_and_query: "/v1/chat/completions",
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
