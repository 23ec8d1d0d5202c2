//! Which headers and which part of the URL pass, up to deployments and down to clients.

use tests::{Gateway, Port, Raw, Received, Reply, logged};

/// A gateway with one deployment of each side: the models `near` and `far`.
fn gateway(upstream: &Raw, more: &str) -> Gateway {
    let models = format!(
        "models:\n  - {{id: near, base_url: '{0}'}}\n  \
         - {{id: far, route: [{{base_url: '{0}', side: remote, api_key: sk-gateway}}]}}\n",
        upstream.url()
    );
    tests::setup!().models(models).routing(logged(more)).start()
}

/// Sends a chat request with these headers, and gives what the upstream got.
async fn sent(
    gateway: &Gateway,
    upstream: &Raw,
    model: &str,
    headers: &[(&str, &str)],
) -> Received {
    let reply = asked(gateway, model, headers).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    upstream.last()
}

async fn asked(gateway: &Gateway, model: &str, headers: &[(&str, &str)]) -> Reply {
    let url = gateway.url("/v1/chat/completions?key=client-secret");
    let mut request = gateway.client().post(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.body(format!("{{\"model\":\"{model}\"}}")).send().await;
    Reply::read(answer.expect("an answer")).await.expect("a whole answer")
}

/// Headers that no deployment may get.
const NEVER: [&str; 17] = [
    "authorization",
    "cf-access-client-secret",
    "cf-connecting-ip",
    "cookie",
    "incap-client-ip",
    "ocp-apim-subscription-key",
    "openai-organization",
    "openai-project",
    "referer",
    "sec-ch-ua",
    "x-acme-token",
    "x-api-key",
    "x-auth-token",
    "x-forwarded-host",
    "x-goog-api-key",
    "x-ssl-client-cert",
    "x-webauth-email",
];
const PLAIN: [&str; 3] = ["x-stainless-os", "x-team", "x-tier"];
const API: [&str; 3] = ["accept", "openai-beta", "traceparent"];

fn names(of: &Received) -> Vec<&str> {
    of.headers.iter().map(|(name, _)| name.as_str()).collect()
}

#[tokio::test]
async fn credentials_stay_and_remotes_get_a_list() {
    let upstream = Raw::answering(200, "{}");
    let gateway = gateway(&upstream, "");
    let all = [&NEVER[..], &PLAIN, &API].concat();
    let headers: Vec<_> = all.iter().map(|name| (*name, "client-secret")).collect();
    for (model, plain) in [("near", true), ("far", false)] {
        let got = sent(&gateway, &upstream, model, &headers).await;
        let names = names(&got);
        for name in API {
            assert!(names.contains(&name), "{model}: {name}");
        }
        for name in PLAIN {
            assert_eq!(names.contains(&name), plain, "{model}: {name}");
        }
        for name in NEVER {
            let value = got.header(name).unwrap_or_default();
            assert!(!value.contains("client-secret"), "{model}: {name}");
        }
        assert_eq!(got.path, "/v1/chat/completions", "the query stays here");
    }
    let agent = upstream.last().header("user-agent").map(str::to_owned);
    assert!(agent.is_some_and(|agent| agent.starts_with("gateway/")));
}

#[tokio::test]
async fn what_is_dropped_is_named_once() {
    let upstream = Raw::answering(200, "{}");
    let gateway = gateway(&upstream, "");
    for _ in 0..5 {
        sent(&gateway, &upstream, "far", &[("x-team", "a"), ("x-tier", "b")]).await;
    }
    let told = async |name: &str| {
        let line = format!("\"header\":\"{name}\"");
        tests::eventually("the line", async || gateway.log().contains(&line).then_some(())).await;
        gateway.log().matches(&line).count()
    };
    assert_eq!((told("x-team").await, told("x-tier").await), (1, 1));
}

#[tokio::test]
async fn what_passes_is_set_for_each_way() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\
                  access-control-allow-origin: *\r\nx-accel-redirect: /secret\r\nrefresh: 0\r\n\
                  set-cookie: a=b\r\nclear-site-data: \"*\"\r\nopenai-organization: acme\r\n\
                  x-ratelimit-remaining-requests: 7\r\nx-engine: a\r\nx-mine: b\r\n\r\n{}";
    let upstream = Raw::start(move |_, wire| wire.send(answer));
    let headers = [("x-team", "a"), ("x-stainless-os", "b"), ("x-tier", "c")];
    let plain = gateway(&upstream, "");
    let down = asked(&plain, "near", &headers).await;
    for never in [
        "access-control-allow-origin",
        "clear-site-data",
        "openai-organization",
        "refresh",
        "set-cookie",
        "x-accel-redirect",
        "x-ratelimit-remaining-requests",
    ] {
        assert!(!down.headers.contains_key(never), "{never}");
    }
    assert_eq!((down.header("x-engine"), down.header("x-mine")), ("a", "b"));
    let set = gateway(
        &upstream,
        "headers: {to_remote: [X-Team, 'x-stainless-*'], not_to_local: [x-tier], \
         not_to_clients: [x-engine], rate_limits: true}",
    );
    let got = sent(&set, &upstream, "far", &headers).await;
    assert_eq!((got.header("x-team"), got.header("x-stainless-os")), (Some("a"), Some("b")));
    assert_eq!(got.header("x-tier"), None);
    let got = sent(&set, &upstream, "near", &headers).await;
    assert_eq!((got.header("x-team"), got.header("x-tier")), (Some("a"), None));
    let down = asked(&set, "near", &headers).await;
    assert_eq!(down.header("x-ratelimit-remaining-requests"), "7");
    assert!(!down.headers.contains_key("x-engine"));
}

#[tokio::test]
async fn requests_go_to_the_path_of_the_api() {
    let upstream = Raw::answering(200, "{}");
    let url = upstream.url();
    let models = format!(
        "models:\n  - {{id: plain, base_url: '{url}/llama'}}\n  \
         - {{id: version, base_url: '{url}/api/paas/v4/'}}\n  \
         - {{id: openai, base_url: '{url}/v1beta/openai'}}\n  \
         - {{id: azure, base_url: '{url}/openai/v1?api-version=preview'}}\n  \
         - {{id: set, base_url: '{url}/v1', path: /inference}}\n"
    );
    let setup = tests::setup!().models(&models).arg("check").output();
    let printed = String::from_utf8(setup.stdout).expect("text");
    let gateway = tests::setup!().models(models).start();
    for (model, path) in [
        ("plain", "/llama/v1/chat/completions"),
        ("version", "/api/paas/v4/chat/completions"),
        ("openai", "/v1beta/openai/chat/completions"),
        ("azure", "/openai/v1/chat/completions?api-version=preview"),
        ("set", "/inference/chat/completions"),
    ] {
        assert_eq!(gateway.chat(model).await.status, 200, "{model}");
        assert_eq!(upstream.last().path, path, "{model}");
        assert!(printed.contains(&format!("{url}{path}")), "{printed}");
    }
}

#[tokio::test]
async fn a_model_in_two_cases_is_refused() {
    let upstream = Raw::answering(200, "{}");
    let gateway = gateway(&upstream, "");
    for body in [r#"{"model":"near","MODEL":"far"}"#, r#"{"Model":"far","model":"near"}"#] {
        let reply = gateway.post("/v1/chat/completions", body).await;
        assert_eq!((reply.status, &reply.error()["code"]), (400, &"duplicate_parameter".into()));
    }
    assert!(upstream.received().is_empty());
}

#[tokio::test]
async fn check_asks_deployments_for_their_models() {
    let lists = Raw::start(|received, wire| match received.header("authorization") {
        Some("Bearer sk-good") => wire.answer(200, r#"{"object":"list","data":[{"id":"m"}]}"#),
        _ => wire.answer(401, "{}"),
    });
    let (url, nobody) = (lists.url(), Port::take().url());
    let route = |name: &str, url: &str, more: &str| {
        format!("      - {{name: {name}, base_url: '{url}'{more}}}\n")
    };
    let models = [
        "models:\n  - id: m\n    route:\n".to_owned(),
        route("good", &url, ", api_key: sk-good"),
        route("unkeyed", &url, ""),
        route("wrong", &url, ", api_key: sk-wrong"),
        route("renamed", &url, ", api_key: sk-good, provider_model_id: other"),
        route("gone", &nobody, ""),
    ];
    let check =
        move || tests::setup!().models(models.concat()).arg("check").arg("--probe").output();
    let output = tokio::task::spawn_blocking(check).await.expect("no panic");
    let said = String::from_utf8(output.stdout).expect("text");
    for line in [
        "probe m/good: ok",
        "probe m/unkeyed: it needs a key: set `api_key`",
        "probe m/wrong: its key is refused",
        "probe m/renamed: it does not list the model `other`; it lists: m",
        "probe m/gone: no connection",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert_eq!(output.status.code(), Some(1));
    assert!(!said.contains("sk-"), "{said}");
}
