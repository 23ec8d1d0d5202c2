//! `models.yaml` and `routing.yaml`: how they join, variables, and errors that prevent a start.

use std::process::Output;

use tests::{Engine, Port, Raw, Setup};

/// The example of the specification, as written there.
const EXAMPLE: &str = "\
routing_strategy: fixed
routing_parameter:
  local_fraction: 0.6

timeout: 2
health_check: 30
logging:
  output: output.log

local_deployment:
  - endpoint: ${LOCAL_BASE_URL:-http://localhost:8000}
    models:
      - llama-3.3-70b-instruct
      - llama-4-scout

remote_deployment:
  - endpoint: ${LLAMA_BASE_URL}
    models:
      - llama-3.3-70b-instruct
";

const EXAMPLE_MODELS: &str = "\
models:
  - id: llama-3.3-70b-instruct
    provider: llama
    base_url: ${LLAMA_BASE_URL}
    api_key: ${LLAMA_API_KEY:-}
    aliases: [llama-3.3]
  - id: llama-4-scout
";

fn example() -> Setup {
    tests::setup!().models(EXAMPLE_MODELS).routing(EXAMPLE)
}

/// The lines of `gateway check` about strategy, models and deployments.
fn checked(setup: Setup) -> String {
    let Output { status, stdout, stderr } = setup.arg("check").output();
    let (stdout, stderr) = (text(&stdout), text(&stderr));
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert_eq!(stderr, "", "a good configuration is no reason to complain");
    // Without the padding of the columns, and with the endpoints alone.
    let stdout = stdout.replace("/v1/chat/completions", "");
    stdout
        .lines()
        .filter(|line| !line.split(' ').next().is_some_and(|word| word.ends_with(':')))
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n")
        .collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The errors of a bad configuration. `gateway check` and a start print the same, on standard
/// error, and exit with code 1.
fn refused(setup: impl Fn() -> Setup) -> String {
    let Output { status, stdout, stderr } = setup().arg("check").output();
    assert_eq!((status.code(), text(&stdout)), (Some(1), String::new()));
    let started = setup().output();
    assert_eq!((started.status.code(), text(&started.stdout)), (Some(1), String::new()));
    assert_eq!(text(&started.stderr), text(&stderr));
    text(&stderr)
}

#[tokio::test]
async fn the_example_of_the_specification_works_as_written() {
    let (local, remote) = (Engine::start("local"), Engine::start("remote"));
    let gateway =
        example().env("LOCAL_BASE_URL", local.url()).env("LLAMA_BASE_URL", remote.url()).start();
    let weights = gateway.weights("llama-3.3-70b-instruct").await;
    assert_eq!(weights, [("local-1".into(), 0.6), ("remote-1".into(), 0.4)].into());
    assert_eq!(gateway.weights("llama-4-scout").await, [("local-1".into(), 1.0)].into());
    for _ in 0..8 {
        let reply = gateway.chat("llama-4-scout").await;
        assert_eq!((reply.status, reply.engine()), (200, "local"), "{}", reply.text());
    }
    for model in ["llama-3.3-70b-instruct", "llama-3.3"] {
        let reply = gateway.chat(model).await;
        assert_eq!((reply.status, &reply.json()["model"]), (200, &model.into()));
    }
    tests::eventually("the log of `logging.output`", async || {
        std::fs::read_to_string(gateway.path("output.log"))
            .ok()
            .filter(|log| log.lines().count() == 10)
    })
    .await;
}

#[test]
fn defaults_replace_unset_and_empty_variables() {
    let want = "\
strategy fixed 0.1.0 {\"local_fraction\":0.6}
model llama-3.3-70b-instruct
remote-1 remote 0.4000 http://remote.test:1
local-1 local 0.6000 http://localhost:8000
model llama-4-scout
local-1 local 1.0000 http://localhost:8000
";
    let remote = || example().env("LLAMA_BASE_URL", "http://remote.test:1");
    assert_eq!(checked(remote()), want);
    assert_eq!(checked(remote().env("LOCAL_BASE_URL", "")), want);
}

#[test]
fn variables_work_the_same_in_both_files() {
    let setup = tests::setup!()
        .models(
            "models:\n  - id: $${SET}\n    name: ${EMPTY}\n    base_url: ${UNSET:-http://${SET}:1}/v1\n",
        )
        .routing(
            "routing_parameter: {local_fraction: \"${FRACTION:-0.5}\"}\nremote_deployment:\n  \
             - {endpoint: '${EMPTY:-http://${SET}:2}/v1', models: ['$${SET}']}\n",
        )
        .env("SET", "host.test")
        .env("EMPTY", "");
    // A variable in quotes is a string: that is an error here. Without quotes it is a number.
    let error = text(&setup.arg("check").output().stderr);
    assert!(error.contains("local_fraction") || error.contains("number"), "{error}");
    let setup = tests::setup!()
        .models("models:\n  - id: $${SET}\n    base_url: ${UNSET:-http://${SET}:1}/v1\n")
        .routing(
            "routing_parameter:\n  local_fraction: ${FRACTION:-0.5}\nremote_deployment:\n  \
             - {endpoint: '${UNSET:-http://${SET}:1}', models: ['$${SET}']}\n  \
             - {endpoint: '${EMPTY:-http://${SET}:2}/v1', models: ['$${SET}']}\n",
        )
        .env("SET", "host.test")
        .env("EMPTY", "");
    assert_eq!(
        checked(setup),
        "strategy fixed 0.1.0 {\"local_fraction\":0.5}\nmodel ${SET}\n\
         remote-1 remote 0.5000 http://host.test:1\nremote-2 remote 0.5000 http://host.test:2\n"
    );
}

#[test]
fn an_unset_variable_in_either_file_stops_everything() {
    let error = refused(|| example().env("LOCAL_BASE_URL", "http://local.test"));
    assert_eq!(error.matches("the environment variable `LLAMA_BASE_URL` is not set").count(), 2);
    assert!(error.contains("config/models.yaml:4:15"), "{error}");
    assert!(
        error.contains("config/routing.yaml:17:15"),
        "the routing file is not dropped: {error}"
    );
    assert!(error.contains("4 |     base_url: ${LLAMA_BASE_URL}"), "{error}");
    assert!(error.contains("set LLAMA_BASE_URL, or give a default: `${LLAMA_BASE_URL:-value}`"));
}

#[test]
fn all_errors_of_both_files_are_shown() {
    let models = "\
models:
  - id: a
    base_url: http://a.test
    contxt_length: 5
  - id: b
    base_url: http://b.test
    supports_tools: 'yes'
";
    let routing = "\
routing_stratgy: fixed
timeout: soon
local_deployment:
  - endpoint: http://a.test
    models: [a, c]
";
    let error = refused(|| tests::setup!().models(models).routing(routing));
    for want in [
        "unknown key `contxt_length`",
        "config/models.yaml:4:5",
        "4 |     contxt_length: 5",
        "did you mean `context_length`?",
        "config/models.yaml:7:21",
        "expected a boolean, found a string",
        "unknown key `routing_stratgy`",
        "config/routing.yaml:1:1",
        "did you mean `routing_strategy`?",
        "config/routing.yaml:2:10",
        "this is not a time",
        "config/routing.yaml:5:17",
        "models.yaml has no model `c`",
        "help: ",
    ] {
        assert!(error.contains(want), "{want} in {error}");
    }
    assert_eq!(error.matches("error: ").count(), 5, "{error}");
}

#[test]
fn what_a_strategy_refuses_is_shown_at_its_place() {
    let error = refused(|| {
        let routing = EXAMPLE.replace("routing_strategy: fixed", "routing_strategy: score");
        let scorers = "  scorers:\n    - {signal: load}\n    - {signal: engine.kvs}";
        tests::setup!()
            .models(EXAMPLE_MODELS)
            .routing(routing.replace("  local_fraction: 0.6", scorers))
            .env("LLAMA_BASE_URL", "http://llama.test")
    });
    for part in [
        "`scorers[1].signal`: it asks for the signal `engine.kvs`: did you mean `engine.kv`?",
        "routing.yaml:5:16",
        "it takes `scorers`",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn an_unknown_strategy_names_those_there_are() {
    let error = refused(|| {
        tests::setup!()
            .file("plugins/mine.wasm", "")
            .models("models: [{id: a, base_url: 'http://a.test'}]\n")
            .routing("routing_strategy: fixd\n")
    });
    for want in ["fixd", "fixed", "local-first", "mine", "config/routing.yaml:1:19"] {
        assert!(error.contains(want), "{want} in {error}");
    }
}

#[test]
fn missing_file_is_an_error_only_where_needed() {
    let error = refused(|| tests::setup!());
    assert!(error.contains("config/models.yaml"), "{error}");
    let models = "models: [{id: a, base_url: 'http://a.test'}]\n";
    let without = tests::setup!().models(models);
    assert_eq!(
        checked(without),
        "strategy models.yaml\nmodel a\nremote-1 remote 1.0000 http://a.test\n"
    );
    let error =
        refused(|| tests::setup!().models(models).env("ROUTING_CONFIG", "config/gone.yaml"));
    assert!(error.contains("config/gone.yaml"), "{error}");
}

const JOINED: &str = "\
models:
  - id: a
    aliases: [a-alias]
    route:
      - {base_url: 'https://API.test/v1/', weight: 3}
      - {base_url: 'https://api.test/other', weight: 1}
  - id: b
    base_url: http://b.test
";

#[test]
fn endpoint_joins_its_equal_or_creates_a_deployment() {
    let routing = "\
routing_parameter: {local_fraction: 0.25}
local_deployment:
  - {endpoint: 'https://api.TEST:443', models: [a-alias], name: joined}
  - {endpoint: 'http://new.test:80/v1', models: [b], name: created}
remote_deployment:
  - {endpoint: 'http://B.test/v1/', models: [b]}
";
    assert_eq!(
        checked(tests::setup!().models(JOINED).routing(routing)),
        "strategy fixed 0.1.0 {\"local_fraction\":0.25}\nmodel a\n\
         joined local 0.7500 https://api.test\nremote-1 remote 0.2500 https://api.test/other\n\
         model b\nremote-1 remote 0.7500 http://b.test\ncreated local 0.2500 http://new.test\n"
    );
}

#[tokio::test]
async fn models_of_one_endpoint_leak_to_no_other() {
    let [first, second] = [(); 2].map(|()| Raw::answering(200, "{}"));
    let routing = format!(
        "local_deployment:\n  - {{endpoint: '{}', models: [a]}}\nremote_deployment:\n  \
         - {{endpoint: '{}', models: [b]}}\n",
        first.url(),
        second.url(),
    );
    let gateway = tests::setup!().models("models: [{id: a}, {id: b}]\n").routing(routing).start();
    for _ in 0..10 {
        assert_eq!(gateway.chat("a").await.status, 200);
        assert_eq!(gateway.chat("b").await.status, 200);
    }
    for (raw, model) in [(first, "\"a\""), (second, "\"b\"")] {
        let received = raw.received();
        assert_eq!(received.len(), 10);
        assert!(received.iter().all(|received| received.text().contains(model)));
    }
}

#[tokio::test]
async fn a_model_is_listed_once_whatever_its_aliases() {
    let url = Port::take().url();
    let gateway = tests::setup!()
        .models(format!("models: [{{id: a, base_url: '{url}', aliases: [x, y/z]}}]\n"))
        .start();
    let list = gateway.get("/v1/models").await.json();
    let ids: Vec<&str> = list["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|m| m["id"].as_str().expect("text"))
        .collect();
    assert_eq!(ids, ["a"]);
    for name in ["a", "x", "y/z", "y%2Fz"] {
        let model = gateway.get(&format!("/v1/models/{name}")).await;
        assert_eq!((model.status, &model.json()["id"]), (200, &"a".into()), "{name}");
    }
    let models = "models:\n  - {id: a, base_url: 'http://a', aliases: [x]}\n  - {id: b, base_url: 'http://b', aliases: [x]}\n  - {id: a, base_url: 'http://c'}\n";
    let error = refused(|| tests::setup!().models(models));
    assert!(error.contains("`x` already belongs to the model `a`"), "{error}");
    assert!(error.contains("the model id `a` is given twice"), "{error}");
}

#[test]
fn old_file_format_error_names_the_new_key() {
    let error = refused(|| tests::setup!().models("deployments:\n  - endpoint: http://a\n"));
    assert!(error.contains("`deployments` is no longer read"), "{error}");
    assert!(error.contains("`local_deployment`"), "{error}");
}

#[test]
fn refused_parameter_is_shown_with_what_it_takes() {
    let models = "models: [{id: m, base_url: 'http://127.0.0.1:1'}]\n";
    let routing = "routing_strategy: spill\nrouting_parameter:\n  high: 0.5\n  low: 0.7\n";
    let says = refused(|| tests::setup!().models(models).routing(routing));
    assert!(says.contains("config/routing.yaml:4:8"), "{says}");
    assert!(
        says.contains("it takes `high`: a number above 0, default 1; `low`: a number above 0"),
        "{says}"
    );
}

#[test]
fn strategy_and_file_errors_are_shown_together() {
    let routing = "timeout: 0\nrouting_parameter: {local_fraction: 3}\n";
    let models = "models: [{id: m, base_url: 'http://127.0.0.1:1'}]\n";
    let says = refused(|| tests::setup!().models(models).routing(routing));
    for place in ["config/routing.yaml:1:10", "config/routing.yaml:2:37"] {
        assert!(says.contains(place), "{place}: {says}");
    }
}
