//! A value against a schema: every way in which it breaks it, and the value as the schema types it.

use serde_json::{Map, Value as Json};

use crate::diagnostic::nearest;
use crate::document::{Entry, Node, Scalar, Value};
use crate::{Diagnostic, Document, Step};

/// Nested schemas (references included) below one another.
const MAX_DEPTH: usize = 96;
/// Pairs of a value and a schema: alternatives can multiply them.
const MAX_VISITS: usize = 200_000;
/// Errors of one check: nobody reads more, and each holds a snippet.
const MAX_ERRORS: usize = 100;

type Object = Map<String, Json>;

/// The value, as far as it can be used after its errors, and the errors.
///
/// What is wrong is left out where it is optional, so that what is right can be checked further: a user
/// wants all errors at once.
pub(crate) fn read(
    document: &Document,
    at: &[Step],
    schema: &Json,
) -> (Option<Json>, Vec<Diagnostic>) {
    let (at, errors) = (at.to_vec(), Vec::new());
    let mut checker =
        Checker { document, root: schema, at, errors, visits: 0, depth: 0, exhausted: false };
    let nothing = Node { span: 0..0, value: Value::Mapping(Vec::new()) };
    let node = document.get(&checker.at).filter(|node| !is_null(node)).unwrap_or(&nothing);
    let value = checker.visit(node, schema);
    if checker.exhausted {
        checker.error("the schema of this value is too deep or too wide to check", "");
    }
    (value, checker.errors)
}

struct Checker<'a> {
    document: &'a Document,
    root: &'a Json,
    at: Vec<Step>,
    errors: Vec<Diagnostic>,
    visits: usize,
    depth: usize,
    /// A bound was met: the verdict is worth nothing.
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
                others.push(self.choice(node, choices));
            }
        }
        if let Some(other) = others.pop().filter(|_| !typed) {
            value = other;
        }
        value
    }

    /// The first alternative that fits. None does: what is wrong with the one that was meant.
    fn choice(&mut self, node: &Node, choices: &'a [Json]) -> Option<Json> {
        let start = self.errors.len();
        let mut meant = None;
        for choice in choices {
            let value = self.visit(node, choice);
            let errors = self.errors.split_off(start);
            if errors.is_empty() {
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
                let wanted: Vec<_> = wanted.flat_map(types).map(noun).collect();
                self.wrong_type(node, &wanted.join(" or "));
            }
        }
        None
    }

    /// Whether an alternative takes a value of this type at all.
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

    /// What the schema says itself.
    fn own(&mut self, node: &Node, schema: &'a Object) -> Option<Json> {
        let wanted = types(schema);
        let typed = wanted.iter().find_map(|wanted| fits(node, wanted));
        if typed.is_none() && !wanted.is_empty() {
            let wanted: Vec<_> = wanted.into_iter().map(noun).collect();
            self.wrong_type(node, &wanted.join(" or "));
            return None;
        }
        match &node.value {
            Value::Mapping(entries) => self.mapping(entries, schema),
            Value::Sequence(items) => self.sequence(items, schema),
            Value::Scalar(scalar) if scalar.hole => typed.filter(Json::is_string),
            Value::Scalar(scalar) => {
                let start = self.errors.len();
                let value = typed.unwrap_or_else(|| scalar.resolve());
                self.scalar(scalar, &value, schema);
                (self.errors.len() == start).then_some(value)
            }
        }
    }

    fn mapping(&mut self, entries: &[Entry], schema: &'a Object) -> Option<Json> {
        let properties = schema.get("properties").and_then(Json::as_object);
        let required: Vec<_> = strings(schema, "required").collect();
        let mut meant = Vec::new();
        let (mut value, mut usable) = (Object::new(), true);
        for entry in entries {
            self.at.push(Step::Key(entry.key.clone()));
            let property = properties.and_then(|properties| properties.get(&entry.key));
            let other = schema.get("additionalProperties");
            let closed =
                other == Some(&Json::Bool(false)) && !schema.contains_key("patternProperties");
            if property.is_none() && closed {
                meant.extend(self.unknown_key(&entry.key, properties));
            } else {
                let start = self.errors.len();
                let inner = property.or(other).unwrap_or(&Json::Bool(true));
                match self.visit(&entry.value, inner) {
                    Some(inner) => drop(value.insert(entry.key.clone(), inner)),
                    None if required.contains(&entry.key.as_str()) => usable = false,
                    // A key whose value was commented out is a key that is not there.
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
                self.error(format!("the key `{key}` is missing"), format!("add `{key}: ...`"));
            }
        }
        usable.then_some(Json::Object(value))
    }

    /// Reports a key; the known one that it most likely is meant to be.
    fn unknown_key(&mut self, key: &str, known: Option<&'a Object>) -> Option<&'a str> {
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

    fn sequence(&mut self, items: &[Node], schema: &'a Object) -> Option<Json> {
        self.bounds(items.len(), schema, ["minItems", "maxItems"], "items");
        let each = schema.get("items").unwrap_or(&Json::Bool(true));
        let mut value = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            self.at.push(Step::Index(index));
            value.push(self.visit(item, each));
            self.at.pop();
        }
        // Without one of its items, positions would be those of other items.
        value.into_iter().collect::<Option<_>>().map(Json::Array)
    }

    fn scalar(&mut self, scalar: &Scalar, value: &Json, schema: &Object) {
        let listed = schema.get("enum").and_then(Json::as_array).map(Vec::as_slice);
        let allowed = listed.or(schema.get("const").map(std::slice::from_ref));
        if let Some(allowed) = allowed.filter(|allowed| !allowed.contains(value)) {
            self.not_listed(scalar, allowed);
        }
        if let Some(number) = value.as_f64() {
            self.range(number, schema);
        }
        if let Some(text) = value.as_str() {
            self.bounds(text.chars().count(), schema, ["minLength", "maxLength"], "characters");
        }
    }

    fn not_listed(&mut self, scalar: &Scalar, allowed: &[Json]) {
        let words = || allowed.iter().filter_map(Json::as_str);
        let help = match nearest(&scalar.text, words()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => {
                let shown: Vec<_> = allowed.iter().map(Json::to_string).collect();
                format!("use one of {}", shown.join(", "))
            }
        };
        self.error("this is not one of the values known here", help);
    }

    fn range(&mut self, number: f64, schema: &Object) {
        let bound = |key| schema.get(key).and_then(Json::as_f64);
        let broken = [
            ("minimum", "at least", bound("minimum").filter(|b| number < *b)),
            ("exclusiveMinimum", "above", bound("exclusiveMinimum").filter(|b| number <= *b)),
            ("maximum", "at most", bound("maximum").filter(|b| number > *b)),
            ("exclusiveMaximum", "below", bound("exclusiveMaximum").filter(|b| number >= *b)),
        ];
        for (key, relation, broken) in broken {
            if broken.is_some() {
                let bound = schema.get(key).unwrap_or(&Json::Null);
                self.error(format!("the number must be {relation} {bound}"), "");
            }
        }
    }

    fn bounds(&mut self, size: usize, schema: &Object, [min, max]: [&str; 2], of: &str) {
        let bound = |key| schema.get(key).and_then(Json::as_u64).and_then(|b| b.try_into().ok());
        if bound(min).is_some_and(|min: usize| size < min) {
            let message = match size {
                0 => "this is empty".to_owned(),
                _ => format!("{size} {of} are too few: at least {}", schema[min]),
            };
            self.error(message, "");
        }
        if bound(max).is_some_and(|max: usize| size > max) {
            self.error(format!("{size} {of} are too many: at most {}", schema[max]), "");
        }
    }

    fn wrong_type(&mut self, node: &Node, wanted: &str) {
        let (found, help) = match &node.value {
            Value::Mapping(_) => ("a mapping", ""),
            Value::Sequence(_) => ("a list", ""),
            Value::Scalar(scalar) => match scalar.resolve() {
                Json::Null => ("nothing", ""),
                Json::Bool(_) if wanted == "a string" => ("a boolean", "put it in quotes"),
                Json::Bool(_) => ("a boolean", ""),
                Json::Number(_) if wanted == "a string" => ("a number", "put it in quotes"),
                Json::Number(_) => ("a number", ""),
                _ if !scalar.plain && wanted.contains("number") => {
                    ("a string", "remove the quotes")
                }
                _ if wanted == "a boolean" => ("a string", "write true or false"),
                _ => ("a string", ""),
            },
        };
        let help = if help.is_empty() { format!("write {wanted} here") } else { help.to_owned() };
        self.error(format!("expected {wanted}, found {found}"), help);
    }

    fn error(&mut self, message: impl Into<String>, help: impl Into<String>) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(self.document.error(&self.at, message, help));
        }
    }
}

/// The value of a node as one of JSON Schema's types, if it is one. Of a collection: null.
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

/// A value that no schema says anything of.
fn untyped(node: &Node) -> Json {
    match &node.value {
        Value::Scalar(scalar) => scalar.resolve(),
        Value::Sequence(items) => items.iter().map(untyped).collect(),
        Value::Mapping(entries) => {
            entries.iter().map(|entry| (entry.key.clone(), untyped(&entry.value))).collect()
        }
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

fn types(schema: &Object) -> Vec<&str> {
    match schema.get("type") {
        Some(Json::String(one)) => vec![one],
        _ => strings(schema, "type").collect(),
    }
}

fn strings<'s>(schema: &'s Object, key: &str) -> impl Iterator<Item = &'s str> + use<'s> {
    schema.get(key).and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str)
}

fn is_null(node: &Node) -> bool {
    matches!(&node.value, Value::Scalar(scalar) if !scalar.hole && scalar.resolve().is_null())
}

fn noun(json_type: &str) -> &str {
    match json_type {
        "object" => "a mapping",
        "array" => "a list",
        "string" => "a string",
        "boolean" => "a boolean",
        "number" => "a number",
        "integer" => "a whole number",
        "null" => "nothing",
        other => other,
    }
}
