//! Sums by the hour for a week, and by the day for a year.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use config::{Period, TimeZone};
use contract::Side;
use jiff::Timestamp;

use crate::window::Window;

use super::tally::Tally;
use super::tenants::OTHERS;

/// Hours are kept for this long, in seconds: a week, and a day for zones and changes of clocks. Then
/// they become a part of their day.
const HOURS: i64 = 8 * DAY;
/// Days are kept for this long, in seconds: 13 months.
const DAYS: i64 = 400 * DAY;
const DAY: i64 = 86_400;
/// Rows of a bucket. With twice as many it is full. Were all buckets full, which 1,000 deployments in use
/// in every hour of 13 months would take, they would have 130 MB.
const ROWS: usize = 500;

/// A deployment of a model.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Id of the model.
    pub model: Arc<str>,
    /// Name of the deployment.
    pub deployment: Arc<str>,
    /// As the configuration has it. A deployment that changes its side is another place.
    pub side: Side,
}

/// What a row is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) place: Arc<Place>,
    /// None: requests without a tenant.
    pub(super) tenant: Option<Arc<str>>,
}

/// The length of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Span {
    Hour,
    Day,
}

/// The start of a bucket, in seconds since 1970.
pub(super) type Start = i64;
type Rows = BTreeMap<Key, Tally>;

/// All sums.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    hours: BTreeMap<Start, Rows>,
    days: BTreeMap<Start, Rows>,
    /// What the file does not have yet.
    pub(super) unwritten: Unwritten,
}

/// Rows that differ from those in the file.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    rows: BTreeSet<(Span, Start, Key)>,
    /// Buckets that are gone.
    removed: BTreeSet<(Span, Start)>,
}

/// What a file is told to reach the state of now. Rows have their whole sums, so that writing one twice
/// counts once.
#[derive(Debug)]
pub(super) struct Changes {
    /// Buckets to remove first: one may have come back.
    pub(super) removed: Vec<(Span, Range<Start>)>,
    pub(super) rows: Vec<(Span, Start, Key, Tally)>,
}

impl Buckets {
    /// Adds to a row of the hour of this time.
    pub(super) fn add(&mut self, at: Timestamp, zone: &TimeZone, key: Key, new: &Tally) {
        let start = Window::of(Period::Hour, zone, at).start.as_second();
        self.put(Span::Hour, start, key, new);
    }

    /// Adds to a row, which the file then lacks.
    pub(super) fn put(&mut self, span: Span, start: Start, key: Key, new: &Tally) {
        let key = self.keep(span, start, key, new);
        self.unwritten.rows.insert((span, start, key));
    }

    /// Adds to a row. Returns its key: in a full bucket that of a row of all others.
    pub(super) fn keep(&mut self, span: Span, start: Start, key: Key, new: &Tally) -> Key {
        let rows = match span {
            Span::Hour => self.hours.entry(start).or_default(),
            Span::Day => self.days.entry(start).or_default(),
        };
        let key = within(rows, key);
        rows.entry(key.clone()).or_default().add(new);
        key
    }

    /// Makes days of old hours, and forgets old days.
    pub(super) fn age(&mut self, now: Timestamp, zone: &TimeZone) {
        let limit = now.as_second().saturating_sub(HOURS);
        while let Some(hour) = self.hours.first_entry().filter(|hour| *hour.key() < limit) {
            let (start, rows) = hour.remove_entry();
            let at = Timestamp::from_second(start).unwrap_or(now);
            let day = Window::of(Period::Day, zone, at).start.as_second();
            rows.into_iter().for_each(|(key, tally)| self.put(Span::Day, day, key, &tally));
            self.remove(Span::Hour, start);
        }
        let limit = now.as_second().saturating_sub(DAYS);
        while let Some(day) = self.days.first_entry().filter(|day| *day.key() < limit) {
            let start = *day.key();
            day.remove();
            self.remove(Span::Day, start);
        }
    }

    fn remove(&mut self, span: Span, start: Start) {
        self.unwritten.rows.retain(|(of, at, _)| (*of, *at) != (span, start));
        self.unwritten.removed.insert((span, start));
    }

    /// The start of the first bucket of a window: its hour, or its day if its hours are gone.
    pub(super) fn first(&self, since: Timestamp, now: Timestamp, zone: &TimeZone) -> Start {
        let oldest = now.as_second().saturating_sub(HOURS);
        let period = if since.as_second() < oldest { Period::Day } else { Period::Hour };
        Window::of(period, zone, since).start.as_second()
    }

    /// The rows of all buckets from this start on.
    pub(super) fn rows(&self, first: Start) -> impl Iterator<Item = (&Key, &Tally)> {
        self.days.range(first..).chain(self.hours.range(first..)).flat_map(|(_, rows)| rows)
    }

    /// All rows, by bucket.
    pub(super) fn into_rows(self) -> impl Iterator<Item = (Span, Start, Key, Tally)> {
        let of = |span| {
            move |(start, rows): (Start, Rows)| {
                rows.into_iter().map(move |(key, tally)| (span, start, key, tally))
            }
        };
        let days = self.days.into_iter().flat_map(of(Span::Day));
        days.chain(self.hours.into_iter().flat_map(of(Span::Hour)))
    }

    /// What the file lacks. None: nothing.
    pub(super) fn changes(&self) -> Option<Changes> {
        let Unwritten { rows, removed } = &self.unwritten;
        if rows.is_empty() && removed.is_empty() {
            return None;
        }
        let row = |(span, start, key): &(Span, Start, Key)| {
            let buckets = match span {
                Span::Hour => &self.hours,
                Span::Day => &self.days,
            };
            let tally = buckets.get(start)?.get(key)?;
            Some((*span, *start, key.clone(), *tally))
        };
        let rows = rows.iter().filter_map(row).collect();
        let one = |(span, start): &(Span, Start)| (*span, *start..start.saturating_add(1));
        Some(Changes { removed: removed.iter().map(one).collect(), rows })
    }

    /// What a file is told that may be an earlier one, or new: all rows. Its hours that are a part of
    /// their day by now would count twice.
    pub(super) fn all(&self, now: Timestamp) -> Changes {
        let oldest = now.as_second().saturating_sub(HOURS);
        let first = self.hours.keys().next().map_or(oldest, |start| oldest.min(*start));
        let rows = listed(Span::Day, &self.days).chain(listed(Span::Hour, &self.hours));
        Changes { removed: vec![(Span::Hour, Start::MIN..first)], rows: rows.collect() }
    }
}

impl Unwritten {
    /// Takes back what could not be written.
    pub(super) fn restore(&mut self, changes: Changes) {
        let Changes { removed, rows } = changes;
        self.removed.extend(removed.into_iter().map(|(span, starts)| (span, starts.start)));
        self.rows.extend(rows.into_iter().map(|(span, start, key, _)| (span, start, key)));
    }
}

fn listed(
    span: Span,
    buckets: &BTreeMap<Start, Rows>,
) -> impl Iterator<Item = (Span, Start, Key, Tally)> {
    buckets.iter().flat_map(move |(start, rows)| {
        rows.iter().map(move |(key, tally)| (span, *start, key.clone(), *tally))
    })
}

/// The key itself if there is room for it, else that of the deployment's other tenants, else that of all
/// other deployments of its side.
fn within(rows: &Rows, key: Key) -> Key {
    if rows.len() < ROWS || rows.contains_key(&key) {
        return key;
    }
    let others = || Arc::<str>::from(OTHERS);
    let of_place = Key { tenant: key.tenant.map(|_| others()), ..key };
    if rows.len() < 2 * ROWS || rows.contains_key(&of_place) {
        return of_place;
    }
    let side = of_place.place.side;
    let place = Arc::new(Place { model: others(), deployment: others(), side });
    Key { place, ..of_place }
}

#[cfg(test)]
#[path = "buckets_tests.rs"]
mod tests;
