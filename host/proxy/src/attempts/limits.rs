//! Reads from an answer's headers what its deployment allows: `Retry-After`, and what is left of
//! its quotas.
//!
//! Providers spell quotas alike, and order the words as they like:
//! - OpenAI, Azure, Groq: `x-ratelimit-remaining-requests`, and a time such as `6m0s`.
//! - Anthropic: `anthropic-ratelimit-input-tokens-remaining`, and a date.
//! - Cerebras, Mistral: `x-ratelimit-remaining-tokens-minute`, and seconds, or no time.
//! - OpenRouter, Together, the IETF's draft: `x-ratelimit-remaining`, and seconds or a Unix time.
//!
//! So a name is a prefix and words. One word says which number it is (`limit`, `remaining`,
//! `reset`). What is before and after that word tells the quotas of an answer apart.

use std::time::{Duration, SystemTime};

use answers::refusal::duration;
use config::{Period, QuotaUnit};
use fleet::ToldQuota;
use hyper::HeaderMap;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Longest wait that a deployment may ask for. A longer one is cut to it.
const LONGEST: Duration = Duration::from_secs(3600);
/// A number above this is no number of seconds to wait, but a Unix time: in seconds, or from
/// [`UNIX_MILLIS`] on in milliseconds.
const UNIX_SECONDS: f64 = 1e9;
const UNIX_MILLIS: f64 = 1e11;
/// Quotas of one answer that are read.
const MOST: usize = 16;
/// No quota is larger. It is exact in a float.
const LARGEST: f64 = 1e15;

/// What the names of such headers begin with, and what they count unless a word says more.
const PREFIXES: [(&str, Option<QuotaUnit>); 5] = [
    ("x-ratelimit-", Some(QuotaUnit::Requests)),
    ("anthropic-ratelimit-", None),
    ("x-tokenlimit-", Some(QuotaUnit::Tokens)),
    ("x-rate-limit-", Some(QuotaUnit::Requests)),
    ("ratelimit-", Some(QuotaUnit::Requests)),
];

/// What a header says of its quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Limit,
    Remaining,
    Reset,
}

/// A quota that headers tell of.
#[derive(Debug, Clone, Copy)]
struct Bucket<'h> {
    /// What its names have before and after the word of the role.
    name: (&'h str, &'h str),
    unit: QuotaUnit,
    per: Option<Period>,
    limit: Option<u64>,
    remaining: Option<u64>,
    reset: Option<&'h str>,
}

/// The time that the answer asks to wait: `Retry-After`, else `retry-after-ms`, else the time until
/// the reset of a quota that is used up. At most an hour.
pub(super) fn wait(headers: &HeaderMap) -> Option<Duration> {
    let millis = || {
        let millis: f64 = text(headers, "retry-after-ms")?.parse().ok()?;
        Duration::try_from_secs_f64(millis / 1e3).ok()
    };
    let reset = || {
        let told = told(headers);
        told.into_iter().filter(|told| told.remaining == 0).filter_map(|told| told.reset).max()
    };
    let wait = retry_after(headers).or_else(millis).or_else(reset)?;
    Some(wait.min(LONGEST))
}

/// What the answer tells of quotas. Headers that make no sense tell nothing.
pub(super) fn told(headers: &HeaderMap) -> Vec<ToldQuota> {
    let (mut buckets, mut count) = ([None::<Bucket<'_>>; MOST], 0);
    for (name, value) in headers {
        let Some((role, bucket)) = named(name.as_str()) else { continue };
        let Some(value) = value.to_str().ok().map(str::trim) else { continue };
        let known = buckets[..count]
            .iter()
            .position(|known| known.is_some_and(|known| known.name == bucket.name));
        let at = known.unwrap_or(count);
        let Some(place) = buckets.get_mut(at) else { continue };
        count = count.max(at + 1);
        let bucket = place.get_or_insert(bucket);
        match role {
            Role::Limit => bucket.limit = number(value),
            Role::Remaining => bucket.remaining = number(value),
            Role::Reset => bucket.reset = Some(value),
        }
    }
    let date = || httpdate::parse_http_date(text(headers, "date")?).ok();
    let told = |bucket: Bucket<'_>| {
        let Bucket { unit, per, limit, reset, .. } = bucket;
        let remaining = bucket.remaining?;
        let reset = match reset {
            // A time that cannot be read makes the rest doubtful.
            Some(text) => Some(reset_time(text, date)?),
            None => None,
        };
        Some(ToldQuota { unit, per, limit, remaining, reset })
    };
    buckets.into_iter().flatten().filter_map(told).collect()
}

/// What the name of a header says, if it is about a quota of requests or tokens.
fn named(name: &str) -> Option<(Role, Bucket<'_>)> {
    let (rest, usual) =
        PREFIXES.iter().find_map(|(prefix, usual)| Some((name.strip_prefix(*prefix)?, *usual)))?;
    let (mut role, mut unit, mut per, mut is_plain) = (None, None, None, true);
    let mut start = name.len() - rest.len();
    for word in rest.split('-') {
        let end = start + word.len();
        let found = match word {
            "limit" => Some(Role::Limit),
            "remaining" => Some(Role::Remaining),
            "reset" => Some(Role::Reset),
            _ => None,
        };
        if let Some(found) = found {
            role = Some((found, (&name[..start], &name[end..])));
        } else if let Some(found) = unit_of(word) {
            unit = Some(found);
        } else if let Some(found) = period_of(word) {
            per = Some(found);
        } else {
            is_plain = false;
        }
        start = end + 1;
    }
    let (role, name) = role?;
    // Without a unit, an unknown word may be one: images, seconds of sound.
    let unit = unit.or(usual.filter(|_| is_plain))?;
    Some((role, Bucket { name, unit, per, limit: None, remaining: None, reset: None }))
}

fn unit_of(word: &str) -> Option<QuotaUnit> {
    match word {
        "requests" | "request" | "req" => Some(QuotaUnit::Requests),
        _ => word.starts_with("token").then_some(QuotaUnit::Tokens),
    }
}

fn period_of(word: &str) -> Option<Period> {
    Some(match word {
        "second" => Period::Seconds(1),
        "minute" => Period::Seconds(60),
        "hour" => Period::Hour,
        "day" => Period::Day,
        "week" => Period::Week,
        "month" => Period::Month,
        _ => return None,
    })
}

/// A number of requests or tokens. Azure says -1 where nothing is limited.
fn number(text: &str) -> Option<u64> {
    let number: f64 = text.parse().ok().filter(|number: &f64| *number >= 0.0)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 10^15")]
    let number = number.min(LARGEST) as u64;
    Some(number)
}

/// A time until something is allowed again: `20ms`, `6m0s`, `2m59.56s`, seconds, a Unix time, or a
/// date. `date` is the time on the deployment's clock, which may differ from the gateway's.
fn reset_time(text: &str, date: impl FnOnce() -> Option<SystemTime>) -> Option<Duration> {
    let until = |unix: Duration| {
        let now = date().unwrap_or_else(SystemTime::now);
        unix.saturating_sub(now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
    };
    if let Ok(number) = text.parse::<f64>() {
        let seconds = if number >= UNIX_MILLIS { number / 1e3 } else { number };
        let time = Duration::try_from_secs_f64(seconds).ok()?;
        return Some(if number >= UNIX_SECONDS { until(time) } else { time });
    }
    let unix =
        |time: SystemTime| until(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default());
    if let Ok(time) = httpdate::parse_http_date(text) {
        return Some(unix(time));
    }
    if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
        return Some(unix(time.into()));
    }
    duration(text)
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    Some(headers.get(name)?.to_str().ok()?.trim())
}

/// The wait in `Retry-After`: at most an hour. RFC 9110 knows whole seconds and dates. Some APIs
/// write `1.5`, `2s` or a Unix time. None: there is no valid header.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = text(headers, "retry-after")?;
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) && text.len() > 18 {
        return Some(LONGEST);
    }
    Some(reset_time(text, || None)?.min(LONGEST))
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
