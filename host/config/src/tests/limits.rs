//! Concurrency settings for all deployments, for one side, and for one deployment.

use super::*;

const MODELS: &str = "\
models:
  - id: a
    route:
      - {base_url: 'http://gpu:1', weight: 1}
      - {base_url: 'http://big:1', weight: 1, concurrency: {max: 16}}
      - {base_url: 'https://api.example'}
";

/// Each deployment's `max`, its `queue`, and its `wait` in milliseconds.
fn places(config: &Config) -> Vec<(u32, u32, u128)> {
    let deployments = config.models.iter().flat_map(|model| &model.deployments);
    deployments
        .map(|d| (d.concurrency.max, d.concurrency.queue, d.concurrency.wait.as_millis()))
        .collect()
}

#[test]
fn the_most_specific_concurrency_wins() {
    let routing = "\
concurrency: {queue: 50, wait: 2, local: {max: 4, wait: 30}, remote: {queue: 0}}
remote_deployment:
  - {endpoint: 'https://api.example', models: [a], concurrency: {wait: 1}}
";
    let config = load_texts(MODELS, Some(routing), &[]).unwrap();
    assert_eq!(places(&config), [(4, 50, 30_000), (16, 50, 30_000), (1_000, 0, 1_000)]);
    assert!(config.warnings.is_empty());
    let unset = load_texts(MODELS, Some("concurrency: {local: {max:}}"), &[]).unwrap();
    assert_eq!(places(&unset)[0], (1_000, 100, 10_000));
}

#[test]
fn a_shared_maximum_of_both_sides_is_a_warning() {
    let warned = |concurrency: &str| {
        let routing = format!("concurrency: {concurrency}\n");
        let config = load_texts(MODELS, Some(&routing), &[("MAX", "7")]).unwrap();
        config
            .warnings
            .iter()
            .map(|one| format!("{}:{}: {}", one.line, one.column, one.help))
            .collect::<Vec<_>>()
    };
    let help = |max| {
        format!(
            "1:20: write `concurrency: {{local: {{max: {max}}}}}` if it is for the GPUs; if it is for \
             both, say so with `local` and `remote`"
        )
    };
    assert_eq!(warned("{max: 4}"), [help(4)]);
    // The value of a variable is not shown.
    assert_eq!(warned("\n  max: ${MAX}")[0].replace("2:8", "1:20"), help(8));
    for silent in
        ["{queue: 4}", "{max: 1000}", "{max: 4, remote: {max: 100}}", "{max: 4, local: {max: 8}}"]
    {
        assert!(warned(silent).is_empty(), "{silent}");
    }
}

#[test]
fn all_bodies_may_be_as_large_as_one() {
    let routing = |bodies| format!("limits: {{body_mib: 8, bodies_mib: {bodies}}}\n");
    assert!(load_texts(MODELS, Some(&routing(8)), &[]).is_ok());
    let less = errors(MODELS, Some(&routing(7)), &[]).join("\n");
    assert!(less.contains("one body may be larger than all of them together"), "{less}");
}

#[test]
fn a_shared_maximum_of_one_side_is_no_mistake() {
    let warned = |local: &str, remote: &str, entries: &str| {
        let models = format!(
            "models: [{{id: a, route: [{{base_url: 'http://gpu:1'{local}}}, {{base_url: 'https://api.example'{remote}}}]}}]"
        );
        let routing = format!("concurrency: {{max: 4.0}}\n{entries}");
        let warnings = load_texts(&models, Some(&routing), &[]).unwrap().warnings;
        let is_of_maximum = |warning: &Diagnostic| warning.help.contains("concurrency");
        warnings.into_iter().filter(is_of_maximum).collect::<Vec<_>>()
    };
    let own = ", concurrency: {max: 7}";
    let other = ", concurrency: {queue: 7}";
    for (local, remote, is_shared) in [
        ("", "", true),
        (own, "", false),
        ("", own, false),
        (own, own, false),
        (other, other, true),
    ] {
        assert_eq!(warned(local, remote, "").len(), usize::from(is_shared), "{local} {remote}");
    }
    let entry = "remote_deployment: [{endpoint: 'https://api.example', models: [a], concurrency: {max: 7}}]\n";
    assert!(warned("", "", entry).is_empty(), "an entry has its own");
    let more = "remote_deployment: [{endpoint: 'https://b.example', models: [a]}]\n";
    assert_eq!(warned(", weight: 1", own, more).len(), 1, "one remote has none");
    let help = &warned("", "", "")[0].help;
    assert!(
        help.starts_with("write `concurrency: {local: {max: 8}}`"),
        "4.0 is no whole number: {help}"
    );
}
