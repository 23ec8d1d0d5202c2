//! One load: both files, the strategy, one trial.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use config::{self, Config, Diagnostic, Diagnostics, Paths, Step};
use fleet::{Fleet, Generation, Snapshot};
use routing::Plan;
use sandbox::Cache;

use super::Seen;
use super::strategies::{self, Strategies};

/// Where a configuration comes from.
pub struct Loader {
    /// The two files.
    pub paths: Paths,
    strategies: Strategies,
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
        Ok(Self { paths, strategies: Strategies::new(plugins)? })
    }

    /// The same, but strategies that were compiled before are found in `cache`, if there is one.
    #[must_use]
    pub fn with_cache(self, cache: Option<Cache>) -> Self {
        let Self { paths, strategies } = self;
        let strategies = match cache {
            Some(cache) => strategies.with_cache(cache),
            None => strategies,
        };
        Self { paths, strategies }
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
        let (seats, strategies) = match &config.routing_file {
            Some(file) => self.strategies.all(&config, file, &fleet, seen)?,
            // Only routing.yaml can name one.
            None => Default::default(),
        };
        let loaded_at = SystemTime::now();
        let generation = Arc::new(Generation { config, fleet, strategies, loaded_at });
        let tried = Plan::tried(Arc::clone(&generation), seats);
        tried.map_err(|failed| strategies::failed(&generation.config, &failed))
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
        let of_strategy = self.strategies.alone(strategy, file, config, seen).err();
        // What is wrong with a parameter's text is known already.
        let new = of_strategy
            .into_iter()
            .flatten()
            .filter(|new| !errors.iter().any(|old| (&old.file, old.line) == (&new.file, new.line)));
        let new: Vec<Diagnostic> = new.collect();
        Diagnostics::new(errors.into_iter().chain(new).collect())
    }
}
