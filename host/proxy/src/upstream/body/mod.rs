//! The body of an answer, as it arrives.

use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use http1::response::{Decoder, Malformed, ResponseFraming};

use super::connection::Connection;
use super::pool::Shelf;

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// The connection ended first.
    #[error("the answer ended early")]
    Truncated,
    /// The connection broke.
    #[error("the connection broke in the answer")]
    Broken,
    /// The framing is invalid.
    #[error("the answer is not HTTP: {0}")]
    Malformed(&'static str),
}

/// A body under way, and the connection that it arrives on. The connection goes back to its shelf
/// when the last byte of the body is taken. A body that is dropped before its end closes the
/// connection, which cancels the request.
#[derive(Debug)]
pub(crate) struct Incoming {
    open: Option<Open>,
    framing: ResponseFraming,
}

#[derive(Debug)]
struct Open {
    connection: Connection,
    decoder: Decoder,
    home: Option<Rc<Shelf>>,
}

impl Incoming {
    /// `home` is the shelf that the connection goes back to after the body. None: it is closed.
    pub(super) fn new(
        connection: Connection,
        decoder: Option<Decoder>,
        home: Option<Rc<Shelf>>,
    ) -> Self {
        match decoder {
            Some(decoder) => {
                let framing = decoder.framing();
                Self { open: Some(Open { connection, decoder, home }), framing }
            }
            None => {
                give_back(connection, home);
                Self { open: None, framing: ResponseFraming::Empty }
            }
        }
    }

    /// A body that ends with its connection.
    #[cfg(test)]
    pub(crate) fn until_close(stream: tokio::net::TcpStream) -> Self {
        let connection = Connection::new(super::connection::Stream::Plain(stream));
        Self::new(connection, Some(Decoder::UntilClose), None)
    }

    /// The next piece. None: the body is whole, or an error was returned before.
    pub(crate) fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BodyError>>> {
        let Some(open) = &mut self.open else { return Poll::Ready(None) };
        let next = ready!(open.poll_chunk(cx));
        let over = !matches!(next, Some(Ok(_)));
        if open.decoder.is_done() {
            if let Some(Open { connection, home, .. }) = self.open.take() {
                give_back(connection, home);
            }
        } else if over {
            self.open = None;
        }
        Poll::Ready(next)
    }

    /// Whether nothing more comes.
    pub(crate) fn is_end(&self) -> bool {
        self.open.is_none()
    }

    /// How the end of the body is marked.
    pub(crate) fn framing(&self) -> ResponseFraming {
        self.framing
    }
}

impl Open {
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            match self.decoder.decode(&mut self.connection.buffer) {
                Err(Malformed(why)) => return Poll::Ready(Some(Err(BodyError::Malformed(why)))),
                Ok(Some(chunk)) => return Poll::Ready(Some(Ok(chunk))),
                Ok(None) if self.decoder.is_done() => return Poll::Ready(None),
                Ok(None) => {}
            }
            match ready!(self.connection.poll_fill(cx)) {
                Ok(1..) => {}
                Ok(0) if self.decoder.framing() == ResponseFraming::UntilClose => {
                    return Poll::Ready(None);
                }
                Ok(0) => return Poll::Ready(Some(Err(BodyError::Truncated))),
                Err(_) => return Poll::Ready(Some(Err(BodyError::Broken))),
            }
        }
    }
}

/// Returns a connection to its shelf. Closes it if bytes came after the end of the answer: they
/// belong to no answer, so the next one could not be trusted.
fn give_back(connection: Connection, home: Option<Rc<Shelf>>) {
    if let Some(shelf) = home.filter(|_| connection.buffer.is_empty()) {
        shelf.put(connection);
    }
}
