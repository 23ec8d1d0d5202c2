//! A model of an inference engine: a line, places, prefill and decode.
//!
//! The engine runs as many sequences at a time as it has places. Others wait in its line, first
//! come first served. Prefill reads a sequence and gives its first token. Decode then writes the
//! rest. Running sequences share the engine as in continuous batching, where a larger batch takes
//! longer per step: with `n` of them each is written at `decode / (1 + slowdown * (n - 1))` tokens
//! per second. With `slowdown: 0` the engine is the textbook's queue with several servers, and is
//! tested against it.
//!
//! An engine may be [held](Engine::hold): it then gives no first token. Its [pace](Engine::set_pace)
//! is the factor on its speed.
//!
//! The engine has no clock. Its owner asks for the time of the [`next`](Engine::next) change, and
//! lets it [`advance`](Engine::advance) to that time.

use std::collections::VecDeque;
use std::time::Duration;

/// Remaining tokens below this count as none, because of rounding.
const NOTHING: f64 = 1e-6;

/// The speed of an engine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Speed {
    /// Sequences that run at a time, at least 1.
    pub(super) parallel: usize,
    /// Tokens per second of a sequence that runs alone, above 0.
    pub(super) decode: f64,
    /// Relative increase of a step's time for each further sequence, at least 0.
    pub(super) slowdown: f64,
}

/// The work of one request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Job {
    /// Index of the attempt.
    pub(super) id: usize,
    /// Time to read the prompt.
    pub(super) prefill: Duration,
    /// Tokens to write.
    pub(super) tokens: f64,
}

/// A stage that a job has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It has a place.
    Started,
    /// The prompt is read and the first token written.
    FirstToken,
    /// The last token is written and the place is free.
    Done,
}

#[derive(Debug)]
pub(super) struct Engine {
    speed: Speed,
    line: VecDeque<Job>,
    running: Vec<Running>,
    /// Tokens that a sequence running from the start would have written. All sequences write at the
    /// same rate, so this one counter serves all.
    given: f64,
    /// Time up to which `given` is counted.
    at: Duration,
    /// Factor on the speed, above 0.
    pace: f64,
    /// Until then no job starts.
    held_until: Duration,
    next: Option<Duration>,
}

#[derive(Debug)]
struct Running {
    job: Job,
    doing: Doing,
}

#[derive(Debug, Clone, Copy)]
enum Doing {
    /// Prefill, until this time.
    Reading(Duration),
    /// Decode, until `given` reaches this value.
    Writing(f64),
}

impl Engine {
    pub(super) fn new(speed: Speed) -> Self {
        let (line, running, at) = Default::default();
        Self { speed, line, running, given: 0.0, at, pace: 1.0, held_until: at, next: None }
    }

    /// Requests that it works on, and those in its line.
    pub(super) fn load(&self) -> (usize, usize) {
        (self.running.len(), self.line.len())
    }

    /// True if further jobs would wait behind `queue` others.
    pub(super) fn has_waiting(&self, queue: usize) -> bool {
        self.running.len() + self.line.len() >= self.speed.parallel + queue
    }

    /// Sets the factor on the speed, above 0. Prompts that are being read keep the speed at which
    /// their reading began.
    pub(super) fn set_pace(&mut self, pace: f64, now: Duration) {
        self.count(now);
        self.pace = pace;
        self.plan();
    }

    /// Lets no job start before `until`. Those whose prompt is being read pause until then. Jobs
    /// that have given their first token go on.
    pub(super) fn hold(&mut self, until: Duration, now: Duration) {
        self.count(now);
        let pause = until.saturating_sub(now.max(self.held_until));
        for running in &mut self.running {
            if let Doing::Reading(end) = &mut running.doing {
                *end += pause;
            }
        }
        self.held_until = self.held_until.max(until);
        self.plan();
    }

    /// Adds a job to the line. [`advance`](Self::advance) reports its stages.
    pub(super) fn submit(&mut self, job: Job, now: Duration) {
        self.count(now);
        self.line.push_back(job);
        self.plan();
    }

    /// Removes a job, whether it waits or runs.
    pub(super) fn cancel(&mut self, id: usize, now: Duration) {
        self.count(now);
        self.line.retain(|job| job.id != id);
        self.running.retain(|running| running.job.id != id);
        self.plan();
    }

    /// Time of the next change, unless a job is submitted or cancelled before it.
    pub(super) fn next(&self) -> Option<Duration> {
        self.next
    }

    /// Advances to `now`, which must not be past [`next`](Self::next). Returns the stages reached
    /// then.
    pub(super) fn advance(&mut self, now: Duration) -> Vec<(usize, Stage)> {
        self.count(now);
        let mut happened = Vec::new();
        let given = self.given;
        self.running.retain_mut(|Running { job, doing }| match *doing {
            Doing::Reading(until) if until <= now => {
                happened.push((job.id, Stage::FirstToken));
                *doing = Doing::Writing(given + job.tokens);
                true
            }
            Doing::Writing(until) if until <= given + NOTHING => {
                happened.push((job.id, Stage::Done));
                false
            }
            _ => true,
        });
        while self.running.len() < self.speed.parallel
            && now >= self.held_until
            && let Some(job) = self.line.pop_front()
        {
            happened.push((job.id, Stage::Started));
            let end = now + self.at_pace(job.prefill);
            self.running.push(Running { job, doing: Doing::Reading(end) });
        }
        self.plan();
        happened
    }

    /// Tokens per second of each running sequence.
    fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "no engine has 2^52 places")]
        let others = self.running.len().saturating_sub(1) as f64;
        self.pace * self.speed.decode / (1.0 + self.speed.slowdown * others)
    }

    /// The time that work takes at the present pace.
    fn at_pace(&self, time: Duration) -> Duration {
        if self.pace == 1.0 { time } else { super::random::seconds(time.as_secs_f64() / self.pace) }
    }

    fn count(&mut self, now: Duration) {
        self.given += self.rate() * now.saturating_sub(self.at).as_secs_f64();
        self.at = self.at.max(now);
    }

    fn plan(&mut self) {
        if !self.line.is_empty() && self.running.len() < self.speed.parallel {
            self.next = Some(self.at.max(self.held_until));
            if self.held_until <= self.at {
                return;
            }
        } else {
            self.next = None;
        }
        let rate = self.rate();
        let end = |running: &Running| match running.doing {
            Doing::Reading(until) => until,
            Doing::Writing(until) => {
                let left = (until - self.given).max(0.0) / rate;
                // Rounded up, so that the tokens are complete at that time.
                self.at + super::random::seconds(left) + Duration::from_nanos(1)
            }
        };
        self.next = self.running.iter().map(end).chain(self.next).min();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: usize, prefill: u64, tokens: f64) -> Job {
        Job { id, prefill: Duration::from_secs(prefill), tokens }
    }

    fn run(engine: &mut Engine) -> Vec<(u64, usize, Stage)> {
        let mut all = Vec::new();
        while let Some(now) = engine.next() {
            let happened = engine.advance(now);
            all.extend(happened.into_iter().map(|(id, stage)| (now.as_millis() as u64, id, stage)));
        }
        all
    }

    #[test]
    fn who_finds_no_place_waits_for_one() {
        let mut engine = Engine::new(Speed { parallel: 1, decode: 10.0, slowdown: 0.0 });
        engine.submit(job(0, 1, 20.0), Duration::ZERO);
        engine.submit(job(1, 1, 10.0), Duration::ZERO);
        let want = [
            (0, 0, Stage::Started),
            (1000, 0, Stage::FirstToken),
            (3000, 0, Stage::Done),
            (3000, 1, Stage::Started),
            (4000, 1, Stage::FirstToken),
            (5000, 1, Stage::Done),
        ];
        assert_eq!(run(&mut engine), want);
    }

    #[test]
    fn those_who_run_together_slow_each_other_down() {
        let mut engine = Engine::new(Speed { parallel: 2, decode: 10.0, slowdown: 1.0 });
        engine.submit(job(0, 0, 10.0), Duration::ZERO);
        engine.submit(job(1, 0, 20.0), Duration::ZERO);
        let done: Vec<_> =
            run(&mut engine).into_iter().filter(|(_, _, stage)| *stage == Stage::Done).collect();
        // Both write 5 tokens per second until the first is done. Then the other writes 10.
        assert_eq!(done, [(2000, 0, Stage::Done), (3000, 1, Stage::Done)]);
    }

    #[test]
    fn a_held_engine_gives_no_first_token_and_goes_on_with_what_has_one() {
        let mut engine = Engine::new(Speed { parallel: 3, decode: 10.0, slowdown: 0.0 });
        let second = Duration::from_secs(1);
        engine.submit(job(0, 1, 30.0), Duration::ZERO);
        engine.advance(Duration::ZERO);
        engine.advance(second);
        engine.submit(job(1, 2, 10.0), second);
        engine.advance(second);
        engine.hold(10 * second, 2 * second);
        // A hold within a hold changes nothing.
        engine.hold(5 * second, 3 * second);
        engine.submit(job(2, 1, 10.0), 3 * second);
        let want = [
            (4000, 0, Stage::Done),
            (10_000, 2, Stage::Started),
            (11_000, 1, Stage::FirstToken),
            (11_000, 2, Stage::FirstToken),
            (12_000, 1, Stage::Done),
            (12_000, 2, Stage::Done),
        ];
        assert_eq!(run(&mut engine), want);
    }

    #[test]
    fn the_pace_counts_from_its_change_on() {
        let mut engine = Engine::new(Speed { parallel: 1, decode: 10.0, slowdown: 0.0 });
        engine.submit(job(0, 0, 20.0), Duration::ZERO);
        engine.submit(job(1, 1, 10.0), Duration::ZERO);
        engine.advance(Duration::ZERO);
        engine.advance(Duration::ZERO);
        // 10 tokens at 10 a second, 10 at 5.
        engine.set_pace(0.5, Duration::from_secs(1));
        let want = [
            (3000, 0, Stage::Done),
            (3000, 1, Stage::Started),
            (5000, 1, Stage::FirstToken),
            (7000, 1, Stage::Done),
        ];
        assert_eq!(run(&mut engine), want);
    }

    #[test]
    fn a_cancelled_job_makes_place() {
        let mut engine = Engine::new(Speed { parallel: 1, decode: 1.0, slowdown: 0.0 });
        engine.submit(job(0, 100, 1.0), Duration::ZERO);
        engine.submit(job(1, 1, 1.0), Duration::ZERO);
        engine.advance(Duration::ZERO);
        engine.cancel(0, Duration::from_secs(5));
        assert_eq!(run(&mut engine).first(), Some(&(5000, 1, Stage::Started)));
    }
}
