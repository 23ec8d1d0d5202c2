//! `/routing/costs` and `gateway costs`: what was spent, where, for whom, and what machines saved. To
//! the last digit, over reloads and restarts.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;

use rustix::process::Signal;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tests::{Gateway, Raw, Reply, Step, eventually, logged};

const TOKEN: &str = "admin-token";
const USAGE: &str = r#"{"prompt_tokens":1000,"completion_tokens":7,"prompt_tokens_details":{"cached_tokens":400},"completion_tokens_details":{"reasoning_tokens":3}}"#;
/// Of [`USAGE`] at the API: 600 x 0.15 + 400 x 0.015 + 7 x 0.6 millionths, and 0.001, in picodollars.
const PAID: u128 = 1_100_200_000;
/// Of [`USAGE`] at the GPU: 7 of the smallest part of a dollar.
const OWN: u128 = 7;

/// An engine that answers each request with [`USAGE`], also if it is broken off at the word `break`.
fn engine() -> Raw {
    Raw::start(|received, wire| {
        if received.text().contains("break") {
            wire.step(&Step::stream());
            let content = r#"data: {"choices":[{"index":0,"delta":{"content":"hi"}}]}"#;
            wire.step(&Step::chunk(format!("{content}\n\n")));
            return;
        }
        let answer = format!(
            r#"{{"choices":[{{"index":0,"message":{{"role":"assistant","content":"hi"}},"finish_reason":"stop"}}],"usage":{USAGE}}}"#
        );
        wire.answer(200, &answer);
    })
}

/// A GPU of a machine with a price, and an API whose prices show each kind of token.
fn models(engine: &Raw) -> String {
    let url = engine.url();
    format!(
        "models:\n- id: m\n  route:\n  - {{name: gpu, side: local, base_url: '{url}/gpu', weight: 1, pricing: {{completion: 0.000000000001, hourly: 3600}}}}\n  - {{name: api, side: remote, base_url: '{url}/api', weight: 1, pricing: {{per_million: true, prompt: 0.15, cached: 0.015, completion: 0.6, request: 0.001}}}}\n  - {{name: dear, side: remote, base_url: '{url}/dear', weight: 0, pricing: {{request: 1}}}}\n"
    )
}

fn ledger(file: &Path) -> String {
    format!("ledger: {{file: '{}'}}\n", file.display())
}

const TENANTS: &str = "request: {tenant_header: x-tenant}\ntrusted_proxies: ['127.0.0.1']\n";

fn gateway(engine: &Raw, more: &str) -> Gateway {
    let routing = logged(&format!("fallback: {{attempts: 1}}\n{more}"));
    tests::setup!().models(models(engine)).routing(routing).env("ADMIN_TOKEN", TOKEN).start()
}

async fn ask(gateway: &Gateway, side: &str, tenant: Option<&str>) {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    let reply = send(gateway, side, tenant, &body).await.expect("a whole answer");
    assert_eq!(reply.status, 200, "{}", reply.text());
}

async fn send(
    gateway: &Gateway,
    side: &str,
    tenant: Option<&str>,
    body: &Value,
) -> reqwest::Result<Reply> {
    let url = gateway.url("/v1/chat/completions");
    let request = gateway.client().post(url).header("x-gateway-side", side).body(body.to_string());
    let request = match tenant {
        Some(tenant) => request.header("x-tenant", tenant),
        None => request,
    };
    Reply::read(request.send().await?).await
}

#[derive(Debug, Deserialize)]
struct Costs {
    since: String,
    recorded_since: String,
    durable: bool,
    last_error: Option<String>,
    rows: Vec<Row>,
    total: Row,
}

#[derive(Debug, Deserialize)]
struct Row {
    #[serde(flatten)]
    name: BTreeMap<String, Value>,
    attempts: BTreeMap<String, u64>,
    tokens: BTreeMap<String, u64>,
}

/// The amounts of one row, in picodollars.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Amounts {
    answered: u128,
    wasted: u128,
    total: u128,
    estimated: u128,
    saved: u128,
}

#[derive(Debug, Deserialize)]
struct ExactCosts {
    rows: Vec<ExactRow>,
    total: ExactRow,
}

#[derive(Debug, Deserialize)]
struct ExactRow {
    cost: BTreeMap<String, Box<RawValue>>,
    estimated: BTreeMap<String, Box<RawValue>>,
    saved: Box<RawValue>,
}

/// A decimal number of dollars, exactly.
fn picodollars(text: &str) -> u128 {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{part:0<12}").parse().expect("digits")
}

impl ExactRow {
    fn amounts(&self) -> Amounts {
        let of = |all: &BTreeMap<String, Box<RawValue>>, name: &str| picodollars(all[name].get());
        Amounts {
            answered: of(&self.cost, "answered"),
            wasted: of(&self.cost, "wasted"),
            total: of(&self.cost, "total"),
            estimated: of(&self.estimated, "cost"),
            saved: picodollars(self.saved.get()),
        }
    }
}

async fn query(gateway: &Gateway, query: &str, token: &str) -> Reply {
    let request = gateway.client().get(gateway.url(&format!("/routing/costs{query}")));
    let request = request.bearer_auth(token);
    Reply::read(request.send().await.expect("an answer")).await.expect("a whole answer")
}

/// The answer, and the amounts of each row and of the total. Their sums agree.
async fn costs(gateway: &Gateway, by: &str) -> (Costs, Vec<Amounts>, Amounts) {
    let reply = query(gateway, &format!("?by={by}&since=24h"), TOKEN).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let costs: Costs = serde_json::from_str(&reply.text()).expect("costs");
    let exact: ExactCosts = serde_json::from_str(&reply.text()).expect("amounts");
    let rows: Vec<_> = exact.rows.iter().map(ExactRow::amounts).collect();
    let total = exact.total.amounts();
    let sum = |of: fn(&Amounts) -> u128| rows.iter().map(of).sum::<u128>();
    assert_eq!(sum(|row| row.total), total.total, "{}", reply.text());
    assert_eq!(sum(|row| row.saved), total.saved);
    assert_eq!(sum(|row| row.answered), total.answered);
    for kind in ["prompt", "cached", "completion", "reasoning"] {
        let tokens: u64 = costs.rows.iter().map(|row| row.tokens[kind]).sum();
        assert_eq!(tokens, costs.total.tokens[kind], "{kind}");
    }
    (costs, rows, total)
}

fn named<'a>(costs: &'a Costs, key: &str, name: &Value) -> &'a Row {
    let is_it = |row: &&Row| row.name.get(key) == Some(name);
    costs.rows.iter().find(is_it).unwrap_or_else(|| panic!("{name} in {costs:?}"))
}

#[tokio::test]
async fn every_grouping_has_the_exact_sums() {
    let engine = engine();
    let gateway = gateway(&engine, TENANTS);
    for (side, tenant) in [
        ("local", None),
        ("local", Some("acme")),
        ("local", Some("acme")),
        ("remote", Some("acme")),
    ] {
        ask(&gateway, side, tenant).await;
    }
    let broken = json!({"model": "m", "stream": true, "messages": [{"content": "break"}]});
    // The answer is broken off after its first content.
    let _ = send(&gateway, "remote", Some("beta"), &broken).await;
    let wasted = async || {
        let (costs, ..) = costs(&gateway, "side").await;
        (costs.total.attempts["wasted"] == 1).then_some(())
    };
    eventually("the broken answer is counted", wasted).await;

    let (by_side, rows, total) = costs(&gateway, "side").await;
    assert_eq!(named(&by_side, "side", &json!("local")).attempts["answered"], 3);
    assert_eq!((by_side.rows.len(), by_side.total.attempts["answered"]), (2, 4));
    assert_eq!((rows[0].total, rows[0].saved), (3 * OWN, 3 * (PAID - OWN)), "the cheapest API");
    assert_eq!((rows[1].answered, rows[1].saved), (PAID, 0));
    assert_eq!((rows[1].wasted, rows[1].total), (total.estimated, PAID + total.estimated));
    assert!(total.estimated > 0, "it told no usage");
    assert_eq!(named(&by_side, "side", &json!("local")).tokens["cached"], 1_200);
    assert_eq!(named(&by_side, "side", &json!("local")).tokens["reasoning"], 9);

    let (by_tenant, rows, _) = costs(&gateway, "tenant").await;
    let names: Vec<_> = by_tenant.rows.iter().map(|row| &row.name["tenant"]).collect();
    assert_eq!(names, [&Value::Null, &json!("acme"), &json!("beta")]);
    assert_eq!((rows[0].total, rows[1].total), (OWN, PAID + 2 * OWN));
    let (by_model, rows, _) = costs(&gateway, "model").await;
    assert_eq!((named(&by_model, "model", &json!("m")).tokens.len(), rows.len()), (4, 1));
    let (by_deployment, ..) = costs(&gateway, "deployment").await;
    let gpu = named(&by_deployment, "deployment", &json!("gpu"));
    assert_eq!((&gpu.name["side"], &gpu.name["model"]), (&json!("local"), &json!("m")));
    let machine = &gpu.name["machine"];
    let [hours, cost, price] =
        ["hours", "cost", "per_million_tokens"].map(|key| machine[key].as_f64().expect("a number"));
    assert!(hours > 0.0 && (cost / 3600.0 - hours).abs() < 1e-6, "{machine}");
    assert!((price - cost * 1e6 / 3021.0).abs() < 1e-5 * price + 1e-9, "{machine}");
    let api = named(&by_deployment, "deployment", &json!("api"));
    assert_eq!(api.name["machine"], Value::Null);

    assert!(!by_side.durable && by_side.last_error.is_none(), "no ledger");
    assert!(by_side.since < by_side.recorded_since);
    let reply = query(&gateway, "?since=2199-01-01", TOKEN).await;
    assert_eq!(reply.json()["rows"], json!([]), "nothing yet");
}

#[tokio::test]
async fn a_restart_keeps_all_and_a_crash_seconds_less() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = ledger(&folder.path().join("l.redb"));
    let engine = engine();
    let (mut kept, mut began, mut asked) = (0, None, 0);
    for round in 0..4 {
        let mut gateway = gateway(&engine, &file);
        let (costs_before, _, before) = costs(&gateway, "model").await;
        assert!(costs_before.durable);
        let began = began.get_or_insert(costs_before.recorded_since.clone());
        assert_eq!(costs_before.recorded_since, *began);
        assert!((kept..=asked).contains(&before.total), "round {round}: {kept} {before:?} {asked}");
        for _ in 0..5 {
            ask(&gateway, "remote", None).await;
        }
        let (.., after) = costs(&gateway, "model").await;
        assert_eq!(after.total, before.total + 5 * PAID, "round {round}");
        asked = after.total;
        let in_order = round % 2 == 0;
        kept = if in_order { after.total } else { before.total };
        gateway.signal(if in_order { Signal::TERM } else { Signal::KILL });
        gateway.ended().await;
    }
}

#[tokio::test]
async fn a_reload_begins_a_ledger_and_names_a_deployment_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = ledger(&folder.path().join("l.redb"));
    let engine = engine();
    let mut gateway = gateway(&engine, "");
    ask(&gateway, "remote", None).await;
    let before = gateway.reloads("loaded").await;
    gateway.write("config/routing.yaml", logged(&file));
    gateway.loaded_since(before).await;
    let before = gateway.reloads("loaded").await;
    gateway.replace("config/models.yaml", models(&engine).replace("name: api", "name: cloud"));
    gateway.loaded_since(before).await;
    ask(&gateway, "remote", None).await;
    let (by_deployment, _, total) = costs(&gateway, "deployment").await;
    assert!(by_deployment.durable);
    for name in ["api", "cloud"] {
        assert_eq!(named(&by_deployment, "deployment", &json!(name)).attempts["answered"], 1);
    }
    gateway.signal(Signal::TERM);
    gateway.ended().await;
    let gateway = self::gateway(&engine, &file);
    assert_eq!(costs(&gateway, "tenant").await.2, total);
}

#[tokio::test]
async fn tenants_are_bounded_and_only_a_trusted_proxy_names_them() {
    let engine = engine();
    let metrics = TENANTS.replace('}', ", tenant_metrics: true}");
    let untrusted = TENANTS.replace("127.0.0.1", "10.0.0.0/8");
    for (settings, rows, shown) in [(TENANTS, 101, 0), (&metrics, 101, 101), (&untrusted, 1, 0)] {
        let gateway = gateway(&engine, settings);
        for tenant in 0..150 {
            ask(&gateway, "remote", Some(&format!("tenant-{tenant}"))).await;
        }
        let (by_tenant, _, total) = costs(&gateway, "tenant").await;
        assert_eq!((by_tenant.rows.len(), total.total), (rows, 150 * PAID), "{settings}");
        if rows > 1 {
            assert_eq!(named(&by_tenant, "tenant", &json!("other")).attempts["answered"], 50);
        } else {
            assert_eq!(by_tenant.rows[0].name["tenant"], Value::Null);
        }
        let text = gateway.get("/metrics").await.text();
        let is_cost = |line: &&str| {
            line.starts_with("gateway_tenant_cost_dollars_total{") && line.contains("\"answered\"")
        };
        assert_eq!(text.lines().filter(is_cost).count(), shown, "{settings}");
        let labels = [("tenant", "tenant-7"), ("side", "remote"), ("kind", "prompt")];
        let tokens = gateway.metric("gateway_tenant_tokens_total", &labels).await;
        assert_eq!(tokens, (shown > 0).then_some(1_000.0), "{settings}");
    }
}

#[tokio::test]
async fn only_the_admin_sees_costs_and_a_bad_query_is_told() {
    let engine = engine();
    let gateway = gateway(&engine, "");
    for token in ["", "admin", "admin-token2"] {
        let reply = query(&gateway, "", token).await;
        assert_eq!((reply.status, &reply.error()["code"]), (401, &json!("admin_token_required")));
        assert_eq!(reply.header("www-authenticate"), "Bearer");
    }
    for (bad, words) in [
        ("?by=team", "side, model, tenant, deployment"),
        ("?by=", "side, model, tenant, deployment"),
        ("?since=yesterday", "24h or 7d"),
        ("?by=model&since=-1h", "24h or 7d"),
        ("?since=%ff", "24h or 7d"),
    ] {
        let reply = query(&gateway, bad, TOKEN).await;
        assert_eq!((reply.status, &reply.error()["code"]), (400, &json!("invalid_query")), "{bad}");
        let message = reply.error()["message"].as_str().expect("words").to_owned();
        assert!(message.contains(words), "{message}");
    }
    for good in ["", "?x", "?by=deployment&since=2026-01-01", "?since=month", "?since=99999d", "/"]
    {
        let reply = query(&gateway, good, TOKEN).await;
        assert_eq!(reply.status, 200, "{good}: {}", reply.text());
        assert_eq!(reply.header("content-type"), "application/json");
    }
    let without = tests::setup!().models(models(&engine)).start();
    let reply = query(&without, "", "").await;
    assert_eq!(reply.status, 401);
    let message = reply.error()["message"].as_str().expect("words").to_owned();
    assert!(message.contains("ADMIN_TOKEN"), "{message}");
}

fn run(gateway: &Gateway, arguments: &[&str]) -> Output {
    let port = gateway.address().rsplit(':').next().expect("a port").to_owned();
    let setup = tests::setup!().arg("costs").env("PORT", port);
    arguments.iter().fold(setup, |setup, argument| setup.arg(argument)).output()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_shows_a_table_or_json() {
    let engine = engine();
    let gateway = gateway(&engine, "");
    ask(&gateway, "local", None).await;
    ask(&gateway, "remote", None).await;
    let admin = ["--admin-token", TOKEN];
    let output = run(&gateway, &admin);
    let table = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let line = |name: &str| {
        let line = table.lines().find(|line| line.starts_with(name));
        line.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert!(line("local").starts_with("local 1 1000 400 7 0.000000000007 0 0 0.001100199993 "));
    assert_eq!(line("remote"), "remote 1 1000 400 7 0.0011002 0 0 0");
    assert!(line("total").starts_with("total 2 2000 800 14 0.001100200007 0 0 "), "{table}");
    assert!(table.contains("counted in memory since"), "{table}");
    let output = run(&gateway, &[&admin[..], &["--json", "--by", "deployment"]].concat());
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        (&answer["by"], &answer["rows"][0]["deployment"]),
        (&json!("deployment"), &json!("api"))
    );
    for (arguments, words) in [
        (vec!["--admin-token", "wrong"], "admin token"),
        (vec![], "admin token"),
        (vec!["--by", "team"], "side, model, tenant, deployment"),
        (vec!["--since", "yesterday"], "24h or 7d"),
        (vec!["--port", "1"], "no gateway answers at 127.0.0.1:1"),
    ] {
        let output = run(&gateway, &arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(words), "{arguments:?}: {said}");
    }
}
