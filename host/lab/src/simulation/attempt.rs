//! One simulated attempt at one deployment.

use std::time::Duration;

use http::StatusCode;

use contract::{self, Ending};
use fleet::{InFlight, Slot, Trace, Turn};
use ledger::Reservation;
use routing::facts::tenant;

use super::gateway::At;
use super::random::Stream;
use super::site::Site;
use super::workload::Request;

#[derive(Debug)]
pub(super) struct SimulatedAttempt {
    pub(super) request: usize,
    pub(super) at: At,
    /// Time at which it was made.
    pub(super) since: Duration,
    /// Time at which the engine got it.
    pub(super) reached: Duration,
    /// Time at which the engine began to work on it.
    pub(super) started: Option<Duration>,
    /// Time in the engine's line that is not counted yet, because another attempt of the request
    /// was under way.
    pub(super) waited: Duration,
    /// Time of the first byte to the client.
    pub(super) begun: Option<Duration>,
    /// Its admission, such as the trial of an ejected deployment.
    pub(super) turn: Turn,
    rng: Stream,
    /// None once it has ended.
    in_flight: Option<InFlight>,
    /// Its place. None once it has ended.
    pub(super) slot: Option<Slot>,
    /// Time that the request had waited in line.
    pub(super) queued: Duration,
    /// The probability with which the deployment was drawn.
    pub(super) probability: f64,
    /// What is recorded for signals. None once it has ended, and if the strategy asks for none.
    pub(super) trace: Option<Box<Trace>>,
    /// Tokens of its prompt that the engine had in its cache.
    pub(super) cached: u32,
    /// The money that is reserved for it. None once it has ended, and if no budget covers it.
    pub(super) money: Option<Reservation>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    pub(super) ending: Ending,
    /// The status of an answer that was a failure.
    pub(super) status: Option<StatusCode>,
    pub(super) cost: Option<f64>,
    pub(super) now: Duration,
}

impl SimulatedAttempt {
    pub(super) fn new(
        request: usize,
        at: At,
        now: Duration,
        site: &Site<'_>,
        admission: (Turn, Slot),
        rng: Stream,
    ) -> Self {
        let ((turn, slot), in_flight) = (admission, Some(site.load.enter()));
        let (since, reached, started, begun, slot) = (now, now, None, None, Some(slot));
        let (waited, queued, probability) = (Duration::ZERO, Duration::ZERO, 1.0);
        let (trace, cached, money) = (site.signals.trace(site.instant(now)), 0, None);
        Self {
            request,
            at,
            since,
            reached,
            started,
            waited,
            begun,
            turn,
            rng,
            in_flight,
            slot,
            queued,
            probability,
            trace,
            cached,
            money,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Random stream of its work. It does not depend on the draws for the network.
    pub(super) fn rng(&mut self) -> &mut Stream {
        &mut self.rng
    }

    /// Ends the attempt. Returns the report for a strategy that learns.
    pub(super) fn close(&mut self, ended: Ended, request: &Request) -> contract::EndedAttempt {
        self.in_flight = None;
        self.slot = None;
        let answered = ended.ending == Ending::Ok;
        let deployment = u32::try_from(self.at.site).unwrap_or(u32::MAX);
        contract::EndedAttempt {
            request: self.request as u64,
            session: Some(request.session),
            tenant: request.tenant.as_deref().map(|name| tenant(name).hash),
            status: match ended.ending {
                Ending::Ok | Ending::Broken => Some(200),
                Ending::ClientError => Some(400),
                _ => ended.status.map(|status| status.as_u16()),
            },
            first_byte: self.begun.map(|begun| begun - self.since),
            probability: self.probability,
            queued: self.queued,
            prompt_tokens: answered.then_some(request.prompt),
            completion_tokens: answered.then_some(request.output),
            cost: ended.cost,
            ..contract::EndedAttempt::new(deployment, ended.ending, ended.now - self.since)
        }
    }
}
