//! The inference paths, one file each. They turn the JSON of a request into the JSON of the answer
//! or its events.
//!
//! Nothing here knows HTTP or time: a chunk has the number of tokens before it, and the body waits
//! for them.

mod chat;
mod completions;
mod embeddings;
mod rerank;
mod responses;
mod text;

use bytes::Bytes;
use serde_json::Value;

use super::http::Problem;
use super::prefix_cache::Prompt;

/// An inference path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InferencePath {
    Chat,
    Completions,
    Embeddings,
    Responses,
    Rerank,
}

impl InferencePath {
    /// The inference path of this URL path, if it is one.
    pub(super) fn at(path: &str) -> Option<Self> {
        Some(match path {
            "/v1/chat/completions" => Self::Chat,
            "/v1/completions" => Self::Completions,
            "/v1/embeddings" => Self::Embeddings,
            "/v1/responses" => Self::Responses,
            "/v1/rerank" => Self::Rerank,
            _ => return None,
        })
    }
}

/// The data of an inference call that every path needs.
pub(super) struct InferenceCall<'a> {
    /// The engine's name.
    engine: &'a str,
    /// Unique in this engine. Ids contain it.
    number: u64,
    /// Seconds since 1970.
    created: u64,
    /// The model asked for.
    model: String,
    /// The whole request.
    body: Value,
    /// Prompt tokens that were cached.
    cached: usize,
}

impl<'a> InferenceCall<'a> {
    /// Takes a request that names a model.
    pub(super) fn new(
        engine: &'a str,
        number: u64,
        created: u64,
        body: Value,
    ) -> Result<Self, Problem> {
        if !body.is_object() {
            return Err(Problem::bad(None, "the body is not a JSON object"));
        }
        let model = body["model"].as_str().filter(|model| !model.is_empty());
        let model =
            model.ok_or_else(|| Problem::bad(Some("model"), "'model' names no model"))?.to_owned();
        Ok(Self { engine, number, created, model, body, cached: 0 })
    }

    /// The same answer, with this many prompt tokens from the prefix cache.
    pub(super) fn with_cached(self, cached: usize) -> Self {
        Self { cached, ..self }
    }

    /// The text that answers `said`.
    fn hello(&self, said: &str) -> String {
        format!("Hello from {}. You said: {said}", self.engine)
    }

    fn streams(&self) -> bool {
        self.body["stream"] == true
    }

    /// Whether a stream is to end with a chunk of usage.
    fn wants_usage(&self) -> bool {
        self.body["stream_options"]["include_usage"] == true
    }

    /// A required field.
    fn field(&self, name: &'static str) -> Result<&Value, Problem> {
        match &self.body[name] {
            Value::Null => Err(Problem::bad(Some(name), format!("'{name}' is missing"))),
            value => Ok(value),
        }
    }
}

/// The answer to a valid call.
pub(super) enum Reply {
    /// The whole answer at once, when `tokens` would have been produced.
    Whole { tokens: usize, body: Value },
    /// Event by event. Events are made as they are sent, so that a long answer is never held whole.
    Stream(Box<dyn Iterator<Item = Chunk> + Send>),
}

/// A piece of a streamed answer.
#[derive(Debug, PartialEq)]
pub(super) struct Chunk {
    /// Tokens that are produced before it.
    pub(super) after: usize,
    pub(super) data: Bytes,
}

impl Chunk {
    /// A server-sent event without a name.
    fn event(after: usize, data: &Value) -> Self {
        Self { after, data: format!("data: {data}\n\n").into() }
    }

    /// The end of a stream of chat or text completions.
    fn done(after: usize) -> Self {
        Self { after, data: Bytes::from_static(b"data: [DONE]\n\n") }
    }
}

/// The prompt of a call, as a prefix cache sees it. Empty if the path has none that is cached.
pub(super) fn prompt(endpoint: InferencePath, body: &Value) -> Prompt {
    match endpoint {
        InferencePath::Chat => Prompt::new(chat::messages(body)),
        InferencePath::Completions => Prompt::new([("", completions::prompt(body))]),
        _ => Prompt::default(),
    }
}

/// Answers a call on a path.
pub(super) fn reply(endpoint: InferencePath, call: &InferenceCall<'_>) -> Result<Reply, Problem> {
    match endpoint {
        InferencePath::Chat => chat::reply(call),
        InferencePath::Completions => completions::reply(call),
        InferencePath::Embeddings => embeddings::reply(call),
        InferencePath::Responses => responses::reply(call),
        InferencePath::Rerank => rerank::reply(call),
    }
}
