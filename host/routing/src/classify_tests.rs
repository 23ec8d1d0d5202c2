//! Statuses and words, row by row.

use answers::refusal::Feature;

use super::*;

fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).expect("a status")
}

fn of_answer(status: u16, sense: Option<Sense>) -> Cause {
    Cause::of_answer(code(status), sense, false)
}

#[test]
fn a_status_alone() {
    for (statuses, cause) in [
        (&[400, 413, 415, 422, 451, 402 + 8, 418][..], Cause::Rejected as fn(StatusCode) -> Cause),
        (&[402, 403], Cause::Refused),
        (&[401, 407], Cause::Credential),
        (&[404, 405, 501, 505], Cause::NoEndpoint),
        (&[408, 409, 424, 425, 499], Cause::Status),
        (&[429, 503, 498, 529], Cause::Status),
        (&[500, 502, 504, 508, 520, 599], Cause::Status),
        (&[300, 304, 307, 101], Cause::Unexpected),
    ] {
        for status in statuses {
            assert_eq!(of_answer(*status, None), cause(code(*status)));
        }
    }
    let named = Cause::of_answer(code(404), None, true);
    assert_eq!(named, Cause::Rejected(code(404)), "a file or a response");
}

#[test]
fn words_say_more_than_a_status() {
    let tools = Sense::Lacks(Feature::Tools);
    let unfit = |status| Cause::Unfit(Lack::Feature(Feature::Tools), code(status));
    let context = |status| Cause::Unfit(Lack::Context, code(status));
    for (status, sense, want) in [
        (400, Sense::TooLong, context(400)),
        (413, Sense::TooLong, context(413)),
        (422, Sense::TooLong, context(422)),
        (500, Sense::TooLong, context(500)),
        (400, tools, unfit(400)),
        (404, tools, unfit(404)),
        (501, tools, unfit(501)),
        (400, Sense::Billing, Cause::Refused(code(400))),
        (429, Sense::Billing, Cause::Refused(code(429))),
        (401, Sense::Refused, Cause::Refused(code(401))),
        (403, Sense::Key, Cause::Credential(code(403))),
        (400, Sense::Key, Cause::Credential(code(400))),
        (403, Sense::Model, Cause::NoModel(code(403))),
        (404, Sense::Model, Cause::NoModel(code(404))),
        (400, Sense::Model, Cause::NoModel(code(400))),
        (503, Sense::Model, Cause::NoModel(code(503))),
        (400, Sense::Endpoint, Cause::NoEndpoint(code(400))),
        (500, Sense::Full, Cause::Overloaded(code(500))),
        (429, Sense::Full, Cause::Status(code(429))),
        (503, Sense::Full, Cause::Status(code(503))),
        // What a status says firmly.
        (401, Sense::Model, Cause::Credential(code(401))),
        (429, Sense::TooLong, Cause::Status(code(429))),
        (508, Sense::Endpoint, Cause::Status(code(508))),
        (502, Sense::Key, Cause::Status(code(502))),
        (500, Sense::Billing, Cause::Status(code(500))),
    ] {
        assert_eq!(of_answer(status, Some(sense)), want, "{status} {sense:?}");
    }
}

#[test]
fn an_error_in_a_body_means_what_its_code_means() {
    let of = |status: u16, sense| Cause::of_body(Some(code(status)), sense, true);
    for (status, want) in [
        (400, Cause::Rejected as fn(StatusCode) -> Cause),
        (404, Cause::Rejected),
        (401, Cause::Credential),
        (402, Cause::Refused),
        (403, Cause::Refused),
        (408, Cause::Status),
        (429, Cause::Status),
        (503, Cause::Status),
        (529, Cause::Status),
        (501, Cause::NoEndpoint),
    ] {
        assert_eq!(of(status, None), want(code(status)));
    }
    for status in [500, 502, 504] {
        assert_eq!(of(status, None), Cause::Reported);
    }
    assert_eq!(of(500, Some(Sense::Full)), Cause::Overloaded(code(500)));
    assert_eq!(Cause::of_body(None, None, true), Cause::Reported);
    for (sense, want) in [
        (Sense::TooLong, Cause::Unfit(Lack::Context, code(400))),
        (Sense::Billing, Cause::Refused(code(402))),
        (Sense::Refused, Cause::Refused(code(403))),
        (Sense::Key, Cause::Credential(code(401))),
        (Sense::Model, Cause::NoModel(code(404))),
        (Sense::Endpoint, Cause::NoEndpoint(code(404))),
        (Sense::Full, Cause::Status(code(429))),
    ] {
        assert_eq!(Cause::of_body(None, Some(sense), true), want, "{sense:?}");
    }
}
