//! Metrics of quotas.

use std::time::SystemTime;

use fleet::{FleetModel, QuotaReport, Route};

use super::families::{Each, Family};
use super::samples::{Kind, Samples};

/// Labels of a quota.
const LABELS: &[&str] = &["model", "deployment", "unit", "per", "source"];

pub(super) const FAMILIES: &[Family] = &[
    Family {
        name: "gateway_quota_limit",
        help: "Requests or tokens of a quota in each window.",
        kind: Kind::Gauge,
        labels: LABELS,
        each: Each::Model(|model, _, samples| {
            each(model, |labels, quota| samples.count(labels, quota.limit));
        }),
    },
    Family {
        name: "gateway_quota_used",
        help: "What is used or reserved of a quota in its window, if it is known.",
        kind: Kind::Gauge,
        labels: LABELS,
        each: Each::Model(|model, _, samples| {
            each(model, |labels, quota| {
                if let Some(used) = quota.used {
                    samples.count(labels, used);
                }
            });
        }),
    },
    Family {
        name: "gateway_quota_resets_timestamp_seconds",
        help: "When its window turns, in seconds since 1970, if known.",
        kind: Kind::Gauge,
        labels: LABELS,
        each: Each::Model(resets),
    },
];

fn each(model: &FleetModel, mut add: impl FnMut(&[&str], &QuotaReport)) {
    let now = fleet::now();
    for deployment in &model.deployments {
        let Some(quotas) = &deployment.quotas else { continue };
        for quota in quotas.report(now) {
            let (id, name) = (&*model.config.id, &*deployment.config.name);
            let (unit, source) = (quota.unit.as_str(), quota.source.as_str());
            add(&[id, name, unit, &quota.per, source], &quota);
        }
    }
}

fn resets(model: &FleetModel, _: &Route, samples: &mut Samples<'_>) {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    each(model, |labels, quota| {
        if let Some(resets) = quota.resets {
            samples.add(labels, wall.saturating_add(resets).as_secs_f64());
        }
    });
}
