//! One load: both files, the strategy, one trial.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use config::{self, Config, Diagnostic, Diagnostics, Paths, Step};
use fleet::{Fleet, Generation, Snapshot};
use routing::Plan;
use sandbox::{Cache, Compiler};

use super::strategies::{self, Strategies};
use super::{Attempt, Seen};

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
    /// The same files may be good later: the load ran out of time, or the machine had too little to give.
    pub may_pass: bool,
}

impl Loader {
    /// A loader of these files, whose strategies `compiler` compiles.
    ///
    /// # Errors
    /// If no sandbox can be made on this machine.
    pub fn new(paths: Paths, plugins: PathBuf, compiler: Compiler) -> anyhow::Result<Self> {
        Ok(Self { paths, strategies: Strategies::new(plugins, compiler)? })
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
        self.attempt(previous, &Attempt::default())
    }

    /// The same, but returns soon after `attempt` was canceled, and shows in it what it goes by.
    ///
    /// # Errors
    /// [`Refused`], with everything that is wrong, or for what was canceled.
    pub(crate) fn attempt(
        &self,
        previous: Option<&Fleet>,
        attempt: &Attempt,
    ) -> Result<Loaded, Refused> {
        let planned = self.plan(previous, attempt);
        // The load that takes the place of a canceled one says what is used.
        if !attempt.cancellation().is_canceled() {
            self.strategies.tidy(planned.is_ok());
        }
        let seen = attempt.seen();
        match planned {
            Ok((plan, snapshot)) => Ok(Loaded { plan, snapshot, seen }),
            Err(diagnostics) => Err(Refused { diagnostics, seen, may_pass: attempt.passes() }),
        }
    }

    /// A plan that was tried. `attempt` looks at every file before it is read.
    fn plan(
        &self,
        previous: Option<&Fleet>,
        attempt: &Attempt,
    ) -> Result<(Plan, Snapshot), Diagnostics> {
        attempt.look(&self.paths.models);
        attempt.look(&self.paths.routing);
        let env = |name: &str| std::env::var(name).ok();
        let config = match config::load_in_part(&self.paths, &env) {
            Ok(config) => config,
            Err((errors, config)) => return Err(self.more(errors, config.as_deref(), attempt)),
        };
        let fleet = Fleet::build(&config, previous);
        let (seats, strategies) = match &config.routing_file {
            Some(file) => self.strategies.all(&config, file, &fleet, attempt)?,
            // Only routing.yaml can name one.
            None => Default::default(),
        };
        let loaded_at = SystemTime::now();
        let generation = Arc::new(Generation { config, fleet, strategies, loaded_at });
        let tried = Plan::tried(Arc::clone(&generation), seats);
        tried.map_err(|failed| strategies::failed(&generation.config, &failed, attempt))
    }

    /// The errors of both files, and what is wrong with the strategy beside them.
    fn more(&self, errors: Diagnostics, config: Option<&Config>, attempt: &Attempt) -> Diagnostics {
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
        let of_strategy = self.strategies.alone(strategy, file, config, attempt).err();
        // What is wrong with a parameter's text is known already.
        let new = of_strategy
            .into_iter()
            .flatten()
            .filter(|new| !errors.iter().any(|old| (&old.file, old.line) == (&new.file, new.line)));
        let new: Vec<Diagnostic> = new.collect();
        Diagnostics::new(errors.into_iter().chain(new).collect())
    }
}
