//! Budgets hold where it is hard: over kills under load, for a thousand requests at once, over a
//! lost file.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use futures_util::future::join_all;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use tests::{Gate, Gateway, Raw, Reply, eventually};
use tokio::task::JoinSet;

use super::budgets::{COST, LENGTHS, ask, engine, gateway, routing, spent};

/// Clients that ask again and again, whatever they get. They end when this is dropped.
fn load(gateway: &Gateway, clients: usize) -> JoinSet<()> {
    let mut load = JoinSet::new();
    for _ in 0..clients {
        let (url, client) = (gateway.url("/v1/chat/completions"), gateway.client().clone());
        load.spawn(async move {
            let body =
                r#"{"model":"m","max_tokens":100,"messages":[{"role":"user","content":"hi"}]}"#;
            loop {
                match client.post(&url).body(body).send().await {
                    Ok(answer) => drop(answer.bytes().await),
                    // The gateway was killed.
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        });
    }
    load
}

#[tokio::test]
async fn a_budget_holds_over_twenty_kills_under_load() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = folder.path().join("l.redb");
    let (engine, served) = engine();
    let budgets = "- {name: year, amount: 2, per: {seconds: 31536000}}\n";
    let paid = || served.load(Relaxed) as f64 * COST;
    for round in 0..20 {
        let mut gateway = gateway(&engine.url(), routing(&ledger, budgets));
        // Nobody asks now, and the engine has read all that the killed one sent.
        let start = spent(&gateway, "year").await;
        assert!(start >= paid() - 1e-12, "round {round}: {start} of {}", paid());
        let enough = served.load(Relaxed) + 10 + 3 * round;
        let _load = load(&gateway, 16);
        let is_paid = async || (served.load(Relaxed) >= enough).then_some(());
        eventually("requests are paid", is_paid).await;
        gateway.signal(Signal::KILL);
        gateway.ended().await;
    }
    let at_kills = paid();
    assert!(at_kills > 0.5, "{at_kills}");
    let gateway = gateway(&engine.url(), routing(&ledger, budgets));
    loop {
        let replies = join_all((0..40).map(|_| ask(&gateway, 100, None))).await;
        if replies.iter().all(|reply| reply.status == 429) {
            break;
        }
    }
    assert_eq!(ask(&gateway, 100, None).await.status, 429);
    assert!(paid() <= 2.0 + 1e-12, "{}", paid());
    assert!(paid() > 1.0, "kills lose a part of a budget, not most of it: {}", paid());
}

#[tokio::test]
async fn a_dollar_is_not_passed_by_a_thousand_requests_at_once() {
    /// Of an answer of 100 and 100 tokens.
    const DEAR: f64 = 0.005;
    // As many connections as the system allows.
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }).expect("a limit");
    let folder = tempfile::tempdir().expect("a folder");
    let (gate, served) = (Gate::default(), Arc::new(AtomicU64::new(0)));
    let (open, count) = (gate.clone(), Arc::clone(&served));
    let engine = Raw::start(move |_, wire| {
        count.fetch_add(1, Relaxed);
        open.wait();
        wire.answer(200, r#"{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":100,"completion_tokens":100}}"#);
    });
    let models = format!(
        "models: [{{id: m, base_url: '{}', pricing: {{per_million: true, prompt: 10, completion: 40}}, {LENGTHS}}}]\n",
        engine.url()
    );
    let budgets = "- {name: dollar, amount: 1, per: {seconds: 31536000}}\n";
    let routing = routing(&folder.path().join("l"), budgets);
    let gateway = tests::setup!().models(models).routing(routing).start();
    let refused = AtomicU64::new(0);
    let asks = join_all((0..1_000).map(|_| async {
        let reply = ask(&gateway, 100, None).await;
        refused.fetch_add(u64::from(reply.status == 429), Relaxed);
        reply
    }));
    let opens = async {
        let is_decided = async || {
            let decided = refused.load(Relaxed) + served.load(Relaxed);
            (decided == 1_000).then_some(())
        };
        eventually("each is sent or refused, while none is answered", is_decided).await;
        gate.open();
    };
    let (replies, ()) = tokio::join!(asks, opens);
    let answered = replies.iter().filter(|reply| reply.status == 200).count() as u64;
    assert_eq!(answered, served.load(Relaxed), "each that was paid is answered");
    assert!(answered > 100 && answered < 200, "as many as a dollar may have to pay: {answered}");
    let until_spent = async || {
        let reply = ask(&gateway, 100, None).await;
        (reply.status != 200).then_some(reply)
    };
    let last: Reply = eventually("the rest is spent one by one", until_spent).await;
    assert_eq!(last.error()["code"], "budget_exceeded");
    let paid = served.load(Relaxed) as f64 * DEAR;
    assert!(paid <= 1.0 && paid > 0.99, "{paid}");
    assert!((spent(&gateway, "dollar").await - paid).abs() < 1e-12);
}

#[tokio::test]
async fn a_file_that_is_removed_is_told_and_made_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = folder.path().join("l.redb");
    let (engine, _) = engine();
    let budgets = "- {name: year, amount: 0.1, per: {seconds: 31536000}}\n";
    {
        let mut gateway = gateway(&engine.url(), routing(&ledger, budgets));
        for _ in 0..3 {
            assert_eq!(ask(&gateway, 100, None).await.status, 200);
        }
        std::fs::remove_file(&ledger).expect("a file");
        let is_told = async || gateway.log().contains("file was removed").then_some(());
        eventually("the loss is told without a request", is_told).await;
        assert!(ledger.exists());
        assert_eq!(gateway.metric("gateway_ledger_up", &[]).await, Some(1.0));
        // As a crash leaves it.
        gateway.signal(Signal::KILL);
        gateway.ended().await;
    }
    let gateway = gateway(&engine.url(), routing(&ledger, budgets));
    assert!(spent(&gateway, "year").await >= 3.0 * COST - 1e-12);
}

#[tokio::test]
async fn what_is_expected_may_pass_a_budget_by_what_is_under_way() {
    let folder = tempfile::tempdir().expect("a folder");
    // Its answers have 900 tokens: 0.0082 dollars. A usual one is thought to have 512.
    let answer = r#"{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":100,"completion_tokens":900}}"#;
    let engine = Raw::answering(200, answer);
    for (reserve, first) in [("maximum", 429), ("expected", 200)] {
        let budgets = format!(
            "- {{name: b, amount: 0.006, per: {{seconds: 31536000}}, reserve: {reserve}}}\n"
        );
        let gateway = gateway(&engine.url(), routing(&folder.path().join(reserve), &budgets));
        let statuses =
            [ask(&gateway, 900, None).await.status, ask(&gateway, 900, None).await.status];
        assert_eq!(statuses, [first, 429], "{reserve}");
        let most = if first == 200 { 0.0082 } else { 0.0 };
        assert!((spent(&gateway, "b").await - most).abs() < 1e-12, "{reserve}");
    }
}

#[tokio::test]
async fn two_names_of_a_tenant_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (engine, served) = engine();
    let budgets = "- {name: each, amount: 1, per: day, each: tenant}\n";
    for (trusted, status) in [("127.0.0.1", 400), ("10.0.0.0/8", 200)] {
        let more =
            format!("request: {{tenant_header: x-tenant}}\ntrusted_proxies: ['{trusted}']\n");
        let file = folder.path().join(trusted.replace('/', "-"));
        let gateway = gateway(&engine.url(), routing(&file, budgets) + &more);
        let before = served.load(Relaxed);
        let body = r#"{"model":"m","max_tokens":100,"messages":[]}"#;
        let request = gateway.client().post(gateway.url("/v1/chat/completions")).body(body);
        let request = request.header("x-tenant", "a").header("X-Tenant", "b");
        let reply = Reply::read(request.send().await.expect("an answer")).await.expect("whole");
        assert_eq!(reply.status, status, "{trusted}: {}", reply.text());
        if status == 400 {
            assert_eq!(reply.error()["code"], "duplicate_tenant");
            assert_eq!(served.load(Relaxed), before, "it is not sent");
        }
    }
}
