#![allow(clippy::unwrap_used)]

use contract::Picodollars;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn key(deployment: &str, tenant: Option<&str>) -> Key {
    let place = Place { model: "m".into(), deployment: deployment.into(), side: Side::Local };
    Key { place: Arc::new(place), tenant: tenant.map(Into::into) }
}

fn cost(amount: u64) -> Tally {
    Tally::machine(0, Picodollars::new(amount))
}

fn sum(buckets: &Buckets, first: Start) -> u128 {
    let mut sums = super::super::tally::Sums::default();
    buckets.rows(first).for_each(|(_, tally)| sums.add(tally));
    sums.machine().1
}

#[test]
fn hours_become_days_of_their_zone_and_old_days_go() {
    let (mut buckets, zone) = (Buckets::default(), TimeZone::named("Europe/Berlin").unwrap());
    for (time, amount) in [
        ("2026-11-10T22:30:00Z", 1),
        ("2026-11-10T23:30:00Z", 10),
        ("2026-11-11T12:00:00Z", 100),
        ("2026-11-11T12:59:59Z", 1_000),
    ] {
        buckets.add(at(time), &zone, key("a", None), &cost(amount));
    }
    let since = |buckets: &Buckets, text: &str, now: &str| {
        sum(buckets, buckets.first(at(text), at(now), &zone))
    };
    let now = "2026-11-11T13:00:00Z";
    assert_eq!(since(&buckets, "2026-11-11T12:59:00Z", now), 1_100, "an hour is a whole");
    assert_eq!(since(&buckets, "2026-11-10T23:59:00Z", now), 1_110);
    let changes = buckets.changes().unwrap();
    assert_eq!((changes.rows.len(), changes.removed.len()), (3, 0));

    let later = "2026-11-20T13:00:00Z";
    buckets.age(at(later), &zone);
    assert!(buckets.hours.is_empty());
    let days: Vec<_> = buckets.days.keys().copied().collect();
    let starts = ["2026-11-09T23:00:00Z", "2026-11-10T23:00:00Z"].map(|day| at(day).as_second());
    assert_eq!(days, starts);
    assert_eq!(since(&buckets, "2026-11-11T12:59:00Z", later), 1_110, "a day is a whole");
    let changes = buckets.changes().unwrap();
    assert_eq!((changes.rows.len(), changes.removed.len()), (2, 3));
    buckets.age(at("2028-01-01T00:00:00Z"), &zone);
    assert_eq!((sum(&buckets, Start::MIN), buckets.days.len()), (0, 0));
}

#[test]
fn a_full_bucket_adds_up_the_others() {
    let (mut buckets, zone) = (Buckets::default(), TimeZone::default());
    let now = Timestamp::UNIX_EPOCH;
    for tenant in 0..3 * ROWS {
        let tenant = tenant.to_string();
        buckets.add(now, &zone, key("a", Some(&tenant)), &cost(1));
    }
    let of = |buckets: &Buckets, key: &Key| {
        buckets.rows(Start::MIN).filter(|(row, _)| *row == key).count()
    };
    assert_eq!(buckets.rows(Start::MIN).count(), ROWS + 1);
    assert_eq!(of(&buckets, &key("a", Some(OTHERS))), 1);
    for deployment in 0..3 * ROWS {
        buckets.add(now, &zone, key(&format!("d{deployment}"), None), &cost(1));
    }
    buckets.add(now, &zone, key("last", Some("acme")), &cost(1));
    assert_eq!(buckets.rows(Start::MIN).count(), 2 * ROWS + 2);
    assert_eq!(sum(&buckets, Start::MIN), 6 * ROWS as u128 + 1, "nothing is lost");
}

#[test]
fn what_could_not_be_written_is_written_with_its_later_sum() {
    let (mut buckets, zone) = (Buckets::default(), TimeZone::default());
    let now = Timestamp::UNIX_EPOCH;
    buckets.add(now, &zone, key("a", None), &cost(1));
    let changes = buckets.changes().unwrap();
    buckets.unwritten = Default::default();
    assert!(buckets.changes().is_none());
    buckets.add(now, &zone, key("b", None), &cost(2));
    buckets.add(now, &zone, key("a", None), &cost(4));
    buckets.unwritten.restore(changes);
    let rows = buckets.changes().unwrap().rows;
    assert_eq!(rows.iter().map(|row| row.3).collect::<Vec<_>>(), [cost(5), cost(2)]);
}

#[test]
fn an_earlier_file_keeps_no_hour_that_is_in_a_day() {
    let (mut buckets, zone) = (Buckets::default(), TimeZone::default());
    let [hour, kept, now] =
        ["2026-11-10T12:00:00Z", "2026-11-19T12:00:00Z", "2026-11-20T12:00:00Z"].map(at);
    buckets.add(hour, &zone, key("a", None), &cost(1));
    buckets.add(kept, &zone, key("a", None), &cost(2));
    buckets.age(now, &zone);
    let Changes { removed, rows } = buckets.all(now);
    assert_eq!(
        rows.iter().map(|row| (row.0, row.3)).collect::<Vec<_>>(),
        [(Span::Day, cost(1)), (Span::Hour, cost(2)),]
    );
    let [(Span::Hour, starts)] = &*removed else { panic!("{removed:?}") };
    assert!(starts.contains(&hour.as_second()) && !starts.contains(&kept.as_second()));
}
