//! Chromium and its pages: the gateway's own, those that may use it, and foreign ones. Each test is
//! passed over where Chromium is not installed.

use serde_json::{Value, json};
use tests::{Chromium, Engine, Gate, Gateway, Page, Raw, Step, eventually, logged, one_model};

/// What the scripts of all pages begin with. `ask` gives what a page learns of an answer.
const ASK: &str = r#"
    const body = '{"model":"m","messages":[{"role":"user","content":"hi"}]}';
    const json = {'content-type': 'application/json', 'authorization': 'Bearer x', 'x-team': 'a'};
    const ask = async (url, options) => {
        try {
            const answer = await fetch(url, options);
            const {status, type, headers} = answer;
            return {status, type, vary: headers.get('vary'), text: await answer.text()};
        } catch (error) {
            return {refused: error.name};
        }
    };
"#;

/// A server of an empty page, at `http://NAME:PORT`.
fn site(name: &str) -> (Raw, String) {
    let page = "<!doctype html><title>page</title>";
    let length = page.len();
    let server = Raw::start(move |_, wire| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length:";
        wire.send(format!("{head} {length}\r\n\r\n{page}"));
    });
    let origin = server.url().replace("127.0.0.1", name);
    (server, origin)
}

fn gateway(upstream: &str, more: &str) -> Gateway {
    tests::setup!().models(one_model(&[upstream])).routing(logged(more)).start()
}

/// Runs the body of an asynchronous function, in which `chat` is where the gateway takes requests.
async fn run(browser: &mut Chromium, page: &Page, chat: &str, script: &str) -> Value {
    let script = format!("(async () => {{ const chat = '{chat}'; {ASK} {script} }})()");
    browser.run(page, &script).await
}

fn code(answer: &Value) -> Value {
    let text = answer["text"].as_str().unwrap_or_default();
    serde_json::from_str::<Value>(text).unwrap_or_default()["error"]["code"].take()
}

#[tokio::test]
async fn an_allowed_page_reads_answers_errors_and_streams() {
    let Some(mut browser) = Chromium::start() else { return };
    let gate = Gate::default();
    let waits = gate.clone();
    let upstream = Raw::start(move |received, wire| {
        if !received.text().contains("stream") {
            return wire.answer(200, r#"{"answer":"said"}"#);
        }
        let event =
            |text| format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n");
        for step in [
            Step::stream(),
            Step::chunk(event("first")),
            Step::Wait(waits.clone()),
            Step::chunk(event("last")),
            Step::chunk("data: [DONE]\n\n"),
            Step::chunk(""),
        ] {
            wire.step(&step);
        }
    });
    let (_site, origin) = site("chat.example");
    let gateway = gateway(&upstream.url(), &format!("cors: {{origins: ['{origin}']}}"));
    let page = browser.open(&origin).await;
    let chat = gateway.url("/v1/chat/completions");

    let simple = run(&mut browser, &page, &chat, "return ask(chat, {method: 'POST', body})").await;
    let said =
        json!({"status": 200, "type": "cors", "vary": "origin", "text": r#"{"answer":"said"}"#});
    assert_eq!(simple, said);
    let checked = "return ask(chat, {method: 'POST', body, headers: json})";
    assert_eq!(run(&mut browser, &page, &chat, checked).await, said, "after a preflight");
    assert_eq!(upstream.received().len(), 2, "no preflight goes up");
    for (path, status) in [("/v1/chat/completions", 404), ("/nowhere", 404), ("/v1/models", 405)] {
        let script =
            "return ask(chat, {method: 'POST', body: '{\"model\":\"none\"}', headers: json})";
        let answer = run(&mut browser, &page, &gateway.url(path), script).await;
        assert_eq!((&answer["status"], &answer["vary"]), (&json!(status), &json!("origin")));
        assert!(code(&answer).is_string(), "{answer}");
    }

    let first = "
        const streamed = body.replace('{', '{\"stream\":true,');
        const answer = await fetch(chat, {method: 'POST', body: streamed, headers: json});
        window.reader = answer.body.getReader();
        return new TextDecoder().decode((await reader.read()).value);";
    let first = run(&mut browser, &page, &chat, first).await;
    assert!(first.as_str().is_some_and(|text| text.contains("first")), "{first}");
    gate.open();
    let rest = "
        let [text, decoder] = ['', new TextDecoder()];
        for (;;) {
            const {done, value} = await reader.read();
            if (done) return text;
            text += decoder.decode(value);
        }";
    let rest = run(&mut browser, &page, &chat, rest).await;
    assert!(rest.as_str().is_some_and(|text| text.ends_with("data: [DONE]\n\n")), "{rest}");
}

/// All that a page can send without a preflight, or learn from.
const FOREIGN: &str = r#"
    const learned = [
        await ask(chat, {method: 'POST', body}),
        await ask(chat, {method: 'POST', body, headers: json}),
        await ask(chat, {method: 'POST', body, mode: 'no-cors'}),
        await ask(chat, {method: 'POST', body, mode: 'no-cors', credentials: 'include'}),
        await ask(chat.replace('chat/completions', 'models')),
        await ask(chat.replace('v1/chat/completions', 'routing')),
    ];
    const ends = (element, source) => new Promise(ended => {
        element.onload = () => ended('loaded');
        element.onerror = () => ended('failed');
        element.src = source;
        document.head.append(element);
    });
    const models = chat.replace('chat/completions', 'models');
    learned.push(await ends(document.createElement('script'), models));
    const socket = new WebSocket(chat.replace('http', 'ws'));
    learned.push(await new Promise(ended => {
        socket.onopen = () => ended('open');
        socket.onerror = () => ended('failed');
    }));
    learned.push(navigator.sendBeacon(chat, body) ? 'sent' : 'not sent');
    return learned;
"#;

/// A frame without an origin, and a form that leads to the gateway.
const EMBEDDED: &str = r#"
    const frame = document.createElement('iframe');
    frame.sandbox = 'allow-scripts';
    const script = `fetch('${chat}', {method: 'POST', body: '${body}', mode: 'no-cors'})
        .then(answer => parent.postMessage(answer.type, '*'))`;
    frame.srcdoc = `<script>${script}</` + 'script>';
    const said = new Promise(said => addEventListener('message', event => said(event.data)));
    document.body.append(frame);
    const opaque = await said;
    const target = document.createElement('iframe');
    target.name = 'target';
    document.body.append(target);
    const form = document.createElement('form');
    Object.assign(form, {method: 'POST', enctype: 'text/plain', action: chat, target: 'target'});
    const field = document.createElement('input');
    Object.assign(field, {name: body.slice(0, -1) + ',"x":"', value: '"}'});
    form.append(field);
    document.body.append(form);
    await new Promise(shown => {
        target.onload = shown;
        form.submit();
    });
    return opaque;
"#;

#[tokio::test]
async fn foreign_pages_spend_nothing_and_learn_nothing() {
    let Some(mut browser) = Chromium::start() else { return };
    let engine = Engine::start("only");
    let (_allowed, allowed) = site("chat.example");
    let gateway = gateway(&engine.url(), &format!("cors: {{origins: ['{allowed}']}}"));
    let chat = gateway.url("/v1/chat/completions");
    let refused = async || {
        let refused = [("code", "origin_not_allowed")];
        gateway.metric("gateway_refused_total", &refused).await.unwrap_or_default()
    };
    // The second is of the same site as the gateway, and of another origin.
    for name in ["evil.example", "127.0.0.1"] {
        let (_foreign, origin) = site(name);
        let page = browser.open(&origin).await;
        let before = refused().await;
        let learned = run(&mut browser, &page, &chat, FOREIGN).await;
        let [nothing, opaque] = [
            json!({"refused": "TypeError"}),
            json!({"status": 0, "type": "opaque", "vary": null, "text": ""}),
        ];
        let [plain, checked, blind, with_cookies, models, routing] =
            &learned.as_array().expect("a list")[..6]
        else {
            unreachable!("six are taken")
        };
        assert_eq!([plain, checked, models, routing], [&nothing; 4], "{origin}: {learned}");
        assert_eq!([blind, with_cookies], [&opaque; 2], "{origin}: {learned}");
        assert_eq!(learned[7], "failed", "{origin}: a websocket");
        assert_eq!(run(&mut browser, &page, &chat, EMBEDDED).await, "opaque");
        // Two blind ones, four that could be read, the beacon, the frame, the form.
        eventually("all arrived", async || (refused().await - before >= 9.0).then_some(())).await;
    }
    assert_eq!(engine.requests().await, 0);
}

#[tokio::test]
async fn the_own_origin_needs_no_setting_and_is_not_stolen() {
    let Some(mut browser) = Chromium::start() else { return };
    let engine = Engine::start("only");
    let gateway = gateway(&engine.url(), "");
    let script = "return ask('/v1/chat/completions', {method: 'POST', body, headers: json})";
    for name in ["127.0.0.1", "localhost"] {
        let models = gateway.url("/v1/models").replace("127.0.0.1", name);
        let page = browser.open(&models).await;
        let answer = run(&mut browser, &page, "", script).await;
        assert_eq!((&answer["status"], &answer["type"]), (&json!(200), &json!("basic")));
    }
    assert_eq!(engine.requests().await, 2);
    // A page whose name points here, since the browser loaded it.
    let rebound = gateway.url("/v1/models").replace("127.0.0.1", "evil.example");
    let page = browser.open(&rebound).await;
    let shown = json!({ "text": browser.run(&page, "document.body.innerText").await });
    assert_eq!(code(&shown), "host_not_allowed", "{shown}");
    let answer = run(&mut browser, &page, "", script).await;
    assert_eq!((&answer["status"], code(&answer)), (&json!(403), "host_not_allowed".into()));
    assert_eq!(engine.requests().await, 2);
}
