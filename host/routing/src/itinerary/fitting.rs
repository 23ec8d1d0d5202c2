//! Which deployments a request may be tried at: those that are allowed, and large enough.

use http::StatusCode;
use rand::SeedableRng;
use rand::rngs::StdRng;

use config::Fallback;

use crate::Lack;

use super::scene::{FALLBACK, Known, WELL, terms};
use super::*;

/// The deployments with these context lengths that a request is tried at, if each attempt fails with
/// `failure`. A deployment of length 0 is forbidden.
fn tried(lengths: &[u64], panic: bool, failure: &Failure) -> Vec<usize> {
    let of = |&context_length| Known { context_length, forbidden: context_length == 0, ..WELL };
    let (deployments, now) = (lengths.iter().map(of).collect::<Vec<_>>(), Instant::now());
    let (budget, mut rng) = (Budget::new(now), StdRng::seed_from_u64(1));
    let weights: Vec<f64> =
        lengths.iter().enumerate().map(|(i, _)| 1000f64.powi(-(i as i32))).collect();
    let fallback = Fallback { attempts: 9, ..FALLBACK };
    let terms = Terms { panic, ..terms(fallback, now) };
    let mut itinerary = Itinerary::begin(weights, terms, &deployments, &mut rng, now);
    let (mut tried, mut event) = (Vec::new(), Event::Ready);
    loop {
        match itinerary.step(event, &deployments, &budget, &mut rng, now) {
            Step::Enter(_) => event = Event::Entered,
            Step::Attempt(at) => {
                itinerary.began(now);
                itinerary.failed(failure.clone());
                tried.push(at);
                event = Event::Ready;
            }
            _ => return tried,
        }
    }
}

#[test]
fn what_did_not_fit_goes_to_a_larger_one_only() {
    let too_long = |said: Option<&str>| {
        let cause = Cause::Unfit(Lack::Context, StatusCode::BAD_REQUEST);
        let message = said.unwrap_or_default().to_owned();
        Failure::from(cause).with(answers::refusal::Words { message, ..Default::default() })
    };
    let mut all = tried(&[16, 128, 16, 64], false, &too_long(None));
    assert!(all.len() > 1 && all.iter().all(|at| *at != 2), "{all:?}");
    all.dedup();
    assert_eq!(tried(&[16, 16, 8], false, &too_long(None)), [0], "nobody has more");
    let said = "the maximum context length is 4096 tokens, you requested 5000 tokens: too long";
    assert_eq!(
        tried(&[8192, 8192], false, &too_long(Some(said))).len(),
        2,
        "it has less than it should"
    );
}

proptest::proptest! {
    #[test]
    fn what_is_forbidden_gets_no_attempt(
        lengths in proptest::collection::vec(0..3u64, 1..6),
        panic in proptest::prelude::any::<bool>(),
    ) {
        let failed = Failure::from(Cause::Connect);
        let allowed = lengths.iter().filter(|length| **length > 0).count();
        let tried = tried(&lengths, panic, &failed);
        proptest::prop_assert!(tried.iter().all(|at| lengths[*at] > 0), "{tried:?}");
        proptest::prop_assert_eq!(tried.len(), allowed, "and each of the others does");
    }
}
