//! `POST /v1/completions`.

use serde_json::{Value, json};

use super::text::{count, usage, words};
use super::{Chunk, InferenceCall, Problem, Reply};

pub(super) fn reply(call: &InferenceCall<'_>) -> Result<Reply, Problem> {
    if !matches!(call.field("prompt")?, Value::String(_) | Value::Array(_)) {
        return Err(Problem::bad(Some("prompt"), "'prompt' is neither text nor a list"));
    }
    let prompt = prompt(&call.body);
    let text = call.hello(&prompt);
    let tokens = count(&text);
    let usage = usage(count(&prompt), call.cached, tokens);
    if call.streams() {
        return Ok(Reply::Stream(stream(call, &text, usage)));
    }
    let mut body = base(call);
    body["choices"] = choice(&text, Some("stop"));
    body["usage"] = usage;
    Ok(Reply::Whole { tokens, body })
}

/// The prompt, or the first of several. A list of token numbers counts as empty text.
pub(super) fn prompt(body: &Value) -> String {
    let prompt = match &body["prompt"] {
        Value::Array(prompts) => prompts.first().and_then(Value::as_str),
        prompt => prompt.as_str(),
    };
    prompt.unwrap_or_default().to_owned()
}

/// A piece of text for each word, the finish, usage where asked for, and the end.
fn stream(
    call: &InferenceCall<'_>,
    text: &str,
    usage: Value,
) -> Box<dyn Iterator<Item = Chunk> + Send> {
    let base = base(call);
    let chunk = move |choices: Value| {
        let mut chunk = base.clone();
        chunk["choices"] = choices;
        chunk
    };
    let words = words(text);
    let end = words.len();

    let finish = Chunk::event(end, &chunk(choice("", Some("stop"))));
    let total = call.wants_usage().then(|| {
        let mut total = chunk(json!([]));
        total["usage"] = usage;
        Chunk::event(end, &total)
    });
    let texts = words
        .into_iter()
        .enumerate()
        .map(move |(after, word)| Chunk::event(after, &chunk(choice(&word, None))));
    let tail = [Some(finish), total, Some(Chunk::done(end))].into_iter().flatten();
    Box::new(texts.chain(tail))
}

fn base(call: &InferenceCall<'_>) -> Value {
    json!({
        "id": format!("cmpl-stub-{}", call.number),
        "object": "text_completion",
        "created": call.created,
        "model": call.model,
        "system_fingerprint": call.engine,
    })
}

fn choice(text: &str, finish: Option<&str>) -> Value {
    json!([{"index": 0, "text": text, "logprobs": null, "finish_reason": finish}])
}
