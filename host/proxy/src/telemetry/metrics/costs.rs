//! Metrics of tokens and of what they cost.

use fleet::{Spending, TokenKind};

use super::families::{Each, Family, PLACE, place};
use super::samples::Kind;

pub(super) const FAMILIES: &[Family] = &[
    Family {
        name: "gateway_tokens_total",
        help: "Tokens of attempts. `prompt` has those of `cached`, `completion` of `reasoning`.",
        kind: Kind::Counter,
        labels: &[PLACE[0], PLACE[1], PLACE[2], "kind", "usage"],
        each: Each::Model(|model, _, samples| {
            for deployment in &model.deployments {
                let [model, name, side] = place(deployment);
                for (is_estimated, usage) in [(false, "reported"), (true, "estimated")] {
                    for kind in TokenKind::ALL {
                        let tokens = deployment.meters.tokens(kind, is_estimated);
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
                for spending in Spending::ALL {
                    let cost = deployment.meters.cost(spending);
                    samples.amount(&[model, name, side, spending.as_str()], cost);
                }
            }
        }),
    },
];
