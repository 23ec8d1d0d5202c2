//! Which setting of a time limit wins.

use std::time::Duration;

use super::*;

const MODELS: &str = "\
models:
  - id: a
    timeouts: {connect: 2, first_byte: 20, idle: 20, total: 200}
    route:
      - {base_url: 'http://one', timeouts: {first_byte: 30, idle: 30}}
      - {base_url: 'http://two', weight: 1}
  - {id: b, route: [{base_url: 'http://three', weight: 1}]}
";

const ROUTING: &str = "\
timeouts: {connect: 1, first_byte: 10, idle: 10, total: 100, pool_idle: 1}
local_deployment:
  - {endpoint: 'http://one', models: [a, b], timeouts: {idle: 40}}
remote_deployment:
  - {endpoint: 'http://four', models: [a], timeouts: {connect: 0.5, pool_idle: 0}}
";

/// A model's `total`, and the limits of its deployments by host.
type Limits<'a> = (f64, Vec<(&'a str, [f64; 4])>);

/// Each deployment: connect, first_byte, idle, pool_idle in seconds; each model: its total.
fn limits(config: &Config) -> Vec<Limits<'_>> {
    let of = |d: &'_ DeploymentConfig| {
        let Timeouts { connect, first_byte, idle, pool_idle } = d.timeouts;
        [connect, first_byte, idle, pool_idle].map(|limit| limit.as_secs_f64())
    };
    let models = config.models.iter();
    models
        .map(|model| {
            let deployments = model.deployments.iter();
            let all = deployments.map(|d| (d.endpoint.origin.host.as_str(), of(d))).collect();
            (model.total.0.as_secs_f64(), all)
        })
        .collect()
}

#[test]
fn the_innermost_word_holds_key_by_key() {
    let config = load_texts(MODELS, Some(ROUTING), &[]).unwrap();
    let a = vec![
        ("one", [2.0, 30.0, 40.0, 1.0]),
        ("two", [2.0, 20.0, 20.0, 1.0]),
        ("four", [0.5, 20.0, 20.0, 0.0]),
    ];
    let b = vec![("three", [1.0, 10.0, 10.0, 1.0]), ("one", [1.0, 10.0, 40.0, 1.0])];
    assert_eq!(limits(&config), [(200.0, a), (100.0, b)]);
    assert_eq!(config.total.0, Duration::from_secs(100));
}

#[test]
fn without_a_word_the_defaults_hold() {
    let config = load_texts("models: [{id: a, base_url: 'http://one'}]", None, &[]).unwrap();
    assert_eq!(limits(&config), [(600.0, vec![("one", [5.0, 120.0, 60.0, 4.0])])]);
}

#[test]
fn deployments_that_share_connections_keep_them_for_the_shortest_of_their_times() {
    let models = "\
models:
  - {id: a, base_url: 'http://one/a', timeouts: {pool_idle: 3}}
  - {id: b, base_url: 'http://one/b', timeouts: {pool_idle: 2.5}}
  - {id: c, base_url: 'http://one:81'}
";
    let config = load_texts(models, None, &[]).unwrap();
    let kept = config.models.iter().map(|m| m.deployments[0].timeouts.pool_idle.as_secs_f64());
    assert_eq!(kept.collect::<Vec<_>>(), [2.5, 2.5, 4.0]);
}

#[test]
fn limits_that_make_no_sense_are_errors_at_their_place() {
    let models = "\
models:
  - id: a
    timeouts: {conect: 1, pool_idle: -1}
    route:
      - base_url: http://one
        timeouts: {idle: 0, total: 5}
";
    let routing = "\
timeouts: {pool_idle: 1 second}
local_deployment:
  - endpoint: http://one
    models: [a]
    timeouts:
      total: 9
      first_byte: soon
";
    let time = "this is not a time; write seconds, or a number with a unit (ms, s, m, h): 2, 500ms, 1.5s, \
        10m";
    let total = "this cannot be given here; `total` is of a whole request: give it at the model, or in \
        `timeouts` of routing.yaml";
    assert_eq!(
        errors(models, Some(routing), &[]),
        [
            "models.yaml:3:16: unknown key `conect`; did you mean `connect`?".to_owned(),
            "models.yaml:3:38: the time must be at least 0 s; write a time from 0 to 31536000 s".to_owned(),
            "models.yaml:6:26: the time must be above 0 s; write a time above 0 and at most 31536000 s".to_owned(),
            format!("models.yaml:6:36: {total}"),
            format!("routing.yaml:1:23: {time}"),
            format!("routing.yaml:6:14: {total}"),
            format!("routing.yaml:7:19: {time}"),
        ]
    );
}
