//! Which models strategies are asked about, and when.

use super::*;

#[test]
fn only_models_that_changed_are_asked_about() {
    let mut scene = Scene::of(&[0, 1, 0, 1], &[Spec::default(); 2]);
    assert_eq!((scene.decide(SECOND), scene.plan.next(scene.now)), (vec![], None));
    let before = scene.snapshot.routes.clone();
    scene.attempt(2, 0, limited(5 * SECOND));
    scene.fleet().changes.add(&"gone".into());
    assert_eq!(scene.decide(SECOND), ["m2"]);
    let routes = &scene.snapshot.routes;
    let shared: Vec<bool> = before.iter().zip(routes).map(|(a, b)| Arc::ptr_eq(a, b)).collect();
    assert_eq!(shared, [true, true, false, true]);
    assert_eq!(routes[2].states[0].condition, Condition::Cooling);
    assert_eq!(routes[2].weights[0], 0.0);
    // Time alone ends it.
    let (after, asked) = scene.decide_next();
    assert!(after <= 5 * SECOND, "{after:?}");
    assert_eq!((asked, scene.plan.next(scene.now)), (vec!["m2".to_owned()], None));
    assert_eq!(scene.snapshot.routes[2].weights, before[2].weights);
}

#[test]
fn each_strategy_keeps_its_own_refresh() {
    let specs = [refreshes(100 * MS), Spec::default(), refreshes(250 * MS)];
    let mut scene = Scene::of(&[0, 1, 2, 0], &specs);
    let mut turns = Vec::new();
    let start = scene.now;
    while turns.len() < 6 {
        let (_, asked) = scene.decide_next();
        turns.push(((scene.now - start).as_millis(), asked.concat()));
    }
    let due = |at, asked: &str| (at, asked.to_owned());
    let first = [due(100, "m0m3"), due(200, "m0m3"), due(250, "m2"), due(300, "m0m3")];
    assert_eq!(turns[..4], first);
    assert_eq!(turns[4..], [due(400, "m0m3"), due(500, "m0m3m2")]);
}

#[test]
fn a_learner_is_asked_when_there_was_something_to_learn() {
    let learner = Spec { learns: true, ..Spec::default() };
    let mut scene = Scene::of(&[0, 0, 1], &[learner, Spec::default()]);
    assert_eq!(scene.decide_next(), (SECOND, vec![]));
    let attempt = EndedAttempt::new(0, Ending::Ok, Duration::ZERO);
    scene.attempt_queue[0].add(attempt);
    assert_eq!(scene.decide(SECOND / 2), [""; 0], "not due");
    let asked = scene.decide_next();
    assert_eq!(asked, (SECOND / 2, vec!["m0".to_owned(), "m1".into()]));
    // A changed model's strategy is first told of earlier attempts. The other models follow when
    // due.
    scene.attempt_queue[0].add(attempt);
    scene.attempt(1, 0, limited(60 * SECOND));
    assert_eq!(scene.decide(SECOND / 2), ["m1"]);
    assert_eq!(scene.record.lock().unwrap().told, 2);
    assert_eq!(scene.decide_next(), (SECOND / 2, vec!["m0".to_owned(), "m1".into()]));
    assert_eq!(scene.decide_next(), (SECOND, vec![]));
}

#[test]
fn an_installed_plan_asks_only_about_what_changed_since() {
    let mut scene = Scene::of(&[0, 0, 0], &[Spec::default()]);
    scene.attempt(1, 2, limited(5 * SECOND));
    let (snapshot, failures) = scene.plan.install(scene.now, || true);
    assert!(failures.is_empty());
    assert_eq!(scene.asked(), ["m1"]);
    assert_eq!(snapshot.routes[1].states[2].condition, Condition::Cooling);
    assert!(Arc::ptr_eq(&snapshot.routes[0], &scene.snapshot.routes[0]));
}

#[test]
fn changes_go_before_what_is_due_when_time_is_short() {
    let mut scene = Scene::of(&[0; 6], &[refreshes(100 * MS)]);
    scene.now += 100 * MS;
    scene.attempt(4, 0, limited(SECOND));
    let changed = scene.fleet().changes.take();
    let mut left = 2;
    let go_on = || {
        left -= 1;
        left > 0
    };
    scene.plan.decide(changed.iter().map(|model| &**model), scene.now, go_on);
    assert_eq!(scene.asked(), ["m4", "m0"]);
    assert_eq!(scene.plan.next(scene.now), Some(scene.now));
    assert_eq!(scene.decide(Duration::ZERO), ["m1", "m2", "m3", "m5"]);
    assert_eq!(scene.plan.next(scene.now), Some(scene.now + 100 * MS));
}

#[test]
fn a_broken_decision_is_made_anew() {
    let mut scene = Scene::of(&[0, 0], &[Spec::default()]);
    scene.plan.decide_all();
    assert_eq!(scene.plan.next(scene.now), Some(scene.now));
    assert_eq!(scene.decide(Duration::ZERO), ["m0", "m1"]);
}
