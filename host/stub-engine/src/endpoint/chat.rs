//! `POST /v1/chat/completions`.

use serde_json::{Value, json};

use super::text::{content, count, count_messages, last_user, usage, words};
use super::{Chunk, InferenceCall, Problem, Reply};

pub(super) fn reply(call: &InferenceCall<'_>) -> Result<Reply, Problem> {
    let messages = call.field("messages")?.as_array().filter(|messages| !messages.is_empty());
    let messages = messages.ok_or_else(|| {
        Problem::bad(Some("messages"), "'messages' must be a list with a message")
    })?;
    let text = call.hello(&last_user(messages));
    let tokens = count(&text);
    let usage = usage(count_messages(messages), call.cached, tokens);
    if call.streams() {
        return Ok(Reply::Stream(stream(call, &text, usage)));
    }
    let body = json!({
        "id": id(call),
        "object": "chat.completion",
        "created": call.created,
        "model": call.model,
        "system_fingerprint": call.engine,
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": text, "refusal": null},
            "logprobs": null,
            "finish_reason": "stop",
        }],
        "usage": usage,
    });
    Ok(Reply::Whole { tokens, body })
}

/// The role and the text of each message.
pub(super) fn messages(body: &Value) -> impl Iterator<Item = (&str, String)> {
    let messages = body["messages"].as_array().into_iter().flatten();
    messages.map(|one| (one["role"].as_str().unwrap_or_default(), content(&one["content"])))
}

/// The role, a delta for each word, the finish, usage where asked for, and the end.
fn stream(
    call: &InferenceCall<'_>,
    text: &str,
    usage: Value,
) -> Box<dyn Iterator<Item = Chunk> + Send> {
    let base = json!({
        "id": id(call),
        "object": "chat.completion.chunk",
        "created": call.created,
        "model": call.model,
        "system_fingerprint": call.engine,
    });
    let chunk = move |choices: Value| {
        let mut chunk = base.clone();
        chunk["choices"] = choices;
        chunk
    };
    let delta = move |delta: Value, finish: Option<&str>| json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]);
    let words = words(text);
    let end = words.len();

    let role = Chunk::event(0, &chunk(delta(json!({"role": "assistant", "content": ""}), None)));
    let finish = Chunk::event(end, &chunk(delta(json!({}), Some("stop"))));
    let total = call.wants_usage().then(|| {
        let mut total = chunk(json!([]));
        total["usage"] = usage;
        Chunk::event(end, &total)
    });
    let deltas = words.into_iter().enumerate().map(move |(after, word)| {
        Chunk::event(after, &chunk(delta(json!({"content": word}), None)))
    });
    let tail = [Some(finish), total, Some(Chunk::done(end))].into_iter().flatten();
    Box::new(std::iter::once(role).chain(deltas).chain(tail))
}

fn id(call: &InferenceCall<'_>) -> String {
    format!("chatcmpl-stub-{}", call.number)
}
