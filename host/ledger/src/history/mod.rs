//! The history of spending: what attempts took and cost, where, for whom, and what machines saved.
//!
//! ```text
//! requests -> Meter (of a deployment) -> fold, every few seconds -> Buckets -> file of the ledger
//! ```
//!
//! Requests only add to atomics. A thread of its own moves their sums into the bucket of the hour, and
//! writes the rows that changed. So neither a slow disk nor a failing one disturbs a request.

mod buckets;
mod file;
mod meter;
mod report;
mod tally;
mod tenants;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use config::TimeZone;
use contract::{Picodollars, Side};
use jiff::Timestamp;

use crate::store::Store;

use buckets::{Buckets, Changes, Key};
use tenants::OTHERS;

pub use buckets::Place;
pub use file::HistoryFile;
pub use meter::Meter;
pub use report::{BadQuery, By, Report, RowName, Since};
pub use tally::{Charge, Spending, Sums, Tally, TokenKind};
pub use tenants::Tenants;

/// Time between two writes: what a crash can lose.
const EVERY: Duration = Duration::from_secs(5);
/// Time between two counts of machines. They cost money without requests, too: counted more often, they
/// would keep an idle disk busy.
const MACHINES: Duration = Duration::from_secs(60);
/// The end of the process waits so long for the last write. A disk that works takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);
/// In milliseconds.
const HOUR: u128 = 3_600_000;

/// A deployment whose attempts are counted.
#[derive(Debug, Clone)]
pub struct Watched {
    /// What its costs are counted under.
    pub place: Arc<Place>,
    /// Where its attempts are counted.
    pub meter: Arc<Meter>,
    /// What its machine costs in an hour: its part, if it shares the machine.
    pub hourly: Option<Picodollars>,
}

/// The history of this process. Reloads and ledgers come and go, it stays.
#[derive(Debug, Default)]
pub struct History {
    state: Mutex<State>,
    /// Wakes the thread early.
    wake: Condvar,
    /// Told when the thread has ended.
    ended: Condvar,
    tenants: Tenants,
}

#[derive(Debug)]
struct State {
    buckets: Buckets,
    watched: Vec<Watched>,
    zone: TimeZone,
    /// When it began.
    since: Timestamp,
    /// The hour of the last fold. Tenants make room for others when it ends.
    hour: i64,
    /// When machines were counted last.
    machines: Instant,
    /// Sums of each known tenant and side since the start, for metrics.
    tenants: BTreeMap<(Arc<str>, Side), Tally>,
    /// None: the history is in memory alone.
    store: Option<Store>,
    /// Why the last write failed.
    failure: Option<String>,
    is_closing: bool,
    /// There is a thread.
    is_running: bool,
}

impl Default for State {
    fn default() -> Self {
        let (buckets, watched, zone, tenants) = Default::default();
        let (hour, store, failure, is_closing, is_running) = Default::default();
        let (since, machines) = (whole(Timestamp::now()), Instant::now());
        Self {
            buckets,
            watched,
            zone,
            since,
            hour,
            machines,
            tenants,
            store,
            failure,
            is_closing,
            is_running,
        }
    }
}

/// A moment without the part of its second.
fn whole(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

impl History {
    /// Names of tenants that have sums of their own.
    #[must_use]
    pub fn tenants(&self) -> &Tenants {
        &self.tenants
    }

    /// Starts the thread that moves sums into buckets and writes them.
    ///
    /// # Errors
    /// If there can be no other thread.
    pub fn start(self: &Arc<Self>) -> std::io::Result<()> {
        let history = Arc::clone(self);
        let run = move || {
            let end = End(&history);
            history.run();
            drop(end);
        };
        self.lock().is_running = true;
        let thread = std::thread::Builder::new().name("cost-history".to_owned()).spawn(run);
        self.lock().is_running &= thread.is_ok();
        thread.map(drop)
    }

    /// Counts the attempts at these deployments from now on. Those of others are counted until their
    /// last request ends. Hours and days begin by the clock of the zone.
    pub fn follow(&self, watched: Vec<Watched>, zone: &TimeZone) {
        let mut state = self.lock();
        // What was counted so far belongs to the old names, prices and hours.
        state.fold(Timestamp::now(), true);
        let is_left =
            |old: &Watched| !watched.iter().any(|new| Arc::ptr_eq(&new.meter, &old.meter));
        let mut left: Vec<_> = state.watched.drain(..).filter(is_left).collect();
        left.iter_mut().for_each(|old| old.hourly = None);
        state.watched = watched;
        state.watched.append(&mut left);
        state.zone = zone.clone();
    }

    /// Keeps the history in a file from now on, and adds what the file has.
    pub fn keep_in(&self, file: HistoryFile) {
        let HistoryFile { store, kept, since } = file;
        let mut state = self.lock();
        let so_far = std::mem::take(&mut state.buckets);
        for (span, start, key, tally) in kept {
            state.buckets.keep(span, start, key, &tally);
        }
        for (span, start, key, tally) in so_far.into_rows() {
            state.buckets.put(span, start, key, &tally);
        }
        state.since = since.map_or(state.since, |since| since.min(state.since));
        state.store = Some(store);
    }

    /// What was spent since a moment.
    #[must_use]
    pub fn report(&self, by: By, since: Since) -> Report {
        self.report_at(by, since, Timestamp::now())
    }

    fn report_at(&self, by: By, since: Since, now: Timestamp) -> Report {
        let mut state = self.lock();
        self.fold(&mut state, now, true);
        let moment = since.moment(now, &state.zone);
        let first = state.buckets.first(moment, now, &state.zone);
        let (mut rows, mut total) = (BTreeMap::<RowName, Sums>::new(), Sums::default());
        // A machine works for all tenants.
        let is_told = |tally: &Tally| by != By::Tenant || tally.has_attempts();
        for (key, tally) in state.buckets.rows(first).filter(|(_, tally)| is_told(tally)) {
            rows.entry(by.name(key)).or_default().add(tally);
            total.add(tally);
        }
        Report {
            by,
            since: Timestamp::from_second(first).unwrap_or(moment),
            until: whole(now),
            recorded_since: state.since,
            is_durable: state.store.is_some(),
            failure: state.failure.clone(),
            rows,
            total,
        }
    }

    /// The sums of each tenant and side since the start of the gateway.
    #[must_use]
    pub fn of_tenants(&self) -> BTreeMap<(Arc<str>, Side), Tally> {
        let mut state = self.lock();
        self.fold(&mut state, Timestamp::now(), false);
        state.tenants.clone()
    }

    /// Writes what is not written yet, and ends the thread. Blocks, for a few seconds at most.
    pub fn close(&self) {
        let mut state = self.lock();
        state.is_closing = true;
        self.wake.notify_one();
        let goes_on = |state: &mut State| state.is_running;
        let waited = self.ended.wait_timeout_while(state, PATIENCE, goes_on);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.is_running {
            tracing::error!("the ledger's file hangs: the last costs are not in the history");
        }
        let store = state.store.take();
        // Closes the file, which may take a while.
        drop(state);
        drop(store);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        loop {
            let state = self.lock();
            let waits = |state: &mut State| !state.is_closing;
            let waited = self.wake.wait_timeout_while(state, EVERY, waits);
            let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            let is_closing = state.is_closing;
            self.fold(&mut state, Timestamp::now(), is_closing);
            drop(state);
            self.write();
            if is_closing {
                return;
            }
        }
    }

    /// Brings the buckets up to date. At the turn of an hour, tenants make room for others.
    fn fold(&self, state: &mut State, now: Timestamp, machines: bool) {
        state.fold(now, machines);
        let hour = now.as_second().div_euclid(3_600);
        if hour != state.hour {
            state.hour = hour;
            self.tenants.turn();
            state.retire(|tenant| self.tenants.is_known(tenant));
            let State { buckets, zone, .. } = state;
            buckets.age(now, zone);
        }
    }

    /// Writes what changed. Without a file, or after an error, nothing is lost: it stays in memory.
    fn write(&self) {
        let mut state = self.lock();
        let Some(store) = state.store.clone() else {
            state.buckets.unwritten = Default::default();
            return;
        };
        let changes = state.buckets.changes();
        state.buckets.unwritten = Default::default();
        let since = state.since;
        drop(state);
        // Also without changes: the file may have been lost.
        let written = store.with(|database, lacks_rows| match &changes {
            _ if lacks_rows => {
                let all = self.lock().buckets.all(Timestamp::now());
                file::write(database, &all, since)
            }
            Some(changes) => file::write(database, changes, since),
            None => Ok(()),
        });
        self.wrote(changes, written);
    }

    fn wrote(&self, changes: Option<Changes>, written: Result<(), redb::Error>) {
        let mut state = self.lock();
        match written {
            Ok(()) => {
                if state.failure.take().is_some() {
                    tracing::info!("the history of costs is written again");
                }
            }
            Err(error) => {
                changes.into_iter().for_each(|changes| state.buckets.unwritten.restore(changes));
                let error = error.to_string();
                if state.failure.replace(error.clone()).is_none() {
                    tracing::error!(%error, "the history of costs cannot be written");
                }
            }
        }
    }
}

/// Tells the end of the thread, also one by a panic.
struct End<'a>(&'a History);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.lock().is_running = false;
        self.0.ended.notify_all();
    }
}

impl State {
    /// Moves the sums of all meters into the bucket of this hour. `machines`: counts them although they
    /// were counted a moment ago.
    fn fold(&mut self, now: Timestamp, machines: bool) {
        self.fold_attempts(now);
        let since = self.machines.elapsed();
        if machines || since >= MACHINES {
            self.machines += since;
            self.count_machines(now, since);
        }
    }

    /// Gives up the sums of tenants that are not known any more.
    fn retire(&mut self, is_known: impl Fn(&str) -> bool) {
        self.watched.iter().for_each(|of| of.meter.retire(&is_known));
        let others: Arc<str> = OTHERS.into();
        let is_kept = |(tenant, _): &(Arc<str>, Side)| is_known(tenant);
        let (kept, gone) = std::mem::take(&mut self.tenants)
            .into_iter()
            .partition::<BTreeMap<_, _>, _>(|(name, _)| is_kept(name));
        self.tenants = kept;
        for ((_, side), tally) in gone {
            self.tenants.entry((Arc::clone(&others), side)).or_default().add(&tally);
        }
    }

    fn fold_attempts(&mut self, now: Timestamp) {
        let Self { buckets, watched, zone, tenants, .. } = self;
        watched.retain(|Watched { place, meter, .. }| {
            // Asked first: nobody adds to a meter that nobody else has.
            let is_used = Arc::strong_count(meter) > 1;
            meter.fold(|tenant, new| {
                if let Some(tenant) = tenant {
                    tenants.entry((Arc::clone(tenant), place.side)).or_default().add(&new);
                }
                let key = Key { place: Arc::clone(place), tenant: tenant.cloned() };
                buckets.add(now, zone, key, &new);
            });
            is_used
        });
    }

    /// Counts what machines cost in this time.
    fn count_machines(&mut self, now: Timestamp, time: Duration) {
        let Self { buckets, watched, zone, .. } = self;
        for Watched { place, hourly, .. } in &*watched {
            let Some(hourly) = hourly.filter(|hourly| !hourly.is_zero()) else { continue };
            let cost = u128::from(hourly.get()).saturating_mul(time.as_millis()) / HOUR;
            let cost = Picodollars::new(u64::try_from(cost).unwrap_or(u64::MAX));
            let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            let key = Key { place: Arc::clone(place), tenant: None };
            buckets.add(now, zone, key, &Tally::machine(milliseconds, cost));
        }
    }
}
