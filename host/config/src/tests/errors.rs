//! All errors are reported at once, each with its place and remedy.

use super::*;

const ONE: &str = "models:\n  - {id: model-a, aliases: [alias-a], base_url: 'http://a'}\n";

#[test]
fn all_errors_of_both_files_come_at_once() {
    let models = "\
models:
  - id: a
    contxt_length: 5
    base_url: http://a
    supports_tools: yes
    max_output_length: '10'
  - name: b
    base_url: http://b
    input_modalities: text
deployments: []
";
    let routing = "\
routing_stratgy: fixed
timeout: 0
health_check: -1
fallback: {attempts: 0, standby: lst}
local_deployment:
  - models: []
    endpoint: http://a
";
    assert_eq!(
        errors(models, Some(routing), &[]),
        [
            "models.yaml:10:1: `deployments` is no longer read; list them in routing.yaml, under `local_deployment` and `remote_deployment`",
            "models.yaml:3:5: unknown key `contxt_length`; did you mean `context_length`?",
            "models.yaml:5:21: expected a boolean, found a string; write true or false",
            "models.yaml:6:24: expected a whole number, found a string; remove the quotes",
            "models.yaml:9:23: expected a list, found a string; put it in brackets: `input_modalities: [...]`",
            "models.yaml:7:5: the key `id` is missing; add `id: ...`, the name clients use",
            "routing.yaml:1:1: unknown key `routing_stratgy`; did you mean `routing_strategy`?",
            "routing.yaml:2:10: the time must be above 0 s; write a time above 0 and at most 31536000 s, default 2 s",
            "routing.yaml:3:15: the time must be at least 0 s; write a time from 0 to 31536000 s, default 0 s",
            "routing.yaml:4:22: the number must be at least 1; write a whole number from 1 to 100, default 3",
            "routing.yaml:4:34: this is not one of the values known here; did you mean `last`?",
            "routing.yaml:6:5: `models` is empty; write at least 1 item (ids or aliases of the models of models.yaml that it runs)",
        ]
    );
}

#[test]
fn one_kind_of_error_does_not_hide_another() {
    let models = "\
models:
  - id: a
    nme: A
    base_url: ${UNSET}
    context_length: ${LENGTH}
  - {id: a, base_url: 'http://u:p@h', max_output_length: x}
  - {id: b, bse_url: http://b}
";
    let routing = "timeot: 1\nlocal_deployment:\n  - {endpoint: 'x:/', models: [zzz, a]}\n";
    let found = errors(models, Some(routing), &[]);
    let messages = [
        "4:15: the environment variable `UNSET`",
        "5:21: the environment variable `LENGTH`",
        "3:5: unknown key `nme`; did you mean `name`?",
        "6:58: expected a whole number, found a string",
        "7:13: unknown key `bse_url`; did you mean `base_url`?",
        "6:10: the model id `a` is given twice",
        "6:23: the URL has a user name",
        "1:1: unknown key `timeot`",
        "3:16: this is not an http or https URL",
        "3:32: models.yaml has no model `zzz`",
    ];
    for message in messages {
        assert!(found.iter().any(|error| error.contains(message)), "{message}: {found:#?}");
    }
    assert_eq!(found.len(), messages.len(), "no error follows from another: {found:#?}");
}

#[test]
fn a_host_with_a_dot_too_many_is_refused() {
    let of = |host: &str| {
        let models = format!("models:\n  - {{id: a, base_url: 'http://{host}/v1'}}\n");
        load_texts(&models, None, &[])
            .map(|config| config.models[0].deployments[0].endpoint.to_string())
    };
    assert_eq!(of("a.b.").unwrap(), "http://a.b");
    // Without its final dots `a..2...` would be read as an invalid IPv4 address.
    for host in ["a.b..", "a..2...", ".a", "a..b", "..."] {
        let error = of(host).unwrap_err().to_string();
        assert!(error.contains("the URL's host has a dot where"), "{host}: {error}");
        assert!(error.contains("models.yaml:2:23"), "{host}: {error}");
    }
}

#[test]
fn an_error_is_shown_with_its_line_and_remedy() {
    let shown = load_texts(ONE, Some("timeot: 3\n"), &[]).unwrap_err().to_string();
    assert!(shown.contains("unknown key `timeot`"), "{shown}");
    assert!(shown.contains("routing.yaml:1:1"), "{shown}");
    assert!(shown.contains("^^^^^^"), "{shown}");
    assert!(shown.contains("help: did you mean `timeout`?"), "{shown}");
}

#[test]
fn names_belong_to_one_model() {
    let models = "\
models:
  - {id: a, base_url: http://a, aliases: [a, x]}
  - {id: a, base_url: http://a}
  - {id: b, base_url: http://a, aliases: [x, a]}
";
    let found = errors(models, None, &[]);
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found[0].contains("the model id `a` is given twice"));
    assert!(found[1].contains("`x` already belongs to the model `a`"));
    assert!(found[2].contains("`a` already belongs to the model `a`"));
}

#[test]
fn what_routing_lists_is_known_and_listed_once() {
    let routing = "\
local_deployment:
  - endpoint: http://one
    models: [alias-b, model-a, zzz]
remote_deployment:
  - endpoint: http://one/v1/
    models: [alias-a]
";
    let found = errors(ONE, Some(routing), &[]);
    assert_eq!(
        found,
        [
            "routing.yaml:3:14: models.yaml has no model `alias-b`; did you mean `alias-a`?",
            "routing.yaml:3:32: models.yaml has no model `zzz`; known there: model-a",
            "routing.yaml:6:14: the model `model-a` is already listed for this endpoint, as local; list a model once for an endpoint (a trailing `/v1` does not count)",
        ]
    );
}

#[test]
fn a_model_needs_a_place_and_a_weight() {
    let models = "\
models:
  - id: nowhere
  - {id: idle, route: [{base_url: http://a, weight: 0}]}
  - {id: twins, route: [{base_url: http://a, name: x}, {base_url: http://b, name: x}]}
  - {id: homeless, route: [{weight: 2}]}
";
    let found = errors(models, None, &[]);
    assert_eq!(found.len(), 4, "{found:#?}");
    assert!(
        found[0].contains("models.yaml:5:29: neither the route nor its model has a `base_url`")
    );
    assert!(found[1].contains("the model `nowhere` runs nowhere"));
    assert!(found[2].contains("all weights of the model `idle` are 0"));
    assert!(
        found[3].contains("models.yaml:4:83: two deployments of the model are named `x`"),
        "{}",
        found[3]
    );
    // A model that only `routing.yaml` gives a place is valid.
    let routing = "local_deployment: [{endpoint: 'http://a', models: [nowhere]}]";
    load_texts("models: [{id: nowhere}]", Some(routing), &[]).unwrap();
}

#[test]
fn urls_are_urls_and_hold_no_credential() {
    for (url, want) in [
        ("localhost:8000", "not an http or https URL"),
        ("ftp://a", "not an http or https URL"),
        ("api.example", "not a URL"),
        ("", "empty"),
        ("http://./v1", "has no host"),
        ("http://user:hunter2@a", "move the credential to `api_key`"),
        ("http://a/?key=hunter2", "credential in its query"),
        ("http://a/#hunter2", "has a fragment"),
        ("http://a/v1/chat/completions", "end it at or before `/v1`"),
    ] {
        let models = format!("models:\n  - id: a\n    base_url: '{url}'\n");
        let routing = format!("local_deployment:\n  - {{endpoint: '{url}', models: [b]}}\n");
        let errors = load_texts(&models, None, &[]).unwrap_err();
        assert!(errors.short().contains(want), "{url}: {errors}");
        assert!(!errors.to_string().contains("hunter2"), "{errors}");
        let errors = load_texts(ONE, Some(&routing), &[]).unwrap_err();
        assert!(errors.short().contains(want), "{url}: {errors}");
        assert!(!errors.to_string().contains("hunter2"), "{errors}");
    }
}

#[test]
fn no_error_shows_a_key() {
    for models in [
        "models: [{id: a, api_key: hunter2, nme: b}]",
        "models:\n  - id: a\n    api_key: [hunter2]\n",
        "models:\n  - id: a\n    api_kye: hunter2\n",
        "models:\n  - id: a\n    api_key: \"hunter2\n",
        "models:\n  - id: a\n    api_key: hunter2: x\n",
        "models:\n  - id: a\n    api_key: |\n      hunter2${UNSET}\n",
        "models:\n  - id: a\n    api_key: ${KEY:-hunter2}${UNSET}\n",
        "models:\n  - id: a\n    api_key: 1\n    api_key: hunter2\n",
        "models:\n  - id: a\n    weight: ${KEY}\n    base_url: ${KEY}\n    context_length: ${KEY}\n",
        "models: [{id: a, base_url: 'http://a', pricing: {prompt: '${KEY}'}}]",
    ] {
        let errors = load_texts(models, None, &[("KEY", "hunter2")]).unwrap_err();
        let shown = format!("{errors}\n{errors:?}\n{}", errors.short());
        assert!(!shown.contains("hunter2"), "{models}: {shown}");
    }
    let config = load_texts(ONE, Some("routing_parameter: {x: hunter2}"), &[]).unwrap();
    assert!(!format!("{:?}", config.routing_file).contains("hunter2"));
}

#[test]
fn a_key_that_no_header_can_hold_is_an_error() {
    for models in [
        "models:\n  - {id: a, base_url: 'http://a', api_key: \"${KEY}\"}\n",
        "models:\n  - id: a\n    base_url: http://a\n    api_key: |\n      hunter2\n",
        "models: [{id: a, route: [{base_url: 'http://a', api_key: \"hunter2\\t\"}]}]",
    ] {
        let errors = load_texts(models, None, &[("KEY", "hunter2\n")]).unwrap_err();
        assert_eq!(errors.iter().count(), 1, "{errors}");
        assert!(errors.short().contains("the key holds a line break"), "{errors}");
        assert!(!errors.to_string().contains("hunter2"), "{errors}");
    }
    let routing = "remote_deployment: [{endpoint: 'http://a', models: [a], api_key: \"${KEY}\"}]";
    let found = errors("models: [{id: a}]", Some(routing), &[("KEY", "a\r")]);
    assert!(found.len() == 1 && found[0].starts_with("routing.yaml:1:"), "{found:?}");
}

#[test]
fn an_error_stays_in_its_line() {
    let models =
        "models: [{id: \"a\\nb\", base_url: 'http://a', \"c\\x1b[2J\": 1}, {id: \"a\\nb\"}]";
    let found = load_texts(models, None, &[]).unwrap_err();
    assert_eq!(found.short().lines().count(), found.iter().count());
    assert!(found.short().contains("the model id `a\\nb` is given twice"), "{found:?}");
    assert!(!found.to_string().contains('\u{1b}'), "{found:?}");
}

#[test]
fn prices_paths_and_digests_are_checked() {
    let models = "\
models:
  - id: a
    base_url: http://a
    pricing: {prompt: '-1', completion: free, image: .inf}
    route: [{health: health}]
";
    let found = errors(models, Some("sha256: abc\n"), &[]);
    assert_eq!(found.len(), 5, "{found:#?}");
    assert!(found[..3].iter().all(|error| error.contains("a price is a number")));
    assert!(found[3].contains("a health path begins with `/`"));
    assert!(found[4].contains("not a SHA-256 digest"));
}

#[test]
fn prices_without_an_exact_amount_are_refused() {
    for (pricing, said) in [
        ("prompt: 0.0000000000001", "12 decimals"),
        ("per_million: true, prompt: 0.0000001", "at most 6 decimals"),
        ("request: 1e9", "at most 18446744.073709551615 dollars"),
        ("hourly: -1", "a price is a number, at least 0"),
        ("cached: 1e-7, input_cache_reads: 1e-7", "are the same price"),
    ] {
        let models = format!("models: [{{id: a, base_url: 'http://a', pricing: {{{pricing}}}}}]");
        let found = errors(&models, None, &[]);
        assert!(found.len() == 1 && found[0].contains(said), "{pricing}: {found:?}");
    }
}

#[test]
fn the_longest_ejection_is_no_shorter_than_the_first() {
    let found = errors(ONE, Some("ejection: {base: 60, max: 30}\nslow_start: {from: 0}\n"), &[]);
    assert_eq!(
        found,
        [
            "routing.yaml:2:20: the number must be above 0; write a number above 0 and at most 1, default 0.1",
            "routing.yaml:1:1: the longest ejection is shorter than the first; make `max` at least `base`: `ejection: {base: 30, max: 300}`",
        ]
    );
}

#[test]
fn a_credential_never_goes_up_whatever_is_listed() {
    let listed = |names: &str| Some(format!("headers: {{to_remote: [{names}]}}\n"));
    assert!(load_texts(ONE, listed("x-team, x-*").as_deref(), &[]).is_ok());
    let found = errors(ONE, listed("x-team, authorization, cookie").as_deref(), &[]);
    let says = "this header never goes to a deployment";
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].starts_with(&format!("routing.yaml:1:31: {says}")), "{found:#?}");
    assert!(found[1].starts_with(&format!("routing.yaml:1:46: {says}")), "{found:#?}");
}

#[test]
fn all_bodies_have_room_for_one() {
    let found = errors(ONE, Some("limits: {body_mib: 8, bodies_mib: 4, requests: 0}\n"), &[]);
    assert_eq!(
        found,
        [
            "routing.yaml:1:48: the number must be at least 1; write a whole number from 1 to 1000000, default 5000",
            "routing.yaml:1:1: one body may be larger than all of them together; make `bodies_mib` at least `body_mib`: `limits: {body_mib: 32, bodies_mib: 1024}`",
        ]
    );
}

#[test]
fn a_stop_takes_an_hour_at_most() {
    let found = errors(ONE, Some("shutdown:\n  accept: -1\n  grace: 5000\n  wait: 1\n"), &[]);
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found[0].starts_with("routing.yaml:2:11: the time must be at least 0 s"), "{found:#?}");
    assert!(
        found[1].starts_with("routing.yaml:3:10: the time must be at most 3600 s"),
        "{found:#?}"
    );
    assert!(found[2].starts_with("routing.yaml:4:3: "), "{found:#?}");
}

#[test]
fn a_value_that_nearly_fits_is_shown_the_right_form() {
    let digits = format!("sha256: {}\n", "1".repeat(64));
    for (routing, want) in [
        (&*digits, "expected a string, found a number; put it in quotes"),
        ("slow_start: {from: 10}", "at most 1; write 0.1 for 10 %: shares are from 0 to 1"),
        ("slow_start: {from: 101}", "at most 1; write a number above 0 and at most 1, default 0.1"),
        ("limits: 5", "expected a mapping, found a number; write keys and values: `limits: {...}`"),
        ("trusted_proxies: 10.0.0.0/8", "put it in brackets: `trusted_proxies: [...]`"),
        ("fallback: {standby: first}", "known here; write `last` or `never`"),
        ("fallback: {attempts: many}", "write a whole number from 1 to 100, default 3"),
        (
            "routing_strategy: ''",
            "`routing_strategy` is empty; write at least 1 character (a built-in",
        ),
        ("strategies: {a: {}}", "add `routing_strategy: ...`, a built-in strategy"),
    ] {
        let found = errors(ONE, Some(&format!("{routing}\n")), &[]);
        assert!(found[0].contains(want), "{routing}: {found:?}");
    }
    // The value of a variable is not shown.
    let found = errors(ONE, Some("slow_start: {from: \"${FROM}\"}\n"), &[("FROM", "60")]);
    assert!(!found[0].contains("60"), "{found:?}");
    let found = errors(ONE, Some("slow_start:\n  from: ${FROM}\n"), &[("FROM", "37")]);
    assert!(found[0].ends_with("write 0.6 for 60 %") && !found[0].contains("37"), "{found:?}");
}

#[test]
fn a_dropped_part_causes_no_further_error() {
    let entry = "local_deployment: [{endpoint: 'ftp://a', models: [a]}]";
    for (models, routing, said) in [
        ("models: [{id: a, route: x}]", None, "expected a list, found a string"),
        ("models: [{id: a, base_url: 'ftp://a'}]", None, "not an http or https URL"),
        ("models: [{id: a, base_url: '${UNSET}'}]", None, "`UNSET` is not set"),
        ("models: [{id: a}]", Some("local_deployment: x"), "expected a list, found a string"),
        ("models: [{id: a}]", Some(entry), "not an http or https URL"),
        ("models: [{id: a}]", Some("- a"), "expected a mapping, found a list"),
        ("models: [{id: a, route: x}]", Some("timeout: 1"), "expected a list, found a string"),
        ("models: [{id: a}]", Some("timeout: 1"), "the model `a` runs nowhere"),
        ("models: [{id: a, route: []}]", None, "`route` is empty"),
    ] {
        let found = errors(models, routing, &[]);
        assert!(found.len() == 1 && found[0].contains(said), "{models} {routing:?}: {found:#?}");
    }
}

#[test]
fn a_name_given_twice_is_shown_where_it_stands() {
    let models = "\
models:
  - id: a
    route: [{base_url: http://a}, {base_url: http://b, name: x, weight: 1}]
";
    let first = "{endpoint: 'http://a', models: [a], name: x}";
    let second = "{endpoint: 'http://b', models: [a]}";
    let third = "{endpoint: 'http://c', models: [a], name: x}";
    for (entries, place) in [
        // The entry names the first deployment, the route the second.
        (format!("[{first}, {second}]"), "models.yaml:3:62"),
        (format!("[{third}]"), "routing.yaml:1:62"),
    ] {
        let found = errors(models, Some(&format!("local_deployment: {entries}\n")), &[]);
        let want = format!(
            "{place}: two deployments of the model are named `x`; give one of them another `name`"
        );
        assert_eq!(found, [want]);
    }
    // Names that are not given avoid those that are.
    let models = "\
models:
  - id: a
    route: [{base_url: 'http://a'}, {base_url: 'http://b', name: local-1}, {base_url: 'http://c'}]
";
    let config = load_texts(models, None, &[]).unwrap();
    let names: Vec<_> = config.models[0].deployments.iter().map(|d| &*d.name).collect();
    assert_eq!(names, ["local-2", "local-1", "local-3"]);
}
