//! Settings that one place overrides key by key: an entry, a route, a model, a side.
//!
//! The types and descriptions of the keys are only in the whole settings. A place may have some of
//! the keys, and none of the defaults.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The keys that one place gives. Their values have passed the schema of the whole settings, so
/// they always fit.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(transparent)]
pub(crate) struct Given(Map<String, Value>);

impl Given {
    /// `outer`, with the keys that are given here.
    pub(crate) fn over<T: Clone + Serialize + DeserializeOwned>(&self, outer: &T) -> T {
        // Fast path: most deployments give no keys of their own.
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

/// The schema of the keys of `T` that a place may give, without defaults.
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
