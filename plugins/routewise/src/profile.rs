//! The times to first byte of a deployment, as they were measured.

/// Milliseconds of the window in which measurements count.
pub const WINDOW: u64 = 15 * 60_000;
/// Milliseconds after which they are forgotten.
pub const PRIOR: u64 = 24 * 3_600_000;
/// With fewer measurements in the window, the newest older ones count too, up to this number in all.
const ENOUGH: usize = 10;
/// Milliseconds that a failure before the first byte counts as.
const PENALTY: f64 = 60_000.0;
/// Failures in a row after which a deployment is out, and for how many milliseconds.
const FAILURES: u32 = 3;
const OUT: u64 = 30_000;
/// The most measurements that are kept of a deployment, the newest.
pub const KEPT: usize = 500;

/// Measurements of a deployment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Profile {
    /// Time in milliseconds since 1970 and milliseconds to the first byte, infinite for a failure. In the
    /// order of time.
    pub measured: Vec<(u64, f64)>,
    /// Failures in a row.
    pub streak: u32,
    /// Until when it is out, in milliseconds since 1970.
    pub out_until: u64,
}

impl Profile {
    /// A first byte came.
    pub fn answered(&mut self, now: u64, first_byte: f64) {
        self.add(now, first_byte);
        (self.streak, self.out_until) = (0, 0);
    }

    /// An attempt failed. `began` says if that was after the first byte.
    pub fn failed(&mut self, now: u64, began: bool) {
        if !began {
            self.add(now, f64::INFINITY);
        }
        self.streak = self.streak.saturating_add(1);
        if self.streak >= FAILURES {
            self.out_until = self.out_until.max(now + OUT);
        }
    }

    fn add(&mut self, now: u64, first_byte: f64) {
        let old = self.measured.partition_point(|(at, _)| at + PRIOR < now);
        let many = (self.measured.len() + 1).saturating_sub(KEPT);
        self.measured.drain(..old.max(many));
        self.measured.push((now, first_byte));
    }

    /// True if the deployment is out.
    #[must_use]
    pub fn is_out(&self, now: u64) -> bool {
        self.out_until > now
    }

    /// What is known now.
    #[must_use]
    pub fn view(&self, now: u64) -> View {
        let since = |age: u64| self.measured.partition_point(|(at, _)| at + age < now);
        let window = since(WINDOW);
        let recent = self.measured.len() - window;
        let newest = self.measured.len().saturating_sub(ENOUGH);
        let used = if recent >= ENOUGH { window } else { newest.max(since(PRIOR)) };
        let good = |from: usize| {
            self.measured[from..].iter().map(|(_, time)| *time).filter(|time| time.is_finite())
        };
        let mut times: Vec<f64> = good(used).collect();
        let failures = self.measured.len() - used - times.len();
        let sum = times.iter().sum();
        times.sort_unstable_by(f64::total_cmp);
        // The oldest measurement of the window leaves it first. One of a day ago may stay that much
        // longer.
        let until = self.measured.get(window).map_or(u64::MAX, |(at, _)| at + WINDOW);
        View { times, sum, failures, recent, until }
    }
}

/// What is known of a deployment's times to first byte.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct View {
    /// Those of good answers, in milliseconds, sorted.
    times: Vec<f64>,
    sum: f64,
    failures: usize,
    /// Measurements of the window.
    recent: usize,
    /// The last millisecond for which this holds.
    pub until: u64,
}

#[expect(clippy::cast_precision_loss, reason = "a few hundred")]
impl View {
    /// Good answers.
    #[must_use]
    pub fn good(&self) -> usize {
        self.times.len()
    }

    /// True if nothing was measured in the window.
    #[must_use]
    pub fn is_unmeasured(&self) -> bool {
        self.recent == 0
    }

    /// Expected milliseconds to the first byte.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        let count = self.times.len() + self.failures;
        (count > 0).then(|| (self.sum + self.failures as f64 * PENALTY) / count as f64)
    }

    /// The share of attempts whose first byte comes within so many milliseconds. 0 if nothing is known.
    #[must_use]
    pub fn share_within(&self, time: f64) -> f64 {
        let within = self.times.partition_point(|one| *one <= time);
        within as f64 / (self.times.len() + self.failures).max(1) as f64
    }
}
