//! Property tests: the invariants of every itinerary, for any state and behaviour of deployments.

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

use config::{Ambiguous, Fallback, RetryBudget, Standby};
use http::StatusCode;

use super::scene::{FALLBACK, Known, LONG, WELL, terms};
use super::*;

fn known() -> impl Strategy<Value = Known> {
    let often = || prop::bool::weighted(0.8);
    (often(), often(), prop::bool::weighted(0.2), often(), any::<bool>()).prop_map(
        |(eligible, open, cools, up, failing)| {
            let cools = cools.then_some(LONG);
            Known { eligible, open, cools, up, failing, ..WELL }
        },
    )
}

fn fallback() -> impl Strategy<Value = Fallback> {
    let standby = prop_oneof![Just(Standby::Last), Just(Standby::Never)];
    let ambiguous = prop_oneof![Just(Ambiguous::Once), Just(Ambiguous::Never)];
    (1u32..6, standby, ambiguous, 0u32..3).prop_map(|(attempts, standby, ambiguous, per_second)| {
        let budget = RetryBudget { percent: 0, per_second };
        Fallback { attempts, standby, ambiguous, budget }
    })
}

/// The results of steps: how many of four places are free, whether waiting gives one, whether the
/// deployment admits the attempt, whether its failure is ambiguous, and whether it is a refusal.
type Luck = (u8, bool, bool, bool, bool);

/// What an itinerary did.
#[derive(Debug, Default)]
struct Trace {
    entered: Vec<usize>,
    attempted: Vec<usize>,
    ambiguous: usize,
    refused: usize,
    waits: usize,
    steps: usize,
}

fn drive(
    mut itinerary: Itinerary<'_>,
    deployments: &Vec<Known>,
    luck: &[Luck],
    seed: u64,
    start: Instant,
) -> (Trace, Exhausted, u64) {
    let (budget, mut rng) = (Budget::new(start), StdRng::seed_from_u64(seed));
    let (mut trace, mut event) = (Trace::default(), Event::Ready);
    let mut luck = luck.iter().cycle();
    loop {
        trace.steps += 1;
        assert!(trace.steps < 1000, "the itinerary never ends");
        let (free, waits, admits, ambiguous, refused) = *luck.next().expect("a result");
        event = match itinerary.step(event, deployments, &budget, &mut rng, start) {
            Step::Enter(at) => {
                trace.entered.push(at);
                match free % 4 {
                    0 => Event::Full,
                    1 => Event::Pressed { soon: waits },
                    _ => Event::Entered,
                }
            }
            Step::Wait { until, .. } => {
                assert!(until <= itinerary.end() && until >= start);
                let wanted = itinerary.wanted();
                assert!(!wanted.is_empty());
                trace.waits += 1;
                let at = wanted[usize::from(free) % wanted.len()];
                assert!(trace.entered.contains(&at), "it waits where it had a turn");
                if waits { Event::Placed(at) } else { Event::NoPlace(Busy::Waited) }
            }
            Step::PassOver(at) => {
                assert!(!deployments[at].up);
                Event::NoPlace(Busy::Dispersed)
            }
            Step::Attempt(_) if !admits => Event::Refused,
            Step::Attempt(at) => {
                itinerary.began(start);
                trace.attempted.push(at);
                trace.ambiguous += usize::from(ambiguous);
                let refused = refused && !ambiguous;
                trace.refused += usize::from(refused);
                let status = match refused {
                    true => StatusCode::SERVICE_UNAVAILABLE,
                    false => StatusCode::INTERNAL_SERVER_ERROR,
                };
                let _ = itinerary.failed(Failure { ambiguous, ..Cause::Status(status).into() });
                Event::Ready
            }
            Step::GiveUp => break,
        };
    }
    let told = itinerary.exhausted(|at| at.to_string(), "m", None, start);
    (trace, told, budget.denied())
}

proptest! {
    /// It ends. It gives no deployment two turns, and none that must not be tried. It makes no more
    /// attempts than allowed, and reports each of them.
    #[test]
    fn the_rules_hold_whatever_happens(
        deployments in prop::collection::vec(known(), 1..8),
        weights in prop::collection::vec(prop_oneof![Just(0.0), 0.01..1.0f64], 8),
        fallback in fallback(),
        panic in any::<bool>(),
        luck in prop::collection::vec(any::<Luck>(), 1..40),
        seed in any::<u64>(),
    ) {
        let (start, mut rng) = (Instant::now(), StdRng::seed_from_u64(seed));
        let weights = &weights[..deployments.len()];
        let terms = Terms { panic, ..terms(fallback, start) };
        let itinerary = Itinerary::begin(weights, terms, &deployments, &mut rng, start);
        let in_panic = itinerary.is_panic();
        let (trace, told, denied) = drive(itinerary, &deployments, &luck, seed, start);

        let mut once = trace.entered.clone();
        once.sort_unstable();
        once.dedup();
        prop_assert_eq!(once.len(), trace.entered.len(), "a deployment is tried twice");
        for at in &trace.entered {
            let Known { eligible, open, cools, .. } = deployments[*at];
            let usable = if in_panic { cools.is_none() } else { eligible && open };
            prop_assert!(usable);
            prop_assert!(weights[*at] > 0.0 || fallback.standby == Standby::Last);
        }
        // A refusal costs no attempt, but there is an end to them.
        let refused = trace.refused.min(REFUSALS as usize);
        prop_assert!(trace.attempted.len() - refused <= fallback.attempts as usize);
        prop_assert!(trace.ambiguous <= 1 + usize::from(fallback.ambiguous == Ambiguous::Once));
        let names: Vec<String> = trace.attempted.iter().map(usize::to_string).collect();
        let failed: Vec<String> = told.failures.into_iter().map(|(name, _)| name).collect();
        prop_assert_eq!(names, failed);
        prop_assert_eq!(denied, u64::from(told.over_budget));
    }

    /// Panic mode begins only if no deployment may get traffic.
    #[test]
    fn panic_is_the_last_resort(
        deployments in prop::collection::vec(known(), 1..8),
        weights in prop::collection::vec(0.01..1.0f64, 8),
        seed in any::<u64>(),
    ) {
        let (start, mut rng) = (Instant::now(), StdRng::seed_from_u64(seed));
        let weights = &weights[..deployments.len()];
        let terms = terms(FALLBACK, start);
        let itinerary = Itinerary::begin(weights, terms, &deployments, &mut rng, start);
        let usable = deployments.iter().any(|known| known.eligible && known.open);
        prop_assert_eq!(itinerary.is_panic(), !usable);
    }

    /// Among healthy deployments with free places, all weighted ones are tried before those of
    /// weight 0.
    #[test]
    fn standby_comes_last(
        weights in prop::collection::vec(prop_oneof![Just(0.0), 0.01..1.0f64], 1..8),
        seed in any::<u64>(),
    ) {
        let (start, mut rng) = (Instant::now(), StdRng::seed_from_u64(seed));
        let deployments = vec![WELL; weights.len()];
        let budget = RetryBudget { percent: 0, per_second: 1000 };
        let terms = terms(Fallback { attempts: 100, budget, ..FALLBACK }, start);
        let itinerary = Itinerary::begin(&weights[..], terms, &deployments, &mut rng, start);
        let (trace, ..) = drive(itinerary, &deployments, &[(2, true, true, false, false)], seed, start);
        prop_assert_eq!(trace.attempted.len(), weights.len());
        prop_assert!(trace.attempted.is_sorted_by_key(|at| weights[*at] == 0.0));
    }
}
