//! How an answer fails past its commit point: the client is told, then its connection is aborted.

use bytes::Bytes;
use serde_json::json;
use tokio::time::Instant;

use answers::commit::Shape;
use routing::{Cause, Failure, Overtime, Phase, Speaker};

use crate::attempts::refusal;
use crate::telemetry::Panic;

use super::{Relay, State};

impl Relay {
    /// Ends the answer, because the client's connection was given up at this time limit.
    pub(in crate::attempts) fn give_up(&mut self, phase: Phase) {
        if matches!(self.state, State::Coming(_) | State::Held) {
            self.time_out(phase);
        }
        self.tell();
    }

    /// Records that `poll` panicked. The client is told, unless telling it panicked too: then its
    /// connection is only aborted.
    pub(in crate::attempts) fn panicked(&mut self, panic: &Panic) {
        panic.log_of_request(self.journal.id());
        let tells = !self.panicked && !matches!(self.state, State::Ended | State::Told);
        self.panicked = true;
        self.state = match tells {
            true => State::Failed(Cause::Internal.into()),
            false => {
                self.journal.broken(Cause::Internal);
                State::Told
            }
        };
    }

    pub(super) fn time_out(&mut self, phase: Phase) {
        self.state = State::Failed(Cause::TimedOut(phase).into());
    }

    /// Tells the client of the failure, and records it.
    pub(super) fn tell(&mut self) {
        let State::Failed(failure) = &self.state else { return };
        let failure = failure.clone();
        // Past the commit point `total` is charged to nobody: a long answer is no failure.
        self.settle(failure.outcome(Overtime::Nobody), Instant::now());
        self.journal.broken(failure.cause);
        let config = &self.deployment.config;
        tracing::warn!(
            request_id = self.journal.id(), model = %self.deployment.model,
            deployment = %config.name, cause = %failure.cause.label(),
            "an answer broke off after its commit point"
        );
        if self.commit.shape() == Shape::Stream {
            self.first = self.error_event(&failure);
        }
        // Set last: if anything above panics, the client has not been told.
        self.state = State::Told;
    }

    /// The last event of a stream that failed. It is never `[DONE]` and has no finish reason.
    fn error_event(&self, failure: &Failure) -> Bytes {
        let config = &self.deployment.config;
        let speaks = failure.cause.facts().speaker != Speaker::Gateway;
        let said = failure.said.as_deref().filter(|said| speaks && !said.message.is_empty());
        let message = match said.cloned() {
            Some(said) => {
                let said = refusal::words(said, &self.deployment.redactor);
                format!("{}: {}", failure.cause, said.message)
            }
            None => format!("the answer of {} broke off: {}", config.name, failure.cause),
        };
        let code = failure.cause.label();
        let error =
            json!({"message": message, "type": "server_error", "param": null, "code": code});
        // Ends an event that was passed in part. The client would take the error for its rest.
        let gap = if self.commit.is_between_events() { "" } else { "\n\n" };
        format!("{gap}data: {}\n\n", json!({ "error": error })).into()
    }
}
