//! Estimates the tokens of a prompt from the strings in its JSON, without a tokenizer.

use std::sync::LazyLock;

use memchr::memchr2;
use memchr::memmem::Finder;

/// Bytes of text per token. English has about four with current tokenizers. The estimate also suits
/// other scripts, whose characters take more bytes.
const BYTES: u64 = 4;
/// Tokens around each message or message part: its role and separators.
const FRAME: u64 = 3;
/// Tokens of an inline image, recording or file. Engines make a few hundred tokens of it, whatever
/// its size in bytes.
const MEDIA: u64 = 500;
/// In bytes. A longer string counts as media if this much of its beginning looks like base64.
const LONG: usize = 1024;

/// Estimates the tokens in a part of a request. `json` must be a valid JSON value. Each number
/// counts as one token, because a list of numbers is a tokenised prompt.
pub(super) fn tokens(json: &[u8]) -> u64 {
    let (mut tokens, mut bytes, mut at) = (0u64, 0u64, 0);
    while at < json.len() {
        match json[at] {
            b'"' => {
                let end = string(json, at);
                let text = &json[at + 1..end.max(at + 1)];
                at = end + 1;
                if is_key(&json[at.min(json.len())..]) {
                    continue;
                }
                if is_media(text) {
                    tokens = tokens.saturating_add(MEDIA);
                } else {
                    bytes += text.len() as u64;
                }
            }
            b'{' => {
                tokens = tokens.saturating_add(FRAME);
                at += 1;
            }
            b'-' | b'0'..=b'9' => {
                tokens = tokens.saturating_add(1);
                let more = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
                at += json[at..].iter().take_while(|byte| more(byte)).count();
            }
            _ => at += 1,
        }
    }
    tokens.saturating_add(bytes.div_ceil(BYTES))
}

/// Estimates the tokens of so many bytes of a prompt.
pub(super) const fn tokens_of(bytes: usize) -> u32 {
    (bytes as u64 / BYTES) as u32
}

/// The position of the closing quote of the string that begins at `at`.
fn string(json: &[u8], at: usize) -> usize {
    let mut end = at + 1;
    while let Some(found) = json.get(end..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        end += found;
        if json[end] == b'"' {
            return end;
        }
        end += 2;
    }
    json.len()
}

/// True if the string before `rest` is a key, not a value.
fn is_key(rest: &[u8]) -> bool {
    rest.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':')
}

fn is_media(text: &[u8]) -> bool {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=-_\\".contains(byte);
    text.starts_with(b"data:") || (text.len() > LONG && text[..LONG].iter().all(is_base64))
}

/// True if a message has the role `user`.
pub(super) fn is_of_user(message: &[u8]) -> bool {
    // Searching for the key is cheaper than parsing, because messages have few fields and `role`
    // mostly comes first. Inside a string the quotes of the key would be escaped.
    static ROLE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"role\""));
    let Some(at) = ROLE.find(message) else { return false };
    let rest = message[at + 6..].trim_ascii_start();
    let rest = rest.strip_prefix(b":").unwrap_or_default().trim_ascii_start();
    rest.starts_with(b"\"user\"")
}
