use std::cell::RefCell;

use hyper::header::{self, HeaderValue};

use super::*;

thread_local! {
    static DROPPED: RefCell<Vec<(Way, String)>> = const { RefCell::new(Vec::new()) };
}

fn on_dropped(way: Way, name: &str) {
    DROPPED.with_borrow_mut(|dropped| dropped.push((way, name.to_owned())));
}

/// What was dropped since the last call.
fn dropped() -> Vec<(Way, String)> {
    let mut dropped = DROPPED.take();
    dropped.sort_by(|(_, a), (_, b)| a.cmp(b));
    dropped
}

fn given(names: &[&'static str]) -> HeaderMap {
    let value = HeaderValue::from_static("v");
    names.iter().map(|name| (HeaderName::from_static(name), value.clone())).collect()
}

/// The names and values that go up.
fn up(headers: &HeaderMap, client: Option<IpAddr>, passing: Passing<'_>) -> Vec<(String, String)> {
    let mut shown = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let asks_load = false;
    Up { headers, request_id: "id-1", client, hop: "here", asks_load, passing, on_dropped }
        .each(|name, value| shown.push((text(name), text(value))));
    shown.sort();
    shown
}

/// The client's names that go up.
fn names_up(names: &[&'static str], passing: Passing<'_>) -> Vec<String> {
    let own = ["accept-encoding", "cdn-loop", "content-type", "x-request-id"];
    let up = up(&given(names), None, passing).into_iter().map(|(name, _)| name);
    up.filter(|name| !own.contains(&&**name)).collect()
}

const ALL: Passing<'_> = Passing::AllBut(&[]);
const LISTED: Passing<'_> = Passing::Only(&[]);

#[test]
fn credentials_and_hop_by_hop_headers_stay_here() {
    let mut headers = given(&["authorization", "x-api-key", "cookie", "te", "x-mine"]);
    headers.insert(header::CONNECTION, HeaderValue::from_static("close, x-mine"));
    let up = up(&headers, None, ALL);
    let names: Vec<&str> = up.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["accept-encoding", "cdn-loop", "content-type", "x-mine", "x-request-id"]);
    let dropped = dropped();
    let names: Vec<_> = dropped.iter().map(|(way, name)| (*way, &**name)).collect();
    assert_eq!(
        names,
        [(Way::ToLocal, "authorization"), (Way::ToLocal, "cookie"), (Way::ToLocal, "x-api-key")]
    );
}

#[test]
fn no_credential_goes_up_however_it_is_named() {
    let credentials = [
        "api-key",
        "apikey",
        "authorization",
        "cf-access-client-id",
        "cf-access-client-secret",
        "cf-access-jwt-assertion",
        "cookie",
        "ocp-apim-subscription-key",
        "client-cert",
        "private-token",
        "proxy-authorization",
        "x-access-token",
        "x-acme-auth",
        "x-amz-security-token",
        "x-amzn-oidc-data",
        "x-arr-clientcert",
        "x-authentik-username",
        "x-api-key",
        "x-api_key",
        "x-auth-token",
        "x-authentication",
        "x-csrf-token",
        "x-forwarded-access-token",
        "x-functions-key",
        "x-goog-api-key",
        "x-goog-iap-jwt-assertion",
        "x-hub-signature-256",
        "x-ms-client-principal-name",
        "x-user-pwd",
        "x-vault-token",
        "xi-api-key",
    ];
    let any = ["*".to_owned()];
    for passing in [ALL, LISTED, Passing::Only(&any)] {
        let passed = names_up(&credentials, passing);
        assert!(passed.iter().all(|name| name == "user-agent"), "{passed:?}");
    }
    assert!(credentials.iter().all(|name| is_credential(name) && never_goes_up(name)));
    assert!(is_credential("X-Acme-Token") && !is_credential("x-session-id"));
}

#[test]
fn nothing_of_a_page_or_an_account_goes_up() {
    let names = [
        "access-control-request-method",
        "openai-organization",
        "openai-project",
        "origin",
        "referer",
        "sec-ch-ua",
        "sec-fetch-mode",
    ];
    assert!(names_up(&names, ALL).is_empty());
    assert_eq!(names_up(&names, Passing::Only(&["origin".into()])), ["user-agent"]);
}

#[test]
fn users_that_a_proxy_names_stay_here() {
    let names = [
        "remote-email",
        "remote-groups",
        "ssl-client-s-dn",
        "x-pomerium-claim-email",
        "x-remote-group",
        "x-ssl-client-verify",
        "x-webauth-email",
    ];
    assert!(names_up(&names, ALL).is_empty());
    assert!(names.iter().all(|name| never_goes_up(name)));
}

#[test]
fn remote_deployments_get_a_list_and_local_ones_the_rest() {
    let names = ["accept", "openai-beta", "traceparent", "user-agent", "x-stainless-os", "x-team"];
    assert_eq!(names_up(&names, LISTED), ["accept", "openai-beta", "traceparent", "user-agent"]);
    assert_eq!(names_up(&names, ALL), names);
    let named = ["x-team".to_owned(), "x-stainless-*".to_owned()];
    assert_eq!(names_up(&names, Passing::Only(&named)), names);
    assert_eq!(names_up(&names, Passing::AllBut(&named)), &names[..4]);
}

#[test]
fn remote_deployments_are_told_the_gateways_agent() {
    let headers = given(&["user-agent"]);
    let agent = |passing| {
        let all = up(&headers, None, passing).into_iter();
        all.filter(|(name, _)| name == "user-agent").map(|(_, value)| value).collect::<Vec<_>>()
    };
    assert_eq!(agent(LISTED), [USER_AGENT]);
    assert_eq!(agent(ALL), ["v"]);
    assert_eq!(agent(Passing::Only(&["user-agent".into()])), ["v"]);
}

#[test]
fn forwarding_headers_go_up_from_trusted_proxies_only() {
    let names = [
        "x-forwarded-for",
        "forwarded",
        "via",
        "x-real-ip",
        "cf-connecting-ip",
        "incap-client-ip",
        "x-acme-client-ip",
        "x-envoy-upstream-rq-timeout-ms",
        "x-remote-ip",
    ];
    let mut headers = given(&names);
    let client = Some(IpAddr::from([127, 0, 0, 1]));
    let forwarded = |headers: &HeaderMap, client| {
        let mut up = up(headers, client, ALL);
        up.retain(|(name, _)| name == FORWARDED_FOR);
        up.into_iter().map(|(_, value)| value).collect::<Vec<_>>()
    };
    assert_eq!(forwarded(&headers, None), ["v"]);
    assert_eq!(forwarded(&headers, client), ["v, 127.0.0.1"]);
    let other = "2001:db8::10".parse().ok();
    assert_eq!(forwarded(&headers, other), ["v, 2001:db8::10"]);
    drop_forwarding(&mut headers);
    assert!(headers.is_empty());
    assert_eq!(forwarded(&headers, client), ["127.0.0.1"]);
}

#[test]
fn answers_command_no_browser_and_show_no_account() {
    let never = [
        "access-control-allow-origin",
        "anthropic-organization-id",
        "attribution-reporting-register-source",
        "authorization",
        "cdn-cache-control",
        "clear-site-data",
        "content-digest",
        "cross-origin-opener-policy",
        "forwarded",
        "openai-organization",
        "refresh",
        "sec-session-registration",
        "set-cookie",
        "surrogate-control",
        "timing-allow-origin",
        "x-accel-redirect",
        "x-litespeed-location",
        "x-lighttpd-send-file",
        "x-permitted-cross-domain-policies",
        "x-real-ip",
        "x-reproxy-file",
        "x-sendfile",
    ];
    let limits = ["anthropic-ratelimit-tokens-limit", "ratelimit", "x-ratelimit-remaining-tokens"];
    let passing = ["content-type", "openai-processing-ms", "retry-after", "x-mine"];
    let all = given(&[&never[..], &limits, &passing].concat());
    let down = |dropped: &[String], rate_limits| {
        let asked = &HeaderMap::new();
        let down = Down { dropped, asked, rate_limits, on_dropped };
        let passed = down.pass(all.clone());
        let mut names: Vec<_> = passed.keys().map(|name| name.as_str().to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(down(&[], false), passing);
    let told = [&limits[..2], &passing[..3], &["x-mine"], &limits[2..]].concat();
    let mut told: Vec<&str> = told.into_iter().collect();
    told.sort_unstable();
    assert_eq!(down(&[], true), told);
    assert_eq!(down(&["x-*".into(), "openai-*".into()], false), ["content-type", "retry-after"]);
    assert!(dropped().contains(&(Way::ToClient, "set-cookie".into())));
}

#[test]
fn engines_are_asked_for_their_load_once() {
    let formats = |headers: &HeaderMap, asks_load, passing| {
        let mut formats = Vec::new();
        let up = Up {
            headers,
            request_id: "id",
            client: None,
            hop: "h",
            asks_load,
            passing,
            on_dropped,
        };
        up.each(|name, value| {
            if name == LOAD_FORMAT.as_bytes() {
                formats.push(String::from_utf8_lossy(value).into_owned());
            }
        });
        formats
    };
    let (none, mut text) = (HeaderMap::new(), HeaderMap::new());
    text.insert(LOAD_FORMAT, HeaderValue::from_static("TEXT"));
    assert_eq!(formats(&none, false, ALL), [""; 0]);
    assert_eq!(formats(&none, true, ALL), ["json"]);
    assert_eq!(formats(&text, true, ALL), ["TEXT"], "the client's own");
    assert_eq!(formats(&text, true, LISTED), ["json"], "the client's does not pass");
}

#[test]
fn only_clients_that_ask_are_told_the_load() {
    let all = [LOAD, LOAD_JSON, LOAD_BINARY, "endpoint-load-metrics-of-another-kind"];
    let told = |asked: &HeaderMap| {
        let down = Down { dropped: &[], asked, rate_limits: false, on_dropped };
        let passed = down.pass(given(&all));
        all.map(|name| passed.contains_key(name))
    };
    assert_eq!(told(&HeaderMap::new()), [false, false, false, true]);
    assert_eq!(told(&given(&[LOAD_FORMAT])), [true; 4]);
}

#[test]
fn a_gateway_is_found_among_the_hops() {
    let mut headers = HeaderMap::new();
    let hops = |headers: &HeaderMap, passing| {
        let up = up(headers, None, passing).into_iter();
        up.filter(|(name, _)| name == CDN_LOOP).map(|(_, value)| value).collect::<Vec<_>>()
    };
    assert_eq!(hops(&headers, ALL), ["here"]);
    headers.append(CDN_LOOP, HeaderValue::from_static("other; v=1, here-not"));
    assert!(!passed(&headers, "here"));
    headers.append(CDN_LOOP, HeaderValue::from_static("a,here ;x=2"));
    assert!(passed(&headers, "here") && passed(&headers, "other"));
    for passing in [ALL, LISTED, Passing::AllBut(&["cdn-loop".into()])] {
        assert_eq!(hops(&headers, passing), ["other; v=1, here-not, a,here ;x=2, here"]);
    }
}

#[test]
fn an_address_is_written_as_it_is_read() {
    for text in ["0.0.0.0", "10.200.3.44", "255.255.255.255", "::1", "2001:db8::ff00:42"] {
        let mut written = Vec::new();
        address(&mut written, text.parse().expect("an address"));
        assert_eq!(String::from_utf8_lossy(&written), text);
    }
}
