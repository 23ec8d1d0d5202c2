//! Property test: the rules of ejection hold for any order of events.

use proptest::prelude::*;

use super::*;

/// An event. `Begin` picks a deployment, `End` and `Abandon` an attempt in flight.
#[derive(Debug, Clone)]
enum Event {
    Begin(usize),
    End(usize, Outcome),
    Abandon(usize),
    Pass(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let outcome = prop_oneof![
        3 => Just(Outcome::Success),
        8 => Just(failure()),
        4 => Just(lost()),
        1 => (0u32..40).prop_map(limited),
        1 => Just(Outcome::Neutral),
    ];
    prop_oneof![
        6 => (0usize..4).prop_map(Event::Begin),
        6 => (0usize..64, outcome).prop_map(|(i, outcome)| Event::End(i, outcome)),
        1 => (0usize..64).prop_map(Event::Abandon),
        2 => (0u64..40_000).prop_map(Event::Pass),
    ]
}

proptest! {
    /// At most half are out. An ejected or cooling deployment admits nothing, and a half-open one
    /// at most one attempt at a time. In the end, time alone makes each of them usable again.
    #[test]
    fn the_rules_hold_in_any_order(
        deployments in 1u16..=4,
        events in prop::collection::vec(event(), 1..300),
    ) {
        let mut scene = Scene::of(deployments);
        let count = usize::from(deployments);
        let mut under_way: Vec<(bool, Permit)> = Vec::new();
        for event in events {
            match event {
                Event::Begin(i) => {
                    let (i, before) = (i % count, scene.condition(i % count));
                    let trials = under_way.iter().filter(|(trial, permit)| {
                        *trial && Arc::ptr_eq(permit.deployment(), scene.at(i))
                    });
                    let (trials, open) = (trials.count(), scene.at(i).is_open(scene.now));
                    let permit = scene.admit(i);
                    prop_assert_eq!(open, permit.is_some());
                    let trial = before == Condition::HalfOpen;
                    match before {
                        Condition::Ejected | Condition::Cooling => prop_assert!(permit.is_none()),
                        Condition::HalfOpen => prop_assert_eq!(permit.is_some(), trials == 0),
                        _ => prop_assert!(permit.is_some()),
                    }
                    under_way.extend(permit.map(|permit| (trial, permit)));
                }
                Event::End(i, outcome) if !under_way.is_empty() => {
                    let (_, permit) = under_way.swap_remove(i % under_way.len());
                    permit.settle(outcome, scene.now);
                }
                Event::Abandon(i) if !under_way.is_empty() => {
                    drop(under_way.swap_remove(i % under_way.len()));
                }
                Event::End(..) | Event::Abandon(_) => {}
                Event::Pass(millis) => scene.pass(Duration::from_millis(millis)),
            }
            let out = |i: &usize| {
                matches!(scene.condition(*i), Condition::Ejected | Condition::HalfOpen)
            };
            prop_assert!((0..count).filter(out).count() * 2 <= count);
        }
        drop(under_way);
        scene.pass(Duration::from_secs(331));
        for i in 0..count {
            prop_assert!(scene.admit(i).is_some());
        }
    }
}
