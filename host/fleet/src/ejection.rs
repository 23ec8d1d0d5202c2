//! Passive ejection: what the attempts at one deployment say against it, and how long it is out for it.
//!
//! ```text
//! in -- failures --> out -- its time passes --> half-open: one request is let through, the trial
//! ^                   ^                          |   |
//! |                   +---- it fails: doubled ---+   |
//! +--------------------------------- it succeeds ----+
//! ```
//! Only values of the caller come in, time included.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use config::Ejection;

use super::Fault;

/// The history of one deployment.
#[derive(Debug, Default)]
pub(super) struct Ejections {
    /// Failures in a row.
    streak: u32,
    /// The last attempts, true for a failure; at most `window` of them.
    recent: VecDeque<bool>,
    /// What of the streak is more than a lost connection.
    faults: u32,
    /// How often it was ejected, less one for each `base` that it was in since `back`.
    count: u32,
    back: Option<Instant>,
    out: Option<Out>,
    /// Changes with every way out and back in: tells outcomes of before from those of now.
    epoch: u64,
}

/// One ejection.
#[derive(Debug)]
pub(super) struct Out {
    pub(super) reason: String,
    pub(super) since: SystemTime,
    pub(super) until: Instant,
    pub(super) lasts: Duration,
    began: Instant,
    /// What it lasts before jitter.
    nominal: Duration,
    /// Probes see nothing of what it is out for.
    beyond_probes: bool,
    /// A probe has failed since: what is there when one succeeds is not what failed.
    seen_down: bool,
    /// A probe ended it early.
    probed: bool,
    /// The one request that is let through is under way.
    pub(super) on_trial: bool,
}

/// Another deployment of the same model, when it is decided whether one may be ejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sibling {
    /// It is ejected, on trial or not.
    Out,
    /// Nothing is held against it, and it is up.
    OfUse,
    /// Neither.
    Doubtful,
}

/// Whether a deployment with these `others` may be ejected: at most half are out at a time, and never the last that
/// is of use.
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
    /// Changes with each ejection and each return: an outcome of an earlier epoch says nothing of this one.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The ejection that lasts. None: the deployment is in.
    pub(super) fn out(&self) -> Option<&Out> {
        self.out.as_ref()
    }

    /// Takes a success: it ends a row of failures.
    pub(super) fn succeeded(&mut self, settings: &Ejection) {
        self.streak = 0;
        self.faults = 0;
        self.remember(false, settings);
    }

    /// Takes a failure; the answer is the reason to eject the deployment, if it is one.
    pub(super) fn failed(
        &mut self,
        cause: &str,
        fault: Fault,
        settings: &Ejection,
    ) -> Option<String> {
        self.streak = self.streak.saturating_add(1);
        self.faults = self.faults.saturating_add(u32::from(fault == Fault::Answer));
        self.remember(true, settings);
        if settings.consecutive.is_some_and(|most| self.streak >= most) {
            return Some(format!("{} attempts in a row failed, the last: {cause}", self.streak));
        }
        let (seen, failed) = (self.recent.len(), self.recent.iter().filter(|f| **f).count());
        let percent = settings.percent? as usize;
        let due = seen >= settings.window as usize && failed * 100 >= percent * seen;
        due.then(|| format!("{failed} of the last {seen} attempts failed, the last: {cause}"))
    }

    fn remember(&mut self, failed: bool, settings: &Ejection) {
        self.recent.push_back(failed);
        while self.recent.len() > settings.window as usize {
            self.recent.pop_front();
        }
    }

    /// Takes the deployment out. `jitter` is from -1 to 1: deployments that failed together are not
    /// to come back together.
    pub(super) fn eject(&mut self, reason: String, settings: &Ejection, jitter: f64, now: Instant) {
        self.count = self.decayed(settings, now).saturating_add(1);
        let nominal = settings.base.saturating_mul(self.count).min(settings.max);
        let beyond_probes = self.faults > 0;
        self.take_out(reason, nominal, beyond_probes, jitter, now);
    }

    /// The trial failed: out again, for twice as long. A probe that had ended the ejection early was
    /// wrong, and does so no more.
    pub(super) fn trial_failed(
        &mut self,
        cause: &str,
        fault: Fault,
        settings: &Ejection,
        jitter: f64,
        now: Instant,
    ) {
        let Some(out) = &self.out else { return };
        self.count = self.count.saturating_add(1);
        let doubled = out.nominal.saturating_mul(2);
        let nominal = doubled.max(settings.base.saturating_mul(self.count)).min(settings.max);
        let beyond_probes = out.beyond_probes || out.probed || fault == Fault::Answer;
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
        self.out = Some(Out {
            reason,
            since: SystemTime::now(),
            until: now + lasts,
            lasts,
            began: now,
            nominal,
            beyond_probes,
            seen_down: false,
            probed: false,
            on_trial: false,
        });
        self.forget();
    }

    /// Takes the deployment back in; says whether it was out.
    pub(super) fn restore(&mut self, now: Instant) -> bool {
        if self.out.take().is_none() {
            return false;
        }
        self.back = Some(now);
        self.forget();
        true
    }

    fn forget(&mut self) {
        self.streak = 0;
        self.faults = 0;
        self.recent.clear();
        self.epoch += 1;
    }

    /// The turn of the one request that is let through, if it can be had now.
    pub(super) fn try_out(&mut self, now: Instant) -> bool {
        let free = self.trial_is_free(now);
        if let (true, Some(out)) = (free, &mut self.out) {
            out.on_trial = true;
        }
        free
    }

    /// Whether the ejection has lasted long enough and no trial is under way.
    pub(super) fn trial_is_free(&self, now: Instant) -> bool {
        self.out.as_ref().is_some_and(|out| out.until <= now && !out.on_trial)
    }

    /// Ends a trial that says nothing: the next request may be one.
    pub(super) fn give_back_trial(&mut self) {
        if let Some(out) = &mut self.out {
            out.on_trial = false;
        }
    }

    /// A probe that was sent at `sent` found the place healthy. Its trial may come at once where it was
    /// out for lost connections alone, which probes can judge, or has come up after having been down:
    /// what runs there now is not what failed. Says whether that changes anything.
    pub(super) fn probed(&mut self, sent: Instant, came_up: bool, now: Instant) -> bool {
        match &mut self.out {
            Some(out)
                if (came_up || out.seen_down || !out.beyond_probes)
                    && sent > out.began
                    && out.until > now =>
            {
                out.probed = true;
                out.lasts = now.saturating_duration_since(out.began);
                out.until = now;
                true
            }
            _ => false,
        }
    }

    /// A probe that was sent at `sent` failed.
    pub(super) fn probe_failed(&mut self, sent: Instant) {
        if let Some(out) = self.out.as_mut().filter(|out| sent > out.began) {
            out.seen_down = true;
        }
    }

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
