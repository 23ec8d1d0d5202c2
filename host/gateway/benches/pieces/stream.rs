//! The processing of a stream's chunks: events, commit point, usage.

use std::hint::black_box;

use bytes::Bytes;

use proxy::bench::Streamed;

use super::{Piece, Run};

/// Number of chunks, with a token each.
const TOKENS: usize = 64;

pub(super) fn pieces() -> Vec<Piece> {
    vec![Piece::new("stream/chunk", chunk), Piece::new("stream/64-chunks", whole)]
}

/// Feeds one more token to a stream after its commit point.
fn chunk() -> Run {
    let mut stream = Streamed::default();
    let token = event(r#"{"content":" token"}"#, "null", "");
    Box::new(move || {
        black_box(stream.feed(black_box(&token).clone()).expect("content is passed"));
    })
}

/// Feeds a whole stream, from its role to its end.
fn whole() -> Run {
    let usage = r#","usage":{"prompt_tokens":12,"completion_tokens":64,"total_tokens":76}"#;
    let mut chunks = vec![event(r#"{"role":"assistant","content":""}"#, "null", "")];
    chunks.extend((0..TOKENS).map(|at| event(&format!(r#"{{"content":" {at}"}}"#), "null", "")));
    chunks.push(event("{}", r#""stop""#, usage));
    chunks.push(Bytes::from_static(b"data: [DONE]\n\n"));
    Box::new(move || {
        let mut stream = Streamed::default();
        for chunk in black_box(&chunks) {
            black_box(stream.feed(chunk.clone()));
        }
        assert!(stream.end(), "a whole stream");
    })
}

fn event(delta: &str, finish: &str, more: &str) -> Bytes {
    let head =
        r#""id":"chatcmpl-9f1c2d3e4a5b","object":"chat.completion.chunk","created":1760000000"#;
    let choice =
        format!(r#"{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish}}}"#);
    let data = format!(r#"{{{head},"model":"llama-3.3-70b-instruct","choices":[{choice}]{more}}}"#);
    format!("data: {data}\n\n").into()
}
