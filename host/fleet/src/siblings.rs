//! The state that the deployments of one model share. Whether one may be ejected depends on the
//! others.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use config::{Config, Ejection, SlowStart};

use super::ejection::{Sibling, may_go};
use super::slow_start::Ramp;
use super::standing::{Change, Standing, Turn};
use super::suspicions::Suspicions;
use super::{ChangeNotifier, Health, Rate};

/// The deployments of one model, as each of them sees the others.
#[derive(Debug)]
pub(super) struct Siblings {
    pub(super) ejection: Ejection,
    pub(super) slow_start: SlowStart,
    pub(super) changes: Arc<ChangeNotifier>,
    /// Requests for the model.
    pub(super) rate: Arc<Rate>,
    /// Held while an ejection is decided, so that two deployments do not go at once.
    deciding: Arc<Mutex<()>>,
    members: Vec<Member>,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) standing: Arc<Standing>,
    pub(super) suspicions: Arc<Suspicions>,
    pub(super) health: Option<Arc<Health>>,
}

impl Member {
    fn seen(&self, now: Instant) -> Sibling {
        let is_up = || self.health.as_ref().is_none_or(|health| health.is_up());
        match self.standing.is_out(now) {
            true => Sibling::Out,
            false if self.standing.is_clear(now) && self.suspicions.is_clear() && is_up() => {
                Sibling::OfUse
            }
            false => Sibling::Doubtful,
        }
    }
}

impl Siblings {
    pub(super) fn new(
        config: &Config,
        changes: Arc<ChangeNotifier>,
        rate: Option<Arc<Rate>>,
        deciding: Arc<Mutex<()>>,
        members: Vec<Member>,
    ) -> Self {
        let rate = rate.unwrap_or_else(|| Arc::new(Rate::new(Ramp::WINDOW, super::now())));
        let (ejection, slow_start) = (config.ejection, config.slow_start);
        Self { ejection, slow_start, changes, rate, deciding, members }
    }

    /// Ejects a deployment if its siblings allow it: see [`may_go`].
    pub(super) fn eject(
        &self,
        standing: &Arc<Standing>,
        turn: Turn,
        reason: String,
        now: Instant,
    ) -> Change {
        let _deciding = self.deciding.lock().unwrap_or_else(PoisonError::into_inner);
        match may_go(self.others(standing).map(|other| other.seen(now))) {
            true => standing.eject(turn, reason, &self.ejection, now),
            false => Change::None,
        }
    }

    fn others<'a>(&'a self, standing: &'a Arc<Standing>) -> impl Iterator<Item = &'a Member> {
        self.members.iter().filter(move |member| !Arc::ptr_eq(&member.standing, standing))
    }

    /// The slow start of a deployment that is restored now. None if it gets its full weight at
    /// once.
    pub(super) fn ramp(&self, now: Instant) -> Option<Ramp> {
        Ramp::begin(self.rate.per_second(now), &self.slow_start, now)
    }
}
