//! Reads requests from an access log of the gateway.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use time::{Date, Month, OffsetDateTime, Time};

use super::lines::Lines;

/// Bytes of a request per prompt token, an estimate for lines without usage.
const BYTES_A_TOKEN: u64 = 4;
/// Maximum lines of a log. A longer log is an error.
const MAX_LINES: usize = 1_000_000;

/// A recorded request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Time since the first request.
    pub at: Duration,
    /// Tokens of the prompt, at least 1.
    pub prompt: u32,
    /// Tokens of the answer. None if the log has no usage.
    pub output: Option<u32>,
    /// True if the answer was streamed.
    pub stream: bool,
    /// A hash for each block of 512 prompt tokens and all before it. Empty if they are not known.
    pub blocks: Arc<[u64]>,
}

/// The fields of a log line that are needed.
#[derive(Deserialize)]
struct Line {
    time: String,
    stream: bool,
    request_bytes: u64,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
}

/// Reads the requests of a log in order of arrival. Divides the time between them by `speed`.
pub(super) fn read(path: &Path, speed: f64) -> Result<Vec<Recorded>, String> {
    let mut lines = Lines::open(path)?;
    let mut requests = Vec::new();
    while let Some(parsed) = lines.next()?.map(parse) {
        requests.push(parsed.map_err(|cause| lines.error(cause))?);
        if lines.number() > MAX_LINES {
            return Err(lines.error(format!("more than {MAX_LINES} lines")));
        }
    }
    requests.sort_by_key(|(at, _)| *at);
    let first = requests.first().ok_or_else(|| format!("{} is empty", path.display()))?.0;
    let requests = requests.into_iter().map(|(at, request)| {
        let after = (at - first).as_seconds_f64() / speed;
        Recorded { at: crate::simulation::random::seconds(after), ..request }
    });
    Ok(requests.collect())
}

fn parse(line: &str) -> Result<(OffsetDateTime, Recorded), String> {
    let line: Line = serde_json::from_str(line)
        .map_err(|error| format!("not a line of the gateway's access log: {error}"))?;
    let time = instant(&line.time).ok_or_else(|| format!("`{}` is not a UTC time", line.time))?;
    let tokens = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    let prompt = match &line.usage {
        Some(usage) => usage.prompt_tokens,
        None => line.request_bytes / BYTES_A_TOKEN,
    };
    let output = line.usage.map(|usage| tokens(usage.completion_tokens));
    let (at, stream, blocks) = (Duration::ZERO, line.stream, Arc::default());
    Ok((time, Recorded { at, prompt: tokens(prompt).max(1), output, stream, blocks }))
}

/// Parses RFC 3339 in UTC as the gateway writes it: `2026-01-02T03:04:05.678Z`.
pub(super) fn instant(text: &str) -> Option<OffsetDateTime> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut parts = date.splitn(3, '-');
    let year = parts.next()?.parse().ok()?;
    let month = Month::try_from(parts.next()?.parse::<u8>().ok()?).ok()?;
    let date = Date::from_calendar_date(year, month, parts.next()?.parse().ok()?).ok()?;
    let mut parts = time.splitn(3, ':');
    let (hour, minute) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let last = parts.next()?;
    let (second, fraction) = last.split_once('.').unwrap_or((last, "0"));
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let time = Time::from_hms_nano(hour, minute, second.parse().ok()?, digits.parse().ok()?);
    Some(OffsetDateTime::new_utc(date, time.ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_log_is_read_in_the_order_of_arrival() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.json");
        let line = |time: &str, usage: &str| {
            format!(
                r#"{{"time":"{time}","stream":true,"request_bytes":400,"usage":{usage},"x":1}}"#
            )
        };
        let lines = [
            line("2026-02-28T23:59:59.5Z", "null"),
            line("2026-03-01T00:00:01Z", r#"{"prompt_tokens":7,"completion_tokens":9}"#),
            line("2026-02-28T23:59:59Z", "null"),
        ];
        std::fs::write(&path, lines.join("\n")).unwrap();
        let read = read(&path, 2.0).unwrap();
        let at: Vec<_> = read.iter().map(|request| request.at.as_millis()).collect();
        assert_eq!(at, [0, 250, 1000]);
        assert_eq!((read[0].prompt, read[0].output), (100, None));
        assert_eq!((read[2].prompt, read[2].output), (7, Some(9)));
    }

    #[test]
    fn a_bad_line_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.json");
        std::fs::write(&path, "\n{}\n").unwrap();
        let error = read(&path, 1.0).unwrap_err();
        assert!(error.contains("access.json:2: not a line"), "{error}");
        assert!(instant("2026-13-01T00:00:00Z").is_none());
        assert!(instant("2026-01-01T00:00:00+01:00").is_none());
        assert!(instant("2026-01-01T00:00:00+01:00Z").is_none());
    }
}
