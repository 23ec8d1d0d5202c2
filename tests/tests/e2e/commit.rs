//! The commit point: a failure before the first content falls back unseen, a failure after it is
//! told to the client.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tests::{DEADLINE, Engine, Gate, Gateway, Port, Raw, Reply, Step, in_order, logged};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

const ROLE: &str = r#"data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#;
const TEXT: &str = r#"data: {"choices":[{"index":0,"delta":{"content":"from the first"}}]}"#;
const ERROR: &str = r#"data: {"error":{"message":"engine core died","code":500}}"#;

/// The head of a plain answer in chunks.
const PLAIN: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";

/// A stream of these events, in chunks, whole as HTTP.
fn stream(events: &[&str]) -> Vec<Step> {
    let chunks = events.iter().map(|event| Step::chunk(format!("{event}\n\n")));
    [Step::stream()].into_iter().chain(chunks).chain([Step::send("0\r\n\r\n")]).collect()
}

/// One body of JSON.
fn body(text: &str) -> Vec<Step> {
    let length = text.len();
    vec![Step::send(&format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{text}"
    ))]
}

fn start(first: &Raw, second: &Engine) -> Gateway {
    start_with("", first, second)
}

/// A gateway whose first deployment has these settings.
fn start_with(settings: &str, first: &Raw, second: &Engine) -> Gateway {
    let models = in_order(&[("m", &[&first.url(), &second.url()])]);
    let models = models.replace("name: first,", &format!("name: first, {settings}"));
    tests::setup!().models(models).routing(logged("")).start()
}

async fn streamed(gateway: &Gateway) -> Reply {
    Reply::read(gateway.stream("m").await.expect("an answer")).await.expect("a whole answer")
}

#[tokio::test]
async fn stream_failing_before_content_falls_back_unseen() {
    let keep_alives = [ROLE, ": wait", ": wait"];
    let cases = [
        ("error first", stream(&[ERROR]), "error_in_body"),
        ("error after the role", stream(&[": hi", ROLE, ERROR]), "error_in_body"),
        ("named error", stream(&["event: error\ndata: no"]), "error_in_body"),
        ("nothing", stream(&[]), "empty"),
        ("a role alone", stream(&[ROLE]), "empty"),
        (
            "cut after the role",
            [Step::stream(), Step::chunk(ROLE), Step::Reset].to_vec(),
            "truncated",
        ),
        (
            "keep-alives for ever",
            [&stream(&keep_alives)[..4], &[Step::Hang]].concat(),
            "timeout_first_byte",
        ),
    ];
    let second = Engine::start("second");
    for (what, steps, cause) in cases {
        let first = Raw::steps(steps);
        let late = if cause == "timeout_first_byte" { "timeouts: {first_byte: 0.5}," } else { "" };
        let gateway = start_with(late, &first, &second);
        let reply = streamed(&gateway).await;
        assert_eq!((reply.status, reply.engine()), (200, "second"), "{what}: {}", reply.text());
        assert!(!reply.text().contains("first") && reply.text().contains("[DONE]"), "{what}");
        let attempts = [("first".into(), cause.into()), ("second".into(), "ok".into())];
        assert_eq!(gateway.attempts(&reply).await, attempts, "{what}");
    }
}

#[tokio::test]
async fn half_a_plain_answer_is_never_sent() {
    let long = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"choices\":[";
    let open = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{\"choices\":[";
    let cases = [
        ("cut", vec![Step::send(long), Step::Close], "truncated"),
        ("cut without a length", vec![Step::send(open), Step::Close], "truncated"),
        ("vLLM's error", body(r#"{"object":"error","message":"oom","code":500}"#), "error_in_body"),
        ("OpenAI's error", body(r#"{"error":{"message":"oom"}}"#), "error_in_body"),
        ("nothing", body(""), "empty"),
    ];
    let second = Engine::start("second");
    for (what, steps, cause) in cases {
        let first = Raw::steps(steps);
        let gateway = start(&first, &second);
        let reply = gateway.chat("m").await;
        assert_eq!((reply.status, reply.engine()), (200, "second"), "{what}: {}", reply.text());
        let attempts = [("first".into(), cause.into()), ("second".into(), "ok".into())];
        assert_eq!(gateway.attempts(&reply).await, attempts, "{what}");
    }
}

#[tokio::test]
async fn error_after_commit_is_told_once_and_redacted() {
    let gate = Gate::default();
    let first = Raw::start({
        let gate = gate.clone();
        move |_, wire| {
            for step in
                [Step::stream(), Step::chunk(format!("{TEXT}\n\n")), Step::Wait(gate.clone())]
            {
                wire.step(&step);
            }
            let at = wire.address();
            let told = format!("lost http://{at}/v1, 10.9.8.7:80 and https://node.internal/v1");
            let error = json!({"error": {"message": told}});
            let (start, rest) = (format!("data: {error}"), "\n\ndata: [DONE]\n\n");
            // The first chunk has the addresses and not the end of the event.
            wire.step(&Step::chunk(&start[..start.len() - 3]));
            wire.step(&Step::Pause(Duration::from_millis(20)));
            wire.step(&Step::chunk(start[start.len() - 3..].to_owned() + rest));
            wire.step(&Step::send("0\r\n\r\n"));
        }
    });
    let second = Engine::start("second");
    let gateway = start(&first, &second);
    let mut answer = gateway.stream("m").await.expect("an answer");
    let mut text = Vec::new();
    let end = loop {
        match answer.chunk().await {
            Ok(Some(chunk)) => {
                text.extend_from_slice(&chunk);
                gate.open();
            }
            end => break end,
        }
    };
    let text = String::from_utf8(text).expect("text");
    assert!(end.is_err(), "it must not end cleanly: {text}");
    let (content, told) = text.split_once("\n\n").expect("two events");
    assert_eq!(content, TEXT);
    let told = told.strip_prefix("data: ").and_then(|told| told.strip_suffix("\n\n"));
    let told: serde_json::Value = serde_json::from_str(told.expect("one event")).expect("JSON");
    assert_eq!(told["error"]["code"], "error_in_body");
    let message = told["error"]["message"].as_str().expect("a message");
    assert!(message.ends_with(": lost [redacted], [redacted] and [redacted]"), "{message}");
    assert_eq!(second.requests().await, 0, "the text of two engines is never joined");
}

#[tokio::test]
async fn client_error_inside_a_200_becomes_400() {
    let fault = r#"{"error":{"message":"too many tokens","type":"BadRequestError","code":400}}"#;
    let (first, second) = (Raw::steps(body(fault)), Raw::steps(body(fault)));
    let models = in_order(&[("m", &[&first.url(), &second.url()])]);
    let gateway = tests::setup!().models(models).routing(logged("")).start();
    let reply = gateway.chat("m").await;
    let error = reply.error();
    assert_eq!((reply.status, &error["message"]), (400, &json!("too many tokens")));
    assert_eq!(reply.header("x-should-retry"), "false");
    assert_eq!(gateway.metric("gateway_deployment_error_rate", &[]).await, Some(0.0));
}

#[tokio::test]
async fn ambiguous_request_is_repeated_once_responses_never() {
    let lost = || Raw::steps(vec![Step::Reset]);
    let lost = [lost(), lost(), lost()];
    let urls = lost.each_ref().map(Raw::url);
    let models = in_order(&[("m", &urls.each_ref().map(String::as_str))]);
    let start = |more| tests::setup!().models(&models).routing(logged(more)).start();
    let asked = || lost.iter().map(|raw| raw.received().len()).sum::<usize>();
    let chat = start("").chat("m").await;
    assert_eq!((chat.status, asked()), (502, 2), "{}", chat.text());
    assert_eq!(chat.header("x-should-retry"), "false");
    let never = start("fallback: {ambiguous: never}").chat("m").await;
    assert_eq!((never.status, asked()), (502, 3), "{}", never.text());
    let body = json!({"model": "m", "input": "hi"}).to_string();
    let responses = start("").post("/v1/responses", body).await;
    assert_eq!((responses.status, asked()), (502, 4), "{}", responses.text());
}

/// Accepts one connection and answers its first request. Closes the port and the connection when
/// the second request has come.
async fn dying(port: &Port) {
    let listener = port.listen();
    let (mut stream, _) = listener.accept().await.expect("a connection");
    for answer in ["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", ""] {
        let mut request = Vec::new();
        while !request.ends_with(b"}") {
            assert_ne!(stream.read_buf(&mut request).await.expect("a request"), 0);
        }
        stream.write_all(answer.as_bytes()).await.expect("the gateway reads");
    }
    // The port closes first, so that no new connection is accepted in between.
    drop(listener);
}

#[tokio::test]
async fn request_lost_on_reused_connection_is_ambiguous() {
    let port = Arc::new(Port::take());
    let lost = [Raw::steps(vec![Step::Reset]), Raw::steps(vec![Step::Reset])];
    let models = in_order(&[("m", &[&port.url(), &lost[0].url(), &lost[1].url()])]);
    // One core has one pool: each request finds the connection of the one before.
    let gateway =
        tests::setup!().models(models).routing(logged("")).arg("--cores").arg("1").start();
    let held = Arc::clone(&port);
    let first = tokio::spawn(async move { dying(&held).await });
    assert_eq!(gateway.chat("m").await.status, 200);
    let reply = gateway.chat("m").await;
    first.await.expect("it had both requests");
    let asked: usize = lost.iter().map(|raw| raw.received().len()).sum();
    assert_eq!((reply.status, asked), (502, 1), "sent once more: {}", reply.text());
    assert_eq!(reply.header("x-should-retry"), "false");
    assert_eq!(gateway.attempts(&reply).await[0], ("first".into(), "connect".into()));
}

#[tokio::test]
async fn close_delimited_stream_needs_every_choice_finished() {
    let event = |index: u8, reason: &str| {
        let choice =
            format!(r#"{{"index":{index},"delta":{{"content":"a"}},"finish_reason":{reason}}}"#);
        format!("data: {{\"choices\":[{choice}]}}\n\n")
    };
    let begun = event(0, "null") + &event(1, "null") + &event(1, "\"stop\"");
    let whole = begun.clone() + &event(0, "\"stop\"");
    let closing = |text: &str| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        Raw::steps(vec![Step::send(head), Step::send(text), Step::Close])
    };
    let second = Engine::start("second");
    let reply = streamed(&start(&closing(&whole), &second)).await;
    assert_eq!(reply.text(), whole);
    let cut = closing(&begun);
    let gateway = start(&cut, &second);
    let answer = gateway.stream("m").await.expect("an answer");
    let id = answer.headers()["x-request-id"].to_str().expect("text").to_owned();
    assert!(Reply::read(answer).await.is_err(), "one of two is missing");
    assert_eq!(tests::outcomes(&gateway.record(&id).await), [("first".into(), "truncated".into())]);
}

#[tokio::test]
async fn stream_without_its_last_event_is_truncated() {
    // nginx turns the death of an HTTP/1.0 engine into such an orderly end.
    let ends = |events: &[&str]| {
        let events = events.iter().map(|event| Step::chunk(format!("{event}\n\n")));
        let steps = [Step::stream()].into_iter().chain(events).chain([Step::chunk("")]);
        Raw::steps(steps.collect())
    };
    let stop = r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    let second = Engine::start("second");
    let other = &TEXT.replace('0', "1");
    let cases = [
        (&[ROLE, TEXT][..], false),
        (&[TEXT, stop], true),
        (&[TEXT, other, stop], false),
        (&[TEXT, other, stop, &stop.replace('0', "1")], true),
        (&[ROLE], false),
    ];
    for (events, whole) in cases {
        let first = ends(events);
        let gateway = start(&first, &second);
        let reply = Reply::read(gateway.stream("m").await.expect("an answer")).await;
        match (events, reply) {
            // No content came before the end, so the request falls back.
            ([ROLE], reply) => assert_eq!(reply.expect("whole").engine(), "second"),
            (_, reply) => assert_eq!(reply.is_ok(), whole, "{events:?}"),
        }
    }
}

#[tokio::test]
async fn slow_reader_is_told_of_the_failure() {
    // More than all socket buffers hold: much is unwritten when the upstream fails.
    let piece = format!("data: {}\n\n", "x".repeat(64 << 10));
    let steps = [Step::stream(), Step::chunk(format!("{TEXT}\n\n"))].into_iter();
    let steps = steps.chain((0..256).map(|_| Step::chunk(&piece)));
    let first = Raw::steps(steps.chain([Step::Close]).collect());
    let gateway = start(&first, &Engine::start("second"));
    let mut client = TcpStream::connect(gateway.address()).await.expect("a connection");
    let body = r#"{"model":"m","stream":true}"#;
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n";
    let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    client.write_all(request.as_bytes()).await.expect("room");
    let (mut text, mut piece) = (Vec::new(), vec![0; 256 << 10]);
    while let Ok(Ok(read @ 1..)) = timeout(DEADLINE, client.read(&mut piece)).await {
        text.extend_from_slice(&piece[..read]);
        sleep(Duration::from_millis(5)).await;
    }
    let end = String::from_utf8_lossy(&text[text.len().saturating_sub(400)..]);
    assert!(end.contains("\"code\":\"truncated\"") && !end.ends_with("0\r\n\r\n"), "{end}");
}

/// What an HTTP/1.0 client receives, and how its connection ends. With `half` it shuts down its
/// sending side after the first bytes.
async fn old_client(gateway: &Gateway, body: &str, half: bool) -> (String, std::io::Result<()>) {
    let mut client = TcpStream::connect(gateway.address()).await.expect("a connection");
    let head = "POST /v1/chat/completions HTTP/1.0\r\nhost: localhost\r\n";
    let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    client.write_all(request.as_bytes()).await.expect("room");
    let (mut text, mut piece) = (Vec::new(), vec![0; 256 << 10]);
    let end = loop {
        match timeout(DEADLINE, client.read(&mut piece)).await.expect("an end") {
            Ok(0) => break Ok(()),
            Ok(read) => text.extend_from_slice(&piece[..read]),
            Err(error) => break Err(error),
        }
        if half {
            client.shutdown().await.expect("an open connection");
        }
    };
    (String::from_utf8_lossy(&text).into_owned(), end)
}

#[tokio::test]
async fn oversized_plain_answer_arrives_unchanged() {
    // Each word is different, so that swapped pieces show.
    let text = |size: usize| {
        let mut words: String = (0..size / 8).map(|n| format!("word-{n} ")).collect();
        words.truncate(size - 4);
        format!("[\"{words}\"]")
    };
    let (longer, long) = (text(3 << 20), text((1 << 20) + 10));
    // Chunk sizes: all in one, a few bytes, and more than one read takes.
    let pieces = [&[1 << 20][..], &[7, 1, 90_000, 3], &[500, 700], &[1, 1, 1, 1, 40_000]];
    let chunked = pieces.map(|sizes| (&longer, in_chunks(&longer, sizes)));
    // With a known length, the last piece may be the one that commits.
    let framed = [&long, &longer].map(|text| (text, body(text)));
    let second = Engine::start("second");
    for (text, steps) in chunked.into_iter().chain(framed) {
        let first = Raw::steps(steps);
        let gateway = start(&first, &second);
        let reply = gateway.chat("m").await;
        assert_eq!(reply.status, 200);
        assert!(reply.body == text.as_bytes(), "{} of {} bytes", reply.body.len(), text.len());
        assert_eq!(gateway.attempts(&reply).await, [("first".into(), "ok".into())]);
    }
}

/// A body in chunks of these sizes, over and over.
fn in_chunks(text: &str, sizes: &[usize]) -> Vec<Step> {
    let (mut steps, mut rest) = (vec![Step::send(PLAIN)], text.as_bytes());
    for size in sizes.iter().cycle() {
        let (piece, behind) = rest.split_at(rest.len().min(*size));
        steps.push(Step::chunk(piece));
        rest = behind;
        if piece.is_empty() {
            break;
        }
    }
    steps
}

#[tokio::test]
async fn unframed_broken_answer_ends_with_a_reset() {
    let second = Engine::start("second");
    let body = |stream| json!({"model": "m", "stream": stream, "messages": [{"role": "user", "content": "a"}]});
    let (plain, stream) = (&*body(false).to_string(), &*body(true).to_string());
    // Longer than the buffer for plain answers, and truncated.
    let long = format!("{{\"a\":\"{}", "x".repeat(2 << 20));
    let cut = Raw::steps(vec![Step::send(PLAIN), Step::chunk(&long), Step::Close]);
    let (text, end) = old_client(&start(&cut, &second), plain, false).await;
    assert!(text.contains("xxx") && end.is_err(), "an orderly end of half an answer");
    let events = vec![Step::stream(), Step::chunk(format!("{TEXT}\n\n")), Step::Close];
    let (_, end) = old_client(&start(&Raw::steps(events), &second), stream, false).await;
    assert!(end.is_err(), "an orderly end of half a stream");
    // The client half-closes, so it counts as gone, but reads on.
    let events = vec![Step::stream(), Step::chunk(format!("{TEXT}\n\n")), Step::Hang];
    let (text, end) = old_client(&start(&Raw::steps(events), &second), stream, true).await;
    assert!(text.contains("from the first") && end.is_err(), "an orderly end of half a stream");
    // A complete answer ends with an orderly close.
    for body in [plain, stream] {
        let (text, end) =
            old_client(&start(&Raw::answering(500, "{}"), &second), body, false).await;
        assert!(text.starts_with("HTTP/1.0 200 OK") && end.is_ok(), "{end:?} {text}");
    }
}
