//! A question to a strategy, independent of a gateway.

use contract::{Candidate, Facts, Fault, Place, Question, RawWeights, Strategy as _};
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
    pub(super) fn put(&self, plugin: &mut Plugin, places: &[Place]) -> Result<RawWeights, Fault> {
        let (local, remote) = self.candidates(places);
        let Some(QuestionRequest { stream, facts }) = &self.request else {
            return plugin.assign(&local, &remote);
        };
        let first = local.first().or(remote.first());
        let model = first.map_or("", |candidate| &*candidate.place.model);
        let (stream, local, remote) = (*stream, &*local, &*remote);
        plugin.assign_request(Question { model, stream, facts, local, remote })
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
        Some(Candidate { id, place, in_flight, queued, latency, error_rate })
    }
}
