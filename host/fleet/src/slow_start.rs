//! Slow start: a deployment that comes back has cold caches, and a full share at once would knock
//! it over again.

use std::time::{Duration, Instant, SystemTime};

use config::SlowStart;

/// Number of times that a ramp changes the published weights.
const STEPS: u32 = 10;

/// The slow start of one deployment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ramp {
    began: Instant,
    pub(super) since: SystemTime,
}

impl Ramp {
    /// Window over which the rate of a model's requests is measured.
    pub const WINDOW: Duration = Duration::from_secs(5);

    /// Begins a ramp at `now`. None if slow start is off, or if `rate`, the model's requests per
    /// second, is too low: a tenth of very few requests is no traffic at all.
    #[must_use]
    pub fn begin(rate: f64, settings: &SlowStart, now: Instant) -> Option<Self> {
        let worth_it = settings.duration.is_some() && rate >= settings.min_rate;
        worth_it.then(|| Self { began: now, since: SystemTime::now() })
    }

    /// Factor on the deployment's weight, which rises linearly to 1. None once the ramp is over.
    pub(super) fn factor(&self, now: Instant, settings: &SlowStart) -> Option<f64> {
        let duration = settings.duration?;
        let passed = now.saturating_duration_since(self.began);
        let part = passed.div_duration_f64(duration);
        (part < 1.0).then_some(settings.from + (1.0 - settings.from) * part)
    }

    /// When the published weights must change next. None once the ramp is over.
    pub(super) fn next(&self, now: Instant, settings: &SlowStart) -> Option<Instant> {
        let duration = settings.duration?;
        let step = (duration / STEPS).max(Duration::from_millis(50));
        let end = self.began + duration;
        (now < end).then(|| end.min(now + step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_rises_in_a_line_to_exactly_all() {
        let (settings, now) = (SlowStart::default(), Instant::now());
        let ramp = Ramp::begin(10.0, &settings, now).expect("enough requests");
        let at = |seconds| ramp.factor(now + Duration::from_secs(seconds), &settings);
        assert_eq!(at(0), Some(0.1));
        assert!((at(5).expect("on the way") - 0.55).abs() < 1e-9);
        assert_eq!(at(10), None);
        assert_eq!(ramp.next(now, &settings), Some(now + Duration::from_secs(1)));
        let late = now + Duration::from_millis(9900);
        assert_eq!(ramp.next(late, &settings), Some(now + Duration::from_secs(10)));
        assert_eq!(ramp.next(now + Duration::from_secs(10), &settings), None);
    }

    #[test]
    fn there_is_none_for_few_requests_or_where_it_is_off() {
        let (settings, now) = (SlowStart::default(), Instant::now());
        assert_eq!(Ramp::begin(9.9, &settings, now), None);
        let off = SlowStart { duration: None, ..settings };
        assert_eq!(Ramp::begin(1e6, &off, now), None);
        let ramp = Ramp::begin(10.0, &settings, now).expect("enough requests");
        assert_eq!(ramp.factor(now, &off), None, "a reload turned it off");
    }
}
