//! Fuzz oracle: the invariants of the configuration, for files of any content.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::document::steps;
use super::{Config, DeploymentConfig, Diagnostic, Document, Model, checked, schema};

/// Separates the two files of an input. Without it there is no `routing.yaml`.
const BETWEEN: &str = "\n=====\n";
/// The schema of a strategy's parameters.
const PARAMETERS: &str = r##"{
    "type": "object", "required": ["a"], "additionalProperties": {"$ref": "#/$defs/b"},
    "properties": {"a": {"type": ["integer", "null"], "minimum": 1}},
    "$defs": {"b": {"anyOf": [{"type": "string", "maxLength": 2}, {"$ref": "#/$defs/c"}]},
              "c": {"type": "array", "items": {"$ref": "#/$defs/b"}, "minItems": 1}}
}"##;

/// Checks that reading both files never panics, that every error has a place in its file and can be
/// shown, and that an accepted configuration keeps the promises of [`Config`]. `input` is
/// `models.yaml`, or both files separated by `BETWEEN`.
pub fn config(input: &[u8]) {
    let Ok(input) = str::from_utf8(input) else { return };
    let (models, routing) = match input.split_once(BETWEEN) {
        Some((models, routing)) => (models, Some(routing)),
        None => (input, None),
    };
    let file = |name: &str, text: &str| Document::parse(name.into(), text.into(), &variable);
    let (models_file, mut errors) = file("models.yaml", models);
    let (routing_file, more) =
        routing.map_or((None, Vec::new()), |text| file("routing.yaml", text));
    errors.extend(more);
    let (models_file, routing_file) = (models_file.map(Arc::new), routing_file.map(Arc::new));
    let place = |error: &Diagnostic| match error.file.as_str() {
        "models.yaml" => has_place(error, models),
        _ => has_place(error, routing.expect("is there")),
    };
    match checked(models_file, routing_file, routing.is_none(), errors) {
        Ok(config) => {
            good(&config);
            if let Some(file) = &config.routing_file {
                let schema = serde_json::from_str(PARAMETERS).expect("JSON");
                schema::check(file, &steps!["routing_parameter"], &schema).iter().for_each(place);
            }
        }
        Err((errors, _)) => {
            assert!(errors.iter().count() > 0, "refused without a reason");
            errors.iter().for_each(place);
            assert!(!errors.to_string().is_empty() && !errors.render(true).is_empty());
            assert_eq!(errors.short().lines().count(), errors.iter().count(), "one line per error");
        }
    }
}

fn variable(name: &str) -> Option<String> {
    let value = match name {
        "NAME" => "a",
        "EMPTY" => "",
        "KEY" => "sk-1",
        "NUMBER" => "5",
        "ODD" => " ${KEY}:\n- 'é'\t",
        "URL" => "http://engine:8000/v1",
        _ => return None,
    };
    Some(value.into())
}

fn has_place(error: &Diagnostic, text: &str) {
    let line = text.split('\n').nth(error.line - 1).expect("a line of the file");
    assert!((1..=line.len() + 1).contains(&error.column), "{error:?}");
    assert!(!error.message.is_empty());
}

fn good(config: &Config) {
    let mut names = HashSet::new();
    assert!(!config.models.is_empty());
    for model in &config.models {
        for name in std::iter::once(&model.id).chain(&model.aliases) {
            assert!(names.insert(name), "two models are called {name:?}");
        }
        good_model(model);
    }
    let (timeouts, clients) = (&config.timeouts, &config.client_timeouts);
    let limits = [timeouts.connect, timeouts.first_byte, timeouts.idle, config.total.0];
    let limits = limits.into_iter().chain([clients.headers, clients.idle, clients.keep_alive]);
    let sandbox = [config.sandbox.call, config.sandbox.request, config.sandbox.compile];
    for time in limits.chain(sandbox).chain(config.probing.interval).chain([config.probing.timeout])
    {
        assert!(time > Duration::ZERO && time <= Duration::from_secs(366 * 86_400), "{time:?}");
    }
    assert!(config.ejection.base <= config.ejection.max && config.ejection.window > 0);
    assert!(config.slow_start.from > 0.0 && config.slow_start.from <= 1.0);
    let (limits, shutdown) = (&config.limits, &config.shutdown);
    assert!(config.fallback.attempts > 0 && limits.body > 0 && limits.bodies >= limits.body);
    assert!(limits.connections > 0 && limits.requests > 0);
    assert!(shutdown.accept.max(shutdown.grace) <= Duration::from_secs(3600));
    assert!(config.probing.down_after > 0 && config.probing.up_after > 0);
    for strategy in &config.strategies {
        assert!(strategy.parameters.is_object() && !strategy.reference.is_empty());
        let is_digest =
            |digest: &String| digest.len() == 64 && !digest.contains(char::is_uppercase);
        assert!(strategy.sha256.as_ref().is_none_or(is_digest));
    }
}

fn good_model(model: &Model) {
    assert!(!model.id.is_empty() && !model.deployments.is_empty());
    let mut names = HashSet::new();
    for deployment in &model.deployments {
        assert!(deployment.concurrency.max > 0 && !deployment.concurrency.wait.is_zero());
        assert!(deployment.timeouts.connect.min(deployment.timeouts.idle) > Duration::ZERO);
        assert!(names.insert(&deployment.name), "two deployments are called {}", deployment.name);
        good_deployment(deployment);
    }
    let weights = || model.deployments.iter().map(|deployment| deployment.weight);
    assert!(weights().all(|weight| (0.0..=1.0).contains(&weight)));
    assert!((weights().sum::<f64>() - 1.0).abs() < 1e-9);
}

fn good_deployment(deployment: &DeploymentConfig) {
    let DeploymentConfig { name, endpoint, api_key, pricing, probe, .. } = deployment;
    assert!(!name.is_empty());
    let visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    let host = &endpoint.origin.host;
    assert!(!host.is_empty() && visible(host), "{host:?}");
    assert!(visible(&endpoint.prefix) && !endpoint.prefix.ends_with('/'), "{endpoint}");
    assert!(
        visible(&endpoint.query) && (endpoint.query.is_empty() || endpoint.query.starts_with('?'))
    );
    // A written endpoint parses to the same endpoint.
    let written = super::endpoint::parse(&endpoint.url(""));
    let written = written.map(|url| url.endpoint);
    let is_as_it_is = endpoint.prefix.ends_with("/v1") && !endpoint.prefix.ends_with("/v1/v1");
    assert!(!is_as_it_is || written.as_ref() == Ok(endpoint), "{endpoint}");
    let writable = |key: &str| !key.is_empty() && !key.contains(|c: char| c.is_ascii_control());
    assert!(
        api_key.as_ref().is_none_or(|key| writable(key.expose())),
        "no header can hold the key"
    );
    assert!(probe.as_ref().is_none_or(|probe| probe.path.starts_with('/') && visible(&probe.path)));
    let prices = [&pricing.prompt, &pricing.completion, &pricing.image, &pricing.request];
    for price in prices.into_iter().chain([pricing.cached(), &pricing.input_cache_writes]) {
        assert!(
            price.parse().is_ok_and(|price: f64| price.is_finite() && price >= 0.0),
            "{price:?}"
        );
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_seed_holds() {
        pieces::replay("config", super::config);
    }
}
