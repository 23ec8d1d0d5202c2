//! Likely mistakes, each with the place and the words that tell it.

use super::*;

fn warnings(models: &str, routing: Option<&str>) -> Vec<String> {
    let config = load_texts(models, routing, &[]).unwrap();
    config.warnings.iter().map(ToString::to_string).collect()
}

/// The only warning of two files.
fn warning(models: &str, routing: &str) -> String {
    let found = warnings(models, Some(routing));
    let [one] = &found[..] else { panic!("{found:#?}") };
    one.clone()
}

const ONE: &str = "models:\n  - id: m\n    base_url: http://gpu\n";
const LISTED: &str = "local_deployment: [{endpoint: 'http://gpu', models: [m]}]\n";

#[test]
fn good_files_have_no_warnings() {
    assert!(warnings(ONE, None).is_empty());
    assert!(warnings(ONE, Some(LISTED)).is_empty());
    assert!(warnings(ONE, Some("# nothing\n")).is_empty());
    assert!(warnings("models: [{id: m}]", Some(LISTED)).is_empty());
}

#[test]
fn a_route_without_traffic_is_named() {
    let models = "\
models:
  - id: m
    route:
      - {base_url: 'http://gpu'}
      - {base_url: 'https://paid.example', name: paid}
";
    let said = warning(models, LISTED);
    assert!(said.contains("route `paid` of the model `m` gets no traffic"), "{said}");
    assert!(warnings(&models.replace("name: paid", "weight: 0"), Some(LISTED)).is_empty());
}

#[test]
fn an_endpoint_that_joins_no_route_is_named() {
    let routing = format!("{LISTED}remote_deployment: [{{endpoint: 'http://gpv', models: [m]}}]\n");
    assert!(warnings(ONE, Some(&routing)).is_empty());
    let said = warning("models: [{id: m, route: [{base_url: 'http://gpu'}]}]", &routing);
    assert!(said.contains("no route of the model `m` has this endpoint"), "{said}");
}

#[test]
fn weights_that_nobody_reads_are_told() {
    let models = "\
models:
  - {id: m, route: [{base_url: 'http://gpu', weight: 3}, {base_url: 'http://gpv'}]}
";
    let routing = |strategy: &str, models: &str| {
        format!(
            "routing_strategy: {strategy}\nlocal_deployment:\n\
             \x20 - {{endpoint: 'http://gpu', models: [m]}}\n\
             \x20 - {{endpoint: 'http://gpv', models: {models}}}\n"
        )
    };
    let said = warning(models, &routing("latency", "[m]"));
    assert!(said.contains("the strategy `latency` ignores this weight"), "{said}");
    assert!(warnings(models, Some(&routing("weighted-order", "[m]"))).is_empty());
    let equal = models.replace("weight: 3", "weight: 1");
    assert!(warnings(&equal, Some(&routing("latency", "[m]"))).is_empty());
}

#[test]
fn a_strategy_without_effect_is_told() {
    let said = warning(ONE, "routing_strategy: spill\n");
    assert!(said.contains("no effect"), "{said}");
    let two = format!("{ONE}  - {{id: n, base_url: 'http://n'}}\n");
    let said = warning(&two, &format!("strategies: {{n: {{routing_strategy: spill}}}}\n{LISTED}"));
    assert!(said.contains("no list names the model `n`"), "{said}");
}

#[test]
fn prices_per_million_are_told() {
    let models = format!("{ONE}    pricing: {{prompt: 0.15, completion: \"0.0000006\"}}\n");
    let said = warning(&models, LISTED);
    assert!(said.contains("above $0.001") && said.contains("3"), "{said}");
    let told = models.replace("{prompt", "{per_million: true, prompt").replace("0.0000006", "0.6");
    let told = load_texts(&told, Some(LISTED), &[]).expect("good prices");
    assert!(told.warnings.is_empty(), "{:?}", told.warnings);
}

#[test]
fn a_first_byte_above_total_is_told() {
    let said = warning(ONE, &format!("timeouts: {{first_byte: 90, total: 60}}\n{LISTED}"));
    assert!(said.contains("`first_byte` is longer than `total`"), "{said}");
    let models = format!("{ONE}    timeouts: {{total: 60}}\n");
    assert!(warning(&models, LISTED).contains("never comes to its end"));
}

#[test]
fn unknown_kinds_and_wildcards_are_told() {
    let said = warning(&format!("{ONE}    provider: vlmm\n"), LISTED);
    assert!(said.contains("the kind `vlmm` is not known"), "{said}");
    let said = warning(&ONE.replace("id: m", "id: 'm'\n    aliases: ['gpt-*']"), LISTED);
    assert!(said.contains("`gpt-*` is a name like any other"), "{said}");
}

#[test]
fn unnamed_deployments_under_affinity_are_told() {
    let routing = "\
routing_strategy: session-affinity
local_deployment:
  - {endpoint: 'http://gpu', models: [m]}
  - {endpoint: 'http://gpv', models: [m]}
";
    let models = "models: [{id: m}]";
    let said = warning(models, routing);
    assert!(said.contains("2 deployments of the model `m` have no name"), "{said}");
    let named = routing.replace("gpv', models: [m]", "gpv', models: [m], name: b");
    assert!(warnings(models, Some(&named)).is_empty());
}
