//! The numbers that a strategy asks for by name.
//!
//! In a native build, tests set them with [`testing::set_signals`](crate::testing::set_signals).

use crate::Needs;

/// A signal that a strategy asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal {
    /// Its name, such as `engine.waiting`.
    pub name: &'static str,
    /// Whether the strategy works with a gateway that does not know the name. All values are then
    /// NaN.
    pub optional: bool,
}

impl Signal {
    /// A signal without which the strategy does not work.
    #[must_use]
    pub const fn required(name: &'static str) -> Self {
        Self { name, optional: false }
    }

    /// A signal that the strategy can do without.
    #[must_use]
    pub const fn optional(name: &'static str) -> Self {
        Self { name, optional: true }
    }
}

/// Asks for other signals and facts than [`Strategy::SIGNALS`](crate::Strategy::SIGNALS) and
/// [`NEEDS`](crate::Strategy::NEEDS), where the parameters decide which. Works in
/// [`configure`](crate::Strategy::configure) alone; the last good call counts. It must depend on the
/// parameters only.
///
/// # Errors
/// A signal is unknown. The text lists the known ones, for the operator.
pub fn ask(signals: &[String], needs: Needs) -> Result<(), String> {
    inner::ask(signals, needs)
}

/// The values of one call.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Signals {
    values: Vec<f64>,
    columns: usize,
}

impl Signals {
    /// Reads the values of this call. `columns` is the number of signals of deployments that the
    /// strategy asks for. Empty outside of `assign` and `assign_request`.
    #[must_use]
    pub fn read(columns: usize) -> Self {
        Self { values: inner::read_signals(), columns }
    }

    /// The value of a signal at a deployment. `row` counts the deployments of the call, local ones
    /// first; `column` counts the signals of deployments. NaN: unknown.
    #[must_use]
    pub fn of(&self, row: usize, column: usize) -> f64 {
        self.values.get(row * self.columns + column).copied().unwrap_or(f64::NAN)
    }

    /// The value of the nth global signal, in a call with so many deployments. NaN: unknown.
    #[must_use]
    pub fn global(&self, deployments: usize, nth: usize) -> f64 {
        self.values.get(deployments * self.columns + nth).copied().unwrap_or(f64::NAN)
    }
}

#[cfg(target_arch = "wasm32")]
use crate::component as inner;
#[cfg(not(target_arch = "wasm32"))]
use crate::testing::stand_in as inner;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_before_global_values() {
        crate::testing::set_signals(&[1.0, 2.0, 3.0, 4.0, 9.0]);
        let signals = Signals::read(2);
        assert_eq!([signals.of(0, 0), signals.of(0, 1), signals.of(1, 1)], [1.0, 2.0, 4.0]);
        assert_eq!(signals.global(2, 0), 9.0);
        assert!(signals.global(2, 1).is_nan());
        crate::testing::set_signals(&[]);
        assert!(Signals::read(2).of(0, 0).is_nan());
    }
}
