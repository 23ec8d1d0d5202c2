//! Free ports for the engines and the gateway that try a new strategy.

use std::net::{Ipv4Addr, TcpListener};

/// How many ports are tried. If all are in use, the first one is written nevertheless.
const MOST: usize = 1000;

/// Ports that were free when the project was written. The files of the project name them, so the
/// usual ones are taken if they are free.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    local: u16,
    remote: u16,
    gateway: u16,
}

impl Ports {
    pub(super) fn free() -> Self {
        let local = free_from(8000);
        let remote = free_from(local + 1);
        let gateway = free_from(remote.max(8079) + 1);
        Self { local, remote, gateway }
    }

    /// The ports of the local engine, of the remote one, and of the gateway.
    pub(super) fn texts(self) -> [String; 3] {
        [self.local, self.remote, self.gateway].map(|port| port.to_string())
    }
}

/// The first free port from `first` on.
fn free_from(first: u16) -> u16 {
    let mut ports = (first..u16::MAX).take(MOST);
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    ports.find(is_free).unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_in_use_are_passed_over() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = taken.local_addr().expect("an address").port();
        assert!(port == u16::MAX - 1 || free_from(port) > port);
    }

    #[test]
    fn the_three_differ() {
        let [local, remote, gateway] = Ports::free().texts();
        assert!(local != remote && remote != gateway && local != gateway);
    }
}
