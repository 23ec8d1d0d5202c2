//! What the series of an engine's metrics say of its load.

use answers::exposition::{Found, Selector};
use config::{ENGINE_SIGNALS, EngineMetrics, Series, Source};
use contract::Signal;
use fleet::EngineNumbers;

/// Counters beyond it are no counters: a float does not hold them exactly.
const MOST_COUNTED: f64 = 9_007_199_254_740_992.0;

/// The counters of a ratio that counts by its growth, at the last scrape.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Counters {
    /// Position of their source.
    source: usize,
    hits: f64,
    queries: f64,
}

/// The result of one scrape for one engine.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Reading {
    /// None: there is no such series, or nothing new. NaN: it is unreadable.
    pub(super) numbers: EngineNumbers<Option<f64>>,
    /// True if a number came from several series, so from several engines.
    pub(super) is_several: bool,
}

/// The series that an engine's sources name. [`reading`] takes what they find, in this order.
pub(super) fn selectors(metrics: &EngineMetrics) -> impl Iterator<Item = Selector<'_>> {
    let sources = (0..ENGINE_SIGNALS.len()).flat_map(|signal| metrics.sources(signal));
    sources.flat_map(|source| {
        let (first, divisor) = match source {
            Source::Plain(series) | Source::Parts(series, _) => (series, &[][..]),
            Source::Quotient(first, divisor) => (first, &divisor[..]),
        };
        std::iter::once(first).chain(divisor).map(select)
    })
}

fn select(Series { name, labels }: &Series) -> Selector<'_> {
    Selector { name, labels }
}

/// The result that the series give. `counters` are those of the last scrape, and become those of
/// this one.
pub(super) fn reading(
    metrics: &EngineMetrics,
    found: &mut impl Iterator<Item = Found>,
    counters: &mut Option<Counters>,
) -> Reading {
    let (before, mut is_several) = (counters.take(), false);
    let numbers = std::array::from_fn(|index| {
        let (signal, mut number) = (ENGINE_SIGNALS[index].0, None);
        // The results of all sources are taken, and the first source that is there counts.
        for (at, source) in metrics.sources(index).enumerate() {
            let first = found.next().unwrap_or_default();
            let divisor = match source {
                Source::Quotient(_, divisor) => sum(found.by_ref().take(divisor.len())),
                _ => None,
            };
            if number.is_some() || !first.is_any() {
                continue;
            }
            is_several |= first.is_several();
            number = match source {
                Source::Plain(_) => Some(Some(plain(signal, first))),
                Source::Parts(_, parts) => Some(Some(percentage(first, *parts))),
                Source::Quotient(..) => divisor.map(|divisor| {
                    if signal != Signal::EnginePrefixHit {
                        return Some(first.sum() / divisor);
                    }
                    let now = Counters { source: at, hits: first.sum(), queries: divisor };
                    *counters = now.is_readable().then_some(now);
                    now.growth(before)
                }),
            };
        }
        number.flatten()
    });
    Reading { numbers, is_several }
}

/// The sum of all. None: one of them has no series. Takes all results in any case.
fn sum(found: impl Iterator<Item = Found>) -> Option<f64> {
    let (mut sum, mut is_whole) = (0.0, true);
    for next in found {
        sum += next.sum();
        is_whole &= next.is_any();
    }
    is_whole.then_some(sum)
}

/// Counts of several engines add up, ratios do not.
fn plain(signal: Signal, found: Found) -> f64 {
    match signal {
        Signal::EngineRunning | Signal::EngineWaiting => found.sum(),
        _ => found.mean(),
    }
}

/// A share that is told in percent or other parts. Rounding may take it above the whole.
fn percentage(found: Found, parts: u32) -> f64 {
    let share = found.mean() / f64::from(parts);
    if share > 1.0 { 1.0 } else { share }
}

impl Counters {
    fn is_readable(&self) -> bool {
        [self.hits, self.queries].into_iter().all(|count| (0.0..=MOST_COUNTED).contains(&count))
    }

    /// The hits of the queries since `before`. None: there were no queries, or `before` is missing.
    /// Counters that fell began again at 0.
    fn growth(self, before: Option<Self>) -> Option<f64> {
        if !self.is_readable() {
            return Some(f64::NAN);
        }
        let before = before.filter(|before| before.source == self.source)?;
        let has_restarted = self.queries < before.queries || self.hits < before.hits;
        let (hits, queries) = match has_restarted {
            true => (self.hits, self.queries),
            false => (self.hits - before.hits, self.queries - before.queries),
        };
        (queries > 0.0).then(|| hits / queries)
    }
}
