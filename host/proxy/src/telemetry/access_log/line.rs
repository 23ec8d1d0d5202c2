//! Writes a record as a line of JSON, field by field. serde_json looks for bytes to escape in every
//! key and in every constant word: with it the log was a tenth of the work for a request.

use std::io::Write;
use std::time::{Duration, SystemTime};

use serde_json::to_writer;
use time::OffsetDateTime;

use answers::Usage;
use contract::Picodollars;

use super::{AttemptRecord, Record};

/// Appends the line of `record` to `to`, with its line end.
pub(super) fn write<'a>(
    to: &mut Vec<u8>,
    record: &Record<'_>,
    attempts: impl Iterator<Item = AttemptRecord<'a>>,
) {
    let mut line = Line(to);
    line.word(b"{\"time\":\"");
    line.time(record.time);
    line.word(b"\",\"request_id\":");
    line.text(record.request_id);
    line.word(b",\"path\":");
    line.quoted(record.path);
    line.word(b",\"model\":");
    line.text(record.model);
    line.word(b",\"deployment\":");
    line.option(record.deployment, Line::text);
    line.word(b",\"side\":");
    line.option(record.side, Line::quoted);
    line.word(b",\"attempts\":[");
    for (i, attempt) in attempts.enumerate() {
        if i > 0 {
            line.word(b",");
        }
        line.attempt(attempt);
    }
    line.word(b"],\"status\":");
    line.number(record.status.into());
    line.word(b",\"outcome\":");
    line.quoted(record.outcome);
    line.word(b",\"error\":");
    line.option(record.error, Line::text);
    line.word(b",\"reason\":");
    line.option(record.reason, Line::text);
    line.word(b",\"stream\":");
    line.own(if record.stream { "true" } else { "false" });
    line.word(b",\"queued_ms\":");
    line.millis(record.queued);
    line.word(b",\"first_byte_ms\":");
    line.option(record.first_byte, Line::millis);
    line.word(b",\"total_ms\":");
    line.millis(record.total);
    line.word(b",\"wasted_ms\":");
    line.millis(record.wasted);
    line.word(b",\"request_bytes\":");
    line.number(record.request_bytes);
    line.word(b",\"response_bytes\":");
    line.number(record.response_bytes);
    line.word(b",\"usage\":");
    line.option(record.usage, Line::usage);
    line.word(b",\"cost\":");
    line.amount(record.cost);
    line.word(b"}\n");
}

struct Line<'a>(&'a mut Vec<u8>);

impl Line<'_> {
    /// Writes text whose length is known at compile time: a few moves instead of a call.
    #[inline]
    fn word<const N: usize>(&mut self, word: &[u8; N]) {
        self.0.extend_from_slice(word);
    }

    /// Writes a constant word, in which nothing needs escaping.
    fn own(&mut self, word: &'static str) {
        self.0.extend_from_slice(word.as_bytes());
    }

    /// Writes a constant word as a JSON string.
    fn quoted(&mut self, word: &'static str) {
        self.word(b"\"");
        self.own(word);
        self.word(b"\"");
    }

    /// Writes any text as a JSON string. Most texts are ids and names in which nothing needs
    /// escaping.
    fn text(&mut self, text: &str) {
        let plain = |byte: u8| (byte >= b' ') & (byte != b'"') & (byte != b'\\');
        if text.bytes().fold(true, |all, byte| all & plain(byte)) {
            self.word(b"\"");
            self.0.extend_from_slice(text.as_bytes());
            self.word(b"\"");
        } else {
            // Writing to memory does not fail, here and below.
            let _ = to_writer(&mut *self.0, text);
        }
    }

    fn number(&mut self, number: u64) {
        let _ = to_writer(&mut *self.0, &number);
    }

    /// Writes milliseconds with three decimals.
    fn millis(&mut self, time: Duration) {
        let micros = time.subsec_micros();
        self.number(time.as_secs() * 1000 + u64::from(micros / 1000));
        self.word(b".");
        self.digits::<3>(micros % 1000);
    }

    fn option<T>(&mut self, value: Option<T>, some: impl FnOnce(&mut Self, T)) {
        match value {
            Some(value) => some(self, value),
            None => self.word(b"null"),
        }
    }

    fn attempt(&mut self, attempt: AttemptRecord<'_>) {
        self.word(b"{\"deployment\":");
        self.text(attempt.deployment);
        self.word(b",\"outcome\":");
        self.text(attempt.outcome);
        self.word(b",\"ms\":");
        self.millis(attempt.took);
        self.word(b",\"cost\":");
        self.amount(attempt.cost);
        self.word(b"}");
    }

    fn usage(&mut self, usage: Usage) {
        self.word(b"{\"prompt_tokens\":");
        self.number(usage.prompt_tokens);
        self.word(b",\"completion_tokens\":");
        self.number(usage.completion_tokens);
        let mut known = |name: &'static str, tokens: Option<u64>| {
            if let Some(tokens) = tokens {
                self.own(name);
                self.number(tokens);
            }
        };
        known(",\"cached_tokens\":", usage.cached_tokens);
        known(",\"cache_write_tokens\":", usage.cache_write_tokens);
        known(",\"reasoning_tokens\":", usage.reasoning_tokens);
        known(",\"audio_tokens\":", usage.audio_tokens);
        known(",\"audio_output_tokens\":", usage.audio_output_tokens);
        if let Some(audio) = usage.audio {
            self.word(b",\"audio_ms\":");
            self.millis(audio);
        }
        self.word(b",\"estimated\":");
        self.own(if usage.is_estimated { "true" } else { "false" });
        self.word(b"}");
    }

    /// Writes dollars with all their digits.
    fn amount(&mut self, amount: Picodollars) {
        match amount.is_zero() {
            true => self.word(b"0"),
            false => {
                let _ = write!(self.0, "{amount}");
            }
        }
    }

    /// Writes RFC 3339 in UTC, with microseconds.
    fn time(&mut self, time: SystemTime) {
        let time = OffsetDateTime::from(time);
        let (year, month, day) = time.to_calendar_date();
        let (hour, minute, second, micros) = time.to_hms_micro();
        if !(0..=9999).contains(&year) {
            let _ = write!(self.0, "{year}-{:02}-{day:02}", u8::from(month));
        } else {
            self.digits::<4>(year.unsigned_abs());
            self.word(b"-");
            self.digits::<2>(u8::from(month).into());
            self.word(b"-");
            self.digits::<2>(day.into());
        }
        for (before, digits) in [(b"T", hour), (b":", minute), (b":", second)] {
            self.word(before);
            self.digits::<2>(digits.into());
        }
        self.word(b".");
        self.digits::<6>(micros);
        self.word(b"Z");
    }

    /// Writes the last `N` digits, with leading zeros.
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
    use std::iter;

    use serde_json::{Value, json};

    use super::*;

    fn record() -> Record<'static> {
        Record {
            time: SystemTime::UNIX_EPOCH + Duration::from_micros(1_767_225_599_000_042),
            request_id: "req_\"1\"",
            path: "/v1/chat/completions",
            model: "m\n",
            deployment: None,
            side: None,
            status: 499,
            outcome: "cancelled",
            error: None,
            reason: None,
            stream: false,
            queued: Duration::ZERO,
            first_byte: None,
            total: Duration::from_micros(1250),
            wasted: Duration::from_nanos(1999),
            request_bytes: u64::MAX,
            response_bytes: 0,
            usage: None,
            cost: Picodollars::ZERO,
        }
    }

    fn read(record: &Record<'_>, attempts: impl Iterator<Item = AttemptRecord<'static>>) -> Value {
        let mut line = Vec::new();
        write(&mut line, record, attempts);
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1, "one line");
        serde_json::from_slice(&line).expect("JSON")
    }

    #[test]
    fn what_is_not_known_is_null() {
        let want = json!({
            "time": "2025-12-31T23:59:59.000042Z", "request_id": "req_\"1\"",
            "path": "/v1/chat/completions", "model": "m\n", "deployment": null, "side": null,
            "attempts": [], "status": 499, "outcome": "cancelled", "error": null, "reason": null,
            "stream": false,
            "queued_ms": 0.0, "first_byte_ms": null, "total_ms": 1.25, "wasted_ms": 0.001,
            "request_bytes": u64::MAX, "response_bytes": 0, "usage": null, "cost": 0,
        });
        assert_eq!(read(&record(), iter::empty()), want);
    }

    #[test]
    fn what_is_known_is_told() {
        let attempt = |outcome, micros| AttemptRecord {
            deployment: "local \\ 1",
            outcome,
            took: Duration::from_micros(micros),
            cost: Picodollars::new(micros),
        };
        let full = Record {
            deployment: Some("local \\ 1"),
            side: Some("local"),
            error: Some("truncated"),
            stream: true,
            first_byte: Some(Duration::from_millis(3)),
            usage: Some(Usage { prompt_tokens: 3, completion_tokens: 4, ..Usage::default() }),
            cost: Picodollars::new(1_500_000_000_001),
            ..record()
        };
        let attempts = [attempt("queue_full", 500), attempt("ok", 12_345_678)];
        let got = read(&full, attempts.into_iter());
        assert_eq!(got["deployment"], "local \\ 1");
        assert_eq!(got["side"], "local");
        let attempts = json!([
            {"deployment": "local \\ 1", "outcome": "queue_full", "ms": 0.5, "cost": 5e-10},
            {"deployment": "local \\ 1", "outcome": "ok", "ms": 12345.678, "cost": 0.000012345678},
        ]);
        assert_eq!(got["attempts"], attempts);
        assert_eq!(got["error"], "truncated");
        assert_eq!(got["stream"], true);
        assert_eq!(got["first_byte_ms"], 3.0);
        let usage = json!({"prompt_tokens": 3, "completion_tokens": 4, "estimated": false});
        assert_eq!((&got["usage"], &got["cost"]), (&usage, &json!(1.500_000_000_001)));
        let usage = Usage {
            cached_tokens: Some(1),
            cache_write_tokens: Some(0),
            reasoning_tokens: Some(2),
            audio_tokens: Some(3),
            audio_output_tokens: Some(4),
            audio: Some(Duration::from_micros(2_500_001)),
            is_estimated: true,
            ..full.usage.expect("usage")
        };
        let got = read(&Record { usage: Some(usage), ..full }, iter::empty());
        let want = json!({
            "prompt_tokens": 3, "completion_tokens": 4, "cached_tokens": 1,
            "cache_write_tokens": 0, "reasoning_tokens": 2, "audio_tokens": 3,
            "audio_output_tokens": 4, "audio_ms": 2500.001, "estimated": true,
        });
        assert_eq!(got["usage"], want);
    }
}
