//! Parses text into a tree with positions.
//!
//! It uses parser events and not serde, for three reasons. An error needs the position of a value
//! and of its key. A variable may be a number only if it was not quoted. One pass must find every
//! mistake. serde stops at the first mistake, and its spans know neither keys nor quotes. The cost
//! of a file is bounded by its size, its depth, and its number of values after aliases are
//! expanded.

use std::collections::HashMap;
use std::ops::Range;

use serde_yaml::granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use super::Environment;
use super::document::{MappingEntry, Node, Scalar, Value};
use super::env::{self, Unresolved};

const MAX_BYTES: usize = 1 << 20;
const MAX_NODES: usize = 100_000;
const MAX_DEPTH: usize = 64;

const MEND: &str = "check indentation, quotes and brackets here and on the line before";
const TOO_MANY: &str = "write fewer values, or let fewer aliases repeat them";

/// An error in a text.
pub(super) struct Problem {
    pub(super) span: Range<usize>,
    pub(super) message: String,
    pub(super) help: String,
    pub(super) also: Option<(Range<usize>, String)>,
}

impl Problem {
    fn new(span: Range<usize>, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { span, message: message.into(), help: help.into(), also: None }
    }
}

/// The tree, if the text has one, and the errors found so far.
pub(super) fn parse(text: &str, env: Environment) -> (Option<Node>, Vec<Problem>) {
    if text.len() > MAX_BYTES {
        let problem = Problem::new(
            0..0,
            "the file is larger than 1 MiB",
            "remove the parts that the gateway does not read",
        );
        return (None, vec![problem]);
    }
    let parser = Parser::new_from_str(text);
    let mut builder =
        Builder { text, env, parser, anchors: HashMap::new(), nodes: 0, problems: Vec::new() };
    match builder.document() {
        Ok(root) => (Some(root), builder.problems),
        Err(problem) => {
            builder.problems.push(problem);
            (None, builder.problems)
        }
    }
}

struct Builder<'t> {
    text: &'t str,
    env: Environment<'t>,
    parser: Parser<'t, StrInput<'t>>,
    /// By anchor: the node, and how many nodes it contains.
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    problems: Vec<Problem>,
}

impl<'t> Builder<'t> {
    fn document(&mut self) -> Result<Node, Problem> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                Event::StreamEnd => break,
                _ if root.is_some() => {
                    let message = "a second document in the file";
                    return Err(Problem::new(range(&span), message, "remove the `---` before it"));
                }
                event => root = Some(self.node(event, &span, 0)?),
            }
        }
        Ok(root.unwrap_or_else(|| null(0..0)))
    }

    /// The next event. After the last one: the end of the stream.
    fn next(&mut self) -> Result<(Event<'t>, Span), Problem> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(self.syntax(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn syntax(&self, error: &ScanError) -> Problem {
        let at = error.marker().byte_offset().unwrap_or(0).min(self.text.len());
        let line = self.text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let end = self.text[at..].find('\n').map_or(self.text.len(), |newline| at + newline);
        let help = if self.text[line..end].contains("${") {
            "inside `[ ]` and `{ }` a variable needs quotes: \"${VAR}\""
        } else {
            MEND
        };
        let end = at + self.text[at..].chars().next().map_or(0, char::len_utf8);
        Problem::new(at..end, format!("not valid YAML: {}", error.info()), help)
    }

    fn node(&mut self, event: Event<'t>, span: &Span, depth: usize) -> Result<Node, Problem> {
        self.nodes += 1;
        let at = range(span);
        if depth > MAX_DEPTH {
            let message = format!("nested more than {MAX_DEPTH} levels deep");
            return Err(Problem::new(at, message, "remove levels: no setting has more than six"));
        }
        let before = self.nodes;
        let (node, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (self.scalar(&text, style, tag.as_deref(), at)?, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.collection_tag(tag.as_deref(), &at)?;
                (self.sequence(at, depth)?, anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.collection_tag(tag.as_deref(), &at)?;
                (self.mapping(at, depth)?, anchor)
            }
            Event::Alias(anchor) => (self.alias(anchor, &at)?, 0),
            _ => return Err(Problem::new(at, "not valid YAML here", MEND)),
        };
        if self.nodes > MAX_NODES {
            let message = format!("more than {MAX_NODES} values, aliases included");
            return Err(Problem::new(node.span, message, TOO_MANY));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), self.nodes - before + 1));
        }
        Ok(node)
    }

    fn alias(&mut self, anchor: usize, at: &Range<usize>) -> Result<Node, Problem> {
        let Some((node, count)) = self.anchors.get(&anchor) else {
            let message = "an alias inside the value that it names";
            return Err(Problem::new(at.clone(), message, "write the value out"));
        };
        self.nodes += count;
        if self.nodes > MAX_NODES {
            // Checked before the copy is made, which the bound is to prevent.
            let message = format!("more than {MAX_NODES} values, aliases included");
            return Err(Problem::new(at.clone(), message, TOO_MANY));
        }
        Ok(node.clone())
    }

    fn sequence(&mut self, at: Range<usize>, depth: usize) -> Result<Node, Problem> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if let Event::SequenceEnd = event {
                let span = at.start..range(&span).end.max(at.end);
                return Ok(Node { span, value: Value::Sequence(items) });
            }
            items.push(self.node(event, &span, depth + 1)?);
        }
    }

    fn mapping(&mut self, at: Range<usize>, depth: usize) -> Result<Node, Problem> {
        let mut entries: Vec<MappingEntry> = Vec::new();
        let mut merged = Vec::new();
        loop {
            let (event, span) = self.next()?;
            let key_span = range(&span);
            let key = match event {
                Event::MappingEnd => {
                    let span = at.start..key_span.end.max(at.end);
                    merge(&mut entries, merged);
                    return Ok(Node { span, value: Value::Mapping(entries) });
                }
                Event::Scalar(key, ..) => key.into_owned(),
                _ => {
                    let help = "quote it if it begins with `{`, `[`, `*` or `&`";
                    return Err(Problem::new(key_span, "a key must be a plain word", help));
                }
            };
            let (event, span) = self.next()?;
            let value = self.node(event, &span, depth + 1)?;
            if key == "<<" {
                merged.push(value);
            } else if let Some(first) = entries.iter().find(|entry| entry.key == key) {
                let also = Some((first.key_span.clone(), "first given here".to_owned()));
                let message = format!("the key `{key}` is given twice");
                let problem = Problem::new(key_span, message, "remove one of the two");
                self.problems.push(Problem { also, ..problem });
            } else {
                entries.push(MappingEntry { key, key_span, value });
            }
        }
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&Tag>,
        at: Range<usize>,
    ) -> Result<Node, Problem> {
        let plain = match tag.map(|tag| (tag.is_yaml_core_schema(), tag.suffix())) {
            None => matches!(style, ScalarStyle::Plain),
            Some((true, "str")) => false,
            Some((true, _)) => true,
            Some((false, _)) => return Err(foreign_tag(at)),
        };
        let mut unresolved = Vec::new();
        let expanded = env::expand(text, self.env, &mut unresolved);
        let hole = !unresolved.is_empty();
        for Unresolved { reference, message, help } in unresolved {
            let source = self.text.get(at.clone()).unwrap_or_default();
            let span = match source.find(&reference) {
                Some(offset) => at.start + offset..at.start + offset + reference.len(),
                None => at.clone(),
            };
            self.problems.push(Problem::new(span, message, help));
        }
        let substituted = expanded != text;
        let scalar = Scalar { text: expanded, plain, substituted, hole };
        Ok(Node { span: at, value: Value::Scalar(scalar) })
    }

    fn collection_tag(&self, tag: Option<&Tag>, at: &Range<usize>) -> Result<(), Problem> {
        match tag {
            Some(tag) if !tag.is_yaml_core_schema() => Err(foreign_tag(at.clone())),
            _ => Ok(()),
        }
    }
}

fn foreign_tag(at: Range<usize>) -> Problem {
    Problem::new(at, "tags have no meaning here", "remove the word that begins with `!`")
}

fn null(span: Range<usize>) -> Node {
    let scalar = Scalar { text: String::new(), plain: true, substituted: false, hole: false };
    Node { span, value: Value::Scalar(scalar) }
}

fn range(span: &Span) -> Range<usize> {
    let start = span.start.byte_offset().unwrap_or(0);
    start..span.end.byte_offset().unwrap_or(start).max(start)
}

/// `<<: *defaults` adds keys that the mapping does not give itself. The first source that has a key
/// wins.
fn merge(entries: &mut Vec<MappingEntry>, sources: Vec<Node>) {
    for source in sources {
        match source.value {
            Value::Mapping(more) => {
                for entry in more {
                    if entries.iter().all(|known| known.key != entry.key) {
                        entries.push(entry);
                    }
                }
            }
            Value::Sequence(items) => merge(entries, items),
            Value::Scalar(_) => {}
        }
    }
}
