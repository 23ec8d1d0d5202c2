//! The ledger of this process: opened with the first configuration that has budgets or names a ledger,
//! and kept over reloads.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use config::{Config, Diagnostics, LedgerConfig, OnStoreFailure, PathStep};
use ledger::{Books, History, Ledger};

/// Where the ledger is kept, and the ledger once it is open.
#[derive(Debug, Default)]
pub(super) struct Vault {
    /// The file of configurations that name none. None: such a configuration is refused.
    default: Option<PathBuf>,
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    file: PathBuf,
    ledger: Arc<Ledger>,
}

impl Vault {
    pub(super) fn new(default: Option<PathBuf>) -> Self {
        Self { default, open: Mutex::default() }
    }

    /// The budgets of a configuration. None: it has none. The first one that has budgets, or a `ledger`,
    /// has the costs kept in the ledger, too. Blocks.
    ///
    /// # Errors
    /// If the file cannot be opened, or is another than that of the configuration before.
    pub(super) fn books(
        &self,
        config: &Config,
        costs: &History,
    ) -> Result<Option<Arc<Books>>, Diagnostics> {
        let has_budgets = !config.budgets.is_empty();
        let is_wanted = has_budgets || config.ledger != LedgerConfig::default();
        // Only routing.yaml can have budgets.
        let Some(document) = config.routing_file.as_ref().filter(|_| is_wanted) else {
            return Ok(None);
        };
        let failed = |message: String, help: &str| {
            Diagnostics::new(vec![document.error(&place(config), message, help)])
        };
        let Some(file) = config.ledger.file.as_ref().or(self.default.as_ref()) else {
            let message = "there is no folder for what budgets have spent: HOME is not set";
            return Err(failed(
                message.to_owned(),
                "name a file: `ledger: {file: /var/lib/gateway/ledger.redb}`",
            ));
        };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let ledger = match &*open {
            Some(open) if open.file == *file => Arc::clone(&open.ledger),
            // A configuration in use has it. That of a load that failed leaves it to nobody.
            Some(open) if Arc::strong_count(&open.ledger) > 1 => {
                let message = format!("the ledger is open at {}", open.file.display());
                return Err(failed(message, "restart the gateway to use another file"));
            }
            unused => {
                if let Some(unused) = unused {
                    unused.ledger.close();
                }
                let ledger = Arc::new(opened(file, config).map_err(|message| {
                    failed(message, "or let budgets count without it: `on_store_failure: allow`")
                })?);
                *open = Some(Open { file: file.clone(), ledger: Arc::clone(&ledger) });
                if let Some(history) = ledger.take_history() {
                    costs.keep_in(history);
                }
                ledger
            }
        };
        Ok(has_budgets.then(|| Arc::new(Books::new(ledger, config))))
    }

    /// Writes what is spent, and closes the file. Blocks.
    pub(super) fn close(&self) {
        if let Some(open) = &*self.open.lock().unwrap_or_else(PoisonError::into_inner) {
            open.ledger.close();
        }
    }
}

fn opened(file: &Path, config: &Config) -> Result<Ledger, String> {
    match Ledger::open(file) {
        Ok(ledger) => {
            tracing::info!(file = %file.display(), "budgets and costs are kept in the ledger");
            Ok(ledger)
        }
        Err(error) if config.ledger.on_store_failure == OnStoreFailure::Allow => {
            tracing::error!(%error, "budgets and costs count in memory alone: a restart forgets them");
            Ok(Ledger::without_file(&error))
        }
        Err(error) => Err(error.to_string()),
    }
}

/// The line of an error about the file: where it is named, else what needs it.
fn place(config: &Config) -> Vec<PathStep> {
    match config.ledger.file {
        Some(_) => vec!["ledger".into(), "file".into()],
        None if config.budgets.is_empty() => vec!["ledger".into()],
        None => vec!["budgets".into()],
    }
}

/// The file of the user who runs the gateway, by the XDG specification: `ledger.redb` in
/// `$XDG_STATE_HOME/gateway`, or in `~/.local/state/gateway`.
pub(crate) fn file_of_user() -> Option<PathBuf> {
    let folder = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let states = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")));
    Some(states?.join("gateway/ledger.redb"))
}
