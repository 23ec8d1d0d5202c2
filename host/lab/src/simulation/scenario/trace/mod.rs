//! Reads requests from published traces: Azure's CSV and Mooncake's JSON lines.
//!
//! A trace may be far larger than the part of it that is played. It is read line by line, twice:
//! once for the time of its first request, because lines need no order, and once for the part.

mod azure;
mod mooncake;
#[cfg(test)]
mod tests;

use std::collections::BinaryHeap;
use std::path::Path;
use std::sync::Arc;

use crate::simulation::random::seconds;

use super::lines::Lines;
use super::recorded::Recorded;

pub(in crate::simulation) use mooncake::BLOCK;

/// Maximum number of requests that are played.
const MAX_REQUESTS: usize = 1_000_000;
/// Maximum number of blocks of all requests that are played. They take 128 MiB.
const MAX_BLOCKS: usize = 16 << 20;

/// The part of a trace that is played, and how fast.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    /// Seconds of the trace before the part, at least 0.
    pub(super) from: f64,
    /// Seconds of the simulation that the part fills. None: up to the end.
    pub(super) duration: Option<f64>,
    /// Maximum number of requests.
    pub(super) limit: Option<usize>,
    /// Divides the times, above 0.
    pub(super) speed: f64,
}

/// A request of a trace.
#[derive(Debug)]
struct Traced {
    /// Nanoseconds since a time that is the same for the whole trace.
    at: i128,
    prompt: u32,
    output: u32,
    blocks: Vec<u64>,
}

/// How the lines of a trace are written.
enum Format {
    Azure(azure::Columns),
    Mooncake,
}

/// The requests of a trace.
struct Trace {
    lines: Lines,
    format: Format,
    /// The first line, if it is a request.
    first: Option<Traced>,
}

impl Trace {
    fn open(path: &Path) -> Result<Self, String> {
        let mut lines = Lines::open(path)?;
        let line = lines.next()?.map(str::to_owned);
        let line = line.ok_or_else(|| format!("{}: it has no requests", path.display()))?;
        let read = if line.starts_with('{') {
            mooncake::parse(&line).map(|request| (Format::Mooncake, Some(request)))
        } else {
            azure::Columns::parse(&line).map(|columns| (Format::Azure(columns), None))
        };
        let (format, first) = read.map_err(|cause| lines.error(cause))?;
        Ok(Self { lines, format, first })
    }

    fn next(&mut self) -> Result<Option<Traced>, String> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        let Some(line) = self.lines.next()? else { return Ok(None) };
        let parsed = match &self.format {
            Format::Azure(columns) => columns.request(line),
            Format::Mooncake => mooncake::parse(line),
        };
        parsed.map(Some).map_err(|cause| self.lines.error(cause))
    }
}

/// Reads a part of a trace in order of arrival.
pub(super) fn read(path: &Path, part: Part) -> Result<Vec<Recorded>, String> {
    let name = path.display();
    let mut trace = Trace::open(path)?;
    let mut earliest = None;
    while let Some(Traced { at, .. }) = trace.next()? {
        earliest = Some(earliest.map_or(at, |earliest: i128| earliest.min(at)));
    }
    let earliest = earliest.ok_or_else(|| format!("{name}: it has no requests"))?;
    #[expect(clippy::cast_precision_loss, reason = "exact to the microsecond for 285 years")]
    let since = |at: i128| (at - earliest) as f64 / 1e9 - part.from;
    let to = part.duration.map_or(f64::INFINITY, |duration| duration * part.speed);
    let mut kept = Kept::new(part.limit);
    let mut trace = Trace::open(path)?;
    while let Some(request) = trace.next()? {
        if (0.0..to).contains(&since(request.at)) {
            kept.add(request).map_err(|cause| trace.lines.error(cause))?;
        }
    }
    let requests: Vec<_> = kept.in_order().map(|r| recorded(r, part.speed, since)).collect();
    match requests.is_empty() {
        true => Err(format!("{name}: it has no request between `from` and the end of `duration`")),
        false => Ok(requests),
    }
}

fn recorded(request: Traced, speed: f64, since: impl Fn(i128) -> f64) -> Recorded {
    let Traced { at, prompt, output, blocks } = request;
    let blocks: Arc<[u64]> = blocks.into();
    let (at, output) = (seconds(since(at) / speed), Some(output.max(1)));
    Recorded { at, prompt: prompt.max(1), output, stream: true, blocks }
}

/// The requests of a part: all, or the earliest ones. At equal times lines keep their order.
struct Kept {
    limit: Option<usize>,
    /// The latest request is at the top.
    requests: BinaryHeap<Ranked>,
    blocks: usize,
    /// Number of requests that were added.
    added: usize,
}

impl Kept {
    fn new(limit: Option<usize>) -> Self {
        Self { limit, requests: BinaryHeap::new(), blocks: 0, added: 0 }
    }

    fn add(&mut self, request: Traced) -> Result<(), String> {
        self.blocks += request.blocks.len();
        self.requests.push(Ranked { number: self.added, request });
        self.added += 1;
        if self.limit.is_some_and(|limit| self.requests.len() > limit)
            && let Some(latest) = self.requests.pop()
        {
            self.blocks -= latest.request.blocks.len();
        }
        let help = "set a smaller `limit`, or a `duration`";
        if self.requests.len() > MAX_REQUESTS {
            return Err(format!("more than {MAX_REQUESTS} requests are played; {help}"));
        }
        if self.blocks > MAX_BLOCKS {
            return Err(format!("more than {MAX_BLOCKS} `hash_ids` are played; {help}"));
        }
        Ok(())
    }

    fn in_order(self) -> impl Iterator<Item = Traced> {
        self.requests.into_sorted_vec().into_iter().map(|ranked| ranked.request)
    }
}

/// A request, ordered by time, then by its number.
struct Ranked {
    number: usize,
    request: Traced,
}

impl Ranked {
    fn rank(&self) -> (i128, usize) {
        (self.request.at, self.number)
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

/// Converts a time within the 30,000 years around the zero of a trace to nanoseconds.
fn nanoseconds(time: f64, a_unit: f64) -> Option<i128> {
    let time = time * a_unit;
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
    let nanoseconds = (time.is_finite() && time.abs() < 1e21).then_some(time as i128);
    nanoseconds
}
