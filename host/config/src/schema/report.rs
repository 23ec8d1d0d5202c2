//! The errors of the check: what is wrong with a value, and the remedy.

use serde_json::Value as Json;

use crate::PathStep;
use crate::diagnostic::nearest;
use crate::document::{Node, Scalar, Value};

use super::check::{Checker, Object};
use super::describe::{self, is_time, noun, plain, types};

/// Most errors of one check: nobody reads more, and each holds a snippet.
const MAX_ERRORS: usize = 100;

impl<'a> Checker<'a> {
    /// Reports an unknown key. Returns the known key that was most likely meant.
    pub(super) fn unknown_key(&mut self, key: &str, known: Option<&'a Object>) -> Option<&'a str> {
        let known = || known.into_iter().flat_map(Object::keys).map(String::as_str);
        let near = nearest(key, known());
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None if known().next().is_none() => "remove it: no key is known here".to_owned(),
            None => format!("known here: {}", known().collect::<Vec<_>>().join(", ")),
        };
        let message = format!("unknown key `{key}`");
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(self.document.key_error(&self.at, message, help));
        }
        near
    }

    pub(super) fn not_listed(&mut self, scalar: &Scalar, allowed: &[Json]) {
        let words = || allowed.iter().filter_map(Json::as_str);
        let help = match nearest(&scalar.text, words()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => {
                let shown: Vec<_> = allowed.iter().map(plain).collect();
                format!("write {}", shown.join(" or "))
            }
        };
        self.error("this is not one of the values known here", help);
    }

    pub(super) fn range(&mut self, scalar: &Scalar, number: f64, schema: &Object) {
        let of_format = describe::format_range(schema);
        let bound = |key: &str| match (schema.get(key).and_then(Json::as_f64), of_format) {
            (None, Some([least, _])) if key == "minimum" => Some(least),
            (None, Some([_, most])) if key == "maximum" => Some(most),
            (bound, _) => bound,
        };
        let broken = [
            ("at least", bound("minimum").filter(|b| number < *b)),
            ("above", bound("exclusiveMinimum").filter(|b| number <= *b)),
            ("at most", bound("maximum").filter(|b| number > *b)),
            ("below", bound("exclusiveMaximum").filter(|b| number >= *b)),
        ];
        let (what, unit) = if is_time(schema) { ("time", " s") } else { ("number", "") };
        for (relation, broken) in broken {
            if let Some(bound) = broken {
                let help = match share_of_percent(number, schema) {
                    // The value of a variable is not shown.
                    Some(share) if !scalar.substituted => {
                        format!("write {share} for {number} %: shares are from 0 to 1")
                    }
                    Some(_) => "shares are from 0 to 1: write 0.6 for 60 %".to_owned(),
                    None => format!("write {}", describe::value(schema)),
                };
                self.error(format!("the {what} must be {relation} {bound}{unit}"), help);
            }
        }
    }

    pub(super) fn bounds(&mut self, size: usize, schema: &Object, [min, max]: [&str; 2], of: &str) {
        let bound = |key| schema.get(key).and_then(Json::as_u64).and_then(|b| b.try_into().ok());
        if let Some(least) = bound(min).filter(|min: &usize| size < *min) {
            let message = match (size, self.key()) {
                (0, Some(key)) => format!("`{key}` is empty"),
                (0, None) => "this is empty".to_owned(),
                _ => format!("{size} {of} are too few: at least {least}"),
            };
            let of = if least == 1 { of.trim_end_matches('s') } else { of };
            let about = describe::about(schema);
            let about = about.map_or_else(String::new, |about| format!(" ({about})"));
            let or = if self.optional { ", or remove the key" } else { "" };
            self.error(message, format!("write at least {least} {of}{about}{or}"));
        }
        if let Some(most) = bound(max).filter(|max: &usize| size > *max) {
            let message = format!("{size} {of} are too many: at most {most}");
            self.error(message, format!("remove {}", size - most));
        }
    }

    /// The key of the current value. None: it is an item of a list.
    fn key(&self) -> Option<&str> {
        match self.at.last()? {
            PathStep::Key(key) => Some(key),
            PathStep::Index(_) => None,
        }
    }

    /// Reports a value that has none of the wanted types.
    pub(super) fn wrong_type(&mut self, node: &Node, wanted: &[String], schema: &Object) {
        // Null is not suggested: an empty value counts as an absent key.
        let all = || wanted.iter().map(String::as_str);
        let mut names: Vec<_> = all().filter(|one| *one != "null").collect();
        if names.is_empty() {
            names = all().collect();
        }
        let (text, number) =
            (names.contains(&"string"), |one: &&str| ["number", "integer"].contains(one));
        let key = self.key().unwrap_or("key");
        let found = match &node.value {
            Value::Mapping(_) => "a mapping",
            Value::Sequence(_) => "a list",
            Value::Scalar(scalar) => match scalar.resolve() {
                Json::Null => "nothing",
                Json::Bool(_) => "a boolean",
                Json::Number(_) => "a number",
                _ => "a string",
            },
        };
        let quoted = matches!(&node.value, Value::Scalar(scalar) if !scalar.plain);
        let help = match found {
            "a boolean" | "a number" if text => "put it in quotes".to_owned(),
            "a string" if quoted && names.iter().any(number) => "remove the quotes".to_owned(),
            "a mapping" | "nothing" => format!("write {}", describe::kinds(&names, schema)),
            _ if names == ["boolean"] => "write true or false".to_owned(),
            _ if names == ["array"] => format!("put it in brackets: `{key}: [...]`"),
            _ if names == ["object"] => format!("write keys and values: `{key}: {{...}}`"),
            _ => format!("write {}", describe::kinds(&names, schema)),
        };
        let names: Vec<_> = names.into_iter().map(noun).collect();
        self.error(format!("expected {}, found {found}", names.join(" or ")), help);
    }

    pub(super) fn error(&mut self, message: impl Into<String>, help: impl Into<String>) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(self.document.error(&self.at, message, help));
        }
    }
}

/// The share that was meant by a number in percent.
fn share_of_percent(number: f64, schema: &Object) -> Option<f64> {
    let is = |key: &str, value: f64| schema.get(key).and_then(Json::as_f64) == Some(value);
    let is_share = is("maximum", 1.0) && (is("minimum", 0.0) || is("exclusiveMinimum", 0.0));
    let is_percent = number > 1.0 && number <= 100.0 && !types(schema).contains(&"integer");
    (is_share && is_percent).then_some(number / 100.0)
}
