//! Reading the body of a request.

use std::error::Error as StdError;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use config::Limits;
use fleet::admission::{CoreHold, CoreQuota};
use http1::Refusal;

use crate::attempts::BoxError;

use super::Error;
use super::error::Crowd;

/// A body of no more bytes is read even if its request is refused, if it comes within this time.
const SMALL: u64 = 64 << 10;
const ON_ITS_WAY: Duration = Duration::from_millis(100);

/// The body of a request, as its connection has it.
pub(crate) trait RequestBody {
    /// Bytes that have not been read yet. None: it is not known how many.
    fn left(&self) -> Option<u64>;

    /// All of it, if it is here in one piece.
    fn take_whole(&mut self) -> Option<Bytes>;

    /// Reads some of it, to the end of `to`. False: that was the last.
    ///
    /// # Errors
    /// If it goes wrong on its way; where it is refused, a [`Refusal`] is among the causes.
    fn poll_read(&mut self, cx: &mut Context<'_>, to: &mut Vec<u8>)
    -> Poll<Result<bool, BoxError>>;
}

/// Reads and forgets a small body that is here or on its way, so that its connection can be used again: to
/// connect anew costs more than the refusal.
pub(super) async fn forget(mut body: impl RequestBody) {
    if body.left().is_some_and(|length| length <= SMALL) {
        let mut read = Vec::new();
        let all =
            async { while let Ok(true) = poll_fn(|cx| body.poll_read(cx, &mut read)).await {} };
        // One that does not come ends its connection.
        let _ = timeout(ON_ITS_WAY, all).await;
    }
}

/// Reads a body whole. What it takes of all that may be held grows as it comes: a length that is only
/// announced takes nothing from others.
pub(super) async fn collect(
    mut body: impl RequestBody,
    limits: Limits,
    bodies: &CoreQuota,
) -> Result<(Bytes, CoreHold), Error> {
    let too_large = || Error::TooLarge(limits.body);
    if body.left().is_some_and(|length| length > limits.body as u64) {
        return Err(too_large());
    }
    let full = || Error::Overloaded(Crowd::Bodies);
    if let Some(whole) = body.take_whole() {
        let held = bodies.take(whole.len(), limits.bodies).ok_or_else(full)?;
        return Ok((whole, held));
    }
    let mut held = bodies.take(0, limits.bodies).ok_or_else(full)?;
    let mut whole = Vec::new();
    loop {
        let before = whole.len();
        let read = poll_fn(|cx| body.poll_read(cx, &mut whole)).await;
        let more = read.map_err(|error| refusal(&*error).map_or(Error::Body, Error::Refused))?;
        if whole.len() > limits.body {
            return Err(too_large());
        }
        if !held.grow(whole.len() - before, limits.bodies) {
            return Err(full());
        }
        if !more {
            return Ok((whole.into(), held));
        }
    }
}

/// Why the body was refused on its way, if it was.
fn refusal(error: &(dyn StdError + 'static)) -> Option<Refusal> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(refusal) = inner.and_then(|inner| inner.downcast_ref::<Refusal>()) {
            return Some(*refusal);
        }
        cause = error.source();
    }
    None
}
