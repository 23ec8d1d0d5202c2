//! What a strategy says of one request: the answers of `wit/0.3.0-draft/routing.wit` in Rust.

use crate::Weights;

/// What happens with a request. [`Weights`] become one by `into`.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It is sent.
    Route(Plan),
    /// It waits in the line for up to so many milliseconds, at most 60,000. The strategy is asked
    /// again when there is room or the time is over, three times at most. Then the last `assign`
    /// decides.
    Hold(u32),
    /// It is answered with 429.
    Refuse {
        /// Seconds after which the client may ask again, at least 1.
        retry_after: u32,
        /// Why: an index into [`Strategy::REASONS`](crate::Strategy::REASONS). The client is told.
        reason: Option<u16>,
    },
}

/// How a request is sent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// What the gateway draws by.
    pub weights: Weights,
    /// An explicit order: deployments of a smaller number are tried before those of a larger one.
    pub tiers: Option<Tiers>,
    /// What to do while the deployment that was drawn is full.
    pub when_full: WhenFull,
    /// A second attempt, if the first takes long.
    pub hedge: Option<Hedge>,
    /// Why: an index into [`Strategy::REASONS`](crate::Strategy::REASONS).
    pub reason: Option<u16>,
}

/// A second attempt beside the first. Whichever begins an answer first goes to the client, and the
/// other is cancelled. The gateway makes it within `hedge.budget`, if a place is free at once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hedge {
    /// Milliseconds after the first attempt began, at most 60,000.
    pub after: u32,
    /// What the gateway draws the second deployment by. The first is left out. A deployment of weight
    /// 0 gets no second attempt.
    pub weights: Weights,
    /// The most that the second attempt may cost in US dollars. Ask for the signal `request.cost`: where
    /// it is not known there is no second attempt.
    pub max_cost: Option<f64>,
}

/// An explicit order of deployments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tiers {
    /// One number for each deployment of `local`, in its order.
    pub local: Vec<u8>,
    /// One number for each deployment of `remote`, in its order.
    pub remote: Vec<u8>,
}

/// What to do while the deployment that was drawn is full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// Where its configured places are taken, wait as the configuration says. Where it has shown
    /// that it takes less, take the next one.
    #[default]
    AsConfigured,
    /// Take the next one that has a free place. If none has, wait in the line.
    Next,
    /// Wait for it, for at most so many milliseconds, before the next is taken.
    Wait(u32),
}

impl From<Weights> for Plan {
    fn from(weights: Weights) -> Self {
        Self { weights, ..Self::default() }
    }
}

impl From<Plan> for Verdict {
    fn from(plan: Plan) -> Self {
        Self::Route(plan)
    }
}

impl From<Weights> for Verdict {
    fn from(weights: Weights) -> Self {
        Self::Route(weights.into())
    }
}
