//! Loads and configures the strategies that a configuration names.

use std::num::NonZero;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use config::{self, CandidateConfig, Config, Diagnostics, Document, PathStep, StrategyConfig};
use contract::{Fault, KnownBudgets, Place, Role, Strategy};
use fleet::{AttemptQueue, CandidateInfo, Fleet, StrategyInfo, StrategyTable, Trial};
use routing::{Failed, Seat};
use sandbox::{Cache, Compiler, LoadError, Opened, Plugin, PluginHost, System, locate, places};

use super::Loading;

/// Loads strategies, and keeps the trials of candidates over reloads.
pub(super) struct Strategies {
    /// The plugin folder.
    plugins: PathBuf,
    host: PluginHost,
    /// Number of instances for the request path of each strategy that decides for each request.
    instances: usize,
    /// The trials of the last configuration. A reload that does not change a candidate continues
    /// its trial, and a candidate that was rolled back stays so.
    trials: Mutex<Vec<(Trialled, Arc<Trial>)>>,
}

/// Identity of a trial. Equal values mean the same trial.
#[derive(Debug, Clone, PartialEq)]
struct Trialled {
    /// Digest and parameters of the strategy in use, then those of the candidate.
    both: [(String, Value); 2],
    at: Vec<PathStep>,
    mode: config::TrialMode,
    rollback: config::Rollback,
}

impl Strategies {
    /// Loads strategies from a plugin folder, and the built-in ones. `compiler` compiles them.
    pub(super) fn new(plugins: PathBuf, compiler: Compiler) -> anyhow::Result<Self> {
        // One instance for each serving thread, and one more, so that a slow call leaves one free.
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let host = PluginHost::new()?.with_compiler(compiler);
        let trials = Mutex::default();
        Ok(Self { plugins, host, instances: cores + 1, trials })
    }

    /// Keeps compiled strategies in `cache` and looks them up there.
    pub(super) fn with_cache(self, cache: Cache) -> Self {
        Self { host: self.host.with_cache(cache), ..self }
    }

    /// Evicts surplus compiled strategies at the end of a load. See [`PluginHost::tidy`].
    pub(super) fn tidy(&self, is_good: bool) {
        self.host.tidy(is_good);
    }

    /// Loads all strategies of `config`, in its order.
    pub(super) fn all(
        &self,
        config: &Config,
        file: &Document,
        fleet: &Fleet,
        loading: &Loading,
    ) -> Result<(Vec<Seat>, Vec<StrategyInfo>), Diagnostics> {
        let (mut seats, mut infos, mut trials) = (Vec::new(), Vec::new(), Vec::new());
        let counters = &*fleet.strategies;
        for (index, strategy) in config.strategies.iter().enumerate() {
            let load = |strategy: &StrategyConfig, role| {
                self.load(strategy, file, config, fleet.places(index), role, loading)
            };
            let plugin = load(strategy, Role::Live)?;
            let mut info = describe(&plugin, &strategy.parameters, counters);
            let mut seat = Seat { strategy: Box::new(plugin), candidate: None };
            if let Some(candidate) = &strategy.candidate {
                let plugin = load(&candidate.strategy, Role::Candidate)?;
                let beside = describe(&plugin, &candidate.strategy.parameters, counters);
                let (trialled, trial) = self.trial(strategy, candidate, [&info, &beside]);
                trials.push((trialled, Arc::clone(&trial)));
                info.attempt_queue = info.attempt_queue.or(beside.attempt_queue.clone());
                info.candidate = Some(Box::new(CandidateInfo { strategy: beside, trial }));
                seat.candidate = Some(Box::new(plugin));
            }
            seats.push(seat);
            infos.push(info);
        }
        *self.trials.lock().unwrap_or_else(PoisonError::into_inner) = trials;
        Ok((seats, infos))
    }

    /// Returns the trial of a candidate: the one under way if it is the same, else a new one.
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

    /// Checks a strategy as far as possible without the models that it decides for.
    pub(super) fn alone(
        &self,
        strategy: &StrategyConfig,
        file: &Document,
        config: &Config,
        loading: &Loading,
    ) -> Result<(), Diagnostics> {
        let (opened, parameters) = self.open(strategy, file, config, loading)?;
        if opened.takes_places() {
            return Ok(());
        }
        let schema = opened.description().parameters.clone();
        let configured = opened.configure(&parameters, Vec::new(), Role::Live, 0);
        configured.map(drop).map_err(|error| refused(file, &strategy.at, &error, &schema, loading))
    }

    /// Loads a strategy and configures it for `fleet`, the deployments of its models.
    fn load(
        &self,
        strategy: &StrategyConfig,
        file: &Document,
        config: &Config,
        fleet: Vec<Place>,
        role: Role,
        loading: &Loading,
    ) -> Result<Plugin, Diagnostics> {
        let (opened, parameters) = self.open(strategy, file, config, loading)?;
        let schema = opened.description().parameters.clone();
        let plugin = opened.configure(&parameters, fleet, role, self.instances);
        plugin.map_err(|error| refused(file, &strategy.at, &error, &schema, loading))
    }

    /// Loads a strategy up to its `describe`. Returns it with its parameters, which fit its schema.
    fn open(
        &self,
        strategy: &StrategyConfig,
        file: &Document,
        config: &Config,
        loading: &Loading,
    ) -> Result<(Opened, Value), Diagnostics> {
        for place in places(&strategy.reference, &self.plugins) {
            loading.look(&place);
        }
        let source = locate(&strategy.reference, &self.plugins);
        let pin = strategy.sha256.as_deref();
        let budgets = config.budgets.iter().map(|budget| &*budget.name);
        let host = self.host.clone().with_budgets(KnownBudgets::named(budgets));
        let load = |source| {
            let cancellation = loading.cancellation();
            host.load_unless_canceled(&source, pin, &config.sandbox, cancellation)
        };
        let opened = source.and_then(load).map(|opened| {
            opened.with_surroundings(Arc::new(System::new(config.time_zone.clone())))
        });
        let opened = opened.map_err(|error| explain(file, &strategy.at, &error, loading))?;
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
        signals: description.told(plugin.on_path().is_some()),
        on_path: plugin.on_path(),
        meters: counters.of(&description.name),
        attempt_queue: plugin.learns().then(Arc::<AttemptQueue>::default),
        candidate: None,
    }
}

/// Parameters for display. Values whose keys look like those of secrets are hidden.
fn redact(value: &Value) -> Value {
    let secret = |key: &str| {
        let key = key.to_ascii_lowercase();
        let words = ["key", "secret", "password", "credential"];
        // The plural `tokens` counts what models read. The singular is a credential.
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

/// The error of a strategy that failed its trial in the load, at its place in `routing.yaml`.
pub(super) fn failed(config: &Config, failed: &Failed, loading: &Loading) -> Diagnostics {
    let Failed { strategy, role, call, fault, .. } = failed;
    if matches!(fault, Fault::TimedOut(_)) {
        loading.mark_transient();
    }
    let message = format!("the strategy failed its trial for {call}: {fault}");
    let of = config.strategies.get(*strategy);
    let candidate = of.and_then(|of| of.candidate.as_ref()).filter(|_| *role == Role::Candidate);
    let of = candidate.map(|candidate| &candidate.strategy).or(of);
    // Only a strategy can fault, and only routing.yaml can name one.
    let error = config.routing_file.as_ref().zip(of).map(|(file, of)| {
        let help = "mend the strategy, or name another: `gateway strategy test` tries one";
        file.error(&key(&of.at, "routing_strategy"), message, help)
    });
    Diagnostics::new(error.into_iter().collect())
}

/// A load error at the strategy's place in `routing.yaml`. `at` is the mapping with the strategy's
/// keys.
fn explain(file: &Document, at: &[PathStep], error: &LoadError, loading: &Loading) -> Diagnostics {
    if error.is_transient() {
        loading.mark_transient();
    }
    let name = match error {
        LoadError::Configure { .. } => "routing_parameter",
        LoadError::Pin { .. } => "sha256",
        _ => "routing_strategy",
    };
    file.error(&key(at, name), error.to_string(), error.remedy()).into()
}

/// The error of a strategy's `configure`. A refusal that names a given parameter in backticks, as
/// `high` or `scorers[1].signal`, is shown at that parameter. The parameter's schema then provides
/// the help.
fn refused(
    file: &Document,
    at: &[PathStep],
    error: &LoadError,
    schema: &Value,
    loading: &Loading,
) -> Diagnostics {
    let LoadError::Configure { message, .. } = error else {
        return explain(file, at, error, loading);
    };
    let parameters = key(at, "routing_parameter");
    let under = |steps: Vec<PathStep>| [&*parameters, &*steps].concat();
    let named = || message.split('`').skip(1).step_by(2).filter_map(steps);
    let given = named().map(under).find(|place| file.has(place));
    // The schema describes the keys of the parameters, and not what is in them.
    let keys = named().filter_map(|steps| match steps.into_iter().next() {
        Some(PathStep::Key(key)) => Some(format!("`{key}`")),
        _ => None,
    });
    let help = match config::schema::wanted(schema, &keys.collect::<String>()) {
        Some(wanted) => format!("it takes {wanted}"),
        None => error.remedy().to_owned(),
    };
    file.error(&given.unwrap_or(parameters), error.to_string(), help).into()
}

/// The steps of a path such as `scorers[1].signal`. None: it is no path.
fn steps(path: &str) -> Option<Vec<PathStep>> {
    let mut steps = Vec::new();
    for part in path.split('.') {
        let (key, indices) = part.split_at(part.find('[').unwrap_or(part.len()));
        steps.push(PathStep::Key(key.into()));
        for index in indices.split_inclusive(']') {
            let index = index.strip_prefix('[')?.strip_suffix(']')?;
            steps.push(PathStep::Index(index.parse().ok()?));
        }
    }
    Some(steps)
}

/// The place of a key in the mapping at `at`.
fn key(at: &[PathStep], name: &str) -> Vec<PathStep> {
    at.iter().cloned().chain([PathStep::Key(name.into())]).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_have_keys_and_indices() {
        let key = |key: &str| PathStep::Key(key.into());
        for (path, expected) in [
            ("high", Some(vec![key("high")])),
            ("a[1].b", Some(vec![key("a"), PathStep::Index(1), key("b")])),
            ("a[0][12]", Some(vec![key("a"), PathStep::Index(0), PathStep::Index(12)])),
            ("a[x]", None),
            ("a[1", None),
            ("a[1]b", None),
            ("a[-1]", None),
            ("a[99999999999999999999]", None),
        ] {
            assert_eq!(steps(path), expected, "{path}");
        }
    }

    #[test]
    fn what_is_named_like_a_secret_is_not_shown() {
        let shown =
            redact(&json!({"max_tokens": 6, "nested": [{"apiKey": "sk-1", "auth_token": 2}]}));
        let nested = json!([{"apiKey": "[redacted]", "auth_token": "[redacted]"}]);
        assert_eq!(shown, json!({"max_tokens": 6, "nested": nested}));
    }
}
