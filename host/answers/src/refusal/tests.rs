//! What the sentences of engines and providers mean.

mod sentences;

use super::*;

/// Status, message, code or type, and what it means.
type Said = (u16, &'static str, &'static str, Option<Sense>);

fn sense(status: u16, message: &str, code: &str) -> Option<Sense> {
    let code = (!code.is_empty()).then(|| code.to_owned());
    let words = Words { message: message.into(), code, ..Words::default() };
    Sense::of(Some(status), &words, "m-1")
}

fn check(all: &[Said]) {
    for (status, message, code, want) in all {
        assert_eq!(sense(*status, message, code), *want, "{status} {message} {code}");
    }
}

const TOO_LONG: Option<Sense> = Some(Sense::TooLong);

#[test]
fn prompts_that_are_too_long() {
    check(&sentences::TOO_LONG.map(|(status, message)| (status, message, "", TOO_LONG)));
    check(&[
        (400, "no", "context_length_exceeded", TOO_LONG),
        (400, "no", "exceed_context_size_error", TOO_LONG),
        (400, "no", "ContextWindowExceededError", TOO_LONG),
    ]);
}

#[test]
fn the_context_length_is_read_from_the_message() {
    for (message, want) in [
        (
            "This model's maximum context length is 4096 tokens. However, you requested 5000",
            Some(4096),
        ),
        ("request (5000 tokens) exceeds the available context size (4096 tokens)", Some(4096)),
        ("prompt is too long: 210000 tokens > 200000 maximum", Some(200_000)),
        ("too long", None),
        ("12 images", None),
    ] {
        let words = Words { message: message.into(), ..Words::default() };
        assert_eq!(Sense::context_length(&words), want, "{message}");
    }
}

#[test]
fn features_that_are_lacking() {
    let lacks = |(status, message, feature)| (status, message, "", Some(Sense::Lacks(feature)));
    check(&sentences::LACKING.map(lacks));
}

#[test]
fn money_keys_models_endpoints_and_load() {
    check(&sentences::OTHERS);
}

#[test]
fn what_says_no_more_than_its_status() {
    check(&[
        (400, "messages must not be empty", "", None),
        (400, "temperature must be at most 2", "invalid_request_error", None),
        (400, "the name m-11 is not found", "", None),
        (400, "m-1 wants at least one message", "", None),
        (404, "Previous response with id 'resp_1' not found.", "previous_response_not_found", None),
        (404, "Not Found", "", None),
        (500, "CUDA out of memory", "", None),
        (503, "Loading model", "", None),
        (403, "Forbidden", "", None),
        (400, "unsupported image format", "", None),
    ]);
}

#[test]
fn only_the_beginning_of_a_message_is_read() {
    let late = format!("no: {}{}", "é".repeat(LONGEST), "maximum context length is 1");
    assert_eq!(sense(400, &late, ""), None);
}
