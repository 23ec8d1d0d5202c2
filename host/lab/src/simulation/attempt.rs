//! One attempt at one deployment.

use std::time::Duration;

use contract::{self, Ending};
use fleet::{InFlight, Turn};

use super::random::Stream;
use super::site::Site;
use super::workload::Request;

#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) request: usize,
    pub(super) site: usize,
    /// When it was made.
    pub(super) since: Duration,
    /// When the engine got it.
    pub(super) reached: Duration,
    /// When its answer began.
    pub(super) begun: Option<Duration>,
    /// By what right it is made.
    pub(super) turn: Turn,
    rng: Stream,
    /// None once it has ended.
    in_flight: Option<InFlight>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    pub(super) ending: Ending,
    pub(super) cost: Option<f64>,
    pub(super) now: Duration,
}

impl Attempt {
    pub(super) fn new(
        request: usize,
        at: usize,
        now: Duration,
        site: &Site<'_>,
        turn: Turn,
        rng: Stream,
    ) -> Self {
        let in_flight = Some(site.load.enter());
        Self { request, site: at, since: now, reached: now, begun: None, turn, rng, in_flight }
    }

    pub(super) fn is_open(&self) -> bool {
        self.in_flight.is_some()
    }

    /// What chance says of its work: the same, whatever was drawn for its way there.
    pub(super) fn rng(&mut self) -> &mut Stream {
        &mut self.rng
    }

    /// Ends it; the answer is what a strategy that learns is told.
    pub(super) fn close(&mut self, ended: Ended, request: &Request) -> contract::Attempt {
        self.in_flight = None;
        let answered = ended.ending == Ending::Ok;
        contract::Attempt {
            deployment: u32::try_from(self.site).unwrap_or(u32::MAX),
            ending: ended.ending,
            status: match ended.ending {
                Ending::Ok | Ending::Broken => Some(200),
                Ending::ClientError => Some(400),
                _ => None,
            },
            first_byte: self.begun.map(|begun| begun - self.since),
            total: ended.now - self.since,
            prompt_tokens: answered.then_some(request.prompt),
            completion_tokens: answered.then_some(request.output),
            cost: ended.cost,
        }
    }
}
