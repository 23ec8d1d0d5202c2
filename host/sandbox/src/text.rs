//! Makes text from a guest safe for a log line or a terminal.

use std::fmt::Write;

/// Returns the first `limit` bytes of `text`, cut between characters and marked with `…` if
/// something is missing. Control characters are escaped, so that a guest cannot forge a log line or
/// move an operator's cursor.
pub fn printable(text: &str, limit: usize) -> String {
    let cut = text.floor_char_boundary(limit);
    let mut shown = String::with_capacity(cut);
    for c in text[..cut].chars() {
        if is_safe(c) {
            shown.push(c);
        } else {
            // Writing to a `String` cannot fail.
            let _ = write!(shown, "{}", c.escape_default());
        }
    }
    if cut < text.len() {
        shown.push('…');
    }
    shown
}

/// False for control characters, line separators and characters that change the direction of text.
fn is_safe(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn control_characters_are_escaped_and_others_kept() {
        assert_eq!(printable("a\nb\x1b[2J ü\u{202e}", 100), "a\\nb\\u{1b}[2J ü\\u{202e}");
    }

    #[test]
    fn a_cut_falls_between_characters() {
        assert_eq!(printable("aüb", 2), "a…");
        assert_eq!(printable("aüb", 3), "aü…");
        assert_eq!(printable("aüb", 4), "aüb");
    }
}
