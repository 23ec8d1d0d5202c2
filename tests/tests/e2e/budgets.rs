//! Budgets hold: under concurrency, over restarts, and for each tenant. What is not covered goes on.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::json;
use tests::{Gate, Gateway, Raw, Reply, eventually, logged};

/// Dollars of one answer: a prompt token costs one, an answer token nine millionths.
pub(super) const PRICING: &str = "{per_million: true, prompt: 1, completion: 9}";
/// How long prompts and answers can be.
pub(super) const LENGTHS: &str = "context_length: 9000, max_output_length: 900";
/// Of the answers here: 100 + 100 x 9 millionths.
pub(super) const COST: f64 = 0.001;

/// A paid engine whose answers have 100 tokens, of a prompt with 100, and a count of its answers.
pub(super) fn engine() -> (Raw, Arc<AtomicU64>) {
    let served = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&served);
    let answer = json!({
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 100},
    });
    let engine = Raw::start(move |_, wire| {
        count.fetch_add(1, Ordering::Relaxed);
        wire.answer(200, &answer.to_string());
    });
    (engine, served)
}

pub(super) fn routing(ledger: &Path, budgets: &str) -> String {
    let ledger = ledger.display();
    logged(&format!("ledger: {{file: '{ledger}'}}\nbudgets:\n{budgets}"))
}

pub(super) fn gateway(url: &str, routing: String) -> Gateway {
    let models = format!("models: [{{id: m, base_url: '{url}', pricing: {PRICING}, {LENGTHS}}}]\n");
    tests::setup!().models(models).routing(routing).start()
}

/// A request whose answer may have so many tokens.
pub(super) async fn ask(gateway: &Gateway, max_tokens: u32, tenant: Option<&str>) -> Reply {
    let body = json!({
        "model": "m", "max_tokens": max_tokens, "messages": [{"role": "user", "content": "hi"}],
    });
    let url = gateway.url("/v1/chat/completions");
    let mut request = gateway.client().post(url).body(body.to_string());
    if let Some(tenant) = tenant {
        request = request.header("x-tenant", tenant);
    }
    Reply::read(request.send().await.expect("an answer")).await.expect("a whole answer")
}

pub(super) async fn spent(gateway: &Gateway, name: &str) -> f64 {
    let spent = [("budget", name), ("state", "spent")];
    gateway.metric("gateway_budget_dollars", &spent).await.expect("a budget")
}

#[tokio::test]
async fn many_requests_at_once_do_not_pass_a_budget() {
    let folder = tempfile::tempdir().expect("a folder");
    let (engine, served) = engine();
    let budgets = "- {name: day, amount: 0.05, per: {seconds: 31536000}}\n";
    let gateway = gateway(&engine.url(), routing(&folder.path().join("l.redb"), budgets));
    let replies = join_all((0..300).map(|_| ask(&gateway, 100, None))).await;
    let answered = replies.iter().filter(|reply| reply.status == 200).count() as u64;
    assert_eq!(answered, served.load(Ordering::Relaxed), "nothing was paid for and lost");
    for refused in replies.iter().filter(|reply| reply.status != 200) {
        assert_eq!(refused.status, 429, "{}", refused.text());
        assert_eq!(refused.error()["code"], "budget_exceeded");
        assert!(refused.error()["message"].as_str().expect("words").contains("budget day"));
    }
    // Requests under way hold more than they cost. What is left is spent one by one.
    let mut last = None;
    for _ in 0..100 {
        let reply = ask(&gateway, 100, None).await;
        if reply.status != 200 {
            last = Some(reply);
            break;
        }
    }
    let last = last.expect("the budget is spent at last");
    let paid = served.load(Ordering::Relaxed) as f64 * COST;
    assert!(paid <= 0.05 && paid > 0.048, "{paid}");
    assert!((spent(&gateway, "day").await - paid).abs() < 1e-12);
    let retry: u64 = last.header("retry-after").parse().expect("seconds");
    assert!(retry > 3_600, "when the window ends: {retry}");
    assert_eq!(last.header("x-should-retry"), "false");
    let reserved = [("budget", "day"), ("state", "reserved")];
    assert_eq!(gateway.metric("gateway_budget_dollars", &reserved).await, Some(0.0));
}

#[tokio::test]
async fn a_budget_holds_over_restarts_and_kills() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = folder.path().join("l.redb");
    let (engine, served) = engine();
    let budgets = "- {name: year, amount: 0.1, per: {seconds: 31536000}}\n";
    let mut before = Some(0.0);
    for round in 0..6 {
        let mut gateway = gateway(&engine.url(), routing(&ledger, budgets));
        let start = spent(&gateway, "year").await;
        let paid = served.load(Ordering::Relaxed) as f64 * COST;
        assert!(start >= paid - 1e-12, "round {round}: {start} of {paid}");
        // After a stop in order, to the last digit.
        assert!(
            before.is_none_or(|before| before == start),
            "round {round}: {start} of {before:?}"
        );
        let asks = join_all((0..10).map(|_| ask(&gateway, 100, None)));
        asks.await;
        let ordered = round % 2 == 0;
        before = if ordered { Some(spent(&gateway, "year").await) } else { None };
        gateway.signal(if ordered { Signal::TERM } else { Signal::KILL });
        gateway.ended().await;
    }
    let paid = served.load(Ordering::Relaxed) as f64 * COST;
    assert!(paid <= 0.1 + 1e-12, "{paid}");
    assert!(paid > 0.04, "kills lose a little of a budget, not most of it: {paid}");
}

#[tokio::test]
async fn others_are_used_when_a_budget_is_spent() {
    let folder = tempfile::tempdir().expect("a folder");
    let (paid, served) = engine();
    let (own, _) = engine();
    for (then, local) in [("next", 200), ("refuse", 429)] {
        let models = format!(
            "models:\n- id: m\n  context_length: 9000\n  max_output_length: 900\n  route:\n  - {{name: own, base_url: '{}', weight: 0}}\n  - {{name: paid, base_url: '{}', weight: 1, pricing: {PRICING}}}\n",
            own.url(),
            paid.url(),
        );
        let budgets = format!(
            "- {{name: {then}, amount: 0.0025, per: month, of: {{deployment: paid}}, then: {then}}}\n"
        );
        let routing = routing(&folder.path().join(then), &budgets);
        let gateway = tests::setup!().models(models).routing(routing).start();
        let before = served.load(Ordering::Relaxed);
        let mut statuses = Vec::new();
        for _ in 0..5 {
            statuses.push(ask(&gateway, 100, None).await.status);
        }
        assert_eq!(statuses, [200, 200, local, local, local], "{then}");
        assert_eq!(served.load(Ordering::Relaxed) - before, 2);
    }
}

#[tokio::test]
async fn each_tenant_has_its_own_where_a_trusted_proxy_says_who_asks() {
    let folder = tempfile::tempdir().expect("a folder");
    let (engine, _) = engine();
    let facts = "request: {tenant_header: x-tenant}\n";
    let budgets = "- {name: each, amount: 0.0025, per: day, each: tenant}\n";
    for (trusted, others) in [("127.0.0.1", 200), ("10.0.0.0/8", 429)] {
        let file = folder.path().join(trusted.replace('/', "-"));
        let more = format!("{facts}trusted_proxies: ['{trusted}']\n");
        let gateway = gateway(&engine.url(), routing(&file, budgets) + &more);
        let mut statuses = Vec::new();
        for tenant in ["a", "a", "a", "b"] {
            statuses.push(ask(&gateway, 100, Some(tenant)).await.status);
        }
        assert_eq!(statuses, [200, 200, 429, others], "{trusted}");
    }
}

#[tokio::test]
async fn a_reload_changes_a_budget_and_keeps_what_was_spent() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = folder.path().join("l.redb");
    let (engine, _) = engine();
    let budget =
        |amount| format!("- {{name: day, amount: {amount}, per: {{seconds: 31536000}}}}\n");
    let gateway = gateway(&engine.url(), routing(&ledger, &budget("0.0015")));
    assert_eq!(ask(&gateway, 100, None).await.status, 200);
    assert_eq!(ask(&gateway, 100, None).await.status, 429);
    let before = gateway.reloads("loaded").await;
    gateway.write("config/routing.yaml", routing(&ledger, &budget("0.0035")));
    gateway.loaded_since(before).await;
    assert!((spent(&gateway, "day").await - COST).abs() < 1e-12);
    assert_eq!(ask(&gateway, 100, None).await.status, 200);
    let other = routing(&folder.path().join("other.redb"), &budget("9"));
    gateway.write("config/routing.yaml", other);
    let is_told = async || gateway.refusal().await.contains("the ledger is open at").then_some(());
    eventually("the reload is refused", is_told).await;
}

#[tokio::test]
async fn a_ledger_that_cannot_be_used_is_an_error_at_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("l.redb");
    std::fs::write(&file, "not a ledger").expect("a file");
    let budgets = "- {name: day, amount: 1, per: day}\n";
    let models = "models: [{id: m, base_url: 'http://127.0.0.1:1'}]\n";
    let setup = || tests::setup!().models(models);
    let output = setup().routing(routing(&file, budgets)).output();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("is damaged"), "{said}");
    assert!(said.contains("config/routing.yaml:"), "{said}");
    assert_eq!(std::fs::read(&file).expect("it stays"), b"not a ledger");
}

#[tokio::test]
async fn a_request_waits_for_a_place_that_costs_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (paid, served) = engine();
    let gate = Gate::default();
    let open = gate.clone();
    let own = Raw::start(move |_, wire| {
        open.wait();
        wire.answer(200, r#"{"choices":[{"message":{"content":"own"},"finish_reason":"stop"}]}"#);
    });
    let models = format!(
        "models:\n- id: m\n  context_length: 9000\n  max_output_length: 900\n  route:\n  - {{name: own, base_url: '{}', weight: 1, side: local}}\n  - {{name: paid, base_url: '{}', weight: 0, side: remote, pricing: {PRICING}}}\n",
        own.url(),
        paid.url(),
    );
    let budgets = "- {name: day, amount: 0.0001, per: day, then: hold, hold: 60}\n\
                   concurrency: {local: {max: 1, queue: 9, wait: 0.05}}\n";
    let routing = routing(&folder.path().join("l"), budgets);
    let gateway = tests::setup!().models(models).routing(routing).start();
    let opens = async {
        // Longer than `wait`, after which a request that is not held has no answer.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        gate.open();
    };
    let asks = join_all((0..3).map(|_| ask(&gateway, 100, None)));
    let (replies, ()) = tokio::join!(asks, opens);
    for reply in replies {
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert!(reply.text().contains("own"));
    }
    assert_eq!(served.load(Ordering::Relaxed), 0, "the paid one costs more than there is");
}

#[tokio::test]
async fn errors_of_a_provider_spend_nothing_and_what_is_free_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let failing = Raw::answering(500, r#"{"error":{"message":"broken"}}"#);
    let (own, _) = engine();
    let models = format!(
        "models:\n- id: m\n  context_length: 9000\n  max_output_length: 900\n  route:\n  - {{name: paid, base_url: '{}', weight: 1, pricing: {PRICING}}}\n  - {{name: own, base_url: '{}', weight: 0}}\n",
        failing.url(),
        own.url(),
    );
    let budgets = "- {name: day, amount: 0.0025, per: day}\n";
    let routing = routing(&folder.path().join("l"), budgets);
    let gateway = tests::setup!().models(models).routing(routing).start();
    for _ in 0..4 {
        assert_eq!(ask(&gateway, 100, None).await.status, 200);
    }
    assert_eq!(spent(&gateway, "day").await, 0.0);
    assert!(!failing.received().is_empty(), "it was tried");
}
