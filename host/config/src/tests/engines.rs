//! Where engines tell their load: `signals` of routes and entries, and of `routing.yaml`.

use std::time::Duration;

use super::*;

/// The sources of every deployment's signals, as they are written, and where they are asked.
fn shown(config: &Config) -> Vec<String> {
    let deployments = config.models.iter().flat_map(|model| &model.deployments);
    let show = |d: &DeploymentConfig| {
        let Some(metrics) = &d.metrics else { return "never".to_owned() };
        let origin = metrics.origin(&d.endpoint.origin);
        let key = metrics.key(d).map_or("no key", |key| key.expose());
        let first = |signal| {
            metrics.sources(signal).next().map_or_else(
                || "-".to_owned(),
                |source| match source {
                    Source::Plain(series) => series.name.clone(),
                    Source::Parts(series, parts) => format!("{}/{parts}", series.name),
                    Source::Quotient(a, b) => {
                        let divisor: Vec<_> = b.iter().map(|series| &*series.name).collect();
                        format!("{}/{}", a.name, divisor.join("+"))
                    }
                },
            )
        };
        let sources: Vec<_> = (0..ENGINE_SIGNALS.len()).map(first).collect();
        format!("{origin}{} {key}: {}", metrics.path(), sources.join(" "))
    };
    deployments.map(show).collect()
}

#[test]
fn kinds_say_where_engines_tell_their_load() {
    let models = "\
models:
  - id: a
    route:
      - {base_url: 'http://gpu:1/v1', kind: SGLang, api_key: k}
      - {base_url: 'http://gpu:2', kind: triton, api_key: k}
      - {base_url: 'http://gpu:3'}
      - {base_url: 'https://api.example', kind: vllm, api_key: k}
";
    let config = load_texts(models, None, &[]).unwrap();
    assert_eq!(
        shown(&config),
        [
            "http://gpu:1/metrics k: sglang:num_running_reqs sglang:num_queue_reqs \
             sglang:token_usage sglang:cache_hit_rate",
            "http://gpu:8002/metrics no key: nv_trt_llm_request_metrics nv_trt_llm_request_metrics \
             nv_trt_llm_kv_cache_block_metrics -",
            "http://gpu:3/metrics no key: vllm:num_requests_running vllm:num_requests_waiting \
             vllm:kv_cache_usage_perc vllm:prefix_cache_hits_total/vllm:prefix_cache_queries_total",
            "never",
        ]
    );
    let any = config.models[0].deployments[2].metrics.as_ref().unwrap();
    let running = any.sources(0).map(|source| matches!(source, Source::Plain(_)));
    assert!(running.count() >= 5, "the rows of every kind that answers at /metrics");
}

#[test]
fn an_engine_below_a_path_tells_its_load_there() {
    let models = "\
models:
  - id: a
    route:
      - {base_url: 'http://ingress/one', kind: vllm}
      - {base_url: 'http://ingress/two/v1', kind: trtllm}
      - {base_url: 'http://ingress/three', kind: triton}
      - {base_url: 'http://ingress/four', kind: vllm, signals: {path: /metrics}}
      - {base_url: 'http://ingress/openai/v1', kind: vllm}
";
    let config = load_texts(models, None, &[]).unwrap();
    let asked = config.models[0].deployments.iter().map(|deployment| {
        let metrics = deployment.metrics.as_ref().unwrap();
        format!("{}{}", metrics.origin(&deployment.endpoint.origin), metrics.path())
    });
    assert_eq!(
        asked.collect::<Vec<_>>(),
        [
            "http://ingress/one/metrics",
            "http://ingress/two/prometheus/metrics",
            "http://ingress:8002/metrics",
            "http://ingress/metrics",
            "http://ingress/metrics",
        ]
    );
}

#[test]
fn a_deployment_names_its_own_series() {
    let models = "\
models:
  - id: a
    route:
      - base_url: https://api.example
        kind: vllm
        signals: {path: ':9000/m', running: 'my{engine=\"0\"}', kv: my_percent / 100}
      - {base_url: 'http://gpu:1', kind: vllm, weight: 1, signals: {waiting: route}}
";
    let routing = "\
local_deployment:
  - {endpoint: 'http://gpu:1', models: [a], signals: {prefix-hit: hits / queries}}
remote_deployment:
  - {endpoint: 'https://api.example', models: [a]}
";
    let config = load_texts(models, Some(routing), &[]).unwrap();
    assert_eq!(
        shown(&config),
        [
            "https://api.example:9000/m no key: my vllm:num_requests_waiting my_percent/100 \
             vllm:prefix_cache_hits_total/vllm:prefix_cache_queries_total",
            "http://gpu:1/metrics no key: vllm:num_requests_running vllm:num_requests_waiting \
             vllm:kv_cache_usage_perc hits/queries",
        ],
        "an entry replaces the route's"
    );
}

#[test]
fn wrong_sources_are_told_at_their_place() {
    let models = "\
models:
  - id: a
    route:
      - base_url: http://gpu:1
        signals:
          path: metrics
          running: a / b
          kv: 'my_metric{engine=0}'
";
    assert_eq!(
        errors(models, None, &[]),
        [
            "models.yaml:6:17: this is not a path of the engine's host; write `/metrics`, or \
             `:8002/metrics` for another port of the same host",
            "models.yaml:7:20: a number of requests is no quotient; name one series; only `kv` and \
             `prefix-hit` are ratios",
            "models.yaml:8:15: this is not a series of Prometheus metrics; write its name, and the \
             labels that it must have: `my_metric{engine=\"0\"}`",
        ]
    );
    let unset = "models: [{id: a, route: [{base_url: 'http://a', signals: {kv: '1 / ${X}'}}]}]";
    assert_eq!(errors(unset, None, &[]).len(), 1, "the variable is told alone");
    let keys = "models: [{id: a, route: [{base_url: 'http://a', signals: {prefix_hit: x}}]}]";
    assert_eq!(
        errors(keys, None, &[]),
        ["models.yaml:1:59: unknown key `prefix_hit`; did you mean `prefix-hit`?"]
    );
}

#[test]
fn scraping_has_bounds() {
    let models = "models: [{id: a, base_url: 'http://a'}]";
    let scraping = |text: &str| {
        let routing = format!("signals: {text}\n");
        load_texts(models, Some(&routing), &[]).map(|config| config.scraping)
    };
    let default = Scraping::default();
    assert_eq!(scraping("{}").unwrap(), default);
    assert_eq!(default.stale_after(), Duration::from_secs(5));
    let given = scraping("{interval: 2s, timeout: 500ms, always: true}").unwrap();
    assert_eq!(
        (given.interval, given.timeout, given.always),
        (Duration::from_secs(2), Duration::from_millis(500), true)
    );
    assert_eq!((given.period(), given.stale_after()), (given.interval, 10 * given.interval));
    let four = scraping("{gateways: 4}").unwrap();
    assert_eq!((four.period(), four.stale_after()), (4 * default.interval, 12 * default.interval));
    for wrong in [
        "{gateways: 0}",
        "{gateways: 1001}",
        "{gateways: 1.5}",
        "{interval: 49ms}",
        "{interval: 61}",
        "{interval: 0}",
        "{timeout: 0}",
        "{timeout: 2m}",
    ] {
        assert!(scraping(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn engines_below_paths_are_probed_there() {
    let models = "
models:
  - id: m
    route:
      - {base_url: 'http://ingress/llama/v1', kind: vllm, side: local}
      - {base_url: 'http://ingress/openai/v1', kind: vllm, side: local}
      - {base_url: 'http://ingress/two', side: local}
      - {base_url: 'http://ingress/two', side: local, name: own, health: /live}
";
    let config = load_texts(models, None, &[]).unwrap();
    let probes = config.models[0].deployments.iter().map(|deployment| {
        let probe = deployment.probe.as_ref().unwrap();
        (probe.path.as_str(), probe.last_resort.as_deref())
    });
    let wanted = [
        ("/llama/health", Some("/llama/v1/models")),
        ("/health", None),
        ("/two/health", Some("/two/v1/models")),
        ("/live", None),
    ];
    assert_eq!(probes.collect::<Vec<_>>(), wanted);
}
