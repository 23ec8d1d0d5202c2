//! A moving average that all cores share.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::load::average;

/// About the last twenty samples count. NaN before the first one.
#[derive(Debug)]
pub(super) struct Average(AtomicU64);

impl Default for Average {
    fn default() -> Self {
        Self::of(f64::NAN)
    }
}

impl Average {
    /// Starts with this value, as if it were the average of earlier samples.
    pub(super) const fn of(value: f64) -> Self {
        Self(AtomicU64::new(value.to_bits()))
    }

    /// Adds a sample.
    pub(super) fn add(&self, sample: f64) {
        average(&self.0, sample);
    }

    /// The average. NaN if there are no samples.
    pub(super) fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }

    /// Replaces the average.
    pub(super) fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }
}
