//! How long a prompt is, estimated without a tokenizer: from the strings in its JSON.

use std::sync::LazyLock;

use memchr::memchr2;
use memchr::memmem::Finder;

/// Bytes of text for each token. English has about four in the tokenizers in use; of other scripts, whose
/// characters take more bytes, the estimate is about right too.
const BYTES: u64 = 4;
/// Tokens around each message or part of one: its role, and what separates it.
const FRAME: u64 = 3;
/// Tokens of an image, a recording or a file that stands in the prompt: engines make some hundred of
/// it, whatever its bytes.
const MEDIA: u64 = 500;
/// A string without a space that is longer than this, and looks like base64, is no text.
const LONG: usize = 1024;

/// An estimate of the tokens in a part of a request; `json` is a JSON value that has been read before.
/// Lists of numbers are tokens already.
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

/// Where the string that begins at `at` ends: the place of its closing quote.
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

/// Whether what stands before `rest` is a key, not a value.
fn is_key(rest: &[u8]) -> bool {
    rest.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':')
}

fn is_media(text: &[u8]) -> bool {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=-_\\".contains(byte);
    text.starts_with(b"data:") || (text.len() > LONG && text[..LONG].iter().all(is_base64))
}

/// Whether a message is the user's.
pub(super) fn is_of_user(message: &[u8]) -> bool {
    // Messages have few fields, and `role` mostly comes first: the key is looked for, not the object read. A
    // text that says so inside a string has its quotes escaped.
    static ROLE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"role\""));
    let Some(at) = ROLE.find(message) else { return false };
    let rest = message[at + 6..].trim_ascii_start();
    let rest = rest.strip_prefix(b":").unwrap_or_default().trim_ascii_start();
    rest.starts_with(b"\"user\"")
}
