//! Metrics of tokens and of what they cost.

use std::collections::BTreeMap;
use std::sync::Arc;

use contract::Side;
use ledger::{Spending, Tally, TokenKind};

use super::families::{Each, Family, PLACE, Scrape, place};
use super::samples::Kind;

/// Labels of a tenant. Their number is bounded: see [`ledger::Tenants`].
const TENANT: &[&str] = &["tenant", "side", "kind"];

pub(super) const FAMILIES: &[Family] = &[
    Family {
        name: "gateway_tokens_total",
        help: "Tokens of attempts. `prompt` has those of `cached`, `completion` of `reasoning`.",
        kind: Kind::Counter,
        labels: &[PLACE[0], PLACE[1], PLACE[2], "kind", "usage"],
        each: Each::Model(|model, _, samples| {
            for deployment in &model.deployments {
                let [model, name, side] = place(deployment);
                let sums = deployment.meters.costs.total();
                for (is_estimated, usage) in [(false, "reported"), (true, "estimated")] {
                    for kind in TokenKind::ALL {
                        let tokens = sums.tokens(kind, is_estimated);
                        samples.count(&[model, name, side, kind.as_str(), usage], tokens);
                    }
                }
            }
        }),
    },
    Family {
        name: "gateway_cost_dollars_total",
        help: "Cost of attempts by the configured prices.",
        kind: Kind::Counter,
        labels: &[PLACE[0], PLACE[1], PLACE[2], "kind"],
        each: Each::Model(|model, _, samples| {
            for deployment in &model.deployments {
                let [model, name, side] = place(deployment);
                let sums = deployment.meters.costs.total();
                for spending in Spending::ALL {
                    let labels = [model, name, side, spending.as_str()];
                    samples.amount(&labels, sums.cost(spending));
                }
            }
        }),
    },
    Family {
        name: "gateway_tenant_tokens_total",
        help: "Tokens of attempts for a tenant, only with `request.tenant_metrics`.",
        kind: Kind::Counter,
        labels: TENANT,
        each: Each::Fleet(|scrape, samples| {
            for ((tenant, side), sums) in tenants(scrape) {
                for kind in TokenKind::ALL {
                    let tokens = sums.tokens(kind, false).saturating_add(sums.tokens(kind, true));
                    samples.count(&[&tenant, side.as_str(), kind.as_str()], tokens);
                }
            }
        }),
    },
    Family {
        name: "gateway_tenant_cost_dollars_total",
        help: "Cost of attempts for a tenant, only with `request.tenant_metrics`.",
        kind: Kind::Counter,
        labels: TENANT,
        each: Each::Fleet(|scrape, samples| {
            for ((tenant, side), sums) in tenants(scrape) {
                for spending in Spending::ALL {
                    let labels = [&*tenant, side.as_str(), spending.as_str()];
                    samples.amount(&labels, sums.cost(spending));
                }
            }
        }),
    },
];

/// The sums of tenants, where `/metrics` may show them.
fn tenants(scrape: &Scrape<'_>) -> BTreeMap<(Arc<str>, Side), Tally> {
    match scrape.snapshot.generation.config.request.tenant_metrics {
        true => scrape.costs.of_tenants(),
        false => BTreeMap::new(),
    }
}
