//! Decides which headers cross the gateway. Hop-by-hop headers never do (RFC 9110, 7.6.1). They are
//! a fixed set, so that neither side can have headers dropped by naming them in `Connection`. The
//! client's credentials never go up, and headers that reveal the upstream never come down.

use std::io::Write;
use std::net::IpAddr;

use http::HeaderMap;
use http::header::HeaderName;

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

/// Request headers that are not forwarded: the client's credentials, and headers that the gateway
/// sets itself.
const NOT_UP: [&str; 10] = [
    "accept-encoding",
    "api-key",
    "authorization",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "x-api-key",
    "x-request-id",
];

/// Answer headers that are not forwarded: they name the upstream, set state for its host, or are
/// set by the gateway itself.
const NOT_DOWN: [&str; 9] = [
    "alt-svc",
    "content-location",
    "location",
    "server",
    "set-cookie",
    "strict-transport-security",
    "www-authenticate",
    "x-request-id",
    "x-should-retry",
];

/// The addresses that a request came through, as reported by proxies in front of the gateway.
const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDING: [&str; 3] = ["forwarded", "via", "x-real-ip"];

fn is_forwarding(name: &HeaderName) -> bool {
    FORWARDING.contains(&name.as_str()) || name.as_str().starts_with("x-forwarded-")
}

/// Drops the forwarding headers. Needed for a client that is not a trusted proxy.
pub fn drop_forwarding(headers: &mut HeaderMap) {
    drop_all(headers, is_forwarding);
}

/// The headers of an upstream request, without `host`, credential and length: those of the client
/// that may pass, and the gateway's own.
#[derive(Debug, Clone, Copy)]
pub struct Up<'a> {
    /// The client's headers.
    pub headers: &'a HeaderMap,
    /// The id of the request, in printable ASCII.
    pub request_id: &'a str,
    /// The client's address, if the upstream may know it. It is appended to `x-forwarded-for`,
    /// after the addresses from a trusted proxy.
    pub client: Option<IpAddr>,
}

impl Up<'_> {
    /// Calls `header` for each header. This takes 1,400 instructions; building a map took 4,300.
    ///
    /// The content type is always JSON, because the body was read as JSON. Engines refuse the type
    /// that `curl -d` sends.
    pub fn each(&self, mut header: impl FnMut(&[u8], &[u8])) {
        let is_told = self.client.is_some();
        for (name, value) in self.headers {
            let name = name.as_str();
            let replaced = NOT_UP.contains(&name) || (is_told && name == FORWARDED_FOR);
            if !replaced && !HOP_BY_HOP.contains(&name) {
                header(name.as_bytes(), value.as_bytes());
            }
        }
        if let Some(client) = self.client {
            let mut all = Vec::with_capacity(64);
            for value in self.headers.get_all(FORWARDED_FOR) {
                all.extend_from_slice(value.as_bytes());
                all.extend_from_slice(b", ");
            }
            address(&mut all, client);
            header(FORWARDED_FOR.as_bytes(), &all);
        }
        header(b"x-request-id", self.request_id.as_bytes());
        header(b"content-type", b"application/json");
        // The gateway reads answers: errors, their end and usage. Without this header the upstream
        // could choose any encoding (RFC 9110, 12.5.3).
        header(b"accept-encoding", b"identity");
    }
}

fn address(to: &mut Vec<u8>, address: IpAddr) {
    match address {
        // Most addresses are IPv4, and fmt takes 620 instructions for one.
        IpAddr::V4(address) => {
            for (i, octet) in address.octets().into_iter().enumerate() {
                if i > 0 {
                    to.push(b'.');
                }
                to.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
            }
        }
        // Writing to memory does not fail.
        IpAddr::V6(address) => drop(write!(to, "{address}")),
    }
}

/// The headers of an answer that go to the client.
#[must_use]
pub fn down(mut headers: HeaderMap) -> HeaderMap {
    let stays = |name: &HeaderName| {
        let is = name.as_str();
        HOP_BY_HOP.contains(&is) || NOT_DOWN.contains(&is) || is_forwarding(name)
    };
    drop_all(&mut headers, stays);
    headers
}

fn drop_all(headers: &mut HeaderMap, dropped: impl Fn(&HeaderName) -> bool) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| dropped(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::{self, HeaderValue};

    use super::*;

    fn up(headers: &HeaderMap, client: Option<IpAddr>) -> Vec<(String, String)> {
        let mut shown = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Up { headers, request_id: "id-1", client }
            .each(|name, value| shown.push((text(name), text(value))));
        shown.sort();
        shown
    }

    #[test]
    fn credentials_and_hop_by_hop_headers_stay_here() {
        let mut headers = HeaderMap::new();
        for name in ["authorization", "x-api-key", "cookie", "te", "x-mine"] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("v"));
        }
        headers.insert(header::CONNECTION, HeaderValue::from_static("close, x-mine"));
        let up = up(&headers, None);
        let names: Vec<&str> = up.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["accept-encoding", "content-type", "x-mine", "x-request-id"]);
    }

    #[test]
    fn forwarding_headers_never_come_down_and_go_up_from_trusted_proxies_only() {
        let mut headers = HeaderMap::new();
        for name in ["x-forwarded-for", "forwarded", "via", "x-real-ip"] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("v"));
        }
        assert!(down(headers.clone()).is_empty());
        let client = Some(IpAddr::from([127, 0, 0, 1]));
        let forwarded = |headers: &HeaderMap, client| {
            let mut up = up(headers, client);
            up.retain(|(name, _)| name == FORWARDED_FOR);
            up.into_iter().map(|(_, value)| value).collect::<Vec<_>>()
        };
        assert_eq!(forwarded(&headers, None), ["v"]);
        assert_eq!(forwarded(&headers, client), ["v, 127.0.0.1"]);
        let other = "2001:db8::10".parse().ok();
        assert_eq!(forwarded(&headers, other), ["v, 2001:db8::10"]);
        drop_forwarding(&mut headers);
        assert!(headers.is_empty());
        assert_eq!(forwarded(&headers, client), ["127.0.0.1"]);
    }

    #[test]
    fn each_header_crosses_or_stays() {
        let crosses = |name: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("v"));
            let passed = |(other, value): &(String, String)| other == name && value == "v";
            (up(&headers, None).iter().any(passed), down(headers).contains_key(name))
        };
        for name in HOP_BY_HOP {
            assert_eq!(crosses(name), (false, false), "{name}");
        }
        for name in NOT_UP {
            assert_eq!(crosses(name), (false, name != "x-request-id"), "{name}");
        }
        for name in NOT_DOWN {
            assert_eq!(crosses(name), (name != "x-request-id", false), "{name}");
        }
        for name in ["forwarded", "via", "x-real-ip", "x-forwarded-proto"] {
            assert_eq!(crosses(name), (true, false), "{name}");
        }
        for name in ["x-forwarded", "user-agent", "retry-after"] {
            assert_eq!(crosses(name), (true, true), "{name}");
        }
    }

    #[test]
    fn an_address_is_written_as_it_is_read() {
        for text in ["0.0.0.0", "10.200.3.44", "255.255.255.255", "::1", "2001:db8::ff00:42"] {
            let mut written = Vec::new();
            address(&mut written, text.parse().expect("an address"));
            assert_eq!(String::from_utf8_lossy(&written), text);
        }
    }
}
