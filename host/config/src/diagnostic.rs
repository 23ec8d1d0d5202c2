//! Errors and warnings about a file: what is wrong, where, and the remedy.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use contract::is_plain;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// One error or warning about a file.
///
/// Neither its text nor its snippet shows a key: the snippet is cut from a masked copy of the file.
#[derive(Clone)]
pub struct Diagnostic {
    /// The file as the user named it.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// The error, in one line.
    pub message: String,
    /// The remedy, in one line. May be empty.
    pub help: String,
    /// Whether it is a warning: the file is valid.
    is_warning: bool,
    /// None: it is about the file as a whole.
    snippet: Option<Cutout>,
}

/// The text that a snippet is cut from.
#[derive(Clone)]
pub(super) struct Cutout {
    /// The masked text.
    pub(super) text: Arc<str>,
    /// The range to underline, in bytes.
    pub(super) span: Range<usize>,
    /// A second range, and its label.
    pub(super) also: Option<(Range<usize>, String)>,
}

impl Diagnostic {
    pub(super) fn of_file(
        file: String,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        let (message, help) = (one_line(message.into()), one_line(help.into()));
        Self { file, line: 1, column: 1, message, help, is_warning: false, snippet: None }
    }

    pub(super) fn at(
        file: String,
        cutout: Cutout,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        let (line, column) = position(&cutout.text, cutout.span.start);
        let (message, help) = (one_line(message.into()), one_line(help.into()));
        Self { file, line, column, message, help, is_warning: false, snippet: Some(cutout) }
    }

    /// Turns an error into a warning.
    pub(super) fn into_warning(self) -> Self {
        Self { is_warning: true, ..self }
    }

    /// One line: `file:line:column: message; help`.
    #[must_use]
    pub fn short(&self) -> String {
        let Self { file, line, column, message, help, .. } = self;
        let separator = if help.is_empty() { "" } else { "; " };
        format!("{file}:{line}:{column}: {message}{separator}{help}")
    }

    fn render(&self, renderer: &Renderer) -> String {
        let level = if self.is_warning { Level::WARNING } else { Level::ERROR };
        let title = level.primary_title(&self.message);
        let mut group = match &self.snippet {
            None => Group::with_title(title).element(annotate_snippets::Origin::path(&self.file)),
            Some(Cutout { text, span, also }) => {
                let mut snippet = Snippet::source(&**text)
                    .path(&self.file)
                    .annotation(AnnotationKind::Primary.span(span.clone()));
                if let Some((span, label)) = also {
                    let context = AnnotationKind::Context.span(span.clone()).label(label);
                    snippet = snippet.annotation(context);
                }
                Group::with_title(title).element(snippet)
            }
        };
        if !self.help.is_empty() {
            group = group.element(Level::HELP.message(&self.help));
        }
        renderer.render(&[group])
    }
}

/// Escapes characters that are not plain: a message may repeat any text of a file, or of a
/// strategy's schema.
fn one_line(text: String) -> String {
    if text.chars().all(is_plain) {
        return text;
    }
    let escape = |c: char| if is_plain(c) { c.into() } else { c.escape_default().to_string() };
    text.chars().map(escape).collect()
}

/// Line and column (both from 1) of a byte offset. An offset past the end counts as the end.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let before = &text[..offset];
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(&Renderer::plain()))
    }
}

impl fmt::Debug for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

/// The errors and warnings about a configuration. There is at least one.
///
/// `Display` shows each with its snippet and remedy.
#[derive(Debug, Clone)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// Keeps the order of `list`.
    #[must_use]
    pub fn new(list: Vec<Diagnostic>) -> Self {
        Self(list)
    }

    /// One line per error, for logs and JSON.
    #[must_use]
    pub fn short(&self) -> String {
        let lines: Vec<_> = self.0.iter().map(Diagnostic::short).collect();
        lines.join("\n")
    }

    /// Like `Display`, in colour if asked for.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let shown: Vec<_> = self.0.iter().map(|error| error.render(&renderer)).collect();
        shown.join("\n\n")
    }

    /// In the order they were found: file by file.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(one: Diagnostic) -> Self {
        Self(vec![one])
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}

/// The known word that was most likely meant by `word`. None: no known word is near.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = |candidate: &&str| {
        let distance = strsim::damerau_levenshtein(word, candidate);
        (distance <= word.chars().count().max(3) / 3).then_some(distance)
    };
    known.filter_map(|k| near(&k).map(|d| (d, k))).min().map(|(_, candidate)| candidate)
}
