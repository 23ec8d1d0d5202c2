//! Keys that one place gives a value of its own: an entry, a route, a model, a side.
//!
//! Types and descriptions of the keys stand in the whole settings alone. A place takes some of its
//! keys, none of its defaults.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What one place says. Values have passed the schema of the whole settings, so they always fit.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(transparent)]
pub(crate) struct Given(Map<String, Value>);

impl Given {
    /// `outer`, with the keys that are given here.
    pub(crate) fn over<T: Clone + Serialize + DeserializeOwned>(&self, outer: &T) -> T {
        // Most of thousands of deployments have nothing of their own.
        if self.0.is_empty() {
            return outer.clone();
        }
        let Ok(Value::Object(mut whole)) = serde_json::to_value(outer) else {
            return outer.clone();
        };
        let given = self.0.iter().filter(|(_, value)| !value.is_null());
        whole.extend(given.map(|(key, value)| (key.clone(), value.clone())));
        serde_json::from_value(whole.into()).unwrap_or_else(|_| outer.clone())
    }

    /// Whether this place gives a value to `key`.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.0.get(key).is_some_and(|value| !value.is_null())
    }
}

/// The schema of the keys of `T` that a place may give. None of them has a default.
pub(crate) fn schema<T: JsonSchema>(
    generator: &mut SchemaGenerator,
    keys: impl Fn(&str) -> bool,
) -> Schema {
    let mut schema = T::json_schema(generator);
    schema.remove("description");
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.retain(|key, _| keys(key));
        for property in properties.values_mut().filter_map(Value::as_object_mut) {
            property.remove("default");
        }
    }
    schema
}
