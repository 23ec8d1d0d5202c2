//! The table of docs/operate/access-log.md.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use answers::Usage;
use contract::Picodollars;

use super::{AttemptRecord, Record, line};
use crate::telemetry::documented::{hold, table};

/// Every field of a line, and its description. A `.` leads into an object or the objects of a list.
const FIELDS: [(&str, &str); 32] = [
    ("time", "When the request arrived: RFC 3339 in UTC, with microseconds"),
    ("request_id", "The `x-request-id` of the answer"),
    ("path", "The path of the request; empty if the request could not be read"),
    ("model", "The id of the model; empty if the request names no known model"),
    ("deployment", "The deployment whose answer the client got; null if there was none"),
    ("side", "Its side: `local` or `remote`"),
    ("attempts", "One object for each attempt, and for each deployment that had no place"),
    ("attempts.deployment", "The name of the deployment"),
    ("attempts.outcome", "How the attempt ended: see below"),
    ("attempts.ms", "Milliseconds until the answer began or the attempt failed, or in the queue"),
    ("attempts.cost", "Dollars that the attempt cost, as `cost`"),
    ("status", "The status that the client got; 499 if it left before the answer"),
    (
        "outcome",
        "`ok`, `rejected` (a deployment calls it wrong), `refused` (the gateway calls it wrong), `shed` (no room), `error`, `cancelled`, `broken` (cut)",
    ),
    ("error", "The `code` of the error that the client got; null if there was none"),
    (
        "reason",
        "Why the strategy routed or refused the request, in its words; null if it gave no reason",
    ),
    ("stream", "Whether the client asked for a stream"),
    ("queued_ms", "Milliseconds in queues for a place at a deployment"),
    (
        "first_byte_ms",
        "Milliseconds from the arrival to the first byte of the answer; null if none",
    ),
    ("total_ms", "Milliseconds from the arrival to the end of the answer"),
    ("wasted_ms", "Milliseconds that engines worked on undelivered answers, over all attempts"),
    ("request_bytes", "Bytes of the request's body"),
    ("response_bytes", "Bytes of the answer's body"),
    ("usage.prompt_tokens", "Tokens of the prompt; `usage` is null if there was no answer"),
    ("usage.completion_tokens", "Tokens of the answer"),
    (
        "usage.cached_tokens",
        "Those of the prompt that came from a cache; left out if the upstream does not tell",
    ),
    ("usage.cache_write_tokens", "Those of the prompt that were written to a cache; likewise"),
    ("usage.reasoning_tokens", "Those of the answer that are reasoning; likewise"),
    ("usage.audio_tokens", "Those of the prompt that are sound; likewise"),
    ("usage.audio_output_tokens", "Those of the answer that are sound; likewise"),
    ("usage.audio_ms", "Milliseconds of a recording that was read; likewise"),
    ("usage.estimated", "Whether the upstream reported no usage, and the gateway has estimated it"),
    ("cost", "Dollars that all attempts cost by the configured prices, with all digits"),
];

#[test]
fn every_field_is_documented() {
    let documented: BTreeSet<String> = FIELDS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let mut written = BTreeSet::new();
    names("", &line_with_everything(), &mut written);
    // `usage` is an object or null. Its fields are documented instead.
    written.remove("usage");
    assert_eq!(written, documented);
    let rows = FIELDS.iter().map(|(name, about)| [format!("`{name}`"), (*about).to_owned()]);
    hold("operate/access-log.md", "access log", &table(["Field", ""], rows));
}

fn names(above: &str, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let name = if above.is_empty() { key.clone() } else { format!("{above}.{key}") };
                names(&name, value, found);
                found.insert(name);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| names(above, item, found)),
        _ => {}
    }
}

fn line_with_everything() -> Value {
    let record = Record {
        time: SystemTime::UNIX_EPOCH,
        request_id: "req_1",
        path: "/v1/chat/completions",
        model: "m",
        deployment: Some("local-1"),
        side: Some("local"),
        status: 200,
        outcome: "ok",
        error: Some("truncated"),
        reason: Some("full"),
        stream: true,
        queued: Duration::ZERO,
        first_byte: Some(Duration::ZERO),
        total: Duration::ZERO,
        wasted: Duration::ZERO,
        request_bytes: 0,
        response_bytes: 0,
        usage: Some(Usage {
            cached_tokens: Some(1),
            cache_write_tokens: Some(1),
            reasoning_tokens: Some(1),
            audio_tokens: Some(1),
            audio_output_tokens: Some(1),
            audio: Some(Duration::ZERO),
            ..Usage::default()
        }),
        cost: Picodollars::ZERO,
    };
    let attempt = AttemptRecord {
        deployment: "local-1",
        outcome: "ok",
        took: Duration::ZERO,
        cost: Picodollars::ZERO,
    };
    let mut written = Vec::new();
    line::write(&mut written, &record, std::iter::once(attempt));
    serde_json::from_slice(&written).unwrap()
}
