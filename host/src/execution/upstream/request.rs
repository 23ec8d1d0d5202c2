//! A request as it goes over the wire.

use bytes::Bytes;

use crate::config::Origin;

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
        authority(&mut head, &outgoing.endpoint.origin);
        head.extend_from_slice(b"\r\n");
        if let Some(key) = outgoing.api_key.map(|key| key.expose()) {
            if key.bytes().any(|byte| byte.is_ascii_control()) {
                return None;
            }
            head.extend_from_slice(b"authorization: Bearer ");
            head.extend_from_slice(key.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        outgoing.headers.each(|name, value| {
            head.reserve(name.len() + value.len() + 4);
            head.extend_from_slice(name);
            head.extend_from_slice(b": ");
            head.extend_from_slice(value);
            head.extend_from_slice(b"\r\n");
        });
        head.extend_from_slice(b"content-length: ");
        head.extend_from_slice(itoa::Buffer::new().format(outgoing.body.len()).as_bytes());
        head.extend_from_slice(b"\r\n\r\n");
        Some(Self { head, body: outgoing.body.clone() })
    }

    /// What is left to write after so many bytes; both empty at the end.
    pub(super) fn rest(&self, written: usize) -> [&[u8]; 2] {
        let of_body = written.saturating_sub(self.head.len());
        [&self.head[written.min(self.head.len())..], &self.body[of_body..]]
    }
}

/// The value of the `Host` header, as [`Origin::authority`], without a string of its own.
fn authority(head: &mut Vec<u8>, origin: &Origin) {
    let [before, behind]: [&[u8]; 2] =
        if origin.host.contains(':') { [b"[", b"]"] } else { [b"", b""] };
    head.extend_from_slice(before);
    head.extend_from_slice(origin.host.as_bytes());
    head.extend_from_slice(behind);
    if origin.port != if origin.tls { 443 } else { 80 } {
        head.push(b':');
        head.extend_from_slice(itoa::Buffer::new().format(origin.port).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_written_as_they_are_formatted() {
        let hosts = ["engine", "10.0.0.1", "::1"];
        let ports = [0, 7, 80, 443, 8000, u16::MAX];
        for (host, port) in hosts.into_iter().flat_map(|host| ports.map(|port| (host, port))) {
            for tls in [false, true] {
                let origin = Origin { tls, host: host.into(), port };
                let mut written = Vec::new();
                authority(&mut written, &origin);
                assert_eq!(String::from_utf8(written).expect("ASCII"), origin.authority());
            }
        }
    }
}
