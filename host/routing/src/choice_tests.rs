//! Which strategy decides a request, with strategies that answer at once.

use std::borrow::Cow;
use std::future::Future;
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use config::{Config, DeploymentConfig, Model, Rollback, Share, Standby, TrialMode};
use contract::{
    Deciding, Description, PathStatus, PathStrategy, Question, RawPlan, RawVerdict, RawWeights,
    Role, Side, Signal, Verdict, WhenFull,
};
use fleet::{Eligible, Fleet, Generation, Route, TrialReport};
use http::HeaderMap;
use http1::Scan;

use super::*;

/// The published weights of the two deployments.
const PUBLISHED: [f64; 2] = [0.5, 0.5];
/// The weights that the strategy in use answers.
const IN_USE: [f64; 2] = [0.25, 0.75];
/// The weights that the candidate answers.
const CANDIDATE: [f64; 2] = [1.0, 0.0];

/// A strategy on the request path with a fixed answer. Records the facts that it is told.
#[derive(Debug)]
struct Fixed {
    answer: Result<RawVerdict, Fault>,
    description: Description,
    told: Mutex<Vec<Facts>>,
}

impl PathStrategy for Fixed {
    fn description(&self) -> &Description {
        &self.description
    }

    fn decide<'a>(&'a self, question: Question<'a>) -> Deciding<'a> {
        self.told.lock().expect("no panic").push(question.facts.clone());
        let check = |raw| Verdict::check(raw, [2, 0], 1).expect("a good answer");
        let answer = self.answer.clone().map(check);
        Box::pin(async { answer })
    }

    fn status(&self) -> PathStatus {
        PathStatus { off: None, last_error: None }
    }
}

fn fixed(answer: Result<[f64; 2], Fault>) -> Option<Arc<Fixed>> {
    Some(Arc::new(needing(answer.map(weights), Needs::default())))
}

fn weights(weights: [f64; 2]) -> RawVerdict {
    RawWeights { local: weights.to_vec(), remote: Vec::new() }.into()
}

fn needing(answer: Result<RawVerdict, Fault>, needs: Needs) -> Fixed {
    let reasons = vec!["because".into()];
    let description = Description { needs, reasons, ..Description::named("fixed") };
    Fixed { answer, description, told: Mutex::default() }
}

fn strategy(name: &str, on_path: Option<Arc<Fixed>>) -> StrategyInfo {
    StrategyInfo {
        name: name.into(),
        on_path: on_path.map(|fixed| fixed as Arc<dyn PathStrategy>),
        attempt_queue: Some(Arc::default()),
        ..StrategyInfo::default()
    }
}

/// A model of two local deployments whose weights the strategy assigns.
fn model() -> Model {
    let local = |port| DeploymentConfig {
        side: Side::Local,
        weight: 0.0,
        share: Share::Assigned,
        ..samples::deployment(port)
    };
    samples::model([1, 2].map(local).into())
}

const ROLLBACK: Rollback = Rollback {
    faults: 1,
    margin: 0.1,
    fallback: 0.1,
    attempts: 0.5,
    first_byte: None,
    cost: None,
    min_requests: 10,
};

/// A snapshot of one model that these strategies decide for.
fn snapshot(strategies: Vec<StrategyInfo>) -> Snapshot {
    let config = Config { models: vec![model()], ..Config::default() };
    let fleet = Fleet::build(&config, None);
    let now = Instant::now();
    let states: Vec<_> = fleet.deployments().map(|deployment| deployment.state(now)).collect();
    let eligible = Eligible::of(&fleet.models[0], &states, Standby::Last);
    let route = Route { eligible, weights: PUBLISHED.into(), candidate: None, states };
    let loaded_at = SystemTime::now();
    let generation = Arc::new(Generation { config, fleet, strategies, books: None, loaded_at });
    Snapshot { generation, routes: vec![Arc::new(route)], strategy_states: Vec::new() }
}

/// A strategy in use, with a candidate beside it.
fn tried(
    in_use: Option<Arc<Fixed>>,
    candidate: Option<Arc<Fixed>>,
    mode: TrialMode,
) -> (Snapshot, Arc<Trial>) {
    let trial = Arc::new(Trial::new(mode, ROLLBACK));
    let strategy_in_use = StrategyInfo {
        candidate: Some(Box::new(CandidateInfo {
            strategy: strategy("candidate", candidate),
            trial: Arc::clone(&trial),
        })),
        ..strategy("in use", in_use)
    };
    (snapshot(vec![strategy_in_use]), trial)
}

/// The output of a future that is ready at once.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future is pending"),
    }
}

/// A clock that advances by one second at each reading.
fn clock() -> impl Fn() -> Instant {
    let (began, looks) = (Instant::now(), std::cell::Cell::new(0));
    move || {
        looks.set(looks.get() + 1);
        began + Duration::from_secs(looks.get())
    }
}

/// A request with this body that was not held.
fn inquiry<'r, 'q>(
    snapshot: &'r Snapshot,
    body: &'q [u8],
    headers: &'q HeaderMap,
    scan: &'q Scan,
) -> Inquiry<'r, 'q> {
    let asked = Asked { model: "m", headers, body, scan };
    let (scope, payer) = (Scope::ALL, None);
    Inquiry { snapshot, model: 0, stream: false, scope, asked, held: 0, payer }
}

fn chosen(snapshot: &Snapshot, lot: f64) -> Choice<'_> {
    let (headers, scan) = (HeaderMap::new(), scan());
    let inquiry = inquiry(snapshot, BODY, &headers, &scan);
    let choice = at_once(choose(inquiry, || lot, clock()));
    if let Some(same) = inquiry.at_once() {
        assert_eq!(
            (same.said, same.attempt_queue.is_some()),
            (choice.said.clone(), choice.attempt_queue.is_some())
        );
        assert!(choice.trial.is_none() && choice.shadow.is_none());
    }
    choice
}

#[test]
fn nobody_is_waited_for_where_nobody_is_asked() {
    let alone = |strategies| snapshot(strategies);
    let of = |snapshot: &Snapshot| {
        let (headers, scan) = (HeaderMap::new(), scan());
        inquiry(snapshot, BODY, &headers, &scan).at_once().is_some()
    };
    assert!(of(&alone(Vec::new())) && of(&alone(vec![strategy("s", None)])));
    assert!(!of(&alone(vec![strategy("s", fixed(Ok(IN_USE)))])));
    assert!(!of(&tried(None, None, CANARY).0), "there is a candidate");
}

const BODY: &[u8] = br#"{"model":"m","messages":[{"role":"user","content":"Hello"}]}"#;

fn scan() -> Scan {
    http1::scan(BODY).expect("a good body")
}

/// Requests, faults, and the mean times of answers, of a trial.
fn counts(trial: &Trial) -> (u64, u64, [Option<Duration>; 2]) {
    let TrialReport { compared, faults, mean_time, .. } = trial.report();
    (compared, faults, mean_time)
}

const CANARY: TrialMode = TrialMode::Canary(0.25);
const SECOND: Option<Duration> = Some(Duration::from_secs(1));

#[test]
fn without_a_strategy_on_the_path_the_published_weights_decide() {
    for snapshot in [snapshot(Vec::new()), snapshot(vec![strategy("s", None)])] {
        let choice = chosen(&snapshot, 0.0);
        let Said::Route { weights, .. } = &choice.said else { panic!("{choice:?}") };
        assert!(matches!(weights.weights, Cow::Borrowed(_)));
        assert_eq!(*choice.said.weights(), PUBLISHED);
        assert_eq!(choice.attempt_queue.is_some(), !snapshot.generation.strategies.is_empty());
        assert!(choice.trial.is_none() && choice.shadow.is_none());
    }
}

#[test]
fn a_strategy_on_the_path_decides_and_is_counted() {
    let snapshot = snapshot(vec![strategy("s", fixed(Ok(IN_USE)))]);
    assert_eq!(*chosen(&snapshot, 0.0).said.weights(), IN_USE);
    let meters = &snapshot.generation.strategies[0].meters;
    assert_eq!((meters.ok.get(), meters.faults.all().len()), (1, 0));
}

#[test]
fn after_a_fault_the_published_weights_decide() {
    let snapshot = snapshot(vec![strategy("s", fixed(Err(Fault::Busy)))]);
    assert_eq!(*chosen(&snapshot, 0.0).said.weights(), PUBLISHED);
    let meters = &snapshot.generation.strategies[0].meters;
    assert_eq!((meters.ok.get(), meters.faults.all().get("busy")), (0, Some(&1)));
}

#[test]
fn facts_are_found_for_whoever_needs_them() {
    let needs = Needs { prompt_tokens: true, ..Needs::default() };
    let needy = needing(Ok(weights(CANDIDATE)), needs);
    let (in_use, needy) = (fixed(Ok(IN_USE)), Arc::new(needy));
    let (snapshot, _) = tried(in_use.clone(), Some(Arc::clone(&needy)), CANARY);
    for lot in [0.0, 0.9] {
        chosen(&snapshot, lot);
    }
    for fixed in [&needy, &in_use.expect("one")] {
        let told = fixed.told.lock().expect("no panic");
        assert!(told[0].prompt_tokens.is_some(), "one of the two needs it");
    }
}

#[test]
fn a_canary_decides_for_its_share() {
    let (snapshot, trial) = tried(fixed(Ok(IN_USE)), fixed(Ok(CANDIDATE)), CANARY);
    let choice = chosen(&snapshot, 0.24);
    assert_eq!(*choice.said.weights(), CANDIDATE);
    assert!(choice.trial.expect("a part").role == Role::Candidate && choice.shadow.is_none());
    assert_eq!(counts(&trial), (0, 0, [None, SECOND]));
    let choice = chosen(&snapshot, 0.25);
    assert_eq!(*choice.said.weights(), IN_USE);
    assert!(choice.trial.expect("a part").role == Role::Live && choice.shadow.is_none());
    assert_eq!(counts(&trial), (0, 0, [SECOND, SECOND]));
}

#[test]
fn a_canary_without_a_good_answer_leaves_the_request() {
    for (fault, counted) in [(Fault::Busy, 0), (Fault::Off, 0), (Fault::Trap("t".into()), 1)] {
        let (snapshot, trial) = tried(fixed(Ok(IN_USE)), fixed(Err(fault)), CANARY);
        let choice = chosen(&snapshot, 0.0);
        assert_eq!(*choice.said.weights(), IN_USE);
        assert!(choice.trial.expect("a part").role == Role::Live);
        assert_eq!(trial.report().faults, counted);
        assert_eq!(trial.is_on(), counted == 0, "one fault is too many here");
    }
}

#[test]
fn a_canary_off_the_path_decides_by_what_it_said_of_all() {
    let (mut snapshot, _) = tried(fixed(Ok(IN_USE)), None, CANARY);
    assert_eq!(
        *chosen(&snapshot, 0.0).said.weights(),
        IN_USE,
        "the candidate has not answered yet"
    );
    Arc::make_mut(&mut snapshot.routes[0]).candidate = Some(CANDIDATE.into());
    let choice = chosen(&snapshot, 0.0);
    assert_eq!(*choice.said.weights(), CANDIDATE);
    assert!(choice.trial.expect("a part").role == Role::Candidate);
}

#[test]
fn a_trial_that_is_over_is_none() {
    let (snapshot, trial) = tried(fixed(Ok(IN_USE)), fixed(Ok(CANDIDATE)), CANARY);
    trial.fault("trapped");
    let choice = chosen(&snapshot, 0.0);
    assert_eq!(*choice.said.weights(), IN_USE);
    assert!(choice.trial.is_none());
}

#[test]
fn a_strategy_in_use_that_fails_has_no_time() {
    let (snapshot, trial) = tried(fixed(Err(Fault::Busy)), fixed(Ok(CANDIDATE)), CANARY);
    let choice = chosen(&snapshot, 0.9);
    assert!(choice.trial.is_some());
    assert_eq!(counts(&trial), (0, 0, [None, None]));
}

#[test]
fn a_shadow_is_compared_beside_the_request() {
    let (snapshot, trial) = tried(fixed(Ok(IN_USE)), fixed(Ok(CANDIDATE)), TrialMode::Shadow);
    let choice = chosen(&snapshot, 0.0);
    assert_eq!(*choice.said.weights(), IN_USE);
    assert!(choice.trial.expect("a part").role == Role::Live);
    assert_eq!(trial.report().compared, 0, "not yet");
    at_once(choice.shadow.expect("a shadow").compare(&snapshot, clock()));
    assert_eq!(counts(&trial), (1, 0, [SECOND, SECOND]));
    assert!((trial.report().divergence - 0.75).abs() < 1e-6);
    let info = snapshot.generation.strategies[0].candidate.as_ref().expect("a candidate");
    assert_eq!(info.strategy.meters.ok.get(), 1);
}

#[test]
fn a_shadow_off_the_path_is_not_asked() {
    let (snapshot, _) = tried(fixed(Ok(IN_USE)), None, TrialMode::Shadow);
    assert!(chosen(&snapshot, 0.0).shadow.is_none());
    let (snapshot, trial) =
        tried(fixed(Ok(IN_USE)), fixed(Err(Fault::Trap("t".into()))), TrialMode::Shadow);
    let shadow = chosen(&snapshot, 0.0).shadow.expect("a shadow");
    at_once(shadow.compare(&snapshot, clock()));
    assert_eq!(counts(&trial), (0, 1, [SECOND, None]));
}

/// What a strategy in use with this answer says of a request that was held so many times.
fn said(answer: RawVerdict, held: u32) -> String {
    let strategies = vec![strategy("s", Some(Arc::new(needing(Ok(answer), Needs::default()))))];
    let snapshot = snapshot(strategies);
    let (headers, scan) = (HeaderMap::new(), scan());
    let inquiry = Inquiry { held, ..inquiry(&snapshot, BODY, &headers, &scan) };
    match at_once(choose(inquiry, || 0.0, clock())).said {
        Said::Route { weights, reason } => {
            format!("{:?} {:?} {:?} {reason:?}", weights.weights, weights.tiers, weights.when_full)
        }
        said => format!("{said:?}"),
    }
}

#[test]
fn a_plan_is_one_of_all_deployments() {
    let weights = RawWeights { local: vec![1.0, 3.0], remote: Vec::new() };
    let (tiers, when_full) = (Some((vec![1, 0], Vec::new())), WhenFull::Next);
    let plan = RawPlan { weights, tiers, when_full, hedge: None, reason: Some(0) };
    let told = said(RawVerdict::Route(plan), 0);
    assert_eq!(told, "[0.25, 0.75] Some([1, 0]) Next Some(\"because\")");
}

#[test]
fn a_request_is_held_three_times_at_most() {
    for held in 0..3 {
        assert_eq!(said(RawVerdict::Hold(5), held), "Hold(5ms)");
    }
    assert_eq!(said(RawVerdict::Hold(5), 3), "[0.5, 0.5] None AsConfigured None", "as published");
}

#[test]
fn a_refusal_says_why() {
    let refusal = RawVerdict::Refuse { retry_after: 2, reason: Some(0) };
    assert_eq!(said(refusal, 0), "Refuse { retry_after: 2s, reason: Some(\"because\") }");
}

#[test]
fn a_shadow_that_holds_differs_wholly() {
    let shadow = Some(Arc::new(needing(Ok(RawVerdict::Hold(5)), Needs::default())));
    let (snapshot, trial) = tried(fixed(Ok(IN_USE)), shadow, TrialMode::Shadow);
    let choice = chosen(&snapshot, 0.0);
    at_once(choice.shadow.expect("a shadow").compare(&snapshot, clock()));
    assert!((trial.report().divergence - 1.0).abs() < 1e-6);
}

#[test]
fn a_session_stays_with_one_strategy() {
    let (snapshot, _) = tried(fixed(Ok(IN_USE)), fixed(Ok(CANDIDATE)), TrialMode::Canary(0.5));
    let decided = |user: &str, lot: f64| {
        let body = format!(r#"{{"model":"m","user":"{user}","messages":[]}}"#);
        let (headers, scan) = (HeaderMap::new(), http1::scan(body.as_bytes()).expect("good"));
        let inquiry = inquiry(&snapshot, body.as_bytes(), &headers, &scan);
        let choice = at_once(choose(inquiry, || lot, clock()));
        choice.trial.expect("a part").role == Role::Candidate
    };
    let mut candidates = 0;
    for user in 0..200 {
        let user = format!("user-{user}");
        let first = decided(&user, 0.0);
        assert_eq!(decided(&user, 0.99), first, "{user}: whatever the lot is");
        candidates += u32::from(first);
    }
    assert!((70..130).contains(&candidates), "{candidates} of 200");
}

#[test]
fn a_shadow_is_told_what_the_strategy_in_use_was() {
    let (snapshot, _) = tried(fixed(Ok(IN_USE)), fixed(Ok(CANDIDATE)), TrialMode::Shadow);
    let load = &snapshot.generation.fleet.models[0].deployments[1].load;
    let _before = load.enter();
    let shadow = chosen(&snapshot, 0.0).shadow.expect("a shadow");
    let _after: Vec<_> = (0..7).map(|_| load.enter()).collect();
    let sides = [&shadow.seen.local, &shadow.seen.remote].map(Vec::len);
    assert_eq!(sides, [2, 0]);
    assert_eq!(shadow.seen.local[1].in_flight, 1, "as it was, not as it is");
    at_once(shadow.compare(&snapshot, clock()));
}

#[test]
fn what_signals_depend_on_is_found_where_they_are_asked_for() {
    let needs = Needs { prompt_tokens: true, prefixes: true, session: true, tenant_name: false };
    let of = |asked: &[Signal]| {
        let needy = Arc::new(needing(Ok(weights(IN_USE)), needs));
        let snapshot = snapshot(vec![strategy("s", Some(Arc::clone(&needy)))]);
        let model = &snapshot.generation.fleet.models[0];
        model.want(asked.iter().copied().collect(), Instant::now());
        let signals = chosen(&snapshot, 0.0).signals;
        let told = needy.told.lock().expect("no panic").remove(0);
        (signals, told)
    };
    let (none, told) = of(&[Signal::Limit, Signal::FirstByteP90]);
    assert!(none.is_none());
    for asked in [Signal::PrefixTokens, Signal::PrefillBacklog, Signal::RequestCost] {
        let (signals, same) = of(&[asked]);
        let signals = signals.expect("it depends on the request");
        assert_eq!(same, told, "facts are the same with and without signals");
        assert_eq!(
            (signals.prompt_tokens, &signals.prefixes),
            (told.prompt_tokens, &told.prefixes)
        );
    }
    // Also without a strategy on the path: the backlog is told to one off it.
    let published = snapshot(vec![strategy("s", None)]);
    published.generation.fleet.models[0]
        .want([Signal::PrefillBacklog].into_iter().collect(), Instant::now());
    assert!(chosen(&published, 0.0).signals.is_some());
}
