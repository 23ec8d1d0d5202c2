//! Writes a request into the access log.

use std::time::Duration;

use crate::telemetry;

use super::Journal;

impl Journal {
    /// Writes the line of the access log.
    pub(super) fn write(&self, took: Duration) {
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
