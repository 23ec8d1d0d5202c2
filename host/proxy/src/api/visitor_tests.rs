use super::*;

fn config(origins: &[&str], hosts: &[&str]) -> Config {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let cors = Cors { origins: owned(origins), ..Cors::default() };
    Config { cors, hosts: owned(hosts), ..Config::default() }
}

fn request(target: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::get(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a request")
}

/// What happens to a request: `own`, the origin that may read it, or the code of the refusal.
fn judged(config: &Config, is_loopback: bool, headers: &[(&str, &str)]) -> String {
    match Visitor::of(&request("/v1/models", headers), config, is_loopback) {
        Visitor::Own { .. } => "own".into(),
        Visitor::Allowed(origin) => origin.to_str().expect("ASCII").into(),
        Visitor::Refused { refusal, .. } => refusal.code.into(),
    }
}

const FOREIGN: &str = "origin_not_allowed";

#[test]
fn foreign_pages_are_refused_and_programs_are_not() {
    let config = config(&[], &[]);
    let page = |origin| judged(&config, false, &[("host", "gw.example:8000"), ("origin", origin)]);
    assert_eq!(judged(&config, false, &[("host", "gw.example")]), "own");
    assert_eq!(judged(&config, false, &[]), "own");
    assert_eq!(page("http://gw.example:8000"), "own");
    assert_eq!(page("http://GW.example:8000"), "own");
    for foreign in [
        "http://evil.example",
        "http://gw.example",
        "http://gw.example:8001",
        "http://gw.example:8000.evil.example",
        "http://user@gw.example:8000",
        "https://gw.example",
        "null",
        "",
        "file://",
        "chrome-extension://gw.example:8000",
        "http://gw.example:8000, http://evil.example",
    ] {
        assert_eq!(page(foreign), FOREIGN, "{foreign}");
    }
    let twice = [
        ("host", "gw.example"),
        ("origin", "https://gw.example"),
        ("origin", "https://evil.example"),
    ];
    assert_eq!(judged(&config, false, &twice), FOREIGN);
}

#[test]
fn a_gateway_behind_tls_is_its_own() {
    let config = config(&[], &[]);
    let page = |host, origin| judged(&config, false, &[("host", host), ("origin", origin)]);
    assert_eq!(page("gw.example", "https://gw.example"), "own");
    assert_eq!(page("gw.example:443", "https://gw.example"), "own");
    assert_eq!(page("[2001:db8::1]", "http://[2001:db8::1]"), "own");
}

#[test]
fn a_page_without_origin_tells_its_site() {
    let config_of = config;
    let config = config_of(&[], &[]);
    let site = |config: &Config, site| judged(config, false, &[("sec-fetch-site", site)]);
    for own in ["none", "same-origin", "same-site"] {
        assert_eq!(site(&config, own), "own");
    }
    assert_eq!(site(&config, "cross-site"), FOREIGN);
    assert_eq!(site(&config_of(&["https://a.example"], &[]), "Cross-Site"), FOREIGN);
    assert_eq!(site(&config_of(&["*"], &[]), "cross-site"), "own");
}

#[test]
fn loopback_answers_to_names_of_this_machine() {
    let config_of = config;
    let config = config_of(&[], &["gw.example"]);
    let host = |config: &Config, host| judged(config, true, &[("host", host)]);
    for own in [
        "localhost",
        "LOCALHOST:8000",
        "localhost.:8000",
        "app.localhost",
        "127.0.0.1:1",
        "127.9.9.9",
        "[::1]:8000",
        "[::ffff:127.0.0.1]",
        "gw.example:8000",
    ] {
        assert_eq!(host(&config, own), "own", "{own}");
    }
    for other in
        ["evil.example", "localhost.evil.example", "10.0.0.1", "127.0.0.1.nip.io", "0.0.0.0"]
    {
        assert_eq!(host(&config, other), "host_not_allowed", "{other}");
        assert_eq!(host(&config_of(&[], &["*"]), other), "own", "{other}");
    }
    let rebound = [("host", "evil.example:8000"), ("origin", "http://evil.example:8000")];
    assert_eq!(judged(&config, true, &rebound), "host_not_allowed");
    assert_eq!(judged(&config, false, &rebound), FOREIGN, "`hosts` says which names are its own");
    let named = [("host", "127.0.0.1:8000"), ("origin", "https://gw.example")];
    assert_eq!(judged(&config, true, &named), "own");
}

#[test]
fn the_target_counts_before_the_host() {
    let config = config(&[], &[]);
    let of = |target| Visitor::of(&request(target, &[("host", "localhost")]), &config, true);
    assert!(matches!(of("http://localhost:1/v1/models"), Visitor::Own { .. }));
    assert!(matches!(of("http://evil.example/v1/models"), Visitor::Refused { .. }));
}

#[test]
fn allowed_pages_are_told_so() {
    let config_of = config;
    let config = config_of(&["https://a.example"], &[]);
    let page =
        |origin: &'static str| Visitor::of(&request("/", &[("origin", origin)]), &config, false);
    let mut headers = HeaderMap::new();
    headers.insert(VARY, HeaderValue::from_static("accept"));
    page("https://a.example").mark(&mut headers);
    assert_eq!(headers["access-control-allow-origin"], "https://a.example");
    assert!(headers.get_all(VARY).iter().eq(["accept", "origin"]));
    let mut headers = HeaderMap::new();
    page("https://b.example").mark(&mut headers);
    assert!(headers.get(ACCESS_CONTROL_ALLOW_ORIGIN).is_none());
    assert_eq!(headers[VARY], "origin");
    assert_eq!(judged(&config_of(&["*"], &[]), false, &[("origin", "null")]), "*");
    assert_eq!(judged(&config_of(&["null"], &[]), false, &[("origin", "null")]), "null");
}

#[test]
fn a_preflight_is_answered_for_allowed_pages_only() {
    let ask = |origin: &'static str, config: &Config| {
        let asked = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization,x-stainless-os"),
            ("access-control-request-private-network", "true"),
        ];
        let mut request = request("/v1/chat/completions", &asked);
        *request.method_mut() = Method::OPTIONS;
        Visitor::of(&request, config, false).preflight(&request, &config.cors)
    };
    let config = config(&["https://a.example"], &[]);
    assert!(ask("https://b.example", &config).is_none());
    let answer = ask("https://a.example", &config).expect("an answer");
    let headers = answer.headers();
    assert_eq!(answer.status(), 204);
    assert_eq!(headers["access-control-allow-headers"], "authorization,x-stainless-os");
    assert_eq!(headers["access-control-allow-methods"], "GET, HEAD, POST");
    assert_eq!(headers["access-control-max-age"], "600");
    assert_eq!(headers["access-control-allow-private-network"], "true");
    let few = Cors { headers: vec!["authorization".into()], ..config.cors.clone() };
    let few = Config { cors: few, ..config };
    let answer = ask("https://a.example", &few).expect("an answer");
    assert_eq!(answer.headers()["access-control-allow-headers"], "authorization");
}
