//! A deployment that answers others, but gives no first byte in time.

use std::time::{Instant, SystemTime};

/// Most requests that may try in vain whether a stall is over. One more is a failure.
const IN_VAIN: u32 = 8;

/// Since then no request that was sent later has got its first byte.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stall {
    pub(super) since: Instant,
    /// When the first of the stalls came: for people.
    pub(super) began: SystemTime,
    /// A request is out that tries whether it is over.
    pub(super) on_trial: bool,
    /// Requests that were sent before it, and given up. Engines may work on them for seconds before
    /// they notice.
    given_up: u32,
    /// Requests that tried whether it is over, and got no first byte in time.
    in_vain: u32,
}

impl Stall {
    /// The stall after a request that was sent at `sent` got no first byte in time. `before`: the
    /// stall so far.
    pub(super) fn again(before: Option<Self>, sent: Instant, now: Instant) -> Self {
        let began = before.map_or_else(SystemTime::now, |stall| stall.began);
        let (mut given_up, mut in_vain) =
            before.map_or((0, 0), |stall| (stall.given_up, stall.in_vain));
        match before.is_none_or(|stall| sent < stall.since) {
            true => given_up += 1,
            false => in_vain += 1,
        }
        Self { since: now, began, on_trial: false, given_up, in_vain }
    }

    /// True if this stall explains one more request without a first byte: the request was sent
    /// before the stall, or the engine may still work on requests that were given up.
    pub(super) fn explains(&self, sent: Instant) -> bool {
        sent < self.since || self.in_vain < self.given_up.min(IN_VAIN)
    }
}
