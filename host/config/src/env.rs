//! `${VAR}` and `${VAR:-default}` in string values.
//!
//! Substitution works on values, not on the file's text: a comment cannot fail, and a variable's
//! value cannot add a key.

use super::Environment;

/// Most defaults nested in each other: `${A:-${B:-c}}`.
const MAX_NESTING: usize = 8;

/// A reference that cannot be replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unresolved {
    /// The part of the reference to underline, as written.
    pub(super) reference: String,
    /// The text of the error.
    pub(super) message: String,
    /// The remedy.
    pub(super) help: String,
}

/// The string with every reference replaced. A reference that cannot be replaced is left out and
/// reported.
pub(super) fn expand(text: &str, env: Environment, errors: &mut Vec<Unresolved>) -> String {
    expand_nested(text, env, errors, MAX_NESTING)
}

fn expand_nested(
    text: &str,
    env: Environment,
    errors: &mut Vec<Unresolved>,
    nesting: usize,
) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, reference) = rest.split_at(at);
        if let Some(literal) = before.strip_suffix('$') {
            out.push_str(literal);
            out.push_str("${");
            rest = &reference[2..];
            continue;
        }
        out.push_str(before);
        let Some(end) = closing(reference) else {
            errors.push(Unresolved {
                reference: "${".to_owned(),
                message: "`${` without its `}`".to_owned(),
                help: "close it, or write `$${` for a literal `${`".to_owned(),
            });
            return out;
        };
        rest = &reference[end + 1..];
        match split(&reference[2..end]) {
            Some((name, default)) => match (env(name), default) {
                // As in a shell, `:-` also replaces an empty value.
                (Some(value), _) if !value.is_empty() => out.push_str(&value),
                (_, Some(default)) if nesting > 0 => {
                    out.push_str(&expand_nested(default, env, errors, nesting - 1));
                }
                (Some(empty), None) => out.push_str(&empty),
                _ => errors.push(unset(name, default.is_some())),
            },
            None => errors.push(malformed()),
        }
    }
    out.push_str(rest);
    out
}

fn unset(name: &str, too_deep: bool) -> Unresolved {
    let message = if too_deep {
        format!("the defaults around `${{{name}}}` are nested too deeply")
    } else {
        format!("the environment variable `{name}` is not set")
    };
    Unresolved {
        reference: format!("${{{name}"),
        message,
        help: format!("set {name}, or give a default: `${{{name}:-value}}`"),
    }
}

fn malformed() -> Unresolved {
    Unresolved {
        reference: "${".to_owned(),
        message: "this is neither `${VAR}` nor `${VAR:-default}`".to_owned(),
        help: "a name has letters, digits and `_`; write `$${` for a literal `${`".to_owned(),
    }
}

/// The position of the `}` that closes the `${` at the start of a text.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'{' if at > 0 && bytes[at - 1] == b'$' => open += 1,
            b'}' if open == 1 => return Some(at),
            b'}' => open = open.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// Name and default of the text between the braces. None: it is malformed.
fn split(inside: &str) -> Option<(&str, Option<&str>)> {
    let end =
        inside.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(inside.len());
    let (name, rest) = inside.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    match rest {
        "" => Some((name, None)),
        _ => rest.strip_prefix(":-").map(|default| (name, Some(default))),
    }
}
