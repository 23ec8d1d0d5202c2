//! A client on a bare socket, for requests that no HTTP library would send.

use std::io;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::{DEADLINE, Gateway, Reply};

/// One connection to a gateway.
#[derive(Debug)]
pub struct Dialog(BufReader<TcpStream>);

impl Dialog {
    /// Connects.
    ///
    /// # Panics
    /// If the gateway does not listen.
    pub async fn with(gateway: &Gateway) -> Self {
        Self::connect(gateway.address()).await.expect("it listens")
    }

    /// Connects to `127.0.0.1:PORT`.
    ///
    /// # Errors
    /// If nobody listens.
    pub async fn connect(address: &str) -> io::Result<Self> {
        Ok(Self(BufReader::new(TcpStream::connect(address).await?)))
    }

    /// Sends bytes as they are; false: the gateway takes no more.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let write = self.0.write_all(bytes.as_ref());
        timeout(DEADLINE, write).await.is_ok_and(|written| written.is_ok())
    }

    /// The next answer, whose body has a length.
    ///
    /// # Panics
    /// If none comes.
    pub async fn answer(&mut self) -> Reply {
        self.try_answer().await.expect("an answer")
    }

    /// The next answer, whose body has a length.
    ///
    /// # Errors
    /// If none comes.
    ///
    /// # Panics
    /// If it is not HTTP.
    pub async fn try_answer(&mut self) -> io::Result<Reply> {
        let mut reply = self.try_head().await?;
        let length = reply.header("content-length").parse().expect("a length");
        reply.body = vec![0; length];
        self.0.read_exact(&mut reply.body).await?;
        Ok(reply)
    }

    /// The head of the next answer.
    ///
    /// # Panics
    /// If none comes.
    pub async fn head(&mut self) -> Reply {
        self.try_head().await.expect("an answer")
    }

    async fn try_head(&mut self) -> io::Result<Reply> {
        let first = self.line().await?;
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let mut reply = Reply {
            status: status.unwrap_or_else(|| panic!("no answer: {first:?}")),
            headers: HeaderMap::new(),
            body: Vec::new(),
        };
        while let Some((name, value)) = self.line().await?.split_once(": ") {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a header's name");
            reply.headers.append(name, HeaderValue::from_str(value).expect("a header's value"));
        }
        Ok(reply)
    }

    /// Waits for the end of the connection. False: another byte came first, or nothing came in
    /// time.
    pub async fn ends(&mut self) -> bool {
        matches!(timeout(DEADLINE, self.0.read(&mut [0])).await, Ok(Ok(0) | Err(_)))
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        let read = timeout(DEADLINE, self.0.read_line(&mut line)).await;
        match read.expect("within the deadline")? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }
}
