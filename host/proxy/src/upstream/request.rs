//! A request as it is written to the wire.

use std::io::IoSlice;

use bytes::Bytes;

use config::Origin;
use http1::outgoing::{Authority, Outgoing as Head};

use super::Outgoing;

/// Head and body, which may be written more than once.
pub(super) struct Request {
    /// The head, then the parts of the body.
    parts: [Bytes; 6],
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
        let length = outgoing.body.iter().map(Bytes::len).sum();
        let head = head.head(length)?;
        let [first, second, third, fourth, fifth] = outgoing.body.clone();
        Some(Self { parts: [head.into(), first, second, third, fourth, fifth] })
    }

    /// The parts that are left after `written` bytes, and their number. The others are empty.
    pub(super) fn rest(&self, mut written: usize) -> ([IoSlice<'_>; 6], usize) {
        let (mut rest, mut count) = ([IoSlice::new(&[]); 6], 0);
        for part in &self.parts {
            let skipped = written.min(part.len());
            written -= skipped;
            if skipped < part.len() {
                rest[count] = IoSlice::new(&part[skipped..]);
                count += 1;
            }
        }
        (rest, count)
    }
}

fn authority(Origin { tls, host, port }: &Origin) -> Authority<'_> {
    Authority { host, port: *port, tls: *tls }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_each_part_from_its_place() {
        let parts =
            ["head", "", "name", "", "tail", ""].map(|part| Bytes::from_static(part.as_bytes()));
        let request = Request { parts };
        for written in 0..=12 {
            let (rest, count) = request.rest(written);
            let rest: Vec<u8> = rest[..count].iter().flat_map(|part| part.to_vec()).collect();
            assert_eq!(rest, b"headnametail"[written..]);
        }
        assert_eq!((request.rest(4).1, request.rest(9).1, request.rest(12).1), (2, 1, 0));
    }

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
