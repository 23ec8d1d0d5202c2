//! Requests that only some of the deployments can or may answer.

use super::*;

/// Two routes of the model `m`: a local one with these keys, and a remote one with those.
fn two_routes(local: (&str, &str), remote: (&str, &str), model: &str) -> String {
    format!(
        "models:\n  - id: m\n{model}    route:\n      \
         - {{base_url: '{}', name: near, side: local{}}}\n      \
         - {{base_url: '{}', name: far, side: remote, weight: 0{}}}\n",
        local.0, local.1, remote.0, remote.1
    )
}

#[tokio::test]
async fn what_does_not_fit_here_goes_where_it_fits() {
    let too_long =
        "This model's maximum context length is 16384 tokens. However, you requested 20000 tokens.";
    let refusal = error(too_long, "context_length_exceeded");
    let (near, far) = (Raw::answering(400, &refusal), Engine::start("far"));
    let (local, remote) = (near.url(), far.url());
    let keys = (", context_length: 16384", ", context_length: 131072");
    let models = two_routes((&local, keys.0), (&remote, keys.1), "");
    let gateway = tests::setup!().models(models).routing(logged("")).start();
    let reply = ask(&gateway, "m", "a").await;
    assert_eq!((reply.status, reply.engine()), (200, "far"), "{}", reply.text());
    let want = [("near".into(), "unfit_context".into()), ("far".into(), "ok".into())];
    assert_eq!(gateway.attempts(&reply).await, want);
    // A prompt that surely does not fit is not sent there at all.
    let reply = ask(&gateway, "m", &"many words ".repeat(40_000)).await;
    assert_eq!(gateway.attempts(&reply).await, [("far".into(), "ok".into())]);
    assert_eq!(state(&gateway, "m", "near").await.0, "healthy");
    // Without a larger context the engine's answer is the best one.
    let models =
        two_routes((&local, ", context_length: 16384"), (&remote, ", context_length: 16384"), "");
    let gateway = tests::setup!().models(models).routing(logged("")).start();
    let reply = ask(&gateway, "m", "a").await;
    assert_eq!((reply.status, reply.text()), (400, refusal));
    assert_eq!(reply.header("x-should-retry"), "false");
    let record = gateway.record(reply.header("x-request-id")).await;
    assert_eq!(record["outcome"], "rejected");
}

#[tokio::test]
async fn features_are_found_where_they_are() {
    let (near, far) = (Engine::start("near"), Engine::start("far"));
    let (local, remote) = (near.url(), far.url());
    let has = ", supports_tools: true, input_modalities: [text, image]";
    let models = two_routes((&local, ""), (&remote, has), "");
    let gateway = tests::setup!().models(models).routing(logged("")).start();
    let tools = r#"{"model":"m","messages":[{"role":"user","content":"a"}],"tools":[{"type":"function","function":{"name":"f"}}]}"#;
    let image = r#"{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:,"}}]}]}"#;
    for (body, engine) in [(tools, "far"), (image, "far"), (&*body("m", "a"), "near")] {
        let reply = gateway.post(CHAT, body.to_owned()).await;
        assert_eq!(reply.engine(), engine, "{body}: {}", reply.text());
    }
    // An engine that lacks a feature, which its route does not say.
    let jinja = Raw::answering(500, &error("tools param requires --jinja flag", ""));
    let models = two_routes((&jinja.url(), ", supports_tools: true"), (&remote, has), "");
    let gateway = tests::setup!().models(models).routing(logged("")).start();
    let reply = gateway.post(CHAT, tools).await;
    let want = [("near".into(), "unfit_tools".into()), ("far".into(), "ok".into())];
    assert_eq!(gateway.attempts(&reply).await, want);
}

#[tokio::test]
async fn what_must_stay_local_never_leaves() {
    let (down, far, near) = (Port::take(), Engine::start("far"), Engine::start("near"));
    let bad = Raw::answering(500, &error("no", ""));
    let remote = far.url();
    for local in [down.url(), bad.url()] {
        let models = two_routes((&local, ""), (&remote, ""), "    sides: [local]\n");
        let gateway =
            tests::setup!().models(models).routing(logged("ejection: {consecutive: 1}")).start();
        for n in 0..10 {
            let reply = ask(&gateway, "m", &n.to_string()).await;
            assert_eq!(reply.status, 502, "{}", reply.text());
            let message = reply.error()["message"].as_str().expect("text").to_owned();
            assert!(message.contains("a side that is forbidden to this request"), "{message}");
        }
    }
    assert_eq!(far.requests().await, 0);
    let models = two_routes((&near.url(), ""), (&remote, ""), "");
    let gateway = tests::setup!().models(models).routing(logged("")).start();
    let with = async |sides: &[&str]| {
        let mut request = gateway.client().post(gateway.url(CHAT)).body(body("m", "a"));
        for side in sides {
            request = request.header("x-gateway-side", *side);
        }
        Reply::read(request.send().await.expect("an answer")).await.expect("whole")
    };
    assert_eq!(with(&["local"]).await.engine(), "near");
    assert_eq!(with(&["remote"]).await.engine(), "far", "standby is not forbidden");
    for wrong in ["home", "", "LOCAL", "local, remote"] {
        let reply = with(&[wrong]).await;
        assert_eq!(
            (reply.status, &reply.error()["code"]),
            (400, &json!("invalid_side")),
            "{wrong}"
        );
    }
    let nowhere = with(&["local", "remote"]).await;
    assert_eq!((nowhere.status, &nowhere.error()["code"]), (503, &json!("no_deployment_allowed")));
    // The header narrows what the model allows, and never widens it.
    let models = two_routes((&near.url(), ""), (&remote, ""), "    sides: [local]\n");
    let gateway = tests::setup!().models(models).routing(logged("")).start();
    let request = gateway.client().post(gateway.url(CHAT)).header("x-gateway-side", "remote");
    let answer = request.body(body("m", "a")).send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 503);
    assert_eq!(far.requests().await, 1);
}
