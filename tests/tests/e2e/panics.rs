//! A panic ends the request in which it happens, and nothing else.

use serde_json::{Value, json};
use tests::{Dialog, Engine, Gateway, Raw, Reply, Step, eventually};
use tests::{in_order, logged, outcomes};

const BODY: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
const EVENT: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";

/// A gateway that panics when the first deployment of `m` fails a request.
fn broken(first: &str, spare: &str) -> Gateway {
    let models = in_order(&[("m", &[first, spare]), ("n", &[spare])]);
    tests::setup!().models(models).routing(logged("")).env("CORRUPT", "ejection").start()
}

/// The log lines about panics. Every line of the log is JSON.
async fn panics(gateway: &Gateway, count: usize) -> Vec<Value> {
    let lines = || -> Vec<Value> {
        let log = gateway.log();
        let lines = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let lines =
            lines.map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{log}")));
        lines.filter(|line: &Value| line.get("panic").is_some()).collect()
    };
    let all = async || Some(lines()).filter(|lines| lines.len() >= count);
    let found = eventually("the panics are logged", all).await;
    assert_eq!(found.len(), count, "{found:?}");
    found
}

fn names_the_place(line: &Value, id: &str) {
    assert_eq!((&line["level"], &line["request_id"]), (&json!("ERROR"), &json!(id)));
    assert!(line["panic"].as_str().is_some_and(|said| said.contains("overflow")), "{line}");
    assert!(line["location"].as_str().is_some_and(|place| place.contains(':')), "{line}");
}

#[tokio::test]
async fn panic_gives_one_500_and_one_log_line() {
    let spare = Engine::start("spare");
    let failing = Raw::answering(500, "{}");
    let gateway = broken(&failing.url(), &spare.url());
    let mut client = Dialog::with(&gateway).await;
    for count in 1..=2 {
        let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: ";
        client.send(format!("{head}{}\r\n\r\n{BODY}", BODY.len())).await;
        let reply = client.answer().await;
        assert_eq!((reply.status, &reply.error()["code"]), (500, &json!("internal_error")));
        assert!(!reply.text().contains("overflow"), "{}", reply.text());
        let id = reply.header("x-request-id");
        names_the_place(&panics(&gateway, count).await[count - 1], id);
        let record = gateway.record(id).await;
        assert_eq!((&record["status"], &record["outcome"]), (&json!(500), &json!("error")));
        assert_eq!(outcomes(&record), [("first".to_owned(), "status_500".to_owned())]);
    }
    // The connection stays usable.
    client.send("GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(gateway.chat("n").await.engine(), "spare");
    gateway.is_idle().await;
}

#[tokio::test]
async fn panic_inside_a_stream_breaks_it_visibly() {
    let spare = Engine::start("spare");
    let failing = Raw::steps(vec![Step::stream(), Step::chunk(EVENT), Step::Close]);
    let gateway = broken(&failing.url(), &spare.url());
    let mut answer = gateway.stream("m").await.expect("an answer");
    let id = answer.headers()["x-request-id"].to_str().expect("text").to_owned();
    let mut text = String::new();
    let ended = loop {
        match answer.chunk().await {
            Ok(Some(chunk)) => text.push_str(&String::from_utf8_lossy(&chunk)),
            ended => break ended,
        }
    };
    assert!(ended.is_err(), "a stream that broke must not end well: {text}");
    let error = text.strip_prefix(EVENT).and_then(|text| text.strip_prefix("data: "));
    let error: Value = serde_json::from_str(error.expect("one event").trim_end()).expect("JSON");
    assert_eq!(error["error"]["code"], "internal_error");
    names_the_place(&panics(&gateway, 1).await[0], &id);
    let record = gateway.record(&id).await;
    assert_eq!((&record["status"], &record["outcome"]), (&json!(200), &json!("broken")));
    assert_eq!(outcomes(&record), [("first".to_owned(), "internal_error".to_owned())]);
    let whole = Reply::read(gateway.stream("n").await.expect("an answer")).await.expect("whole");
    assert!(whole.text().ends_with("data: [DONE]\n\n"), "{}", whole.text());
    gateway.is_idle().await;
}
