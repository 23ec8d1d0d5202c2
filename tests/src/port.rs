//! A port that belongs to a test whether or not something listens on it.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

/// A loopback port, held by a socket that is bound and does not listen: connections are refused,
/// and no other process is given the port.
#[derive(Debug)]
pub struct Port {
    address: SocketAddr,
    _held: TcpSocket,
}

impl Port {
    /// Takes a free one.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn take() -> Self {
        let socket = reusable();
        socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        Self { address: socket.local_addr().expect("bound"), _held: socket }
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Listens on it; several times one after the other. Must be called inside a tokio runtime.
    ///
    /// # Panics
    /// If somebody does already.
    #[must_use]
    pub fn listen(&self) -> TcpListener {
        let socket = reusable();
        socket.bind(self.address).expect("the port is held for this");
        socket.listen(1024).expect("nobody else listens")
    }
}

fn reusable() -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("an option of every system");
    socket
}
