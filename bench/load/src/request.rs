//! The request and its address.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::{fs, io};

use clap::Args;

/// The options for both.
#[derive(Args)]
pub(crate) struct Target {
    /// The port on 127.0.0.1
    #[arg(long)]
    port: u16,
    /// A file with the body of the request, in JSON
    #[arg(long, value_name = "FILE")]
    body: PathBuf,
}

impl Target {
    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The bytes of a chat request, head and body.
    pub(crate) fn request(&self) -> io::Result<Vec<u8>> {
        let body = fs::read(&self.body)?;
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.address(),
            body.len()
        );
        Ok([head.as_bytes(), &body].concat())
    }
}
