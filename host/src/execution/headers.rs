//! Which headers cross the gateway. Hop-by-hop headers never do (RFC 9110, 7.6.1), credentials of
//! the client never go up, and what tells of the upstream's place never comes down.

use hyper::HeaderMap;
use hyper::header::{self, HeaderName, HeaderValue};

const HOP_BY_HOP: [&str; 9] = [
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

/// Of a request: the client's credentials, and what the gateway says itself. `accept-encoding` is
/// dropped so that answers come uncompressed and can be watched for errors and usage.
const NOT_UP: [&str; 10] = [
    "accept-encoding",
    "api-key",
    "authorization",
    "content-length",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "x-api-key",
    "x-request-id",
];

/// Of an answer: what names the upstream or sets state for its host.
const NOT_DOWN: [&str; 10] = [
    "alt-svc",
    "content-location",
    "location",
    "server",
    "set-cookie",
    "strict-transport-security",
    "via",
    "www-authenticate",
    "x-request-id",
    "x-should-retry",
];

fn without(headers: &HeaderMap, dropped: &[&str]) -> HeaderMap {
    let named: Vec<&str> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(str::trim))
        .collect();
    let keep = |name: &HeaderName| {
        let name = name.as_str();
        !HOP_BY_HOP.contains(&name)
            && !dropped.contains(&name)
            && !name.starts_with("x-forwarded-")
            && !named.iter().any(|named| named.eq_ignore_ascii_case(name))
    };
    let kept = headers.iter().filter(|(name, _)| keep(name));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The headers of an upstream request, without `host`, credential and length. The body was read as
/// JSON, so it is called that, whatever the client called it: engines refuse what `curl -d` says.
#[must_use]
pub(super) fn up(headers: &HeaderMap, request_id: &str) -> HeaderMap {
    let mut headers = without(headers, &NOT_UP);
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert("x-request-id", id);
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers
}

/// The headers of an answer to the client.
#[must_use]
pub(super) fn down(headers: &HeaderMap) -> HeaderMap {
    without(headers, &NOT_DOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_and_hop_by_hop_headers_stay_here() {
        let mut headers = HeaderMap::new();
        for name in ["authorization", "x-api-key", "cookie", "te", "x-mine", "x-named"] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("v"));
        }
        headers.insert(header::CONNECTION, HeaderValue::from_static("close, X-Named"));
        let up = up(&headers, "id-1");
        let mut names: Vec<&str> = up.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-type", "x-mine", "x-request-id"]);
    }
}
