//! Strategies of models, candidates, and the headers that strategies see.

use super::*;

const TWO: &str = "models:\n  - {id: a, aliases: [first], base_url: 'http://a'}\n  - {id: b, base_url: 'http://b'}\n";

#[test]
fn a_model_may_have_a_strategy_of_its_own() {
    let routing = "\
routing_strategy: local-first
strategies:
  first:
    routing_strategy: fixed
    routing_parameter: {local_fraction: 0.2}
    candidate: {routing_strategy: fixed, shadow: true}
";
    let config = load_texts(TWO, Some(routing), &[]).unwrap();
    let of = |model: usize| &config.strategies[config.models[model].strategy];
    assert_eq!((&*of(0).reference, &*of(1).reference), ("fixed", "local-first"));
    assert_eq!(of(0).parameters, serde_json::json!({"local_fraction": 0.2}));
    let candidate = of(0).candidate.as_ref().unwrap();
    assert_eq!(candidate.mode, TrialMode::Shadow);
    assert_eq!(candidate.rollback, Rollback::default());
    assert!(of(1).candidate.is_none());
}

#[test]
fn a_model_has_one_strategy_and_is_known() {
    let own = "{routing_strategy: fixed}";
    let routing = format!("strategies:\n  a: {own}\n  first: {own}\n  zzzz: {own}\n");
    assert_eq!(
        errors(TWO, Some(&routing), &[]),
        [
            "routing.yaml:3:3: this model has a strategy already; name a model once, by its id or an alias",
            "routing.yaml:4:3: models.yaml has no model `zzzz`; known there: a, b",
        ]
    );
}

#[test]
fn a_candidate_is_a_shadow_or_a_canary() {
    let said = |how: &str| {
        let routing = format!("candidate: {{routing_strategy: fixed{how}}}\n");
        errors(TWO, Some(&routing), &[])
    };
    for how in ["", ", shadow: true, canary: 0.1", ", shadow: false"] {
        let [error] = &said(how)[..] else { panic!("{how}") };
        assert!(error.contains("needs one of `shadow` and `canary`"), "{error}");
    }
    for how in [", canary: 0", ", canary: 1"] {
        let [error] = &said(how)[..] else { panic!("{how}") };
        assert!(error.contains("this is not a share of the requests"), "{error}");
    }
    let good =
        "candidate: {routing_strategy: fixed, canary: 0.05, rollback: {faults: 1, margin: 0}}\n";
    let config = load_texts(TWO, Some(good), &[]).unwrap();
    let candidate = config.strategies[0].candidate.as_ref().unwrap();
    assert_eq!(candidate.mode, TrialMode::Canary(0.05));
    assert_eq!(candidate.rollback, Rollback { faults: 1, margin: 0.0, ..Rollback::default() });
    let [error] = &said(", canary: 2")[..] else { panic!("a share") };
    assert!(error.contains("the number must be at most 1"), "{error}");
}

#[test]
fn no_credential_is_told() {
    let routing = "\
request:
  session_header: X-Session-Id
  tenant_header: Authorization
  headers: [X-Tier, cookie, 'no name']
";
    assert_eq!(
        errors(TWO, Some(routing), &[]),
        [
            "routing.yaml:3:18: strategies are never told credentials; name a header that carries no credential, such as x-session-id",
            "routing.yaml:4:21: strategies are never told credentials; name a header that carries no credential, such as x-session-id",
            "routing.yaml:4:29: this is not a header name; write letters, digits and `-`: x-session-id",
        ]
    );
    let good = "request: {session_header: X-Session-Id, headers: [X-Tier]}\n";
    let request = load_texts(TWO, Some(good), &[]).unwrap().request;
    assert_eq!(request.session_header.as_deref(), Some("x-session-id"));
    assert_eq!((request.tenant_header, request.headers), (None, vec!["x-tier".to_owned()]));
}

#[test]
fn a_digest_has_64_hexadecimal_digits() {
    let digest = |text: &str| {
        load_texts(TWO, Some(&format!("sha256: '{text}'\n")), &[])
            .map(|c| c.strategies[0].sha256.clone())
    };
    let good = "0aF".repeat(21) + "9";
    assert_eq!(digest(&good).unwrap(), Some(good.to_lowercase()));
    for bad in [&good[1..], &format!("{good}0"), &good.replace('F', "g")] {
        let said = digest(bad).unwrap_err().short();
        assert!(said.contains("not a SHA-256 digest"), "{said}");
    }
}

#[test]
fn proxies_are_addresses_or_networks() {
    let routing = "trusted_proxies: [10.0.0.0/8, 192.0.2.1, '::1', 10.0.0.0/33, here]\n";
    assert_eq!(
        errors(TWO, Some(routing), &[]),
        [
            "routing.yaml:1:49: this is not a network; write an address or a network: 10.0.0.0/8",
            "routing.yaml:1:62: this is not a network; write an address or a network: 10.0.0.0/8",
        ]
    );
    let good = "trusted_proxies: [10.0.0.0/8, 192.0.2.1, '::1']\n";
    let proxies = load_texts(TWO, Some(good), &[]).unwrap().trusted_proxies;
    let shown: Vec<_> = proxies.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["10.0.0.0/8", "192.0.2.1/32", "::1/128"]);
}
