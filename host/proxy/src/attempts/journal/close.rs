//! Closes the journal: finds out how the request ended, counts it, and writes its line of the access
//! log.

use std::time::Duration;

use routing::Cause;

use crate::telemetry;

use super::end::End;
use super::{Journal, RequestOutcome, UNANSWERED};

impl Journal {
    /// Finds out why a request was dropped before its end was recorded: a panic, the end of the
    /// process, or else a client that left.
    fn dropped(&mut self) {
        let (status, cause) = if std::thread::panicking() {
            (500, Cause::Internal)
        } else if self.is_over() {
            (503, Cause::Stopping)
        } else {
            return self.cancelled();
        };
        if self.status == UNANSWERED {
            self.finished(status, RequestOutcome::Error, cause.label());
            while self.trying.is_some() {
                self.failed(cause, cause.facts().ending);
            }
        } else {
            self.broken(cause);
        }
    }

    /// Ends the attempts that are still under way.
    fn cancelled(&mut self) {
        while self.trying.is_some() {
            self.end_attempt(End::cancelled());
        }
    }

    /// Writes the line of the access log.
    fn write(&self, took: Duration) {
        let answered = self.tried.iter().rfind(|tried| tried.answered);
        let config = answered.map(|tried| &tried.deployment.config);
        let record = telemetry::Record {
            time: self.time,
            request_id: &self.id,
            path: self.path,
            model: self.meters.as_ref().map_or("", |meters| meters.model()),
            deployment: config.map(|config| &*config.name),
            side: config.map(|config| config.side.as_str()),
            status: self.status,
            outcome: self.outcome.as_str(),
            error: self.error.as_deref(),
            reason: self.reason.as_deref(),
            stream: self.stream,
            queued: self.queued,
            first_byte: self.first_byte,
            total: took,
            wasted: self.wasted,
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
            usage: self.consumed,
            cost: self.cost,
        };
        let attempts = self.tried.iter().map(|tried| telemetry::AttemptRecord {
            deployment: &tried.deployment.config.name,
            outcome: &tried.outcome,
            took: tried.took,
            cost: tried.cost,
        });
        self.desk.logging.write(&record, attempts);
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if self.outcome == RequestOutcome::Cancelled {
            self.dropped();
        }
        self.cancelled();
        self.tell_trial();
        let took = self.started.elapsed();
        self.desk.metrics.request_ended(self.meters.as_deref(), self.status, took);
        self.write(took);
    }
}
