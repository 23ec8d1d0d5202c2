//! One load: both files, the strategy, one trial.

use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::Value;

use crate::config::{self, Config, Diagnostic, Diagnostics, Document, Paths, Step, StrategyConfig};
use crate::decision::plugin::{LoadError, Plugin, PluginHost, Role, locate, places};
use crate::decision::{Failed, Plan};
use crate::fleet::{Fleet, Generation, Snapshot, StrategyInfo};
use crate::strategy::{Place, Strategy};

use super::Seen;

/// Where a configuration comes from.
pub struct Loader {
    /// The two files.
    pub paths: Paths,
    /// The plugin folder.
    pub plugins: PathBuf,
    host: PluginHost,
    /// Made of each strategy that decides for each request.
    instances: usize,
}

/// A configuration that passed every check.
pub struct Loaded {
    /// For the decision thread.
    pub plan: Plan,
    /// The weights of the trial.
    pub snapshot: Snapshot,
    /// The files it comes from.
    pub seen: Seen,
}

/// A configuration that did not.
#[derive(Debug)]
pub struct Refused {
    /// Everything that is wrong.
    pub diagnostics: Diagnostics,
    /// The files it comes from, as far as they were found: one that changes may mend it.
    pub seen: Seen,
}

impl Loader {
    /// A loader of these files.
    ///
    /// # Errors
    /// If no sandbox can be made on this machine.
    pub fn new(paths: Paths, plugins: PathBuf) -> anyhow::Result<Self> {
        // Calls come from the threads that serve, one a core, and one that is slow must not be waited for.
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Ok(Self { paths, plugins, host: PluginHost::new()?, instances: cores + 1 })
    }

    /// Reads and checks everything as it is now. Takes as long as compiling the strategy: not for
    /// a thread that serves.
    ///
    /// # Errors
    /// [`Refused`], with everything that is wrong.
    pub fn load(&self, previous: Option<&Fleet>) -> Result<Loaded, Refused> {
        let mut seen = Seen::default();
        match self.plan(previous, &mut seen) {
            Ok((plan, snapshot)) => Ok(Loaded { plan, snapshot, seen }),
            Err(diagnostics) => Err(Refused { diagnostics, seen }),
        }
    }

    /// A plan that was tried. `seen` looks at every file before it is read.
    fn plan(
        &self,
        previous: Option<&Fleet>,
        seen: &mut Seen,
    ) -> Result<(Plan, Snapshot), Diagnostics> {
        seen.look(&self.paths.models);
        seen.look(&self.paths.routing);
        let env = |name: &str| std::env::var(name).ok();
        let config = match config::load_in_part(&self.paths, &env) {
            Ok(config) => config,
            Err((errors, config)) => return Err(self.more(errors, config.as_deref(), seen)),
        };
        let fleet = Fleet::build(&config, previous);
        let (mut infos, mut strategies) = (Vec::new(), Vec::<Box<dyn Strategy>>::new());
        let file = config.routing_file.clone();
        for (index, strategy) in config.strategies.iter().enumerate() {
            // Only routing.yaml can name one.
            let Some(file) = &file else { break };
            let plugin = self.strategy(strategy, file, &config, Some(fleet.places(index)), seen)?;
            let Some(plugin) = plugin else { break };
            infos.push(describe(&plugin, &strategy.parameters));
            strategies.push(Box::new(plugin));
        }
        let loaded_at = SystemTime::now();
        let generation = Arc::new(Generation { config, fleet, strategies: infos, loaded_at });
        let at = |index: usize| generation.config.strategies.get(index).map(|s| s.at.clone());
        Plan::tried(Arc::clone(&generation), strategies).map_err(|failed| {
            let Failed { strategy, model, fault } = failed;
            let message = format!("the strategy failed its trial for model `{model}`: {fault}");
            let help = "mend the strategy or name another";
            let place = key(&at(strategy).unwrap_or_default(), "routing_strategy");
            let error = file.map(|file| file.error(&place, message, help));
            Diagnostics::new(error.into_iter().collect())
        })
    }

    /// The errors of both files, and what is wrong with the strategy beside them.
    fn more(&self, errors: Diagnostics, config: Option<&Config>, seen: &mut Seen) -> Diagnostics {
        let Some(config) = config else { return errors };
        let (Some(strategy), Some(file)) = (config.strategies.first(), &config.routing_file) else {
            return errors;
        };
        // Where its name is wrong, another strategy would be checked in its place.
        let name = [Step::Key("routing_strategy".into())];
        let named = file.text(&name).map(|_| file.error(&name, "", ""));
        let wrong = |at: Diagnostic| {
            errors.iter().any(|error| (&error.file, error.line) == (&at.file, at.line))
        };
        if named.is_some_and(wrong) {
            return errors;
        }
        let of_strategy = self.strategy(strategy, file, config, None, seen).err();
        // What is wrong with a parameter's text is known already.
        let new = of_strategy
            .into_iter()
            .flatten()
            .filter(|new| !errors.iter().any(|old| (&old.file, old.line) == (&new.file, new.line)));
        let new: Vec<Diagnostic> = new.collect();
        Diagnostics::new(errors.into_iter().chain(new).collect())
    }

    /// A strategy that is ready to be asked; `fleet`: the deployments of its models. Where these are not
    /// known (None), because the files are wrong, and it needs them, it is checked as far as that goes.
    fn strategy(
        &self,
        strategy: &StrategyConfig,
        file: &Document,
        config: &Config,
        fleet: Option<Vec<Place>>,
        seen: &mut Seen,
    ) -> Result<Option<Plugin>, Diagnostics> {
        for place in places(&strategy.reference, &self.plugins) {
            seen.look(&place);
        }
        let source = locate(&strategy.reference, &self.plugins);
        let pin = strategy.sha256.as_deref();
        let opened = source.and_then(|source| self.host.load(&source, pin, &config.sandbox));
        let opened = opened.map_err(|error| explain(file, &strategy.at, &error))?;
        let at = key(&strategy.at, "routing_parameter");
        let parameters = config::schema::value(file, &at, &opened.description().parameters);
        let parameters = parameters.map_err(Diagnostics::new)?;
        if fleet.is_none() && opened.takes_places() {
            return Ok(None);
        }
        let (fleet, role) = (fleet.unwrap_or_default(), Role::Live);
        let plugin = opened.configure(&parameters, fleet, role, self.instances);
        plugin.map(Some).map_err(|error| explain(file, &strategy.at, &error))
    }
}

fn describe(plugin: &Plugin, parameters: &Value) -> StrategyInfo {
    let description = plugin.description();
    StrategyInfo {
        name: description.name.clone(),
        version: description.version.clone(),
        sha256: plugin.digest().to_owned(),
        parameters: redact(parameters),
        on_path: plugin.on_path(),
    }
}

/// Parameters for people: what is named like a secret is not shown.
fn redact(value: &Value) -> Value {
    let secret = |key: &str| {
        let key = key.to_ascii_lowercase();
        ["key", "token", "secret", "password", "credential"].iter().any(|word| key.contains(word))
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

/// A strategy's error at its place in `routing.yaml`.
fn explain(file: &Document, at: &[Step], error: &LoadError) -> Diagnostics {
    let (name, help) = match error {
        LoadError::Configure { .. } => ("routing_parameter", "give it what it asks for"),
        LoadError::Pin { .. } => {
            ("sha256", "check where the file came from, then update the digest")
        }
        _ => ("routing_strategy", "mend the strategy or name another"),
    };
    let error = file.error(&key(at, name), error.to_string(), help);
    Diagnostics::new(vec![error])
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
        let shown = redact(&json!({"local_fraction": 0.6, "nested": [{"apiKey": "sk-1"}]}));
        assert_eq!(shown, json!({"local_fraction": 0.6, "nested": [{"apiKey": "[redacted]"}]}));
    }
}
