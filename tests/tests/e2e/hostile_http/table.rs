//! One row of the tables: the bytes of a client, and the expected response.

use tests::DEADLINE;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The expected response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Refused with this status, and the connection closed.
    Closed(u16),
    /// Refused with this status; the next request is read.
    Refused(u16),
    /// Answered by the upstream.
    Answered,
}

/// Bytes of a client.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) name: String,
    bytes: Vec<u8>,
    pub(crate) wanted: Wanted,
}

/// A row.
pub(crate) fn row(name: &str, wanted: Wanted, bytes: impl AsRef<[u8]>) -> Row {
    Row { name: name.to_owned(), bytes: bytes.as_ref().to_vec(), wanted }
}

/// A good body.
pub(crate) const BODY: &str = r#"{"model":"m","messages":[]}"#;

/// The next request on the connection. It is answered only where the connection stays open.
const NEXT: &str =
    "GET /health HTTP/1.1\r\nHost: a\r\nx-request-id: next\r\nConnection: close\r\n\r\n";

impl Row {
    /// Whether the gateway responds as expected.
    pub(crate) async fn judge(self, address: &str) -> Result<(), String> {
        let said = match timeout(DEADLINE, self.converse(address)).await {
            Ok(Ok(said)) => said,
            Ok(Err(error)) => return Err(format!("{}: {error}", self.name)),
            Err(_) => return Err(format!("{}: the connection stays open", self.name)),
        };
        let said = String::from_utf8_lossy(&said).into_owned();
        self.verdict(&said).map_err(|why| format!("{}: {why}: {said:.300}", self.name))
    }

    /// Sends the row and the request behind it, and reads until the gateway closes.
    async fn converse(&self, address: &str) -> std::io::Result<Vec<u8>> {
        let stream = TcpStream::connect(address).await?;
        let (mut from, mut to) = stream.into_split();
        let bytes = [&self.bytes, NEXT.as_bytes()].concat();
        // The gateway may close before it has read everything.
        let send = tokio::spawn(async move {
            let sent = to.write_all(&bytes).await;
            // Kept open: a half-closed connection would mean that the client left.
            std::future::pending::<()>().await;
            drop((to, sent));
        });
        let mut said = Vec::new();
        // A client that goes on sending gets a reset after the whole answer.
        let read = from.read_to_end(&mut said).await;
        send.abort();
        if said.is_empty() {
            read?;
        }
        Ok(said)
    }

    fn verdict(&self, said: &str) -> Result<(), &'static str> {
        let said = said.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(said);
        let status = said.get(9..12).and_then(|status| status.parse::<u16>().ok());
        let next = said.contains("x-request-id: next");
        let (wanted, closed) = match self.wanted {
            Wanted::Answered => (200, false),
            Wanted::Refused(status) => (status, false),
            Wanted::Closed(status) => (status, true),
        };
        if status != Some(wanted) {
            return Err("another status");
        }
        if next == closed {
            return Err(if next {
                "the connection stays open"
            } else {
                "the connection is closed"
            });
        }
        if self.wanted == Wanted::Answered {
            return Ok(());
        }
        let (head, body) = said.split_once("\r\n\r\n").ok_or("no head")?;
        let head = head.to_ascii_lowercase();
        if !head.contains("x-request-id: ") || !head.contains("content-type: application/json") {
            return Err("no x-request-id or no JSON");
        }
        if closed && !head.contains("connection: close") {
            return Err("does not say that the connection is closed");
        }
        let length = head.split("content-length: ").nth(1).ok_or("no length")?;
        let length: usize =
            length.lines().next().unwrap_or_default().parse().map_err(|_| "no length")?;
        let body = body.get(..length).ok_or("the answer is cut")?;
        let error: serde_json::Value = serde_json::from_str(body).map_err(|_| "no JSON")?;
        let error = &error["error"];
        if !error["message"].is_string() || error["type"] != "invalid_request_error" && wanted < 500
        {
            return Err("no OpenAI error object");
        }
        if body.len() > 1000 { Err("it tells the client's own bytes back") } else { Ok(()) }
    }
}
