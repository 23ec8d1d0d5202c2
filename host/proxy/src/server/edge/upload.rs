//! The body of a request, as the service reads it.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};

use crate::api::RequestBody;
use crate::attempts::BoxError;

use super::link::Link;

/// Where the body of a request is read from.
#[derive(Debug)]
pub(in crate::server) enum Upload {
    /// The body arrived with its head.
    Whole(Bytes),
    /// The service reads it from the socket.
    Apart(Rc<Link>),
    /// hyper reads it: it has no known length, or the client waits for `100 Continue`. Or there is
    /// none.
    Hyper(Incoming),
}

impl RequestBody for Upload {
    fn left(&self) -> Option<u64> {
        match self {
            Self::Whole(body) => Some(body.len() as u64),
            Self::Apart(link) => Some(link.source.borrow().left()),
            Self::Hyper(body) => body.size_hint().exact(),
        }
    }

    fn take_whole(&mut self) -> Option<Bytes> {
        match self {
            Self::Whole(body) => Some(std::mem::take(body)),
            Self::Apart(_) | Self::Hyper(_) => None,
        }
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut Vec<u8>,
    ) -> Poll<Result<bool, BoxError>> {
        match self {
            Self::Whole(body) => {
                to.extend_from_slice(&std::mem::take(body));
                Poll::Ready(Ok(false))
            }
            Self::Apart(link) => {
                let mut source = link.source.borrow_mut();
                ready!(source.poll_body(cx, to))?;
                Poll::Ready(Ok(source.left() > 0))
            }
            Self::Hyper(body) => match ready!(Pin::new(body).poll_frame(cx)) {
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        to.extend_from_slice(&data);
                    }
                    Poll::Ready(Ok(true))
                }
                None => Poll::Ready(Ok(false)),
            },
        }
    }
}
