//! A record as a line of JSON. Written field by field: serde_json looks for bytes to escape in every key and in
//! every word that the gateway itself chose, which made the log a tenth of all that is done for a request.

use std::io::Write;
use std::time::{Duration, SystemTime};

use serde_json::to_writer;
use time::OffsetDateTime;

use super::{Attempt, Record, Usage};

/// Most lines are shorter.
const USUAL: usize = 768;

/// The line of `record`, its end included.
pub(super) fn of(record: &Record) -> Vec<u8> {
    let mut line = Line(Vec::with_capacity(USUAL));
    line.word("{\"time\":\"");
    line.time(record.time);
    line.word("\",\"request_id\":");
    line.text(&record.request_id);
    line.word(",\"path\":");
    line.quoted(record.path);
    line.word(",\"model\":");
    line.text(&record.model);
    line.word(",\"deployment\":");
    line.option(record.deployment.as_deref(), Line::text);
    line.word(",\"side\":");
    line.option(record.side, Line::quoted);
    line.word(",\"attempts\":[");
    for (i, attempt) in record.attempts.iter().enumerate() {
        line.word(if i > 0 { "," } else { "" });
        line.attempt(attempt);
    }
    line.word("],\"status\":");
    line.number(record.status.into());
    line.word(",\"outcome\":");
    line.quoted(record.outcome);
    line.word(",\"error\":");
    line.option(record.error.as_deref(), Line::text);
    line.word(",\"stream\":");
    line.word(if record.stream { "true" } else { "false" });
    line.word(",\"queued_ms\":");
    line.millis(record.queued);
    line.word(",\"first_byte_ms\":");
    line.option(record.first_byte, Line::millis);
    line.word(",\"total_ms\":");
    line.millis(record.total);
    line.word(",\"wasted_ms\":");
    line.millis(record.wasted);
    line.word(",\"request_bytes\":");
    line.number(record.request_bytes);
    line.word(",\"response_bytes\":");
    line.number(record.response_bytes);
    line.word(",\"usage\":");
    line.option(record.usage, Line::usage);
    line.word("}\n");
    line.0
}

struct Line(Vec<u8>);

impl Line {
    fn word(&mut self, word: &str) {
        self.0.extend_from_slice(word.as_bytes());
    }

    /// A string of the gateway's own: nothing in it is to be escaped.
    fn quoted(&mut self, word: &'static str) {
        self.word("\"");
        self.word(word);
        self.word("\"");
    }

    /// Any string.
    fn text(&mut self, text: &str) {
        // Writing to memory does not fail, here and below.
        let _ = to_writer(&mut self.0, text);
    }

    fn number(&mut self, number: u64) {
        let _ = to_writer(&mut self.0, &number);
    }

    /// Milliseconds, with microseconds behind the point.
    fn millis(&mut self, time: Duration) {
        let micros = time.subsec_micros();
        self.number(time.as_secs() * 1000 + u64::from(micros / 1000));
        self.word(".");
        self.digits::<3>(micros % 1000);
    }

    fn option<T>(&mut self, value: Option<T>, some: impl FnOnce(&mut Self, T)) {
        match value {
            Some(value) => some(self, value),
            None => self.word("null"),
        }
    }

    fn attempt(&mut self, attempt: &Attempt) {
        self.word("{\"deployment\":");
        self.text(&attempt.deployment);
        self.word(",\"outcome\":");
        self.text(&attempt.outcome);
        self.word(",\"ms\":");
        self.millis(attempt.took);
        self.word("}");
    }

    fn usage(&mut self, usage: Usage) {
        self.word("{\"prompt_tokens\":");
        self.number(usage.prompt_tokens);
        self.word(",\"completion_tokens\":");
        self.number(usage.completion_tokens);
        self.word("}");
    }

    /// RFC 3339 in UTC, with microseconds.
    fn time(&mut self, time: SystemTime) {
        let time = OffsetDateTime::from(time);
        let (year, month, day) = time.to_calendar_date();
        let (hour, minute, second, micros) = time.to_hms_micro();
        if !(0..=9999).contains(&year) {
            let _ = write!(self.0, "{year}-{:02}-{day:02}", u8::from(month));
        } else {
            self.digits::<4>(year.unsigned_abs());
            self.word("-");
            self.digits::<2>(u8::from(month).into());
            self.word("-");
            self.digits::<2>(day.into());
        }
        for (before, digits) in [("T", hour), (":", minute), (":", second)] {
            self.word(before);
            self.digits::<2>(digits.into());
        }
        self.word(".");
        self.digits::<6>(micros);
        self.word("Z");
    }

    /// So many digits.
    fn digits<const N: usize>(&mut self, mut number: u32) {
        let mut digits = [b'0'; N];
        for digit in digits.iter_mut().rev() {
            *digit += (number % 10) as u8;
            number /= 10;
        }
        self.0.extend_from_slice(&digits);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn record() -> Record {
        Record {
            time: SystemTime::UNIX_EPOCH + Duration::from_micros(1_767_225_599_000_042),
            request_id: "req_\"1\"".into(),
            path: "/v1/chat/completions",
            model: "m\n".into(),
            deployment: None,
            side: None,
            attempts: Vec::new(),
            status: 499,
            outcome: "cancelled",
            error: None,
            stream: false,
            queued: Duration::ZERO,
            first_byte: None,
            total: Duration::from_micros(1250),
            wasted: Duration::from_nanos(1999),
            request_bytes: u64::MAX,
            response_bytes: 0,
            usage: None,
        }
    }

    fn read(record: &Record) -> Value {
        let line = of(record);
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1, "one line");
        serde_json::from_slice(&line).expect("JSON")
    }

    #[test]
    fn what_is_not_known_is_null() {
        let want = json!({
            "time": "2025-12-31T23:59:59.000042Z", "request_id": "req_\"1\"",
            "path": "/v1/chat/completions", "model": "m\n", "deployment": null, "side": null,
            "attempts": [], "status": 499, "outcome": "cancelled", "error": null, "stream": false,
            "queued_ms": 0.0, "first_byte_ms": null, "total_ms": 1.25, "wasted_ms": 0.001,
            "request_bytes": u64::MAX, "response_bytes": 0, "usage": null,
        });
        assert_eq!(read(&record()), want);
    }

    #[test]
    fn what_is_known_is_told() {
        let attempt = |outcome: &str, micros| Attempt {
            deployment: "local \\ 1".into(),
            outcome: outcome.into(),
            took: Duration::from_micros(micros),
        };
        let full = Record {
            deployment: Some("local \\ 1".into()),
            side: Some("local"),
            attempts: vec![attempt("queue_full", 500), attempt("ok", 12_345_678)],
            error: Some("truncated".into()),
            stream: true,
            first_byte: Some(Duration::from_millis(3)),
            usage: Some(Usage { prompt_tokens: 3, completion_tokens: 4 }),
            ..record()
        };
        let got = read(&full);
        assert_eq!(got["deployment"], "local \\ 1");
        assert_eq!(got["side"], "local");
        let attempts = json!([
            {"deployment": "local \\ 1", "outcome": "queue_full", "ms": 0.5},
            {"deployment": "local \\ 1", "outcome": "ok", "ms": 12345.678},
        ]);
        assert_eq!(got["attempts"], attempts);
        assert_eq!(got["error"], "truncated");
        assert_eq!(got["stream"], true);
        assert_eq!(got["first_byte_ms"], 3.0);
        assert_eq!(got["usage"], json!({"prompt_tokens": 3, "completion_tokens": 4}));
    }
}
