//! A question to a strategy, independent of a gateway.

use contract::{
    Candidate, CandidateState, Column, Facts, Fault, Place, Question, RawVerdict, Situation,
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
    /// The values of signals. All others are unknown.
    pub(super) signals: Vec<SignalValue>,
}

/// The value of a signal at the time of a question.
#[derive(Debug, Clone)]
pub(super) struct SignalValue {
    pub(super) column: Column,
    /// The id of the deployment. None for a global signal.
    pub(super) deployment: Option<u32>,
    pub(super) value: f64,
}

/// State of a deployment at the time of a question.
#[derive(Debug, Clone, Copy)]
pub(super) struct Live {
    /// Index of its place.
    pub(super) id: u32,
    pub(super) in_flight: u32,
    pub(super) queued: u32,
    /// Default: the capacity of its place.
    pub(super) limit: Option<u32>,
    pub(super) state: CandidateState,
    /// In milliseconds.
    pub(super) latency: Option<f64>,
    /// In milliseconds.
    pub(super) duration: Option<f64>,
    pub(super) error_rate: f64,
    pub(super) refused_rate: f64,
}

/// The request of an `assign-request` question.
#[derive(Debug, Clone)]
pub(super) struct QuestionRequest {
    pub(super) stream: bool,
    pub(super) facts: Facts,
    /// How often the strategy has held the request.
    pub(super) held: u32,
}

impl AnyQuestion {
    /// Asks the question. `places` must be those that the strategy was configured with.
    pub(super) fn put(&self, plugin: &mut Plugin, places: &[Place]) -> Result<RawVerdict, Fault> {
        let (local, remote) = self.candidates(places);
        let signals = self.values(&plugin.description().signals);
        let situation = Situation { local: &local, remote: &remote, signals: &signals };
        let Some(QuestionRequest { stream, facts, held }) = &self.request else {
            return plugin.assign(situation).map(RawVerdict::from);
        };
        let first = local.first().or(remote.first());
        let model = first.map_or("", |candidate| &*candidate.place.model);
        plugin.assign_request(Question { model, stream: *stream, facts, situation, held: *held })
    }

    /// The values of `columns`, as `signals.read` gives them. A value that is not set is NaN.
    fn values(&self, columns: &[Option<Column>]) -> Vec<f64> {
        let value = |column: &Option<Column>, deployment| {
            let is_it = |set: &&SignalValue| {
                Some(&set.column) == column.as_ref() && set.deployment == deployment
            };
            self.signals.iter().find(is_it).map_or(f64::NAN, |set| set.value)
        };
        let (globals, of_deployments): (Vec<_>, Vec<_>) = columns.iter().partition(is_global);
        let ids = self.local.iter().chain(&self.remote).map(|live| Some(live.id));
        let rows = ids.flat_map(|id| of_deployments.iter().map(move |column| value(column, id)));
        rows.chain(globals.iter().map(|column| value(column, None))).collect()
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
    /// A healthy deployment without load, of which nothing is known.
    pub(super) fn idle(id: u32) -> Self {
        Self {
            id,
            in_flight: 0,
            queued: 0,
            limit: None,
            state: CandidateState::Healthy,
            latency: None,
            duration: None,
            error_rate: 0.0,
            refused_rate: 0.0,
        }
    }

    fn candidate<'a>(&self, places: &'a [Place]) -> Option<Candidate<'a>> {
        let place = places.get(self.id as usize)?;
        Some(Candidate {
            id: self.id,
            place,
            in_flight: self.in_flight,
            queued: self.queued,
            limit: self.limit.unwrap_or(place.capacity),
            state: self.state,
            latency: self.latency,
            duration: self.duration,
            error_rate: self.error_rate,
            refused_rate: self.refused_rate,
        })
    }
}

/// Values for `columns` of so many deployments: nothing is known.
pub(super) fn unknown(columns: &[Option<Column>], deployments: usize) -> Vec<f64> {
    let globals = columns.iter().filter(is_global).count();
    vec![f64::NAN; (columns.len() - globals) * deployments + globals]
}

fn is_global(column: &&Option<Column>) -> bool {
    column.as_ref().is_some_and(Column::is_global)
}

#[cfg(test)]
mod tests {
    use contract::Signal;

    use super::*;

    #[test]
    fn signals_stand_in_rows_before_the_global_ones() {
        let set = |signal: Signal, deployment, value| SignalValue {
            column: signal.into(),
            deployment,
            value,
        };
        let question = AnyQuestion {
            local: vec![Live::idle(4)],
            remote: vec![Live::idle(1)],
            request: None,
            signals: vec![
                set(Signal::ModelSequence, None, 9.0),
                set(Signal::Limit, Some(1), 3.0),
                set(Signal::Stalled, Some(4), 1.0),
                set(Signal::EngineKv, Some(4), 0.5),
            ],
        };
        let columns =
            [Some(Signal::Limit), Some(Signal::ModelSequence), None, Some(Signal::Stalled)]
                .map(|signal| signal.map(Column::from));
        let values = question.values(&columns).into_iter().map(|value| format!("{value}"));
        let expected = ["NaN", "NaN", "1", "3", "NaN", "NaN", "9"];
        assert_eq!(values.collect::<Vec<_>>(), expected);
        assert_eq!(unknown(&columns, 2).len(), expected.len());
    }
}
