//! The events of a run, and what happens at each.

use std::time::Duration;

use fleet::{Busy, EngineMoment};
use routing::{Cause, Event as Came};

use crate::simulation::gateway::At;

use super::{LEARN_INTERVAL, Run};

/// All events but those inside engines.
#[derive(Debug)]
pub(super) enum Event {
    Arrives(usize),
    /// A request's time in a line is over. Ignored if the request has left that line: it then has
    /// another `visit`.
    Waited {
        request: usize,
        visit: u32,
    },
    /// An attempt reaches its engine.
    Reaches {
        attempt: usize,
        slow: f64,
    },
    Fails {
        attempt: usize,
        cause: Cause,
    },
    /// The deployment refuses a request that is too long for it.
    Refuses(usize),
    /// The first byte of an attempt's answer is due.
    Due(usize),
    /// A second attempt is due beside this one.
    Hedges(usize),
    /// The total time-out of a request.
    Expires(usize),
    /// A gateway asks its strategy at its interval.
    Refresh(usize),
    Learn,
    /// An engine goes down.
    Breaks(usize),
    /// An engine begins no answers until this time.
    Stalls {
        machine: usize,
        until: Duration,
    },
    /// The speed of an engine changes to this factor.
    Drifts {
        machine: usize,
        pace: f64,
    },
    /// What budgets have spent is noted.
    Tells,
    /// A deployment may have places again.
    Opens(At),
    /// The condition of a deployment may change: an ejection or a pause is over, its weight rises.
    Changes(At),
    /// A request that was held so many times is decided again, if it is still held.
    Again {
        request: usize,
        held: u32,
    },
    /// A gateway asks an engine for its load.
    Scrapes(At),
    /// The engine's load is told.
    Scraped {
        at: At,
        load: [f64; 2],
        moment: EngineMoment,
    },
}

impl Run<'_> {
    pub(super) fn happens(&mut self, event: Event) {
        match event {
            Event::Arrives(request) => self.arrives(request),
            Event::Waited { request, visit } => {
                let way = self.ways[request].as_ref();
                if way.is_some_and(|way| way.visit == visit && way.waiting.is_some()) {
                    self.leave_line(request);
                    self.ready.push_back((request, Came::NoPlace(Busy::Waited)));
                }
            }
            Event::Reaches { attempt, slow } => self.reaches(attempt, slow),
            Event::Fails { attempt, cause } => self.fails(attempt, cause.into()),
            Event::Refuses(attempt) => self.refuses(attempt),
            Event::Due(attempt) => self.is_due(attempt),
            Event::Hedges(attempt) => self.hedge(attempt),
            Event::Expires(request) => self.expires(request),
            Event::Refresh(gateway) => self.refresh(gateway),
            Event::Learn => {
                self.gateways.0.iter_mut().for_each(|gateway| gateway.decisions.learn());
                self.events.plan(self.now + LEARN_INTERVAL, Event::Learn);
            }
            Event::Breaks(machine) => self.breaks(machine),
            Event::Stalls { machine, until } => {
                self.machines[machine].engine.hold(until, self.now);
            }
            Event::Drifts { machine, pace } => {
                self.machines[machine].engine.set_pace(pace, self.now);
                self.drift(machine);
            }
            Event::Tells => self.tell_spent(),
            Event::Opens(at) => self.looks_at(at),
            Event::Changes(at) => self.may_change(at),
            Event::Again { request, held } => self.decide_again(request, held),
            Event::Scrapes(at) => self.scrape(at),
            Event::Scraped { at, load, moment } => self.gateways[at].engine.record(load, moment),
        }
    }
}
