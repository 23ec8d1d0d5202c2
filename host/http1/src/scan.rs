//! Reads the parts of a request body that routing needs: `model` and `stream`, and the positions of
//! fields that strategies may want. The whole body must be JSON with one meaning, of a depth that
//! deployments can read. The body is never changed.

use std::borrow::Cow;
use std::ops::Range;

use crate::count;
use crate::folded::{Folded, Rivals, folded};
use crate::json::{self, Broken};
use crate::usage_wish::UsageWish;

/// Limit on a model's name, in bytes.
const NAME_LIMIT: usize = 256;

/// The parts of a body that routing needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// The model asked for.
    pub model: String,
    /// Position of its JSON string in the body, quotes included.
    pub model_at: Range<usize>,
    /// True if `stream` is `true`.
    pub stream: bool,
    /// The edit that makes a stream tell its usage. None if the body is no stream, or needs none.
    pub usage_wish: Option<UsageWish>,
    /// Positions of the fields that strategies may want.
    pub fields: Fields,
}

/// Positions of the fields that facts are found in. The last of duplicate fields counts, as with
/// most parsers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields {
    /// `messages`, `prompt`, `input`, or `query`.
    pub prompt: Option<Range<usize>>,
    /// `tools`. Engines put them before the messages.
    pub tools: Option<Range<usize>>,
    /// `instructions` or `system`. Engines put them before the messages.
    pub instructions: Option<Range<usize>>,
    /// `max_completion_tokens`, `max_tokens`, and `max_output_tokens`.
    pub max_output: [Option<Range<usize>>; 3],
    /// `n` and `best_of`.
    pub choices: [Option<Range<usize>>; 2],
    /// `prompt_cache_key`, `user`, `conversation` and `previous_response_id`. The first that is
    /// present names the session.
    pub session: [Option<Range<usize>>; 4],
    /// Values that another parser may use in place of the ones above.
    pub rivals: Rivals,
}

impl Fields {
    /// The slot for the position of a field with this name. None if facts do not need it.
    pub fn place(&mut self, name: &str) -> Option<&mut Option<Range<usize>>> {
        Some(match name {
            "messages" | "prompt" | "input" | "query" => &mut self.prompt,
            "tools" => &mut self.tools,
            "instructions" | "system" => &mut self.instructions,
            "max_completion_tokens" => &mut self.max_output[0],
            "max_tokens" => &mut self.max_output[1],
            "max_output_tokens" => &mut self.max_output[2],
            "n" => &mut self.choices[0],
            "best_of" => &mut self.choices[1],
            "prompt_cache_key" => &mut self.session[0],
            "user" => &mut self.session[1],
            "conversation" => &mut self.session[2],
            "previous_response_id" => &mut self.session[3],
            _ => return None,
        })
    }
}

/// Why a body cannot be routed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// Not JSON, or not an object.
    #[error("the request body is not a JSON object: {0}")]
    Json(String),
    /// No `model`.
    #[error("you must provide a model parameter")]
    NoModel,
    /// `model` is not a string.
    #[error("the model parameter must be a string")]
    ModelType,
    /// `model` is too long to be a model's name.
    #[error("the model parameter is longer than {NAME_LIMIT} bytes")]
    ModelLong,
    /// A parameter is given twice, and two parsers could use different values.
    #[error("the {0} parameter is given more than once")]
    Duplicate(&'static str),
}

/// Finds `model` and `stream` at the top level of a JSON object.
///
/// # Errors
/// If the body is not a JSON object, or does not name exactly one model.
pub fn scan(body: &[u8]) -> Result<Scan, ScanError> {
    let text = simdutf8::compat::from_utf8(body).map_err(|error| {
        said(body, Broken { at: error.valid_up_to(), why: "this is not UTF-8" })
    })?;
    let (mut model, mut stream, mut duplicate) = (None, None, None);
    let mut options = None;
    let mut fields = Fields::default();
    // True if `model` and `stream` are spelled in another case, too.
    let mut odd = [false; 2];
    let mut field = |key: Range<usize>, value: Range<usize>| {
        let (name, seen) = match &*unquoted(&text[key]) {
            "model" => ("model", &mut model),
            "stream" => ("stream", &mut stream),
            "stream_options" => return options = Some(value),
            name => {
                let rival = match fields.place(name) {
                    Some(place) => place.replace(value),
                    None => Some(value),
                };
                let Some(rival) = rival else { return };
                match folded(name) {
                    Some(Folded::Model) => odd[0] = true,
                    Some(Folded::Stream) => odd[1] = true,
                    Some(Folded::Costly(kind)) => fields.rivals.add(kind, rival),
                    None => {}
                }
                return;
            }
        };
        if seen.replace(value).is_some() {
            duplicate = Some(name);
        }
    };
    json::object(text, &mut field).map_err(|broken| said(body, broken))?;
    let twice = [("model", odd[0] && model.is_some()), ("stream", odd[1] && stream.is_some())];
    let twice = twice.into_iter().find(|(_, is_twice)| *is_twice).map(|(name, _)| name);
    if let Some(name) = duplicate.or(twice) {
        return Err(ScanError::Duplicate(name));
    }
    let model_at = model.ok_or(ScanError::NoModel)?;
    let model = &text[model_at.clone()];
    if !model.starts_with('"') {
        return Err(ScanError::ModelType);
    }
    // Escapes take at most six bytes for one byte of the name.
    if model.len() > 6 * NAME_LIMIT + 2 {
        return Err(ScanError::ModelLong);
    }
    let model = unquoted(model);
    if model.len() > NAME_LIMIT {
        return Err(ScanError::ModelLong);
    }
    let stream = stream.filter(|at| &text[at.clone()] == "true");
    let usage_wish = stream.as_ref().and_then(|at| UsageWish::of(text, at, options));
    Ok(Scan { model: model.into_owned(), model_at, stream: stream.is_some(), usage_wish, fields })
}

/// The text of a JSON string, which [`json`] must have read.
pub(crate) fn unquoted(string: &str) -> Cow<'_, str> {
    count(string.len());
    match string.get(1..string.len() - 1) {
        Some(inside) if !inside.contains('\\') => Cow::Borrowed(inside),
        _ => serde_json::from_str(string).unwrap_or_default(),
    }
}

/// The error with its position as people count: lines and characters from 1.
fn said(body: &[u8], Broken { at, why }: Broken) -> ScanError {
    let before = &body[..at.min(body.len())];
    let line = 1 + memchr::memchr_iter(b'\n', before).count();
    let start = memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
    let column = 1 + String::from_utf8_lossy(&before[start..]).chars().count();
    ScanError::Json(format!("line {line} column {column}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folded::Costly;

    fn error(body: impl AsRef<[u8]>) -> ScanError {
        scan(body.as_ref()).expect_err("bad")
    }

    #[test]
    fn the_model_is_found_wherever_it_stands() {
        let body = br#" {"messages":[{"model":"no"}], "model" : "m\u0061" ,"stream":true} "#;
        let scan = scan(body).expect("good");
        assert_eq!((scan.model.as_str(), scan.stream), ("ma", true));
        assert_eq!(&body[scan.model_at], br#""m\u0061""#);
    }

    #[test]
    fn what_cannot_be_routed_says_why() {
        assert!(matches!(error("{"), ScanError::Json(_)));
        assert!(matches!(error("[]"), ScanError::Json(_)));
        assert!(matches!(error(r#"{"model":"a"} x"#), ScanError::Json(_)));
        assert_eq!(error("{}"), ScanError::NoModel);
        assert_eq!(error(r#"{"model":1}"#), ScanError::ModelType);
        assert_eq!(error(r#"{"model":"a","m\u006fdel":"b"}"#), ScanError::Duplicate("model"));
        assert_eq!(error(r#"{"model":"a","stream":1,"stream":0}"#), ScanError::Duplicate("stream"));
    }

    #[test]
    fn a_parameter_in_two_cases_is_given_twice() {
        for (body, name) in [
            (r#"{"model":"a","MODEL":"b"}"#, "model"),
            (r#"{"mOdel":"b","model":"a"}"#, "model"),
            (r#"{"model":"a","\u004dodel":"b"}"#, "model"),
            (r#"{"model":"a","stream":false,"Stream":true}"#, "stream"),
            (r#"{"model":"a","stream":false,"ſtream":true}"#, "stream"),
        ] {
            assert_eq!(error(body), ScanError::Duplicate(name), "{body}");
        }
        assert_eq!(error(r#"{"MODEL":"a"}"#), ScanError::NoModel);
        let body = br#"{"model":"a","models":["b"],"STREAM":1,"x":{"MODEL":"b"}}"#;
        assert_eq!(scan(body).expect("good").model, "a");
    }

    #[test]
    fn an_error_names_its_place() {
        let said = error("{\"model\": \"a\",\n \"é\": \"\\ud800\"}").to_string();
        assert!(
            said.ends_with("line 2 column 14: a string holds half of a surrogate pair"),
            "{said}"
        );
        for (body, place) in [
            ("{\"model\": \"a", "line 1 column 13: a string does not end"),
            ("{\"model\": \"a\tb\"}", "line 1 column 13: a string holds a control byte"),
            ("{\"model\": 1.}", "line 1 column 13: a digit must be here"),
        ] {
            let said = error(body).to_string();
            assert!(said.ends_with(place), "{said}");
        }
    }

    #[test]
    fn names_are_bounded_by_what_they_say() {
        let named = |name: String| scan(format!(r#"{{"model":"{name}"}}"#).as_bytes());
        assert!(named("\\u0061".repeat(256)).is_ok());
        assert_eq!(named("\\u0061".repeat(257)), Err(ScanError::ModelLong));
        assert_eq!(named("a".repeat(257)), Err(ScanError::ModelLong));
        assert_eq!(named("\\u0061".repeat(300_000)), Err(ScanError::ModelLong));
    }

    #[test]
    fn every_field_that_facts_need_has_its_place() {
        let at = |name: &str, place: fn(&Fields) -> &Option<Range<usize>>| {
            let body = format!(r#"{{"model":"m","{name}":[1, 2],"x":[3]}}"#);
            let fields = scan(body.as_bytes()).expect("good").fields;
            assert_eq!(place(&fields).clone().map(|at| &body[at]), Some("[1, 2]"), "{name}");
            let mut alone = Fields::default();
            *alone.place(name).expect("a place") = place(&fields).clone();
            assert_eq!(alone, fields, "{name}: and no other place");
        };
        for name in ["messages", "prompt", "input", "query"] {
            at(name, |fields| &fields.prompt);
        }
        at("tools", |fields| &fields.tools);
        at("instructions", |fields| &fields.instructions);
        at("system", |fields| &fields.instructions);
        at("max_completion_tokens", |fields| &fields.max_output[0]);
        at("max_tokens", |fields| &fields.max_output[1]);
        at("max_output_tokens", |fields| &fields.max_output[2]);
        at("n", |fields| &fields.choices[0]);
        at("best_of", |fields| &fields.choices[1]);
        at("prompt_cache_key", |fields| &fields.session[0]);
        at("user", |fields| &fields.session[1]);
        at("conversation", |fields| &fields.session[2]);
        at("previous_response_id", |fields| &fields.session[3]);
        let twice = br#"{"model":"m","user":"a","user":"bc"}"#;
        let fields = scan(twice).expect("good").fields;
        assert_eq!(fields.session[1].clone().map(|at| &twice[at]), Some(&b"\"bc\""[..]));
        let other = scan(br#"{"model":"m","temperature":1,"User":[]}"#).expect("good");
        assert_eq!(other.fields, Fields::default());
    }

    #[test]
    fn what_another_parser_may_use_is_kept() {
        let rivals = |body: &str, kind| {
            let rivals = scan(body.as_bytes()).expect("good").fields.rivals;
            let values = rivals.of(kind).expect("few");
            values.map(|at| body[at].to_owned()).collect::<Vec<_>>()
        };
        let body = r#"{"model":"m","max_tokens":1,"MAX_TOKENS":2,"max_tokens":3,"n_predict":4}"#;
        assert_eq!(rivals(body, Costly::MaxOutput), ["2", "1", "4"]);
        let body = r#"{"model":"m","prompt":["a","b"],"input":"c","N":2,"n":1,"\u004e":3}"#;
        assert_eq!(rivals(body, Costly::Prompt), [r#"["a","b"]"#]);
        assert_eq!(rivals(body, Costly::Choices), ["2", "3"]);
        let once = r#"{"model":"m","messages":[],"max_tokens":1,"max_completion_tokens":2,"n":1}"#;
        assert_eq!(scan(once.as_bytes()).expect("good").fields.rivals, Rivals::default());
    }

    #[test]
    fn only_true_asks_for_a_stream() {
        for (value, stream) in [("true", true), ("false", false), ("null", false), ("1", false)] {
            let body = format!(r#"{{"stream":{value},"model":"m"}}"#);
            assert_eq!(scan(body.as_bytes()).expect("good").stream, stream, "{value}");
        }
    }

    #[test]
    fn work_is_linear() {
        let many = |part: &str| part.repeat(100_000 / part.len());
        for body in [
            format!(r#"{{"model":"m"{}}}"#, many(r#","k":1"#)),
            format!(r#"{{"model":"m"{}}}"#, many(r#","messages":[1]"#)),
            format!(r#"{{"model":"m"{}}}"#, many(r#","\u006d\u006fdel\n":"\\""#)),
            format!(r#"{{"model":"m","x":"{}"}}"#, many("\\u0041")),
            format!(r#"{{"model":"m","x":"{}"}}"#, many(" é")),
            format!(r#"{{"model":"m","x":{}}}"#, many("1")),
            format!(r#"{{{}"model":"m"}}"#, many(" \t\n")),
            format!(r#"{{"model":"m","x":[{}1]}}"#, many("[],")),
            many("{\"model\":"),
            many("\""),
        ] {
            let _ = pieces::work::bounded(3, body.len(), (1, 16), || scan(body.as_bytes()));
        }
    }

    #[test]
    fn names_may_be_as_long_as_the_limit() {
        assert!(scan(format!(r#"{{"model":"{}"}}"#, "a".repeat(NAME_LIMIT)).as_bytes()).is_ok());
        let name = "\\u0061".repeat(NAME_LIMIT - 1) + "\\/\\/";
        assert_eq!(error(format!(r#"{{"model":"{name}"}}"#)), ScanError::ModelLong);
        let not_utf8 = error(b"{\"model\":\n \"\xff\"}");
        assert!(not_utf8.to_string().ends_with("line 2 column 3: this is not UTF-8"), "{not_utf8}");
    }
}
