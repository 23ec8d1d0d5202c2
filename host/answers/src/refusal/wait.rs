//! The time that an engine asks to wait, where it says so in the body of its answer.

use std::time::Duration;

/// Words before a time in a message, in lower case.
const BEFORE: [&str; 5] =
    ["try again in ", "try again after ", "retry after ", "retry in ", "wait for "];
/// Longest time that is believed.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// A time such as `20ms`, `6m0s`, `2m59.56s`, `34s`, `26 seconds` or `1h`. At most a day. None: the
/// text is no time.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let (sum, rest) = leading(text)?;
    rest.is_empty().then_some(sum)
}

/// The time that a message asks to wait: `Please try again in 7.66s.` None: the message names no
/// time.
pub(super) fn in_message(message: &str) -> Option<Duration> {
    let message = message.to_ascii_lowercase();
    let after = |before: &&str| Some(&message[message.find(before)? + before.len()..]);
    BEFORE.iter().filter_map(after).find_map(|text| Some(leading(text)?.0))
}

/// A number of seconds, or a time with units. None: the text is no time.
pub(super) fn in_field(text: &str) -> Option<Duration> {
    let seconds = || Duration::try_from_secs_f64(text.parse().ok()?).ok();
    seconds().map(|wait| wait.min(LONGEST)).or_else(|| duration(text))
}

/// The time at the start of a text, and what follows it.
fn leading(text: &str) -> Option<(Duration, &str)> {
    let (mut sum, mut rest) = (None, text);
    while let Some((part, tail)) = part(rest) {
        sum = Some(sum.unwrap_or(Duration::ZERO).saturating_add(part).min(LONGEST));
        rest = tail;
    }
    Some((sum?, rest))
}

/// One number with its unit, and what follows it.
fn part(text: &str) -> Option<(Duration, &str)> {
    let text = text.trim_start();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, tail) = text.split_at(digits);
    let tail = tail.trim_start();
    let end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
    let (unit, tail) = tail.split_at(end);
    let seconds = match unit {
        "ms" | "milliseconds" | "millisecond" => 1e-3,
        "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
        "h" | "hour" | "hours" => 3600.0,
        "d" | "day" | "days" => 86_400.0,
        _ => return None,
    };
    let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
    Some((part, tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_units() {
        let millis = Duration::from_millis;
        for (text, wait) in [
            ("20ms", millis(20)),
            ("6m0s", millis(360_000)),
            ("2m59.56s", millis(179_560)),
            ("34s", millis(34_000)),
            ("26 seconds", millis(26_000)),
            ("1h2m", millis(3_720_000)),
            ("1 minute 3 seconds", millis(63_000)),
            ("400d", LONGEST),
        ] {
            assert_eq!(duration(text), Some(wait), "{text}");
        }
        for text in ["", "s", "5", "5 parsecs", "1.2.3s", "-3s", "1s later", "1e3s"] {
            assert_eq!(duration(text), None, "{text}");
        }
        assert_eq!(in_field("2.5"), Some(millis(2_500)));
        assert_eq!(in_field("2.5s"), Some(millis(2_500)));
        assert_eq!(in_field("1e300"), None);
    }

    #[test]
    fn messages_name_a_wait() {
        for (message, wait) in [
            (
                "Rate limit reached for m in o on requests. Limit 3. Please try again in 7.66s. Visit",
                7.66,
            ),
            ("Please retry after 26 seconds.", 26.0),
            ("You exceeded your quota.\nPlease retry in 31.5s.", 31.5),
            ("Try again in 120ms.", 0.12),
        ] {
            assert_eq!(in_message(message), Some(Duration::from_secs_f64(wait)), "{message}");
        }
        for message in ["", "Please try again in a while", "try again in ", "after 5 seconds"] {
            assert_eq!(in_message(message), None, "{message}");
        }
    }
}
