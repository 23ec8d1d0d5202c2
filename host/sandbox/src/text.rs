//! Makes text from a guest safe for a log line or a terminal.

use std::fmt::Write;

use contract::is_plain;

/// Returns the first `limit` bytes of `text`, cut between characters and marked with `…` if
/// something is missing. Characters that are not [plain](is_plain) are escaped, so that a guest
/// cannot forge a log line or move an operator's cursor.
pub fn printable(text: &str, limit: usize) -> String {
    let cut = text.floor_char_boundary(limit);
    let mut shown = String::with_capacity(cut);
    for c in text[..cut].chars() {
        if is_plain(c) {
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
