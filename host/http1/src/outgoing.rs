//! Writes the head of an upstream request, which is always a POST with a content length.

use crate::headers::Up;

/// The parts of an upstream request's head.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// Host and port, for the `Host` header.
    pub authority: Authority<'a>,
    /// The prefix of the API's paths: `/v1`. May be empty.
    pub prefix: &'a str,
    /// `/chat/completions`.
    pub path: &'a str,
    /// The query of the endpoint with its `?`, or nothing. The client's query stays here: no
    /// endpoint has parameters in it, and some clients put their key there.
    pub query: &'a str,
    /// The credential of the deployment, if it has one.
    pub api_key: Option<&'a str>,
    /// All other headers, without `host`, credential and length.
    pub headers: Up<'a>,
}

/// Host and port of an upstream.
#[derive(Debug, Clone, Copy)]
pub struct Authority<'a> {
    /// A name or an address, without the brackets of IPv6.
    pub host: &'a str,
    /// The port. `Host` leaves out the default port of the scheme.
    pub port: u16,
    /// True if the scheme is `https`.
    pub tls: bool,
}

impl Outgoing<'_> {
    /// The head of a request with a body of `length` bytes. None if the key or the path cannot be
    /// written as HTTP, which the configuration excludes.
    #[must_use]
    pub fn head(&self, length: usize) -> Option<Vec<u8>> {
        let target = [self.prefix, self.path, self.query];
        if !target.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_graphic())) {
            return None;
        }
        let mut head = Vec::with_capacity(1024);
        head.extend_from_slice(b"POST ");
        target.iter().for_each(|part| head.extend_from_slice(part.as_bytes()));
        head.extend_from_slice(b" HTTP/1.1\r\nhost: ");
        self.authority.write(&mut head);
        head.extend_from_slice(b"\r\n");
        if let Some(key) = self.api_key {
            if key.bytes().any(|byte| byte.is_ascii_control()) {
                return None;
            }
            head.extend_from_slice(b"authorization: Bearer ");
            head.extend_from_slice(key.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        self.headers.each(|name, value| {
            head.reserve(name.len() + value.len() + 4);
            head.extend_from_slice(name);
            head.extend_from_slice(b": ");
            head.extend_from_slice(value);
            head.extend_from_slice(b"\r\n");
        });
        head.extend_from_slice(b"content-length: ");
        head.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
        head.extend_from_slice(b"\r\n\r\n");
        Some(head)
    }
}

impl Authority<'_> {
    /// Appends the value of the `Host` header.
    pub fn write(&self, head: &mut Vec<u8>) {
        let [before, behind]: [&[u8]; 2] =
            if self.host.contains(':') { [b"[", b"]"] } else { [b"", b""] };
        head.extend_from_slice(before);
        head.extend_from_slice(self.host.as_bytes());
        head.extend_from_slice(behind);
        if self.port != if self.tls { 443 } else { 80 } {
            head.push(b':');
            head.extend_from_slice(itoa::Buffer::new().format(self.port).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::headers::Passing;

    fn head(prefix: &str, [path, query]: [&str; 2], api_key: Option<&str>) -> Option<String> {
        let headers = &HeaderMap::new();
        let headers = Up {
            headers,
            request_id: "id-1",
            client: None,
            hop: "here",
            asks_load: false,
            passing: Passing::AllBut(&[]),
            on_dropped: |_, _| {},
        };
        let authority = Authority { host: "engine", port: 8000, tls: false };
        let head = Outgoing { authority, prefix, path, query, api_key, headers }.head(12);
        head.map(|head| String::from_utf8(head).expect("text"))
    }

    #[test]
    fn a_head_is_written_in_full() {
        let rest = "cdn-loop: here\r\nx-request-id: id-1\r\ncontent-type: application/json\r\n\
            accept-encoding: identity\r\ncontent-length: 12\r\n\r\n";
        let line = "POST /p/v1/x?a=b HTTP/1.1\r\nhost: engine:8000\r\n";
        assert_eq!(head("/p", ["/v1/x", "?a=b"], None), Some([line, rest].concat()));
        let key = "authorization: Bearer a key\r\n";
        assert_eq!(head("/p", ["/v1/x", "?a=b"], Some("a key")), Some([line, key, rest].concat()));
    }

    #[test]
    fn nothing_can_be_written_into_a_head_unseen() {
        for part in ["/a b", "/a\r\nb", "/\u{e9}", "/\x7f"] {
            assert_eq!(head(part, ["/v1", ""], None), None, "{part:?}");
            assert_eq!(head("", [part, ""], None), None, "{part:?}");
            assert_eq!(head("", ["/v1", part], None), None, "{part:?}");
        }
        for key in ["a\r\nb", "a\0", "\x7f"] {
            assert_eq!(head("", ["/v1", ""], Some(key)), None, "{key:?}");
        }
    }

    #[test]
    fn default_ports_are_left_out_and_addresses_have_brackets() {
        for (host, port, tls, want) in [
            ("a", 80, false, "a"),
            ("a", 443, false, "a:443"),
            ("a", 443, true, "a"),
            ("a", 80, true, "a:80"),
            ("::1", 80, false, "[::1]"),
            ("::1", 8080, true, "[::1]:8080"),
        ] {
            let mut written = Vec::new();
            Authority { host, port, tls }.write(&mut written);
            assert_eq!(String::from_utf8_lossy(&written), want);
        }
    }
}
