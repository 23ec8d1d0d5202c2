//! Probed places: when each is due, and what its answers change.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use tokio::task::AbortHandle;

use config::Probing;
use fleet::{Deployment, Fleet, Health};

use super::ask::{Answer, NotReady, Place, Probe};
use super::calendar::{Calendar, phase};

/// Most probes under way at places whose last probe failed. Such a probe may take its whole time
/// limit. At the limit only places of the same kind wait: a place that answers is probed whenever
/// it is due.
const FAILING: usize = 512;
/// With more places than this, no connection is kept from one probe to the next.
const KEPT: usize = 64;

/// Names a place while it is probed. Never used again for another one.
pub(super) type Id = u64;

/// All places that are probed.
#[derive(Debug, Default)]
pub(super) struct Places {
    probing: Probing,
    calendar: Option<Calendar>,
    client: Option<reqwest::Client>,
    probed: HashMap<Id, Probed>,
    by_place: HashMap<Arc<Place>, Id>,
    /// Keyed by the address of the [`Health`].
    by_health: HashMap<usize, Id>,
    /// Also contains times that were replaced since, and places that are gone. Those are skipped.
    due: BinaryHeap<Reverse<(Instant, Id)>>,
    /// Places that are due, but wait because [`FAILING`] probes are under way.
    delayed: VecDeque<Id>,
    /// Probes under way at places whose last probe failed.
    failing: usize,
    next_id: Id,
}

/// A place, and what is known of it.
#[derive(Debug)]
struct Probed {
    place: Arc<Place>,
    health: Arc<Health>,
    /// The deployments at this place.
    sharers: Vec<Arc<Deployment>>,
    state: ProbeState,
    /// Whether its last probe failed.
    failed: bool,
    /// Whether its last probe was refused for its key.
    key_refused: bool,
}

/// What happens next at a place.
#[derive(Debug)]
enum ProbeState {
    /// The place is probed at this time.
    Due(Instant),
    /// The place is in [`Places::delayed`].
    Delayed,
    /// A probe is under way.
    Asked {
        _abort: AbortOnDrop,
        /// Whether it counts in [`Places::failing`].
        counts: bool,
        /// Whether another probe follows at its end.
        again: bool,
    },
}

#[derive(Debug)]
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Places {
    /// Probes every place of `fleet` that has a probe, and no other. A place that stays is not
    /// disturbed: a reload neither delays nor adds a probe.
    pub(super) fn follow(
        &mut self,
        fleet: &Fleet,
        probing: Probing,
        client: &reqwest::Client,
        now: Instant,
    ) {
        // Other settings: every place starts again.
        if self.probing != probing {
            let next_id = self.next_id;
            *self = Self { next_id, ..Self::default() };
        }
        self.probing = probing;
        self.client = Some(client.clone());
        self.calendar = probing
            .interval
            .map(|interval| self.calendar.unwrap_or_else(|| Calendar::new(now, interval)));
        self.probed.values_mut().for_each(|probed| probed.sharers.clear());
        let mut new = Vec::new();
        for deployment in fleet.deployments() {
            if let (Some(health), Some(target), true) =
                (&deployment.health, &deployment.config.probe, self.calendar.is_some())
            {
                let place = (deployment.config.endpoint.origin.clone(), target.clone());
                new.extend(self.share(place, health, deployment, now));
            }
        }
        let gone = self.probed.iter().filter(|(_, probed)| probed.sharers.is_empty());
        let gone: Vec<Id> = gone.map(|(id, _)| *id).collect();
        gone.into_iter().for_each(|id| self.remove(id));
        if let Some(calendar) = self.calendar {
            let count = new.len();
            for (nth, id) in new.into_iter().enumerate() {
                self.set_due(id, calendar.first(nth, count, now));
            }
        }
    }

    /// Adds a deployment to those that share its place. Returns the place if it is new.
    fn share(
        &mut self,
        place: Place,
        health: &Arc<Health>,
        deployment: &Arc<Deployment>,
        now: Instant,
    ) -> Option<Id> {
        let known = self.by_place.get(&place).copied();
        if let Some(probed) = known.and_then(|id| self.probed.get_mut(&id))
            && Arc::ptr_eq(&probed.health, health)
        {
            probed.sharers.push(Arc::clone(deployment));
            return None;
        }
        known.into_iter().for_each(|id| self.remove(id));
        let (id, place) = (self.next_id, Arc::new(place));
        self.next_id += 1;
        self.by_place.insert(Arc::clone(&place), id);
        self.by_health.insert(address(health), id);
        let (health, sharers) = (Arc::clone(health), vec![Arc::clone(deployment)]);
        let state = ProbeState::Due(now);
        let (failed, key_refused) = (false, false);
        self.probed.insert(id, Probed { place, health, sharers, state, failed, key_refused });
        Some(id)
    }

    fn remove(&mut self, id: Id) {
        let Some(probed) = self.probed.remove(&id) else { return };
        self.by_place.remove(&probed.place);
        self.by_health.remove(&address(&probed.health));
        self.failing -= usize::from(probed.state.counts());
    }

    /// Makes these places due now. A place that is being probed is probed once more after that.
    pub(super) fn ask(&mut self, healths: &[Arc<Health>], now: Instant) {
        for health in healths {
            let Some(id) = self.by_health.get(&address(health)).copied() else { continue };
            let Some(probed) = self.probed.get_mut(&id) else { continue };
            match &mut probed.state {
                ProbeState::Due(_) => self.set_due(id, now),
                ProbeState::Delayed => {}
                ProbeState::Asked { again, .. } => *again = true,
            }
        }
    }

    /// The next place to probe at `now`, and its probe, which is under way once
    /// [`began`](Self::began) is called.
    pub(super) fn next(&mut self, now: Instant) -> Option<(Id, Arc<Place>, Probe)> {
        let id = self.next_delayed().or_else(|| self.next_due(now))?;
        let probed = self.probed.get(&id)?;
        let closes = self.probed.len() > KEPT || self.probing.interval >= Some(super::KEEP_ALIVE);
        let probe = Probe { client: self.client.clone()?, timeout: self.probing.timeout, closes };
        Some((id, Arc::clone(&probed.place), probe))
    }

    fn next_delayed(&mut self) -> Option<Id> {
        while self.failing < FAILING {
            let id = self.delayed.pop_front()?;
            if self.probed.get(&id).is_some_and(|p| matches!(p.state, ProbeState::Delayed)) {
                return Some(id);
            }
        }
        None
    }

    fn next_due(&mut self, now: Instant) -> Option<Id> {
        while self.next_time()? <= now {
            let Reverse((_, id)) = self.due.pop()?;
            let probed = self.probed.get_mut(&id)?;
            if !probed.failed || self.failing < FAILING {
                return Some(id);
            }
            probed.state = ProbeState::Delayed;
            self.delayed.push_back(id);
        }
        None
    }

    /// When the next place is due. Skips outdated entries.
    pub(super) fn next_time(&mut self) -> Option<Instant> {
        loop {
            let Reverse((time, id)) = self.due.peek()?;
            let probed = self.probed.get(id);
            if probed.is_some_and(|p| matches!(p.state, ProbeState::Due(due) if due == *time)) {
                return Some(*time);
            }
            self.due.pop();
        }
    }

    /// Records that the probe of a place is under way.
    pub(super) fn began(&mut self, id: Id, abort: AbortHandle) {
        let Some(probed) = self.probed.get_mut(&id) else { return };
        let counts = probed.failed;
        self.failing += usize::from(counts);
        probed.state = ProbeState::Asked { _abort: AbortOnDrop(abort), counts, again: false };
    }

    /// Records that the probe of a place has ended. `answer` is None if it panicked.
    pub(super) fn ended(&mut self, id: Id, answer: Option<Answer>, jitter: f64, now: Instant) {
        let (Some(probed), Some(calendar)) = (self.probed.get_mut(&id), self.calendar) else {
            return;
        };
        self.failing -= usize::from(probed.state.counts());
        let again = matches!(probed.state, ProbeState::Asked { again: true, .. });
        let next = if again { now } else { calendar.next(phase(&probed.place), jitter, now) };
        if let Some(Answer { sent, result: Some(result) }) = answer {
            probed.failed = matches!(result, Err(NotReady::Down(_)));
            let key_refused = matches!(result, Err(NotReady::KeyRefused(_)));
            let key_accepted = std::mem::replace(&mut probed.key_refused, key_refused)
                && !(key_refused || probed.failed);
            self.set_due(id, next);
            // Called last: a panic in it must not end the probes of this place.
            if let Some(probed) = self.probed.get(&id) {
                probed.record(result, sent, key_accepted, &self.probing);
            }
            return;
        }
        self.set_due(id, next);
    }

    fn set_due(&mut self, id: Id, time: Instant) {
        if let Some(probed) = self.probed.get_mut(&id) {
            probed.state = ProbeState::Due(time);
            self.due.push(Reverse((time, id)));
        }
    }
}

impl ProbeState {
    fn counts(&self) -> bool {
        matches!(self, Self::Asked { counts: true, .. })
    }
}

impl Probed {
    /// Takes the result of a probe that was sent at `sent`. `key_accepted`: the probe before was
    /// refused for its key. Tells the decision layer which deployments changed their state.
    fn record(
        &self,
        result: Result<(), NotReady>,
        sent: Instant,
        key_accepted: bool,
        probing: &Probing,
    ) {
        // A place that refuses a key is there.
        let (result, refused) = match result {
            Ok(()) => (Ok(()), None),
            Err(NotReady::KeyRefused(cause)) => (Ok(()), Some(cause)),
            Err(NotReady::Down(reason)) => (Err(reason), None),
        };
        let good = result.is_ok();
        let turned = self.health.record(result, probing);
        if turned {
            let (up, reason) = (self.health.is_up(), self.health.observation().reason);
            // By name: the log contains no addresses.
            let name = |d: &Arc<Deployment>| format!("{}/{}", d.model, d.config.name);
            let deployments = self.sharers.iter().map(name).collect::<Vec<_>>().join(", ");
            tracing::warn!(deployments, up, reason, "health changed");
        }
        for deployment in &self.sharers {
            let now = Instant::now();
            if let Some(cause) = &refused {
                deployment.probe_key_refused(cause, now);
            } else if key_accepted {
                deployment.probe_key_accepted(now);
            }
            deployment.probe_ended(good, turned, sent, now);
        }
    }
}

fn address(health: &Arc<Health>) -> usize {
    Arc::as_ptr(health).addr()
}
