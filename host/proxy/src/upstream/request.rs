//! A request as it is written to the wire.

use bytes::Bytes;

use config::Origin;
use http1::outgoing::{Authority, Outgoing as Head};

use super::Outgoing;

/// Head and body, which may be written more than once.
pub(super) struct Request {
    head: Vec<u8>,
    body: Bytes,
}

impl Request {
    /// None if a configured key or path cannot be written as HTTP. The check of the configuration
    /// rules this out.
    pub(super) fn new(outgoing: &Outgoing<'_>) -> Option<Self> {
        let head = Head {
            authority: authority(&outgoing.endpoint.origin),
            prefix: &outgoing.endpoint.prefix,
            path: outgoing.path,
            query: &outgoing.endpoint.query,
            api_key: outgoing.api_key.map(|key| key.expose()),
            headers: outgoing.headers,
        };
        Some(Self { head: head.head(outgoing.body.len())?, body: outgoing.body.clone() })
    }

    /// What is left of head and body after `written` bytes. Both are empty at the end.
    pub(super) fn rest(&self, written: usize) -> [&[u8]; 2] {
        let of_body = written.saturating_sub(self.head.len());
        [&self.head[written.min(self.head.len())..], &self.body[of_body..]]
    }
}

fn authority(Origin { tls, host, port }: &Origin) -> Authority<'_> {
    Authority { host, port: *port, tls: *tls }
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
                authority(&origin).write(&mut written);
                assert_eq!(String::from_utf8(written).expect("ASCII"), origin.authority());
            }
        }
    }
}
