//! `gateway check --probe`: asks each deployment for its models, with its key. Costs no tokens.

use std::collections::HashMap;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::Value;

use config::{DeploymentConfig, Endpoint, Secret};
use fleet::{Deployment, Fleet};

/// Time for one answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most deployments asked at one time.
const AT_ONCE: usize = 16;
/// Largest list of models that is read, in bytes. OpenRouter's is 1 MiB.
const LARGEST: usize = 8 << 20;
/// Most names of models that are shown.
const SHOWN: usize = 3;

/// The models that a place lists, or why it lists none. None of its words name an address or key.
type Listed = Result<Vec<String>, String>;
type Place = (Endpoint, Option<Secret>);

/// Asks each place once, and prints a line for each deployment. Fails if one of them cannot answer.
pub(super) fn run(fleet: &Fleet, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = proxy::probe::client(proxy::tls::client()?)?;
    let place = |of: &Arc<Deployment>| (of.config.endpoint.clone(), of.config.api_key.clone());
    let mut places: Vec<Place> = Vec::new();
    for deployment in fleet.deployments() {
        let place = place(deployment);
        if !places.contains(&place) {
            places.push(place);
        }
    }
    let asked = futures_util::stream::iter(places).map(|place| {
        let client = client.clone();
        async move {
            let listed = list(&client, &place).await;
            (place, listed)
        }
    });
    let listed: HashMap<Place, Listed> =
        runtime.block_on(asked.buffer_unordered(AT_ONCE).collect());
    let mut is_good = true;
    for deployment in fleet.deployments() {
        let said = judge(&deployment.config, &listed[&place(deployment)]);
        let (model, name) = (&deployment.model, &deployment.config.name);
        match said {
            Ok(()) => writeln!(out, "probe {model}/{name}: ok")?,
            Err(reason) => {
                is_good = false;
                writeln!(out, "probe {model}/{name}: {reason}")?;
            }
        }
    }
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn list(client: &reqwest::Client, (endpoint, key): &Place) -> Listed {
    let mut request = client.get(endpoint.url("/models")).timeout(PATIENCE);
    if let Some(key) = key {
        request = request.bearer_auth(key.expose());
    }
    let mut answer = request.send().await.map_err(|error| match error {
        error if error.is_timeout() => format!("no answer within {PATIENCE:?}"),
        error if error.is_connect() => {
            format!("no connection: look at host and port ({})", innermost(&error))
        }
        _ => "no valid answer: is this http or https?".to_owned(),
    })?;
    match answer.status().as_u16() {
        200 => {}
        401 | 403 if key.is_some() => return Err("its key is refused".to_owned()),
        401 | 403 => return Err("it needs a key: set `api_key`".to_owned()),
        404 => return Err("it has no list of models at this URL: look at its path".to_owned()),
        status => return Err(format!("answered {status}")),
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|_| "its answer breaks off".to_owned())? {
        body.extend_from_slice(&chunk);
        if body.len() > LARGEST {
            return Err("its list of models is too long".to_owned());
        }
    }
    names(&body).ok_or_else(|| "it answers, but not with a list of models".to_owned())
}

/// The innermost cause of an error. It says most, and contains no URL.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// The names in a list of models. Some have the list itself at the top.
fn names(body: &[u8]) -> Option<Vec<String>> {
    let list: Value = serde_json::from_slice(body).ok()?;
    let models = list.as_array().or_else(|| list["data"].as_array())?;
    let name = |model: &Value| {
        let name = model["id"].as_str().or_else(|| model["name"].as_str());
        name.map(str::to_owned)
    };
    Some(models.iter().filter_map(name).collect())
}

fn judge(config: &DeploymentConfig, listed: &Listed) -> Result<(), String> {
    let names = listed.as_ref().map_err(Clone::clone)?;
    let wanted = config.provider_model_id.as_str();
    // Gemini lists `models/NAME`, Ollama `NAME:latest`.
    let is_it = |name: &String| {
        let name = name.strip_prefix("models/").unwrap_or(name);
        name == wanted || name.strip_suffix(":latest") == Some(wanted)
    };
    // llama.cpp lists the file that it loaded, and answers to any name.
    let takes_any = config.kind.to_ascii_lowercase().starts_with("llama");
    if takes_any || names.iter().any(is_it) {
        return Ok(());
    }
    if names.is_empty() {
        return Err("it lists no model".to_owned());
    }
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = names.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Err(format!("it does not list the model `{wanted}`; it lists: {shown}{more}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_models_are_read() {
        let openai = br#"{"object":"list","data":[{"id":"a"},{"id":"b"}]}"#;
        assert_eq!(names(openai), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(names(br#"[{"id":"a"},{"name":"b"},{}]"#).map(|names| names.len()), Some(2));
        assert_eq!(names(b"<html>"), None);
        assert_eq!(names(br#"{"error":{}}"#), None);
    }
}
