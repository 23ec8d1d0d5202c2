//! What a gateway knows of the load of an engine.

use std::time::Instant;

use config::Scraping;
use contract::{Signal, SignalSet};
use fleet::{EngineMoment, EngineSignals};

/// The numbers of one engine, as one gateway sees them.
#[derive(Debug)]
pub(super) enum EngineView {
    /// Requests that it works on and those in its line, as they are. Set before each decision.
    Live([f64; 2]),
    /// The gateway's own code: the numbers of the last scrape, with its requests since.
    Scraped(Box<EngineSignals>),
}

impl EngineView {
    /// Strategies that ask for no number of engines make a gateway scrape none.
    pub(super) fn new(scraping: Option<&Scraping>, wanted: SignalSet) -> Self {
        let of_engine = [Signal::EngineRunning, Signal::EngineWaiting, Signal::EngineAge];
        let scraping =
            scraping.filter(|_| of_engine.into_iter().any(|signal| wanted.contains(signal)));
        scraping.map_or(Self::Live([0.0; 2]), |scraping| {
            let signals = EngineSignals::default();
            signals.ask(true, scraping);
            Self::Scraped(Box::new(signals))
        })
    }

    /// True if scrapes tell the numbers.
    pub(super) fn is_scraped(&self) -> bool {
        matches!(self, Self::Scraped(_))
    }

    /// Takes the load as it is. Ignored where scrapes tell it.
    pub(super) fn see(&mut self, load: [f64; 2]) {
        if let Self::Live(seen) = self {
            *seen = load;
        }
    }

    /// The moment of a scrape that begins now. None: the engine is not scraped.
    pub(super) fn moment(&self, now: Instant) -> Option<EngineMoment> {
        match self {
            Self::Live(_) => None,
            Self::Scraped(signals) => Some(signals.moment(now)),
        }
    }

    /// Takes the load that a scrape found.
    pub(super) fn record(&self, [running, waiting]: [f64; 2], moment: EngineMoment) {
        if let Self::Scraped(signals) = self {
            signals.record([Some(running), Some(waiting), None, None], moment);
        }
    }

    /// Counts an attempt of the gateway in.
    pub(super) fn begin(&self) {
        if let Self::Scraped(signals) = self {
            signals.begin();
        }
    }

    /// Counts an attempt of the gateway out.
    pub(super) fn end(&self) {
        if let Self::Scraped(signals) = self {
            signals.end();
        }
    }

    /// The value of a signal of engines. None: it is not one.
    pub(super) fn value(&self, signal: Signal, now: Instant) -> Option<f64> {
        match (self, signal) {
            (Self::Live([running, _]), Signal::EngineRunning) => Some(*running),
            (Self::Live([_, waiting]), Signal::EngineWaiting) => Some(*waiting),
            (Self::Live(_), Signal::EngineAge) => Some(0.0),
            (
                Self::Scraped(signals),
                Signal::EngineRunning | Signal::EngineWaiting | Signal::EngineAge,
            ) => Some(signals.value(signal, now)),
            _ => None,
        }
    }
}
