//! The time zone of the hours that strategies see, and of budgets.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone as Zone;

use super::PathStep;
use super::document::steps;
use super::models::Check;

/// A time zone of the IANA database. Default: UTC.
#[derive(Clone, PartialEq, Eq)]
pub struct TimeZone(Zone);

impl TimeZone {
    /// The zone with this name, such as `Europe/Berlin`. None if there is none.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        // An empty name would be found in the folder of the database itself.
        (!name.is_empty()).then(|| Zone::get(name).ok().map(Self)).flatten()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// The zone as Jiff has it.
    #[must_use]
    pub fn zone(&self) -> &Zone {
        &self.0
    }

    /// Minutes that it is ahead of UTC, so many milliseconds after 1970-01-01 00:00 UTC.
    #[must_use]
    pub fn offset(&self, milliseconds: u64) -> i32 {
        let milliseconds = i64::try_from(milliseconds).unwrap_or(i64::MAX);
        let at = Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::MAX);
        self.0.to_offset(at).seconds() / 60
    }
}

impl Default for TimeZone {
    fn default() -> Self {
        Self(Zone::UTC)
    }
}

impl fmt::Debug for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TimeZone").field(&self.name()).finish()
    }
}

impl Check<'_> {
    /// The zone of this name. An unknown one is an error.
    pub(super) fn time_zone(&mut self, name: Option<String>) -> TimeZone {
        name.map_or_else(TimeZone::default, |name| self.zone(&steps!["time_zone"], &name))
    }

    /// The zone of this name, which stands at `at`.
    pub(super) fn zone(&mut self, at: &[PathStep], name: &str) -> TimeZone {
        if self.document.text(at).is_none() {
            return TimeZone::default();
        }
        TimeZone::named(name).unwrap_or_else(|| {
            let help = "write a name of the IANA database: Europe/Berlin, America/New_York, UTC";
            self.errors.push(self.document.error(at, "there is no such time zone", help));
            TimeZone::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_follows_the_summer() {
        let berlin = TimeZone::named("Europe/Berlin").expect("known");
        assert_eq!(berlin.name(), "Europe/Berlin");
        // 2026-01-15 12:00 and 2026-07-15 12:00 UTC.
        assert_eq!([1_768_478_400_000, 1_784_116_800_000].map(|at| berlin.offset(at)), [60, 120]);
        let kolkata = TimeZone::named("Asia/Kolkata").expect("known");
        assert_eq!(kolkata.offset(u64::MAX), 330);
        assert_eq!(TimeZone::default().offset(0), 0);
    }

    #[test]
    fn names_that_are_none_are_unknown() {
        for name in ["", "Mars/Base", "../../etc/passwd", "/etc/passwd", "Europe"] {
            assert_eq!(TimeZone::named(name), None, "{name}");
        }
        assert_eq!(TimeZone::default().name(), "UTC");
    }
}
