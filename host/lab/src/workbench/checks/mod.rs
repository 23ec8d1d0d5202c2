//! Checks that every strategy must pass, on generated fleets: valid answers, equal answers to equal
//! questions, answers within the deadlines, and bounded memory.

mod fleets;
mod memory;

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use config::Sandbox;
use contract::{Fault, RawPlan, RawVerdict, Role, Verdict};
use sandbox::{LoadError, Opened, Plugin};

use super::fixtures::absent;
use super::question::AnyQuestion;
use crate::Replayed;
use fleets::{DrawnFleet, Scope};

/// Options of the checks.
#[derive(Debug, Clone)]
pub struct CheckOptions {
    /// Seed of the fleets. The same seed gives the same fleets.
    pub seed: u64,
    /// Number of fleets.
    pub fleets: u64,
    /// Parameters that fit the strategy's schema. The fleets use them in turn.
    pub parameters: Vec<Value>,
    /// Sandbox whose call deadlines the answers must meet.
    pub sandbox: Sandbox,
}

/// The verdict of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The property that was checked.
    pub check: &'static str,
    /// Numbers for a person, or the first violation.
    pub verdict: Result<String, String>,
}

/// Runs all checks. Returns one finding for each.
#[must_use]
pub fn run(strategy: &Opened, options: &CheckOptions) -> Vec<Finding> {
    let description = strategy.description();
    let (on_path, needs) = (strategy.is_on_path(), description.needs);
    let scope = Scope { on_path, needs, signals: &description.signals };
    let mut tally = Findings::default();
    for number in 0..options.fleets {
        let fleet = fleets::fleet(options.seed, number, scope);
        let Some(parameters) = parameters(options, number) else { break };
        let trial = TriedFleet { strategy, number, fleet: &fleet, parameters, options };
        trial.run(&mut tally);
    }
    let mut findings = tally.findings(options);
    let verdict = memory::check(strategy, options, scope);
    findings.push(Finding { check: "memory does not grow without bound", verdict });
    findings
}

/// The parameters for a fleet. None if there are none.
fn parameters(options: &CheckOptions, turn: u64) -> Option<&Value> {
    let all = &options.parameters;
    usize::try_from(turn).ok().and_then(|turn| all.get(turn.checked_rem(all.len())?))
}

/// Results so far.
#[derive(Default)]
struct Findings {
    answers: usize,
    /// Number of fleets that the strategy refused in `configure`.
    refusals: u64,
    last_refusal: String,
    /// True if the last refusal was of parameters that name deployments of other fleets.
    names_others: bool,
    /// The first invalid answer or failed load.
    bad: Option<String>,
    /// The first answer that differs in a fresh instance.
    other: Option<String>,
    /// The first answer after its deadline.
    late: Option<String>,
    /// The slowest answer of `assign` and of `assign-request`.
    slowest: [Duration; 2],
}

/// One fleet, which fresh instances are asked about.
struct TriedFleet<'a> {
    strategy: &'a Opened,
    number: u64,
    fleet: &'a DrawnFleet,
    parameters: &'a Value,
    options: &'a CheckOptions,
}

type Answer = (Result<RawVerdict, Fault>, Duration);

impl TriedFleet<'_> {
    fn run(&self, tally: &mut Findings) {
        let first = match self.answers() {
            Ok(answers) => answers,
            Err(LoadError::Configure { message, .. }) => {
                tally.refusals += 1;
                let names = absent(self.parameters, &message, &self.fleet.places);
                tally.names_others = !names.is_empty();
                tally.last_refusal = message;
                return;
            }
            Err(error) => {
                tally.bad.get_or_insert_with(|| format!("fleet {}: {error}", self.number));
                return;
            }
        };
        for (at, (question, (said, _))) in self.fleet.questions.iter().zip(&first).enumerate() {
            self.judge(at, question, said, tally);
        }
        // The strategy took this fleet before, so a failure now counts as a different answer.
        let again = self.answers().unwrap_or_default();
        let same = |(a, b): (&Answer, &Answer)| same(&a.0, &b.0);
        let differs = first.iter().zip(&again).position(|pair| !same(pair));
        let differs = differs.or((first.len() != again.len()).then_some(again.len()));
        if let Some(at) = differs {
            tally.other.get_or_insert_with(|| self.difference(at, &first, &again));
        }
        self.time(&first, &again, tally);
    }

    /// Asks a fresh instance all questions, up to the first fault.
    fn answers(&self) -> Result<Vec<Answer>, LoadError> {
        let DrawnFleet { places, questions } = self.fleet;
        let mut plugin = configured(self.strategy, self.parameters, self.fleet)?;
        let mut answers = Vec::with_capacity(questions.len());
        for question in questions {
            let begun = Instant::now();
            let said = question.put(&mut plugin, places);
            let failed = said.is_err();
            answers.push((said, begun.elapsed()));
            if failed {
                break;
            }
        }
        Ok(answers)
    }

    fn judge(
        &self,
        at: usize,
        asked: &AnyQuestion,
        said: &Result<RawVerdict, Fault>,
        tally: &mut Findings,
    ) {
        tally.answers += 1;
        let (deployments, reasons) = ([asked.local.len(), asked.remote.len()], self.reasons());
        let verdict = said.clone().and_then(|raw| Ok(Verdict::check(raw, deployments, reasons)?));
        match verdict {
            Ok(_) => {}
            Err(fault @ Fault::TimedOut(_)) => {
                tally.late.get_or_insert_with(|| format!("{}: {fault}", self.place(at)));
            }
            Err(fault) => {
                tally.bad.get_or_insert_with(|| format!("{}: {fault}", self.place(at)));
            }
        }
    }

    fn reasons(&self) -> usize {
        self.strategy.description().reasons.len()
    }

    fn difference(&self, at: usize, first: &[Answer], again: &[Answer]) -> String {
        let shown = |answers: &[Answer]| match answers.get(at) {
            Some((Ok(RawVerdict::Route(plan)), _)) => {
                format!("{:?} {:?}", plan.weights.local, plan.weights.remote)
            }
            Some((Ok(verdict), _)) => format!("{verdict:?}"),
            Some((Err(fault), _)) => fault.to_string(),
            None => "nothing".to_owned(),
        };
        format!("{}: first {}, then {}", self.place(at), shown(first), shown(again))
    }

    /// Checks times. A busy machine makes a single answer late by chance, so the fastest of three
    /// counts.
    fn time(&self, first: &[Answer], again: &[Answer], tally: &mut Findings) {
        let Sandbox { call, request, .. } = self.options.sandbox;
        let mut third = None;
        for (at, question) in self.fleet.questions.iter().enumerate().take(first.len()) {
            let took =
                |answers: &[Answer]| answers.get(at).map_or(Duration::MAX, |answer| answer.1);
            let kind = usize::from(question.request.is_some());
            let limit = [call, request][kind];
            let mut time = took(first).min(took(again));
            if time > limit {
                let third = third.get_or_insert_with(|| self.answers().unwrap_or_default());
                time = time.min(took(third));
            }
            if time > limit {
                let late =
                    || format!("{}: {time:?}, at most {limit:?} are allowed", self.place(at));
                tally.late.get_or_insert_with(late);
            }
            tally.slowest[kind] = tally.slowest[kind].max(time);
        }
    }

    /// Names a question: `fleet 3, question 1 (assign-request, 5 local, 0 remote, parameters {})`.
    fn place(&self, at: usize) -> String {
        let Self { number, parameters, fleet, .. } = self;
        let mut text = format!("fleet {number}, question {at}");
        if let Some(AnyQuestion { local, remote, request, .. }) = fleet.questions.get(at) {
            let call = if request.is_some() { "assign-request" } else { "assign" };
            let (local, remote) = (local.len(), remote.len());
            // Writing to a `String` cannot fail.
            let _ =
                write!(text, " ({call}, {local} local, {remote} remote, parameters {parameters})");
        }
        text
    }
}

impl Findings {
    fn findings(self, options: &CheckOptions) -> Vec<Finding> {
        let Self { answers, refusals, last_refusal, .. } = self;
        let refused = match refusals {
            0 => String::new(),
            _ => format!("; it refuses {refusals} of {} fleets: {last_refusal}", options.fleets),
        };
        let help = match self.names_others {
            true => "give it `--parameters` that name deployments of generated fleets: place-0",
            false => "give it `--parameters`",
        };
        let none = (answers == 0 && options.fleets > 0)
            .then(|| format!("nothing could be asked{refused}: {help}"));
        let micros = |time: Duration| time.as_micros();
        let [assign, request] = self.slowest.map(micros);
        let slowest = format!("slowest assign {assign} us, assign-request {request} us");
        let verdict = |bad: Option<String>, good: String| match bad {
            Some(bad) => Err(bad),
            None => Ok(good),
        };
        let finding = |check, verdict| Finding { check, verdict };
        vec![
            finding(
                "answers have the right lengths, and are finite, not negative, not all zero",
                verdict(self.bad.or(none), format!("{answers} answers{refused}")),
            ),
            finding(
                "a fresh instance gives the same answers",
                verdict(self.other, format!("{answers} answers")),
            ),
            finding("answers come within the deadlines", verdict(self.late, slowest)),
        ]
    }
}

/// Configures a fresh instance for a fleet.
fn configured(
    strategy: &Opened,
    parameters: &Value,
    fleet: &DrawnFleet,
) -> Result<Plugin, LoadError> {
    let opened = strategy.again()?.with_surroundings(Arc::new(Replayed::default()));
    opened.configure(parameters, fleet.places.clone(), Role::Live, 0)
}

/// True if weights are equal bit by bit, or faults have the same cause.
fn same(a: &Result<RawVerdict, Fault>, b: &Result<RawVerdict, Fault>) -> bool {
    let bits = |list: &[f64]| list.iter().map(|weight| weight.to_bits()).collect::<Vec<_>>();
    let weights = |plan: &RawPlan| [bits(&plan.weights.local), bits(&plan.weights.remote)];
    let rest =
        |plan: &RawPlan| (plan.tiers.clone(), plan.when_full, plan.hedge.clone(), plan.reason);
    match (a, b) {
        (Ok(RawVerdict::Route(a)), Ok(RawVerdict::Route(b))) => {
            weights(a) == weights(b) && rest(a) == rest(b)
        }
        (Ok(a), Ok(b)) => a == b,
        (Err(a), Err(b)) => a.cause() == b.cause(),
        _ => false,
    }
}
