//! What was spent since a moment, by model, side, tenant or deployment.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use config::{Period, TimeZone};
use contract::Side;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

use crate::window::Window;

use super::buckets::Key;
use super::tally::Sums;

/// What the rows of a report are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Local against remote.
    Side,
    /// Each model.
    Model,
    /// Each tenant.
    Tenant,
    /// Each deployment of each model.
    Deployment,
}

impl By {
    /// Every kind, the default first.
    pub const ALL: [Self; 4] = [Self::Side, Self::Model, Self::Tenant, Self::Deployment];

    /// Its name in queries and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Side => "side",
            Self::Model => "model",
            Self::Tenant => "tenant",
            Self::Deployment => "deployment",
        }
    }

    pub(super) fn name(self, Key { place, tenant }: &Key) -> RowName {
        let nothing = RowName::default();
        match self {
            Self::Side => RowName { side: Some(place.side), ..nothing },
            Self::Model => RowName { model: Some(Arc::clone(&place.model)), ..nothing },
            Self::Tenant => RowName { tenant: tenant.clone(), ..nothing },
            Self::Deployment => RowName {
                model: Some(Arc::clone(&place.model)),
                deployment: Some(Arc::clone(&place.deployment)),
                side: Some(place.side),
                tenant: None,
            },
        }
    }
}

/// Why a word of a query has no meaning.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadQuery {
    /// Not a way to group.
    #[error("`by` is one of side, model, tenant, deployment")]
    By,
    /// Not a time.
    #[error(
        "`since` is hour, today, week or month, a time back such as 24h or 7d, a day such as \
         2026-11-30, or a time such as 2026-11-30T08:00:00Z"
    )]
    Since,
}

impl FromStr for By {
    type Err = BadQuery;

    fn from_str(text: &str) -> Result<Self, BadQuery> {
        Self::ALL.into_iter().find(|by| by.as_str() == text).ok_or(BadQuery::By)
    }
}

/// The beginning of a report's window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// The beginning of the hour, day, week or month of now.
    This(Period),
    /// So long ago.
    Back(SignedDuration),
    /// The beginning of a day.
    Day(Date),
    /// A moment.
    At(Timestamp),
}

impl FromStr for Since {
    type Err = BadQuery;

    fn from_str(text: &str) -> Result<Self, BadQuery> {
        let word = match text {
            "hour" => Some(Period::Hour),
            "today" | "day" => Some(Period::Day),
            "week" => Some(Period::Week),
            "month" => Some(Period::Month),
            _ => None,
        };
        if let Some(period) = word {
            return Ok(Self::This(period));
        }
        if let Some(back) = back(text) {
            return Ok(Self::Back(back));
        }
        // Only these two forms: Jiff would also read a time of day as a day.
        if text.len() == "2026-11-30".len() {
            return text.parse().map(Self::Day).map_err(|_| BadQuery::Since);
        }
        text.parse().map(Self::At).map_err(|_| BadQuery::Since)
    }
}

/// Hours, days or weeks: `24h`. Many of them are all that there is.
fn back(text: &str) -> Option<SignedDuration> {
    let (number, hours) = [('h', 1), ('d', 24), ('w', 168)]
        .into_iter()
        .find_map(|(unit, hours)| Some((text.strip_suffix(unit)?, hours)))?;
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit()) && !number.is_empty();
    let number = number.parse::<i64>().unwrap_or(i64::MAX);
    // A century.
    is_number.then(|| SignedDuration::from_hours(number.saturating_mul(hours).min(876_600)))
}

impl Since {
    /// The moment that it means.
    pub(super) fn moment(self, now: Timestamp, zone: &TimeZone) -> Timestamp {
        match self {
            Self::This(period) => Window::of(period, zone, now).start,
            Self::Back(time) => now.checked_sub(time).unwrap_or(Timestamp::MIN),
            Self::Day(day) => {
                let start = day.to_zoned(zone.zone().clone());
                start.map_or(Timestamp::MAX, |start| start.timestamp())
            }
            Self::At(time) => time,
        }
    }
}

/// What a row of a report is of. What its kind of report does not tell is None; so is the tenant of
/// requests without one.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowName {
    /// Id of the model.
    pub model: Option<Arc<str>>,
    /// Name of the deployment.
    pub deployment: Option<Arc<str>>,
    /// The side.
    pub side: Option<Side>,
    /// The tenant.
    pub tenant: Option<Arc<str>>,
}

/// What was spent.
#[derive(Debug, Clone)]
pub struct Report {
    /// What the rows are of.
    pub by: By,
    /// When its window begins: at the beginning of an hour, or of a day over a week ago.
    pub since: Timestamp,
    /// When it ends.
    pub until: Timestamp,
    /// When the history begins.
    pub recorded_since: Timestamp,
    /// Whether a restart keeps the history.
    pub is_durable: bool,
    /// Why the last write of the history failed.
    pub failure: Option<String>,
    /// By name.
    pub rows: BTreeMap<RowName, Sums>,
    /// The sum of all rows.
    pub total: Sums,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn moment(text: &str) -> Result<String, BadQuery> {
        let zone = TimeZone::named("Europe/Berlin").unwrap();
        let now = "2026-11-30T12:34:56Z".parse().unwrap();
        text.parse::<Since>().map(|since| since.moment(now, &zone).to_string())
    }

    #[test]
    fn a_window_begins_where_its_words_say() {
        for (text, start) in [
            ("hour", "2026-11-30T12:00:00Z"),
            ("today", "2026-11-29T23:00:00Z"),
            ("day", "2026-11-29T23:00:00Z"),
            ("week", "2026-11-29T23:00:00Z"),
            ("month", "2026-10-31T23:00:00Z"),
            ("0h", "2026-11-30T12:34:56Z"),
            ("24h", "2026-11-29T12:34:56Z"),
            ("007d", "2026-11-23T12:34:56Z"),
            ("2w", "2026-11-16T12:34:56Z"),
            ("99999999999999999999d", "1926-11-30T12:34:56Z"),
            ("2026-11-01", "2026-10-31T23:00:00Z"),
            ("2026-11-30T08:00:00Z", "2026-11-30T08:00:00Z"),
            ("2026-11-30T08:00:00+02:00", "2026-11-30T06:00:00Z"),
        ] {
            assert_eq!(moment(text).as_deref(), Ok(start), "{text}");
        }
    }

    #[test]
    fn what_has_no_meaning_is_refused() {
        for text in ["", "h", "-1h", "+1h", "1.5h", "24", "24m", "24 h", "tomorrow", "2026-02-30"] {
            assert_eq!(moment(text), Err(BadQuery::Since), "{text}");
        }
        for text in ["1ħ", "٣h", "10:00:00.0", "2026-11-30T08:00:00", "Today"] {
            assert_eq!(moment(text), Err(BadQuery::Since), "{text}");
        }
        assert_eq!("sides".parse::<By>(), Err(BadQuery::By));
        let said = BadQuery::By.to_string();
        assert!(By::ALL.iter().all(|by| said.contains(by.as_str())));
    }
}
