//! The strategies of models, and the candidates that are tried beside them.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::document::steps;
use super::join::unknown_model;
use super::models::{Check, Models, join};
use super::raw::strategy::{RawCandidate, RawStrategy};
use super::routing::Entries;
use super::{Diagnostic, PathStep};

/// A strategy and its parameters.
#[derive(Debug, Clone)]
pub struct StrategyConfig {
    /// `routing_strategy` as written: a built-in's name, a name in the plugin folder, or a path.
    pub reference: String,
    /// `sha256`: the digest the component must have, 64 lower-case hex digits.
    pub sha256: Option<String>,
    /// `routing_parameter`: always an object.
    pub parameters: serde_json::Value,
    /// The position of its keys in `routing.yaml`. Empty: the top level.
    pub at: Vec<PathStep>,
    /// The candidate that is tried beside it.
    pub candidate: Option<Box<CandidateConfig>>,
}

/// Built-in strategies that send a session or a prompt to the deployment that had it before.
const AFFINE: [&str; 2] = ["session-affinity", "prefix-affinity"];

impl StrategyConfig {
    /// True if it places sessions or prompts by the names of deployments.
    #[must_use]
    pub fn is_affine(&self) -> bool {
        AFFINE.contains(&&*self.reference)
    }
}

/// A strategy that is tried beside the one in use.
#[derive(Debug, Clone)]
pub struct CandidateConfig {
    /// The candidate itself, which has no candidate of its own.
    pub strategy: StrategyConfig,
    /// How it is tried.
    pub mode: TrialMode,
    /// When the trial is ended.
    pub rollback: Rollback,
}

/// How a candidate is tried.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TrialMode {
    /// The candidate's answers are only compared with those of the strategy in use.
    Shadow,
    /// The candidate decides for this share of the requests, above 0 and below 1.
    Canary(f64),
}

/// When the trial of a candidate ends.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rollback {
    /// Faults of the candidate (traps, time-outs, invalid answers) that end the trial.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub faults: u32,
    /// The candidate's share of failed requests may exceed that of the others by at most this.
    #[schemars(range(min = 0, max = 1))]
    pub margin: f64,
    /// The candidate's share of requests with more than one attempt may exceed that of the others by at most this.
    #[schemars(range(min = 0, max = 1))]
    pub fallback: f64,
    /// The candidate's mean attempts of a request may exceed that of the others by at most this.
    #[schemars(range(min = 0, max = 1_000))]
    pub attempts: f64,
    /// The candidate's mean time to the first byte may exceed that of the others by at most this part of theirs. Default: no limit.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub first_byte: Option<f64>,
    /// The candidate's mean cost of a request may exceed that of the others by at most this part of theirs. Default: no limit.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub cost: Option<f64>,
    /// Requests that the candidate must have decided before the two strategies are compared.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub min_requests: u32,
}

impl Default for Rollback {
    fn default() -> Self {
        Self {
            faults: 3,
            margin: 0.05,
            fallback: 0.1,
            attempts: 0.5,
            first_byte: None,
            cost: None,
            min_requests: 100,
        }
    }
}

impl Check<'_> {
    /// Checks the strategy whose keys are at `at`.
    pub(super) fn strategy(&mut self, at: &[PathStep], raw: RawStrategy) -> StrategyConfig {
        let candidate = raw.candidate.and_then(|raw| self.candidate(at, raw));
        StrategyConfig {
            reference: raw.routing_strategy,
            sha256: raw.sha256.as_deref().and_then(|digest| self.digest(at, digest)),
            parameters: raw.routing_parameter.unwrap_or_default().into(),
            at: at.to_vec(),
            candidate: candidate.map(Box::new),
        }
    }

    /// Checks the candidate of the strategy whose keys are at `at`.
    pub(super) fn candidate(
        &mut self,
        at: &[PathStep],
        raw: RawCandidate,
    ) -> Option<CandidateConfig> {
        let at = join(at, "candidate");
        let mode = match (raw.shadow, raw.canary) {
            (true, None) => TrialMode::Shadow,
            (false, Some(share)) if share > 0.0 && share < 1.0 => TrialMode::Canary(share),
            (false, Some(_)) => {
                let help = "write a share above 0 and below 1: `canary: 0.05`; to promote it, make it `routing_strategy`";
                self.error(&join(&at, "canary"), "this is not a share of the requests", help);
                return None;
            }
            (true, Some(_)) | (false, None) => {
                let help = "write `shadow: true`, or `canary: 0.05` for a share of the requests";
                self.error(&at, "a candidate needs one of `shadow` and `canary`", help);
                return None;
            }
        };
        let (routing_strategy, routing_parameter) = (raw.routing_strategy, raw.routing_parameter);
        let (sha256, candidate) = (raw.sha256, None);
        let raw_strategy = RawStrategy { routing_strategy, routing_parameter, sha256, candidate };
        let strategy = self.strategy(&at, raw_strategy);
        Some(CandidateConfig { strategy, mode, rollback: raw.rollback })
    }

    fn digest(&mut self, at: &[PathStep], text: &str) -> Option<String> {
        let at = join(at, "sha256");
        self.document.text(&at)?;
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let help = "write the 64 hex digits that `sha256sum FILE.wasm` prints";
            self.error(&at, "this is not a SHA-256 digest", help);
        }
        Some(text.to_ascii_lowercase())
    }

    fn error(&mut self, at: &[PathStep], message: &str, help: &str) {
        self.errors.push(self.document.error(at, message, help));
    }
}

/// A model's own strategy, not yet joined with the models.
pub(super) struct Own {
    /// The model's id or alias, as the file has it.
    pub(super) model: String,
    /// Index of the strategy in [`Config::strategies`](super::Config::strategies).
    pub(super) strategy: usize,
}

/// The index of each model's strategy: its own, else the first. Reports unknown and repeated
/// models.
pub(super) fn by_model(
    models: &Models,
    names: &HashMap<&str, usize>,
    entries: &Entries,
    errors: &mut Vec<Diagnostic>,
) -> Vec<usize> {
    let mut strategies = vec![0; models.list.len()];
    let document = &entries.document;
    for Own { model, strategy } in &entries.strategies {
        let at = steps!["strategies", model.as_str()];
        match names.get(model.as_str()) {
            None => errors.push(unknown_model(document, &at, model, models)),
            Some(&index) if strategies[index] != 0 => {
                let help = "name a model once, by its id or an alias";
                errors.push(document.key_error(&at, "this model has a strategy already", help));
            }
            Some(&index) => strategies[index] = *strategy,
        }
    }
    strategies
}
