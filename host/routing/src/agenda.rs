//! What the decision thread does next: put a plan in use, decide, or wait.

use std::time::{Duration, Instant};

/// The shortest time between the end of a decision and the next one. Changes meanwhile become one
/// decision.
const GAP: Duration = Duration::from_millis(25);
/// The shortest time between a decision that panicked and the next one.
const AGAIN: Duration = Duration::from_secs(1);

/// The next step of the decision thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgendaStep {
    /// Put the waiting plan in use.
    Install,
    /// Decide with the plan in use.
    Decide,
    /// Wait for a change until then. None means without a limit.
    Wait(Option<Instant>),
}

/// The waiting work of the decision thread. A plan goes first. Changes wait for the end of [`GAP`].
#[derive(Debug, Default)]
pub struct Agenda {
    /// Since when a change waits.
    changed: Option<Instant>,
    /// No decision before that.
    earliest: Option<Instant>,
}

impl Agenda {
    /// Notes that models changed.
    pub fn changed(&mut self, now: Instant) {
        self.changed.get_or_insert(now);
    }

    /// Notes that a decision or an installation has ended. It has taken up all earlier changes.
    pub fn decided(&mut self, now: Instant) {
        *self = Self { changed: None, earliest: Some(now + GAP) };
    }

    /// Notes that a decision panicked: it is tried again after a second.
    pub fn panicked(&mut self, now: Instant) {
        *self = Self { changed: Some(now), earliest: Some(now + AGAIN) };
    }

    /// The step to take at `now`. `plan_waits` is true if a plan waits to be put in use. `due` is
    /// when the plan in use must decide next, even without a change.
    #[must_use]
    pub fn step(&self, plan_waits: bool, due: Option<Instant>, now: Instant) -> AgendaStep {
        if plan_waits {
            return AgendaStep::Install;
        }
        let Some(wanted) = [self.changed, due].into_iter().flatten().min() else {
            return AgendaStep::Wait(None);
        };
        match self.earliest.map_or(wanted, |earliest| wanted.max(earliest)) {
            at if at <= now => AgendaStep::Decide,
            at => AgendaStep::Wait(Some(at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_first_change_is_decided_at_once() {
        let (mut agenda, now) = (Agenda::default(), Instant::now());
        assert_eq!(agenda.step(false, None, now), AgendaStep::Wait(None));
        agenda.changed(now);
        assert_eq!(agenda.step(false, None, now), AgendaStep::Decide);
        agenda.decided(now);
        assert_eq!(agenda.step(false, None, now), AgendaStep::Wait(None));
        let later = now + 60 * 1000 * MS;
        agenda.changed(later);
        assert_eq!(agenda.step(false, None, later), AgendaStep::Decide);
    }

    #[test]
    fn changes_within_the_gap_are_one_decision() {
        let (mut agenda, now) = (Agenda::default(), Instant::now());
        let mut decisions = Vec::new();
        // A change each millisecond of a second.
        for at in (0..1000).map(|ms| now + ms * MS) {
            agenda.changed(at);
            if agenda.step(false, None, at) == AgendaStep::Decide {
                decisions.push(at);
                agenda.decided(at);
            }
        }
        assert_eq!(decisions.len(), 40);
        assert!(decisions.windows(2).all(|pair| pair[1] - pair[0] == GAP));
    }

    #[test]
    fn a_plan_goes_before_changes() {
        let (mut agenda, now) = (Agenda::default(), Instant::now());
        agenda.decided(now);
        agenda.changed(now);
        assert_eq!(agenda.step(false, None, now), AgendaStep::Wait(Some(now + GAP)));
        assert_eq!(agenda.step(true, Some(now), now), AgendaStep::Install);
    }

    #[test]
    fn what_is_due_keeps_the_gap_too() {
        let (mut agenda, now) = (Agenda::default(), Instant::now());
        let due = Some(now + 10 * MS);
        assert_eq!(agenda.step(false, due, now), AgendaStep::Wait(due));
        agenda.decided(now);
        assert_eq!(agenda.step(false, due, now + 10 * MS), AgendaStep::Wait(Some(now + GAP)));
        assert_eq!(agenda.step(false, due, now + GAP), AgendaStep::Decide);
    }

    #[test]
    fn a_panic_is_tried_again_after_a_second() {
        let (mut agenda, now) = (Agenda::default(), Instant::now());
        agenda.panicked(now);
        agenda.changed(now + MS);
        assert_eq!(agenda.step(false, None, now + 999 * MS), AgendaStep::Wait(Some(now + AGAIN)));
        assert_eq!(agenda.step(false, None, now + AGAIN), AgendaStep::Decide);
        assert_eq!(agenda.step(true, None, now + MS), AgendaStep::Install);
    }
}
