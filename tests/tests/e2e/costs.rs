//! Tokens and costs of many answers of every kind equal those that the engines say they served: to
//! the token and the last digit where they reported usage, else as an estimate with a stated error.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tests::{
    ACCESS_LOG, Gateway, Raw, Received, Reply, Step, VerdictGuest, Wire, eventually, logged,
};
use tokio::task::JoinSet;

use super::budgets::spent;

const REQUESTS: u64 = 10_000;
const CLIENTS: usize = 24;
/// How far the sum of estimates may be from what was served: the JSON around a text is counted with
/// it, and events without a token are.
const ERROR: f64 = 0.15;

/// Dollars of a million tokens, and of a request; and the same in 10^-12 dollars of one.
const PRICING: &str =
    "{per_million: true, prompt: 0.15, cached: 0.015, completion: 0.6, request: 0.001}";
const PROMPT: u64 = 150_000;
const CACHED: u64 = 15_000;
const COMPLETION: u64 = 600_000;
const REQUEST: u64 = 1_000_000_000;

/// What an engine does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Plain,
    Streamed,
    Cached,
    /// The first deployment fails, the second answers.
    Failed,
    /// The first deployment is silent, the second attempt answers.
    Hedged,
    /// The client leaves in the middle of a stream.
    Cancelled,
    /// The engine breaks off in the middle of a stream.
    Cut,
    /// Usage is not reported.
    Untold,
    UntoldStream,
}

impl Kind {
    fn of(at: u64) -> Self {
        [
            Self::Plain,
            Self::Streamed,
            Self::Cached,
            Self::Failed,
            Self::Hedged,
            Self::Cancelled,
            Self::Cut,
            Self::Plain,
            Self::Untold,
            Self::UntoldStream,
        ][(at % 10) as usize]
    }

    fn is_streamed(self) -> bool {
        matches!(self, Self::Streamed | Self::Cancelled | Self::Cut | Self::UntoldStream)
    }
}

/// What the engines served.
#[derive(Debug, Default, Clone, Copy)]
struct Served {
    prompt: u64,
    cached: u64,
    completion: u64,
    reasoning: u64,
    /// In 10^-12 dollars.
    cost: u64,
}

/// What all engines say they served: with reported usage, in whole answers without it, in answers that
/// broke off, and to attempts that lost.
#[derive(Debug, Default)]
struct Truth {
    reported: Mutex<Served>,
    answered: Mutex<Served>,
    wasted: Mutex<Served>,
    hedged: Mutex<Served>,
}

impl Served {
    fn of(prompt: u64, cached: u64, completion: u64, reasoning: u64) -> Self {
        let cost = (prompt - cached) * PROMPT + cached * CACHED + completion * COMPLETION + REQUEST;
        Self { prompt, cached, completion, reasoning, cost }
    }
}

fn add(to: &Mutex<Served>, served: Served) {
    let mut sum = to.lock().unwrap_or_else(PoisonError::into_inner);
    sum.prompt += served.prompt;
    sum.cached += served.cached;
    sum.completion += served.completion;
    sum.reasoning += served.reasoning;
    sum.cost += served.cost;
}

fn read(sum: &Mutex<Served>) -> Served {
    *sum.lock().unwrap_or_else(PoisonError::into_inner)
}

fn event(content: &str, finish: &str) -> String {
    format!(
        "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{content}\"}},\"finish_reason\":{finish}}}]}}\n\n"
    )
}

/// The number of a request and its prompt's tokens: one for four letters of its text.
fn asked(received: &Received) -> (u64, u64) {
    let body: Value = serde_json::from_slice(&received.body).expect("JSON");
    let text = body["messages"][0]["content"].as_str().expect("a text");
    let number = text.split(' ').next().and_then(|number| number.parse().ok());
    (number.expect("a number"), text.len() as u64 / 4)
}

/// Tokens of the stream of a request that has no usage.
fn pieces(at: u64) -> u64 {
    30 + at % 30
}

/// The engine's part in the truth. `is_first`: it fails where the first deployment does.
fn serve(truth: &Truth, is_first: bool, received: &Received, wire: &mut Wire) {
    let (at, prompt) = asked(received);
    let kind = Kind::of(at);
    let cached = if kind == Kind::Cached { (at % 97).min(prompt) } else { 0 };
    let (completion, reasoning) = (1 + at % 50, at % 2);
    let usage = json!({
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    });
    let told = Served::of(prompt, cached, completion, reasoning);
    let stream = |wire: &mut Wire, pieces: u64| {
        wire.step(&Step::stream());
        wire.step(&Step::chunk(event("four", "null").repeat(pieces as usize)));
    };
    let end = |wire: &mut Wire, more: String| {
        wire.step(&Step::chunk(event("", "\"stop\"") + &more + "data: [DONE]\n\n"));
        wire.step(&Step::chunk(""));
    };
    let answer = |content: &str, usage: Option<&Value>| {
        let message = json!({"role": "assistant", "content": content});
        let mut body =
            json!({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]});
        if let Some(usage) = usage {
            body["usage"] = usage.clone();
        }
        body.to_string()
    };
    match kind {
        Kind::Failed if is_first => wire.answer(500, r#"{"error":{"message":"broken"}}"#),
        Kind::Plain | Kind::Cached | Kind::Failed | Kind::Hedged => {
            add(&truth.reported, told);
            wire.answer(200, &answer("hi", Some(&usage)));
        }
        Kind::Streamed => {
            add(&truth.reported, told);
            stream(wire, completion);
            end(wire, format!("data: {}\n\n", json!({"choices": [], "usage": usage})));
        }
        Kind::Untold => {
            let tokens = 400 + at % 100;
            add(&truth.answered, Served::of(prompt, 0, tokens, 0));
            wire.answer(200, &answer(&"four".repeat(tokens as usize), None));
        }
        Kind::UntoldStream => {
            add(&truth.answered, Served::of(prompt, 0, pieces(at), 0));
            stream(wire, pieces(at));
            end(wire, String::new());
        }
        Kind::Cancelled => {
            add(&truth.wasted, Served::of(prompt, 0, pieces(at), 0));
            stream(wire, pieces(at));
            wire.hang();
        }
        Kind::Cut => {
            add(&truth.wasted, Served::of(prompt, 0, pieces(at), 0));
            stream(wire, pieces(at));
            wire.close();
        }
    }
}

/// An engine that reads the prompts of hedged requests and never answers them.
fn silent(truth: &Arc<Truth>) -> Raw {
    let truth = Arc::clone(truth);
    Raw::start(move |received, wire| {
        add(&truth.hedged, Served::of(asked(received).1, 0, 0, 0));
        wire.hang();
    })
}

fn engine(truth: &Arc<Truth>, is_first: bool) -> Raw {
    let truth = Arc::clone(truth);
    Raw::start(move |received, wire| serve(&truth, is_first, received, wire))
}

fn gateway([first, second, silent]: [&Raw; 3], folder: &std::path::Path) -> Gateway {
    let [first, second, silent] = [first, second, silent].map(Raw::url);
    let lengths = "context_length: 100000, max_output_length: 1000";
    let models = format!(
        "models:\n- id: m\n  pricing: {PRICING}\n  {lengths}\n  route:\n  - {{name: first, base_url: '{first}', weight: 1}}\n  - {{name: second, base_url: '{second}', weight: 0}}\n- id: h\n  pricing: {PRICING}\n  {lengths}\n  route:\n  - {{base_url: '{silent}', side: local}}\n  - {{base_url: '{second}', side: remote}}\n"
    )
    .replace(", max_output", "\n  max_output");
    let guest = VerdictGuest {
        signal: "request.cost",
        verdict: "(call $hedged
            (call $route (local.get $locals) (f64.const 1) (local.get $remotes) (f64.const 0) (i32.const 0))
            (i32.const 1) (local.get $locals) (local.get $remotes) (f64.const nan))",
    };
    let more = format!(
        "routing_strategy: fixed\nstrategies: {{h: {{routing_strategy: guest}}}}\nlocal_deployment: [{{endpoint: '{silent}', models: [h]}}]\nremote_deployment: [{{endpoint: '{second}', models: [h]}}]\nhedge: {{budget: 100}}\nejection: {{consecutive: 0, percent: 0}}\nfallback: {{attempts: 3, budget: {{percent: 10000}}}}\nsandbox: {{compile_timeout: 60, call_timeout: 30, request_timeout: 30}}\nledger: {{file: '{}'}}\nbudgets: [{{name: all, amount: 100000, per: {{seconds: 31536000}}}}]\n",
        folder.join("l").display()
    );
    let setup = tests::setup!().models(models).routing(logged(&more));
    setup.file("plugins/guest.wasm", guest.component()).start()
}

/// Sends one request, and reads its answer as its kind wants it.
async fn ask(client: &reqwest::Client, url: &str, at: u64) {
    let kind = Kind::of(at);
    let text = format!("{at} {}", "word".repeat(100 + (at % 100) as usize));
    let model = if kind == Kind::Hedged { "h" } else { "m" };
    let body = json!({
        "model": model,
        "stream": kind.is_streamed(),
        "max_tokens": 600,
        "messages": [{"role": "user", "content": text}],
    });
    let mut answer = client.post(url).json(&body).send().await.expect("an answer");
    match kind {
        Kind::Cancelled => {
            let mut come = String::new();
            while come.matches("data:").count() < pieces(at) as usize {
                let chunk = answer.chunk().await.expect("a chunk").expect("more");
                come.push_str(&String::from_utf8_lossy(&chunk));
            }
        }
        Kind::Cut => {
            // It breaks off at some chunk.
            while let Ok(Some(_)) = answer.chunk().await {}
        }
        _ => {
            let reply = Reply::read(answer).await.expect("a whole answer");
            assert_eq!(reply.status, 200, "{at} {kind:?}: {}", reply.text());
        }
    }
}

/// 10^-12 dollars, from a number with all its digits.
fn picos(text: &str) -> u64 {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    assert!(part.len() <= 12, "{text}");
    format!("{whole}{part:0<12}").parse().expect("a number of dollars")
}

/// The costs in a line of the log: all of it, and those of attempts by how they ended.
fn costs(line: &str) -> (u64, Vec<(String, u64)>) {
    // A parser of floats would lose digits.
    let all = line.match_indices("\"cost\":").map(|(at, key)| {
        let rest = &line[at + key.len()..];
        picos(&rest[..rest.find(['}', ',']).expect("an end")])
    });
    let mut all: Vec<u64> = all.collect();
    let total = all.pop().expect("a cost");
    let record: Value = serde_json::from_str(line).expect("JSON");
    let outcomes = tests::outcomes(&record).into_iter().map(|(_, outcome)| outcome);
    (total, outcomes.zip(all).collect())
}

/// The samples of a metric with all their digits, by their labels.
async fn samples(gateway: &Gateway, name: &str) -> Vec<(String, String)> {
    let text = gateway.get("/metrics").await.text();
    let samples = text.lines().filter_map(|line| line.strip_prefix(name)?.rsplit_once(' '));
    samples.map(|(labels, value)| (labels.to_owned(), value.to_owned())).collect()
}

async fn tokens(gateway: &Gateway, kind: &str, usage: &str) -> u64 {
    let labels = [("kind", kind), ("usage", usage)];
    gateway.metric("gateway_tokens_total", &labels).await.expect("a count") as u64
}

fn is_near(what: &str, estimate: u64, truth: u64) {
    let error = estimate as f64 / truth as f64 - 1.0;
    assert!(error.abs() < ERROR, "{what}: {estimate} for {truth}");
}

#[tokio::test]
async fn ten_thousand_answers_cost_what_their_engines_served() {
    let truth = Arc::<Truth>::default();
    let engines = [engine(&truth, true), engine(&truth, false), silent(&truth)];
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = gateway([&engines[0], &engines[1], &engines[2]], folder.path());
    let next = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (client, next) = (gateway.client().clone(), Arc::clone(&next));
        let url = gateway.url("/v1/chat/completions");
        clients.spawn(async move {
            loop {
                let at = next.fetch_add(1, Relaxed);
                if at >= REQUESTS {
                    return;
                }
                ask(&client, &url, at).await;
            }
        });
    }
    clients.join_all().await;
    gateway.is_idle().await;
    let log = eventually("all lines are written", async || {
        let log = std::fs::read_to_string(gateway.path(ACCESS_LOG)).unwrap_or_default();
        (log.matches('\n').count() as u64 == REQUESTS).then_some(log)
    })
    .await;

    // Reported usage: to the token and the last digit.
    let reported = read(&truth.reported);
    for (kind, served) in [
        ("prompt", reported.prompt),
        ("cached", reported.cached),
        ("completion", reported.completion),
        ("reasoning", reported.reasoning),
    ] {
        assert_eq!(tokens(&gateway, kind, "reported").await, served, "{kind}");
    }
    let (mut exact, mut by_outcome, mut total) = (0, BTreeMap::<String, (u64, u64)>::new(), 0);
    for line in log.lines() {
        let (all, attempts) = costs(line);
        assert_eq!(all, attempts.iter().map(|(_, cost)| cost).sum::<u64>(), "{line}");
        total += all;
        let is_reported = line.contains("\"estimated\":false");
        for (outcome, cost) in attempts {
            if outcome == "ok" && is_reported {
                exact += cost;
            }
            let entry = by_outcome.entry(outcome).or_default();
            *entry = (entry.0 + 1, entry.1 + cost);
        }
    }
    assert_eq!(exact, reported.cost);
    assert_eq!(by_outcome["status_500"], (REQUESTS / 10, 0), "errors cost nothing");

    // Estimates: of another kind, within the error.
    let [answered, wasted, hedged] = [&truth.answered, &truth.wasted, &truth.hedged].map(read);
    let served = |of: fn(&Served) -> u64| [answered, wasted, hedged].iter().map(of).sum::<u64>();
    let (prompt, completion) = (served(|one| one.prompt), served(|one| one.completion));
    is_near("prompt", tokens(&gateway, "prompt", "estimated").await, prompt);
    is_near("completion", tokens(&gateway, "completion", "estimated").await, completion);
    is_near("hedged", by_outcome["hedged"].1, hedged.cost);
    assert_eq!(by_outcome["hedged"].0, REQUESTS / 10);
    is_near("wasted", by_outcome["cancelled"].1 + by_outcome["truncated"].1, wasted.cost);
    is_near("answered", by_outcome["ok"].1 - exact, answered.cost);

    // The metrics say the same as the log.
    let mut by_kind = BTreeMap::<&str, u64>::new();
    for (labels, value) in &samples(&gateway, "gateway_cost_dollars_total{").await {
        let kinds = ["answered", "wasted", "hedged"];
        let is_of = |kind: &&str| labels.contains(&format!("kind=\"{kind}\""));
        let kind = kinds.into_iter().find(is_of).expect("a kind");
        *by_kind.entry(kind).or_default() += picos(value);
    }
    assert_eq!(by_kind.values().sum::<u64>(), total);
    assert_eq!(by_kind["answered"], by_outcome["ok"].1);
    assert_eq!(by_kind["hedged"], by_outcome["hedged"].1);

    // A budget never has less than what was served.
    let all = reported.cost + answered.cost + wasted.cost + hedged.cost;
    let paid = spent(&gateway, "all").await;
    assert!(paid >= all as f64 / 1e12);
}
