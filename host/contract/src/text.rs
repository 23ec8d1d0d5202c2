//! Text that a strategy's author wrote, where people read it.

/// True if a character shows as itself, wherever it stands. False for control characters, line
/// separators, and characters that change the direction of text: they can make a line look like
/// another one.
#[must_use]
pub fn is_plain(c: char) -> bool {
    !c.is_control()
        && !matches!(
            c,
            '\u{061c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'
                | '\u{2029}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
        )
}

#[cfg(test)]
mod tests {
    use super::is_plain;

    #[test]
    fn what_moves_other_text_is_not_plain() {
        let bad = "\n\r\x1b\x7f\u{85}\u{61c}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202b}\u{202c}\
                   \u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}";
        assert!(bad.chars().all(|c| !is_plain(c)));
        assert!("aü שלום مرحبا \u{200d}\u{1f468}".chars().all(is_plain));
    }
}
