//! What comes of the answers and the failures of strategies.

use proptest::prelude::{ProptestConfig, prop, prop_assert_eq, proptest};
use proptest::strategy::Strategy as Generator;

use super::*;

#[test]
fn nothing_new_is_nothing_to_publish() {
    let mut scene = Scene::of(&[0], &[refreshes(100 * MS)]);
    let decision = scene.plan.decide([], scene.now + 100 * MS, || true);
    assert!(decision.snapshot.is_none() && decision.failures.is_empty());
    assert_eq!(scene.asked(), ["m0"]);
}

#[test]
fn a_strategy_that_keeps_failing_rests() {
    let fails = Spec { fails: true, ..Spec::default() };
    let mut scene = Scene::of(&[0; 7], &[fails]);
    let half_a_minute = 30 * SECOND;
    // The first five are asked at the start, and the two others not at all.
    assert!(scene.snapshot.strategy_states[0].last_error.is_some());
    scene.attempt(6, 0, limited(SECOND));
    assert_eq!(scene.decide(MS), [""; 0], "it rests");
    assert_eq!(scene.snapshot.routes[6].states[0].condition, Condition::Cooling);
    assert_eq!(scene.decide(2 * SECOND), [""; 0]);
    let asked = scene.decide(half_a_minute);
    assert_eq!(asked.len(), 1, "one more fault is enough: {asked:?}");
    let next = scene.plan.next(scene.now).unwrap() - scene.now;
    assert_eq!(next, half_a_minute);
}

#[test]
fn a_model_that_was_not_answered_is_asked_about_again() {
    let fails = Spec { fails: true, ..Spec::default() };
    let mut scene = Scene::of(&[0], &[fails]);
    assert_eq!(scene.decide_next(), (30 * SECOND, vec!["m0".to_owned()]));
}

#[test]
fn good_answers_are_counted_once() {
    let mut scene = Scene::of(&[0, 0, 1], &[Spec::default(), refreshes(100 * MS)]);
    let counted = |scene: &mut Scene| -> Vec<(String, usize)> {
        scene.plan.answers().map(|(name, count)| (name.to_owned(), count)).collect()
    };
    let harmonic = |count| ("harmonic".to_owned(), count);
    assert_eq!(counted(&mut scene), [harmonic(2), harmonic(1)]);
    assert_eq!(counted(&mut scene), [harmonic(0), harmonic(0)]);
    scene.decide_next();
    scene.attempt(0, 0, limited(SECOND));
    scene.decide(MS);
    assert_eq!(counted(&mut scene), [harmonic(1), harmonic(1)]);
}

/// Something that happens at a deployment of a model, and how many milliseconds pass after it.
fn events() -> impl Generator<Value = Vec<(usize, usize, u8, u32)>> {
    prop::collection::vec((0..5usize, 0..DEPLOYMENTS, 0..4u8, 0..4_000u32), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// An incremental decision gives the same result as one that asks about every model.
    #[test]
    fn it_decides_as_one_that_asks_about_everything(events in events()) {
        let mut scene = Scene::of(&[0, 1, 0, 1, 2], &[Spec::default(); 3]);
        for (model, at, what, passes) in events {
            let outcome = match what {
                0 => Outcome::Success,
                1 => limited(SECOND),
                2 => Outcome::Credential { cause: "answered 401".into() },
                _ => Outcome::Failure { cause: "answered 500".into(), kind: fleet::FailureKind::Answer },
            };
            let times = if what == 3 { 5 } else { 1 };
            (0..times).for_each(|_| scene.attempt(model, at, outcome.clone()));
            scene.decide(passes * MS);
            let mut all = harmonic(Spec::default(), &Arc::default());
            for (model, route) in scene.fleet().models.iter().zip(&scene.snapshot.routes) {
                let shared = Shared::of(&scene.plan.generation);
                let (expected, _) = share(model, Some(&mut all), shared, &mut Vec::new(), scene.now);
                prop_assert_eq!(&**route, &expected);
            }
        }
    }
}
