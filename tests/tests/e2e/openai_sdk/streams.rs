//! Event streams as engines send them, one for each API that streams.

use serde_json::{Value, json};

/// The text of every stream. Not only ASCII, so that a cut inside a character shows.
pub(crate) const TEXT: &str = "{\"größe\": \"森 🦀\"}";
const WORDS: [&str; 4] = ["{\"grö", "ße\": ", "\"森 🦀", "\"}"];

/// An API that streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Api {
    Chat,
    /// Chat whose answer is the arguments of a tool call.
    Tools,
    Completions,
    Responses,
}

impl Api {
    /// Its name in models and in the scripts of the SDKs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Tools => "tools",
            Self::Completions => "completions",
            Self::Responses => "responses",
        }
    }

    /// A whole stream; `done`: with `[DONE]` where there is such a thing.
    pub(crate) fn events(self, done: bool) -> String {
        let done = if done && self != Self::Responses { "data: [DONE]\n\n" } else { "" };
        let words: String = WORDS.iter().map(|word| self.word(word)).collect();
        format!("{}{words}{}{done}", self.opening(), self.finish())
    }

    /// A stream up to its second word.
    pub(crate) fn begun(self) -> String {
        format!("{}{}{}", self.opening(), self.word(WORDS[0]), self.word(WORDS[1]))
    }

    /// The event of an engine that fails in the middle of a stream.
    pub(crate) fn error(self) -> String {
        match self {
            Self::Responses => {
                let error = json!({"type": "error", "code": "server_error", "message": "lost", "param": null});
                format!("event: error\ndata: {error}\n\n")
            }
            _ => event(&json!({"error": {"message": "lost", "type": "server_error", "code": 500}})),
        }
    }

    /// The event that tells of tokens, between the finish and `[DONE]`.
    pub(crate) fn usage(self) -> Value {
        let usage = json!({"prompt_tokens": 1, "completion_tokens": 4, "total_tokens": 5});
        let mut chunk = self.chunk(&json!({}));
        chunk["choices"] = json!([]);
        chunk["usage"] = usage;
        chunk
    }

    fn opening(self) -> String {
        let call = |call: Value| {
            event(&self.chunk(&json!({"delta": {"role": "assistant", "tool_calls": [call]}})))
        };
        match self {
            Self::Chat => {
                event(&self.chunk(&json!({"delta": {"role": "assistant", "content": ""}})))
            }
            Self::Tools => call(json!({
                "index": 0, "id": "call_1", "type": "function",
                "function": {"name": "measure", "arguments": ""},
            })),
            Self::Completions => String::new(),
            Self::Responses => {
                let begun = response("in_progress", &json!([]));
                let item = json!({
                    "id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress",
                    "content": [],
                });
                named("response.created", json!({"response": begun}))
                    + &named("response.in_progress", json!({"response": begun}))
                    + &named("response.output_item.added", json!({"output_index": 0, "item": item}))
                    + &named(
                        "response.content_part.added",
                        json!({
                            "item_id": "msg_1", "output_index": 0, "content_index": 0,
                            "part": {"type": "output_text", "text": "", "annotations": []},
                        }),
                    )
            }
        }
    }

    fn word(self, word: &str) -> String {
        event(&self.chunk(&match self {
            Self::Chat => json!({"delta": {"content": word}}),
            Self::Tools => {
                json!({"delta": {"tool_calls": [{"index": 0, "function": {"arguments": word}}]}})
            }
            Self::Completions => json!({"text": word}),
            Self::Responses => {
                return named(
                    "response.output_text.delta",
                    json!({
                        "item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": word,
                    }),
                );
            }
        }))
    }

    fn finish(self) -> String {
        event(&self.chunk(&match self {
            Self::Chat => json!({"delta": {}, "finish_reason": "stop"}),
            Self::Tools => json!({"delta": {}, "finish_reason": "tool_calls"}),
            Self::Completions => json!({"text": "", "finish_reason": "stop"}),
            Self::Responses => {
                let text = json!({"type": "output_text", "text": TEXT, "annotations": []});
                let item = json!([{
                    "id": "msg_1", "type": "message", "role": "assistant", "status": "completed",
                    "content": [text],
                }]);
                return named(
                    "response.completed",
                    json!({"response": response("completed", &item)}),
                );
            }
        }))
    }

    /// A chunk with one choice that has these fields.
    fn chunk(self, fields: &Value) -> Value {
        let object = match self {
            Self::Completions => "text_completion",
            _ => "chat.completion.chunk",
        };
        let mut choice = json!({"index": 0, "finish_reason": null});
        if let (Some(choice), Some(fields)) = (choice.as_object_mut(), fields.as_object()) {
            choice.extend(fields.clone());
        }
        json!({"id": "x", "object": object, "created": 1, "model": "up", "choices": [choice]})
    }
}

fn event(data: &Value) -> String {
    format!("data: {data}\n\n")
}

fn named(name: &str, mut data: Value) -> String {
    data["type"] = name.into();
    data["sequence_number"] = 1.into();
    format!("event: {name}\ndata: {data}\n\n")
}

fn response(status: &str, output: &Value) -> Value {
    json!({
        "id": "resp_1", "object": "response", "created_at": 1, "status": status, "model": "up",
        "output": output, "parallel_tool_calls": true, "tool_choice": "auto", "tools": [],
        "error": null, "incomplete_details": null, "instructions": null, "metadata": {},
        "temperature": 1.0, "top_p": 1.0,
    })
}
