//! One line of an exposition behind its name: `{engine="0"} 3.0 1700000000000`.

use std::borrow::Cow;

/// Most labels of a series. Engines have fewer than ten.
const MOST_LABELS: usize = 64;

/// The labels and the value of a series.
#[derive(Debug, PartialEq)]
pub(super) struct Sample<'a> {
    pub(super) labels: Vec<(&'a [u8], Cow<'a, [u8]>)>,
    /// Any float, also NaN and infinity.
    pub(super) value: f64,
}

impl Sample<'_> {
    /// Whether it has all of these labels.
    pub(super) fn has(&self, labels: &[(String, String)]) -> bool {
        labels.iter().all(|(name, value)| {
            let own = self.labels.iter().find(|(own, _)| *own == name.as_bytes());
            own.map_or(&b""[..], |(_, own)| own) == value.as_bytes()
        })
    }
}

/// Reads what follows the name. None: it is malformed.
pub(super) fn read(rest: &[u8]) -> Option<Sample<'_>> {
    let mut rest = rest.trim_ascii();
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix(b"{") {
        rest = read_labels(inside, &mut labels)?;
    }
    let (value, rest) = token(rest);
    let value = number(value)?;
    // A timestamp may follow, and an exemplar behind a `#`.
    let (timestamp, rest) = match rest.first() {
        None | Some(b'#') => return Some(Sample { labels, value }),
        Some(_) => token(rest),
    };
    number(timestamp)?;
    matches!(rest.first(), None | Some(b'#')).then_some(Sample { labels, value })
}

/// Reads labels up to the closing brace. Returns what follows it.
fn read_labels<'a>(
    mut rest: &'a [u8],
    labels: &mut Vec<(&'a [u8], Cow<'a, [u8]>)>,
) -> Option<&'a [u8]> {
    loop {
        rest = rest.trim_ascii_start();
        if let Some(behind) = rest.strip_prefix(b"}") {
            return Some(behind.trim_ascii_start());
        }
        if labels.len() == MOST_LABELS {
            return None;
        }
        let equals = rest.iter().position(|byte| !is_of_name(*byte))?;
        let (name, behind) = rest.split_at(equals);
        if name.is_empty() {
            return None;
        }
        let quoted = behind.trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
        let (value, behind) = read_value(quoted.strip_prefix(b"\"")?)?;
        labels.push((name, value));
        rest = behind.trim_ascii_start();
        match rest.first()? {
            b',' => rest = &rest[1..],
            b'}' => {}
            _ => return None,
        }
    }
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':'
}

/// Reads a value up to its closing quote. Returns what follows it.
fn read_value(text: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let mut unescaped = Vec::new();
    let mut copied = 0;
    loop {
        let at = copied + memchr::memchr2(b'"', b'\\', &text[copied..])?;
        if text[at] == b'"' {
            let value = match unescaped.is_empty() {
                true => Cow::Borrowed(&text[..at]),
                false => Cow::Owned([&unescaped, &text[copied..at]].concat()),
            };
            return Some((value, &text[at + 1..]));
        }
        unescaped.extend_from_slice(&text[copied..at]);
        unescaped.push(match text.get(at + 1)? {
            b'n' => b'\n',
            other => *other,
        });
        copied = at + 2;
    }
}

/// The first word, and the text from the next one.
fn token(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
    let (token, rest) = text.split_at(end);
    (token, rest.trim_ascii_start())
}

fn number(token: &[u8]) -> Option<f64> {
    std::str::from_utf8(token).ok()?.parse().ok()
}
