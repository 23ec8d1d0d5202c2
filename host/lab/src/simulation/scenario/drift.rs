//! The speed of an engine over time.

use std::f64::consts::TAU;
use std::time::Duration;

use crate::simulation::random::seconds;

/// Pieces of a wave. The speed is constant within each.
const PIECES: f64 = 48.0;

/// How the speed of an engine changes.
#[derive(Debug, Clone, PartialEq)]
pub enum Drift {
    /// A sine wave, which begins at the configured speed and rises.
    Wave {
        /// Seconds of one wave.
        period: f64,
        /// The largest deviation from the configured speed, relative to it. Less than 1.
        amplitude: f64,
    },
    /// Speeds relative to the configured one, each from its time on. Ordered by time.
    Steps(Vec<(Duration, f64)>),
}

impl Drift {
    /// The times at which the speed changes, each with the speed from then on, relative to the
    /// configured one.
    pub(in crate::simulation) fn changes(&self) -> Box<dyn Iterator<Item = (Duration, f64)> + '_> {
        match self {
            Self::Steps(steps) => Box::new(steps.iter().copied()),
            Self::Wave { period, amplitude } => Box::new((0_u32..).map(move |piece| {
                let (from, middle) = (f64::from(piece), f64::from(piece) + 0.5);
                let speed = 1.0 + amplitude * (TAU * middle / PIECES).sin();
                (seconds(from * period / PIECES), speed)
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wave_rises_falls_and_is_the_configured_speed_on_average() {
        let wave = Drift::Wave { period: 480.0, amplitude: 0.5 };
        let one: Vec<_> = wave.changes().take(48).collect();
        assert_eq!((one[0].0, one[1].0), (Duration::ZERO, Duration::from_secs(10)));
        let speeds = || one.iter().map(|(_, speed)| *speed);
        assert!((speeds().sum::<f64>() / 48.0 - 1.0).abs() < 1e-9);
        assert!((speeds().fold(0.0, f64::max) - 1.5).abs() < 0.01);
        assert!((speeds().fold(2.0, f64::min) - 0.5).abs() < 0.01);
        assert!(one[11].1 > 1.49 && one[35].1 < 0.51);
    }
}
