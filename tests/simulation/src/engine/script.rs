//! What an engine sends.

use std::fmt::Write;

use bytes::Bytes;
use rand::RngExt;

use answers::commit::{End, Shape};
use routing::InferenceEndpoint;

use crate::luck::{Draw, Luck};
use crate::request::Request;

/// The body of an answer, and how far it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) body: Bytes,
    /// It is an answer, and no error.
    pub(crate) good: bool,
    /// With this many bytes a client has all of it.
    pub(crate) needed: usize,
    /// Only these bytes are sent. None: all.
    cut: Option<usize>,
    /// After them nothing comes any more, not even an end.
    pub(crate) freezes: bool,
    pub(crate) end: End,
    /// The number of pieces.
    pub(crate) pieces: u32,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            body: Bytes::new(),
            good: false,
            needed: 0,
            cut: None,
            freezes: false,
            end: End::Framed,
            pieces: 1,
        }
    }
}

impl Script {
    /// How many bytes are sent.
    pub(crate) fn sends(&self) -> usize {
        self.cut.unwrap_or(self.body.len())
    }

    /// True if a client that gets all that is sent has the whole answer.
    pub(crate) fn is_whole(&self) -> bool {
        self.good && self.sends() >= self.needed
    }

    /// Cuts the answer at any byte, and ends it in any way.
    pub(crate) fn cut(&mut self, luck: &mut Luck) {
        self.cut = Some(luck.random_range(0..self.body.len()));
        self.end = luck.pick(&[End::Framed, End::Closed, End::Early]);
    }

    /// Lets the answer stop at any byte.
    pub(crate) fn freeze(&mut self, luck: &mut Luck) {
        self.cut = Some(luck.random_range(0..self.body.len()));
        self.freezes = true;
    }

    /// The same body as an event, if the answer is a stream.
    pub(crate) fn of_shape(mut self, shape: Shape) -> Self {
        if shape == Shape::Stream {
            self.body = [b"data: ", &*self.body, b"\n\n"].concat().into();
        }
        self
    }
}

/// An error of an engine.
pub(crate) fn error(status: u16, words: &str, code: &str) -> Script {
    let code = if code.is_empty() { "null".to_owned() } else { format!("\"{code}\"") };
    let body = format!(
        r#"{{"error":{{"message":"{words}","type":"error","param":null,"code":{code},"status":{status}}}}}"#
    );
    Script { body: body.into(), ..Script::default() }
}

/// A good answer. Its text has `mark`, so that no two attempts answer alike.
pub(crate) fn good(request: &Request, mark: &str, luck: &mut Luck) -> Script {
    let (body, needed) = match request.shape() {
        Shape::Stream => stream(mark, luck),
        Shape::Plain => plain(request.endpoint, mark, luck),
    };
    let end = luck.pick(&[End::Framed, End::Framed, End::Closed]);
    Script { body: body.into(), good: true, needed, end, ..Script::default() }
}

fn plain(endpoint: InferenceEndpoint, mark: &str, luck: &mut Luck) -> (String, usize) {
    let long = match luck.random_range(0..400) {
        0 => 1_200_000,
        1..4 => 70_000,
        _ => luck.random_range(0..200),
    };
    let text = format!("{mark} \\\"{{{}", "x".repeat(long));
    let mut body = match endpoint {
        InferenceEndpoint::Responses => format!(
            r#"{{"object":"response","status":"completed","output":[{{"type":"message","content":[{{"type":"output_text","text":"{text}"}}]}}],"error":null}}"#
        ),
        InferenceEndpoint::Embeddings => format!(
            r#"{{"object":"list","model":"{text}","data":[{{"object":"embedding","index":0,"embedding":[0.5]}}],"usage":{{"prompt_tokens":3,"total_tokens":3}}}}"#
        ),
        _ => format!(
            r#"{{"object":"chat.completion","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}}}"#
        ),
    };
    let needed = body.len();
    if luck.chance(0.3) {
        body.push('\n');
    }
    (body, needed)
}

fn stream(mark: &str, luck: &mut Luck) -> (String, usize) {
    let line = luck.pick(&["\n", "\n", "\r\n"]);
    let mut body = String::new();
    let event = |body: &mut String, delta: &str, finish: &str| {
        let _ = write!(
            body,
            r#"data: {{"object":"chat.completion.chunk","choices":[{{"index":0,"delta":{{{delta}}},"finish_reason":{finish}}}]}}"#
        );
        let end = body.len();
        body.push_str(line);
        body.push_str(line);
        end
    };
    if luck.chance(0.3) {
        body.push_str(": hello\n\n");
    }
    event(&mut body, r#""role":"assistant","content":"""#, "null");
    for number in 0..luck.random_range(1..8) {
        event(&mut body, &format!(r#""content":"{mark} {number} ""#), "null");
    }
    let needed = event(&mut body, "", r#""stop""#);
    if luck.chance(0.5) {
        let _ = write!(body, r#"data: {{"choices":[],"usage":{{"total_tokens":5}}}}{line}{line}"#);
    }
    let _ = write!(body, "data: [DONE]{line}{line}");
    (body, needed)
}
