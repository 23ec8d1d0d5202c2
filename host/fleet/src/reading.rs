//! The signals of one call of a strategy.

use std::time::Instant;

use contract::{Signal, SignalScope};

use super::{Deployment, Eligible, FleetModel};

impl Eligible {
    /// The values of `columns` for the deployments that the strategy is asked about: a row for each,
    /// local ones first, then the global ones. Empty if nothing is asked for. NaN: unknown.
    #[must_use]
    pub fn signals(
        &self,
        model: &FleetModel,
        columns: &[Option<Signal>],
        now: Instant,
    ) -> Vec<f64> {
        if columns.is_empty() {
            return Vec::new();
        }
        let is_global = |column: &Option<Signal>| {
            column.is_some_and(|signal| signal.facts().scope == SignalScope::Global)
        };
        let mut values =
            Vec::with_capacity((self.local.len() + self.remote.len() + 1) * columns.len());
        for at in self.local.iter().chain(&self.remote) {
            let deployment: &Deployment = &model.deployments[*at];
            let of = |column: &Option<Signal>| {
                column.map_or(f64::NAN, |signal| deployment.signal(signal, now))
            };
            values.extend(columns.iter().filter(|column| !is_global(column)).map(of));
        }
        let global = columns.iter().filter(|column| is_global(column)).flatten();
        values.extend(global.map(|signal| model.signal(*signal)));
        values
    }
}

impl Deployment {
    /// The value of a signal. NaN: unknown.
    #[must_use]
    pub fn signal(&self, signal: Signal, _now: Instant) -> f64 {
        match signal {
            Signal::Limit => f64::from(self.slots.limit()),
            _ => f64::NAN,
        }
    }
}

impl FleetModel {
    /// The value of a global signal. NaN: unknown.
    #[must_use]
    pub fn signal(&self, _signal: Signal) -> f64 {
        f64::NAN
    }
}
