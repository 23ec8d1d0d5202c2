//! Tests when strategies are asked and what they are told.

use std::collections::HashMap;
use std::sync::Arc;

use contract::{
    Deciding, EndedAttempt, Ending, Facts, PathStatus, PathStrategy, Question, RawVerdict, Verdict,
};

use super::*;

/// Records its questions and reports. Gives every request to the first local deployment. Every
/// third answer is invalid.
struct Diary {
    description: Description,
    path: Option<Arc<dyn PathStrategy>>,
    assigned: usize,
    asked: Vec<Facts>,
    told: Vec<EndedAttempt>,
}

#[derive(Debug)]
struct OnPath(Description);

fn on_path() -> Arc<dyn PathStrategy> {
    let needs = Needs { prompt_tokens: true, session: true, prefixes: true, tenant_name: true };
    Arc::new(OnPath(Description { needs, ..description(None) }))
}

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

impl Strategy for Diary {
    fn description(&self) -> &Description {
        &self.description
    }

    fn assign(&mut self, situation: Situation<'_>) -> Result<RawWeights, Fault> {
        let Situation { local, remote, .. } = situation;
        self.assigned += 1;
        Ok(RawWeights { local: vec![0.0; local.len()], remote: vec![1.0; remote.len()] })
    }

    fn on_path(&self) -> Option<Arc<dyn PathStrategy>> {
        self.path.clone()
    }

    fn assign_request(&mut self, question: Question<'_>) -> Result<RawVerdict, Fault> {
        self.asked.push(question.facts.clone());
        let Situation { local, remote, .. } = question.situation;
        let weight = if self.asked.len().is_multiple_of(3) { f64::NAN } else { 1.0 };
        let (local, remote) = (vec![weight; local.len()], vec![0.0; remote.len()]);
        Ok(RawWeights { local, remote }.into())
    }

    fn learns(&self) -> bool {
        true
    }

    fn outcome(&mut self, attempts: &[EndedAttempt]) -> Result<(), Fault> {
        self.told.extend_from_slice(attempts);
        Ok(())
    }
}

fn diary(refresh: Option<Duration>, path: Option<Arc<dyn PathStrategy>>) -> Diary {
    let (asked, told) = Default::default();
    Diary { description: description(refresh), path, assigned: 0, asked, told }
}

fn run(scenario: &Scenario, requests: &[workload::Request], strategy: &mut Diary) -> run::Done {
    let (surroundings, signals) = <(Replayed, SignalSet)>::default();
    let strategies: [Asked<'_>; 1] = [(strategy, &surroundings)];
    run::Run::new(scenario, requests, strategies.into_iter(), signals).run()
}

fn talks() -> Scenario {
    scenario(
        "duration: 100
deployments:
  - {name: a, side: local, parallel: 64, prefill: 1e6, decode: 1e4}
  - {name: b, side: remote, parallel: 64, prefill: 1e6, decode: 1e4, price: {prompt: 1, completion: 2}}
arrivals: {rate: 2}
requests: [{prompt: 200, output: 100, system: 300, tenant: t, session: {turns: 3, pause: 1}}]
",
    )
}

#[test]
fn one_that_asks_for_it_is_asked_at_its_interval_alone() {
    let (scenario, mut strategy) = (talks(), diary(Some(Duration::from_secs(2)), None));
    let requests = workload::requests(&scenario).unwrap();
    let done = run(&scenario, &requests, &mut strategy);
    // Once at the beginning, then 49 or 50 times in 100 s.
    assert!((50..=51).contains(&strategy.assigned), "{}", strategy.assigned);
    assert!(strategy.asked.is_empty());
    assert!(done.records.iter().all(|record| record.site == Some(1)));
}

#[test]
fn one_on_the_path_is_told_of_each_request_and_without_it_the_last_weights_decide() {
    let (scenario, mut strategy) = (talks(), diary(None, Some(on_path())));
    let requests = workload::requests(&scenario).unwrap();
    let done = run(&scenario, &requests, &mut strategy);
    assert_eq!((strategy.assigned, strategy.asked.len()), (1, requests.len()));
    assert_eq!(done.faults, requests.len() as u64 / 3);
    for (index, record) in done.records.iter().enumerate() {
        assert_eq!(record.site, Some(usize::from((index + 1) % 3 == 0)));
    }
    let mut sessions: HashMap<u64, &Facts> = HashMap::new();
    for (request, facts) in requests.iter().zip(&strategy.asked) {
        assert_eq!(facts.prompt_tokens, Some(request.prompt));
        assert_eq!(facts.tenant.as_ref().map(|tenant| &*tenant.name), Some("t"));
        assert_eq!(facts.prefixes.len() as u32, request.prompt / 128);
        // All prompts begin with the system prompt, so their first hashes are the same.
        assert_eq!(facts.prefixes[..2], strategy.asked[0].prefixes[..2]);
        if let Some(before) = sessions.insert(facts.session.unwrap(), facts) {
            assert!(facts.prefixes.starts_with(&before.prefixes));
        }
    }
    assert!(sessions.len() > 100, "{}", sessions.len());
}

#[test]
fn one_that_learns_is_told_of_what_has_ended() {
    let (scenario, mut strategy) = (talks(), diary(None, None));
    let requests = workload::requests(&scenario).unwrap();
    run(&scenario, &requests, &mut strategy);
    // The last second's attempts are not reported before the run ends.
    assert!(strategy.told.len() + 20 > requests.len(), "{}", strategy.told.len());
    for attempt in &strategy.told {
        assert_eq!((attempt.ending, attempt.deployment), (Ending::Ok, 1));
        let tokens = [attempt.prompt_tokens, attempt.completion_tokens].map(Option::unwrap);
        let cost = f64::from(tokens[0]) + 2.0 * f64::from(tokens[1]);
        assert_eq!(attempt.cost, Some(cost));
        assert!(attempt.first_byte.unwrap() <= attempt.total);
    }
}
