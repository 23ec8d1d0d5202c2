//! nginx in front of the gateway: as it is by default, which speaks HTTP/1.0 to it, and with
//! connections that are kept. Each test is passed over where nginx is not installed.

use tests::{Gate, Gateway, Nginx, Raw, Reply, Step, client, eventually, logged, one_model};

const CHAT: &str = "/v1/chat/completions";
const BODY: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
const STREAM: &str = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
const FIRST: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"first\"}}]}\n\n";
const LAST: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"last\"}}]}\n\ndata: [DONE]\n\n";

fn gateway(upstream: &str, more: &str) -> Gateway {
    tests::setup!().models(one_model(&[upstream])).routing(logged(more)).start()
}

/// A default nginx, and one that keeps its connections to the gateway. `more`: of both servers.
fn nginxes(gateway: &Gateway, more: &str) -> Option<[Nginx; 2]> {
    let address = gateway.address();
    let default = format!("{more}\nlocation / {{ proxy_pass http://{address}; }}");
    let kept = format!(
        "{more}\nlocation / {{ proxy_pass http://gateway; proxy_http_version 1.1;\n\
         proxy_set_header Host $proxy_host; proxy_set_header Connection ''; }}"
    );
    let upstream = format!("upstream gateway {{ server {address}; keepalive 4; }}");
    Some([Nginx::start("", &default)?, Nginx::start(&upstream, &kept)?])
}

async fn post(nginx: &Nginx, body: impl Into<reqwest::Body>) -> reqwest::Response {
    client().post(nginx.url(CHAT)).body(body).send().await.expect("an answer")
}

/// `hosts` has the name of the `upstream` block, which nginx sends as `Host`.
const HOSTS: &str = "hosts: [gateway, gw.example]";

#[tokio::test]
async fn answers_and_errors_pass_nginx_whole() {
    let big = format!("{{\"text\":\"{}\"}}", "x".repeat(8 << 20));
    let answer = big.clone();
    let upstream = Raw::start(move |received, wire| match received.body.len() {
        0..1000 if received.text().contains("wrong") => {
            wire.answer(400, r#"{"error":{"code":"from_upstream","message":"no"}}"#);
        }
        0..1000 => wire.answer(200, "{}"),
        _ => {
            wire.send("HTTP/1.1 200 X\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n");
            wire.step(&Step::chunk(&answer));
            wire.step(&Step::chunk(""));
        }
    });
    let gateway = gateway(&upstream.url(), HOSTS);
    let Some(nginxes) = nginxes(&gateway, "client_max_body_size 64m;") else { return };
    for nginx in &nginxes {
        for _ in 0..3 {
            let reply = Reply::read(post(nginx, BODY).await).await.expect("a whole answer");
            assert_eq!((reply.status, reply.text().as_str()), (200, "{}"));
        }
        for (body, status, code) in [
            (r#"{"model":"m","messages":["wrong"]}"#, 400, "from_upstream"),
            (r#"{"model":"none"}"#, 404, "model_not_found"),
            ("{", 400, "invalid_json"),
        ] {
            let reply = Reply::read(post(nginx, body).await).await.expect("a whole answer");
            assert_eq!((reply.status, &reply.json()["error"]["code"]), (status, &code.into()));
        }
        let question = format!(r#"{{"model":"m","messages":["{}"]}}"#, "y".repeat(8 << 20));
        let reply = Reply::read(post(nginx, question.clone()).await).await.expect("a whole answer");
        assert_eq!((reply.status, reply.body.len()), (200, big.len()));
        assert!(reply.body == big.as_bytes() && upstream.last().body == question.as_bytes());
    }
}

#[tokio::test]
async fn streams_pass_nginx_chunk_by_chunk() {
    let gate = Gate::default();
    let upstream = Raw::steps(vec![
        Step::stream(),
        Step::chunk(FIRST),
        Step::Wait(gate.clone()),
        Step::chunk(LAST),
        Step::chunk(""),
    ]);
    let gateway = gateway(&upstream.url(), HOSTS);
    let Some(nginxes) = nginxes(&gateway, "") else { return };
    let mut streams = Vec::new();
    for nginx in &nginxes {
        let mut stream = post(nginx, STREAM).await;
        assert_eq!(stream.headers()["content-type"], "text/event-stream");
        let first = stream.chunk().await.expect("a piece").expect("no end");
        assert_eq!(String::from_utf8_lossy(&first), FIRST);
        streams.push(stream);
    }
    gate.open();
    for stream in streams {
        assert_eq!(stream.text().await.expect("a whole stream"), LAST);
    }
}

#[tokio::test]
async fn cut_streams_do_not_look_whole_behind_nginx() {
    let broken = [
        vec![Step::stream(), Step::chunk(FIRST), Step::Reset],
        vec![Step::stream(), Step::chunk(FIRST), Step::Close],
        // The framing is whole, the content is not.
        vec![Step::stream(), Step::chunk(FIRST), Step::chunk(""), Step::Close],
    ];
    for steps in broken {
        let upstream = Raw::steps(steps.clone());
        let gateway = gateway(&upstream.url(), HOSTS);
        let Some(nginxes) = nginxes(&gateway, "") else { return };
        for nginx in &nginxes {
            let mut stream = post(nginx, STREAM).await;
            let mut said = String::new();
            let is_cut = loop {
                match stream.chunk().await {
                    Ok(Some(piece)) => said += &String::from_utf8_lossy(&piece),
                    Ok(None) => break false,
                    Err(_) => break true,
                }
            };
            assert!(said.starts_with(FIRST) && !said.contains("[DONE]"), "{said}");
            assert!(is_cut, "{steps:?}: it looks whole: {said}");
        }
    }
}

#[tokio::test]
async fn engines_do_not_command_nginx() {
    let commands = "HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\
                    X-Accel-Redirect: /inside/secret\r\nx-accel-charset: koi8-r\r\n\
                    X-Sendfile: secret\r\nX-Accel-Limit-Rate: 1\r\nX-Accel-Expires: 600\r\n\r\n{}";
    let upstream = Raw::steps(vec![Step::send(commands)]);
    let gateway = gateway(&upstream.url(), HOSTS);
    let inside = "location /inside/ { internal; alias ./; }";
    let Some(nginxes) = nginxes(&gateway, inside) else { return };
    for nginx in &nginxes {
        std::fs::write(nginx.folder().join("secret"), "a secret").expect("a writable folder");
        let reply = Reply::read(post(nginx, BODY).await).await.expect("a whole answer");
        assert_eq!((reply.status, reply.text().as_str()), (200, "{}"));
        let passed: Vec<_> = reply.headers.keys().map(|name| name.as_str()).collect();
        assert!(passed.iter().all(|name| !name.contains("accel") && !name.contains("sendfile")));
    }
}

#[tokio::test]
async fn a_client_that_leaves_nginx_cancels_its_request() {
    let upstream = Raw::steps(vec![Step::stream(), Step::chunk(FIRST), Step::Hang]);
    let gateway = gateway(&upstream.url(), HOSTS);
    let Some(nginxes) = nginxes(&gateway, "") else { return };
    for (nth, nginx) in nginxes.iter().enumerate() {
        let mut stream = post(nginx, STREAM).await;
        stream.chunk().await.expect("a piece").expect("no end");
        assert_eq!(upstream.hung_up(), nth);
        drop(stream);
        eventually("it is cancelled", async || (upstream.hung_up() > nth).then_some(())).await;
    }
}

#[tokio::test]
async fn pages_behind_the_public_name_are_the_gateways_own() {
    let upstream = Raw::answering(200, "{}");
    let gateway = gateway(&upstream.url(), HOSTS);
    let Some(nginxes) = nginxes(&gateway, "") else { return };
    for nginx in &nginxes {
        for (origin, status) in [
            ("https://gw.example", 200),
            ("http://gw.example", 200),
            ("https://gw.example:8443", 403),
            ("https://evil.example", 403),
            ("https://gw.example.evil.example", 403),
            ("null", 403),
        ] {
            let request = client().post(nginx.url(CHAT)).header("origin", origin).body(BODY);
            let reply = Reply::read(request.send().await.expect("an answer")).await;
            let reply = reply.expect("a whole answer");
            assert_eq!(reply.status, status, "{origin}: {}", reply.text());
        }
    }
}
