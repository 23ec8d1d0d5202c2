//! What the engine tells of its load: `/metrics` and the header `endpoint-load-metrics`, as vLLM
//! does. It can be told to hang, to lie, or to have no such page.

use std::time::Duration;

use hyper::header::HeaderValue;
use serde::{Deserialize, Serialize};

use super::engine::{Engine, Settings};

/// How the engine answers `/metrics`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Telling {
    /// With its load.
    #[default]
    Truth,
    /// With numbers that cannot be: NaN, below 0, 10^300.
    Lie,
    /// Not at all, while the connection stays open.
    Hang,
    /// With 404.
    Off,
}

/// Longest delay of an answer.
const LONGEST: Duration = Duration::from_secs(86_400);

/// The text of `/metrics`. None: there is no such page.
pub(super) async fn text(engine: &Engine, settings: &Settings) -> Option<String> {
    tokio::time::sleep(Duration::from_millis(settings.metrics_ms).min(LONGEST)).await;
    let load = engine.load();
    let kv = load.kv(settings.places).to_string();
    match settings.metrics {
        Telling::Truth => {
            Some(exposition(engine, [&load.working.to_string(), &load.waiting.to_string(), &kv]))
        }
        Telling::Lie => Some(exposition(engine, ["NaN", "-3", "1e300"])),
        Telling::Hang => std::future::pending().await,
        Telling::Off => None,
    }
}

fn exposition(engine: &Engine, [running, waiting, kv]: [&str; 3]) -> String {
    let model = engine.models.first().map_or("stub", String::as_str);
    let label = model.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let gauge = |name: &str, help: &str, value: &str| {
        format!(
            "# HELP vllm:{name} {help}\n# TYPE vllm:{name} gauge\n\
             vllm:{name}{{engine=\"0\",model_name=\"{label}\"}} {value}\n"
        )
    };
    [
        gauge("num_requests_running", "Number of requests in model execution batches.", running),
        gauge("num_requests_waiting", "Number of requests waiting to be processed.", waiting),
        gauge("kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.", kv),
    ]
    .concat()
}

/// The header of a whole answer, in the format that the request asks for.
pub(super) fn header(engine: &Engine, settings: &Settings, format: &str) -> Option<HeaderValue> {
    let load = engine.load();
    let (kv, waiting) = (load.kv(settings.places), load.waiting);
    let value = match &*format.to_ascii_lowercase() {
        "json" => format!(
            r#"JSON {{"named_metrics":{{"kv_cache_usage_perc":{kv},"num_requests_waiting":{waiting}}}}}"#
        ),
        "text" => format!(
            "TEXT named_metrics.kv_cache_usage_perc={kv}, named_metrics.num_requests_waiting={waiting}"
        ),
        _ => return None,
    };
    HeaderValue::try_from(value).ok()
}
