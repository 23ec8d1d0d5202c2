//! The table, row by row, as clients, metrics and strategies see it.

use fleet::FailureKind;

use super::*;

/// A row as it is written here: label, text, charged, waste, status, elsewhere, again, ending.
type Row = (&'static str, &'static str, Charged, Option<Waste>, u16, bool, bool, Ending);

fn row(cause: Cause) -> (String, String, Charged, Option<Waste>, u16, bool, bool, Ending) {
    let facts = cause.facts();
    (
        cause.label().into_owned(),
        cause.to_string(),
        facts.charged,
        facts.waste,
        facts.status.as_u16(),
        facts.elsewhere,
        facts.again,
        facts.ending,
    )
}

fn check(rows: &[(Cause, Row)]) {
    for (cause, (label, text, charged, waste, status, elsewhere, again, ending)) in rows {
        let (label, text) = ((*label).to_owned(), (*text).to_owned());
        let want = (label, text, *charged, *waste, *status, *elsewhere, *again, *ending);
        assert_eq!(row(*cause), want, "{cause:?}");
    }
}

fn code(code: u16) -> StatusCode {
    StatusCode::from_u16(code).expect("a status")
}

const ANSWER: Charged = Charged::Deployment(Effect::Failure(FailureKind::Answer));
const BROKEN: Option<Waste> = Some(Waste::Broken);
const TIMEOUT: Option<Waste> = Some(Waste::Timeout);

#[test]
fn connections_that_fail() {
    use Ending::{Broken, Failed};
    let no_descriptors = "the gateway has no file descriptors left";
    let (broke, ended) =
        ("the connection broke before an answer", "the answer ended before it was whole");
    check(&[
        (Cause::Connect, ("connect", "could not connect", LOST, None, 502, true, true, Failed)),
        (
            Cause::NoDescriptors,
            ("no_descriptors", no_descriptors, Charged::Gateway, None, 503, true, true, Failed),
        ),
        (Cause::Tls, ("tls", "no TLS connection", LOST, None, 502, true, true, Failed)),
        (Cause::Broken, ("broken", broke, LOST, BROKEN, 502, true, true, Failed)),
        (Cause::Truncated, ("truncated", ended, LOST, BROKEN, 502, true, true, Broken)),
    ]);
}

#[test]
fn time_limits_that_pass() {
    use Ending::TimedOut;
    let row = |phase, label, text, charged, waste, elsewhere, again| {
        (Cause::TimedOut(phase), (label, text, charged, waste, 504, elsewhere, again, TimedOut))
    };
    let overtime = Charged::Deployment(Effect::Overtime);
    let client = Charged::Client;
    check(&[
        row(Phase::Connect, "timeout_connect", "connect time-out", LOST, None, true, true),
        row(
            Phase::FirstByte,
            "timeout_first_byte",
            "first_byte time-out",
            Charged::Deployment(Effect::Late),
            TIMEOUT,
            true,
            true,
        ),
        row(Phase::Idle, "timeout_idle", "idle time-out", ANSWER, TIMEOUT, true, true),
        row(Phase::Total, "timeout_total", "total time-out", overtime, TIMEOUT, false, false),
        row(
            Phase::ClientIdle,
            "timeout_client_idle",
            "client_idle time-out",
            client,
            TIMEOUT,
            false,
            true,
        ),
    ]);
}

#[test]
fn statuses_that_another_deployment_may_not_give() {
    use Ending::{Failed, Refused};
    let limited = Charged::Deployment(Effect::Limited);
    let nobody = Charged::Nobody;
    let down = StatusCode::SERVICE_UNAVAILABLE.as_u16();
    let row = |status, label, text, charged, waste, told, ending| {
        (Cause::Status(code(status)), (label, text, charged, waste, told, true, true, ending))
    };
    check(&[
        row(408, "status_408", "answered 408", nobody, None, 504, Failed),
        row(409, "status_409", "answered 409", nobody, None, 502, Failed),
        row(424, "status_424", "answered 424", nobody, None, 502, Failed),
        row(425, "status_425", "answered 425", nobody, None, 502, Failed),
        row(498, "status_498", "answered 498", limited, None, down, Refused),
        row(499, "status_499", "answered 499", nobody, None, 502, Failed),
        row(529, "status_529", "answered 529", limited, None, down, Refused),
        row(429, "status_429", "answered 429", limited, None, 429, Refused),
        row(500, "status_500", "answered 500", ANSWER, BROKEN, 502, Failed),
        row(503, "status_503", "answered 503", limited, None, 503, Refused),
        row(504, "status_504", "answered 504", ANSWER, BROKEN, 504, Failed),
        row(599, "status_599", "answered 599", ANSWER, BROKEN, 502, Failed),
    ]);
}

#[test]
fn a_loop_is_nobodys_fault() {
    let text = "the request comes back from it, 508";
    let row = ("status_508", text, Charged::Nobody, None, 508, true, false, Ending::Failed);
    check(&[(Cause::Status(code(508)), row)]);
}

#[test]
fn an_engine_that_is_overloaded_is_full() {
    let limited = Charged::Deployment(Effect::Limited);
    let row = ("overloaded", "is overloaded", limited, None, 503, true, true, Ending::Refused);
    check(&[(Cause::Overloaded(code(500)), row)]);
}

#[test]
fn refusals_that_sending_again_does_not_help() {
    use Ending::{ClientError, Failed};
    let of = |suspicion| Charged::Deployment(Effect::Suspicion(suspicion));
    let (key, model) = ("did not accept the gateway's credential", "it does not have the model");
    let (wrong, room) = ("the request is wrong", "the request does not fit its context");
    let feature = "it lacks a feature that the request needs";
    let (nobody, images) = (Charged::Nobody, Lack::Feature(Feature::Images));
    let row = |label, text, charged, told, elsewhere, ending| -> Row {
        (label, text, charged, None, told, elsewhere, false, ending)
    };
    check(&[
        (
            Cause::Rejected(code(422)),
            row("rejected", wrong, Charged::Client, 422, false, ClientError),
        ),
        (
            Cause::Unfit(Lack::Context, code(400)),
            row("unfit_context", room, nobody, 400, true, ClientError),
        ),
        (
            Cause::Unfit(images, code(500)),
            row("unfit_images", feature, nobody, 500, true, ClientError),
        ),
        (
            Cause::Refused(code(403)),
            row("refused_403", "answered 403", of(Suspicion::Refused), 403, true, ClientError),
        ),
        (
            Cause::Credential(code(401)),
            row("credential_401", key, of(Suspicion::Credential), 502, true, Failed),
        ),
        (
            Cause::NoModel(code(400)),
            row("no_model", model, of(Suspicion::Model), 404, true, Failed),
        ),
        (
            Cause::NoEndpoint(code(501)),
            row("no_endpoint_501", "answered 501", of(Suspicion::Endpoint), 501, true, Failed),
        ),
        (
            Cause::Unexpected(code(302)),
            row("status_302", "answered 302", ANSWER, 502, true, Failed),
        ),
    ]);
}

#[test]
fn answers_without_use() {
    use Ending::Failed;
    let text = "answered with an error";
    let malformed = "the answer is neither JSON nor an event stream";
    let encoded = "the answer is compressed, which was not asked for";
    check(&[
        (
            Cause::Protocol,
            ("protocol", "the answer is not HTTP", ANSWER, BROKEN, 502, true, true, Failed),
        ),
        (
            Cause::Empty,
            ("empty", "the answer ended without content", ANSWER, BROKEN, 502, true, true, Failed),
        ),
        (Cause::Malformed, ("malformed", malformed, ANSWER, BROKEN, 502, true, true, Failed)),
        (Cause::Encoded, ("encoded", encoded, ANSWER, BROKEN, 502, true, true, Failed)),
        (Cause::Reported, ("error_in_body", text, ANSWER, BROKEN, 502, true, true, Failed)),
    ]);
}

#[test]
fn faults_of_the_gateway() {
    use Ending::Failed;
    let (ours, stopping) = (Charged::Gateway, Some(Waste::Stopping));
    let text = "the gateway failed; its log says why";
    check(&[
        (
            Cause::Stopping,
            ("stopping", "the gateway is stopping", ours, stopping, 503, false, true, Failed),
        ),
        (Cause::Internal, ("internal_error", text, ours, BROKEN, 500, false, true, Failed)),
    ]);
}

#[test]
fn whose_words_are_told() {
    let status = code(404);
    for (cause, speaker) in [
        (Cause::Rejected(status), Speaker::Engine),
        (Cause::Unfit(Lack::Context, status), Speaker::Engine),
        (Cause::Refused(status), Speaker::Engine),
        (Cause::NoEndpoint(status), Speaker::Engine),
        (Cause::Reported, Speaker::Both),
        (Cause::Status(code(500)), Speaker::Both),
        (Cause::Status(code(429)), Speaker::Both),
        (Cause::Overloaded(code(500)), Speaker::Both),
        (Cause::Credential(status), Speaker::Gateway),
        (Cause::NoModel(status), Speaker::Gateway),
        (Cause::Connect, Speaker::Gateway),
    ] {
        assert_eq!(cause.facts().speaker, speaker, "{cause:?}");
    }
}

#[test]
fn the_status_of_an_answer_is_known() {
    let status = code(503);
    for cause in [
        Cause::Status(status),
        Cause::Overloaded(status),
        Cause::Rejected(status),
        Cause::Unfit(Lack::Context, status),
        Cause::Refused(status),
        Cause::Credential(status),
        Cause::NoModel(status),
        Cause::NoEndpoint(status),
        Cause::Unexpected(status),
    ] {
        assert_eq!(cause.answered(), Some(status), "{cause:?}");
    }
    for cause in [Cause::Reported, Cause::Connect] {
        assert_eq!(cause.answered(), None, "{cause:?}");
    }
}
