//! Measures the time of guest calls, as their CPU share is charged.
//!
//! A thread's CPU clock is exact and does not run while the thread is preempted, but each reading
//! is a system call: two of them would add a quarter to a call of one microsecond. Wall time is read
//! without one, and is never less than CPU time. So calls are measured by wall time while their mean
//! is far below [`MeanTime::FREE`], because then nothing is charged, and by CPU time else. So is the
//! call after one that seemed long. Wall time is never charged: a preempted call costs nothing.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use contract::MeanTime;

/// Measures one call, which may be polled on a runtime beside other tasks: their time is left out.
pub(super) struct Meter {
    is_exact: bool,
    spent: Cell<Duration>,
}

impl Meter {
    /// For the next call of an instance whose calls took `mean` so far.
    pub(super) fn of(mean: MeanTime) -> Self {
        Self { is_exact: !mean.is_far_from_charged(), spent: Cell::default() }
    }

    /// Runs a call, and measures as much of it as is polled.
    pub(super) async fn measure<T>(&self, mut call: Pin<&mut impl Future<Output = T>>) -> T {
        poll_fn(|cx| match self.is_exact {
            true => {
                let began = cpu_time();
                let polled = call.as_mut().poll(cx);
                self.add(cpu_time().saturating_sub(began));
                polled
            }
            false => {
                let began = Instant::now();
                let polled = call.as_mut().poll(cx);
                self.add(began.elapsed());
                polled
            }
        })
        .await
    }

    fn add(&self, time: Duration) {
        self.spent.set(self.spent.get() + time);
    }

    /// Adds the call to `mean`. Returns the CPU time that it is charged for.
    pub(super) fn settle(&self, mean: &mut MeanTime) -> Duration {
        let spent = self.spent.get();
        match self.is_exact {
            true => mean.add(spent),
            false => mean.add_at_most(spent),
        }
        match self.is_exact && !mean.is_free() {
            true => spent,
            false => Duration::ZERO,
        }
    }
}

/// CPU time of this thread.
fn cpu_time() -> Duration {
    // Neither part can be negative on this clock.
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// Polls a call of a thread whose calls took `mean` before.
    fn charged(mean: &mut MeanTime, mut act: impl FnMut()) -> Duration {
        let meter = Meter::of(*mean);
        let call = pin!(poll_fn(|_| {
            act();
            Poll::Ready(())
        }));
        let measured = pin!(meter.measure(call));
        assert!(measured.poll(&mut Context::from_waker(Waker::noop())).is_ready());
        meter.settle(mean)
    }

    fn compute(time: Duration) {
        let began = cpu_time();
        while cpu_time() - began < time {}
    }

    #[test]
    fn computing_is_charged_and_waiting_is_not() {
        let mut mean = MeanTime::default();
        let time = Duration::from_millis(20);
        let charge = charged(&mut mean, || compute(time));
        assert!(charge >= time, "{charge:?}");
        let mut mean = MeanTime::default();
        let charge = charged(&mut mean, || std::thread::sleep(time));
        assert!(charge < time / 2, "{charge:?}");
    }

    #[test]
    fn quick_calls_are_free_and_the_second_slow_one_is_charged() {
        let mut mean = MeanTime::default();
        let charges: Vec<_> = (0..1_000).map(|_| charged(&mut mean, || ())).collect();
        assert!(mean.is_far_from_charged());
        assert_eq!(charges.last(), Some(&Duration::ZERO));
        let time = Duration::from_millis(5);
        assert_eq!(charged(&mut mean, || compute(time)), Duration::ZERO);
        assert!(charged(&mut mean, || compute(time)) >= time);
    }
}
