//! Finds the parts of a schema that the check would ignore.
//!
//! A validator for all of JSON Schema is not worth its price here: the crate `jsonschema` brings 33
//! crates and three minutes of build time on two cores, its errors have no place in a YAML file, and
//! patterns would be another engine to bound. A keyword that is not checked is an error instead.

use serde_json::{Map, Value as Json};

use super::describe::NUMBER_FORMATS;
use crate::seconds;

/// Keywords that say nothing about a value.
const ANNOTATIONS: &[&str] = &[
    "$schema",
    "$comment",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
];
const TYPES: &[&str] = &["object", "array", "string", "boolean", "number", "integer", "null"];

/// Returns the first part of a schema that [`check`](super::check()) does not check, in words that
/// follow "the schema". None if it checks all of it.
#[must_use]
pub fn unchecked(schema: &Json) -> Option<String> {
    let mut search = Search { root: schema, followed: Vec::new() };
    search.schema(schema, "#").err()
}

struct Search<'a> {
    root: &'a Json,
    /// References that were followed, so that each is followed once.
    followed: Vec<&'a str>,
}

impl<'a> Search<'a> {
    fn schema(&mut self, schema: &'a Json, at: &str) -> Result<(), String> {
        let keywords = match schema {
            Json::Bool(_) => return Ok(()),
            Json::Object(keywords) => keywords,
            _ => return Err(format!("has no schema at `{at}`, but a value")),
        };
        for (keyword, value) in keywords {
            let here = format!("{at}/{}", keyword.replace('~', "~0").replace('/', "~1"));
            self.keyword(keyword, value, &here)?;
        }
        Ok(())
    }

    fn keyword(&mut self, keyword: &str, value: &'a Json, here: &str) -> Result<(), String> {
        let is_list_of =
            |is: fn(&Json) -> bool| value.as_array().is_some_and(|all| all.iter().all(is));
        let is_type = |value: &Json| value.as_str().is_some_and(|name| TYPES.contains(&name));
        let is_good = match keyword {
            "properties" | "$defs" | "definitions" => return self.each(value, here),
            "anyOf" | "oneOf" | "allOf" => return self.all(value, here),
            "items" | "additionalProperties" => return self.schema(value, here),
            "$ref" => return self.reference(value, here),
            "type" => {
                is_type(value)
                    || is_list_of(|one| one.as_str().is_some_and(|one| TYPES.contains(&one)))
            }
            "enum" => value.is_array(),
            "required" => is_list_of(Json::is_string),
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => value.is_number(),
            "minLength" | "maxLength" | "minItems" | "maxItems" => value.is_u64(),
            "format" => value
                .as_str()
                .is_some_and(|name| NUMBER_FORMATS.contains(&name) || name == seconds::FORMAT),
            "not" => value.as_object().is_some_and(Map::is_empty),
            "const" => true,
            _ if ANNOTATIONS.contains(&keyword) || keyword.starts_with("x-") => true,
            _ => {
                return Err(format!(
                    "has `{keyword}` at `{here}`, which the gateway does not check"
                ));
            }
        };
        match is_good {
            true => Ok(()),
            false => Err(format!("has a value at `{here}` that the gateway does not check")),
        }
    }

    /// Looks at each schema of a mapping.
    fn each(&mut self, schemas: &'a Json, at: &str) -> Result<(), String> {
        let Some(schemas) = schemas.as_object() else {
            return Err(format!("has no mapping at `{at}`"));
        };
        for (name, schema) in schemas {
            self.schema(schema, &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")))?;
        }
        Ok(())
    }

    /// Looks at each schema of a list, of which there must be one.
    fn all(&mut self, schemas: &'a Json, at: &str) -> Result<(), String> {
        let Some(schemas) = schemas.as_array().filter(|all| !all.is_empty()) else {
            return Err(format!("has no list of schemas at `{at}`"));
        };
        schemas
            .iter()
            .enumerate()
            .try_for_each(|(i, schema)| self.schema(schema, &format!("{at}/{i}")))
    }

    /// Follows a reference within the schema. Nothing is ever fetched.
    fn reference(&mut self, target: &'a Json, at: &str) -> Result<(), String> {
        let Some(target) = target.as_str() else { return Err(format!("has no string at `{at}`")) };
        let within = target.strip_prefix('#').and_then(|path| self.root.pointer(path));
        let Some(schema) = within else {
            return Err(format!(
                "has the reference `{target}` at `{at}`, which leads nowhere within the schema"
            ));
        };
        if self.followed.contains(&target) {
            return Ok(());
        }
        self.followed.push(target);
        self.schema(schema, target)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_checked_passes() {
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": ["object", "null"],
            "properties": {
                "pattern": {"type": "string", "minLength": 1, "default": {"pattern": 1}},
                "wait": {"$ref": "#/$defs/wait"},
                "not": {"oneOf": [{"const": 1}, {"enum": ["a", ["b"]]}]},
                "tree": {"$ref": "#"},
            },
            "required": ["wait"],
            "additionalProperties": false,
            "$defs": {"wait": {"type": "number", "format": "seconds", "exclusiveMinimum": 0}},
            "x-order": 3,
        });
        assert_eq!(unchecked(&schema), None);
        assert_eq!(unchecked(&json!(true)), None);
    }

    #[test]
    fn what_is_not_checked_is_named_with_its_place() {
        for (schema, says) in [
            (
                json!({"properties": {"a": {"pattern": "x"}}}),
                "`pattern` at `#/properties/a/pattern`",
            ),
            (json!({"items": {"uniqueItems": true}}), "`uniqueItems` at `#/items/uniqueItems`"),
            (json!({"anyOf": [true, {"multipleOf": 2}]}), "`#/anyOf/1/multipleOf`"),
            (json!({"$defs": {"a/b": {"if": {}}}}), "`#/$defs/a~1b/if`"),
            (json!({"patternProperties": {"^x": {}}}), "`patternProperties`"),
            (json!({"$ref": "https://example.com/x.json"}), "leads nowhere within"),
            (json!({"$ref": "#/$defs/none"}), "leads nowhere within"),
            (json!({"$ref": "other.json#/a"}), "leads nowhere within"),
            (json!({"$ref": "#anchor", "$defs": {"a": {"$anchor": "anchor"}}}), "`$anchor`"),
            // A reference may lead to what is not looked at as a schema.
            (json!({"$ref": "#/default", "default": {"pattern": "x"}}), "`#/default/pattern`"),
            (json!({"format": "email"}), "a value at `#/format`"),
            (json!({"type": "strnig"}), "a value at `#/type`"),
            (json!({"type": 5}), "a value at `#/type`"),
            (json!({"minimum": "5"}), "a value at `#/minimum`"),
            (json!({"minLength": 1.5}), "a value at `#/minLength`"),
            (json!({"not": {"const": 1}}), "a value at `#/not`"),
            (json!({"items": [{}]}), "no schema at `#/items`"),
            (json!({"properties": {"a": 5}}), "no schema at `#/properties/a`"),
            (json!({"oneOf": []}), "no list of schemas at `#/oneOf`"),
        ] {
            let found = unchecked(&schema).unwrap_or_default();
            assert!(found.contains(says), "{schema}: {found}");
        }
    }
}
