//! What a strategy says about one request, before and after it is checked.

use std::time::Duration;

use super::{BadWeights, RawWeights, Weights};

/// The longest time that a strategy may hold a request at once.
pub const LONGEST_HOLD: Duration = Duration::from_secs(60);

/// A strategy's answer about one request, before any check.
#[derive(Debug, Clone, PartialEq)]
pub enum RawVerdict {
    /// It is sent.
    Route(RawPlan),
    /// It waits for so many milliseconds, or until there is room.
    Hold(u32),
    /// It is refused.
    Refuse {
        /// Seconds after which the client may ask again.
        retry_after: u32,
        /// Why, as an index.
        reason: Option<u16>,
    },
}

/// How a request is sent, before any check.
#[derive(Debug, Clone, PartialEq)]
pub struct RawPlan {
    /// What the host draws by.
    pub weights: RawWeights,
    /// An explicit order: local deployments, then remote ones.
    pub tiers: Option<(Vec<u8>, Vec<u8>)>,
    /// What happens while the deployment that was drawn is full.
    pub when_full: WhenFull,
    /// A second attempt, if the first takes long.
    pub hedge: Option<RawHedge>,
    /// Why, as an index.
    pub reason: Option<u16>,
}

/// A second attempt, before any check.
#[derive(Debug, Clone, PartialEq)]
pub struct RawHedge {
    /// Milliseconds after the first attempt began.
    pub after: u32,
    /// The weights by which the host draws the second deployment.
    pub weights: RawWeights,
    /// The most that it may cost, in US dollars.
    pub max_cost: Option<f64>,
}

/// What happens while the deployment that was drawn has no free place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// Where `concurrency.max` is reached the request waits as `concurrency` says. Where the
    /// deployment has refused requests the next one is taken.
    #[default]
    AsConfigured,
    /// The next one is taken that has a free place. If none has, the request waits in the line.
    Next,
    /// The request waits for that one, for at most so long, before the next is taken.
    Wait(Duration),
}

impl From<RawWeights> for RawVerdict {
    fn from(weights: RawWeights) -> Self {
        let (tiers, when_full, hedge, reason) = Default::default();
        Self::Route(RawPlan { weights, tiers, when_full, hedge, reason })
    }
}

/// A checked answer about one request.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It is sent.
    Route(RequestPlan),
    /// It waits for so long, at most [`LONGEST_HOLD`], or until there is room.
    Hold(Duration),
    /// It is answered with 429.
    Refuse(Denial),
}

/// How a request is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestPlan {
    /// What the host draws by.
    pub weights: Weights,
    /// An explicit order. None: the weights alone decide.
    pub tiers: Option<Tiers>,
    /// What happens while the deployment that was drawn is full.
    pub when_full: WhenFull,
    /// A second attempt, if the first takes long.
    pub hedge: Option<Hedge>,
    /// Why: an index into [`Description::reasons`](super::Description::reasons).
    pub reason: Option<u16>,
}

/// A second attempt beside the first.
#[derive(Debug, Clone, PartialEq)]
pub struct Hedge {
    /// Time after the first attempt began, at most [`LONGEST_HOLD`].
    pub after: Duration,
    /// The weights by which the host draws the second deployment.
    pub weights: Weights,
    /// The most that it may cost, in US dollars. None: any price.
    pub max_cost: Option<f64>,
}

/// Deployments of a smaller number are tried before those of a larger one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tiers {
    local: Vec<u8>,
    remote: Vec<u8>,
}

impl Tiers {
    /// In the order of the local candidates.
    #[must_use]
    pub fn local(&self) -> &[u8] {
        &self.local
    }

    /// In the order of the remote candidates.
    #[must_use]
    pub fn remote(&self) -> &[u8] {
        &self.remote
    }
}

/// A request that a strategy refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denial {
    /// When the client may ask again. At least a second.
    pub retry_after: Duration,
    /// Why: an index into [`Description::reasons`](super::Description::reasons).
    pub reason: Option<u16>,
}

/// Why an answer about a request was refused, as a whole.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BadVerdict {
    /// Its weights cannot be used.
    #[error(transparent)]
    Weights(#[from] BadWeights),
    /// A list of tiers does not have one number per deployment.
    #[error("{got} {side} tiers for {want} {side} deployments")]
    Tiers {
        /// Which list: `local` or `remote`.
        side: &'static str,
        /// Its length.
        got: usize,
        /// How many deployments were asked about.
        want: usize,
    },
    /// It names a reason that `describe` does not list.
    #[error("reason {reason} of {known}: `describe` gives the reasons, the first is 0")]
    Reason {
        /// The index.
        reason: u16,
        /// How many there are.
        known: usize,
    },
    /// A wait is too long.
    #[error("{0} ms is too long to wait: at most 60000 ms")]
    Wait(u64),
    /// The price limit of a second attempt is negative or not a number.
    #[error("a second attempt may cost at most {0} dollars: not a number of at least 0")]
    MaxCost(f64),
    /// A client may ask again at once.
    #[error("a request is refused for at least 1 second, not for 0")]
    RetryAfter,
}

impl Verdict {
    /// Checks an answer about `locals` and `remotes` deployments, of a strategy with so many
    /// `reasons`.
    ///
    /// # Errors
    /// The first problem found.
    pub fn check(
        raw: RawVerdict,
        [locals, remotes]: [usize; 2],
        reasons: usize,
    ) -> Result<Self, BadVerdict> {
        let known = |reason: Option<u16>| match reason {
            Some(reason) if usize::from(reason) >= reasons => {
                Err(BadVerdict::Reason { reason, known: reasons })
            }
            reason => Ok(reason),
        };
        Ok(match raw {
            RawVerdict::Route(plan) => Self::Route(RequestPlan {
                weights: Weights::check(plan.weights, locals, remotes)?,
                tiers: plan.tiers.map(|tiers| check_tiers(tiers, locals, remotes)).transpose()?,
                when_full: match plan.when_full {
                    WhenFull::Wait(time) if time > LONGEST_HOLD => return Err(too_long(time)),
                    when_full => when_full,
                },
                hedge: plan.hedge.map(|hedge| check_hedge(hedge, locals, remotes)).transpose()?,
                reason: known(plan.reason)?,
            }),
            RawVerdict::Hold(ms) => match Duration::from_millis(ms.into()) {
                time if time > LONGEST_HOLD => return Err(too_long(time)),
                time => Self::Hold(time),
            },
            RawVerdict::Refuse { retry_after: 0, .. } => return Err(BadVerdict::RetryAfter),
            RawVerdict::Refuse { retry_after, reason } => {
                let (retry_after, reason) =
                    (Duration::from_secs(retry_after.into()), known(reason)?);
                Self::Refuse(Denial { retry_after, reason })
            }
        })
    }
}

fn too_long(time: Duration) -> BadVerdict {
    BadVerdict::Wait(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

fn check_hedge(raw: RawHedge, locals: usize, remotes: usize) -> Result<Hedge, BadVerdict> {
    let after = Duration::from_millis(raw.after.into());
    if after > LONGEST_HOLD {
        return Err(too_long(after));
    }
    if let Some(cost) = raw.max_cost.filter(|cost| !(cost.is_finite() && *cost >= 0.0)) {
        return Err(BadVerdict::MaxCost(cost));
    }
    let weights = Weights::check(raw.weights, locals, remotes)?;
    Ok(Hedge { after, weights, max_cost: raw.max_cost })
}

fn check_tiers(
    (local, remote): (Vec<u8>, Vec<u8>),
    locals: usize,
    remotes: usize,
) -> Result<Tiers, BadVerdict> {
    for (side, got, want) in [("local", local.len(), locals), ("remote", remote.len(), remotes)] {
        if got != want {
            return Err(BadVerdict::Tiers { side, got, want });
        }
    }
    Ok(Tiers { local, remote })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> RawPlan {
        let weights = RawWeights { local: vec![1.0, 1.0], remote: vec![2.0] };
        RawPlan { weights, tiers: None, when_full: WhenFull::Next, hedge: None, reason: None }
    }

    fn hedge() -> RawHedge {
        let weights = RawWeights { local: vec![0.0, 0.0], remote: vec![3.0] };
        RawHedge { after: 60_000, weights, max_cost: Some(0.0) }
    }

    fn check(raw: RawVerdict) -> Result<Verdict, BadVerdict> {
        Verdict::check(raw, [2, 1], 2)
    }

    #[test]
    fn good_answers_are_taken() {
        let tiers = Some((vec![0, 1], vec![2]));
        let raw = RawPlan { tiers, hedge: Some(hedge()), reason: Some(1), ..plan() };
        let Ok(Verdict::Route(good)) = check(RawVerdict::Route(raw)) else { panic!("refused") };
        assert_eq!(good.weights.local(), [0.25, 0.25]);
        let tiers = good.tiers.expect("tiers");
        assert_eq!((tiers.local(), tiers.remote()), (&[0, 1][..], &[2][..]));
        assert_eq!((good.when_full, good.reason), (WhenFull::Next, Some(1)));
        let hedge = good.hedge.expect("a hedge");
        assert_eq!((hedge.after, hedge.max_cost), (LONGEST_HOLD, Some(0.0)));
        assert_eq!(hedge.weights.remote(), [1.0]);
        let held = check(RawVerdict::Hold(60_000));
        assert_eq!(held, Ok(Verdict::Hold(LONGEST_HOLD)));
        let refused = check(RawVerdict::Refuse { retry_after: 1, reason: Some(0) });
        let denial = Denial { retry_after: Duration::from_secs(1), reason: Some(0) };
        assert_eq!(refused, Ok(Verdict::Refuse(denial)));
    }

    #[test]
    fn bad_answers_are_refused_with_what_is_wrong() {
        let route = |change: fn(&mut RawPlan)| {
            let mut raw = plan();
            change(&mut raw);
            RawVerdict::Route(raw)
        };
        let long = Duration::from_millis(60_001);
        assert_ne!(long, LONGEST_HOLD);
        for (raw, says) in [
            (route(|plan| plan.weights.local.truncate(1)), "1 local weights for 2 local"),
            (route(|plan| plan.tiers = Some((vec![0], vec![0]))), "1 local tiers for 2 local"),
            (route(|plan| plan.tiers = Some((vec![0; 2], vec![]))), "0 remote tiers for 1 remote"),
            (route(|plan| plan.reason = Some(2)), "reason 2 of 2"),
            (
                route(|plan| plan.when_full = WhenFull::Wait(Duration::from_millis(60_001))),
                "60001 ms is too long",
            ),
            (
                route(|plan| plan.hedge = Some(RawHedge { after: 60_001, ..hedge() })),
                "60001 ms is too long",
            ),
            (
                route(|plan| plan.hedge = Some(RawHedge { max_cost: Some(-0.1), ..hedge() })),
                "at most -0.1 dollars",
            ),
            (
                route(|plan| plan.hedge = Some(RawHedge { max_cost: Some(f64::NAN), ..hedge() })),
                "at most NaN dollars",
            ),
            (
                route(|plan| {
                    plan.hedge = Some(hedge());
                    plan.hedge.as_mut().expect("a hedge").weights.remote[0] = 0.0;
                }),
                "sum",
            ),
            (RawVerdict::Hold(60_001), "60001 ms is too long"),
            (RawVerdict::Refuse { retry_after: 0, reason: None }, "at least 1 second"),
            (RawVerdict::Refuse { retry_after: 1, reason: Some(9) }, "reason 9 of 2"),
        ] {
            let error = check(raw.clone()).expect_err("bad").to_string();
            assert!(error.contains(says), "{raw:?}: {error}");
        }
    }
}
