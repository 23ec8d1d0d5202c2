//! `gateway strategy simulate`: strategies compared in a simulated fleet.

use std::path::Path;
use std::process::Output;

use serde_json::Value;
use tests::{ACCESS_LOG, Engine, Setup, logged, one_model};

/// Two deployments; the local one is too small for all requests.
const SCENARIO: &str = "
description: a small one and a large one
duration: 60
deployments:
  - {name: gpu, side: local, parallel: 2, prefill: 5000, decode: 50, concurrency: {max: 2, queue: 4, wait: 2}}
  - {name: api, side: remote, parallel: 50, prefill: 5000, decode: 50, price: {prompt: 1e-6, completion: 1e-6}}
arrivals: {rate: 3}
requests: [{prompt: {lognormal: {median: 300, sigma: 0.5}}, output: {uniform: [10, 100]}}]
";

/// Runs `gateway strategy simulate` with these arguments in the folder of `setup`.
fn simulate(setup: Setup, words: &[&str]) -> Output {
    words.iter().fold(setup.arg("strategy").arg("simulate"), Setup::arg).output()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

fn succeeded(setup: Setup, words: &[&str]) -> String {
    let output = simulate(setup, words);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// Checks that the command fails and that its error text contains all of `says`.
fn failed(scenario: &str, words: &[&str], says: &[&str]) {
    let output = simulate(tests::setup!().file("s.yaml", scenario), words);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for word in says {
        assert!(said.contains(word), "no {word:?} in: {said}");
    }
}

fn in_folder(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().expect("text").to_owned()
}

#[test]
fn same_seed_gives_the_same_report() {
    let out = tempfile::tempdir().expect("a folder");
    let files = ["json", "html", "svg"];
    let run = |seed: &str, to: &str| {
        let paths = files.map(|kind| in_folder(out.path(), &format!("{to}.{kind}")));
        let mut words = vec!["fixed={local_fraction: 0.25}", "local-first", "--scenario", "s.yaml"];
        words.extend(["--seed", seed]);
        let flags = ["--json", "--html", "--svg"];
        words.extend(flags.iter().zip(&paths).flat_map(|(flag, path)| [*flag, path]));
        let table = succeeded(tests::setup!().file("s.yaml", SCENARIO), &words);
        (table, paths.map(|path| std::fs::read_to_string(path).expect("written")))
    };
    let first = run("7", "first");
    assert_eq!(first, run("7", "second"));
    assert_ne!(first.0, run("8", "third").0);
    let (table, [json, html, svg]) = first;
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 4, "{table}");
    assert!(lines[2].starts_with("fixed={local_fraction: 0.25}"), "{table}");
    assert!(html.starts_with("<!doctype html>") && !html.contains("http://127"), "{html}");
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
    let report: Value = serde_json::from_str(&json).expect("JSON");
    let local = |index: usize| {
        let strategy = &report["strategies"][index];
        let count = |key: &str| strategy[key].as_u64().expect("a count");
        assert_eq!(count("ok") + count("failed"), count("requests"));
        strategy["shares"][0]["share"].as_f64().expect("a share")
    };
    // `fixed` sends a quarter of the requests to the local deployment. `local-first` fills it.
    assert!((local(0) - 0.25).abs() < 0.1, "{}", local(0));
    assert!(local(1) > local(0) + 0.1, "{}", local(1));
}

#[test]
fn mistakes_are_told_with_their_place_and_remedy() {
    let words = ["fixed", "--scenario", "s.yaml"];
    let misspelt = SCENARIO.replace("decode", "decoed");
    failed(&misspelt, &words, &["s.yaml:5:", "unknown key `decoed`", "did you mean `decode`?"]);
    failed(SCENARIO, &["fixed", "--scenario", "none.yaml"], &["none.yaml", "--scenario"]);
    let words = |strategy| [strategy, "--scenario", "s.yaml"];
    failed(SCENARIO, &words("local-frist"), &["did you mean `local-first`?"]);
    let says = ["parameters of fixed:1:", "local_fractoin", "did you mean `local_fraction`?"];
    failed(SCENARIO, &words("fixed={local_fractoin: 1}"), &says);
    let says = ["parameters of fixed:1:", "must be at most 1"];
    failed(SCENARIO, &words("fixed={local_fraction: 2}"), &says);
    let endless = SCENARIO.replace("duration: 60", "duration: 604800");
    let endless = endless.replace("rate: 3", "rate: 1000");
    failed(&endless, &words("fixed"), &["more than 1000000 requests", "shorter"]);
}

#[tokio::test]
async fn access_log_can_be_replayed() {
    let engine = Engine::start("e");
    let setup = tests::setup!().models(one_model(&[&engine.url()])).routing(logged(""));
    let gateway = setup.start();
    for _ in 0..5 {
        let body = r#"{"model":"m","messages":[{"role":"user","content":"hello"}]}"#;
        let reply = gateway.post("/v1/chat/completions", body.to_owned()).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        gateway.record(reply.header("x-request-id")).await;
    }
    let log = std::fs::read(gateway.path(ACCESS_LOG)).expect("the log");
    let scenario = SCENARIO.replace("duration: 60\n", "").replace("rate: 3", "log: then.json");
    let setup = tests::setup!().file("s.yaml", scenario).file("then.json", log);
    let table = succeeded(setup, &["local-first", "--scenario", "s.yaml"]);
    let row = table.lines().nth(2).expect("one strategy");
    let cells: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(cells[..3], ["local-first", "5", "0"], "{table}");
}

#[test]
fn traces_are_played_and_their_mistakes_told_with_their_line() {
    let scenario = SCENARIO.replace("duration: 60\n", "").replace("rate: 3", "trace: then.jsonl");
    let scenario = scenario.replace("concurrency:", "cache: 100000, concurrency:");
    let line = |at: u32, ids: &str| {
        let ids = format!(r#""hash_ids":[{ids}]"#);
        format!("{{\"timestamp\":{at},\"input_length\":1024,\"output_length\":9,{ids}}}\n")
    };
    let setup = || tests::setup!().file("s.yaml", &*scenario);
    let words = ["local-first", "--scenario", "s.yaml"];
    let trace = [line(9000, "1,2"), line(0, "1,2"), line(20_000, "1,3")].concat();
    let table = succeeded(setup().file("then.jsonl", &*trace), &words);
    let row = table.lines().nth(2).expect("one strategy");
    // The second prompt needs its last token read, the third its second block.
    let cached = (1023 + 512) as f64 / 3072.0 * 100.0;
    assert!(row.starts_with("local-first") && row.contains("  3 "), "{table}");
    assert!(row.contains(&format!("{cached:.1} %")), "{table}");
    let output = simulate(setup().file("then.jsonl", trace + "\n{}\n"), &words);
    let said = text(&output.stderr);
    for says in ["s.yaml:6:", "then.jsonl:5: not an object with `timestamp`"] {
        assert!(said.contains(says), "no {says:?} in: {said}");
    }
}
