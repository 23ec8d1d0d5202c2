//! Signals of deployments as permits record them, on a clock that the tests set.

#![allow(clippy::unwrap_used)]

use config::{Config, DeploymentConfig};
use contract::SignalScope;

use crate::{Deployment, Entry, Fleet, Outcome, Permit, ToldQuota};
use samples::{deployment, model};

use super::table::tests::hash;
use super::*;

mod any_order;

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

/// A fleet of one model with two deployments, and the clock.
struct Scene {
    config: Config,
    fleet: Fleet,
    now: Instant,
}

impl Scene {
    fn new() -> Self {
        Self::with(|_| {})
    }

    /// The configuration of each deployment is changed first.
    fn with(change: impl Fn(&mut DeploymentConfig)) -> Self {
        let mut deployments = vec![deployment(1), deployment(2)];
        deployments.iter_mut().for_each(change);
        let config = Config { models: vec![model(deployments)], ..Config::default() };
        let scene = Self { fleet: Fleet::build(&config, None), config, now: Instant::now() };
        scene.want(Signal::ALL);
        scene
    }

    fn want(&self, signals: impl IntoIterator<Item = Signal>) {
        self.fleet.models[0].want(signals.into_iter().collect(), self.now);
    }

    fn at(&self, index: usize) -> &Arc<Deployment> {
        &self.fleet.models[0].deployments[index]
    }

    fn signal(&self, signal: Signal) -> f64 {
        self.at(0).signal(signal, None, self.now)
    }

    fn of_request(&self, signal: Signal, request: &RequestSignals) -> f64 {
        self.at(0).signal(signal, Some(request), self.now)
    }

    fn admit(&self) -> Permit {
        let Entry::Place(slot) = self.at(0).slots.try_enter(self.now) else { panic!("full") };
        self.at(0).admit(slot, self.now).unwrap()
    }

    fn send(&self, request: &Arc<RequestSignals>) -> Permit {
        let mut permit = self.admit();
        permit.carry(request);
        permit
    }

    /// An answer that begins after `first` and ends after `all`.
    fn answer(&mut self, first: Duration, all: Duration, tokens: AnswerTokens) {
        let mut permit = self.admit();
        permit.begun(self.now + first);
        permit.answered(tokens);
        self.now += all;
        permit.settle(Outcome::Success, self.now);
    }

    fn refuse(&self) {
        self.admit().settle(limited(None), self.now);
    }
}

fn limited(wait: Option<Duration>) -> Outcome {
    Outcome::Limited { cause: "answered 429".into(), wait }
}

fn failure() -> Outcome {
    Outcome::Failure { cause: "answered 500".into(), kind: crate::FailureKind::Answer }
}

fn stream(completion: u64) -> AnswerTokens {
    AnswerTokens { completion: Some(completion), is_stream: true, cached: None }
}

fn request(number: u64, blocks: u32) -> Arc<RequestSignals> {
    let prefixes = (0..u64::from(blocks)).map(|block| hash(number << 20 | block)).collect();
    let prompt_tokens = Some(blocks * 128);
    Arc::new(RequestSignals { prompt_tokens, prefixes, block_tokens: 128, ..Default::default() })
}

fn near(got: f64, want: f64) -> bool {
    (got - want).abs() <= want.abs() * 0.05 + 1e-9
}

#[test]
fn nothing_is_recorded_unasked() {
    let mut scene = Scene::new();
    let config = scene.config.clone();
    scene.fleet = Fleet::build(&config, None);
    for signals in [&[][..], &[Signal::Limit, Signal::ModelSequence, Signal::EngineKv]] {
        scene.want(signals.iter().copied());
        let mut permit = scene.send(&request(1, 10));
        permit.begun(scene.now + SECOND);
        scene.now += 2 * SECOND;
        permit.settle(Outcome::Success, scene.now);
        let known: Vec<Signal> = scene.at(0).known_signals(scene.now).map(|(s, _)| s).collect();
        let fixed = [Signal::PricePrompt, Signal::PriceCached, Signal::PriceCompletion];
        let counted = [Signal::Limit, Signal::Stalled, Signal::LineWait];
        assert_eq!(known, [&counted[..], &fixed].concat());
        assert!(scene.at(0).signals.records.get().is_none());
        assert_eq!(scene.fleet.prefixes.bytes(), 0);
        assert!(!scene.fleet.models[0].wants_requests());
    }
}

#[test]
fn only_what_is_asked_takes_memory() {
    let mut scene = Scene::new();
    let config = scene.config.clone();
    scene.fleet = Fleet::build(&config, None);
    scene.want([Signal::FirstByteP90Long]);
    scene.answer(SECOND, 2 * SECOND, stream(20));
    let records = scene.at(0).signals.records.get().unwrap();
    assert!(records.first_bytes[0].get().is_none() && records.first_bytes[1].get().is_some());
    assert!(near(scene.signal(Signal::FirstByteP90Long), 1000.0));
    assert!(scene.signal(Signal::FirstByteP90).is_nan());
    assert!(size_of::<Records>() <= 320, "{}", size_of::<Records>());
}

#[test]
fn good_answers_give_duration_and_speed() {
    let mut scene = Scene::new();
    assert!(scene.signal(Signal::DurationMean).is_nan());
    scene.answer(500 * MS, 2500 * MS, stream(101));
    assert!(near(scene.signal(Signal::DurationMean), 2500.0));
    assert!(near(scene.signal(Signal::TokensPerSecond), 50.0));
    // Failed, cancelled, short, held back and plain answers say nothing of the speed.
    let mut broken = scene.admit();
    broken.begun(scene.now);
    broken.answered(stream(1000));
    broken.settle(failure(), scene.now + SECOND);
    drop(scene.admit());
    assert!(near(scene.signal(Signal::DurationMean), 2500.0), "only good answers count");
    scene.answer(MS, 2500 * MS, stream(7));
    scene.answer(2495 * MS, 2500 * MS, stream(1000));
    scene.answer(MS, 2500 * MS, AnswerTokens { is_stream: false, ..stream(1000) });
    scene.answer(MS, 2500 * MS, AnswerTokens::default());
    assert!(near(scene.signal(Signal::TokensPerSecond), 50.0));
    assert!(near(scene.signal(Signal::DurationMean), 2500.0));
}

#[test]
fn first_bytes_have_quantiles_over_two_windows() {
    let mut scene = Scene::new();
    for time in 1..=100 {
        scene.answer(time * MS * 10, time * MS * 10, stream(1));
    }
    let all = [Signal::FirstByteP50, Signal::FirstByteP90, Signal::FirstByteP99];
    let long = [Signal::FirstByteP50Long, Signal::FirstByteP90Long, Signal::FirstByteP99Long];
    for (signal, want) in all.into_iter().chain(long).zip([500.0, 900.0, 990.0].repeat(2)) {
        assert!(near(scene.signal(signal), want), "{signal}: {}", scene.signal(signal));
    }
    scene.now += 120 * SECOND;
    assert!(scene.signal(Signal::FirstByteP50).is_nan(), "a minute has passed");
    assert!(near(scene.signal(Signal::FirstByteP50Long), 500.0));
    scene.now += 900 * SECOND;
    assert!(scene.signal(Signal::FirstByteP50Long).is_nan());
}

#[test]
fn refusals_are_a_share_of_the_recent_attempts() {
    let mut scene = Scene::new();
    assert!(scene.signal(Signal::RefusedRate).is_nan());
    (0..3).for_each(|_| scene.answer(MS, MS, stream(1)));
    let out = scene.admit();
    scene.refuse();
    assert!(near(scene.signal(Signal::RefusedRate), 0.25), "{}", scene.signal(Signal::RefusedRate));
    // One that is cancelled or wrong is neither.
    drop(out);
    assert!(near(scene.signal(Signal::RefusedRate), 0.25));
    scene.now += 130 * SECOND;
    assert!(scene.signal(Signal::RefusedRate).is_nan(), "what is old does not count");
}

#[test]
fn limit_and_stall_are_those_of_the_places() {
    let scene = Scene::new();
    let most = f64::from(scene.at(0).config.concurrency.max);
    assert_eq!((scene.signal(Signal::Limit), scene.signal(Signal::Stalled)), (most, 0.0));
    let _out: Vec<Permit> = (0..4).map(|_| scene.admit()).collect();
    scene.refuse();
    assert_eq!(scene.signal(Signal::Limit), 4.0);
    let mut scene = Scene::new();
    let (late, mut answered) = (scene.admit(), scene.admit());
    answered.begun(scene.now + SECOND);
    scene.now += 60 * SECOND;
    late.settle(Outcome::Late { cause: "first_byte time-out".into() }, scene.now);
    assert_eq!(scene.signal(Signal::Stalled), 1.0);
}

/// What headers tell of an allowance of ten requests.
fn told(remaining: u64, seconds: u32) -> ToldQuota {
    let (unit, per, reset) = (config::QuotaUnit::Requests, None, Some(seconds * SECOND));
    ToldQuota { unit, per, limit: Some(10), remaining, reset }
}

#[test]
fn the_allowance_is_what_answers_tell() {
    let mut scene = Scene::new();
    assert!(scene.signal(Signal::QuotaRequests).is_nan());
    let permit = scene.admit();
    permit.told(&[told(7, 30)], scene.now);
    assert_eq!(scene.signal(Signal::QuotaRequests), 7.0);
    assert!((scene.signal(Signal::QuotaUsed) - 0.3).abs() < 1e-9);
    assert_eq!(scene.signal(Signal::QuotaResets), 30_000.0);
    let _next = scene.admit();
    assert_eq!(scene.signal(Signal::QuotaRequests), 6.0);
    scene.now += 30 * SECOND;
    assert!(scene.signal(Signal::QuotaRequests).is_nan(), "it is over");
}

#[tokio::test]
async fn the_wait_in_line_follows_from_places_and_durations() {
    let mut scene =
        Scene::with(|config| (config.concurrency.max, config.concurrency.queue) = (2, 9));
    scene.now = crate::now();
    assert_eq!(scene.signal(Signal::LineWait), 0.0, "a place is free");
    let taken = [scene.admit(), scene.admit()];
    assert!(scene.signal(Signal::LineWait).is_nan(), "no duration is known");
    drop(taken);
    scene.answer(SECOND, 4 * SECOND, stream(10));
    let _taken = [scene.admit(), scene.admit()];
    let wait = || scene.at(0).signal(Signal::LineWait, None, scene.now);
    assert!(near(wait(), held(&scene) / 2.0), "{}", wait());
    let slots = Arc::clone(&scene.at(0).slots);
    let until = scene.now + 60 * SECOND;
    let enter = |_| {
        let slots = Arc::clone(&slots);
        tokio::spawn(async move {
            let wanted = crate::Wanted { at: 0, slots: &slots, queue: 9 };
            crate::wait_for_any(std::iter::once(wanted), until, |_| true).await.map(drop)
        })
    };
    let _waiting: Vec<_> = (0..3).map(enter).collect();
    tokio::task::yield_now().await;
    assert_eq!(slots.waiting(), 3);
    assert!(near(wait(), held(&scene) * 2.0), "{}", wait());
}

/// The mean time that a place is held, in milliseconds.
fn held(scene: &Scene) -> f64 {
    scene.at(0).signals.records.get().unwrap().held.get()
}

#[test]
fn a_pause_is_a_part_of_the_wait() {
    let mut scene = Scene::new();
    scene.answer(SECOND, 4 * SECOND, stream(10));
    let permit = scene.admit();
    permit.settle(limited(Some(30 * SECOND)), scene.now);
    scene.now += 10 * SECOND;
    assert!(near(scene.signal(Signal::LineWait), 20_000.0), "{}", scene.signal(Signal::LineWait));
}

#[test]
fn the_backlog_is_what_has_no_first_byte() {
    let mut scene = Scene::new();
    let backlog = |scene: &Scene| scene.signal(Signal::PrefillBacklog);
    assert_eq!(backlog(&scene), 0.0);
    let mut first = scene.send(&request(1, 10));
    let second = scene.send(&request(2, 20));
    assert_eq!(backlog(&scene), 3840.0);
    first.begun(scene.now);
    assert_eq!(backlog(&scene), 2560.0);
    // What the engine has already is no work.
    scene.now += SECOND;
    let again = scene.send(&request(1, 12));
    assert_eq!(backlog(&scene), 2560.0 + 2.0 * 128.0);
    drop(second);
    again.settle(failure(), scene.now);
    first.settle(Outcome::Success, scene.now);
    assert_eq!(backlog(&scene), 0.0);
}

#[test]
fn prompts_are_known_until_their_deployment_fails() {
    let scene = Scene::with(|config| config.side = Side::Local);
    let known = |scene: &Scene| scene.of_request(Signal::PrefixTokens, &request(1, 10));
    let answer = |scene: &Scene| {
        let mut permit = scene.send(&request(1, 10));
        permit.begun(scene.now);
        permit.settle(Outcome::Success, scene.now);
    };
    answer(&scene);
    assert_eq!(known(&scene), 1280.0);
    assert_eq!(scene.at(1).signal(Signal::PrefixTokens, Some(&request(1, 10)), scene.now), 0.0);
    assert!(scene.signal(Signal::PrefixTokens).is_nan(), "without a request");
    // Probes of a place that stays up change nothing. One that was down was started anew.
    scene.at(0).probe_ended(true, false, scene.now, scene.now);
    assert_eq!(known(&scene), 1280.0);
    scene.at(0).probe_ended(true, true, scene.now, scene.now);
    assert_eq!(known(&scene), 0.0);
    answer(&scene);
    for _ in 0..20 {
        let slot = scene.at(0).slots.try_enter(scene.now).place();
        if let Some(permit) = slot.and_then(|slot| scene.at(0).admit(slot, scene.now)) {
            permit.settle(failure(), scene.now);
        }
    }
    assert!(!scene.at(0).is_open(scene.now), "ejected");
    assert_eq!(known(&scene), 0.0);
}

#[test]
fn an_answers_report_corrects_the_index() {
    let mut scene = Scene::with(|config| config.side = Side::Local);
    for cached in [0, 0] {
        let mut permit = scene.send(&request(1, 10));
        permit.begun(scene.now);
        permit.answered(AnswerTokens { cached: Some(cached), ..stream(10) });
        scene.now += SECOND;
        permit.settle(Outcome::Success, scene.now);
    }
    let known = scene.of_request(Signal::PrefixTokens, &request(1, 10));
    assert!(known < 1280.0 * 0.95, "{known}");
}

#[test]
fn a_request_costs_what_is_not_cached_and_the_usual_answer() {
    let mut scene = Scene::with(|config| {
        config.pricing.prompt = "0.000002".into();
        config.pricing.completion = "0.00001".into();
        config.pricing.request = "0.5".into();
        config.pricing.input_cache_reads = Some("0.0000005".into());
    });
    assert_eq!(scene.signal(Signal::PricePrompt), 0.000_002);
    assert_eq!(scene.signal(Signal::PriceCached), 0.000_000_5);
    assert_eq!(scene.signal(Signal::PriceCompletion), 0.000_01);
    let asked = request(1, 10);
    let cost = |scene: &Scene, asked| scene.of_request(Signal::RequestCost, asked);
    assert!(cost(&scene, &asked).is_nan(), "the length of answers is not known");
    let limited = RequestSignals { max_output_tokens: Some(50), ..(*asked).clone() };
    assert!(near(cost(&scene, &limited), 0.5 + 1280.0 * 2e-6 + 50.0 * 1e-5));
    scene.answer(SECOND, 2 * SECOND, stream(200));
    assert!(near(cost(&scene, &asked), 0.5 + 1280.0 * 2e-6 + 200.0 * 1e-5));
    assert!(near(cost(&scene, &limited), 0.5 + 1280.0 * 2e-6 + 50.0 * 1e-5), "it says less");
    scene.send(&asked).begun(scene.now);
    assert!(near(cost(&scene, &asked), 0.5 + 1280.0 * 5e-7 + 200.0 * 1e-5), "all is cached");
    let free = Scene::new();
    assert_eq!(cost(&free, &asked), 0.0);
    assert!(cost(&scene, &RequestSignals::default()).is_nan(), "no prompt is known");
}

#[test]
fn a_cached_token_costs_as_much_unless_it_is_said() {
    let scene = Scene::with(|config| config.pricing.prompt = "0.000002".into());
    assert_eq!(scene.signal(Signal::PriceCached), 0.000_002);
    let free = Scene::with(|config| {
        config.pricing.prompt = "0.000002".into();
        config.pricing.input_cache_reads = Some("0".into());
    });
    assert_eq!(free.signal(Signal::PriceCached), 0.0);
}

#[test]
fn the_sequence_and_the_records_outlive_a_reload() {
    let mut scene = Scene::new();
    scene.answer(SECOND, 4 * SECOND, stream(10));
    let next = |fleet: &Fleet| fleet.models[0].global(Signal::ModelSequence);
    assert_eq!([next(&scene.fleet), next(&scene.fleet)], [0.0, 1.0]);
    assert!(scene.fleet.models[0].global(Signal::Limit).is_nan());
    scene.fleet = Fleet::build(&scene.config, Some(&scene.fleet));
    assert_eq!(next(&scene.fleet), 2.0);
    assert!(near(scene.signal(Signal::DurationMean), 4000.0));
    // A deployment that goes takes its prompts along.
    scene.send(&request(1, 10)).begun(scene.now);
    assert!(scene.fleet.prefixes.bytes() > 0);
    scene.config.models[0].deployments.remove(0);
    scene.fleet = Fleet::build(&scene.config, Some(&scene.fleet));
    assert_eq!(scene.fleet.prefixes.bytes(), 0);
}

#[test]
fn every_signal_of_a_deployment_comes_to_be_known() {
    let mut scene = Scene::new();
    let asked = request(1, 10);
    let mut permit = scene.send(&asked);
    permit.told(&[told(7, 900)], scene.now);
    permit.begun(scene.now + SECOND);
    permit.answered(stream(100));
    scene.now += 3 * SECOND;
    permit.settle(Outcome::Success, scene.now);
    for signal in Signal::ALL {
        let is_other =
            signal.name().starts_with("engine.") || signal.facts().scope != SignalScope::Deployment;
        let value = scene.of_request(signal, &asked);
        assert_eq!(value.is_nan(), is_other, "{signal}: {value}");
    }
}
