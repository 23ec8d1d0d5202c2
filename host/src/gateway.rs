//! What all cores and the control side share.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::admission::Admission;
use crate::config::{LogOutput, Secret};
use crate::fleet::Board;
use crate::stop::Stop;
use crate::telemetry::{AccessLog, Metrics};

/// A gateway in service.
#[derive(Debug)]
pub struct Gateway {
    /// The weights, by which requests are routed.
    pub board: Arc<Board>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Who may see endpoints in `/routing`. None: nobody.
    pub admin_token: Option<Secret>,
    /// What is let in.
    pub(crate) admission: Admission,
    /// How far its stop has come.
    pub stop: Arc<Stop>,
    access_log: ArcSwapOption<(LogOutput, AccessLog)>,
}

impl Gateway {
    /// A gateway that routes by `board`.
    #[must_use]
    pub fn new(board: Arc<Board>, metrics: Arc<Metrics>, admin_token: Option<Secret>) -> Self {
        let access_log = ArcSwapOption::empty();
        let (stop, admission) = Default::default();
        Self { board, metrics, admin_token, admission, stop, access_log }
    }

    /// Where requests are logged, if anywhere.
    #[must_use]
    pub fn access_log(&self) -> Option<AccessLog> {
        self.access_log.load().as_ref().map(|log| log.1.clone())
    }

    /// Logs requests to `output` from now on.
    ///
    /// # Errors
    /// If it cannot be opened; the log then stays where it was.
    pub fn log_to(&self, output: Option<&LogOutput>) -> std::io::Result<()> {
        let Some(output) = output else {
            self.access_log.store(None);
            return Ok(());
        };
        if self.access_log.load().as_ref().is_some_and(|log| log.0 == *output) {
            return Ok(());
        }
        let log = AccessLog::start(output, self.metrics.access_log_dropped.clone())?;
        self.access_log.store(Some(Arc::new((output.clone(), log))));
        Ok(())
    }
}
