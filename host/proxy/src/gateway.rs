//! The state that all cores and the control side share.

use std::sync::Arc;

use config::{LogOutput, Secret};
use fleet::Board;
use fleet::admission::Admission;
use ledger::History;

use crate::render::Renderer;
use crate::stop::Stop;
use crate::telemetry::{AccessLog, Logging, Metrics};

/// A gateway in service.
#[derive(Debug)]
pub struct Gateway {
    /// Holds the snapshot that requests are routed by.
    pub board: Arc<Board>,
    /// The metrics of this gateway.
    pub metrics: Arc<Metrics>,
    /// Bearer token that shows endpoints in `/routing`, and costs. None: nobody sees them.
    pub admin_token: Option<Secret>,
    /// What attempts took and cost.
    pub costs: Arc<History>,
    /// The name of this gateway in `CDN-Loop`. Each start has its own.
    pub(crate) hop: Arc<str>,
    /// Counts connections, requests and bodies against their limits.
    pub(crate) admission: Admission,
    /// The stage of the shutdown.
    pub stop: Arc<Stop>,
    /// The access log, which a reload may change.
    pub(crate) logging: Arc<Logging>,
    /// Renders large pages on a thread of its own.
    pub(crate) renderer: Arc<Renderer>,
}

impl Gateway {
    /// A gateway that routes by `board`.
    #[must_use]
    pub fn new(board: Arc<Board>, metrics: Arc<Metrics>, admin_token: Option<Secret>) -> Self {
        let (stop, admission, logging, renderer, costs) = Default::default();
        let hop = format!("gateway-{:016x}", rand::random::<u64>()).into();
        Self { board, metrics, admin_token, costs, hop, admission, stop, logging, renderer }
    }

    /// Counts costs in this history.
    #[must_use]
    pub fn with_costs(self, costs: Arc<History>) -> Self {
        Self { costs, ..self }
    }

    /// The access log in use, if there is one.
    #[must_use]
    pub fn access_log(&self) -> Option<AccessLog> {
        self.logging.log()
    }

    /// Logs requests to `output` from now on. None: no access log.
    ///
    /// # Errors
    /// If the output cannot be opened. The log then stays as it was.
    pub fn log_to(&self, output: Option<&LogOutput>) -> std::io::Result<()> {
        self.logging.change(output, &self.metrics.access_log_dropped)
    }
}
