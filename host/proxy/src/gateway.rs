//! What all cores and the control side share.

use std::sync::Arc;

use config::{LogOutput, Secret};
use fleet::Board;
use fleet::admission::Admission;

use crate::render::Renderer;
use crate::stop::Stop;
use crate::telemetry::{AccessLog, Logging, Metrics};

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
    /// Where requests are logged.
    pub(crate) logging: Arc<Logging>,
    /// What renders large pages.
    pub(crate) renderer: Arc<Renderer>,
}

impl Gateway {
    /// A gateway that routes by `board`.
    #[must_use]
    pub fn new(board: Arc<Board>, metrics: Arc<Metrics>, admin_token: Option<Secret>) -> Self {
        let (stop, admission, logging, renderer) = Default::default();
        Self { board, metrics, admin_token, admission, stop, logging, renderer }
    }

    /// Where requests are logged, if anywhere.
    #[must_use]
    pub fn access_log(&self) -> Option<AccessLog> {
        self.logging.log()
    }

    /// Logs requests to `output` from now on.
    ///
    /// # Errors
    /// If it cannot be opened; the log then stays where it was.
    pub fn log_to(&self, output: Option<&LogOutput>) -> std::io::Result<()> {
        self.logging.change(output, &self.metrics.access_log_dropped)
    }
}
