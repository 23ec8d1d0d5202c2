//! `/v1/models`: what clients may ask for. Aliases work but are not listed.

use std::time::{SystemTime, UNIX_EPOCH};

use hyper::Response;
use serde_json::{Value, json};

use config::Model;
use fleet::Snapshot;

use crate::attempts::Body;

use super::Error;

pub(super) fn list(snapshot: &Snapshot) -> Response<Body> {
    let generation = &snapshot.generation;
    let card = |model: &fleet::FleetModel| card(&model.config, generation.loaded_at);
    let data: Vec<Value> = generation.fleet.models.iter().map(card).collect();
    super::json(&json!({"object": "list", "data": data}))
}

/// `name` as it stands in the path, percent-encoded or not: ids may hold a `/`.
pub(super) fn show(snapshot: &Snapshot, name: &str) -> Result<Response<Body>, Error> {
    let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
    let generation = &snapshot.generation;
    match snapshot.find(&name) {
        Some((model, _)) => Ok(super::json(&card(&model.config, generation.loaded_at))),
        None => {
            let known =
                generation.fleet.models.iter().map(|model| model.config.id.clone()).collect();
            Err(Error::NoSuchModel { model: name.into_owned(), known })
        }
    }
}

fn card(model: &Model, loaded_at: SystemTime) -> Value {
    let card = &model.card;
    let mut features = Vec::new();
    if card.supports_tools {
        features.push("tools");
    }
    if card.supports_structured_output {
        features.extend(["json_mode", "structured_outputs"]);
    }
    json!({
        "id": model.id,
        "object": "model",
        "created": loaded_at.duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs()),
        "owned_by": card.provider,
        "name": card.name,
        "input_modalities": card.input_modalities,
        "output_modalities": card.output_modalities,
        "quantization": card.quantization,
        "context_length": card.context_length,
        "max_output_length": card.max_output_length,
        "pricing": card.pricing,
        "supported_sampling_parameters": card.supported_params,
        "supported_features": features,
    })
}
