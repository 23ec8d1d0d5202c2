//! Windows of time: the hour, day, week or month of a moment in a time zone.

use config::{Period, TimeZone};
use jiff::civil::Weekday;
use jiff::{SignedDuration, Span, Timestamp, Zoned};

/// The time from `start` to just before `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// When it begins.
    pub start: Timestamp,
    /// When the next one begins.
    pub end: Timestamp,
}

/// A clock may be corrected by so much without a word.
const CORRECTION: SignedDuration = SignedDuration::from_secs(60);

impl Window {
    /// True if it begins in the future, because the clock was set back.
    pub(crate) fn is_ahead(&self, now: Timestamp) -> bool {
        self.start.duration_since(now) > CORRECTION
    }

    /// The window of this moment. Days, weeks (from Monday) and months are those of the zone's
    /// calendar, so that a day on which its clocks change has 23 or 25 hours. Seconds are counted
    /// from 1970.
    #[must_use]
    pub fn of(period: Period, zone: &TimeZone, at: Timestamp) -> Self {
        let bounds = match period {
            Period::Seconds(seconds) => seconds_of(i64::from(seconds), at),
            Period::Hour => seconds_of(3_600, shifted(zone, at)).map(|bounds| {
                // Zones that are half an hour apart have hours of their own.
                let shift = offset(zone, at);
                bounds.map(|bound| bound.saturating_sub(shift).unwrap_or(bound))
            }),
            Period::Day | Period::Week | Period::Month => calendar(period, zone, at),
        };
        // Only times at the ends of what Jiff can express have no bounds.
        let [start, end] = bounds.unwrap_or([Timestamp::MIN, Timestamp::MAX]);
        Self { start, end }
    }
}

fn offset(zone: &TimeZone, at: Timestamp) -> Span {
    Span::new().seconds(i64::from(zone.zone().to_offset(at).seconds()))
}

fn shifted(zone: &TimeZone, at: Timestamp) -> Timestamp {
    at.saturating_add(offset(zone, at)).unwrap_or(at)
}

fn seconds_of(length: i64, at: Timestamp) -> Option<[Timestamp; 2]> {
    let start = at.as_second().div_euclid(length).checked_mul(length)?;
    let bound = |second| Timestamp::from_second(second).ok();
    Some([bound(start)?, bound(start.checked_add(length)?)?])
}

fn calendar(period: Period, zone: &TimeZone, at: Timestamp) -> Option<[Timestamp; 2]> {
    let day = Zoned::new(at, zone.zone().clone()).date();
    let (first, length) = match period {
        Period::Month => (day.first_of_month(), Span::new().months(1)),
        Period::Week => {
            let since = day.weekday().since(Weekday::Monday);
            (day.checked_sub(Span::new().days(i64::from(since))).ok()?, Span::new().days(7))
        }
        _ => (day, Span::new().days(1)),
    };
    let begins = |day: jiff::civil::Date| {
        day.to_zoned(zone.zone().clone()).ok().map(|zoned| zoned.timestamp())
    };
    Some([begins(first)?, begins(first.checked_add(length).ok()?)?])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn window(period: Period, zone: &str, at: &str) -> [String; 2] {
        let zone = TimeZone::named(zone).unwrap();
        let Window { start, end } = Window::of(period, &zone, at.parse().unwrap());
        [start.to_string(), end.to_string()]
    }

    #[test]
    fn windows_begin_and_end_with_the_clock_of_their_zone() {
        for (period, zone, at, expected) in [
            (
                Period::Seconds(90),
                "UTC",
                "1970-01-01T00:03:01Z",
                ["1970-01-01T00:03:00Z", "1970-01-01T00:04:30Z"],
            ),
            (
                Period::Hour,
                "UTC",
                "2026-11-30T11:59:59Z",
                ["2026-11-30T11:00:00Z", "2026-11-30T12:00:00Z"],
            ),
            (
                Period::Hour,
                "Asia/Kolkata",
                "2026-11-30T11:59:59Z",
                ["2026-11-30T11:30:00Z", "2026-11-30T12:30:00Z"],
            ),
            (
                Period::Day,
                "Europe/Berlin",
                "2026-11-30T23:30:00Z",
                ["2026-11-30T23:00:00Z", "2026-12-01T23:00:00Z"],
            ),
            (
                Period::Week,
                "UTC",
                "2026-11-29T12:00:00Z",
                ["2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"],
            ),
            (
                Period::Month,
                "UTC",
                "2024-02-29T12:00:00Z",
                ["2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"],
            ),
        ] {
            assert_eq!(window(period, zone, at), expected, "{period:?} {zone} {at}");
        }
    }

    #[test]
    fn a_change_of_clocks_makes_windows_longer_or_shorter() {
        // 2026-03-29: clocks go from 02:00 to 03:00. 2026-10-25: from 03:00 back to 02:00.
        let berlin = "Europe/Berlin";
        assert_eq!(
            window(Period::Day, berlin, "2026-03-29T12:00:00Z"),
            ["2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"]
        );
        assert_eq!(
            window(Period::Day, berlin, "2026-10-25T12:00:00Z"),
            ["2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"]
        );
        assert_eq!(
            window(Period::Month, berlin, "2026-10-25T12:00:00Z"),
            ["2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z"]
        );
    }

    #[test]
    fn windows_follow_each_other_without_a_gap() {
        for period in [Period::Hour, Period::Day, Period::Week, Period::Month, Period::Seconds(7)] {
            for zone in ["UTC", "America/St_Johns", "Australia/Lord_Howe"] {
                let zone = TimeZone::named(zone).unwrap();
                let mut at: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
                for _ in 0..500 {
                    let window = Window::of(period, &zone, at);
                    assert!(window.start <= at && at < window.end, "{period:?} {at}");
                    let next = Window::of(period, &zone, window.end);
                    assert_eq!(next.start, window.end, "{period:?} {at}");
                    at = window.end;
                }
            }
        }
    }
}
