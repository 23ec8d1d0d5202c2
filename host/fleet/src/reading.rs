//! The signals of one call of a strategy.

use std::time::Instant;

use contract::Column;

use super::{Eligible, FleetModel, RequestSignals};

impl Eligible {
    /// The values of `columns` for the deployments that the strategy is asked about: a row for each,
    /// local ones first, then the global ones. Empty if nothing is asked for. NaN: unknown.
    /// `request` is what some of them depend on, and `global` gives the value of a global one.
    #[must_use]
    pub fn signals(
        &self,
        model: &FleetModel,
        columns: &[Option<Column>],
        request: Option<&RequestSignals>,
        global: impl Fn(&Column) -> f64,
        now: Instant,
    ) -> Vec<f64> {
        if columns.is_empty() {
            return Vec::new();
        }
        let rows = self.local.len() + self.remote.len();
        let mut values = Vec::with_capacity((rows + 1) * columns.len());
        // What this host does not know has a row of NaN.
        let is_row =
            |column: &&Option<Column>| column.as_ref().is_none_or(|column| !column.is_global());
        for at in self.local.iter().chain(&self.remote) {
            let deployment = &model.deployments[*at];
            let of = |column: &Option<Column>| match column {
                Some(column) => deployment.signal(column.signal, request, now),
                None => f64::NAN,
            };
            values.extend(columns.iter().filter(is_row).map(of));
        }
        let globals = columns.iter().flatten().filter(|column| column.is_global());
        values.extend(globals.map(global));
        values
    }
}
