//! The scan of a request body for `model` and `stream`.

use std::hint::black_box;

use http1::scan;

use super::{Piece, Run};

pub(super) fn pieces() -> Vec<Piece> {
    let piece = |size: usize| {
        Piece::new(format!("scan/{}KB", size >> 10), move || -> Run {
            let body = chat(size);
            Box::new(move || {
                black_box(scan(black_box(&body)).expect("a good body"));
            })
        })
    };
    vec![piece(1 << 10), piece(32 << 10)]
}

/// A streaming chat request of this many bytes. Each turn has prose and characters that JSON
/// escapes.
pub(super) fn chat(size: usize) -> Vec<u8> {
    const SAID: &str = r#"What does \"fn main() {\\n    println!(\\\"{}\\\");\\n}\" print, and why? Please explain it line by line,\nand say what would be different if the string were \u00e9 or 日本語 instead.\n"#;
    const TURN: usize = 2000;
    let mut body = r#"{"model":"llama-3.3-70b-instruct","stream":true,"stream_options":{"include_usage":true},"temperature":0.7,"max_tokens":512,"messages":[{"role":"system","content":"You are a helpful assistant."}"#.to_owned();
    let mut roles = ["user", "assistant"].into_iter().cycle();
    while body.len() < size {
        body += &format!(r#",{{"role":"{}","content":""#, roles.next().unwrap_or_default());
        let end = (body.len() + TURN).min(size.saturating_sub(4));
        while body.len() + SAID.len() < end {
            body += SAID;
        }
        // The last turn fills the rest.
        if end < body.len() + TURN {
            body += &"x".repeat(end.saturating_sub(body.len()));
        }
        body += r#""}"#;
        if body.len() + 2 >= size {
            break;
        }
    }
    body += "]}";
    body.into_bytes()
}
