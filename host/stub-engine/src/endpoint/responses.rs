//! `POST /v1/responses`. Its streams are typed and numbered events.

use serde_json::{Value, json};

use super::text::{count, count_messages, last_user, words};
use super::{Chunk, InferenceCall, Problem, Reply};

pub(super) fn reply(call: &InferenceCall<'_>) -> Result<Reply, Problem> {
    let (said, prompt) = match call.field("input")? {
        Value::String(text) => (text.clone(), count(text)),
        Value::Array(items) => (last_user(items), count_messages(items)),
        _ => return Err(Problem::bad(Some("input"), "'input' is neither text nor a list")),
    };
    let text = call.hello(&said);
    let tokens = count(&text);
    let usage = json!({
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": prompt + tokens,
    });
    let body = response(call, "completed", json!([message(call, "completed", &text)]), usage);
    if call.streams() {
        return Ok(Reply::Stream(stream(call, &text, body)));
    }
    Ok(Reply::Whole { tokens, body })
}

/// The events of a stream: the response and its one message open, each word is a delta, and both
/// close with the whole text.
fn stream(
    call: &InferenceCall<'_>,
    text: &str,
    body: Value,
) -> Box<dyn Iterator<Item = Chunk> + Send> {
    let item = format!("msg_stub_{}", call.number);
    let words = words(text);
    let end = words.len();
    let created = response(call, "in_progress", json!([]), Value::Null);
    let mut opened = message(call, "in_progress", "");
    opened["content"] = json!([]);
    let place = json!({"item_id": item, "output_index": 0, "content_index": 0});
    let at = |fields: Value| merged(&place, fields);

    let head = [
        ("response.created", json!({"response": created})),
        ("response.in_progress", json!({"response": created})),
        ("response.output_item.added", json!({"output_index": 0, "item": opened})),
        ("response.content_part.added", at(json!({"part": part("")}))),
    ];
    let closed = message(call, "completed", text);
    let tail = [
        ("response.output_text.done", at(json!({"text": text, "logprobs": []}))),
        ("response.content_part.done", at(json!({"part": part(text)}))),
        ("response.output_item.done", json!({"output_index": 0, "item": closed})),
        ("response.completed", json!({"response": body})),
    ];
    let deltas = words.into_iter().enumerate().map(move |(after, word)| {
        let fields = merged(&place, json!({"delta": word, "logprobs": []}));
        (after, ("response.output_text.delta", fields))
    });
    let events = head.into_iter().map(|event| (0, event));
    let events = events.chain(deltas).chain(tail.into_iter().map(move |event| (end, event)));
    Box::new(events.enumerate().map(|(number, (after, (kind, mut data)))| {
        data["type"] = json!(kind);
        data["sequence_number"] = json!(number);
        Chunk { after, data: format!("event: {kind}\ndata: {data}\n\n").into() }
    }))
}

fn response(call: &InferenceCall<'_>, status: &str, output: Value, usage: Value) -> Value {
    json!({
        "id": format!("resp_stub_{}", call.number),
        "object": "response",
        "created_at": call.created,
        "status": status,
        "model": call.model,
        "output": output,
        "usage": usage,
        "error": null,
        "incomplete_details": null,
        "instructions": null,
        "metadata": {},
        "parallel_tool_calls": true,
        "previous_response_id": null,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
    })
}

fn message(call: &InferenceCall<'_>, status: &str, text: &str) -> Value {
    json!({
        "id": format!("msg_stub_{}", call.number),
        "type": "message",
        "role": "assistant",
        "status": status,
        "content": [part(text)],
    })
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

/// An object with the fields of both.
fn merged(base: &Value, fields: Value) -> Value {
    let mut merged = base.clone();
    if let (Value::Object(merged), Value::Object(fields)) = (&mut merged, fields) {
        merged.extend(fields);
    }
    merged
}
