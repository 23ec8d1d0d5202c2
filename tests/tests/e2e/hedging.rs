//! Second attempts beside a first that takes long.

use serde_json::json;

use tests::{
    Engine, Gate, Gateway, Raw, Reply, Step, VerdictGuest, eventually, logged, one_model, routed,
};

/// A first attempt to the local deployment, and a second one to the remote one after a millisecond, for
/// at most so many dollars.
fn verdict(most: &str) -> String {
    format!(
        "(call $hedged
            (call $route (local.get $locals) (f64.const 1) (local.get $remotes) (f64.const 0) (i32.const 0))
            (i32.const 1) (local.get $locals) (local.get $remotes) (f64.const {most}))"
    )
}

/// A gateway whose strategy asks for second attempts. `more` is a part of `routing.yaml`.
fn gateway([local, remote]: [&str; 2], most: &str, more: &str) -> Gateway {
    let guest = VerdictGuest { signal: "request.cost", verdict: &verdict(most) };
    let sandbox = "sandbox: {compile_timeout: 60, call_timeout: 30, request_timeout: 30}";
    let more = format!("guest\n{}\n{more}\n{sandbox}", logged(""));
    tests::setup!()
        .models(one_model(&[local, remote]))
        .file("plugins/guest.wasm", guest.component())
        .routing(routed(&more, &[local], &[remote]))
        .start()
}

const ALL: &str = "hedge: {budget: 100}";
/// The head of a plain answer, and its body.
const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n";
const BODY: &str = "{}";

async fn attempts(gateway: &Gateway, reply: &Reply) -> serde_json::Value {
    json!(gateway.attempts(reply).await)
}

/// Second attempts that won and lost, and those that the budget denied.
async fn hedges(gateway: &Gateway) -> [Option<f64>; 3] {
    let count = async |result| gateway.metric("gateway_hedges_total", &[("result", result)]).await;
    let denied = gateway.metric("gateway_hedges_denied_total", &[]).await;
    [count("won").await, count("lost").await, denied]
}

#[tokio::test]
async fn the_second_goes_to_the_client_if_it_is_first() {
    let (local, remote) = (Raw::steps(vec![Step::Hang]), Engine::start("remote"));
    let gateway = gateway([&local.url(), &remote.url()], "nan", ALL);
    let reply = gateway.chat("m").await;
    assert_eq!((reply.status, reply.engine()), (200, "remote"));
    let told = attempts(&gateway, &reply).await;
    assert_eq!(told, json!([["local-1", "hedged"], ["remote-1", "ok"]]));
    assert_eq!(hedges(&gateway).await, [Some(1.0), Some(0.0), Some(0.0)]);
    eventually("the first is cancelled", async || (local.hung_up() == 1).then_some(())).await;
    let labels = [("side", "local"), ("cause", "hedged")];
    assert_eq!(gateway.metric("gateway_wasted_attempts_total", &labels).await, Some(1.0));
    let state = [("side", "local"), ("state", "healthy")];
    assert_eq!(gateway.metric("gateway_deployment_state", &state).await, Some(1.0));
    let errors = [("side", "local")];
    assert_eq!(gateway.metric("gateway_deployment_error_rate", &errors).await, Some(0.0));
    gateway.is_idle().await;
}

#[tokio::test]
async fn the_first_goes_to_the_client_if_it_is_first() {
    let gate = Gate::default();
    let local = Raw::steps(vec![Step::Wait(gate.clone()), Step::send(HEAD), Step::send(BODY)]);
    // It has begun a plain answer, which may still be cut.
    let remote = Raw::steps(vec![Step::send(HEAD), Step::Hang]);
    let gateway = gateway([&local.url(), &remote.url()], "nan", ALL);
    let (reply, ()) = tokio::join!(gateway.chat("m"), async {
        let asked = async || (!remote.received().is_empty()).then_some(());
        eventually("the second is asked", asked).await;
        gate.open();
    });
    assert_eq!(reply.status, 200);
    let told = attempts(&gateway, &reply).await;
    assert_eq!(told, json!([["remote-1", "hedged"], ["local-1", "ok"]]));
    assert_eq!(hedges(&gateway).await, [Some(0.0), Some(1.0), Some(0.0)]);
    eventually("the second is cancelled", async || (remote.hung_up() == 1).then_some(())).await;
}

#[tokio::test]
async fn whichever_fails_leaves_the_other_to_answer() {
    let answers = |gate: &Gate| vec![Step::Wait(gate.clone()), Step::send(HEAD), Step::send(BODY)];
    // Cut in the middle of a plain answer.
    let fails = |gate: &Gate| vec![Step::Wait(gate.clone()), Step::send(HEAD), Step::Close];
    for first_fails in [true, false] {
        let gates = [Gate::default(), Gate::default()];
        let scripts = match first_fails {
            true => [fails(&gates[0]), answers(&gates[1])],
            false => [answers(&gates[0]), fails(&gates[1])],
        };
        let [local, remote] = scripts.map(Raw::steps);
        let gateway = gateway([&local.url(), &remote.url()], "nan", ALL);
        let (failing, answering) = if first_fails { (0, 1) } else { (1, 0) };
        let (reply, ()) = tokio::join!(gateway.chat("m"), async {
            let both =
                async || (local.received().len() + remote.received().len() == 2).then_some(());
            eventually("both are asked", both).await;
            gates[failing].open();
            let side = ["local", "remote"][failing];
            let failed = async || {
                let left = gateway.metric("gateway_deployment_in_flight", &[("side", side)]).await;
                (left == Some(0.0)).then_some(())
            };
            eventually("one has failed", failed).await;
            gates[answering].open();
        });
        assert_eq!(reply.status, 200, "{}", reply.text());
        let told = attempts(&gateway, &reply).await;
        let names = ["local-1", "remote-1"];
        assert_eq!(
            (&told[0][0], &told[1]),
            (&json!(names[failing]), &json!([names[answering], "ok"]))
        );
        assert!(told[0][1] != "hedged", "{told}");
        let won = f64::from(u8::from(first_fails));
        assert_eq!(hedges(&gateway).await, [Some(won), Some(1.0 - won), Some(0.0)]);
        gateway.is_idle().await;
    }
}

#[tokio::test]
async fn a_second_whose_client_leaves_has_not_lost() {
    let [local, remote] = [(); 2].map(|()| Raw::steps(vec![Step::Hang]));
    let gateway = gateway([&local.url(), &remote.url()], "nan", ALL);
    tokio::select! {
        reply = gateway.chat("m") => panic!("both hang: {}", reply.status),
        () = eventually("both are asked", async || {
            (local.received().len() + remote.received().len() == 2).then_some(())
        }) => {}
    }
    let cancelled = [("result", "cancelled")];
    eventually("the second is cancelled", async || {
        let count = gateway.metric("gateway_hedges_total", &cancelled).await;
        (count == Some(1.0)).then_some(())
    })
    .await;
    assert_eq!(hedges(&gateway).await, [Some(0.0); 3]);
    gateway.is_idle().await;
}

#[tokio::test]
async fn a_canary_with_second_attempts_does_not_fall_back() {
    let (local, remote) = (Raw::steps(vec![Step::Hang]), Engine::start("remote"));
    let guest = VerdictGuest { signal: "request.cost", verdict: &verdict("nan") };
    let rollback = "{min_requests: 10, attempts: 2}";
    let more = format!(
        "fixed\nrouting_parameter: {{local_fraction: 0}}\n\
         candidate: {{routing_strategy: guest, canary: 0.5, rollback: {rollback}}}\n{ALL}\n\
         sandbox: {{compile_timeout: 60, call_timeout: 30, request_timeout: 30}}"
    );
    let gateway = tests::setup!()
        .models(one_model(&[&local.url(), &remote.url()]))
        .file("plugins/guest.wasm", guest.component())
        .routing(routed(&more, &[&local.url()], &[&remote.url()]))
        .start();
    let mut shown = serde_json::Value::Null;
    for _ in 0..200 {
        assert_eq!(gateway.chat("m").await.engine(), "remote");
        shown = gateway.routing().await["strategy"]["candidate"].clone();
        if shown["decided"]["candidate"]["requests"].as_u64() >= Some(30) {
            break;
        }
    }
    let decided = &shown["decided"]["candidate"];
    assert_eq!((&shown["state"], &decided["fallback"]), (&json!("on"), &json!(0.0)), "{shown}");
    assert_eq!(decided["attempts"], 2.0, "{shown}");
}

#[tokio::test]
async fn there_is_none_where_it_is_not_allowed() {
    for (more, path) in [
        ("hedge: {budget: 0}", "chat/completions"),
        ("", "chat/completions"),
        ("hedge: {budget: 100}\nfallback: {ambiguous: never}", "chat/completions"),
        ("hedge: {budget: 100}\nfallback: {attempts: 1}", "chat/completions"),
        (ALL, "responses"),
    ] {
        let gate = Gate::default();
        let local = Raw::steps(vec![Step::Wait(gate.clone()), Step::send(HEAD), Step::send(BODY)]);
        let remote = Engine::start("remote");
        let gateway = gateway([&local.url(), &remote.url()], "nan", more);
        let body =
            json!({"model": "m", "input": "hi", "messages": [{"role": "user", "content": "hi"}]});
        let request = gateway.client().post(gateway.url(&format!("/v1/{path}"))).json(&body);
        let request = tokio::spawn(request.send());
        let asked = async || (!local.received().is_empty()).then_some(());
        eventually("the first is asked", asked).await;
        // Where the budget decides, it does so when the second attempt is due. Everything else is
        // decided before the first is sent.
        let by_budget = more.is_empty() || more.ends_with("budget: 0}");
        let denials = f64::from(u8::from(by_budget));
        let decided = async || (hedges(&gateway).await[2] == Some(denials)).then_some(());
        eventually("it is decided", decided).await;
        gate.open();
        let answer = request.await.expect("no panic").expect("an answer");
        assert_eq!(answer.status(), 200, "{more} {path}");
        assert_eq!(remote.requests().await, 0, "{more} {path}");
        let [won, lost, denied] = hedges(&gateway).await;
        assert_eq!([won, lost], [Some(0.0); 2]);
        assert_eq!(denied, Some(denials), "{more} {path}");
    }
}
