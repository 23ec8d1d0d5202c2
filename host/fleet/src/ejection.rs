//! Passive ejection: when failed attempts take a deployment out of use, and for how long.
//!
//! ```text
//! in -- failures --> out -- its time passes --> half-open: one request is let through, the trial
//! ^                   ^                          |   |
//! |                   +---- it fails: doubled ---+   |
//! +--------------------------------- it succeeds ----+
//! ```
//! The caller passes the time and the jitter. The system clock is read only for display.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use config::Ejection;

use super::FailureKind;
use super::absence::Absence;

/// The history of one deployment's attempts and ejections.
#[derive(Debug, Default)]
pub(super) struct Ejections {
    /// Failures in a row.
    streak: u32,
    /// The last attempts, true for a failure; at most `window` of them.
    recent: VecDeque<bool>,
    /// Failures in the streak that a probe cannot see: [`FailureKind::Answer`].
    faults: u32,
    /// Ejections so far. The next ejection takes one off for each `base` in use since `back`.
    count: u32,
    /// When the deployment was last restored.
    back: Option<Instant>,
    out: Option<Ejected>,
    /// Rises with each ejection and each return.
    epoch: u64,
}

/// One ejection.
#[derive(Debug)]
pub(super) struct Ejected {
    pub(super) absence: Absence,
    /// Its duration before jitter.
    nominal: Duration,
    /// True if probes cannot judge the failures, so that a successful probe proves nothing.
    beyond_probes: bool,
    /// True if a probe has failed since. If one then succeeds, the engine has come up again.
    seen_down: bool,
    /// True if a probe ended it early.
    probed: bool,
    /// True while the trial request is in flight.
    pub(super) on_trial: bool,
}

/// Another deployment of the same model, as it counts for [`may_go`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sibling {
    /// The sibling is ejected, also during its trial.
    Out,
    /// The sibling is up, and there is no objection to it.
    OfUse,
    /// The sibling is neither ejected nor clearly usable.
    Doubtful,
}

/// True if a deployment with these `others` may be ejected. At most half of a model's deployments
/// are out at a time, and never the last usable one.
#[must_use]
pub fn may_go(others: impl Iterator<Item = Sibling>) -> bool {
    let (mut all, mut out, mut of_use) = (1, 1, 0);
    for other in others {
        all += 1;
        out += usize::from(other == Sibling::Out);
        of_use += usize::from(other == Sibling::OfUse);
    }
    out * 2 <= all && of_use > 0
}

impl Ejections {
    /// Rises with each ejection and each return. Outcomes of an earlier epoch are out of date.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The current ejection. None if the deployment is in use.
    pub(super) fn out(&self) -> Option<&Ejected> {
        self.out.as_ref()
    }

    /// Records a success, which ends a row of failures.
    pub(super) fn succeeded(&mut self, settings: &Ejection) {
        self.streak = 0;
        self.faults = 0;
        self.remember(false, settings);
    }

    /// Records a failure. Returns a reason if the deployment should now be ejected.
    pub(super) fn failed(
        &mut self,
        cause: &str,
        kind: FailureKind,
        settings: &Ejection,
    ) -> Option<String> {
        self.streak = self.streak.saturating_add(1);
        self.faults = self.faults.saturating_add(u32::from(kind == FailureKind::Answer));
        self.remember(true, settings);
        if settings.consecutive.is_some_and(|most| self.streak >= most) {
            return Some(format!("{} attempts in a row failed, the last: {cause}", self.streak));
        }
        let (seen, failed) = (self.recent.len(), self.recent.iter().filter(|f| **f).count());
        let percent = settings.percent? as usize;
        let due = seen >= settings.window as usize && failed * 100 >= percent * seen;
        due.then(|| format!("{failed} of the last {seen} attempts failed, the last: {cause}"))
    }

    /// Takes back a failure that was recorded in `epoch`, because it says nothing of the deployment.
    /// Returns true if it had caused the current ejection, which ends.
    pub(super) fn take_back(&mut self, epoch: u64) -> bool {
        if self.epoch == epoch {
            self.streak = self.streak.saturating_sub(1);
            self.faults = self.faults.saturating_sub(1);
            if let Some(at) = self.recent.iter().rposition(|failed| *failed) {
                self.recent.remove(at);
            }
            return false;
        }
        // No other failure came between this one and the ejection, or the epoch would be older.
        if self.epoch != epoch + 1 || self.out.take().is_none() {
            return false;
        }
        self.count = self.count.saturating_sub(1);
        self.forget();
        true
    }

    fn remember(&mut self, failed: bool, settings: &Ejection) {
        self.recent.push_back(failed);
        while self.recent.len() > settings.window as usize {
            self.recent.pop_front();
        }
    }

    /// Ejects the deployment for `base` times the number of ejections, at most `max`. If only
    /// connections failed, it takes `connect_base`, doubled with each ejection: whether a process
    /// listens again is cheap to try. A `jitter` of -1 to 1 varies that by up to 10 %: deployments
    /// that failed together must not come back together.
    pub(super) fn eject(&mut self, reason: String, settings: &Ejection, jitter: f64, now: Instant) {
        self.count = self.decayed(settings, now).saturating_add(1);
        let beyond_probes = self.faults > 0;
        let nominal = match beyond_probes {
            true => settings.base.saturating_mul(self.count),
            false => settings.connect_base.saturating_mul(1 << (self.count - 1).min(20)),
        };
        let nominal = nominal.min(settings.max);
        self.take_out(reason, nominal, beyond_probes, jitter, now);
    }

    /// Ejects the deployment again after a failed trial, for at least twice as long, at most `max`.
    /// If a probe ended the last ejection early, it was wrong, and probes cannot shorten this one.
    pub(super) fn trial_failed(
        &mut self,
        cause: &str,
        kind: FailureKind,
        settings: &Ejection,
        jitter: f64,
        now: Instant,
    ) {
        let Some(out) = &self.out else { return };
        self.count = self.count.saturating_add(1);
        let doubled = out.nominal.saturating_mul(2);
        let only_connections = !out.beyond_probes && kind == FailureKind::Connection;
        let least = if only_connections { settings.connect_base } else { settings.base };
        let nominal = doubled.max(least.saturating_mul(self.count)).min(settings.max);
        let beyond_probes = out.beyond_probes || out.probed || kind == FailureKind::Answer;
        let reason = format!("failed again when it was tried: {cause}");
        self.take_out(reason, nominal, beyond_probes, jitter, now);
    }

    fn take_out(
        &mut self,
        reason: String,
        nominal: Duration,
        beyond_probes: bool,
        jitter: f64,
        now: Instant,
    ) {
        let lasts = nominal.mul_f64(1.0 + 0.1 * jitter.clamp(-1.0, 1.0));
        self.out = Some(Ejected {
            absence: Absence::new(reason, lasts, now),
            nominal,
            beyond_probes,
            seen_down: false,
            probed: false,
            on_trial: false,
        });
        self.forget();
    }

    /// Ends the ejection. Returns false if there was none.
    pub(super) fn restore(&mut self, now: Instant) -> bool {
        if self.out.take().is_none() {
            return false;
        }
        self.back = Some(now);
        self.forget();
        true
    }

    /// Begins a new epoch without history.
    fn forget(&mut self) {
        self.streak = 0;
        self.faults = 0;
        self.recent.clear();
        self.epoch += 1;
    }

    /// Claims the trial. Returns true if the caller's request is the trial.
    pub(super) fn try_out(&mut self, now: Instant) -> bool {
        let free = self.trial_is_free(now);
        if let (true, Some(out)) = (free, &mut self.out) {
            out.on_trial = true;
        }
        free
    }

    /// True if the time of the ejection is over and no trial is in flight.
    pub(super) fn trial_is_free(&self, now: Instant) -> bool {
        self.out.as_ref().is_some_and(|out| out.absence.is_over(now) && !out.on_trial)
    }

    /// Ends the trial without a result, so that the next request may be the trial.
    pub(super) fn give_back_trial(&mut self) {
        if let Some(out) = &mut self.out {
            out.on_trial = false;
        }
    }

    /// Records a successful probe sent at `sent`. It ends the ejection's time in two cases. The
    /// failures were lost connections, which probes can judge. Or the place has come up after being
    /// down: the process that failed is gone. Returns true if it did.
    pub(super) fn probed(&mut self, sent: Instant, came_up: bool, now: Instant) -> bool {
        let Some(out) = &mut self.out else { return false };
        let is_proof = came_up || out.seen_down || !out.beyond_probes;
        let ends = is_proof && out.absence.began_before(sent) && out.absence.cut_short(now);
        out.probed |= ends;
        ends
    }

    /// Records a failed probe. It is ignored if it was sent before the ejection.
    pub(super) fn probe_failed(&mut self, sent: Instant) {
        if let Some(out) = self.out.as_mut().filter(|out| out.absence.began_before(sent)) {
            out.seen_down = true;
        }
    }

    /// The number of ejections, less one for each `base` in use since the last return.
    fn decayed(&self, settings: &Ejection, now: Instant) -> u32 {
        let Some(back) = self.back else { return self.count };
        let free = now.saturating_duration_since(back).div_duration_f64(settings.base);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at least 0, and a cast saturates"
        )]
        let free = free as u32;
        self.count.saturating_sub(free)
    }
}
