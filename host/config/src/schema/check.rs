//! Checks a value against a schema: reports every violation, and returns the value with the types
//! of the schema.

use serde_json::{Map, Value as Json};

use crate::document::{MappingEntry, Node, Scalar, Value};
use crate::{Diagnostic, Document, PathStep, seconds};

use super::describe::{self, is_time, types};

/// Most schemas nested in one another, references included.
const MAX_DEPTH: usize = 96;
/// Most pairs of value and schema that are visited: alternatives can multiply them.
const MAX_VISITS: usize = 200_000;

pub(super) type Object = Map<String, Json>;

/// Returns the value, as far as it can be used, and the errors.
///
/// An invalid part is left out if it is optional, so that the rest can be checked further: users
/// want all errors at once.
pub(crate) fn read(
    document: &Document,
    at: &[PathStep],
    schema: &Json,
) -> (Option<Json>, Vec<Diagnostic>) {
    let (at, errors) = (at.to_vec(), Vec::new());
    let (visits, depth, optional, exhausted) = (0, 0, false, false);
    let mut checker =
        Checker { document, root: schema, at, errors, visits, depth, optional, exhausted };
    let nothing = Node { span: 0..0, value: Value::Mapping(Vec::new()) };
    let node = document.get(&checker.at).filter(|node| !is_null(node)).unwrap_or(&nothing);
    let value = checker.visit(node, schema);
    if checker.exhausted {
        let help = "make the parameter schema smaller: the strategy's `describe` returns it";
        checker.error("the schema of this value is too deep or too wide to check", help);
    }
    (value, checker.errors)
}

pub(super) struct Checker<'a> {
    pub(super) document: &'a Document,
    root: &'a Json,
    pub(super) at: Vec<PathStep>,
    pub(super) errors: Vec<Diagnostic>,
    visits: usize,
    depth: usize,
    /// The key of the current value may be left out.
    pub(super) optional: bool,
    /// A bound was reached: the result is worthless.
    exhausted: bool,
}

impl<'a> Checker<'a> {
    fn visit(&mut self, node: &Node, schema: &'a Json) -> Option<Json> {
        self.visits += 1;
        if self.visits >= MAX_VISITS || self.depth >= MAX_DEPTH {
            self.exhausted = true;
            return None;
        }
        self.depth += 1;
        let value = match schema {
            Json::Object(schema) => self.object(node, schema),
            Json::Bool(false) => {
                self.error("nothing may be given here", "remove it");
                None
            }
            _ => Some(untyped(node)),
        };
        self.depth -= 1;
        value
    }

    fn object(&mut self, node: &Node, schema: &'a Object) -> Option<Json> {
        if schema.get("not").and_then(Json::as_object).is_some_and(Map::is_empty) {
            let why = schema.get("description").and_then(Json::as_str);
            self.error("this cannot be given here", why.unwrap_or("remove it"));
            return None;
        }
        let mut value = self.own(node, schema);
        let typed = schema.contains_key("type") || schema.contains_key("properties");
        let mut others = Vec::new();
        if let Some(target) = schema.get("$ref").and_then(Json::as_str) {
            let target = target.strip_prefix('#').and_then(|path| self.root.pointer(path));
            others.extend(target.map(|target| self.visit(node, target)));
        }
        for all in schema.get("allOf").and_then(Json::as_array).into_iter().flatten() {
            others.push(self.visit(node, all));
        }
        for key in ["anyOf", "oneOf"] {
            if let Some(choices) = schema.get(key).and_then(Json::as_array) {
                others.push(self.choice(node, choices, key == "oneOf"));
            }
        }
        if let Some(other) = others.pop().filter(|_| !typed) {
            value = other;
        }
        value
    }

    /// Returns the first alternative that fits. If none fits, reports the errors of the one that
    /// was most likely meant. If `is_only`, no other may fit.
    fn choice(&mut self, node: &Node, choices: &'a [Json], is_only: bool) -> Option<Json> {
        let constants = choices.iter().map(|choice| choice.get("const").cloned());
        if let (Value::Scalar(scalar), Some(words)) = (&node.value, constants.collect()) {
            return self.word(scalar, words);
        }
        let start = self.errors.len();
        let mut meant = None;
        for (index, choice) in choices.iter().enumerate() {
            let value = self.visit(node, choice);
            let errors = self.errors.split_off(start);
            if errors.is_empty() {
                // A value from the environment may be of several types, and takes the first.
                if is_only && !has_variable(node) && self.fits_any(node, &choices[index + 1..]) {
                    let help =
                        "write what fits one of them: the schema of the strategy tells them apart";
                    self.error("this fits more than one of the alternatives", help);
                    return None;
                }
                return value;
            }
            if meant.is_none() && self.is_meant(node, choice) {
                meant = Some(errors);
            }
        }
        match meant {
            Some(errors) => self.errors.extend(errors),
            None => {
                let wanted = choices.iter().filter_map(|choice| self.resolved(choice));
                let wanted = wanted.flat_map(types).map(str::to_owned).collect::<Vec<_>>();
                self.wrong_type(node, &wanted, &Object::new());
            }
        }
        None
    }

    /// Whether one of the alternatives fits.
    fn fits_any(&mut self, node: &Node, choices: &'a [Json]) -> bool {
        let start = self.errors.len();
        choices.iter().any(|choice| {
            self.visit(node, choice);
            self.errors.split_off(start).is_empty()
        })
    }

    /// Checks a scalar against several constants.
    fn word(&mut self, scalar: &Scalar, words: Vec<Json>) -> Option<Json> {
        let value = scalar.resolve();
        if scalar.hole {
            return None;
        }
        if !contains(&words, &value) {
            self.not_listed(scalar, &words);
            return None;
        }
        Some(value)
    }

    /// Whether an alternative takes values of this type.
    fn is_meant(&self, node: &Node, choice: &Json) -> bool {
        self.resolved(choice).is_some_and(|choice| {
            let types = types(choice);
            types.is_empty() || types.iter().any(|wanted| fits(node, wanted).is_some())
        })
    }

    fn resolved<'s>(&'s self, schema: &'s Json) -> Option<&'s Object> {
        let target = schema.get("$ref").and_then(Json::as_str).and_then(|r| r.strip_prefix('#'));
        target.map_or(Some(schema), |path| self.root.pointer(path))?.as_object()
    }

    /// Checks what the schema says itself, without references and alternatives.
    fn own(&mut self, node: &Node, schema: &'a Object) -> Option<Json> {
        let wanted = types(schema);
        if let Value::Scalar(scalar) = &node.value
            && is_time(schema)
            && !scalar.hole
        {
            return self.time(scalar, schema);
        }
        let typed = wanted.iter().find_map(|wanted| fits(node, wanted));
        if typed.is_none() && !wanted.is_empty() {
            let wanted: Vec<_> = wanted.into_iter().map(str::to_owned).collect();
            self.wrong_type(node, &wanted, schema);
            return None;
        }
        match &node.value {
            Value::Mapping(entries) => {
                let value = self.mapping(entries, schema);
                value.filter(|value| self.is_listed(value, schema))
            }
            Value::Sequence(items) => {
                let value = self.sequence(items, schema);
                value.filter(|value| self.is_listed(value, schema))
            }
            Value::Scalar(scalar) if scalar.hole => typed.filter(Json::is_string),
            Value::Scalar(scalar) => {
                let start = self.errors.len();
                let value = typed.unwrap_or_else(|| scalar.resolve());
                self.scalar(scalar, &value, schema);
                (self.errors.len() == start).then_some(value)
            }
        }
    }

    /// Checks a time. Returns it as a number of seconds.
    fn time(&mut self, scalar: &Scalar, schema: &Object) -> Option<Json> {
        let value = scalar.resolve();
        let seconds = match &value {
            Json::Null if types(schema).contains(&"null") => return Some(value),
            Json::String(text) => seconds::parse(text),
            value => value.as_f64(),
        };
        let Some(seconds) = seconds else {
            let quoted = value.as_str().is_some_and(|text| text.parse::<f64>().is_ok());
            let help = if quoted { "remove the quotes" } else { seconds::FORM };
            self.error("this is not a time", help);
            return None;
        };
        let start = self.errors.len();
        self.range(scalar, seconds, schema);
        (self.errors.len() == start).then(|| seconds.into())
    }

    fn mapping(&mut self, entries: &[MappingEntry], schema: &'a Object) -> Option<Json> {
        let properties = schema.get("properties").and_then(Json::as_object);
        let required: Vec<_> = strings(schema, "required").collect();
        let mut meant = Vec::new();
        let (mut value, mut usable) = (Object::new(), true);
        for entry in entries {
            self.at.push(PathStep::Key(entry.key.clone()));
            let property = properties.and_then(|properties| properties.get(&entry.key));
            let other = schema.get("additionalProperties");
            let closed =
                other == Some(&Json::Bool(false)) && !schema.contains_key("patternProperties");
            if property.is_none() && closed {
                meant.extend(self.unknown_key(&entry.key, properties));
            } else {
                let start = self.errors.len();
                let inner = property.or(other).unwrap_or(&Json::Bool(true));
                self.optional = !required.contains(&entry.key.as_str());
                match self.visit(&entry.value, inner) {
                    Some(inner) => drop(value.insert(entry.key.clone(), inner)),
                    None if required.contains(&entry.key.as_str()) => usable = false,
                    // An empty value counts as an absent key: the value may have been commented
                    // out.
                    None if is_null(&entry.value) => self.errors.truncate(start),
                    None => {}
                }
            }
            self.at.pop();
        }
        for key in required {
            if entries.iter().any(|entry| entry.key == key) {
                continue;
            }
            usable = false;
            if !meant.contains(&key) {
                let schema = properties.and_then(|properties| properties.get(key)?.as_object());
                let about = schema.and_then(describe::about);
                let about = about.map_or_else(String::new, |about| format!(", {about}"));
                let help = format!("add `{key}: ...`{about}");
                self.error(format!("the key `{key}` is missing"), help);
            }
        }
        usable.then_some(Json::Object(value))
    }

    fn sequence(&mut self, items: &[Node], schema: &'a Object) -> Option<Json> {
        self.bounds(items.len(), schema, ["minItems", "maxItems"], "items");
        let each = schema.get("items").unwrap_or(&Json::Bool(true));
        let mut value = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            self.optional = false;
            self.at.push(PathStep::Index(index));
            value.push(self.visit(item, each));
            self.at.pop();
        }
        // A missing item would shift the positions of the others, so the whole list is left out.
        value.into_iter().collect::<Option<_>>().map(Json::Array)
    }

    /// Checks a mapping or a list against the values that are listed, if any are.
    fn is_listed(&mut self, value: &Json, schema: &Object) -> bool {
        let Some(allowed) = listed(schema).into_iter().find(|all| !contains(all, value)) else {
            return true;
        };
        let shown: Vec<_> = allowed.iter().map(describe::plain).collect();
        let help = format!("write {}", shown.join(" or "));
        self.error("this is not one of the values known here", help);
        false
    }

    fn scalar(&mut self, scalar: &Scalar, value: &Json, schema: &Object) {
        if let Some(allowed) = listed(schema).into_iter().find(|all| !contains(all, value)) {
            self.not_listed(scalar, allowed);
        }
        if let Some(number) = value.as_f64() {
            self.range(scalar, number, schema);
        }
        if let Some(text) = value.as_str() {
            self.bounds(text.chars().count(), schema, ["minLength", "maxLength"], "characters");
        }
    }
}

/// The value of a node as the JSON Schema type `wanted`. None: it has another type. A
/// mapping or list of the wanted type gives null.
fn fits(node: &Node, wanted: &str) -> Option<Json> {
    let scalar = match &node.value {
        Value::Mapping(_) => return (wanted == "object").then_some(Json::Null),
        Value::Sequence(_) => return (wanted == "array").then_some(Json::Null),
        Value::Scalar(scalar) => scalar,
    };
    let value = scalar.resolve();
    let fits = match wanted {
        "string" if scalar.substituted => return Some(Json::from(&*scalar.text)),
        _ if scalar.hole => return Some(Json::Null),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => return integer(&value),
        _ => false,
    };
    fits.then_some(value)
}

/// The value of a node that no schema describes.
fn untyped(node: &Node) -> Json {
    match &node.value {
        Value::Scalar(scalar) => scalar.resolve(),
        Value::Sequence(items) => items.iter().map(untyped).collect(),
        Value::Mapping(entries) => {
            entries.iter().map(|entry| (entry.key.clone(), untyped(&entry.value))).collect()
        }
    }
}

/// The lists of values of which each must contain a value.
fn listed(schema: &Object) -> Vec<&[Json]> {
    let list = schema.get("enum").and_then(Json::as_array).map(Vec::as_slice);
    [list, schema.get("const").map(std::slice::from_ref)].into_iter().flatten().collect()
}

fn contains(all: &[Json], value: &Json) -> bool {
    all.iter().any(|one| is_same(one, value))
}

/// `2` and `2.0` are the same number.
fn is_same(one: &Json, other: &Json) -> bool {
    match (one, other) {
        (Json::Number(one), Json::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        (Json::Array(one), Json::Array(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Json::Object(one), Json::Object(other)) => {
            let is_in = |(key, one)| other.get(key).is_some_and(|other| is_same(one, other));
            one.len() == other.len() && one.iter().all(is_in)
        }
        _ => one == other,
    }
}

/// Whether a variable was replaced in a value, or is not set.
fn has_variable(node: &Node) -> bool {
    match &node.value {
        Value::Scalar(scalar) => scalar.hole || scalar.substituted,
        Value::Sequence(items) => items.iter().any(has_variable),
        Value::Mapping(entries) => entries.iter().any(|entry| has_variable(&entry.value)),
    }
}

/// `2` and `2.0` are the same integer.
fn integer(value: &Json) -> Option<Json> {
    if value.is_i64() || value.is_u64() {
        return Some(value.clone());
    }
    let float = value.as_f64()?;
    let integer = format!("{float:.0}").parse::<i64>().ok()?;
    (float.fract() == 0.0).then(|| Json::from(integer))
}

fn strings<'s>(schema: &'s Object, key: &str) -> impl Iterator<Item = &'s str> + use<'s> {
    schema.get(key).and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str)
}

fn is_null(node: &Node) -> bool {
    matches!(&node.value, Value::Scalar(scalar) if !scalar.hole && scalar.resolve().is_null())
}
