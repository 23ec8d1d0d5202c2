//! Text in requests. The engine takes words for tokens.

use serde_json::{Value, json};

/// How many words a text has.
pub(super) fn count(text: &str) -> usize {
    text.split_whitespace().count()
}

/// Cuts a text into words, each with the white space after it. Joined again they are the text.
pub(super) fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut start = 0;
    let mut spaced = false;
    for (index, letter) in text.char_indices() {
        let space = letter.is_whitespace();
        if spaced && !space {
            words.push(text[start..index].to_owned());
            start = index;
        }
        spaced = space;
    }
    if start < text.len() {
        words.push(text[start..].to_owned());
    }
    words
}

/// The text of a message's `content`: a string, or the texts of its parts.
pub(super) fn content(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts: Vec<&str> = parts.iter().filter_map(|part| part["text"].as_str()).collect();
            texts.join(" ")
        }
        _ => String::new(),
    }
}

/// The last message of the user. Empty if there is none.
pub(super) fn last_user(messages: &[Value]) -> String {
    let last = messages.iter().rev().find(|message| message["role"] == "user");
    last.map(|message| content(&message["content"])).unwrap_or_default()
}

/// The number of words in all messages.
pub(super) fn count_messages(messages: &[Value]) -> usize {
    messages.iter().map(|message| count(&content(&message["content"]))).sum()
}

/// `usage` as chat and text completions give it. It has cached tokens only if there are any.
pub(super) fn usage(prompt: usize, cached: usize, completion: usize) -> Value {
    let mut usage = json!({
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    });
    if cached > 0 {
        usage["prompt_tokens_details"] = json!({"cached_tokens": cached});
    }
    usage
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_joined_are_the_text() {
        for text in ["", "one", "one two", "  led by space", "line\n\nline \u{2003}größer 日本 "]
        {
            assert_eq!(words(text).concat(), text);
        }
        assert_eq!(words("a  b c "), ["a  ", "b ", "c "]);
    }

    #[test]
    fn the_last_user_message_counts_in_either_form() {
        let messages = [
            json!({"role": "user", "content": "first"}),
            json!({"role": "user", "content": [
                {"type": "text", "text": "look at"},
                {"type": "image_url", "image_url": {"url": "data:"}},
                {"type": "text", "text": "this"},
            ]}),
            json!({"role": "assistant", "content": null}),
        ];
        assert_eq!(last_user(&messages), "look at this");
        assert_eq!(count_messages(&messages), 4);
        assert_eq!(last_user(&messages[2..]), "");
    }
}
