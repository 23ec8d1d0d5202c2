//! Quotas hold: under concurrency, over reloads, as headers tell them. Nothing overrides one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use serde_json::json;
use tests::{Gateway, Raw, Reply, eventually, logged};

/// A window that does not turn while a test runs.
const YEAR: &str = "{seconds: 31536000}";
/// How long prompts and answers can be.
const LENGTHS: &str = "context_length: 9000, max_output_length: 900";

/// An engine whose answers take 100 + 100 tokens and carry these headers, and a count of them.
fn engine(headers: impl Fn(u64) -> String + Send + Sync + 'static) -> (Raw, Arc<AtomicU64>) {
    let served = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&served);
    let answer = json!({
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 100},
    })
    .to_string();
    let engine = Raw::start(move |_, wire| {
        let (length, more) = (answer.len(), headers(count.fetch_add(1, Ordering::SeqCst)));
        wire.send(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{more}content-length: {length}\r\n\r\n{answer}"
        ));
    });
    (engine, served)
}

fn silent() -> (Raw, Arc<AtomicU64>) {
    engine(|_| String::new())
}

/// The model m at one place with this quota.
fn model(url: &str, quota: &str) -> String {
    format!(
        "models: [{{id: m, {LENGTHS}, route: [{{name: paid, base_url: '{url}', quota: {quota}}}]}}]\n"
    )
}

/// The same, with a second place that has no quota and no share.
fn model_beside(url: &str, quota: &str, other: &str) -> String {
    format!(
        "models: [{{id: m, {LENGTHS}, route: [\
         {{name: paid, base_url: '{url}', quota: {quota}}}, {{name: other, base_url: '{other}', weight: 0}}]}}]\n"
    )
}

async fn ask(gateway: &Gateway, max_tokens: u32) -> Reply {
    let body = json!({
        "model": "m", "max_tokens": max_tokens, "messages": [{"role": "user", "content": "hi"}],
    });
    gateway.post("/v1/chat/completions", body.to_string()).await
}

/// The seconds after which a request that a quota forbids may be sent again.
fn refused(reply: &Reply) -> u64 {
    assert_eq!(reply.status, 429, "{}", reply.text());
    assert_eq!(reply.error()["code"], "quota_exceeded", "{}", reply.text());
    reply.header("retry-after").parse().expect("seconds")
}

async fn state(gateway: &Gateway) -> serde_json::Value {
    gateway.routing().await["models"]["m"]["deployments"][0].clone()
}

/// Waits until `/routing` shows the state of the deployment with the quota.
async fn becomes(gateway: &Gateway, wanted: &str) -> serde_json::Value {
    let look = async || Some(state(gateway).await).filter(|state| state["state"] == wanted);
    eventually(wanted, look).await
}

#[tokio::test]
async fn requests_at_once_do_not_pass_a_counted_quota() {
    let (engine, served) = silent();
    let models = model(&engine.url(), &format!("{{requests: 7, per: {YEAR}}}"));
    let gateway = tests::setup!().models(models).routing(logged("")).start();
    let replies = join_all((0..100).map(|_| ask(&gateway, 9))).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 7);
    assert_eq!(served.load(Ordering::SeqCst), 7);
    for reply in replies.iter().filter(|reply| reply.status != 200) {
        assert!(refused(reply) > 120);
        assert_eq!(reply.header("x-should-retry"), "false");
    }
    let shown = becomes(&gateway, "quota").await;
    assert!(shown["reason"].as_str().expect("why").contains("7 requests per 31536000s"), "{shown}");
    assert_eq!(shown["quotas"][0]["used"], 7);
    assert_eq!(shown["quotas"][0]["limit"], 7);
    let labels =
        [("deployment", "paid"), ("unit", "requests"), ("per", "31536000s"), ("source", "counted")];
    assert_eq!(gateway.metric("gateway_quota_used", &labels).await, Some(7.0));
    assert_eq!(gateway.metric("gateway_quota_limit", &labels).await, Some(7.0));
    let resets = gateway.metric("gateway_quota_resets_timestamp_seconds", &labels).await;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    assert!(resets.expect("a time") > now.as_secs_f64());
    assert_eq!(gateway.metric("gateway_shed_total", &[("reason", "quota")]).await, Some(93.0));
    let last = ask(&gateway, 9).await;
    let record = gateway.record(last.header("x-request-id")).await;
    assert_eq!((&record["error"], &record["outcome"]), (&json!("quota_exceeded"), &json!("shed")));
    assert_eq!(gateway.log().matches("quota used up").count(), 1, "{}", gateway.log());
}

#[tokio::test]
async fn tokens_at_once_do_not_pass_a_counted_quota() {
    let (engine, served) = silent();
    let models = model(&engine.url(), &format!("{{tokens: 2000, per: {YEAR}}}"));
    let gateway = tests::setup!().models(models).start();
    let mut answered = 0;
    for _ in 0..10 {
        let replies = join_all((0..20).map(|_| ask(&gateway, 100))).await;
        answered += replies.iter().filter(|reply| reply.status == 200).count() as u64;
        assert!(200 * served.load(Ordering::SeqCst) <= 2000);
    }
    assert_eq!(answered, served.load(Ordering::SeqCst));
    // The prompt has at most as many tokens as the request has bytes, and 256 more.
    assert!(answered >= 7, "what is settled can be used again: {answered}");
    assert!(refused(&ask(&gateway, 100).await) > 120);
    let large = ask(&gateway, 900).await;
    assert_eq!((large.status, &large.error()["code"]), (429, &json!("quota_exceeded")));
    let labels = [("unit", "tokens")];
    let used = gateway.metric("gateway_quota_used", &labels).await;
    assert_eq!(used, Some(200.0 * answered as f64), "to the token");
}

#[tokio::test]
async fn a_request_that_never_fits_is_told_so() {
    let (engine, served) = silent();
    let models = model(&engine.url(), "{tokens: 500, per: minute}");
    let gateway = tests::setup!().models(models).start();
    let reply = ask(&gateway, 900).await;
    assert_eq!((reply.status, &reply.error()["code"]), (429, &json!("quota_exceeded")));
    assert!(reply.text().contains("may take more than the quota"), "{}", reply.text());
    assert_eq!(reply.header("x-should-retry"), "false");
    assert_eq!(served.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn others_are_used_and_nothing_overrides_the_quota() {
    let (paid, served) = silent();
    let failing = Raw::answering(500, r#"{"error":{"message":"broken"}}"#);
    let (own, _) = silent();
    let quota = format!("{{requests: 2, per: {YEAR}}}");
    let models = model_beside(&paid.url(), &quota, &own.url());
    let gateway = tests::setup!().models(models).start();
    for _ in 0..5 {
        assert_eq!(ask(&gateway, 9).await.status, 200);
    }
    assert_eq!(served.load(Ordering::SeqCst), 2);
    // The other one fails and is ejected: panic mode.
    let models = model_beside(&paid.url(), &quota, &failing.url());
    let routing = "ejection: {consecutive: 1}\n";
    let gateway = tests::setup!().models(models).routing(routing).start();
    for _ in 0..2 {
        assert_eq!(ask(&gateway, 9).await.status, 200);
    }
    for _ in 0..5 {
        let reply = ask(&gateway, 9).await;
        assert!(reply.status >= 429, "{}", reply.text());
    }
    assert_eq!(served.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_quota_is_back_when_its_window_turns() {
    let (engine, served) = silent();
    let models = model(&engine.url(), "{requests: 1, per: {seconds: 2}}");
    let gateway = tests::setup!().models(models).start();
    for _ in 0..2 {
        for status in [200, 429] {
            let reply =
                async || Some(ask(&gateway, 9).await).filter(|reply| reply.status == status);
            let reply = eventually("the window turns", reply).await;
            assert!(status == 200 || refused(&reply) <= 2);
        }
    }
    assert!(served.load(Ordering::SeqCst) >= 2);
    becomes(&gateway, "healthy").await;
    eventually("the log says so", async || gateway.log().contains("quota is back").then_some(()))
        .await;
}

#[tokio::test]
async fn a_reload_changes_a_quota_and_keeps_what_was_used() {
    let (engine, served) = silent();
    let quota = |amount| format!("{{requests: {amount}, per: {YEAR}}}");
    let gateway = tests::setup!().models(model(&engine.url(), &quota(1))).routing("").start();
    assert_eq!(ask(&gateway, 9).await.status, 200);
    refused(&ask(&gateway, 9).await);
    let before = gateway.reloads("loaded").await;
    gateway.write("config/models.yaml", model(&engine.url(), &quota(3)));
    gateway.loaded_since(before).await;
    let statuses = [ask(&gateway, 9).await, ask(&gateway, 9).await, ask(&gateway, 9).await];
    assert_eq!(statuses.map(|reply| reply.status), [200, 200, 429]);
    assert_eq!(served.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn what_headers_tell_is_believed_before_the_first_refusal() {
    let at = SystemTime::now() + Duration::from_secs(3600);
    let unix = at.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    for reset in ["1h0m0s".to_owned(), "3600".to_owned(), unix.to_string()] {
        let (engine, served) = engine(move |nth| {
            let left = 2_u64.saturating_sub(nth);
            format!(
                "x-ratelimit-limit-requests: 50\r\nx-ratelimit-remaining-requests: {left}\r\n\
                 x-ratelimit-reset-requests: {reset}\r\n"
            )
        });
        let (other, _) = silent();
        let quota = "{requests: 99, per: day, source: headers}";
        let models = model_beside(&engine.url(), quota, &other.url());
        let gateway = tests::setup!().models(models).start();
        for _ in 0..6 {
            assert_eq!(ask(&gateway, 9).await.status, 200);
        }
        assert_eq!(served.load(Ordering::SeqCst), 3);
        let shown = becomes(&gateway, "quota").await;
        assert_eq!(
            (&shown["quotas"][0]["limit"], &shown["quotas"][0]["used"]),
            (&json!(50), &json!(50))
        );
        let alone = tests::setup!().models(model(&engine.url(), quota)).start();
        // The engine has nothing left from here on.
        assert_eq!(ask(&alone, 9).await.status, 200);
        let seconds = refused(&ask(&alone, 9).await);
        assert!((3_500..=3_600).contains(&seconds), "{seconds}");
    }
}

#[tokio::test]
async fn a_silent_or_senseless_upstream_has_no_known_limit() {
    for headers in [
        "",
        "x-ratelimit-remaining-requests: -1\r\nx-ratelimit-reset-requests: 60s\r\n",
        "x-ratelimit-remaining-requests: NaN\r\nx-ratelimit-reset-requests: 60s\r\n",
        "x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: 1970-01-01T00:00:00Z\r\n",
        "x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: soon\r\n",
    ] {
        let (engine, served) = engine(move |_| headers.to_owned());
        let models = model(&engine.url(), "{requests: 1, per: minute, source: headers}");
        let gateway = tests::setup!().models(models).start();
        for _ in 0..4 {
            assert_eq!(ask(&gateway, 9).await.status, 200, "{headers}");
        }
        assert_eq!(served.load(Ordering::SeqCst), 4);
    }
    // So long a time is cut to a window.
    let (engine, _) = engine(|_| {
        "x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: 2999-01-01T00:00:00Z\r\n"
            .into()
    });
    let models = model(&engine.url(), "{requests: 1, per: minute, source: headers}");
    let gateway = tests::setup!().models(models).start();
    assert_eq!(ask(&gateway, 9).await.status, 200);
    let seconds = refused(&ask(&gateway, 9).await);
    assert!((50..=60).contains(&seconds), "{seconds}");
}

#[tokio::test]
async fn signals_tell_of_the_tightest_quota() {
    let (engine, _) = silent();
    let quotas = format!("[{{requests: 100, per: day}}, {{requests: 4, per: {YEAR}}}]");
    let gateway = tests::setup!().models(model(&engine.url(), &quotas)).start();
    assert_eq!(ask(&gateway, 9).await.status, 200);
    let page = gateway.get("/routing?deployment=paid").await.json();
    let signals = &page["models"]["m"]["deployments"][0]["signals"];
    assert_eq!((&signals["quota.used"], &signals["quota.requests"]), (&json!(0.25), &json!(3.0)));
    assert!(signals["quota.resets"].as_f64().expect("a time") > 120e3, "{signals}");
}
