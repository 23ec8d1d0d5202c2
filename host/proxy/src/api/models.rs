//! `/v1/models`: the models that clients may name. Aliases work but are not listed.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use hyper::Response;
use serde_json::{Value, json};

use config::Model;
use fleet::Snapshot;

use crate::attempts::Body;
use crate::render::{Page, write_json};

use super::Error;

/// The list of all models.
pub(super) struct ModelsPage {
    snapshot: Arc<Snapshot>,
    /// Models written so far.
    written: usize,
}

impl ModelsPage {
    pub(super) fn new(snapshot: Arc<Snapshot>) -> Self {
        Self { snapshot, written: 0 }
    }
}

impl Page for ModelsPage {
    fn write(&mut self, text: &mut Vec<u8>) -> bool {
        let generation = &self.snapshot.generation;
        let start: &[u8] = if self.written == 0 { br#"{"data":["# } else { b"," };
        let Some(model) = generation.fleet.models.get(self.written) else {
            text.extend(if self.written == 0 { start } else { b"" });
            text.extend(br#"],"object":"list"}"#);
            return false;
        };
        text.extend(start);
        write_json(text, &card(&model.config, generation.loaded_at));
        self.written += 1;
        true
    }
}

/// One model. `name` comes from the path, percent-encoded or not: ids may contain a `/`.
pub(super) fn show(snapshot: &Snapshot, name: &str) -> Result<Response<Body>, Error> {
    let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
    let generation = &snapshot.generation;
    match snapshot.find(&name) {
        Some((model, _)) => Ok(super::json(&card(&model.config, generation.loaded_at))),
        None => Err(Error::no_such_model(&name, &generation.fleet)),
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
