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

/// The body of a refused request is read if it has at most this many bytes and arrives within
/// [`ON_ITS_WAY`].
const SMALL: u64 = 64 << 10;
const ON_ITS_WAY: Duration = Duration::from_millis(100);

/// The body of a request, as its connection provides it.
pub(crate) trait RequestBody {
    /// Bytes that have not been read yet. None: unknown.
    fn left(&self) -> Option<u64>;

    /// The whole body, if it is here in one piece.
    fn take_whole(&mut self) -> Option<Bytes>;

    /// Appends more of the body to `to`. False: the body is complete.
    ///
    /// # Errors
    /// If the body fails on its way. If it was refused, a [`Refusal`] is among the causes.
    fn poll_read(&mut self, cx: &mut Context<'_>, to: &mut Vec<u8>)
    -> Poll<Result<bool, BoxError>>;
}

/// Reads and drops a small body that is here or on its way, so that its connection can be used
/// again. A new connection costs more than the refusal.
pub(super) async fn forget(mut body: impl RequestBody) {
    if body.left().is_some_and(|length| length <= SMALL) {
        let mut read = Vec::new();
        let all =
            async { while let Ok(true) = poll_fn(|cx| body.poll_read(cx, &mut read)).await {} };
        // A body that does not arrive in time closes its connection.
        let _ = timeout(ON_ITS_WAY, all).await;
    }
}

/// Reads a whole body. Its share of `limits.bodies_mib` grows as it arrives: an announced length
/// takes nothing from others.
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
            // Reading may have reserved twice as much as came.
            whole.shrink_to_fit();
            return Ok((whole.into(), held));
        }
    }
}

/// The refusal among the causes of an error, if there is one.
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
