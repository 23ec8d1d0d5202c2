//! A strategy of a test that decides each request.

use contract::{
    Column, Deciding, PathStatus, PathStrategy, Question, RawPlan, RawVerdict, Signal, Verdict,
};

use super::*;

type Decide<'a> = Box<dyn FnMut(Question<'_>) -> RawVerdict + Send + 'a>;

/// Answers as its function does.
pub(super) struct Scripted<'a> {
    description: Description,
    decide: Decide<'a>,
}

#[derive(Debug)]
struct OnPath(Description);

impl PathStrategy for OnPath {
    fn description(&self) -> &Description {
        &self.0
    }

    fn decide<'a>(&'a self, _: Question<'a>) -> Deciding<'a> {
        Box::pin(async { Ok(Verdict::Hold(Duration::ZERO)) })
    }

    fn status(&self) -> PathStatus {
        PathStatus { off: None, last_error: None }
    }
}

impl<'a> Scripted<'a> {
    /// A strategy that is told these signals.
    pub(super) fn new(
        signals: &[Signal],
        decide: impl FnMut(Question<'_>) -> RawVerdict + Send + 'a,
    ) -> Self {
        Self::reading(signals.iter().map(|signal| Column::from(*signal)).collect(), decide)
    }

    /// A strategy that reads these columns.
    pub(super) fn reading(
        columns: Vec<Column>,
        decide: impl FnMut(Question<'_>) -> RawVerdict + Send + 'a,
    ) -> Self {
        let signals = columns.into_iter().map(Some).collect();
        let description = Description { signals, ..description(None) };
        Self { description, decide: Box::new(decide) }
    }
}

impl Strategy for Scripted<'_> {
    fn description(&self) -> &Description {
        &self.description
    }

    fn assign(&mut self, situation: Situation<'_>) -> Result<RawWeights, Fault> {
        let Situation { local, remote, .. } = situation;
        Ok(RawWeights { local: vec![1.0; local.len()], remote: vec![1.0; remote.len()] })
    }

    fn on_path(&self) -> Option<Arc<dyn PathStrategy>> {
        Some(Arc::new(OnPath(description(None))))
    }

    fn assign_request(&mut self, question: Question<'_>) -> Result<RawVerdict, Fault> {
        Ok((self.decide)(question))
    }
}

/// Sends everything to the first of the deployments that the strategy is asked about.
pub(super) fn first(question: Question<'_>) -> RawPlan {
    let Situation { local, remote, .. } = question.situation;
    let mut all = (0..local.len() + remote.len()).map(|at| if at == 0 { 1.0 } else { 0.0 });
    let local = all.by_ref().take(local.len()).collect();
    let weights = RawWeights { local, remote: all.collect() };
    let RawVerdict::Route(plan) = RawVerdict::from(weights) else { panic!("a plan") };
    plan
}

/// A run with a strategy of its own for each gateway.
pub(super) fn run_scripted(
    scenario: &Scenario,
    strategies: &mut [Scripted<'_>],
) -> (Vec<workload::Request>, run::Done) {
    let requests = workload::requests(scenario).unwrap();
    let surroundings = Replayed::default();
    let signals = strategies[0].description.told(true);
    let asked = strategies.iter_mut().map(|strategy| -> Asked<'_> { (strategy, &surroundings) });
    let done = run::Run::new(scenario, &requests, asked, signals).run();
    (requests, done)
}
