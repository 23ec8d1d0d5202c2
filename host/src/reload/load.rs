//! One load: both files, the strategy, one trial.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Map, Value};

use crate::config::{self, Config, Diagnostic, Diagnostics, Document, Paths, Step, StrategyConfig};
use crate::decision::plugin::{LoadError, Plugin, PluginHost, locate, places};
use crate::decision::{Plan, Strategy};
use crate::fleet::{Fleet, Generation, Snapshot, StrategyInfo};

use super::Seen;

/// Where a configuration comes from.
pub struct Loader {
    /// The two files.
    pub paths: Paths,
    /// The plugin folder.
    pub plugins: PathBuf,
    host: PluginHost,
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
        Ok(Self { paths, plugins, host: PluginHost::new()? })
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
        let (strategy, info) = match (&config.strategy, &config.routing_file) {
            (Some(strategy), Some(file)) => {
                let plugin = self.strategy(strategy, file, &config, seen)?;
                let info = describe(&plugin, &strategy.parameters);
                (Some(Box::new(plugin) as Box<dyn Strategy>), info)
            }
            _ => (None, StrategyInfo::none()),
        };
        let fleet = Fleet::build(&config, previous);
        let file = config.routing_file.clone();
        let loaded_at = SystemTime::now();
        let generation = Arc::new(Generation { config, fleet, strategy: info, loaded_at });
        Plan::tried(generation, strategy).map_err(|(model, fault)| {
            let message = format!("the strategy failed its trial for model `{model}`: {fault}");
            let help = "mend the strategy or name another";
            // Only a strategy can fault, and only routing.yaml can name one.
            let error = file.map(|file| at_strategy(&file, message, help));
            Diagnostics::new(error.into_iter().collect())
        })
    }

    /// The errors of both files, and what is wrong with the strategy beside them.
    fn more(&self, errors: Diagnostics, config: Option<&Config>, seen: &mut Seen) -> Diagnostics {
        let Some(config) = config else { return errors };
        let (Some(strategy), Some(file)) = (&config.strategy, &config.routing_file) else {
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
        let of_strategy = self.strategy(strategy, file, config, seen).err();
        // What is wrong with a parameter's text is known already.
        let new = of_strategy
            .into_iter()
            .flatten()
            .filter(|new| !errors.iter().any(|old| (&old.file, old.line) == (&new.file, new.line)));
        let new: Vec<Diagnostic> = new.collect();
        Diagnostics::new(errors.into_iter().chain(new).collect())
    }

    fn strategy(
        &self,
        strategy: &StrategyConfig,
        file: &Document,
        config: &Config,
        seen: &mut Seen,
    ) -> Result<Plugin, Diagnostics> {
        for place in places(&strategy.reference, &self.plugins) {
            seen.look(&place);
        }
        let source = locate(&strategy.reference, &self.plugins);
        let pin = strategy.sha256.as_deref();
        let opened = source.and_then(|source| self.host.load(&source, pin, &config.sandbox));
        let opened = opened.map_err(|error| explain(file, &error))?;
        let at = [Step::Key("routing_parameter".into())];
        let parameters = config::schema::value(file, &at, &opened.description().parameters);
        let parameters = parameters.map_err(Diagnostics::new)?;
        opened.configure(&parameters).map_err(|error| explain(file, &error))
    }
}

fn describe(plugin: &Plugin, parameters: &Value) -> StrategyInfo {
    let description = plugin.description();
    StrategyInfo {
        name: description.name.clone(),
        version: Some(description.version.clone()),
        sha256: Some(plugin.digest().to_owned()),
        parameters: redact(parameters),
    }
}

impl StrategyInfo {
    /// What is shown where `models.yaml` alone decides.
    fn none() -> Self {
        let parameters = Value::Object(Map::new());
        Self { name: "models.yaml".into(), version: None, sha256: None, parameters }
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
fn explain(file: &Document, error: &LoadError) -> Diagnostics {
    let (key, help) = match error {
        LoadError::Configure { .. } => ("routing_parameter", "give it what it asks for"),
        LoadError::Pin { .. } => {
            ("sha256", "check where the file came from, then update the digest")
        }
        _ => ("routing_strategy", "mend the strategy or name another"),
    };
    let error = file.error(&[Step::Key(key.into())], error.to_string(), help);
    Diagnostics::new(vec![error])
}

fn at_strategy(file: &Document, message: String, help: &str) -> Diagnostic {
    file.error(&[Step::Key("routing_strategy".into())], message, help)
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
