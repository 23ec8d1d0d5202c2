//! Reads from an answer's headers which requests its deployment allows: `Retry-After`, and the rest
//! of an allowance.
//!
//! Three spellings are read:
//! - OpenAI, Azure, Groq: `x-ratelimit-remaining-requests`, and a time such as `6m0s`.
//! - Anthropic: `anthropic-ratelimit-requests-remaining`, and a date.
//! - GitHub, the IETF's draft: `x-ratelimit-remaining`, and seconds or a Unix time.

use std::time::{Duration, SystemTime};

use answers::refusal::duration;
use fleet::Quota;
use hyper::HeaderMap;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Longest wait that a deployment may ask for. A longer one is cut to it.
const LONGEST: Duration = Duration::from_secs(3600);
/// A number above this is no number of seconds to wait, but a Unix time: in seconds, or from
/// [`UNIX_MILLIS`] on in milliseconds.
const UNIX_SECONDS: f64 = 1e9;
const UNIX_MILLIS: f64 = 1e11;

/// The headers of what is left, and of the time until it is reset.
const QUOTAS: [(&str, &str); 6] = [
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    ("x-ratelimit-remaining", "x-ratelimit-reset"),
    ("ratelimit-remaining", "ratelimit-reset"),
    ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"),
    ("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"),
];

/// The time that the answer asks to wait: `Retry-After`, else `retry-after-ms`, else the time until
/// the reset of a spent allowance. At most an hour.
pub(super) fn wait(headers: &HeaderMap) -> Option<Duration> {
    let millis = || {
        let millis: f64 = text(headers, "retry-after-ms")?.parse().ok()?;
        Duration::try_from_secs_f64(millis / 1e3).ok()
    };
    let reset = || quota(headers).filter(|quota| quota.remaining == 0).map(|quota| quota.reset);
    let wait = retry_after(headers).or_else(millis).or_else(reset)?;
    Some(wait.min(LONGEST))
}

/// The rest of the allowance of requests. It is 0 if the allowance of tokens is used up.
pub(super) fn quota(headers: &HeaderMap) -> Option<Quota> {
    let quotas = QUOTAS.iter().filter_map(|(remaining, reset)| {
        let is_tokens = remaining.contains("tokens");
        // Azure says -1 where nothing is limited.
        let remaining: f64 = text(headers, remaining)?.parse().ok().filter(|left| *left >= 0.0)?;
        let reset = reset_time(text(headers, reset)?)?.min(LONGEST);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let remaining = remaining as u32;
        // The number of requests that the remaining tokens allow is unknown.
        (!is_tokens || remaining == 0).then_some(Quota { remaining, reset })
    });
    quotas.min_by_key(|quota| (quota.remaining, std::cmp::Reverse(quota.reset)))
}

/// A time until something is allowed again: `20ms`, `6m0s`, `2m59.56s`, seconds, a Unix time, or a
/// date.
fn reset_time(text: &str) -> Option<Duration> {
    let until = |unix: Duration| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        unix.saturating_sub(now)
    };
    if let Ok(number) = text.parse::<f64>() {
        let seconds = if number >= UNIX_MILLIS { number / 1e3 } else { number };
        let time = Duration::try_from_secs_f64(seconds).ok()?;
        return Some(if number >= UNIX_SECONDS { until(time) } else { time });
    }
    if let Ok(date) = httpdate::parse_http_date(text) {
        return Some(date.duration_since(SystemTime::now()).unwrap_or_default());
    }
    if let Ok(date) = OffsetDateTime::parse(text, &Rfc3339) {
        return Some(until(Duration::from_secs(date.unix_timestamp().try_into().ok()?)));
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
    Some(reset_time(text)?.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        let parsed = |(name, value): &(&'static str, &str)| {
            (hyper::header::HeaderName::from_static(name), value.parse().expect("a value"))
        };
        list.iter().map(parsed).collect()
    }

    #[test]
    fn what_is_left_is_read_in_every_spelling() {
        let seconds = Duration::from_secs;
        for (list, remaining, reset) in [
            (
                [("x-ratelimit-remaining-requests", "59"), ("x-ratelimit-reset-requests", "1s")],
                59,
                seconds(1),
            ),
            (
                [("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "6m0s")],
                0,
                seconds(360),
            ),
            (
                [
                    ("x-ratelimit-remaining-requests", "7"),
                    ("x-ratelimit-reset-requests", "2m59.56s"),
                ],
                7,
                Duration::from_millis(179_560),
            ),
            (
                [("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "20ms")],
                0,
                Duration::from_millis(20),
            ),
            ([("ratelimit-remaining", "3"), ("ratelimit-reset", "30")], 3, seconds(30)),
            ([("x-ratelimit-remaining", "1"), ("x-ratelimit-reset", "1")], 1, seconds(1)),
            ([("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "99999999999999")], 0, LONGEST),
        ] {
            assert_eq!(quota(&headers(&list)), Some(Quota { remaining, reset }), "{list:?}");
        }
        let soon = OffsetDateTime::now_utc() + seconds(60);
        let soon = soon.format(&Rfc3339).expect("a date");
        let left = quota(&headers(&[
            ("anthropic-ratelimit-requests-remaining", "0"),
            ("anthropic-ratelimit-requests-reset", &soon),
        ]));
        assert!(left.is_some_and(|left| (57..=60).contains(&left.reset.as_secs())), "{left:?}");
        let names = ["anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"];
        let tokens = |left| quota(&headers(&[(names[0], left), (names[1], &soon)]));
        assert_eq!((tokens("0").map(|left| left.remaining), tokens("9")), (Some(0), None));
    }

    #[test]
    fn what_is_no_allowance_is_ignored() {
        for (name, reset, value) in [
            ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests", "soon"),
            ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests", "5 parsecs"),
            ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests", "1e400"),
            ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests", "-1"),
            ("x-ratelimit-remaining-requests", "x-ratelimit-reset-tokens", "1s"),
            ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens", ""),
        ] {
            assert_eq!(quota(&headers(&[(name, "3"), (reset, value)])), None, "{value}");
        }
        for remaining in ["-1", "nan", "", "0, 5", "none"] {
            let [left, reset] = ["x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"];
            assert_eq!(quota(&headers(&[(left, remaining), (reset, "60s")])), None, "{remaining}");
        }
        let tokens = [("x-ratelimit-remaining-tokens", "9"), ("x-ratelimit-reset-tokens", "1s")];
        assert_eq!(quota(&headers(&tokens)), None, "nobody knows what a request takes");
    }

    #[test]
    fn the_most_exact_wait_counts() {
        let all = [
            ("retry-after-ms", "250"),
            ("x-ratelimit-remaining-requests", "0"),
            ("x-ratelimit-reset-requests", "3s"),
        ];
        assert_eq!(wait(&headers(&all)), Some(Duration::from_millis(250)));
        assert_eq!(wait(&headers(&all[1..])), Some(Duration::from_secs(3)));
        assert_eq!(wait(&headers(&[])), None);
        let left = [("x-ratelimit-remaining", "2"), ("x-ratelimit-reset", "3")];
        assert_eq!(wait(&headers(&left)), None, "something is left");
        assert_eq!(wait(&headers(&[("retry-after", "9"), all[0]])), Some(Duration::from_secs(9)));
    }

    #[test]
    fn a_wait_is_seconds_or_a_date_and_at_most_an_hour() {
        let read = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", text.parse().expect("a header"));
            retry_after(&headers)
        };
        assert_eq!(read("30"), Some(Duration::from_secs(30)));
        assert_eq!(read("0"), Some(Duration::ZERO));
        assert_eq!(read("86400"), Some(LONGEST));
        assert_eq!(read("99999999999999999999999"), Some(LONGEST));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO), "long ago");
        assert_eq!(read("Fri, 31 Dec 9999 23:59:59 GMT"), Some(LONGEST));
        assert_eq!(read("1.5"), Some(Duration::from_millis(1500)));
        assert_eq!(read("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(read("1600000000"), Some(Duration::ZERO), "a Unix time long ago");
        assert_eq!(read("99999999999"), Some(LONGEST), "a Unix time");
        for text in ["", "-1", "-0.5", "nan", "inf", "1e400", "2, 3", "7;q=1", "soon"] {
            assert_eq!(read(text), None, "{text}");
        }
        let soon = SystemTime::now() + Duration::from_secs(60);
        let mut headers = HeaderMap::new();
        let date = httpdate::fmt_http_date(soon).parse().expect("a header");
        headers.insert("retry-after", date);
        let wait = retry_after(&headers).expect("a date");
        assert!((58..=60).contains(&wait.as_secs()), "{wait:?}");
    }
}
