//! The strategies that a configuration names, loaded and given what they ask for.

use std::num::NonZero;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use config::{self, CandidateConfig, Config, Diagnostics, Document, Step, StrategyConfig};
use contract::{Fault, Place, Strategy};
use fleet::{CandidateInfo, Fleet, Lessons, StrategyInfo, StrategyTable, Trial};
use routing::{Failed, Seat};
use sandbox::{Cache, Compiler, LoadError, Opened, Plugin, PluginHost, Role, locate, places};

use super::Attempt;

/// Where strategies come from.
pub(super) struct Strategies {
    /// The plugin folder.
    plugins: PathBuf,
    host: PluginHost,
    /// Made of each strategy that decides for each request.
    instances: usize,
    /// The trials of the last configuration: a reload that does not change a candidate goes on with its
    /// trial, and one that was rolled back stays so.
    trials: Mutex<Vec<(Trialled, Arc<Trial>)>>,
}

/// What makes two trials the same.
#[derive(Debug, Clone, PartialEq)]
struct Trialled {
    /// The strategy in use, its parameters, and those of the candidate.
    both: [(String, Value); 2],
    at: Vec<Step>,
    mode: config::TrialMode,
    rollback: config::Rollback,
}

impl Strategies {
    /// Those of a plugin folder, and the built-in ones, compiled by `compiler`.
    pub(super) fn new(plugins: PathBuf, compiler: Compiler) -> anyhow::Result<Self> {
        // Calls come from the threads that serve, one a core, and one that is slow must not be waited for.
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let host = PluginHost::new()?.with_compiler(compiler);
        let trials = Mutex::default();
        Ok(Self { plugins, host, instances: cores + 1, trials })
    }

    /// The same, but what is compiled is kept in a folder, and found there.
    pub(super) fn with_cache(self, cache: Cache) -> Self {
        Self { host: self.host.with_cache(cache), ..self }
    }

    /// Lets go of compiled strategies that are too many, at the end of a load.
    pub(super) fn tidy(&self, is_good: bool) {
        self.host.tidy(is_good);
    }

    /// All that `config` names, in its order.
    pub(super) fn all(
        &self,
        config: &Config,
        file: &Document,
        fleet: &Fleet,
        attempt: &Attempt,
    ) -> Result<(Vec<Seat>, Vec<StrategyInfo>), Diagnostics> {
        let (mut seats, mut infos, mut trials) = (Vec::new(), Vec::new(), Vec::new());
        let counters = &*fleet.strategies;
        for (index, strategy) in config.strategies.iter().enumerate() {
            let load = |strategy: &StrategyConfig, role| {
                self.load(strategy, file, config, fleet.places(index), role, attempt)
            };
            let plugin = load(strategy, Role::Live)?;
            let mut info = describe(&plugin, &strategy.parameters, counters);
            let mut seat = Seat { strategy: Box::new(plugin), candidate: None };
            if let Some(candidate) = &strategy.candidate {
                let plugin = load(&candidate.strategy, Role::Candidate)?;
                let beside = describe(&plugin, &candidate.strategy.parameters, counters);
                let (trialled, trial) = self.trial(strategy, candidate, [&info, &beside]);
                trials.push((trialled, Arc::clone(&trial)));
                info.lessons = info.lessons.or(beside.lessons.clone());
                info.candidate = Some(Box::new(CandidateInfo { strategy: beside, trial }));
                seat.candidate = Some(Box::new(plugin));
            }
            seats.push(seat);
            infos.push(info);
        }
        *self.trials.lock().unwrap_or_else(PoisonError::into_inner) = trials;
        Ok((seats, infos))
    }

    /// The trial of a candidate: the one under way, if this is the same.
    fn trial(
        &self,
        strategy: &StrategyConfig,
        candidate: &CandidateConfig,
        infos: [&StrategyInfo; 2],
    ) -> (Trialled, Arc<Trial>) {
        let parameters = [&strategy.parameters, &candidate.strategy.parameters];
        let [ours, beside] = [0, 1].map(|i| (infos[i].sha256.clone(), parameters[i].clone()));
        let CandidateConfig { mode, rollback, .. } = *candidate;
        let at = strategy.at.clone();
        let trialled = Trialled { both: [ours, beside], at, mode, rollback };
        let trials = self.trials.lock().unwrap_or_else(PoisonError::into_inner);
        let known = trials.iter().find(|(known, _)| *known == trialled);
        let trial = known.map(|(_, trial)| Arc::clone(trial));
        (trialled, trial.unwrap_or_else(|| Arc::new(Trial::new(mode, rollback))))
    }

    /// What is wrong with a strategy as far as can be told without the models that it is for.
    pub(super) fn alone(
        &self,
        strategy: &StrategyConfig,
        file: &Document,
        config: &Config,
        attempt: &Attempt,
    ) -> Result<(), Diagnostics> {
        let (opened, parameters) = self.open(strategy, file, config, attempt)?;
        if opened.takes_places() {
            return Ok(());
        }
        let schema = opened.description().parameters.clone();
        let configured = opened.configure(&parameters, Vec::new(), Role::Live, 0);
        configured.map(drop).map_err(|error| refused(file, &strategy.at, &error, &schema, attempt))
    }

    /// A strategy that is ready to be asked about `fleet`, the deployments of its models.
    fn load(
        &self,
        strategy: &StrategyConfig,
        file: &Document,
        config: &Config,
        fleet: Vec<Place>,
        role: Role,
        attempt: &Attempt,
    ) -> Result<Plugin, Diagnostics> {
        let (opened, parameters) = self.open(strategy, file, config, attempt)?;
        let schema = opened.description().parameters.clone();
        let plugin = opened.configure(&parameters, fleet, role, self.instances);
        plugin.map_err(|error| refused(file, &strategy.at, &error, &schema, attempt))
    }

    /// A strategy that has said who it is, and its parameters, which fit what it described.
    fn open(
        &self,
        strategy: &StrategyConfig,
        file: &Document,
        config: &Config,
        attempt: &Attempt,
    ) -> Result<(Opened, Value), Diagnostics> {
        for place in places(&strategy.reference, &self.plugins) {
            attempt.look(&place);
        }
        let source = locate(&strategy.reference, &self.plugins);
        let pin = strategy.sha256.as_deref();
        let load = |source| {
            let cancellation = attempt.cancellation();
            self.host.load_unless_canceled(&source, pin, &config.sandbox, cancellation)
        };
        let opened = source.and_then(load);
        let opened = opened.map_err(|error| explain(file, &strategy.at, &error, attempt))?;
        let at = key(&strategy.at, "routing_parameter");
        let parameters = config::schema::value(file, &at, &opened.description().parameters);
        parameters.map(|parameters| (opened, parameters)).map_err(Diagnostics::new)
    }
}

fn describe(plugin: &Plugin, parameters: &Value, counters: &StrategyTable) -> StrategyInfo {
    let description = plugin.description();
    StrategyInfo {
        name: description.name.clone(),
        version: description.version.clone(),
        sha256: plugin.digest().to_owned(),
        parameters: redact(parameters),
        on_path: plugin.on_path(),
        meters: counters.of(&description.name),
        lessons: plugin.learns().then(Arc::<Lessons>::default),
        candidate: None,
    }
}

/// Parameters for people: what is named like a secret is not shown.
fn redact(value: &Value) -> Value {
    let secret = |key: &str| {
        let key = key.to_ascii_lowercase();
        let words = ["key", "secret", "password", "credential"];
        // Tokens are what models read; a token is a credential.
        words.iter().any(|word| key.contains(word)) || key.ends_with("token")
    };
    match value {
        Value::Object(fields) => {
            let shown = fields.iter().map(|(key, value)| {
                let value = if secret(key) { "[redacted]".into() } else { redact(value) };
                (key.clone(), value)
            });
            Value::Object(shown.collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(redact).collect()),
        other => other.clone(),
    }
}

/// A strategy that failed its trial at load, at its place in `routing.yaml`.
pub(super) fn failed(config: &Config, failed: &Failed, attempt: &Attempt) -> Diagnostics {
    let Failed { strategy, is_candidate, is_of_request, model, fault } = failed;
    if matches!(fault, Fault::TimedOut(_)) {
        attempt.may_pass();
    }
    let of = if *is_of_request { "a request to " } else { "" };
    let message = format!("the strategy failed its trial for {of}model `{model}`: {fault}");
    let of = config.strategies.get(*strategy);
    let candidate = of.and_then(|of| of.candidate.as_ref()).filter(|_| *is_candidate);
    let of = candidate.map(|candidate| &candidate.strategy).or(of);
    // Only a strategy can fault, and only routing.yaml can name one.
    let error = config.routing_file.as_ref().zip(of).map(|(file, of)| {
        let help = "mend the strategy, or name another: `gateway strategy test` tries one";
        file.error(&key(&of.at, "routing_strategy"), message, help)
    });
    Diagnostics::new(error.into_iter().collect())
}

/// A strategy's error at its place in `routing.yaml`: `at`, where its keys stand.
fn explain(file: &Document, at: &[Step], error: &LoadError, attempt: &Attempt) -> Diagnostics {
    if error.may_pass() {
        attempt.may_pass();
    }
    let name = match error {
        LoadError::Configure { .. } => "routing_parameter",
        LoadError::Pin { .. } => "sha256",
        _ => "routing_strategy",
    };
    file.error(&key(at, name), error.to_string(), error.remedy()).into()
}

/// The error of a strategy that was given its parameters. One that refuses them names a parameter, which
/// is the place, and its schema says what a right value is.
fn refused(
    file: &Document,
    at: &[Step],
    error: &LoadError,
    schema: &Value,
    attempt: &Attempt,
) -> Diagnostics {
    let LoadError::Configure { message, .. } = error else {
        return explain(file, at, error, attempt);
    };
    let parameters = key(at, "routing_parameter");
    let named = message.split('`').skip(1).step_by(2).map(|name| key(&parameters, name));
    let given = named.into_iter().find(|place| file.text(place).is_some());
    let help = match config::schema::wanted(schema, message) {
        Some(wanted) => format!("it takes {wanted}"),
        None => error.remedy().to_owned(),
    };
    file.error(&given.unwrap_or(parameters), error.to_string(), help).into()
}

/// A key of what stands at `at`.
fn key(at: &[Step], name: &str) -> Vec<Step> {
    at.iter().cloned().chain([Step::Key(name.into())]).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_named_like_a_secret_is_not_shown() {
        let shown =
            redact(&json!({"max_tokens": 6, "nested": [{"apiKey": "sk-1", "auth_token": 2}]}));
        let nested = json!([{"apiKey": "[redacted]", "auth_token": "[redacted]"}]);
        assert_eq!(shown, json!({"max_tokens": 6, "nested": nested}));
    }
}
