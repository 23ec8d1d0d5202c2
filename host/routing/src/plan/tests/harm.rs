//! Strategies that fail or take too much time in calls off the request path.

use contract::RestCause;

use super::*;

/// A scene of one learner and its model `m0`, and another strategy with `m1`.
fn learner(spec: Spec) -> Scene {
    Scene::of(&[0, 1], &[Spec { learns: true, ..spec }, Spec::default()])
}

impl Scene {
    fn end(&self, attempts: usize) {
        (0..attempts).for_each(|_| {
            self.attempt_queue[0].add(EndedAttempt::new(0, Ending::Ok, Duration::ZERO))
        });
    }

    /// Moves the clock by `after` and decides. Returns the calls that failed.
    fn failed(&mut self, after: Duration) -> Vec<Failed> {
        self.now += after;
        let changed = self.fleet().changes.take();
        let decision = self.plan.decide(changed.iter().map(|model| &**model), self.now, || true);
        self.snapshot = decision.snapshot.unwrap_or_else(|| self.plan.snapshot());
        decision.failures
    }

    fn outcomes(&self) -> usize {
        self.record.lock().unwrap().outcomes
    }

    fn rests_for(&self) -> Option<RestCause> {
        self.snapshot.strategy_states[0].rests_for
    }
}

#[test]
fn faults_on_outcomes_are_told_and_rest_the_strategy() {
    let mut scene = learner(Spec { fails_on_outcomes: true, ..Spec::default() });
    // A good answer of `assign` follows each of the first five.
    for nth in 1..=6 {
        scene.end(1);
        let failures = scene.failed(SECOND);
        let [Failed { strategy: 0, role: Role::Live, call: FailedCall::Outcome, rests_for, .. }] =
            &failures[..]
        else {
            panic!("{failures:?}");
        };
        assert_eq!(*rests_for, (nth == 6).then_some(RestCause::Faults));
        let state = &scene.snapshot.strategy_states[0];
        assert_eq!(state.last_error.as_deref(), Some("outcome: trapped: as told"));
        assert_eq!(state.rests_for, *rests_for);
    }
    // Attempts of the rest are dropped.
    for _ in 0..29 {
        scene.end(1);
        assert!(scene.failed(SECOND).is_empty());
    }
    assert_eq!((scene.outcomes(), scene.rests_for()), (6, Some(RestCause::Faults)));
    scene.end(1);
    assert_eq!(scene.failed(2 * SECOND).len(), 1, "one trial");
}

#[test]
fn good_answers_of_assign_do_not_hide_faults_on_outcomes() {
    let refresh = Some(SECOND);
    let mut scene = learner(Spec { fails_on_outcomes: true, refresh, ..Spec::default() });
    let mut faults = 0;
    while scene.rests_for().is_none() {
        scene.end(1);
        faults += scene.failed(SECOND).len();
        assert!(faults < 10);
    }
    assert!(faults >= 5);
}

#[test]
fn a_strategy_is_told_once_in_a_decision_and_in_batches() {
    let mut scene = Scene::of(&[0; 5], &[Spec { learns: true, ..Spec::default() }]);
    scene.end(2_000);
    // All five models change.
    (0..5).for_each(|model| scene.attempt(model, 0, limited(SECOND)));
    scene.decide(100 * MS);
    assert_eq!((scene.outcomes(), scene.record.lock().unwrap().told), (1, 512));
    // The rest is told soon, without a change.
    let start = scene.now;
    while scene.record.lock().unwrap().told < 2_000 {
        scene.decide_next();
    }
    assert_eq!(scene.outcomes(), 4);
    assert!(scene.now - start < 2 * SECOND, "{:?}", scene.now - start);
}

#[test]
fn a_strategy_beyond_its_share_rests_and_keeps_its_weights() {
    let spec = Spec { refresh: Some(100 * MS), cpu_time: 95 * MS, ..Spec::default() };
    let mut scene = Scene::of(&[0, 1], &[spec, refreshes(100 * MS)]);
    let weights = scene.snapshot.routes[0].weights.clone();
    assert!(scene.failed(100 * MS).is_empty());
    let failures = scene.failed(100 * MS);
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert_eq!(failures[0].fault, Fault::Overspent(100 * MS));
    assert_eq!(failures[0].rests_for, Some(RestCause::Cpu));
    assert_eq!(scene.rests_for(), Some(RestCause::Cpu));
    let error = scene.snapshot.strategy_states[0].last_error.clone();
    assert!(error.unwrap().starts_with("m0: beyond its share of CPU time, 100ms a second"));
    scene.asked();
    assert_eq!(scene.decide(100 * MS), ["m1"], "the other strategy goes on");
    assert_eq!(scene.snapshot.routes[0].weights, weights);
    // One trial at the end of the rest puts it back in use.
    assert!(scene.decide(30 * SECOND).contains(&"m0".to_owned()));
    assert_eq!(scene.rests_for(), None);
}

#[test]
fn time_of_outcomes_is_charged_too() {
    let mut scene = learner(Spec { cpu_time: 60 * MS, ..Spec::default() });
    let mut failures = Vec::new();
    while failures.is_empty() {
        scene.end(1);
        failures = scene.failed(SECOND);
    }
    // Each second has an `outcome` and an `assign`.
    assert_eq!(failures[0].fault, Fault::Overspent(100 * MS));
    assert_eq!(scene.rests_for(), Some(RestCause::Cpu));
}

#[test]
fn what_is_within_its_share_goes_on() {
    let spec = Spec { refresh: Some(100 * MS), cpu_time: 9 * MS, ..Spec::default() };
    let mut scene = Scene::of(&[0], &[spec]);
    for _ in 0..1_000 {
        assert!(scene.failed(100 * MS).is_empty());
    }
}
