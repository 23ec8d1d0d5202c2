//! A question to a strategy, independent of a gateway.

use contract::{
    Candidate, Facts, Fault, Place, Question, RawVerdict, Signal, SignalScope, Situation,
    Strategy as _,
};
use sandbox::Plugin;

/// One question to a strategy. Deployments are named by their ids.
#[derive(Debug, Clone)]
pub(super) struct AnyQuestion {
    pub(super) local: Vec<Live>,
    pub(super) remote: Vec<Live>,
    /// The request for `assign-request`. None to call `assign`.
    pub(super) request: Option<QuestionRequest>,
}

/// State of a deployment at the time of a question.
#[derive(Debug, Clone, Copy)]
pub(super) struct Live {
    /// Index of its place.
    pub(super) id: u32,
    pub(super) in_flight: u32,
    pub(super) queued: u32,
    pub(super) latency: Option<f64>,
    pub(super) error_rate: f64,
}

/// The request of an `assign-request` question.
#[derive(Debug, Clone)]
pub(super) struct QuestionRequest {
    pub(super) stream: bool,
    pub(super) facts: Facts,
}

impl AnyQuestion {
    /// Asks the question. `places` must be those that the strategy was configured with.
    pub(super) fn put(&self, plugin: &mut Plugin, places: &[Place]) -> Result<RawVerdict, Fault> {
        let (local, remote) = self.candidates(places);
        let signals = unknown(&plugin.description().signals, local.len() + remote.len());
        let situation = Situation { local: &local, remote: &remote, signals: &signals };
        let Some(QuestionRequest { stream, facts }) = &self.request else {
            return plugin.assign(situation).map(RawVerdict::from);
        };
        let first = local.first().or(remote.first());
        let model = first.map_or("", |candidate| &*candidate.place.model);
        plugin.assign_request(Question { model, stream: *stream, facts, situation, held: 0 })
    }

    /// The local and the remote candidates of the question. Unknown ids are left out.
    pub(super) fn candidates<'a>(
        &self,
        places: &'a [Place],
    ) -> (Vec<Candidate<'a>>, Vec<Candidate<'a>>) {
        let of = |side: &[Live]| side.iter().filter_map(|live| live.candidate(places)).collect();
        (of(&self.local), of(&self.remote))
    }
}

impl Live {
    fn candidate<'a>(&self, places: &'a [Place]) -> Option<Candidate<'a>> {
        let Self { id, in_flight, queued, latency, error_rate } = *self;
        let place = places.get(id as usize)?;
        Some(Candidate { in_flight, queued, latency, error_rate, ..Candidate::idle(id, place) })
    }
}

/// Values for `columns` of so many deployments: nothing is known.
pub(super) fn unknown(columns: &[Option<Signal>], deployments: usize) -> Vec<f64> {
    let is_global = |column: &&Option<Signal>| {
        column.is_some_and(|signal| signal.facts().scope == SignalScope::Global)
    };
    let globals = columns.iter().filter(is_global).count();
    vec![f64::NAN; (columns.len() - globals) * deployments + globals]
}
