//! Reads a few series of a Prometheus text exposition (`/metrics`) while it arrives. Nothing but
//! the wanted series is kept.
//!
//! The text comes from an engine, which may be broken or hostile. Each byte is read once, a line
//! over [`LONGEST_LINE`] is skipped, and at most [`MOST_SERIES`] series are told apart. A number
//! that is not finite or below 0 makes the result of its selector NaN: an unknown number is better
//! than a wrong one.

mod sample;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use super::count;

use sample::Sample;

/// In bytes. A longer line is skipped, and makes its series unreadable.
pub const LONGEST_LINE: usize = 64 << 10;
/// Most series of the wanted names. Selectors of series beyond it are unreadable.
pub const MOST_SERIES: usize = 4096;

/// The series of one name that have these labels, whatever other labels they have.
#[derive(Debug, Clone, Copy)]
pub struct Selector<'a> {
    /// The whole name: `vllm:num_requests_running`.
    pub name: &'a str,
    /// Names and values. An empty value matches a series without the label, too, as in PromQL.
    pub labels: &'a [(String, String)],
}

/// The series that one selector found.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Found {
    series: u32,
    sum: f64,
}

impl Found {
    /// False if there was no such series.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.series > 0
    }

    /// True if there were several such series.
    #[must_use]
    pub fn is_several(&self) -> bool {
        self.series > 1
    }

    /// The sum of all series. NaN if one of them is unreadable, or if there is none.
    #[must_use]
    pub fn sum(&self) -> f64 {
        if self.is_any() { self.sum } else { f64::NAN }
    }

    /// The mean of all series. NaN as in [`sum`](Self::sum).
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.sum() / f64::from(self.series)
    }

    fn add(&mut self, value: f64) {
        self.series = self.series.saturating_add(1);
        // `+ 0.0` makes a zero of -0.
        self.sum += if value.is_finite() && value >= 0.0 { value + 0.0 } else { f64::NAN };
    }
}

/// An exposition that is being read.
#[derive(Debug)]
pub struct Exposition<'a> {
    selectors: Vec<Selector<'a>>,
    found: Vec<Found>,
    /// The names of the selectors, sorted, with the positions of their selectors.
    names: Vec<(&'a str, Vec<usize>)>,
    /// Hashes of the series so far. As in Prometheus, the first of two equal series counts.
    seen: HashSet<u64>,
    hasher: RandomState,
    /// The beginning of a line whose end has not come.
    begun: Vec<u8>,
    /// The rest of the line is skipped, because the line is too long.
    is_skipping: bool,
    /// The name of the last sample, if it is wanted.
    last: Option<usize>,
}

impl<'a> Exposition<'a> {
    /// A reader for these series.
    #[must_use]
    pub fn new(selectors: impl IntoIterator<Item = Selector<'a>>) -> Self {
        let selectors: Vec<_> = selectors.into_iter().collect();
        let mut names: Vec<(&str, Vec<usize>)> = Vec::new();
        for (at, selector) in selectors.iter().enumerate() {
            match names.iter_mut().find(|(name, _)| *name == selector.name) {
                Some((_, positions)) => positions.push(at),
                None => names.push((selector.name, vec![at])),
            }
        }
        names.sort_unstable();
        Self {
            found: vec![Found::default(); selectors.len()],
            selectors,
            names,
            seen: HashSet::new(),
            hasher: RandomState::new(),
            begun: Vec::new(),
            is_skipping: false,
            last: None,
        }
    }

    /// Reads the next bytes.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        count(bytes.len());
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let (rest, next) = (&bytes[..end], &bytes[end + 1..]);
            bytes = next;
            if std::mem::take(&mut self.is_skipping) {
                continue;
            }
            if self.begun.is_empty() {
                self.line(rest);
                continue;
            }
            let mut line = std::mem::take(&mut self.begun);
            if line.len() + rest.len() <= LONGEST_LINE {
                line.extend_from_slice(rest);
                self.line(&line);
            } else {
                self.spoil_named(&line);
            }
            line.clear();
            self.begun = line;
        }
        if self.is_skipping {
            return;
        }
        if self.begun.len() + bytes.len() > LONGEST_LINE {
            let room = LONGEST_LINE - self.begun.len();
            self.begun.extend_from_slice(&bytes[..room]);
            let line = std::mem::take(&mut self.begun);
            self.spoil_named(&line);
            self.is_skipping = true;
        } else {
            self.begun.extend_from_slice(bytes);
        }
    }

    /// What the selectors found, in their order. `is_cut`: more would have followed. The series of
    /// one name stand together, so only those of the last name may be incomplete.
    #[must_use]
    pub fn end(mut self, is_cut: bool) -> Vec<Found> {
        let line = std::mem::take(&mut self.begun);
        if !is_cut {
            self.line(&line);
            return self.found;
        }
        if let Some(name) = self.last {
            self.spoil(name);
        }
        self.spoil_named(&line);
        self.found
    }

    fn line(&mut self, line: &[u8]) {
        if line.len() > LONGEST_LINE {
            self.spoil_named(line);
            return;
        }
        let line = line.trim_ascii();
        if line.is_empty() || line[0] == b'#' {
            return;
        }
        let (name, rest) = split_name(line);
        self.last = self.position(name);
        let Some(at) = self.last else { return };
        match sample::read(rest) {
            Some(sample) => self.take(at, &sample),
            None => self.spoil(at),
        }
    }

    fn take(&mut self, name: usize, sample: &Sample<'_>) {
        // A sum does not depend on the order of the labels.
        let labels = sample.labels.iter().map(|label| self.hasher.hash_one(label));
        let hash = labels.fold(self.hasher.hash_one(name), u64::wrapping_add);
        if self.seen.contains(&hash) {
            return;
        }
        if self.seen.len() >= MOST_SERIES {
            self.spoil(name);
            return;
        }
        self.seen.insert(hash);
        for at in &self.names[name].1 {
            if sample.has(self.selectors[*at].labels) {
                self.found[*at].add(sample.value);
            }
        }
    }

    /// Makes all selectors of a name unreadable.
    fn spoil(&mut self, name: usize) {
        self.names[name].1.iter().for_each(|at| self.found[*at].add(f64::NAN));
    }

    /// Makes the selectors of the name that an unreadable line begins with unreadable.
    fn spoil_named(&mut self, line: &[u8]) {
        let (name, _) = split_name(line.trim_ascii_start());
        if let Some(name) = self.position(name) {
            self.spoil(name);
        }
    }

    fn position(&self, name: &[u8]) -> Option<usize> {
        self.names.binary_search_by(|(known, _)| known.as_bytes().cmp(name)).ok()
    }
}

/// The name at the beginning of a line, and what follows it.
fn split_name(line: &[u8]) -> (&[u8], &[u8]) {
    let end = line.iter().position(|byte| matches!(byte, b'{' | b' ' | b'\t'));
    line.split_at(end.unwrap_or(line.len()))
}
