//! The configuration: both files, checked.
//!
//! `models.yaml` and `routing.yaml` go through four steps. Each step reports everything that it
//! finds:
//!
//! 1. Text becomes a tree that knows its positions ([`Document`]). Variables are substituted here.
//! 2. The tree is checked against the JSON Schema of the raw types ([`schema`]).
//! 3. Serde turns the checked value into raw types, which mirror what a user writes.
//! 4. Raw types become those of this crate, which cannot hold an invalid value.
//!
//! Nothing starts on half a configuration.

mod browsers;
mod budgets;
mod cancel;
mod capability;
mod checked;
mod diagnostic;
mod document;
mod ejection;
mod endpoint;
mod env;
mod fallback;
mod given;
mod headers;
mod hedging;
mod join;
mod limits;
mod mask;
mod models;
#[cfg(any(test, fuzzing))]
#[path = "../fuzz/oracle.rs"]
pub mod oracle;
mod parse;
mod period;
mod place;
mod pricing;
mod probing;
mod process;
mod providers;
mod quotas;
mod raw;
mod redactor;
#[cfg(any(test, fuzzing))]
#[path = "../fuzz/redactor.rs"]
pub mod redactor_oracle;
mod request;
mod routing;
pub mod schema;
mod seconds;
mod series;
mod signals;
mod size;
mod strategy;
#[cfg(test)]
mod tests;
mod time_zone;
mod timeouts;
mod warnings;

pub use browsers::Cors;
pub use budgets::{
    Budget, Coverage, Each, LedgerConfig, MOST_BUDGETS, OnStoreFailure, OnceSpent, Period,
    RawBudget, Reserve, budgets_of,
};
pub use cancel::Cancel;
pub use capability::{Capability, Sides};
pub use checked::*;
pub use diagnostic::{Diagnostic, Diagnostics, nearest};
pub use document::{Document, PathStep};
pub use ejection::{Ejection, RetryBudget, SlowStart};
pub use fallback::{Ambiguous, Fallback, Standby};
pub use headers::HeaderRules;
pub use hedging::Hedging;
pub use limits::{Concurrency, Limits};
pub use place::{Endpoint, Origin, Secret};
pub use probing::{ProbeMethod, ProbeTarget, Probing};
pub use process::{Sandbox, Shutdown};
pub use quotas::{Quota, QuotaSource, QuotaUnit};
pub use redactor::Redactor;
pub use request::RequestFacts;
pub use series::{Series, Source};
pub use signals::{ENGINE_SIGNALS, EngineMetrics, Scraping, reported_signal};
pub use strategy::{CandidateConfig, Rollback, StrategyConfig, TrialMode};
pub use time_zone::TimeZone;
pub use timeouts::{ClientTimeouts, Timeouts, TotalTime};

#[cfg(any(test, fuzzing))]
use pieces::work::count;

/// Counts the bytes that scanners read, in tests and fuzz targets only.
#[cfg(not(any(test, fuzzing)))]
#[inline(always)]
fn count(_bytes: usize) {}

use join::Joined;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// In bytes: ten times the size of the files for 10,000 models.
const LARGEST_FILE: u64 = 32 << 20;

/// Where the two files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// `models.yaml`.
    pub models: PathBuf,
    /// `routing.yaml`.
    pub routing: PathBuf,
    /// True if the user named `routing.yaml`: a missing file is then an error. Otherwise the
    /// gateway runs without one.
    pub routing_required: bool,
}

/// Looks up a variable. None: it is not set.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads and checks both files.
///
/// # Errors
/// Every error in both files.
pub fn load(paths: &Paths, env: Environment) -> Result<Config, Diagnostics> {
    load_in_part(paths, env).map_err(|(errors, _)| errors)
}

/// Like [`load`]. The errors come with the valid parts of `routing.yaml`, without models, so
/// that its strategy can be checked too.
///
/// # Errors
/// Every error in both files.
pub fn load_in_part(
    paths: &Paths,
    env: Environment,
) -> Result<Config, (Diagnostics, Option<Box<Config>>)> {
    let mut errors = Vec::new();
    let remedy = "name the file with `--models` or `MODELS_CONFIG`";
    let models = read(&paths.models, Some(remedy), env, &mut errors);
    let before = errors.len();
    let remedy = "name the file with `--routing` or `ROUTING_CONFIG`";
    let remedy = paths.routing_required.then_some(remedy);
    let routing = read(&paths.routing, remedy, env, &mut errors);
    let absent = routing.is_none() && errors.len() == before;
    checked(models, routing, absent, errors)
}

/// Makes the configuration from two parsed files. `absent`: there is no `routing.yaml`. `errors`
/// has the errors of parsing.
fn checked(
    models: Option<Arc<Document>>,
    routing: Option<Arc<Document>>,
    absent: bool,
    mut errors: Vec<Diagnostic>,
) -> Result<Config, (Diagnostics, Option<Box<Config>>)> {
    let models = models.and_then(|document| models::check(document, &mut errors));
    let routing = routing.and_then(|document| routing::check(document, &mut errors));
    let (entries, config) = match routing {
        Some((entries, config)) => (Some(entries), config),
        None => (None, Config::default()),
    };
    // Joined only with a whole routing file: missing parts of it would cause further errors.
    if let Some(models) = models.filter(|_| absent || entries.is_some()) {
        let Joined { mut models, warnings } =
            join::join(&models, entries.as_ref(), &config, &mut errors);
        // An error in models.yaml may be why there is no such name.
        if let Some(entries) = entries.as_ref().filter(|_| errors.is_empty()) {
            budgets::cover(&config.budgets, &mut models);
            let wrong = budgets::unknown(&config.budgets, &models).into_iter();
            let wrong = wrong.chain(budgets::unbounded(&config.budgets, &models));
            errors.extend(wrong.map(|(at, what, help)| entries.document.error(&at, what, help)));
        }
        if errors.is_empty() {
            return Ok(Config { models, warnings, ..config });
        }
    }
    Err((Diagnostics::new(errors), entries.map(|_| Box::new(config))))
}

/// Parses another file than the two, for callers that check it against a schema of their own.
///
/// # Errors
/// Every error in its text. `missing` is the remedy if there is no such file.
pub fn document(
    path: &Path,
    missing: &str,
    env: Environment,
) -> Result<Arc<Document>, Diagnostics> {
    let mut errors = Vec::new();
    match read(path, Some(missing), env, &mut errors) {
        Some(document) if errors.is_empty() => Ok(document),
        _ => Err(Diagnostics::new(errors)),
    }
}

/// Parses a text that is in no file. Errors call it `name`.
///
/// # Errors
/// Every error in the text.
pub fn text(name: &str, text: &str, env: Environment) -> Result<Document, Diagnostics> {
    match Document::parse(name.to_owned(), text.to_owned(), env) {
        (Some(document), errors) if errors.is_empty() => Ok(document),
        (_, errors) => Err(Diagnostics::new(errors)),
    }
}

/// Parses a file. None: its errors are reported, or the file is missing and `missing`, the remedy
/// for that, is None.
fn read(
    path: &Path,
    missing: Option<&str>,
    env: Environment,
    errors: &mut Vec<Diagnostic>,
) -> Option<Arc<Document>> {
    let file = path.display().to_string();
    let bytes = match contents(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            let help = match error.kind() {
                ErrorKind::NotFound => missing?,
                ErrorKind::InvalidInput => "name a regular file",
                ErrorKind::FileTooLarge => {
                    "split its models over several gateways, or name another file"
                }
                _ => "check the path and its permissions",
            };
            errors.push(Diagnostic::of_file(file, format!("cannot be read: {error}"), help));
            return None;
        }
    };
    let Ok(text) = String::from_utf8(bytes) else {
        errors.push(Diagnostic::of_file(file, "is not UTF-8 text", "save it as UTF-8"));
        return None;
    };
    let (document, found) = Document::parse(file, text, env);
    errors.extend(found);
    document.map(Arc::new)
}

/// Reads a regular file. Refuses all others: opening a FIFO may block, and a device may never end.
fn contents(path: &Path) -> io::Result<Vec<u8>> {
    let kind = std::fs::metadata(path)?;
    if !kind.is_file() {
        let what = if kind.is_dir() { "it is a folder" } else { "it is no regular file" };
        return Err(io::Error::new(ErrorKind::InvalidInput, what));
    }
    let mut bytes = Vec::new();
    if kind.len() <= LARGEST_FILE {
        File::open(path)?.take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
    }
    if kind.len().max(bytes.len() as u64) > LARGEST_FILE {
        let what = format!("it is larger than {} MiB", LARGEST_FILE >> 20);
        return Err(io::Error::new(ErrorKind::FileTooLarge, what));
    }
    Ok(bytes)
}
