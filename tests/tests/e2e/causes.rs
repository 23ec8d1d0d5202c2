//! What a failure says, and of whom: the table of causes, row by row, at real sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use serde_json::{Value, json};
use tests::{Engine, Gateway, Port, Raw, Received, Reply, eventually, in_order, logged};

const CHAT: &str = "/v1/chat/completions";
const ANSWER: &str = r#"{"object":"chat.completion","choices":[{"index":0,"message":{"content":"a"},"finish_reason":"stop"}]}"#;

/// A request with this text as its prompt.
fn body(model: &str, text: &str) -> String {
    json!({"model": model, "messages": [{"role": "user", "content": text}]}).to_string()
}

async fn ask(gateway: &Gateway, model: &str, text: &str) -> Reply {
    gateway.post(CHAT, body(model, text)).await
}

fn error(message: &str, code: &str) -> String {
    json!({"error": {"message": message, "type": "t", "param": null, "code": code}}).to_string()
}

fn start(models: &[(&str, &[&str])], more: &str) -> Gateway {
    tests::setup!().models(in_order(models)).routing(logged(more)).start()
}

/// The state of a deployment of a model, and its reason.
async fn state(gateway: &Gateway, model: &str, name: &str) -> (String, String) {
    let routing = gateway.routing().await;
    let deployments = routing["models"][model]["deployments"].as_array().expect("a list");
    let shown = deployments.iter().find(|d| d["name"] == name).expect("a known name");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&shown["state"]), text(&shown["reason"]))
}

/// Waits until a deployment is in a state. Returns the reason.
async fn becomes(gateway: &Gateway, model: &str, name: &str, want: &str) -> String {
    eventually(&format!("{name} is {want}"), async || {
        let (state, reason) = state(gateway, model, name).await;
        (state == want).then_some(reason)
    })
    .await
}

/// An upstream that refuses requests whose text has `bad`, and answers all others.
fn picky(status: u16, refusal: String) -> Raw {
    Raw::start(move |received, wire| match received.text().contains("bad") {
        true => wire.answer(status, &refusal),
        false => wire.answer(200, ANSWER),
    })
}

/// The rows that lead to the next deployment: status, body, and the outcome of the attempt.
fn that_fall_back() -> Vec<(u16, String, &'static str)> {
    let plain = || error("no", "");
    vec![
        (403, plain(), "refused_403"),
        (402, plain(), "refused_402"),
        (429, error("You exceeded your current quota", "insufficient_quota"), "refused_429"),
        (401, error("mismatched", "mismatched_organization"), "refused_401"),
        (401, plain(), "credential_401"),
        (407, plain(), "credential_407"),
        (403, error("no permission", "permission_denied"), "credential_403"),
        (400, error("API key not valid. Please pass a valid API key.", ""), "credential_400"),
        (404, error("The model `r8` does not exist.", ""), "no_model"),
        (400, error("r9 is not a valid model ID", ""), "no_model"),
        (404, error("gone", "model_not_found"), "no_model"),
        (404, json!({"detail": "Not Found"}).to_string(), "no_endpoint_404"),
        (405, plain(), "no_endpoint_405"),
        (501, plain(), "no_endpoint_501"),
        (505, plain(), "no_endpoint_505"),
        (408, plain(), "status_408"),
        (409, plain(), "status_409"),
        (424, plain(), "status_424"),
        (425, plain(), "status_425"),
        (499, plain(), "status_499"),
        (429, plain(), "status_429"),
        (503, plain(), "status_503"),
        (529, plain(), "status_529"),
        (498, plain(), "status_498"),
        (500, error("Overloaded", "overloaded_error"), "overloaded"),
        (500, plain(), "status_500"),
        (302, plain(), "status_302"),
        // Errors in an answer of status 200.
        (
            200,
            r#"[{"error":{"code":429,"message":"no","status":"RESOURCE_EXHAUSTED"}}]"#.into(),
            "status_429",
        ),
        (200, r#"{"error":{"code":503,"message":"no"}}"#.into(), "status_503"),
        (200, r#"{"error":{"code":401,"message":"no"}}"#.into(), "credential_401"),
        (200, r#"{"error":{"code":402,"message":"no"}}"#.into(), "refused_402"),
        (200, r#"{"error":{"code":"403","message":"no"}}"#.into(), "refused_403"),
        (200, r#"{"error":{"code":502,"message":"no"}}"#.into(), "error_in_body"),
        (
            200,
            r#"{"choices":[{"finish_reason":"error","error":{"code":503,"message":"no"}}]}"#.into(),
            "status_503",
        ),
        (200, r#"{"success":false,"code":503,"msg":"no"}"#.into(), "status_503"),
        (
            200,
            r#"{"base_resp":{"status_code":1008,"status_msg":"insufficient balance"}}"#.into(),
            "refused_402",
        ),
    ]
}

#[tokio::test]
async fn rows_that_fall_back_and_whom_they_charge() {
    let rows = that_fall_back();
    let good = Engine::start("good");
    let raws: Vec<Raw> =
        rows.iter().map(|(status, body, _)| Raw::answering(*status, body)).collect();
    let (ids, urls): (Vec<String>, Vec<String>) =
        raws.iter().enumerate().map(|(n, raw)| (format!("r{n}"), raw.url())).unzip();
    let good = good.url();
    let routes: Vec<[&str; 2]> = urls.iter().map(|url| [url.as_str(), &good]).collect();
    let models: Vec<(&str, &[&str])> =
        ids.iter().zip(&routes).map(|(id, urls)| (id.as_str(), &urls[..])).collect();
    let gateway = start(&models, "");
    for (id, (status, body, outcome)) in ids.iter().zip(&rows) {
        let reply = ask(&gateway, id, "a").await;
        assert_eq!(
            (reply.status, reply.engine()),
            (200, "good"),
            "{status} {body}: {}",
            reply.text()
        );
        let want = [("first".into(), (*outcome).into()), ("second".into(), "ok".into())];
        assert_eq!(gateway.attempts(&reply).await, want, "{status} {body}");
        let labels = [("model", id.as_str()), ("deployment", "first")];
        let charged = gateway.metric("gateway_deployment_error_rate", &labels).await > Some(0.0);
        let failures = ["status_500", "status_302", "error_in_body"];
        if failures.contains(outcome) {
            assert!(charged, "{status} {body}");
        } else if !["status_503", "status_429", "status_529", "status_498", "overloaded"]
            .contains(outcome)
        {
            assert!(!charged, "{status} {body}");
        }
    }
}

#[tokio::test]
async fn a_wrong_request_is_told_in_the_engines_words() {
    let good = Engine::start("good");
    let refusal = error("messages must not be empty", "");
    let raws = [400, 413, 415, 422, 451].map(|status| (status, Raw::answering(status, &refusal)));
    let named = Raw::answering(404, &error("Previous response with id 'resp_12' not found.", ""));
    for (status, raw) in &raws {
        let gateway = start(&[("m", &[&raw.url(), &good.url()])], "");
        for _ in 0..3 {
            let reply = ask(&gateway, "m", "a").await;
            assert_eq!((reply.status, reply.text()), (*status, refusal.clone()));
            let record = gateway.record(reply.header("x-request-id")).await;
            assert_eq!(
                (&record["outcome"], &record["deployment"]),
                (&json!("rejected"), &json!("first"))
            );
            assert_eq!(gateway.attempts(&reply).await, [("first".into(), "rejected".into())]);
        }
        let of_first = [("deployment", "first")];
        let samples = gateway.metric("gateway_first_byte_seconds_count", &of_first).await;
        assert_eq!(samples.unwrap_or(0.0), 0.0, "no sample of latency");
        assert_eq!(gateway.metric("gateway_deployment_error_rate", &of_first).await, Some(0.0));
    }
    // In an answer of status 200, by a number alone.
    let rejecting = Raw::answering(200, r#"{"object":"error","message":"no","code":400}"#);
    let gateway = start(&[("m", &[&rejecting.url(), &good.url()])], "");
    let reply = ask(&gateway, "m", "a").await;
    assert_eq!((reply.status, &reply.error()["code"]), (400, &json!("request_rejected")));
    assert_eq!(reply.error()["message"], "no");
    let gateway = start(&[("m", &[&named.url(), &good.url()])], "");
    let asked = json!({"model": "m", "input": "a", "previous_response_id": "resp_12"}).to_string();
    let reply = gateway.post("/v1/responses", asked).await;
    assert_eq!(reply.status, 404, "it names what the client named: {}", reply.text());
    assert_eq!(good.requests().await, 0);
}

#[tokio::test]
async fn one_request_takes_a_deployment_from_nobody() {
    let good = Engine::start("good");
    for (status, refusal) in [
        (401, error("bad", "")),
        (403, error("flagged", "")),
        (402, error("too dear", "")),
        (404, error("The model `m` does not exist.", "")),
        (501, error("no", "")),
    ] {
        let first = picky(status, refusal);
        let gateway = start(&[("m", &[&first.url(), &good.url()])], "");
        for _ in 0..20 {
            assert_eq!(ask(&gateway, "m", "bad").await.engine(), "good");
        }
        assert_eq!(state(&gateway, "m", "first").await.0, "healthy", "{status}");
        assert_eq!(ask(&gateway, "m", "well").await.text(), ANSWER, "{status}");
        // Different bad requests, with others answered in between.
        for n in 0..20 {
            assert_eq!(ask(&gateway, "m", &format!("bad {n}")).await.engine(), "good");
            assert_eq!(ask(&gateway, "m", "well").await.text(), ANSWER, "{status}");
        }
    }
}

#[tokio::test]
async fn different_requests_take_a_deployment_out() {
    let good = Engine::start("good");
    for (status, refusal, condition, needed, reason) in [
        (
            401,
            error("no", ""),
            "credential",
            2,
            "answered 401: it wants an api_key, and none is configured",
        ),
        (
            404,
            error("The model `m` does not exist.", ""),
            "misconfigured",
            2,
            "answered 404: it does not have the model `m`",
        ),
        (
            403,
            error("no", ""),
            "refused",
            5,
            "answered 403: it refused several different requests in a row",
        ),
    ] {
        let first = Raw::answering(status, &refusal);
        let gateway = start(&[("m", &[&first.url(), &good.url()])], "");
        for n in 0..needed {
            assert_eq!(ask(&gateway, "m", &n.to_string()).await.engine(), "good");
        }
        assert_eq!(becomes(&gateway, "m", "first", condition).await, reason);
        for n in 0..10 {
            assert_eq!(ask(&gateway, "m", &n.to_string()).await.engine(), "good");
        }
        assert_eq!(first.received().len(), needed, "{condition}");
        assert_eq!(gateway.log().matches(reason).count(), 1, "{}", gateway.log());
    }
}

#[tokio::test]
async fn a_missing_endpoint_is_missing_alone() {
    let good = Engine::start("good");
    let llama = Raw::start(|received: &Received, wire| match received.path.as_str() {
        "/v1/embeddings" => wire.answer(501, &error("This server does not support embeddings", "")),
        _ => wire.answer(200, ANSWER),
    });
    let gateway = start(&[("m", &[&llama.url(), &good.url()])], "");
    let embed = async |text: &str| {
        gateway.post("/v1/embeddings", json!({"model": "m", "input": text}).to_string()).await
    };
    let asked = || llama.received().iter().filter(|r| r.path == "/v1/embeddings").count();
    for n in 0..10 {
        assert_eq!(embed(&n.to_string()).await.engine(), "good");
        assert_eq!(ask(&gateway, "m", &n.to_string()).await.text(), ANSWER);
    }
    assert_eq!(asked(), 2, "it is skipped for embeddings after two different requests");
    assert_eq!(state(&gateway, "m", "first").await.0, "healthy");
    // Where nobody has it, the engine's own words are told.
    let alone = start(&[("m", &[&llama.url()])], "");
    for n in 0..4 {
        let input = json!({"model": "m", "input": n.to_string()}).to_string();
        let reply = alone.post("/v1/embeddings", input).await;
        assert_eq!(
            (reply.status, &reply.error()["message"]),
            (501, &json!("This server does not support embeddings"))
        );
    }
}

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

#[tokio::test]
async fn the_last_engines_words_reach_the_client() {
    let key = "sk-0123456789abcdefghijklmnop";
    let dead = Raw::answering(500, &error(&format!("CUDA out of memory at {key}"), "oom"));
    let poor = Raw::answering(429, &error("You exceeded your current quota", "insufficient_quota"));
    let barred =
        Raw::answering(401, &error("Incorrect API key provided: sk-abc", "invalid_api_key"));
    let lost = Raw::answering(404, &error("The model `lost` does not exist. Try ours!", ""));
    let down = Port::take();
    let limited = Raw::start(|_, wire| {
        wire.send("HTTP/1.1 429 X\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n");
    });
    let [dead, poor, barred, lost, limited] =
        [&dead, &poor, &barred, &lost, &limited].map(Raw::url);
    let down = down.url();
    let models: &[(&str, &[&str])] = &[
        ("dead", &[&dead, &down]),
        ("poor", &[&poor, &down]),
        ("barred", &[&barred]),
        ("lost", &[&lost]),
        ("limited", &[&limited, &dead]),
    ];
    let models = in_order(models).replace("name: first,", &format!("name: first, api_key: {key},"));
    let gateway = tests::setup!().models(models).routing(logged("")).start();
    for (model, status, code, says, never) in [
        ("dead", 502, "oom", "CUDA out of memory", key),
        ("poor", 429, "insufficient_quota", "You exceeded your current quota", "no deployment"),
        ("barred", 502, "no_deployment_answered", "did not accept", "Incorrect"),
        ("lost", 404, "model_not_found", "it does not have the model", "Try ours"),
        ("limited", 429, "rate_limit_exceeded", "answered 429", "insufficient_quota"),
    ] {
        let reply = ask(&gateway, model, "a").await;
        let error = reply.error();
        assert_eq!((reply.status, &error["code"]), (status, &json!(code)), "{model}: {error}");
        let wait = if model == "limited" { "7" } else { "" };
        assert_eq!(reply.header("retry-after"), wait, "{model}");
        let text = reply.text();
        assert!(text.contains(says) && !text.contains(never), "{model}: {text}");
    }
}

#[tokio::test]
async fn a_poison_request_ejects_nobody() {
    let broken = Arc::new(AtomicBool::new(false));
    let engine = || {
        let broken = Arc::clone(&broken);
        Raw::start(move |received, wire| {
            match broken.load(SeqCst) || received.text().contains("poison") {
                true => wire.answer(500, &error("CUDA error: device-side assert", "")),
                false => wire.answer(200, ANSWER),
            }
        })
    };
    let (first, second) = (engine(), engine());
    let models = tests::one_model(&[&first.url(), &second.url()]);
    let models = models.replacen("- base", "- name: first\n        base", 1);
    let models = models.replacen("- base", "- name: second\n        base", 1);
    let routing = logged("ejection: {consecutive: 3}");
    let gateway = tests::setup!().models(models).routing(routing).start();
    let answered = |raw: &Raw| raw.received().iter().any(|r| !r.text().contains("poison"));
    let mut n = 0;
    while !(answered(&first) && answered(&second)) {
        n += 1;
        assert_eq!(ask(&gateway, "m", &n.to_string()).await.status, 200);
    }
    for _ in 0..20 {
        let reply = ask(&gateway, "m", "poison").await;
        assert_eq!(reply.status, 502);
        assert!(reply.text().contains("device-side assert"), "{}", reply.text());
    }
    for name in ["first", "second"] {
        assert_eq!(state(&gateway, "m", name).await.0, "healthy");
        let labels = [("deployment", name)];
        assert_eq!(gateway.metric("gateway_deployment_error_rate", &labels).await, Some(0.0));
    }
    // Engines that fail at every request are ejected all the same.
    broken.store(true, SeqCst);
    eventually("one is ejected", async || {
        n += 1;
        ask(&gateway, "m", &n.to_string()).await;
        let first = state(&gateway, "m", "first").await.0;
        let second = state(&gateway, "m", "second").await.0;
        [first, second].contains(&"ejected".to_owned()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn each_kind_of_failure_is_one_line_a_minute() {
    let (down, good) = (Port::take(), Engine::start("good"));
    let plain = good.url().replace("http:", "https:");
    let models: &[(&str, &[&str])] =
        &[("refused", &[&down.url(), &good.url()]), ("plain", &[&plain, &good.url()])];
    let gateway = start(models, "ejection: {consecutive: 0, percent: 0}");
    for n in 0..10 {
        for model in ["refused", "plain"] {
            assert_eq!(ask(&gateway, model, &n.to_string()).await.engine(), "good");
        }
    }
    let log = gateway.log();
    let lines = |kind: &str| {
        log.lines()
            .filter(|l| l.contains("an attempt failed") && l.contains(kind))
            .collect::<Vec<_>>()
    };
    let (refused, plain) = (lines("\"connect\""), lines("\"tls\""));
    assert_eq!((refused.len(), plain.len()), (1, 1), "{log}");
    assert!(refused[0].contains("Connection refused") && refused[0].contains("127.0.0.1"), "{log}");
    assert!(refused[0].contains("WARN") && plain[0].contains("plain"), "{log}");
    assert!(!log.contains("/v1/chat"), "no path: {log}");
}
