//! Writes the head of an upstream request, which is always a POST with a content length.

use crate::headers::Up;

/// The parts of an upstream request's head.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// Host and port, for the `Host` header.
    pub authority: Authority<'a>,
    /// What stands before the path of the API: `/v1`. May be empty.
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
