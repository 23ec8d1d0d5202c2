//! Streams: each chunk is forwarded unchanged before the next arrives, a broken stream is visibly
//! broken, and a client that leaves cancels its upstream request.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use tests::{DEADLINE, Engine, Gate, Gateway, Raw, Received, Reply, Step, Wire, eventually};
use tests::{in_order, let_pass, logged};

/// An upstream with one script for each model.
fn scripted(scripts: Vec<(&'static str, Vec<Step>)>) -> Raw {
    Raw::start(move |received: &Received, wire: &mut Wire| {
        let body: Value = serde_json::from_slice(&received.body).expect("JSON");
        let script = scripts.iter().find(|(model, _)| body["model"] == *model);
        script.expect("a scripted model").1.iter().for_each(|step| wire.step(step));
    })
}

fn start(models: &[&str], urls: &[&str], more: &str) -> Gateway {
    let models: Vec<_> = models.iter().map(|model| (*model, urls)).collect();
    tests::setup!().models(in_order(&models)).routing(logged(more)).start()
}

#[tokio::test]
async fn chunk_reaches_client_before_the_next_is_sent() {
    let gates = [Gate::default(), Gate::default()];
    let raw = Raw::steps(vec![
        Step::stream(),
        Step::chunk("data: {\"model\":\"up\"}\n\n"),
        Step::Wait(gates[0].clone()),
        Step::chunk("data: 2"),
        Step::Wait(gates[1].clone()),
        Step::chunk("\n\n"),
        Step::chunk(""),
    ]);
    // The model `m` is renamed, so the gateway searches its stream for the name.
    let url = raw.url();
    let gateway = tests::setup!()
        .models(format!(
            "models:\n  - {{id: up, base_url: '{url}'}}\n  - {{id: m, base_url: '{url}', provider_model_id: up}}\n"
        ))
        .start();
    let mut answer = gateway.stream("m").await.expect("an answer");
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    assert_eq!(answer.chunk().await.expect("a chunk").expect("one"), "data: {\"model\":\"m\"}\n\n");
    gates[0].open();
    assert_eq!(answer.chunk().await.expect("a chunk").expect("one"), "data: 2");
    gates[1].open();
    assert_eq!(answer.chunk().await.expect("a chunk").expect("one"), "\n\n");
    assert_eq!(answer.chunk().await.expect("the end"), None);
    // The same without renaming; the gates are open now.
    let plain = Reply::read(gateway.stream("up").await.expect("an answer")).await.expect("whole");
    assert_eq!(plain.text(), "data: {\"model\":\"up\"}\n\ndata: 2\n\n");
}

#[tokio::test]
async fn bytes_pass_unchanged_however_they_are_cut() {
    let text = ": ping\r\n\r\nevent: delta\r\ndata: {\"c\":\"größe 森 🦀\"}\r\n\r\n\
        data:{\"model\" : \"other\"}\n\ndata: {\"usage\": null}\n\ndata: [DONE]\n\nid: 1\nretry: 10\n\n\0 no end"
        .as_bytes();
    let stream = |size: usize, end: &str| {
        let chunks = text.chunks(size).map(Step::chunk);
        let end = Step::send(&format!("0\r\n{end}\r\n"));
        [Step::stream()].into_iter().chain(chunks).chain([end]).collect::<Vec<_>>()
    };
    let length = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", text.len());
    let raw = scripted(vec![
        ("bytes", stream(1, "")),
        ("sevens", stream(7, "")),
        ("whole", stream(text.len(), "x-trailer: yes\r\n")),
        ("length", vec![Step::send(&length), Step::Send(text.to_vec())]),
        (
            "until-closed",
            vec![Step::send("HTTP/1.1 200 OK\r\n\r\n"), Step::Send(text.to_vec()), Step::Close],
        ),
    ]);
    let models = ["bytes", "sevens", "whole", "length", "until-closed"];
    let gateway = start(&models, &[&raw.url()], "");
    for model in models {
        let answer = gateway.stream(model).await.expect("an answer");
        let reply = Reply::read(answer).await.expect("a whole answer");
        assert_eq!(reply.body, text, "{model}: {}", reply.text());
        let record = gateway.record(reply.header("x-request-id")).await;
        assert_eq!((&record["outcome"], &record["stream"]), (&json!("ok"), &json!(true)));
        assert_eq!(record["response_bytes"], text.len());
    }
}

/// The raw bytes of the response to a streamed chat request, up to the end of the connection.
fn by_hand(gateway: &Gateway, model: &str) -> String {
    let mut stream = send(gateway, model, true);
    let mut text = Vec::new();
    // It may end by a reset or by a close.
    let _ = stream.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn send(gateway: &Gateway, model: &str, stream: bool) -> TcpStream {
    let body = json!({"model": model, "stream": stream, "messages": []}).to_string();
    let mut socket = TcpStream::connect(gateway.address()).expect("the gateway listens");
    socket.set_read_timeout(Some(DEADLINE)).expect("an option of every system");
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nx-request-id: {model}-{stream}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all((head + &body).as_bytes()).expect("a request");
    socket
}

/// Checks that each of these streams visibly breaks after `data: 1`, and that no other deployment
/// continues it.
async fn breaks_off(gateway: &Gateway, other: &Engine, begun: &Gate, cases: &[(&str, &str)]) {
    for (model, outcome) in cases {
        let mut answer = gateway.stream(model).await.expect("an answer");
        assert_eq!(answer.status().as_u16(), 200);
        let id = answer.headers()["x-request-id"].to_str().expect("text").to_owned();
        let mut text = Vec::new();
        let end = loop {
            match answer.chunk().await {
                Ok(Some(chunk)) => {
                    text.extend_from_slice(&chunk);
                    begun.open();
                }
                end => break end,
            }
        };
        assert!(end.is_err(), "{model}: a broken answer must not end cleanly");
        assert!(text.starts_with(b"data: 1"), "{model}: what had come is passed on");
        let record = gateway.record(&id).await;
        assert_eq!(record["outcome"], "broken", "{model}");
        assert_eq!(tests::outcomes(&record), [("first".into(), (*outcome).into())], "{model}");
        let told = String::from_utf8_lossy(&text).into_owned();
        let error = format!("\"code\":\"{outcome}\"");
        assert!(told.contains("data: {\"error\":") && told.contains(&error), "{model}: {told}");
        assert!(!told.contains("[DONE]") && !told.contains("finish_reason"), "{model}: {told}");
        assert_eq!((&record["status"], &record["deployment"]), (&json!(200), &json!("first")));

        let seen = by_hand(gateway, model);
        assert!(seen.contains("data: 1"), "{model}: {seen}");
        let whole = seen.contains("transfer-encoding: chunked") && seen.ends_with("0\r\n\r\n");
        assert!(!whole, "{model}: {seen}");
        let first = [("model", *model), ("deployment", "first")];
        let rate = gateway.metric("gateway_deployment_error_rate", &first).await;
        // The total time-out of a stream is not charged to the deployment.
        assert_eq!(rate > Some(0.0), *outcome != "timeout_total", "{model}: {rate:?}");
    }
    assert_eq!(other.requests().await, 0, "nothing falls back after the first byte");
}

#[tokio::test]
async fn broken_stream_is_visible_and_never_spliced() {
    let gate = Gate::default();
    let begun = [Step::stream(), Step::chunk("data: 1\n\n"), Step::Wait(gate.clone())];
    let then = |steps: &[Step]| [&begun[..], steps].concat();
    let short = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 100\r\n\r\n";
    let short = [Step::send(short), Step::send("data: 1\n\n"), Step::Wait(gate.clone())];
    let raw = scripted(vec![
        ("reset", then(&[Step::Reset])),
        ("closed", then(&[Step::Close])),
        ("cut", then(&[Step::send("ff\r\ndata: 2"), Step::Close])),
        ("garbage", then(&[Step::send("zz\r\ndata: 2\r\n"), Step::Close])),
        ("short", [&short[..], &[Step::Close]].concat()),
        ("idle", then(&[Step::Hang])),
    ]);
    let other = Engine::start("other");
    let cases = [
        ("reset", "truncated"),
        ("closed", "truncated"),
        ("cut", "truncated"),
        ("garbage", "protocol"),
        ("short", "truncated"),
        ("idle", "timeout_idle"),
    ];
    let urls = [raw.url(), other.url()];
    let models = cases.map(|(model, _)| (model, [urls[0].as_str(), urls[1].as_str()]));
    let models = in_order(&models.each_ref().map(|(model, urls)| (*model, &urls[..])));
    let limit = "  - id: idle\n    timeouts: {idle: 0.5}\n";
    let models = models.replace("  - id: idle\n", limit);
    let gateway = tests::setup!().models(models).routing(logged("")).start();
    breaks_off(&gateway, &other, &gate, &cases).await;
    eventually("idle upstreams are let go", async || (raw.hung_up() == 2).then_some(())).await;
}

#[tokio::test]
async fn endless_stream_breaks_at_the_total_timeout() {
    let endless = Raw::start(|_, wire| {
        wire.step(&Step::stream());
        wire.step(&Step::chunk("data: 1\n\n"));
        for _ in 0..100 {
            wire.step(&Step::Pause(Duration::from_millis(50)));
            wire.step(&Step::chunk(": still here\n\n"));
        }
        wire.step(&Step::chunk(""));
    });
    let other = Engine::start("other");
    let gateway = start(&["m"], &[&endless.url(), &other.url()], "timeouts: {total: 1.5}");
    breaks_off(&gateway, &other, &Gate::default(), &[("m", "timeout_total")]).await;
}

#[tokio::test]
async fn slow_reader_does_not_make_its_upstream_idle() {
    // More than all socket buffers hold, so that the gateway has to wait for the client.
    let size = 24 << 20;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    let head = format!("{head}content-length: {size}\r\n\r\n");
    let body = format!("[\"{}\"]", "x".repeat(size - 4));
    let raw = Raw::steps(vec![Step::send(&head), Step::send(&body)]);
    let gateway = start(&["m"], &[&raw.url()], "timeouts: {idle: 1}");
    let mut socket = send(&gateway, "m", true);
    let mut text = vec![0; 64];
    socket.read_exact(&mut text).expect("the answer begins");
    // Longer than an upstream may be idle.
    let_pass(Duration::from_millis(1500)).await;
    let end = tokio::task::spawn_blocking(move || {
        let mut seen = 64;
        let mut chunk = vec![0; 1 << 16];
        while seen < size {
            match socket.read(&mut chunk).expect("the rest of the answer") {
                0 => break,
                read => seen += read,
            }
        }
        seen
    });
    assert!(end.await.expect("no panic") >= size, "the answer breaks off");
    assert_eq!(gateway.record("m-true").await["outcome"], "ok");
}

#[tokio::test]
async fn a_client_that_leaves_cancels_its_upstream_request() {
    let part = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"part\":";
    let raw = scripted(vec![
        ("before", vec![Step::Hang]),
        ("head", vec![Step::stream(), Step::Hang]),
        ("streamed", vec![Step::stream(), Step::chunk("data: 1\n\n"), Step::Hang]),
        ("plain", vec![Step::send(part), Step::Hang]),
    ]);
    let other = Engine::start("other");
    let models = ["before", "head", "streamed", "plain"];
    let gateway = start(&models, &[&raw.url(), &other.url()], "");
    let mut left = 0;
    for (model, begun) in [("before", false), ("head", false), ("streamed", true), ("plain", false)]
    {
        for stream in [true, false] {
            let mut socket = send(&gateway, model, stream);
            eventually("the request arrives", async || (raw.received().len() > left).then_some(()))
                .await;
            if begun {
                socket.read_exact(&mut [0; 16]).expect("the answer begins");
            }
            drop(socket);
            left += 1;
            eventually("the upstream request is cancelled", async || {
                (raw.hung_up() == left).then_some(())
            })
            .await;
            let record = gateway.record(&format!("{model}-{stream}")).await;
            assert_eq!(record["outcome"], "cancelled", "{record}");
            assert_eq!(record["status"], if begun { 200 } else { 499 }, "{record}");
            assert_eq!(tests::outcomes(&record), [("first".into(), "cancelled".into())]);
        }
    }
    assert_eq!(other.requests().await, 0, "nobody is asked for a client that is gone");
    gateway.is_idle().await;
    let rate = gateway.metric("gateway_deployment_error_rate", &[]).await;
    assert_eq!(rate, Some(0.0), "no deployment is charged for it");
}

const RENAMED: &str = "\
models:
  - id: asked
    aliases: [also-asked]
    route: [{base_url: URL, provider_model_id: meta/up}]
  - {id: same, aliases: [also-same], base_url: URL}
";

/// An answer that names the model it was asked for, in pieces of `size` bytes.
fn naming(size: usize) -> Raw {
    Raw::start(move |received, wire| {
        let body: Value = serde_json::from_slice(&received.body).expect("JSON");
        let text = format!(
            "{{\"id\":1,\"model\": {0},\"c\":\"\\\"model\\\":\\\"meta/up\\\"\",\"d\":{{\"model\":{0}}}}}",
            body["model"]
        );
        if body["stream"] == true {
            let text = format!("data: {text}\n\n");
            wire.step(&Step::stream());
            text.as_bytes().chunks(size).for_each(|piece| wire.step(&Step::chunk(piece)));
            wire.step(&Step::chunk(""));
        } else {
            wire.answer(200, &text);
        }
    })
}

#[tokio::test]
async fn each_side_sees_its_own_model_name() {
    for size in [1, 5, 1000] {
        let raw = naming(size);
        let gateway = tests::setup!().models(RENAMED.replace("URL", &raw.url())).start();
        for (asked, sent) in [
            ("asked", "meta/up"),
            ("also-asked", "meta/up"),
            ("same", "same"),
            ("also-same", "same"),
        ] {
            let streamed = gateway.stream(asked).await.expect("an answer");
            let streamed = Reply::read(streamed).await.expect("a whole answer");
            let want = format!(
                "{{\"id\":1,\"model\": \"{asked}\",\"c\":\"\\\"model\\\":\\\"meta/up\\\"\",\"d\":{{\"model\":\"{asked}\"}}}}"
            );
            assert_eq!(gateway.chat(asked).await.text(), want, "{asked}");
            let want = format!("data: {want}\n\n");
            assert_eq!(streamed.text(), want, "{asked}, in pieces of {size}");
            let received: Value = serde_json::from_slice(&raw.last().body).expect("JSON");
            assert_eq!(received["model"], sent);
        }
    }
}

#[tokio::test]
async fn only_the_models_name_changes_in_the_request() {
    let raw = Raw::answering(200, "{}");
    let gateway = tests::setup!().models(RENAMED.replace("URL", &raw.url())).start();
    let body = |model: &str| {
        format!(
            "{{ \"x\":{{\"model\":\"asked\"}},\r\n\t\"model\" : \"{model}\" ,\"unknown\":[1.50,1e3,\"\\u00e9\"] }} "
        )
    };
    for path in ["chat/completions", "completions", "embeddings", "responses", "rerank"] {
        let path = format!("/v1/{path}");
        let reply = gateway.post(&path, body("asked")).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let last = raw.last();
        assert_eq!((last.path.as_str(), last.text()), (path.as_str(), body("meta/up")));
        gateway.post(&path, body("same")).await;
        assert_eq!(raw.last().text(), body("same"));
    }
}
