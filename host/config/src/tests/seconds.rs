//! Times with and without units.

use std::time::Duration;

use super::*;

const MODELS: &str =
    "models: [{id: a, base_url: 'http://one', timeouts: {idle: 1500ms, total: 1h}}]";

#[test]
fn every_setting_takes_units() {
    let routing = "\
timeout: 2s
health_check: 1m
timeouts: {connect: 500ms, first_byte: '2m', pool_idle: 0s}
concurrency: {wait: 0.5s, local: {wait: 250ms}}
ejection: {base: 10s, max: 5m}
slow_start: {duration: 20s}
shutdown: {accept: 0, grace: 1m}
sandbox: {call_timeout: 20ms}
";
    let config = load_texts(MODELS, Some(routing), &[]).unwrap();
    let ms = Duration::from_millis;
    assert_eq!((config.probing.timeout, config.probing.interval), (ms(2_000), Some(ms(60_000))));
    let Timeouts { connect, first_byte, pool_idle, .. } = config.timeouts;
    assert_eq!((connect, first_byte, pool_idle), (ms(500), ms(120_000), ms(0)));
    assert_eq!((config.ejection.base, config.ejection.max), (ms(10_000), ms(300_000)));
    assert_eq!(config.slow_start.duration, Some(ms(20_000)));
    assert_eq!((config.shutdown.accept, config.shutdown.grace), (ms(0), ms(60_000)));
    assert_eq!(config.sandbox.call, ms(20));
    let model = &config.models[0];
    assert_eq!((model.deployments[0].timeouts.idle, model.total.0), (ms(1_500), ms(3_600_000)));
    assert_eq!(model.deployments[0].concurrency.wait, ms(250));
}

#[test]
fn a_variable_may_hold_a_unit() {
    let routing = "timeout: ${T}\nhealth_check: \"${T}\"\n";
    let config = load_texts(MODELS, Some(routing), &[("T", "300ms")]).unwrap();
    assert_eq!(config.probing.timeout, Duration::from_millis(300));
    assert_eq!(config.probing.interval, Some(Duration::from_millis(300)));
    let found = errors(MODELS, Some("timeout: ${T}\n"), &[("T", "hunter2")]);
    assert!(
        found[0].starts_with("routing.yaml:1:10: this is not a time; write seconds"),
        "{found:?}"
    );
    assert!(!found[0].contains("hunter2"));
}

#[test]
fn an_ambiguous_time_is_an_error() {
    for text in
        ["2 s", "1m30s", "5min", "1M", "1d", "s", ".5s", "5.s", "1.2.3s", "-1s", "soon", "true"]
    {
        let found = errors(MODELS, Some(&format!("timeout: {text}\n")), &[]);
        assert_eq!(
            found,
            ["routing.yaml:1:10: this is not a time; write seconds, or a number with a unit \
              (ms, s, m, h): 2, 500ms, 1.5s, 10m"],
            "{text}"
        );
    }
    let found = errors(MODELS, Some("timeout: '2'\n"), &[]);
    assert_eq!(found, ["routing.yaml:1:10: this is not a time; remove the quotes"]);
}

#[test]
fn a_unit_does_not_widen_the_range() {
    let found = errors(MODELS, Some("timeout: 0ms\nshutdown: {grace: 2h}\n"), &[]);
    assert_eq!(
        found,
        [
            "routing.yaml:1:10: the time must be above 0 s; write a time above 0 and at most \
             31536000 s, default 2 s",
            "routing.yaml:2:19: the time must be at most 3600 s; write a time from 0 to 3600 s, default 30 s",
        ]
    );
}

#[test]
fn a_time_above_zero_is_at_least_a_millisecond() {
    for (text, micros) in [("0.0001", 1000), ("0.5ms", 1000), ("0.0015", 1500), ("1ms", 1000)] {
        let config = load_texts(MODELS, Some(&format!("timeout: {text}\n")), &[]).unwrap();
        assert_eq!(config.probing.timeout, Duration::from_micros(micros), "{text}");
    }
}
