//! The quotas of a deployment, as its requests meet them.

use std::time::{Duration, Instant, SystemTime};

use contract::Signal;

use crate::{Condition, Deployment, State};

use super::line::Turned;
use super::{QuotaHold, QuotaNeeds, QuotaSpent, QuotaUse, Quotas, ToldQuota};

impl Deployment {
    /// Why a quota forbids a request. None: none does.
    #[must_use]
    pub fn quota_forbids(&self, needs: QuotaNeeds, now: Instant) -> Option<QuotaSpent> {
        let quotas = self.quotas.as_ref()?;
        self.look_at_quotas(quotas, now);
        quotas.forbids(needs, now)
    }

    /// Takes what an attempt needs of its quotas. None: it has no quota.
    ///
    /// # Errors
    /// If it does not fit.
    pub fn take_quota(
        &self,
        needs: QuotaNeeds,
        now: Instant,
    ) -> Result<Option<QuotaHold>, QuotaSpent> {
        let Some(quotas) = &self.quotas else { return Ok(None) };
        let taken = quotas.take(needs, now);
        self.look_at_quotas(quotas, now);
        taken.map(Some)
    }

    /// Ends an attempt that took of its quotas.
    pub fn settle_quota(&self, hold: &QuotaHold, used: QuotaUse, now: Instant) {
        hold.settle(used, now);
        if let Some(quotas) = &self.quotas {
            self.look_at_quotas(quotas, now);
        }
    }

    /// Records what an answer to an attempt tells of the quotas that its headers are believed for.
    pub(crate) fn told_quota(&self, hold: &QuotaHold, told: &[ToldQuota], now: Instant) {
        hold.tell(told, now);
        if let Some(quotas) = &self.quotas {
            self.look_at_quotas(quotas, now);
        }
    }

    /// When a quota that is used up is back. None: none is.
    pub(crate) fn quota_closed(&self, now: Instant) -> Option<Instant> {
        self.quotas.as_ref()?.closed(now)
    }

    /// Its state while a quota is used up.
    pub(crate) fn quota_state(&self, now: Instant) -> Option<State> {
        let quotas = self.quotas.as_ref()?;
        self.look_at_quotas(quotas, now);
        let (line, until) = quotas.tightest(now)?;
        let seconds = seconds(until.saturating_duration_since(now));
        let reason = format!("its quota of {} is used up for {seconds} s", line.name);
        Some(State {
            condition: Condition::Quota,
            reason: Some(reason),
            since: line.closed_since().unwrap_or(SystemTime::UNIX_EPOCH),
            factor: 1.0,
        })
    }

    /// The value of a signal of quotas. NaN if nothing is known.
    pub(crate) fn quota_signal(&self, signal: Signal, now: Instant) -> f64 {
        let quotas = self.quotas.as_ref();
        let used = || {
            let own = quotas.and_then(|quotas| quotas.used(now));
            let told = self.slots.quota_used(now);
            [own, told].into_iter().flatten().max_by(|(a, _), (b, _)| a.total_cmp(b))
        };
        match signal {
            Signal::QuotaRequests => {
                let own = quotas.and_then(|quotas| quotas.requests_left(now));
                #[expect(clippy::cast_precision_loss, reason = "quotas are at most 10^15")]
                let own = own.map_or(f64::NAN, |left| left as f64);
                // `min` ignores NaN.
                own.min(self.slots.quota(now).unwrap_or(f64::NAN))
            }
            Signal::QuotaUsed => used().map_or(f64::NAN, |(share, _)| share),
            Signal::QuotaResets => used().map_or(f64::NAN, |(_, time)| time.as_secs_f64() * 1e3),
            _ => f64::NAN,
        }
    }

    /// Logs what changed, and has it published. Requests that wait for a deployment leave it when
    /// its quota is used up.
    fn look_at_quotas(&self, quotas: &Quotas, now: Instant) {
        for (line, turned) in quotas.turned(now) {
            let (model, deployment) = (&*self.model, &*self.config.name);
            let quota = &*line.name;
            match turned {
                Turned::Closed(until) => {
                    let resets_s = seconds(until.saturating_duration_since(now));
                    tracing::warn!(model, deployment, quota, resets_s, "quota used up");
                    self.slots.disperse();
                }
                Turned::Opened => tracing::info!(model, deployment, quota, "quota is back"),
            }
            self.announce_change();
        }
    }
}

/// Whole seconds, rounded up.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
