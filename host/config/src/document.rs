//! A parsed file that knows the position of every value.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde_json::Value as Json;

use super::diagnostic::Cutout;
use super::parse::{self, Problem};
use super::{Diagnostic, Environment, mask};

/// A parsed file that knows the position of every value.
///
/// Its values have their variables substituted, so `Debug` shows the file's name alone.
pub struct Document {
    file: String,
    /// The text with its secrets masked, for snippets.
    masked: Arc<str>,
    root: Node,
}

/// One step from a value to one inside it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PathStep {
    /// Into a mapping.
    Key(String),
    /// Into a list, by an index from 0.
    Index(usize),
}

impl From<&str> for PathStep {
    fn from(key: &str) -> Self {
        PathStep::Key(key.to_owned())
    }
}

impl From<usize> for PathStep {
    fn from(index: usize) -> Self {
        PathStep::Index(index)
    }
}

/// The path `[models, 0, id]` as steps.
macro_rules! steps {
    ($($step:expr),* $(,)?) => { [$($crate::PathStep::from($step)),*] };
}
pub(super) use steps;

/// A value and its position.
#[derive(Clone)]
pub(super) struct Node {
    /// Its range in the text, in bytes.
    pub(super) span: Range<usize>,
    pub(super) value: Value,
}

#[derive(Clone)]
pub(super) enum Value {
    Scalar(Scalar),
    Sequence(Vec<Node>),
    /// Keys are unique.
    Mapping(Vec<MappingEntry>),
}

#[derive(Clone)]
pub(super) struct MappingEntry {
    pub(super) key: String,
    pub(super) key_span: Range<usize>,
    pub(super) value: Node,
}

/// A scalar whose type is not decided yet.
#[derive(Clone)]
pub(super) struct Scalar {
    /// The text, with escapes and variables replaced.
    pub(super) text: String,
    /// It is not quoted: it may be a number, a boolean or null.
    pub(super) plain: bool,
    /// A variable was replaced in it. If it is plain, it may be a string as well.
    pub(super) substituted: bool,
    /// A variable in it is not set, which is reported already. The check accepts it as any type.
    pub(super) hole: bool,
}

impl Document {
    /// Parses a text. None: because of its errors there is no tree to check.
    pub(super) fn parse(
        file: String,
        text: String,
        env: Environment,
    ) -> (Option<Self>, Vec<Diagnostic>) {
        let (root, problems) = parse::parse(&text, env);
        let mut masked = mask::mask(&text).into_bytes();
        if let Some(root) = &root {
            root.hide_secrets(&mut masked);
        }
        let masked: Arc<str> = String::from_utf8(masked).unwrap_or_default().into();
        let errors = problems.into_iter().map(|problem| {
            let Problem { span, message, help, also } = problem;
            let cutout = Cutout { text: Arc::clone(&masked), span, also };
            Diagnostic::at(file.clone(), cutout, message, help)
        });
        let errors = errors.collect();
        (root.map(|root| Self { file, masked, root }), errors)
    }

    /// An error at a value, or at the nearest value around it that the file has.
    #[must_use]
    pub fn error(
        &self,
        at: &[PathStep],
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Diagnostic {
        self.point(self.locate(at).0, message, help)
    }

    /// An error at an unknown key. Of the values under it the snippet shows only booleans, short
    /// numbers and references to variables, because a misspelt `api_key` holds a key.
    pub(super) fn key_error(
        &self,
        at: &[PathStep],
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Diagnostic {
        let (span, entry) = self.locate(at);
        let Some(entry) = entry else { return self.point(span, message, help) };
        let mut text = self.masked.as_bytes().to_vec();
        entry.value.hide_scalars(&mut text, mask::may_be_secret(&entry.key));
        let text = String::from_utf8(text).unwrap_or_default().into();
        let cutout = Cutout { text, span: entry.key_span.clone(), also: None };
        Diagnostic::at(self.file.clone(), cutout, message, help)
    }

    fn point(
        &self,
        span: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Diagnostic {
        let cutout = Cutout { text: Arc::clone(&self.masked), span, also: None };
        Diagnostic::at(self.file.clone(), cutout, message, help)
    }

    /// The file as the user named it.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    pub(super) fn get(&self, at: &[PathStep]) -> Option<&Node> {
        at.iter().try_fold(&self.root, |node, step| Some(node.step(step)?.0))
    }

    /// Whether there is a value.
    #[must_use]
    pub fn has(&self, at: &[PathStep]) -> bool {
        self.get(at).is_some()
    }

    /// The text of a scalar, exactly as written. None: it is no scalar, or has an unset variable.
    pub fn text(&self, at: &[PathStep]) -> Option<&str> {
        match &self.get(at)?.value {
            Value::Scalar(scalar) if !scalar.hole => Some(&scalar.text),
            _ => None,
        }
    }

    /// Whether a scalar contains a variable, whose value must not be shown.
    pub(super) fn is_substituted(&self, at: &[PathStep]) -> bool {
        let node = self.get(at).map(|node| &node.value);
        matches!(node, Some(Value::Scalar(scalar)) if scalar.substituted)
    }

    /// A copy without this key of the top level.
    pub(super) fn without(&self, key: &str) -> Self {
        let mut root = self.root.clone();
        if let Value::Mapping(entries) = &mut root.value {
            entries.retain(|entry| entry.key != key);
        }
        Self { file: self.file.clone(), masked: Arc::clone(&self.masked), root }
    }

    /// The range to underline for a value, and the mapping entry that it belongs to.
    ///
    /// A block of many lines is underlined at its key, an item of a list at its first line.
    fn locate(&self, at: &[PathStep]) -> (Range<usize>, Option<&MappingEntry>) {
        let (mut node, mut entry) = (&self.root, None);
        for step in at {
            let Some((next, through)) = node.step(step) else { break };
            (node, entry) = (next, through);
        }
        let span = match (&node.value, entry) {
            (Value::Scalar(_), _) if !node.span.is_empty() => node.span.clone(),
            (_, Some(entry)) => entry.key_span.clone(),
            (Value::Mapping(entries), None) if !entries.is_empty() => entries[0].key_span.clone(),
            _ => self.first_line(node.span.clone()),
        };
        (span, entry)
    }

    fn first_line(&self, span: Range<usize>) -> Range<usize> {
        let start = span.start.min(self.masked.len());
        let end = span.end.clamp(start, self.masked.len());
        let cut = self.masked.get(start..end).and_then(|text| text.find('\n'));
        start..cut.map_or(end, |newline| start + newline)
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Node {
    fn step(&self, step: &PathStep) -> Option<(&Node, Option<&MappingEntry>)> {
        match (&self.value, step) {
            (Value::Mapping(entries), PathStep::Key(key)) => {
                let entry = entries.iter().find(|entry| entry.key == *key)?;
                Some((&entry.value, Some(entry)))
            }
            (Value::Sequence(items), PathStep::Index(index)) => Some((items.get(*index)?, None)),
            _ => None,
        }
    }
}

impl Node {
    /// Masks every scalar that may be a secret. `all`: masks harmless ones too.
    fn hide_scalars(&self, text: &mut [u8], all: bool) {
        match &self.value {
            Value::Scalar(scalar) if all || !scalar.is_harmless() => {
                mask::hide_literals(text, self.span.clone());
            }
            Value::Scalar(_) => {}
            Value::Sequence(items) => items.iter().for_each(|item| item.hide_scalars(text, all)),
            Value::Mapping(entries) => entries.iter().for_each(|entry| {
                let all = all || mask::may_be_secret(&entry.key);
                entry.value.hide_scalars(text, all);
            }),
        }
    }

    /// Masks the secrets that masking line by line misses: those over several lines, and those
    /// under a misspelt key.
    fn hide_secrets(&self, text: &mut [u8]) {
        match &self.value {
            Value::Scalar(_) => {}
            Value::Sequence(items) => items.iter().for_each(|item| item.hide_secrets(text)),
            Value::Mapping(entries) => {
                for MappingEntry { key, value, .. } in entries {
                    match mask::may_be_secret(key) {
                        true => value.hide_scalars(text, true),
                        false => value.hide_secrets(text),
                    }
                }
            }
        }
    }
}

impl Scalar {
    /// Whether it is a boolean, or a number too short for a key.
    fn is_harmless(&self) -> bool {
        const LONGEST: usize = 12;
        let value = self.resolve();
        value.is_boolean() || value.is_number() && self.text.len() <= LONGEST
    }

    /// The value of the scalar by the core schema of YAML 1.2.
    pub(super) fn resolve(&self) -> Json {
        if !self.plain {
            return Json::String(self.text.clone());
        }
        match self.text.as_str() {
            "" | "~" | "null" | "Null" | "NULL" => Json::Null,
            "true" | "True" | "TRUE" => Json::Bool(true),
            "false" | "False" | "FALSE" => Json::Bool(false),
            text => number(text).unwrap_or_else(|| Json::String(text.to_owned())),
        }
    }
}

/// A number as YAML writes it. Infinity and NaN are not read as numbers: no setting takes them.
fn number(text: &str) -> Option<Json> {
    if let Some(digits) = text.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).ok().map(Json::from);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return u64::from_str_radix(digits, 8).ok().map(Json::from);
    }
    let digits = text.trim_start_matches(['+', '-']);
    let starts = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let only = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-');
    if !starts || !digits.chars().all(only) {
        return None;
    }
    if let Ok(integer) = text.parse::<i64>() {
        return Some(Json::from(integer));
    }
    if let Ok(integer) = text.parse::<u64>() {
        return Some(Json::from(integer));
    }
    let float = text.parse::<f64>().ok()?;
    serde_json::Number::from_f64(float).map(Json::Number)
}
