//! Prices and budgets of a scenario.

use config::{Budget, PathStep, RawBudget};
use contract::{Picodollars, Place};
use fleet::Tariff;

use super::Site;
use super::check::Check;
use super::raw::RawPrice;

impl Check<'_> {
    /// The exact amounts of a price, as its text has them.
    pub(super) fn tariff(&mut self, at: &[PathStep], raw: Option<&RawPrice>) -> Tariff {
        let Some(raw) = raw else { return Tariff::default() };
        let mut amount = |key: &str, price: f64| {
            let at = [at, &[key.into()]].concat();
            let text = self.document.text(&at).map_or_else(|| price.to_string(), str::to_owned);
            Picodollars::from_decimal(&text).unwrap_or_else(|error| {
                self.error(&at, error.to_string(), "write dollars of a token: 0.0000005");
                Picodollars::ZERO
            })
        };
        let prompt = amount("prompt", raw.prompt);
        let completion = amount("completion", raw.completion);
        Tariff { prompt, cached: prompt, written: prompt, completion, ..Tariff::default() }
    }

    /// The budgets. Notes at each deployment which of them cover it.
    pub(super) fn budgets(
        &mut self,
        raw: Vec<RawBudget>,
        model: &str,
        sites: &mut [Site],
    ) -> Vec<Budget> {
        let budgets = config::budgets_of(self.document, raw, &mut self.errors);
        for (at, budget) in budgets.iter().enumerate() {
            let own = |key: &str| -> [PathStep; 4] {
                ["budgets".into(), at.into(), "of".into(), key.into()]
            };
            let names = sites.iter().map(|site| &*site.place.name);
            for (key, name, known) in [
                ("deployment", &budget.of.deployment, names.collect::<Vec<_>>()),
                ("model", &budget.of.model, vec![model]),
            ] {
                if let Some(name) = name.as_deref().filter(|name| !known.contains(name)) {
                    let help = format!("write one of {}", known.join(", "));
                    self.error(&own(key), format!("there is no {key} {name}"), &help);
                }
            }
            for site in &mut *sites {
                let Place { side, name, .. } = &site.place;
                let costs = site.tariff != Tariff::default();
                let covers = costs && budget.of.covers(*side, name, |named| named == model);
                site.budgets |= u64::from(covers) << at;
            }
        }
        budgets
    }
}
