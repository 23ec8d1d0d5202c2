//! `/metrics`, in Prometheus' text format.

use std::sync::Arc;

use fleet::Snapshot;

use crate::gateway::Gateway;
use crate::render::Page;
use crate::telemetry::Position;

/// All metrics at the time of a scrape.
pub(super) struct MetricsPage {
    gateway: Arc<Gateway>,
    snapshot: Arc<Snapshot>,
    position: Position,
}

impl MetricsPage {
    pub(super) fn new(gateway: &Arc<Gateway>, snapshot: Arc<Snapshot>) -> Self {
        Self { gateway: Arc::clone(gateway), snapshot, position: Position::default() }
    }
}

impl Page for MetricsPage {
    fn write(&mut self, text: &mut Vec<u8>) -> bool {
        let Gateway { metrics, admission, costs, .. } = &*self.gateway;
        metrics.write(&self.snapshot, admission, costs, &mut self.position, text)
    }
}
