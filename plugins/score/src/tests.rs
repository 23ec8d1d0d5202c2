use gateway_strategy::testing::{self, Fleet};
use gateway_strategy::{Needs, Request};

use super::{Parameters, Score, unknown};

const UNKNOWN: f64 = f64::NAN;

/// The shares of a request with a prompt of 1,000 tokens in the session 7.
fn shares(fleet: &Fleet, parameters: &str, signals: &[f64]) -> Vec<f64> {
    testing::set_signals(signals);
    let request = Request { prompt_tokens: Some(1_000), session: Some(7), ..Request::default() };
    let shares = fleet.ask_for::<Score>(&mut fleet.configure(parameters), &request);
    testing::set_signals(&[]);
    shares
}

/// The position of the deployment that gets all requests but those of one in a million.
fn first(fleet: &Fleet, parameters: &str, signals: &[f64]) -> usize {
    let shares = shares(fleet, parameters, signals);
    shares.iter().position(|share| *share > 0.999).unwrap_or_else(|| panic!("{shares:?}"))
}

fn three() -> Fleet {
    Fleet::new().local("a").local("b").remote("c")
}

#[test]
fn weights_settle_what_scorers_disagree_on() {
    let fleet = Fleet::new().local("a").latency(100.0).in_flight(6).local("b").latency(300.0);
    let by = |latency: f64, load: f64| {
        let scorers = format!(
            r#"{{"scorers": [{{"signal": "latency", "weight": {latency}}},
                             {{"signal": "load", "weight": {load}}}]}}"#
        );
        first(&fleet, &scorers, &[])
    };
    // Loads of 6/8 and 0 are 0.75 apart, latencies 1.
    assert_eq!([by(1.0, 1.0), by(1.0, 1.3), by(1.0, 1.4)], [0, 0, 1]);
    assert_eq!([by(1e308, 1e308), by(1e-300, 1.4e-300)], [0, 1], "only the ratio counts");
}

#[test]
fn by_default_load_cache_and_prefix_count() {
    let fleet = |busy| Fleet::new().local("a").in_flight(busy).local("b");
    let all = |kv: f64, cached: f64| [kv, cached, 0.0, 0.0];
    assert_eq!(first(&fleet(1), "{}", &all(0.0, 0.0)), 1);
    assert_eq!(first(&fleet(1), "{}", &all(0.0, 500.0)), 0);
    assert_eq!(first(&fleet(1), "{}", &all(0.9, 500.0)), 1);
    let prompt = |cached| [UNKNOWN, cached, UNKNOWN, 0.0];
    assert_eq!(first(&fleet(6), "{}", &prompt(900.0)), 0);
    assert_eq!(first(&fleet(8), "{}", &prompt(900.0)), 1, "full, and the other one is idle");
    assert_eq!(shares(&fleet(0), "{}", &all(UNKNOWN, UNKNOWN)), [0.5, 0.5]);
    let (signals, needs) = testing::asked();
    assert_eq!(signals, ["engine.kv", "prefix.tokens"]);
    assert_eq!(needs, Needs { prompt_tokens: true, ..Needs::NOTHING });
}

#[test]
fn only_what_is_named_is_asked_for() {
    let asked = |parameters| {
        let _: Score = three().configure(parameters);
        testing::asked()
    };
    let load = r#"{"scorers": [{"signal": "load"}, {"signal": "capacity"}]}"#;
    assert_eq!(asked(load), (Vec::new(), Needs::NOTHING));
    let both = r#"{"scorers": [{"signal": "engine.waiting"}, {"signal": "session"}],
                   "filters": [{"signal": "engine.waiting", "below": 9}, {"signal": "stalled", "below": 1}]}"#;
    let session = Needs { session: true, ..Needs::NOTHING };
    assert_eq!(asked(both), (["engine.waiting", "stalled"].map(str::to_owned).to_vec(), session));
}

#[test]
fn what_is_not_known_neither_helps_nor_harms() {
    let scorers = r#"{"picker": "weighted", "scorers": [{"signal": "engine.waiting"}]}"#;
    // Scores of 1, 0.5 and, for the unknown one, their average.
    let known = shares(&three(), scorers, &[0.0, 2.0, 4.0]);
    assert_eq!(
        known.iter().map(|share| (share * 100.0).round()).collect::<Vec<_>>(),
        [67.0, 33.0, 0.0]
    );
    let one_unknown = shares(&three(), scorers, &[0.0, UNKNOWN, 4.0]);
    assert_eq!(
        one_unknown.iter().map(|share| (share * 100.0).round()).collect::<Vec<_>>(),
        [67.0, 33.0, 0.0]
    );
    for nothing in [[UNKNOWN; 3], [f64::INFINITY; 3], [5.0; 3], [5.0, UNKNOWN, f64::NEG_INFINITY]] {
        let even = shares(&three(), scorers, &nothing);
        assert!(even.iter().all(|share| (share - 1.0 / 3.0).abs() < 1e-4), "{nothing:?}: {even:?}");
    }
}

#[test]
fn a_scale_may_be_given() {
    let picked = |scale: &str, values: [f64; 2]| {
        let fleet = Fleet::new().local("a").local("b");
        let scorers = format!(r#"{{"scorers": [{{"signal": "engine.waiting", {scale}}}]}}"#);
        shares(&fleet, &scorers, &values)[0]
    };
    let objective = r#""best": 10, "worst": 20"#;
    assert_eq!(picked(objective, [4.0, 9.0]), 0.5, "both are good enough");
    assert_eq!(picked(objective, [30.0, 25.0]), 0.5, "both are as bad as can be");
    assert_eq!(picked(objective, [11.0, 12.0]), 1.0);
    assert_eq!(
        picked(r#""best": 20, "worst": 10"#, [11.0, 12.0]),
        0.0,
        "the ends say what is better"
    );
    assert_eq!(picked(r#""better": "higher""#, [11.0, 12.0]), 0.0);
    assert_eq!(picked(r#""best": 10"#, [4.0, 9.0]), 0.5);
    assert_eq!(picked(r#""best": 10"#, [11.0, 12.0]), 1.0);
    assert_eq!(picked(r#""worst": 5"#, [7.0, 9.0]), 0.5);
    assert_eq!(picked(r#""worst": 8"#, [7.0, 9.0]), 1.0);
    assert_eq!(picked(r#""better": "higher""#, [f64::MAX, f64::MIN]), 1.0);
}

#[test]
fn one_end_of_a_share_may_be_given() {
    let fleet = Fleet::new().local("a").local("b");
    let picked = |scale: &str, values: [f64; 2]| {
        let scorers =
            format!(r#"{{"picker": "weighted", "scorers": [{{"signal": "engine.kv", {scale}}}]}}"#);
        shares(&fleet, &scorers, &values)[0]
    };
    // 1 is worst, so 0.75 scores half of what 0.5 does.
    assert!((picked(r#""best": 0.5"#, [0.3, 0.75]) - 2.0 / 3.0).abs() < 1e-4);
    assert!((picked(r#""worst": 0.8"#, [0.4, 0.6]) - 2.0 / 3.0).abs() < 1e-4);
    assert_eq!(picked(r#""best": 1, "better": "lower""#, [0.3, 0.4]), 0.5);
}

#[test]
fn tags_and_sides_score() {
    let fleet =
        Fleet::new().local("a").in_flight(4).local("b").tag("h100").in_flight(4).remote("c");
    assert_eq!(first(&fleet, r#"{"scorers": [{"tag": "h100"}]}"#, &[]), 1);
    assert_eq!(first(&fleet, r#"{"scorers": [{"side": "remote"}]}"#, &[]), 2);
    let lower =
        r#"{"scorers": [{"tag": "h100", "better": "lower"}, {"side": "local", "weight": 0.5}]}"#;
    assert_eq!(first(&fleet, lower, &[]), 0);
}

#[test]
fn a_session_stays_at_one_deployment() {
    let fleet = Fleet::new().local("a").capacity(8).local("b").capacity(24).local("c").capacity(8);
    let parameters = r#"{"scorers": [{"signal": "session", "weight": 2}, {"signal": "load"}]}"#;
    let mut score: Score = fleet.configure(parameters);
    let mut homes = [0; 3];
    for session in 0..1_000 {
        let request = Request { session: Some(session), ..Request::default() };
        let shares = fleet.ask_for(&mut score, &request);
        homes[shares.iter().position(|share| *share > 0.999).expect("a home")] += 1;
    }
    assert!((150..250).contains(&homes[0]) && (550..650).contains(&homes[1]), "{homes:?}");
    let without = fleet.ask_for(&mut score, &Request::default());
    assert_eq!(without, [0.2, 0.6, 0.2], "equals share by places");
}

#[test]
fn filters_make_standbys_but_never_of_all() {
    let fleet = Fleet::new().local("a").in_flight(8).local("b").in_flight(2).tag("eu").remote("c");
    let with = |filters: &str, signals: &[f64]| {
        let parameters =
            format!(r#"{{"scorers": [{{"signal": "load"}}], "filters": [{filters}]}}"#);
        testing::set_signals(signals);
        let order =
            fleet.ask_order::<Score>(&mut fleet.configure(&parameters), &Request::default());
        testing::set_signals(&[]);
        order.iter().map(|weight| *weight > 0.0).collect::<Vec<_>>()
    };
    assert_eq!(with("", &[]), [true; 3]);
    assert_eq!(with(r#"{"tag": "eu"}"#, &[]), [false, true, false]);
    assert_eq!(with(r#"{"side": "local"}"#, &[]), [true, true, false]);
    let waiting = r#"{"signal": "engine.waiting", "below": 3}"#;
    assert_eq!(with(waiting, &[3.0, 2.0, UNKNOWN]), [false, true, true], "unknown passes");
    assert_eq!(with(waiting, &[3.0, 3.0, 9.0]), [true; 3], "none would pass");
    let both = r#"{"signal": "engine.waiting", "above": 0, "below": 3}, {"side": "local"}"#;
    assert_eq!(with(both, &[0.0, 3.0, 1.0]), [false, false, true], "the second would leave none");
    assert_eq!(with(both, &[1.0, 3.0, 1.0]), [true, false, false]);
}

#[test]
fn the_scale_is_of_those_that_pass() {
    let fleet = Fleet::new().local("a").local("b").remote("c");
    let parameters = r#"{"picker": "weighted", "filters": [{"side": "local"}],
        "scorers": [{"signal": "engine.waiting", "worst": 10}]}"#;
    // With the remote one the best would be 0.
    let shares = shares(&fleet, parameters, &[2.0, 6.0, 0.0]);
    assert!((shares[0] - 2.0 / 3.0).abs() < 1e-4 && shares[2] == 0.0, "{shares:?}");
}

#[test]
fn a_remote_without_a_price_is_not_free() {
    let fleet =
        Fleet::new().remote("dear").price(1e-5, 1e-5).remote("cheap").price(1e-6, 1e-6).remote("?");
    let cost = r#"{"scorers": [{"signal": "request.cost"}]}"#;
    // The gateway takes a missing price as 0.
    assert_eq!(first(&fleet, cost, &[0.01, 0.001, 0.0]), 1);
}

#[test]
fn of_two_random_ones_the_better_is_picked() {
    let fleet = Fleet::new().local("a").local("b").in_flight(1).local("c").in_flight(2).remote("d");
    let two = r#"{"picker": "best-of-two", "scorers": [{"signal": "load"}], "filters": [{"side": "local"}]}"#;
    let rounded: Vec<f64> =
        shares(&fleet, two, &[]).iter().map(|share| (share * 1e3).round()).collect();
    assert_eq!(rounded, [667.0, 333.0, 0.0, 0.0]);
    let best = r#"{"scorers": [{"signal": "load"}], "filters": [{"side": "local"}]}"#;
    let off_path: Vec<f64> = fleet
        .ask(&mut fleet.configure::<Score>(best))
        .iter()
        .map(|share| (share * 1e3).round())
        .collect();
    assert_eq!(off_path, rounded, "off the path the best would be overrun");
}

#[test]
fn parameters_that_say_nothing_are_refused() {
    for (text, says) in [
        (r#"{"scorers": []}"#, "`scorers`: there must be one at least"),
        (
            r#"{"scorers": [{"signal": "load"}, {}]}"#,
            "`scorers[1]`: it needs one of signal, tag and side",
        ),
        (r#"{"scorers": [{"signal": "load", "tag": "x"}]}"#, "`scorers[0]`: it needs one of"),
        (r#"{"scorers": [{"signal": "model.sequence"}]}"#, "is of a model, not of a deployment"),
        (
            r#"{"scorers": [{"signal": "load", "weight": 0}]}"#,
            "`scorers`: 0 is not a number above 0",
        ),
        (
            r#"{"scorers": [{"signal": "load", "best": 1, "worst": 1}]}"#,
            "best and worst are the same",
        ),
        (
            r#"{"scorers": [{"signal": "load", "better": "lower", "best": 1, "worst": 0}]}"#,
            "contradict better",
        ),
        (r#"{"scorers": [{"side": "local", "best": 1}]}"#, "best and worst are of signals"),
        (
            r#"{"filters": [{"tag": "y"}]}"#,
            "`filters[0]`: no deployment has the tag `y`; there are x",
        ),
        (r#"{"filters": [{"signal": "load"}]}"#, "a signal needs above or below"),
        (r#"{"filters": [{"tag": "x", "above": 0}]}"#, "above and below are of signals"),
        (
            r#"{"filters": [{"signal": "load", "above": 2, "below": 1}]}"#,
            "no number is above 2 and below 1",
        ),
        (r#"{"picker": "worst"}"#, "`picker`: unknown variant `worst`"),
    ] {
        let places = Fleet::new().local("a").tag("x").places;
        let refused = testing::configured::<Score>(text, places).err().unwrap_or_default();
        assert!(refused.contains(says), "{text}: {refused}");
    }
}

#[test]
fn an_unknown_signal_is_named_with_its_place() {
    let error = |parameters: &str| {
        let parameters: Parameters = serde_json::from_str(parameters).expect("parameters");
        let ask = |names: &[String]| match names.iter().find(|name| **name != "engine.kv") {
            Some(name) => Err(format!("it asks for the signal `{name}`; there are engine.kv")),
            None => Ok(()),
        };
        unknown(&parameters, "too many".to_owned(), ask)
    };
    let fields = "fields are in-flight, queued, requests, load, free-places, limit, latency, \
                  first-byte, duration, error-rate, refused-rate, capacity, weight, \
                  context-length, session";
    let known = r#"{"signal": "load"}, {"tag": "x"}, {"signal": "engine.kv"}"#;
    for (name, hint) in [
        ("laod", "did you mean the field `load`? As written, "),
        ("free_places", "did you mean the field `free-places`? As written, "),
        ("sesion", "did you mean the field `session`? As written, "),
        ("engine.mood", ""),
        ("ü", ""),
        (&"l".repeat(100_000), ""),
    ] {
        let why = format!("it asks for the signal `{name}`; there are engine.kv");
        let of = |place: &str| format!("`{place}.signal`: {hint}{why}; {fields}");
        let scorers = format!(r#"{{"scorers": [{known}, {{"signal": "{name}"}}]}}"#);
        assert_eq!(error(&scorers), of("scorers[3]"));
        let filter = format!(r#"{{"signal": "{name}", "below": 1}}"#);
        let filters = format!(r#"{{"scorers": [{known}], "filters": [{filter}]}}"#);
        assert_eq!(error(&filters), of("filters[0]"));
    }
    assert_eq!(error(&format!(r#"{{"scorers": [{known}]}}"#)), "too many");
}

#[test]
fn answers_are_good_whatever_is_asked() {
    for parameters in [
        "{}",
        r#"{"picker": "weighted", "scorers": [{"signal": "latency"}, {"signal": "session"}]}"#,
        r#"{"picker": "best-of-two", "scorers": [{"signal": "first-byte", "best": 100, "worst": 1e12}],
            "filters": [{"signal": "free-places", "above": 0}, {"signal": "session", "above": 0}]}"#,
        r#"{"scorers": [{"side": "local"}, {"signal": "weight"}, {"signal": "error-rate"},
            {"signal": "context-length"}, {"signal": "queued"}, {"signal": "in-flight"}]}"#,
    ] {
        testing::check_requests::<Score>(parameters);
    }
}
