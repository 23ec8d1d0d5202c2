//! Quotas of a deployment: requests or tokens that it may have in a window of time.
//!
//! Nothing overrides a quota that is used up: not fallback, not panic mode, not a strategy. The
//! deployment is forbidden until the window turns. The gateway counts by itself ([`counted`]), or
//! believes the headers of the deployment's answers ([`told`]), as the configuration says.
//!
//! [`Quotas::take`] takes what an attempt needs before it is sent, so that requests at the same time
//! do not pass a quota. The attempt's end settles what it used.

mod counted;
mod hold;
mod line;
mod of_deployment;
#[cfg(test)]
mod tests;
mod told;
mod wall;

use std::sync::Arc;
use std::time::{Duration, Instant};

use config::{Period, Quota, QuotaSource, QuotaUnit};

use counted::Full;
use hold::Holding;
use line::{Level, Line, Turned};

pub use hold::{QuotaHold, QuotaUse};
pub use wall::Wall;

/// When a client may ask again whose request does not fit beside those under way.
const SOON: Duration = Duration::from_secs(1);

/// The quotas of one deployment.
#[derive(Debug)]
pub struct Quotas {
    lines: Vec<Arc<Line>>,
}

/// Tokens that a request needs of quotas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QuotaNeeds {
    /// The most that it can take, for quotas that the gateway counts.
    pub most: u64,
    /// What it probably takes, for quotas that the deployment counts.
    pub expected: u64,
}

/// What a quota says of a request that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaSpent {
    /// The quota: `500 requests per minute`.
    pub quota: Arc<str>,
    /// Time until the request may fit: the end of the window, or soon where requests under way have
    /// reserved the rest. None: the request is larger than the quota.
    pub wait: Option<Duration>,
}

/// What the headers of an answer tell of a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToldQuota {
    /// What is counted.
    pub unit: QuotaUnit,
    /// The window, if the header names it.
    pub per: Option<Period>,
    /// What a window has.
    pub limit: Option<u64>,
    /// What is left of it.
    pub remaining: u64,
    /// Time until all of it, or the next of it, is there again. None: it is not told.
    pub reset: Option<Duration>,
}

/// A quota as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct QuotaReport {
    /// What is counted.
    pub unit: QuotaUnit,
    /// The window: `minute`, `90s`.
    pub per: String,
    /// Who counts.
    pub source: QuotaSource,
    /// What a window has.
    pub limit: u64,
    /// What is used of it, and reserved for requests under way. None: the deployment has told
    /// nothing.
    pub used: Option<u64>,
    /// Time until the window turns, if something is known of it.
    pub resets: Option<Duration>,
}

impl Quotas {
    /// The quotas of a deployment that was `old` before a reload. Counts of the same kind go on.
    /// None: it has none.
    #[must_use]
    pub fn of(quotas: &[Quota], old: Option<&Self>, wall: Wall) -> Option<Self> {
        let line = |quota: &Quota| {
            let old = old.and_then(|old| old.lines.iter().find(|line| line.is_like(quota)));
            Arc::new(Line::of(quota, old.map(|old| &**old), wall))
        };
        let lines: Vec<_> = quotas.iter().map(line).collect();
        (!lines.is_empty()).then_some(Self { lines })
    }

    /// Why a request does not fit. None: it does.
    #[must_use]
    pub fn forbids(&self, needs: QuotaNeeds, now: Instant) -> Option<QuotaSpent> {
        let spent = self.lines.iter().filter_map(|line| {
            let full = line.fits(needs, now).err()?;
            Some(spent(line, full, now))
        });
        // It must fit in all of them.
        spent.max_by_key(|spent| spent.wait.unwrap_or(Duration::MAX))
    }

    /// Takes what an attempt needs, of all quotas or of none. Dropped before it is
    /// [armed](QuotaHold::arm), all is given back.
    ///
    /// # Errors
    /// If it does not fit.
    pub fn take(&self, needs: QuotaNeeds, now: Instant) -> Result<QuotaHold, QuotaSpent> {
        let mut hold = QuotaHold::new(self.lines.len(), now);
        for line in &self.lines {
            match line.take(needs, now) {
                Ok(taken) => hold.add(Holding { line: Arc::clone(line), taken }),
                Err(full) => return Err(spent(line, full, now)),
            }
        }
        Ok(hold)
    }

    /// When the deployment may be used again. None: nothing is used up.
    #[must_use]
    pub fn closed(&self, now: Instant) -> Option<Instant> {
        self.lines.iter().filter_map(|line| line.closed(now)).max()
    }

    /// The quota that is used up for the longest time, and when it is back.
    fn tightest(&self, now: Instant) -> Option<(&Line, Instant)> {
        let closed = self.lines.iter().filter_map(|line| Some((&**line, line.closed(now)?)));
        closed.max_by_key(|(_, until)| *until)
    }

    /// Quotas that were used up, or came back, since the last call.
    fn turned(&self, now: Instant) -> impl Iterator<Item = (&Line, Turned)> {
        self.lines.iter().filter_map(move |line| Some((&**line, line.turned(now)?)))
    }

    /// Whether headers of this unit belong to one of these quotas.
    #[must_use]
    pub fn believes(&self, unit: QuotaUnit) -> bool {
        self.lines
            .iter()
            .any(|line| line.quota.unit == unit && line.quota.source == QuotaSource::Headers)
    }

    /// The used share of the tightest quota, 0 to 1, and the time until its window turns. None:
    /// nothing is known.
    #[must_use]
    pub fn used(&self, now: Instant) -> Option<(f64, Duration)> {
        let levels = self.lines.iter().filter_map(|line| line.level(now));
        let of = |level: Level| (level.share(), level.ends.saturating_duration_since(now));
        levels.map(of).max_by(|(a, _), (b, _)| a.total_cmp(b))
    }

    /// The requests that are left in the tightest quota of requests. None: it is not known.
    #[must_use]
    pub fn requests_left(&self, now: Instant) -> Option<u64> {
        let lines = self.lines.iter().filter(|line| line.quota.unit == QuotaUnit::Requests);
        let left = |level: Level| level.limit.saturating_sub(level.used);
        lines.filter_map(|line| line.level(now).map(left)).min()
    }

    /// All of them.
    #[must_use]
    pub fn report(&self, now: Instant) -> Vec<QuotaReport> {
        let report = |line: &Arc<Line>| {
            let (quota, level) = (&line.quota, line.level(now));
            QuotaReport {
                unit: quota.unit,
                per: quota.window(),
                source: quota.source,
                limit: level.map_or(quota.amount, |level| level.limit),
                used: level.map(|level| level.used),
                resets: level.map(|level| level.ends.saturating_duration_since(now)),
            }
        };
        self.lines.iter().map(report).collect()
    }
}

fn spent(line: &Line, full: Full, now: Instant) -> QuotaSpent {
    let wait = match full {
        Full::Used(until) => Some(until.saturating_duration_since(now)),
        Full::Reserved => Some(SOON),
        Full::Never => None,
    };
    QuotaSpent { quota: Arc::clone(&line.name), wait }
}
