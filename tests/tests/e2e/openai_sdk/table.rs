//! The calls that the SDKs make, and what the upstream answers to each: whole streams, broken
//! streams and refusals. Each call has a model of its own.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use serde_json::{Value, json};
use tests::{Raw, Received, Step, Wire};

use super::streams::{Api, TEXT};

/// The result that an SDK must give.
#[derive(Debug, Clone)]
pub(crate) enum Expect {
    /// All of [`TEXT`].
    Text,
    /// An error of any class.
    Raises,
    /// An error of this class.
    Class(&'static str),
}

/// One call by an SDK.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) model: String,
    pub(crate) api: Api,
    stream: bool,
    /// How often the SDK is told to try again.
    retries: u32,
    expect: Expect,
    /// Requests that reach the gateway.
    pub(crate) requests: usize,
    /// The upstream's answers to the first, second, ... request. The last one is repeated.
    answers: Vec<Vec<Step>>,
}

impl Case {
    /// `pool_idle` in seconds. 0 where the upstream counts requests, because the gateway repeats a
    /// request that is lost on a reused connection.
    pub(crate) fn pool_idle(&self) -> u32 {
        if self.retries > 0 { 0 } else { 4 }
    }

    /// As the scripts of the SDKs read it.
    pub(crate) fn to_json(&self) -> Value {
        let (api, retries) = (self.api.as_str(), self.retries);
        let expect = match self.expect {
            Expect::Text => json!({"text": TEXT}),
            Expect::Raises => json!({"raises": null}),
            Expect::Class(name) => json!({"raises": name}),
        };
        json!({
            "model": self.model, "api": api, "stream": self.stream, "retries": retries, "expect": expect,
        })
    }
}

/// An upstream that answers as the cases say.
pub(crate) fn upstream(cases: &[Case]) -> Raw {
    let script = |case: &Case| (case.model.clone(), (case.answers.clone(), AtomicUsize::new(0)));
    let scripts: HashMap<_, _> = cases.iter().map(script).collect();
    Raw::start(move |received: &Received, wire: &mut Wire| {
        let body: Value = serde_json::from_slice(&received.body).expect("JSON");
        let (answers, asked) = &scripts[body["model"].as_str().expect("a model")];
        let turn = asked.fetch_add(1, SeqCst).min(answers.len() - 1);
        answers[turn].iter().for_each(|step| wire.step(step));
    })
}

/// All cases.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for api in [Api::Chat, Api::Tools, Api::Completions, Api::Responses] {
        for (what, steps) in whole(api) {
            cases.push(streamed(api, what, steps, Expect::Text));
        }
        for (what, steps) in broken(api) {
            cases.push(streamed(api, what, steps, Expect::Raises));
        }
        for (what, steps) in failed_at_once(api) {
            cases.push(streamed(api, what, steps, Expect::Class("InternalServerError")));
        }
    }
    cases.extend(refusals());
    cases.extend(retried());
    cases
}

fn streamed(api: Api, what: &str, steps: Vec<Step>, expect: Expect) -> Case {
    let model = format!("{} {what}", api.as_str());
    Case { model, api, stream: true, retries: 0, expect, requests: 1, answers: vec![steps] }
}

/// A stream in chunks of `size` bytes, followed by `end`.
fn chunked(text: &str, size: usize, end: Vec<Step>) -> Vec<Step> {
    let chunks = text.as_bytes().chunks(size).map(Step::chunk);
    [Step::stream()].into_iter().chain(chunks).chain(end).collect()
}

fn ended() -> Vec<Step> {
    vec![Step::send("0\r\n\r\n")]
}

fn until_closed(text: &str) -> Vec<Step> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    vec![Step::send(head), Step::send(text), Step::Close]
}

/// Complete streams.
fn whole(api: Api) -> Vec<(&'static str, Vec<Step>)> {
    let (all, undone) = (api.events(true), api.events(false));
    let commented = all.replace("\n\n", "\n\n: keep-alive\n\n");
    let usage = all.replace("data: [DONE]", &format!("data: {}\n\ndata: [DONE]", api.usage()));
    vec![
        ("at once", chunked(&all, 1 << 20, ended())),
        ("byte by byte", chunked(&all, 1, ended())),
        ("cut anywhere", chunked(&all, 7, ended())),
        ("CRLF", chunked(&all.replace('\n', "\r\n"), 5, ended())),
        ("comments", chunked(&commented, 40, ended())),
        ("no [DONE]", chunked(&undone, 64, ended())),
        ("until closed", until_closed(&all)),
        ("no [DONE], until closed", until_closed(&undone)),
        ("usage at the end", chunked(&usage, 64, ended())),
    ]
}

/// Streams that break after their first words.
fn broken(api: Api) -> Vec<(&'static str, Vec<Step>)> {
    let begun = api.begun();
    let then = |end: &[Step]| chunked(&begun, 1 << 20, end.to_vec());
    let error = format!("{}data: [DONE]\n\n", api.error());
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 100000\r\n\r\n";
    let cut = format!("{begun}data: {{\"choices\":[{{\"del");
    // The first part must be forwarded before the connection breaks.
    let pause = Step::Pause(std::time::Duration::from_millis(50));
    vec![
        ("reset", then(&[pause, Step::Reset])),
        ("closed", then(&[Step::Close])),
        ("closed, no length", until_closed(&begun)),
        ("closed, no length, in an event", until_closed(&cut)),
        ("ended in an event", chunked(&cut, 1 << 20, ended())),
        ("short", vec![Step::send(head), Step::send(&begun), Step::Close]),
        ("chunk cut", then(&[Step::send("ffff\r\ndata: {\"ch"), Step::Close])),
        ("bad chunk", then(&[Step::send("zz\r\n\r\n")])),
        ("error", then(&[vec![Step::chunk(error)], ended()].concat())),
        ("idle", then(&[Step::Hang])),
        ("garbage", then(&[vec![Step::chunk("data: {oops\n\n")], ended()].concat())),
    ]
}

/// Streams that fail before their first content.
fn failed_at_once(api: Api) -> Vec<(&'static str, Vec<Step>)> {
    vec![
        ("error first", chunked(&api.error(), 1 << 20, ended())),
        ("nothing", chunked("", 1, ended())),
        ("closed at once", vec![Step::stream(), Step::Close]),
    ]
}

fn status(status: u16, fields: &str) -> Vec<Step> {
    let body = r#"{"error":{"message":"no","type":"x","param":null,"code":null}}"#;
    let kind = "content-type: application/json\r\n";
    let length = body.len();
    vec![Step::send(&format!(
        "HTTP/1.1 {status} X\r\n{kind}{fields}content-length: {length}\r\n\r\n{body}"
    ))]
}

/// Statuses, and the exception class that each becomes in the SDKs.
fn refusals() -> impl Iterator<Item = Case> {
    let table = [
        (400, "BadRequestError"),
        (404, "NotFoundError"),
        (422, "UnprocessableEntityError"),
        (429, "RateLimitError"),
        (500, "InternalServerError"),
        (503, "InternalServerError"),
        // The gateway's own key was refused: not a client error.
        (401, "InternalServerError"),
        // This request was refused, in the engine's words.
        (403, "PermissionDeniedError"),
    ];
    let both =
        table.into_iter().flat_map(|(code, class)| [(code, class, false), (code, class, true)]);
    both.map(|(code, class, stream)| Case {
        model: format!("{code}, stream: {stream}"),
        api: Api::Chat,
        stream,
        retries: 0,
        expect: Expect::Class(class),
        requests: 1,
        answers: vec![status(code, "")],
    })
}

/// Calls of SDKs with two retries.
fn retried() -> Vec<Case> {
    let well = || chunked(&Api::Chat.events(true), 1 << 20, ended());
    let begun = || chunked(&Api::Chat.begun(), 1 << 20, vec![Step::Close]);
    let failed = Expect::Class("InternalServerError");
    let table = [
        // The gateway itself waits for a place.
        ("429, then well", vec![status(429, "retry-after: 1\r\n"), well()], Expect::Text, 1),
        ("503, then well", vec![status(503, "retry-after: 1\r\n"), well()], Expect::Text, 1),
        ("500, then well", vec![status(500, ""), well()], Expect::Text, 2),
        ("500", vec![status(500, "")], failed.clone(), 3),
        // It may have been processed: the gateway sends `x-should-retry: false`.
        ("lost", vec![vec![Step::Reset], well()], failed.clone(), 1),
        ("key refused", vec![status(401, ""), well()], failed, 1),
        ("client's fault", vec![status(400, ""), well()], Expect::Class("BadRequestError"), 1),
        // The application already has a part of the answer.
        ("begun", vec![begun(), well()], Expect::Raises, 1),
    ];
    let case = |(what, answers, expect, requests)| Case {
        model: format!("retried: {what}"),
        api: Api::Chat,
        stream: true,
        retries: 2,
        expect,
        requests,
        answers,
    };
    table.into_iter().map(case).collect()
}
