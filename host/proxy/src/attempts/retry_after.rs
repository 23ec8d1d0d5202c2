//! Reads the `Retry-After` header of an answer.

use std::time::{Duration, SystemTime};

use hyper::HeaderMap;

/// Longest wait that a deployment may ask for. A longer one is cut to it.
const LONGEST: Duration = Duration::from_secs(3600);

/// The wait in `Retry-After`, given in seconds or as a date: at most an hour. None: there is no
/// valid header.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(hyper::header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        // More seconds than fit into a `u64`.
        Err(_) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => LONGEST,
        Err(_) => {
            let date = httpdate::parse_http_date(text).ok()?;
            date.duration_since(SystemTime::now()).unwrap_or_default()
        }
    };
    Some(wait.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        for text in ["", "-1", "1.5", "soon"] {
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
