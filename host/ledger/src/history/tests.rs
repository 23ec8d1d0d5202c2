#![allow(clippy::unwrap_used)]

use std::path::Path;

use super::*;
use crate::Ledger;

fn place(name: &str, side: Side) -> Arc<Place> {
    Arc::new(Place { model: "m".into(), deployment: name.into(), side })
}

fn watched(name: &str, side: Side, meter: &Arc<Meter>) -> Watched {
    Watched { place: place(name, side), meter: Arc::clone(meter), hourly: None }
}

fn charge(cost: u64) -> Charge {
    let (spending, is_estimated, tokens) = (Spending::Answered, false, [10, 0, 1, 0]);
    let [cost, saved] = [cost, 1].map(Picodollars::new);
    Charge { spending, is_estimated, tokens, cost, saved }
}

/// What rows of a report cost, by name.
fn costs(history: &History, by: By) -> Vec<(RowName, u128)> {
    let report = history.report(by, Since::Back(jiff::SignedDuration::from_hours(24)));
    let sum: u128 = report.rows.values().map(Sums::total).sum();
    assert_eq!(sum, report.total.total());
    report.rows.into_iter().map(|(name, sums)| (name, sums.total())).collect()
}

fn total(history: &History) -> u128 {
    costs(history, By::Side).into_iter().map(|(_, cost)| cost).sum()
}

fn open(path: &Path) -> (Ledger, Arc<History>) {
    let ledger = Ledger::open(path).unwrap();
    let history = Arc::new(History::default());
    history.keep_in(ledger.take_history().unwrap());
    (ledger, history)
}

#[test]
fn each_grouping_has_the_same_sum() {
    let history = History::default();
    let [gpu, api] = [(); 2].map(|()| Arc::new(Meter::default()));
    let all = vec![watched("gpu", Side::Local, &gpu), watched("api", Side::Remote, &api)];
    history.follow(all, &TimeZone::default());
    let acme = history.tenants().name("acme");
    gpu.add(None, &charge(1));
    gpu.add(Some(&acme), &charge(10));
    api.add(Some(&acme), &charge(100));
    let named = |change: &dyn Fn(&mut RowName)| {
        let mut name = RowName::default();
        change(&mut name);
        name
    };
    let side = |side| named(&|name| name.side = Some(side));
    assert_eq!(costs(&history, By::Side), [(side(Side::Local), 11), (side(Side::Remote), 100)]);
    let tenant = named(&|name| name.tenant = Some("acme".into()));
    assert_eq!(costs(&history, By::Tenant), [(RowName::default(), 1), (tenant, 110)]);
    let model = named(&|name| name.model = Some("m".into()));
    assert_eq!(costs(&history, By::Model), [(model, 111)]);
    assert_eq!(costs(&history, By::Deployment).len(), 2);
    let known = history.of_tenants();
    assert_eq!(known.len(), 2);
    assert_eq!(known[&(acme, Side::Local)].cost(Spending::Answered).get(), 10);
}

#[test]
fn a_deployment_that_is_gone_counts_until_its_last_request_ends() {
    let history = History::default();
    let meter = Arc::new(Meter::default());
    history.follow(vec![watched("old", Side::Local, &meter)], &TimeZone::default());
    meter.add(None, &charge(1));
    let in_flight = Arc::clone(&meter);
    history.follow(vec![watched("new", Side::Local, &meter)], &TimeZone::default());
    meter.add(None, &charge(10));
    drop(meter);
    history.follow(Vec::new(), &TimeZone::default());
    in_flight.add(None, &charge(100));
    drop(in_flight);
    let names = costs(&history, By::Deployment);
    let names = names.iter().map(|(name, cost)| (name.deployment.as_deref(), *cost));
    assert_eq!(names.collect::<Vec<_>>(), [(Some("new"), 110), (Some("old"), 1)]);
    assert!(history.lock().watched.is_empty());
}

#[test]
fn a_file_keeps_it_and_what_was_before_is_added_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.redb");
    let meter = Arc::new(Meter::default());
    let mut began = None;
    for round in 1..4 {
        let history = Arc::new(History::default());
        history.follow(vec![watched("gpu", Side::Local, &meter)], &TimeZone::default());
        history.start().unwrap();
        meter.add(Some(&history.tenants().name("acme")), &charge(1));
        assert_eq!(total(&history), 1);
        // The ledger is opened by a later reload.
        let ledger = Ledger::open(&path).unwrap();
        history.keep_in(ledger.take_history().unwrap());
        assert_eq!(total(&history), round);
        let report = history.report(By::Side, Since::This(config::Period::Month));
        assert!(report.is_durable && report.failure.is_none());
        let since = *began.get_or_insert(report.recorded_since.as_second());
        assert_eq!(report.recorded_since.as_second(), since);
        history.close();
        ledger.close();
    }
}

#[test]
fn a_write_that_fails_is_made_up_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.redb");
    let meter = Arc::new(Meter::default());
    {
        let (ledger, history) = open(&path);
        history.follow(vec![watched("gpu", Side::Local, &meter)], &TimeZone::default());
        meter.add(None, &charge(1));
        assert_eq!(total(&history), 1);
        let changes = history.lock().buckets.changes().unwrap();
        history.lock().buckets.unwritten = Default::default();
        history.wrote(Some(changes), Err(redb::Error::Io(std::io::ErrorKind::StorageFull.into())));
        meter.add(None, &charge(2));
        let report = history.report(By::Side, Since::This(config::Period::Day));
        assert!(report.failure.is_some_and(|words| !words.is_empty()));
        history.write();
        assert_eq!(history.lock().failure, None);
        history.write();
        ledger.close();
    }
    let (_ledger, history) = open(&path);
    assert_eq!(total(&history), 3);
}

#[test]
fn a_file_that_is_lost_gets_the_whole_history() {
    let folder = tempfile::tempdir().unwrap();
    let [path, backup] = ["ledger.redb", "backup.redb"].map(|name| folder.path().join(name));
    let meter = Arc::new(Meter::default());
    {
        let (ledger, history) = open(&path);
        history.follow(vec![watched("gpu", Side::Local, &meter)], &TimeZone::default());
        meter.add(None, &charge(1));
        assert_eq!(total(&history), 1);
        history.write();
        std::fs::copy(&path, &backup).unwrap();
        history.write();
        std::fs::remove_file(&path).unwrap();
        history.write();
        assert!(path.exists(), "without a new cost");
        meter.add(None, &charge(10));
        assert_eq!(total(&history), 11);
        std::fs::rename(&backup, &path).unwrap();
        history.write();
        assert_eq!(history.lock().failure, None);
        history.close();
        ledger.close();
    }
    let (_ledger, history) = open(&path);
    assert_eq!(total(&history), 11);
}

#[test]
fn machines_cost_their_time() {
    let history = History::default();
    let [meter, free] = [(); 2].map(|()| Arc::new(Meter::default()));
    let hourly = Some(Picodollars::new(3_600_000));
    let mine = Watched { hourly, ..watched("gpu", Side::Local, &meter) };
    history.follow(vec![mine, watched("free", Side::Local, &free)], &TimeZone::default());
    let begin = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
    history.lock().machines = begin;
    let report = history.report(By::Deployment, Since::Back(jiff::SignedDuration::from_hours(1)));
    let (name, sums) = report.rows.first_key_value().unwrap();
    assert_eq!((name.deployment.as_deref(), report.rows.len()), (Some("gpu"), 1));
    let (time, cost) = sums.machine();
    assert!((60_000..120_000).contains(&time), "{time}");
    assert_eq!(time, cost, "a picodollar a millisecond");
    assert_eq!(report.total.total(), 0, "it is no part of the cost of requests");
}

#[test]
fn tenants_that_are_gone_leave_the_metrics_to_others() {
    let history = History::default();
    let meter = Arc::new(Meter::default());
    history.follow(vec![watched("gpu", Side::Local, &meter)], &TimeZone::default());
    for hour in 0..5 {
        for tenant in 0..100 {
            let name = history.tenants().name(&format!("{hour}-{tenant}"));
            meter.add(Some(&name), &charge(1));
        }
        // An hour without them gives up their names.
        for _ in 0..2 {
            history.lock().hour = 0;
            drop(history.of_tenants());
        }
        assert!(history.of_tenants().len() <= 101);
    }
    let all = history.of_tenants();
    let sum: u64 = all.values().map(|tally| tally.cost(Spending::Answered).get()).sum();
    assert_eq!((sum, all.len()), (500, 1));
    assert_eq!(total(&history), 500);
}
