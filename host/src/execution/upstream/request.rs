//! A request as it goes over the wire.

use std::io::Write;

use bytes::Bytes;

use super::Outgoing;

/// Head and body, ready to be written, more than once if need be.
pub(super) struct Request {
    head: Vec<u8>,
    body: Bytes,
}

impl Request {
    /// None where a configured key or path cannot be written as HTTP, which the configuration excludes.
    pub(super) fn new(outgoing: &Outgoing<'_>) -> Option<Self> {
        let prefix = outgoing.endpoint.prefix.as_str();
        let target = [prefix, outgoing.path_and_query];
        if !target.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_graphic())) {
            return None;
        }
        let mut head = Vec::with_capacity(1024);
        head.extend_from_slice(b"POST ");
        target.iter().for_each(|part| head.extend_from_slice(part.as_bytes()));
        head.extend_from_slice(b" HTTP/1.1\r\nhost: ");
        head.extend_from_slice(outgoing.endpoint.origin.authority().as_bytes());
        head.extend_from_slice(b"\r\n");
        if let Some(key) = outgoing.api_key.map(|key| key.expose()) {
            if key.bytes().any(|byte| byte.is_ascii_control()) {
                return None;
            }
            head.extend_from_slice(b"authorization: Bearer ");
            head.extend_from_slice(key.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        for (name, value) in &outgoing.headers {
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        write!(head, "content-length: {}\r\n\r\n", outgoing.body.len()).ok()?;
        Some(Self { head, body: outgoing.body.clone() })
    }

    /// What is left to write after so many bytes; both empty at the end.
    pub(super) fn rest(&self, written: usize) -> [&[u8]; 2] {
        let of_body = written.saturating_sub(self.head.len());
        [&self.head[written.min(self.head.len())..], &self.body[of_body..]]
    }
}
