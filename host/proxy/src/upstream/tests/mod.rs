//! Connections and the pool.

#![allow(clippy::unwrap_used)]

mod lending;
mod pool;

use tokio::net::{TcpListener, TcpStream};

use super::connection::{Connection, Stream};

/// Both ends of a connection.
async fn pair() -> (Connection, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (Connection::new(Stream::Plain(ours)), listener.accept().await.unwrap().0)
}
