//! How the two files become one fleet.

use std::time::Duration;

use contract::Side;

use super::*;

const TWO: &str = "\
models:
  - id: a
    aliases: [a-alias]
    route:
      - {base_url: 'https://API.example/v1/', weight: 3, api_key: key-api}
      - {base_url: 'http://10.0.0.1:8000', weight: 1}
  - id: b
    base_url: https://api.example
    api_key: key-b
";

fn keys(model: &Model) -> Vec<Option<&str>> {
    model.deployments.iter().map(|d| d.api_key.as_ref().map(Secret::expose)).collect()
}

#[test]
fn without_a_routing_file_the_weights_are_those_of_the_models() {
    let config = load_texts(TWO, None, &[]).unwrap();
    assert!(config.strategies.is_empty() && config.routing_file.is_none());
    assert_eq!(
        deployments(&config),
        [
            "remote-1 https://api.example 0.750 kept",
            "local-1 http://10.0.0.1:8000 0.250 kept",
            "remote-1 https://api.example 1.000 kept",
        ]
    );
}

#[test]
fn an_empty_routing_file_is_the_default_strategy() {
    let config = load_texts(TWO, Some("# nothing\n"), &[]).unwrap();
    assert_eq!(config.strategies[0].reference, "fixed");
    let kept = config.models.iter().flat_map(|m| &m.deployments).all(|d| d.share == Share::Kept);
    assert!(kept);
}

#[test]
fn an_entry_joins_the_route_with_the_same_endpoint() {
    let routing = "\
local_deployment:
  - endpoint: https://api.EXAMPLE:443/
    models: [a-alias]
    name: ours
    health: {path: /ok, method: HEAD}
";
    let config = load_texts(TWO, Some(routing), &[]).unwrap();
    assert_eq!(
        deployments(&config),
        [
            "ours https://api.example 0.750 assigned",
            "local-1 http://10.0.0.1:8000 0.250 kept",
            "remote-1 https://api.example 1.000 kept",
        ]
    );
    let ours = &config.models[0].deployments[0];
    assert_eq!(ours.side, Side::Local, "the list says so");
    let probe = ours.probe.as_ref().unwrap();
    assert_eq!((probe.path.as_str(), probe.method), ("/ok", ProbeMethod::Head));
}

#[test]
fn a_route_that_no_entry_lists_needs_a_weight() {
    let models = "\
models:
  - id: a
    route:
      - {base_url: 'http://one'}
      - {base_url: 'http://two'}
      - {base_url: 'http://three', weight: 0}
      - {base_url: 'http://four', weight: 1}
  - {id: b, base_url: 'http://five'}
";
    let routing = "local_deployment: [{endpoint: 'http://one', models: [a]}]";
    let config = load_texts(models, Some(routing), &[]).unwrap();
    assert_eq!(
        deployments(&config),
        [
            "local-1 http://one 0.500 assigned",
            "local-2 http://three 0.000 kept",
            "local-3 http://four 0.500 kept",
            "local-1 http://five 1.000 kept",
        ]
    );
}

#[test]
fn an_entry_joins_whatever_path_the_api_has() {
    let models = "\
models:
  - id: a
    base_url: http://one/llama
    path: /api
    route:
      - {}
      - {base_url: 'http://two', path: /}
      - {base_url: 'https://api.example', kind: gemini}
";
    let routing = "\
local_deployment:
  - {endpoint: 'http://ONE/llama/', models: [a]}
  - {endpoint: 'http://two/v1', models: [a], path: /v2}
remote_deployment: [{endpoint: 'https://api.example', models: [a]}]
";
    for (routing, two) in [(None, "http://two"), (Some(routing), "http://two/v2")] {
        let config = load_texts(models, routing, &[]).unwrap();
        let urls: Vec<_> =
            config.models[0].deployments.iter().map(|d| d.endpoint.url("/models")).collect();
        let two = format!("{two}/models");
        assert_eq!(
            urls,
            ["http://one/api/models", &two, "https://api.example/v1beta/openai/models"]
        );
    }
    let bad = "models: [{id: a, base_url: 'http://a', path: v1?x}]";
    assert!(errors(bad, None, &[])[0].contains("this is not a path"));
}

#[test]
fn models_of_one_endpoint_do_not_leak_to_another() {
    let routing = "\
local_deployment:
  - {endpoint: 'http://one:1', models: [a]}
  - {endpoint: 'http://two:2', models: [b]}
";
    let config = load_texts(TWO, Some(routing), &[]).unwrap();
    let hosts = |model: &Model| {
        let created = model.deployments.iter().filter(|d| d.share == Share::Assigned);
        created.map(|d| d.endpoint.origin.host.clone()).collect::<Vec<_>>()
    };
    assert_eq!(hosts(&config.models[0]), ["one"]);
    assert_eq!(hosts(&config.models[1]), ["two"]);
}

#[test]
fn weights_of_a_model_sum_to_one_with_what_is_created() {
    let routing = "remote_deployment: [{endpoint: 'http://new', models: [a]}]";
    let config = load_texts(TWO, Some(routing), &[]).unwrap();
    let shown = deployments(&config);
    assert_eq!(shown[0], "remote-1 https://api.example 0.600 kept");
    assert_eq!(shown[1], "local-1 http://10.0.0.1:8000 0.200 kept");
    assert_eq!(shown[2], "remote-2 http://new 0.200 assigned");
}

#[test]
fn a_key_goes_to_the_host_it_was_configured_for_alone() {
    let routing = "\
remote_deployment:
  - {endpoint: 'https://evil.example', models: [a, b]}
  - {endpoint: 'https://api.example/other', models: [a, b]}
  - {endpoint: 'http://api.example', models: [b]}
  - {endpoint: 'https://own.example', models: [b], api_key: key-own}
";
    let config = load_texts(TWO, Some(routing), &[]).unwrap();
    assert_eq!(keys(&config.models[0]), [Some("key-api"), None, None, Some("key-api")]);
    let b = keys(&config.models[1]);
    assert_eq!(b, [None, Some("key-b"), None, Some("key-own")]);
}

#[test]
fn a_route_inherits_the_models_key_for_the_same_host_only() {
    let models = "\
models:
  - id: a
    base_url: https://api.example/v1
    api_key: key
    route:
      - {kind: x}
      - {base_url: 'https://api.example/eu'}
      - {base_url: 'https://other.example'}
      - {base_url: 'http://api.example'}
  - id: b
    api_key: key
    route: [{base_url: 'https://other.example'}]
";
    let config = load_texts(models, None, &[]).unwrap();
    assert_eq!(keys(&config.models[0]), [Some("key"), Some("key"), None, None]);
    assert_eq!(keys(&config.models[1]), [Some("key")]);
}

#[test]
fn sides_names_and_probes_have_defaults() {
    let models = "\
models:
  - id: a
    route:
      - {base_url: 'http://localhost:1'}
      - {base_url: 'http://gpu-box:1', name: local-2}
      - {base_url: 'http://[fd00::1]:1'}
      - {base_url: 'http://api.example:1', side: local}
      - {base_url: 'http://8.8.8.8:1'}
      - {base_url: 'http://127.0.0.1:1', side: remote, health: /up}
";
    let config = load_texts(models, None, &[]).unwrap();
    let shown: Vec<_> = config.models[0]
        .deployments
        .iter()
        .map(|d| (d.name.as_str(), d.side, d.probe.as_ref().map(|p| p.path.as_str())))
        .collect();
    assert_eq!(
        shown,
        [
            ("local-1", Side::Local, Some("/health")),
            ("local-2", Side::Local, Some("/health")),
            ("local-3", Side::Local, Some("/health")),
            ("local-4", Side::Local, Some("/health")),
            ("remote-1", Side::Remote, None),
            ("remote-2", Side::Remote, Some("/up")),
        ]
    );
}

#[test]
fn every_field_of_a_model_arrives_and_has_its_default() {
    let models = "\
models:
  - id: plain
    base_url: http://a/v1
  - id: full
    name: Full
    provider: vllm
    base_url: http://a
    provider_model_id: meta/full
    pricing: {prompt: 0.00000015, completion: \"1.50\"}
    output_modalities: [text, audio]
    route:
      - {weight: 0, pricing: {prompt: \"0\"}}
      - {kind: sglang, weight: 2, provider_model_id: other, base_url: http://b/openai/v1}
";
    let config = load_texts(models, None, &[]).unwrap();
    let [plain, full] = &config.models[..] else { panic!("two") };
    assert_eq!(plain.card.name, "plain");
    assert_eq!((plain.card.context_length, plain.card.max_output_length), (8192, 4096));
    assert_eq!(plain.card.quantization, "bf16");
    assert_eq!(plain.card.supported_params, ["temperature", "top_p", "max_tokens"]);
    assert_eq!(plain.card.pricing, Pricing::default());
    assert_eq!(plain.deployments[0].provider_model_id, "plain");
    let [first, second] = &full.deployments[..] else { panic!("two") };
    assert_eq!((first.kind.as_str(), first.provider_model_id.as_str()), ("vllm", "meta/full"));
    assert_eq!((second.kind.as_str(), second.provider_model_id.as_str()), ("sglang", "other"));
    assert_eq!((first.weight, second.weight), (0.0, 1.0));
    assert_eq!(second.endpoint.prefix, "/openai/v1");
    assert_eq!(full.card.pricing.prompt, "0.00000015", "to the letter");
    assert_eq!((&*first.pricing.prompt, &*first.pricing.completion), ("0", "1.50"));
}

#[test]
fn every_field_of_the_routing_file_arrives_and_has_its_default() {
    let config = load_texts(TWO, Some("{}"), &[]).unwrap();
    let absent = Config::default();
    assert_eq!(config.timeouts, absent.timeouts);
    let budget = RetryBudget { percent: 50, per_second: 0 };
    assert_eq!(config.fallback, absent.fallback);
    assert_eq!(config.probing, absent.probing);
    assert_eq!(config.sandbox, absent.sandbox);
    assert_eq!(config.limits, absent.limits);
    assert_eq!(config.shutdown, absent.shutdown);
    assert_eq!((config.shutdown.accept.as_secs(), config.shutdown.grace.as_secs()), (5, 30));
    let digest = "AB".repeat(32);
    let routing = format!(
        "\
routing_strategy: mine
routing_parameter:
sha256: {digest}
timeout: 0.5
health_check: 0.25
logging: {{output: '-'}}
local_deployment:
timeouts: {{connect: 1, first_byte: 2.5, idle: 3, total: 4}}
fallback: {{attempts: 7, standby: never, ambiguous: never, budget: {{percent: 50, per_second: 0}}}}
ejection: {{consecutive: 0, percent: 50, window: 8, base: 0.5, max: 4}}
slow_start: {{duration: 0, from: 0.2, min_rate: 3}}
health: {{down_after: 4, up_after: 5}}
sandbox: {{memory_mib: 8, stack_kib: 256, component_mib: 2, call_timeout: 0.02, compile_timeout: 3}}
limits: {{body_mib: 1}}
shutdown: {{accept: 0, grace: 0.25}}
"
    );
    let config = load_texts(TWO, Some(&routing), &[]).unwrap();
    let strategy = &config.strategies[0];
    assert_eq!(strategy.sha256.as_deref().unwrap(), digest.to_lowercase());
    assert_eq!(strategy.parameters, serde_json::json!({}));
    assert_eq!(config.access_log, Some(LogOutput::Stdout));
    assert_eq!(config.probing.interval.unwrap().as_millis(), 250);
    assert_eq!((config.probing.down_after, config.probing.up_after), (4, 5));
    assert_eq!(config.timeouts.first_byte.as_millis(), 2500);
    let (standby, ambiguous) = (Standby::Never, Ambiguous::Never);
    assert_eq!(config.fallback, Fallback { attempts: 7, standby, ambiguous, budget });
    let ejection = config.ejection;
    assert_eq!((ejection.consecutive, ejection.percent, ejection.window), (None, Some(50), 8));
    assert_eq!((ejection.base.as_millis(), ejection.max.as_millis()), (500, 4000));
    assert_eq!(config.slow_start, SlowStart { duration: None, from: 0.2, min_rate: 3.0 });
    assert_eq!((config.sandbox.memory, config.sandbox.stack), (8 << 20, 256 << 10));
    assert_eq!(config.sandbox.call.as_millis(), 20);
    assert_eq!(config.limits.body, 1 << 20);
    assert_eq!((config.shutdown.accept.as_millis(), config.shutdown.grace.as_millis()), (0, 250));
}

proptest::proptest! {
    #[test]
    fn weights_of_any_valid_model_sum_to_one(
        weights in proptest::collection::vec(0.0..1e9_f64, 1..12),
        listed in 0_usize..6,
    ) {
        proptest::prop_assume!(weights.iter().any(|weight| *weight > 0.0));
        let routes = weights.iter().enumerate();
        let routes: String = routes
            .map(|(n, weight)| format!("      - {{base_url: 'http://h{n}', weight: {weight:e}}}\n"))
            .collect();
        let models = format!("models:\n  - id: a\n    route:\n{routes}");
        // Some of these join a route, the others are created.
        let entries: String =
            (0..listed).map(|n| format!("  - {{endpoint: 'http://h{}', models: [a]}}\n", n * 3)).collect();
        let config = load_texts(&models, Some(&format!("remote_deployment:\n{entries}")), &[]).unwrap();
        let sum: f64 = config.models[0].deployments.iter().map(|d| d.weight).sum();
        proptest::prop_assert!((sum - 1.0).abs() < 1e-12, "{}", sum);
    }
}

#[test]
fn places_are_those_of_the_entry_then_the_route_then_the_file() {
    let models = "\
models:
  - id: a
    route:
      - {base_url: 'http://one:1', concurrency: {max: 8, wait: 2.5}}
      - {base_url: 'http://two:1', weight: 1}
";
    let routing = "\
concurrency: {queue: 7}
local_deployment:
  - {endpoint: 'http://one:1', models: [a], concurrency: {max: 4}}
  - {endpoint: 'http://three:1', models: [a], concurrency: {queue: 0}}
";
    let of = |max, queue, millis| Concurrency { max, queue, wait: Duration::from_millis(millis) };
    let found = |routing: Option<&str>| -> Vec<Concurrency> {
        let config = load_texts(models, routing, &[]).unwrap();
        config.models[0].deployments.iter().map(|d| d.concurrency).collect()
    };
    assert_eq!(found(None), [of(8, 100, 2_500), of(1_000, 100, 10_000)]);
    assert_eq!(found(Some(routing)), [of(4, 7, 2_500), of(1_000, 7, 10_000), of(1_000, 0, 10_000)]);
}

#[test]
fn prices_of_a_million_tokens_are_exact() {
    let models = "\
models:
  - id: a
    base_url: http://a.example
    pricing: {per_million: true, prompt: 0.15, completion: '0.000001', cached: 0.075, image: 0.002, request: 1e-3}
    route:
      - {}
      - {base_url: 'http://b', pricing: {prompt: 0.0000005, input_cache_reads: '', hourly: 2.50}}
      - {base_url: 'http://c', pricing: {per_million: true, input_cache_reads: 1, input_cache_writes: 3.75, audio: 32, audio_output: 64}}
";
    let config = load_texts(models, None, &[]).unwrap();
    let prices: Vec<_> = config.models[0].deployments.iter().map(|d| &d.pricing).collect();
    let of = |p: &Pricing| {
        [&p.prompt, &p.completion, p.cached(), &p.image, &p.request].map(String::clone)
    };
    assert_eq!(of(prices[0]), ["0.00000015", "0.000000000001", "0.000000075", "0.002", "1e-3"]);
    assert_eq!(of(prices[1]), ["0.0000005", "0.000000000001", "0.000000075", "0.002", "1e-3"]);
    assert_eq!(of(prices[2]), ["0.00000015", "0.000000000001", "0.000001", "0.002", "1e-3"]);
    assert_eq!(prices[2].input_cache_writes, "0.00000375");
    let hourly: Vec<_> = prices.iter().map(|prices| prices.hourly.as_deref()).collect();
    assert_eq!(hourly, [None, Some("2.50"), None]);
    let audio = prices[2].audio.as_deref().zip(prices[2].audio_output.as_deref());
    assert_eq!((audio, &prices[0].audio), (Some(("0.000032", "0.000064")), &None));
}

#[test]
fn prices_keys_and_probes_are_taken_as_given() {
    let models = "\
models:
  - id: a
    base_url: http://a.example
    api_key: ${KEY:-}
    pricing: {prompt: '0', completion: '', image: 1.5e-6}
    route:
      - {health: /up}
      - {base_url: 'http://engine', health: {path: /up?x, method: HEAD}, pricing: {prompt: '2'}}
";
    let config = load_texts(models, None, &[]).unwrap();
    let model = &config.models[0];
    let prices = |pricing: &Pricing| {
        [&pricing.prompt, &pricing.completion, &pricing.image].map(String::clone)
    };
    assert_eq!(prices(&model.card.pricing), ["0", "0", "1.5e-6"]);
    let [first, second] = &model.deployments[..] else { panic!("two") };
    assert_eq!(
        (prices(&first.pricing), prices(&second.pricing)),
        (["0", "0", "1.5e-6"].map(Into::into), ["2", "0", "1.5e-6"].map(Into::into))
    );
    assert!(first.api_key.is_none() && second.api_key.is_none(), "an empty key is none");
    let probe = |deployment: &DeploymentConfig| {
        let probe = deployment.probe.as_ref().expect("a probe");
        (probe.path.clone(), probe.method)
    };
    assert_eq!(probe(first), ("/up".into(), ProbeMethod::Get));
    assert_eq!(probe(second), ("/up?x".into(), ProbeMethod::Head));
    for (path, good) in
        [("/", true), ("/a b", false), ("/a#b", false), ("/é", false), ("up", false)]
    {
        let models =
            format!("models: [{{id: a, route: [{{base_url: 'http://a', health: '{path}'}}]}}]");
        let said = load_texts(&models, None, &[]).map_err(|errors| errors.short());
        assert_eq!(said.is_ok(), good, "{path}");
        assert!(said.err().is_none_or(|said| said.contains("a health path begins with `/`")));
    }
}
