//! Deployments that are killed, frozen or refusing under load. No plain request is lost, and no
//! truncated answer looks complete.

use std::collections::BTreeMap;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::{Value, json};
use tests::{Gateway, Raw, Reply, Steady, StubProcess, eventually, one_model, split};
use tokio::sync::Mutex;

/// These tests run one after the other: each loads the whole machine.
static ALONE: Mutex<()> = Mutex::const_new(());
/// Requests a second.
const RATE: u32 = 200;
const NAMES: [&str; 3] = ["a", "b", "c"];
const SAID: &str = "one two three";

/// What an engine answers.
fn text_of(engine: &str) -> String {
    format!("Hello from {engine}. You said: {SAID}")
}

/// The state of a deployment, by its index in the file.
async fn state(gateway: &Gateway, index: usize) -> Value {
    gateway.routing().await["models"]["m"]["deployments"][index]["state"].clone()
}

/// When a deployment was ejected, if it is now.
async fn since_ejected(gateway: &Gateway, index: usize) -> Option<Value> {
    let deployment = &gateway.routing().await["models"]["m"]["deployments"][index];
    (deployment["state"] == "ejected").then(|| deployment["since"].clone())
}

async fn becomes(gateway: &Gateway, index: usize, states: &[&str]) {
    let is = async || states.contains(&state(gateway, index).await.as_str()?).then_some(());
    eventually(&format!("{} is {states:?}", NAMES[index]), is).await;
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// All of one engine's answer.
    Whole,
    /// A stream that broke visibly, with the text of one engine.
    Cut { told: bool },
    /// Anything else. Must not happen.
    Lost(String),
}

/// Asks for an answer and judges it.
async fn ask(client: reqwest::Client, url: String, stream: bool) -> End {
    let body =
        json!({"model": "m", "messages": [{"role": "user", "content": SAID}], "stream": stream});
    let mut answer = match client.post(url).json(&body).send().await {
        Ok(answer) if answer.status() == 200 => answer,
        Ok(answer) => return End::Lost(format!("stream: {stream}, {:?}", answer.text().await)),
        Err(error) => return End::Lost(format!("stream: {stream}, {error:?}")),
    };
    let engine = answer.headers()["x-stub-engine"].to_str().expect("text").to_owned();
    let mut bytes = Vec::new();
    let clean = loop {
        match answer.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            end => break end.is_ok(),
        }
    };
    let said = String::from_utf8_lossy(&bytes).into_owned();
    let (text, whole) = if stream { streamed(&said) } else { plain(&said) };
    match (clean, whole) {
        (true, true) if text == text_of(&engine) => End::Whole,
        (false, false) if stream && text_of(&engine).starts_with(&text) => {
            End::Cut { told: said.contains("data: {\"error\":") }
        }
        _ => End::Lost(format!("stream: {stream}, ended cleanly: {clean}, {engine} said: {said}")),
    }
}

/// The words of a plain answer, and whether it is whole.
fn plain(said: &str) -> (String, bool) {
    let answer: Value = serde_json::from_str(said).unwrap_or_default();
    let text = answer["choices"][0]["message"]["content"].as_str();
    (text.unwrap_or_default().to_owned(), text.is_some())
}

/// The words of a stream, and whether its last event has come.
fn streamed(said: &str) -> (String, bool) {
    let events = said.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
    let events = events.filter_map(|data| serde_json::from_str::<Value>(data).ok());
    let word = |event: Value| Some(event["choices"][0]["delta"]["content"].as_str()?.to_owned());
    (events.filter_map(word).collect(), said.ends_with("data: [DONE]\n\n"))
}

/// Requests at [`RATE`], every other one streamed.
fn load(gateway: &Gateway) -> Steady<(bool, End)> {
    let (client, url) = (gateway.client().clone(), gateway.url("/v1/chat/completions"));
    Steady::start(RATE, move |n| {
        let (client, url, stream) = (client.clone(), url.clone(), n % 2 == 0);
        async move { (stream, ask(client, url, stream).await) }
    })
}

#[tokio::test]
async fn twenty_killed_deployments_lose_no_request() {
    let _alone = ALONE.lock().await;
    // An answer takes 0.25 s, so each engine has about 15 in flight.
    let start = |name| tests::stub_process!("--name", name, "--tokens-per-second", "32");
    let mut engines = NAMES.map(start);
    let urls = engines.each_ref().map(StubProcess::url);
    let more = "health_check: 0.05\nslow_start: {duration: 0}\n";
    let routing = split(1.0, &urls.each_ref().map(String::as_str), &[], more);
    let models = one_model(&urls.each_ref().map(String::as_str));
    let gateway = tests::setup!().models(models).routing(routing).start();
    let (load, start) = (load(&gateway), Instant::now());
    for kill in 0..20 {
        let victim = kill % engines.len();
        let busy = async || {
            let in_flight = engines[victim].status().await["in_flight"].as_u64();
            in_flight.filter(|count| *count >= 10)
        };
        eventually("the engine is at work", busy).await;
        engines[victim].kill();
        becomes(&gateway, victim, &["ejected", "unhealthy"]).await;
        engines[victim].restart();
        becomes(&gateway, victim, &["healthy"]).await;
        // A request that was repeated once may not fail again.
        load.settled().await;
    }
    let mut ends = BTreeMap::<_, u64>::new();
    for end in load.stop().await {
        *ends.entry(end).or_default() += 1;
    }
    eprintln!("20 kills in {:.1} s: {ends:?}", start.elapsed().as_secs_f64());
    let lost: Vec<_> = ends.keys().filter(|(_, end)| matches!(end, End::Lost(_))).collect();
    assert!(lost.is_empty(), "{lost:#?}");
    let cut: u64 =
        [true, false].iter().filter_map(|t| ends.get(&(true, End::Cut { told: *t }))).sum();
    assert!(cut >= 20, "engines at work were killed, and only {cut} streams were cut");
}

#[tokio::test]
async fn ejected_frozen_deployment_delays_no_request() {
    let _alone = ALONE.lock().await;
    let engines = ["a", "b"].map(|name| tests::stub_process!("--name", name));
    let urls = engines.each_ref().map(StubProcess::url);
    // The kernel of a frozen process goes on accepting, so only the time to the first byte tells.
    let more = "timeouts: {first_byte: 2}\nejection: {base: 4}\nslow_start: {duration: 0}\n\
                logging: {output: access.log}\n";
    let routing = split(0.5, &[&urls[0]], &[&urls[1]], more);
    let models = one_model(&urls.each_ref().map(String::as_str));
    let gateway = tests::setup!().models(models).routing(routing).start();
    let load = load(&gateway);
    load.more(100).await;
    engines[0].signal(Signal::STOP);
    becomes(&gateway, 0, &["ejected"]).await;
    let mut quick = 0;
    // Each ejection is twice as long as the one before, so enough requests fall into one on any
    // machine.
    eventually("ten requests during an ejection", async || {
        let before = since_ejected(&gateway, 0).await?;
        let reply = gateway.chat("m").await;
        let attempts = gateway.attempts(&reply).await;
        if since_ejected(&gateway, 0).await? == before {
            assert_eq!(attempts, [("remote-1".into(), "ok".into())]);
            quick += 1;
        }
        (quick >= 10).then_some(())
    })
    .await;
    engines[0].signal(Signal::CONT);
    becomes(&gateway, 0, &["healthy"]).await;
    let back = async || (gateway.chat("m").await.engine() == "a").then_some(());
    eventually("it answers again", back).await;
    let ends = load.stop().await;
    let lost: Vec<_> = ends.iter().filter(|(_, end)| *end != End::Whole).collect();
    assert!(lost.is_empty(), "{lost:#?}");
    eprintln!("frozen: {} requests, none lost; {quick} looked at while it was out", ends.len());
}

#[tokio::test]
async fn extra_attempts_stay_within_budget_under_load() {
    let _alone = ALONE.lock().await;
    for (more, what) in
        [("", "by default"), ("ejection: {consecutive: 0, percent: 0}", "never ejected")]
    {
        let upstreams = NAMES.map(|_| Raw::answering(500, r#"{"error":{"message":"no"}}"#));
        let urls = upstreams.each_ref().map(Raw::url);
        let urls = urls.each_ref().map(String::as_str);
        let gateway =
            tests::setup!().models(one_model(&urls)).routing(split(1.0, &urls, &[], more));
        let gateway = gateway.start();
        let (client, url) = (gateway.client().clone(), gateway.url("/v1/chat/completions"));
        let start = Instant::now();
        let load = Steady::start(RATE, move |_| {
            let body = json!({"model": "m", "messages": []}).to_string();
            let request = client.post(&url).body(body);
            async move { Reply::read(request.send().await.expect("an answer")).await.expect("whole") }
        });
        load.more(u64::from(RATE) * 3).await;
        let replies = load.stop().await;
        let took = start.elapsed().as_secs_f64();
        assert!(replies.iter().all(|reply| reply.status == 502));
        let (requests, attempts) = (replies.len(), asked(&upstreams));
        // The budget may save up one second.
        let most = requests as f64 * 1.2 + 10.0 * (took + 1.0);
        eprintln!(
            "{what}: {requests} requests in {took:.1} s, {attempts} attempts, at most {most:.0}"
        );
        assert!(attempts as f64 <= most, "{what}: {attempts} attempts, at most {most}");
        assert!(
            attempts > requests,
            "{what}: {attempts} attempts for {requests}: the budget is used"
        );
    }
}

/// Requests that arrived at the upstreams.
fn asked(upstreams: &[Raw]) -> usize {
    upstreams.iter().map(|raw| raw.received().len()).sum()
}
