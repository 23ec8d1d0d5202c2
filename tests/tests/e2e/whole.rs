//! An answer is passed as whole only where its framing, its coding and its content say so.

use std::time::Duration;

use tests::{Engine, Gateway, Raw, Reply, Step, in_order, logged};

const TEXT: &str = r#"data: {"choices":[{"index":0,"delta":{"content":"from the first"}}]}"#;
const FINISH: &str = r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
const JSON: &str = r#"{"choices":[{"index":0,"message":{"content":"from the first"}}]}"#;

/// A plain answer with these lines in its head.
fn plain(lines: &str, body: &str) -> Vec<Step> {
    let length = body.len();
    let lines = if lines.is_empty() { String::new() } else { format!("{lines}\r\n") };
    vec![Step::send(&format!("HTTP/1.1 200 OK\r\n{lines}content-length: {length}\r\n\r\n{body}"))]
}

/// A stream of these chunks with a clean end.
fn stream(chunks: &[&str]) -> Vec<Step> {
    let chunks = chunks.iter().map(|chunk| Step::chunk(format!("{chunk}\n\n")));
    [Step::stream()].into_iter().chain(chunks).chain([Step::chunk("")]).collect()
}

fn start(settings: &str, first: &Raw, second: &Engine) -> Gateway {
    let models = in_order(&[("m", &[&first.url(), &second.url()])]);
    let models = models.replace("name: first,", &format!("name: first, {settings}"));
    tests::setup!().models(models).routing(logged("")).start()
}

#[tokio::test]
async fn plain_answers_that_are_not_whole_fall_back() {
    const TYPE: &str = "content-type: application/json";
    let coded = |coding: &str| format!("{TYPE}\r\ncontent-encoding: {coding}");
    let html = "<html><body>Sign in</body></html>";
    let cut = &JSON[..JSON.len() - 2];
    let gzip = "\u{1f}\u{8b}\u{8}abc";
    let empty = Step::send("HTTP/1.1 204 No Content\r\n\r\n");
    let length = JSON.len();
    let part = format!("HTTP/1.1 206 Partial Content\r\ncontent-length: {length}\r\n\r\n{JSON}");
    let cases = [
        ("204", vec![empty], "empty"),
        ("206", vec![Step::send(&part)], "status_206"),
        ("gzip", plain(&coded("gzip"), gzip), "encoded"),
        ("GZIP", plain(&coded("GZIP"), gzip), "encoded"),
        ("identity, br", plain(&coded("identity, br"), gzip), "encoded"),
        ("two lines", plain(&(coded("identity") + "\r\ncontent-encoding: zstd"), gzip), "encoded"),
        ("an unknown coding", plain(&coded("odd"), JSON), "encoded"),
        ("gzip without a coding", plain(TYPE, gzip), "malformed"),
        ("HTML", plain("content-type: text/html", html), "malformed"),
        ("HTML as JSON", plain(TYPE, html), "malformed"),
        ("HTML without a type", plain("", html), "malformed"),
        (
            "events as JSON",
            plain(TYPE, &format!("{TEXT}\n\n{FINISH}\n\ndata: [DONE]\n\n")),
            "malformed",
        ),
        ("no JSON", plain(TYPE, r#"{"choices":[}"#), "malformed"),
        ("text behind JSON", plain(TYPE, &format!("{JSON} {JSON}")), "malformed"),
        ("a JSON string", plain(TYPE, "\"ok\""), "malformed"),
        ("cut behind a brace", plain(TYPE, cut), "truncated"),
        ("blanks", plain(TYPE, " \n"), "empty"),
    ];
    let second = Engine::start("second");
    for (what, steps, cause) in cases {
        let first = Raw::steps(steps);
        let gateway = start("", &first, &second);
        let reply = gateway.chat("m").await;
        assert_eq!((reply.status, reply.engine()), (200, "second"), "{what}: {}", reply.text());
        let attempts = [("first".into(), cause.into()), ("second".into(), "ok".into())];
        assert_eq!(gateway.attempts(&reply).await, attempts, "{what}");
    }
}

#[tokio::test]
async fn whole_answers_pass_as_they_are() {
    let large = JSON.replace("from", &"x}".repeat(1 << 20));
    let middle = JSON.replace("from", &"y".repeat(300 << 10));
    let cases = [
        ("JSON", plain("content-type: application/json", JSON), JSON),
        ("JSON without a type", plain("", JSON), JSON),
        ("Identity", plain("Content-Encoding: Identity", JSON), JSON),
        ("an empty coding", plain("content-encoding:", JSON), JSON),
        ("a list", plain("content-type: text/plain", "[{\"index\":0}]"), "[{\"index\":0}]"),
        ("300 KiB", plain("", &middle), &middle),
        ("2 MiB", plain("", &large), &large),
        (
            "2 MiB to the close",
            vec![Step::send(&format!("HTTP/1.1 200 OK\r\n\r\n{large}")), Step::Close],
            &large,
        ),
    ];
    let second = Engine::start("second");
    for (what, steps, want) in cases {
        let first = Raw::steps(steps);
        let gateway = start("", &first, &second);
        let reply = gateway.chat("m").await;
        assert_eq!((reply.status, reply.body.len()), (200, want.len()), "{what}");
        assert!(reply.text() == want, "{what}");
        assert_eq!(gateway.attempts(&reply).await, [("first".into(), "ok".into())], "{what}");
    }
}

#[tokio::test]
async fn a_large_body_cut_behind_a_brace_is_told() {
    let large = JSON.replace("from", &"x}".repeat(1 << 20));
    let cut = &large[..large.len() - 2];
    let chunked =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let second = Engine::start("second");
    for steps in [
        plain("content-type: application/json", cut),
        vec![Step::send(chunked), Step::chunk(cut), Step::chunk("")],
        vec![Step::send(&format!("HTTP/1.1 200 OK\r\n\r\n{cut}")), Step::Close],
    ] {
        let first = Raw::steps(steps);
        let gateway = start("", &first, &second);
        let body = r#"{"model":"m","messages":[]}"#;
        let answer = gateway.client().post(gateway.url("/v1/chat/completions")).body(body).send();
        let answer = answer.await.expect("a head");
        let id = answer.headers()["x-request-id"].to_str().expect("text").to_owned();
        assert!(Reply::read(answer).await.is_err(), "half an answer looks whole");
        let record = gateway.record(&id).await;
        assert_eq!(tests::outcomes(&record), [("first".into(), "truncated".into())]);
    }
}

#[tokio::test]
async fn streams_without_their_end_are_told() {
    let long = TEXT.replace("from", &"x".repeat(100 << 10));
    let html = format!("<html>{}", "<p>text</p>\n\n".repeat(10_000));
    let second = Engine::start("second");
    for (what, chunks) in [
        ("a long event", vec![&*long]),
        ("text and a long event", vec![TEXT, &long]),
        ("a long event and text", vec![&long, TEXT]),
    ] {
        let first = Raw::steps(stream(&chunks));
        let gateway = start("", &first, &second);
        let reply = Reply::read(gateway.stream("m").await.expect("an answer")).await;
        assert!(reply.is_err(), "{what}: half a stream looks whole");
    }
    for chunks in [vec![&*long, FINISH], vec![&long, "data: [DONE]"]] {
        let first = Raw::steps(stream(&chunks));
        let gateway = start("", &first, &second);
        let reply = Reply::read(gateway.stream("m").await.expect("an answer")).await;
        assert_eq!(reply.expect("a whole stream").text(), chunks.join("\n\n") + "\n\n");
    }
    let first = Raw::steps(plain("content-type: text/html", &html));
    let gateway = start("", &first, &second);
    let reply = Reply::read(gateway.stream("m").await.expect("an answer")).await.expect("whole");
    assert_eq!(reply.engine(), "second", "a page is no stream");
}

/// An upstream that sends these events, then a comment every 20 ms, then `last`.
fn commenting(
    events: &'static [&'static str],
    comments: usize,
    last: &'static [&'static str],
) -> Raw {
    Raw::start(move |_, wire| {
        wire.step(&Step::stream());
        for event in events {
            wire.step(&Step::chunk(format!("{event}\n\n")));
        }
        for _ in 0..comments {
            wire.step(&Step::chunk(": still here\n\n"));
            std::thread::sleep(Duration::from_millis(20));
        }
        for event in last {
            wire.step(&Step::chunk(format!("{event}\n\n")));
        }
        wire.step(&if last.is_empty() { Step::Hang } else { Step::chunk("") });
    })
}

#[tokio::test]
async fn comments_extend_idle_only_up_to_first_byte() {
    const FOR_EVER: usize = 2000;
    let second = Engine::start("second");
    for (what, settings, events, comments, told) in [
        ("hangs", "timeouts: {idle: 0.3, first_byte: 0.6},", &[TEXT][..], FOR_EVER, true),
        // A hidden restart of `idle` by comments would take 30 s here.
        ("has finished", "timeouts: {idle: 0.3, first_byte: 30},", &[TEXT, FINISH], FOR_EVER, true),
        ("is done", "timeouts: {idle: 0.3},", &[TEXT, FINISH, "data: [DONE]"], FOR_EVER, false),
    ] {
        let first = commenting(events, comments, &[]);
        let gateway = start(settings, &first, &second);
        let mut answer = gateway.stream("m").await.expect("an answer");
        let (mut text, mut broken) = (String::new(), false);
        loop {
            match answer.chunk().await {
                Ok(Some(chunk)) => text += &String::from_utf8_lossy(&chunk),
                Ok(None) => break,
                Err(_) => break broken = true,
            }
        }
        assert_eq!((text.contains("timeout_idle"), broken), (told, told), "{what}: {text}");
        assert!(text.matches(": still").count() < FOR_EVER / 2, "{what}");
    }
    // 1 s of comments between `idle` of 0.5 s and `first_byte`.
    let first = commenting(&[TEXT], 50, &[FINISH, "data: [DONE]"]);
    let gateway = start("timeouts: {idle: 0.5},", &first, &second);
    let reply = Reply::read(gateway.stream("m").await.expect("an answer")).await;
    assert!(reply.expect("a whole answer").text().ends_with("data: [DONE]\n\n"));
}

#[tokio::test]
async fn names_in_any_spelling_are_renamed() {
    let body = r#"{"model":"up\/\u043c","choices":[],"system":{"model" :	"up/м"}}"#;
    let first = Raw::steps(plain("content-type: application/json", body));
    let models = format!(
        "models:\n  - id: m\n    route:\n      - {{base_url: '{}', provider_model_id: 'up/м'}}\n",
        first.url()
    );
    let gateway = tests::setup!().models(models).start();
    let reply = gateway.chat("m").await;
    assert_eq!(reply.text(), r#"{"model":"m","choices":[],"system":{"model" :	"m"}}"#);
    let sent = first.last().text();
    assert!(sent.contains(r#""model":"up/м""#), "{sent}");
}
