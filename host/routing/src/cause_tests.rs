//! The table, row by row, as clients, metrics and strategies see it.

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
            ANSWER,
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
    use Ending::{Failed, Limited};
    let (limited, said) =
        (Charged::Deployment(Effect::Limited), Charged::Deployment(Effect::LimitedIfSaid));
    let nobody = Charged::Nobody;
    let row = |status, label, text, charged, waste, told, ending| {
        (Cause::Status(code(status)), (label, text, charged, waste, told, true, true, ending))
    };
    check(&[
        row(408, "status_408", "answered 408", nobody, None, 504, Failed),
        row(418, "status_418", "answered 418", nobody, BROKEN, 502, Failed),
        row(429, "status_429", "answered 429", limited, None, 429, Limited),
        row(500, "status_500", "answered 500", ANSWER, BROKEN, 502, Failed),
        row(503, "status_503", "answered 503", said, None, 503, Failed),
        row(504, "status_504", "answered 504", ANSWER, BROKEN, 504, Failed),
        row(599, "status_599", "answered 599", ANSWER, BROKEN, 502, Failed),
    ]);
}

#[test]
fn statuses_that_sending_again_does_not_help() {
    use Ending::Failed;
    let credential = Charged::Deployment(Effect::Credential);
    let text = "did not accept the gateway's credential";
    check(&[
        (
            Cause::Credential(code(401)),
            ("credential_401", text, credential, None, 502, true, false, Failed),
        ),
        (
            Cause::Unexpected(code(302)),
            ("status_302", "answered 302", ANSWER, None, 502, true, false, Failed),
        ),
    ]);
}

#[test]
fn answers_without_use() {
    use Ending::{ClientError, Failed};
    let text = "answered with an error";
    let malformed = "the answer is neither JSON nor an event stream";
    let encoded = "the answer is compressed, which was not asked for";
    let client = Charged::Client;
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
        (Cause::Reported(None), ("error_in_body", text, ANSWER, BROKEN, 502, true, true, Failed)),
        (
            Cause::Reported(Some(code(422))),
            ("error_in_body", text, client, None, 422, true, false, ClientError),
        ),
        (
            Cause::Reported(Some(code(500))),
            ("error_in_body", text, client, None, 500, true, false, Failed),
        ),
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
fn only_errors_of_the_client_are_told_in_the_engines_words() {
    let engine = Cause::Reported(Some(code(400)));
    assert_eq!(engine.facts().speaker, Speaker::Engine);
    for cause in [Cause::Reported(None), Cause::Status(code(500)), Cause::Connect] {
        assert_eq!(cause.facts().speaker, Speaker::Gateway, "{cause:?}");
    }
}

#[test]
fn only_a_status_that_failed_is_the_answers() {
    let status = code(503);
    for cause in [Cause::Status(status), Cause::Credential(status), Cause::Unexpected(status)] {
        assert_eq!(cause.answered(), Some(status), "{cause:?}");
    }
    for cause in [Cause::Reported(Some(status)), Cause::Connect] {
        assert_eq!(cause.answered(), None, "{cause:?}");
    }
}
