//! Keeps the next due time of many positions. It is a heap, so that positions that are not due cost
//! nothing.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// One time, or none, for each position.
#[derive(Debug)]
pub(super) struct Timetable {
    times: Vec<Option<Instant>>,
    /// Holds every time of `times`. Replaced times stay in it, and are skipped.
    heap: BinaryHeap<Reverse<(Instant, usize)>>,
}

impl Timetable {
    /// Starts with this many positions, none of them due.
    pub(super) fn new(positions: usize) -> Self {
        Self { times: vec![None; positions], heap: BinaryHeap::new() }
    }

    /// Replaces the time of a position.
    pub(super) fn set(&mut self, at: usize, time: Option<Instant>) {
        if self.times[at] == time {
            return;
        }
        self.times[at] = time;
        if let Some(time) = time {
            self.heap.push(Reverse((time, at)));
        }
        // Replaced times must not pile up.
        if self.heap.len() > 2 * self.times.len() + 16 {
            let times = self.times.iter().enumerate();
            self.heap = times.filter_map(|(at, time)| Some(Reverse(((*time)?, at)))).collect();
        }
    }

    /// The earliest time.
    pub(super) fn next(&mut self) -> Option<Instant> {
        while let Some(Reverse((time, at))) = self.heap.peek() {
            if self.times[*at] == Some(*time) {
                return Some(*time);
            }
            self.heap.pop();
        }
        None
    }

    /// Takes a position that is due at `now`. It has no time after that.
    pub(super) fn pop(&mut self, now: Instant) -> Option<usize> {
        self.next().filter(|time| *time <= now)?;
        let Reverse((_, at)) = self.heap.pop()?;
        self.times[at] = None;
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    /// Steps on a table: set a position to a time in so many milliseconds, or to none, then let
    /// some milliseconds pass.
    fn deeds() -> impl Strategy<Value = Vec<(usize, Option<u64>, u64)>> {
        prop::collection::vec((0..8usize, prop::option::of(0..50u64), 0..5u64), 0..200)
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_plain_list(deeds in deeds()) {
            let mut now = Instant::now();
            let (mut table, mut list) = (Timetable::new(8), [None; 8]);
            for (at, millis, passes) in deeds {
                let time = millis.map(|millis| now + Duration::from_millis(millis));
                table.set(at, time);
                list[at] = time;
                prop_assert_eq!(table.next(), list.iter().copied().flatten().min());
                prop_assert!(table.heap.len() <= 2 * list.len() + 16);
                now += Duration::from_millis(passes);
                let mut due: Vec<usize> = std::iter::from_fn(|| table.pop(now)).collect();
                due.sort_unstable();
                let is_due = |at: &usize| list[*at].is_some_and(|time| time <= now);
                let expected: Vec<usize> = (0..list.len()).filter(is_due).collect();
                prop_assert_eq!(&due, &expected);
                expected.iter().for_each(|at| list[*at] = None);
            }
        }
    }
}
