//! The signals of one call of a strategy.

use std::time::Instant;

use contract::{Signal, SignalScope};

use super::{Eligible, FleetModel, RequestSignals};

impl Eligible {
    /// The values of `columns` for the deployments that the strategy is asked about: a row for each,
    /// local ones first, then the global ones. Empty if nothing is asked for. NaN: unknown.
    /// `request` is what some of them depend on, and `number` gives that of the request.
    #[must_use]
    pub fn signals(
        &self,
        model: &FleetModel,
        columns: &[Option<Signal>],
        request: Option<&RequestSignals>,
        number: impl Fn() -> f64,
        now: Instant,
    ) -> Vec<f64> {
        if columns.is_empty() {
            return Vec::new();
        }
        let is_global = |column: &Option<Signal>| {
            column.is_some_and(|signal| signal.facts().scope == SignalScope::Global)
        };
        let rows = self.local.len() + self.remote.len();
        let mut values = Vec::with_capacity((rows + 1) * columns.len());
        for at in self.local.iter().chain(&self.remote) {
            let deployment = &model.deployments[*at];
            let of = |column: &Option<Signal>| {
                column.map_or(f64::NAN, |signal| deployment.signal(signal, request, now))
            };
            values.extend(columns.iter().filter(|column| !is_global(column)).map(of));
        }
        values.extend(columns.iter().filter(|column| is_global(column)).map(|_| number()));
        values
    }
}
