//! One load: reads both files, loads the strategies, and tries the plan once.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use config::{self, Config, Diagnostic, Diagnostics, PathStep, Paths};
use fleet::{Fleet, Generation, Snapshot};
use ledger::History;
use routing::Plan;
use sandbox::{Cache, Compiler};

use super::strategies::{self, Strategies};
use super::vault::Vault;
use super::{Loading, Seen};

/// Loads configurations from two files and a plugin folder.
pub struct Loader {
    /// Paths of the two files.
    pub paths: Paths,
    strategies: Strategies,
    /// None: budgets are checked, and not kept.
    vault: Option<Vault>,
    /// What attempts took and cost, over all configurations.
    costs: Arc<History>,
}

/// A configuration that passed every check.
pub struct Loaded {
    /// The plan for the decision thread.
    pub plan: Plan,
    /// The snapshot with the weights of the trial.
    pub snapshot: Snapshot,
    /// The files that were read, and missing files that the load looked for.
    pub seen: Seen,
}

/// A configuration that failed a check.
#[derive(Debug)]
pub struct Refused {
    /// All of its errors.
    pub diagnostics: Diagnostics,
    /// The files that the load looked at before it failed. A change of one may repair it.
    pub seen: Seen,
    /// True if the same files may load later: the load timed out, or the machine lacked resources.
    pub is_transient: bool,
}

impl Loader {
    /// A loader of these files. `compiler` compiles the strategies.
    ///
    /// # Errors
    /// If this machine cannot run a sandbox.
    pub fn new(paths: Paths, plugins: PathBuf, compiler: Compiler) -> anyhow::Result<Self> {
        let strategies = Strategies::new(plugins, compiler)?;
        Ok(Self { paths, strategies, vault: None, costs: Arc::default() })
    }

    /// Keeps compiled strategies in `cache`, if there is one, and looks them up there.
    #[must_use]
    pub fn with_cache(self, cache: Option<Cache>) -> Self {
        let Self { paths, strategies, vault, costs } = self;
        let strategies = match cache {
            Some(cache) => strategies.with_cache(cache),
            None => strategies,
        };
        Self { paths, strategies, vault, costs }
    }

    /// Keeps what budgets have spent in this file, if the configuration names no other. Without this
    /// there are no budgets.
    #[must_use]
    pub fn with_ledger(self, file: Option<PathBuf>) -> Self {
        Self { vault: Some(Vault::new(file)), ..self }
    }

    /// What attempts took and cost. It is kept in the ledger once that is open.
    #[must_use]
    pub fn costs(&self) -> &Arc<History> {
        &self.costs
    }

    /// Writes what attempts took and cost and what budgets have spent, and closes their file. Blocks.
    pub fn close_ledger(&self) {
        self.costs.close();
        if let Some(vault) = &self.vault {
            vault.close();
        }
    }

    /// Reads and checks everything as it is now. It may have to compile strategies, so it must not
    /// run on a serving thread.
    ///
    /// # Errors
    /// [`Refused`], with all errors.
    pub fn load(&self, previous: Option<&Fleet>) -> Result<Loaded, Refused> {
        self.load_seen(previous, &Loading::default())
    }

    /// Like [`Self::load`], but returns soon after `loading` is canceled. Records in `loading`
    /// every file that it looks at.
    ///
    /// # Errors
    /// [`Refused`], with all errors, also after a cancellation.
    pub(crate) fn load_seen(
        &self,
        previous: Option<&Fleet>,
        loading: &Loading,
    ) -> Result<Loaded, Refused> {
        let planned = self.plan(previous, loading);
        // After a cancellation, the load that follows determines what is in use.
        if !loading.cancellation().is_canceled() {
            self.strategies.tidy(planned.is_ok());
        }
        let seen = loading.seen();
        match planned {
            Ok((plan, snapshot)) => Ok(Loaded { plan, snapshot, seen }),
            Err(diagnostics) => {
                Err(Refused { diagnostics, seen, is_transient: loading.is_transient() })
            }
        }
    }

    /// Makes a plan and tries it. `loading` looks at every file before it is read.
    fn plan(
        &self,
        previous: Option<&Fleet>,
        loading: &Loading,
    ) -> Result<(Plan, Snapshot), Diagnostics> {
        loading.look(&self.paths.models);
        loading.look(&self.paths.routing);
        let env = |name: &str| std::env::var(name).ok();
        let config = match config::load_in_part(&self.paths, &env) {
            Ok(config) => config,
            Err((errors, config)) => return Err(self.more(errors, config.as_deref(), loading)),
        };
        let fleet = Fleet::build(&config, previous);
        let (seats, strategies) = match &config.routing_file {
            Some(file) => self.strategies.all(&config, file, &fleet, loading)?,
            // Only routing.yaml can name a strategy.
            None => Default::default(),
        };
        let loaded_at = SystemTime::now();
        let books = match &self.vault {
            Some(vault) => vault.books(&config, &self.costs)?,
            None => None,
        };
        let generation = Arc::new(Generation { config, fleet, strategies, books, loaded_at });
        let tried = Plan::tried(Arc::clone(&generation), seats);
        tried.map_err(|failed| strategies::failed(&generation.config, &failed, loading))
    }

    /// Adds the errors of the strategy to those of both files.
    fn more(&self, errors: Diagnostics, config: Option<&Config>, loading: &Loading) -> Diagnostics {
        let Some(config) = config else { return errors };
        let (Some(strategy), Some(file)) = (config.strategies.first(), &config.routing_file) else {
            return errors;
        };
        // If its name is wrong, another strategy would be checked in its place.
        let name = [PathStep::Key("routing_strategy".into())];
        let named = file.text(&name).map(|_| file.error(&name, "", ""));
        let wrong = |at: Diagnostic| {
            errors.iter().any(|error| (&error.file, error.line) == (&at.file, at.line))
        };
        if named.is_some_and(wrong) {
            return errors;
        }
        let of_strategy = self.strategies.alone(strategy, file, config, loading).err();
        // A line that already has an error needs no second one.
        let new = of_strategy
            .into_iter()
            .flatten()
            .filter(|new| !errors.iter().any(|old| (&old.file, old.line) == (&new.file, new.line)));
        let new: Vec<Diagnostic> = new.collect();
        Diagnostics::new(errors.into_iter().chain(new).collect())
    }
}
