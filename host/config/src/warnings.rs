//! Finds likely mistakes that are not errors: valid settings that probably do not do what their
//! author meant.

use std::collections::HashSet;
use std::sync::Arc;

use super::document::steps;
use super::join::{Draft, is_forgotten};
use super::models::{Listed, Models, join};
use super::routing::{Entries, Entry};
use super::{Diagnostic, Document, PathStep, StrategyConfig, TotalTime, providers};

/// Dollars per token above which a price is likely meant per million tokens. The dearest models
/// cost a tenth of it.
const DEAR: f64 = 0.001;

/// Built-in strategies that do not look at configured weights.
const WEIGHTLESS: [&str; 12] = [
    "budget",
    "cost",
    "fixed",
    "latency",
    "least-load",
    "lmetric",
    "local-first",
    "prefix-affinity",
    "prompt-length",
    "routewise",
    "session-affinity",
    "spill",
];

/// Reads the joined files model by model.
pub(super) struct Review<'a> {
    models: &'a Document,
    entries: Option<&'a Entries>,
    strategies: &'a [StrategyConfig],
    /// Entries that a warning already named, because they create a deployment.
    created: HashSet<&'a [PathStep]>,
    /// Unknown kinds that a warning already named.
    kinds: HashSet<String>,
    /// True if a list names a model that has the first strategy.
    first_has_effect: bool,
    found: Vec<Diagnostic>,
}

impl<'a> Review<'a> {
    pub(super) fn new(
        models: &'a Models,
        entries: Option<&'a Entries>,
        strategies: &'a [StrategyConfig],
    ) -> Self {
        Self {
            models: &models.document,
            entries,
            strategies,
            created: HashSet::new(),
            kinds: HashSet::new(),
            first_has_effect: false,
            found: Vec::new(),
        }
    }

    /// Reads a model. `listed` are the entries that list it, `strategy` the index of its strategy.
    pub(super) fn model(
        &mut self,
        model: &'a Listed,
        listed: &[&'a Entry],
        drafts: &[Draft<'_>],
        strategy: usize,
        total: TotalTime,
    ) {
        self.names(model);
        self.kinds(model);
        self.prices(model);
        self.patience(model, drafts, total);
        self.forgotten(model, listed);
        self.created(model, listed);
        self.strategy(model, listed, drafts, strategy);
    }

    /// The warnings, in the order in which they were found.
    pub(super) fn finish(mut self) -> Vec<Diagnostic> {
        let Some(entries) = self.entries else { return self.found };
        let document = Arc::clone(&entries.document);
        let given = document.text(&steps!["routing_strategy"]).is_some();
        if given && !self.first_has_effect {
            let message = "this strategy has no effect: no list names a model that it decides for";
            let help = "list endpoints and models under `local_deployment` and `remote_deployment`";
            self.warn(&document, &steps!["routing_strategy"], message, help);
        }
        self.found
    }

    fn warn(
        &mut self,
        document: &Document,
        at: &[PathStep],
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.found.push(document.error(at, message, help).into_warning());
    }

    fn names(&mut self, model: &Listed) {
        let id = (join(&model.at, "id"), &model.id);
        let aliases = model.aliases.iter().enumerate();
        let aliases =
            aliases.map(|(nth, alias)| ([&model.at[..], &steps!["aliases", nth]].concat(), alias));
        for (at, name) in [id].into_iter().chain(aliases) {
            if name.contains(['*', '?']) {
                let message =
                    format!("`{name}` is a name like any other: it matches no other name");
                let help = "list each model that clients may name";
                self.warn(self.models, &at, message, help);
            }
        }
    }

    fn kinds(&mut self, model: &Listed) {
        let provider = (join(&model.at, "provider"), &model.card.provider);
        let of_routes = model.routes.iter().map(|route| (join(&route.at, "kind"), &route.kind));
        for (at, kind) in [provider].into_iter().chain(of_routes) {
            let is_given = self.models.text(&at).is_some();
            if !is_given || providers::of_kind(kind).is_some() || !self.kinds.insert(kind.clone()) {
                continue;
            }
            let message = format!("the kind `{kind}` is not known");
            let help = match providers::nearest_kind(kind) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "any word will do, as a label; paths and probes are those of openai_compat"
                    .to_owned(),
            };
            self.warn(self.models, &at, message, help);
        }
    }

    fn prices(&mut self, model: &Listed) {
        let routes = model.routes.iter().map(|route| &route.at).filter(|at| **at != model.at);
        for at in [&model.at].into_iter().chain(routes) {
            let unit = [&at[..], &steps!["pricing", "per_million"]].concat();
            if self.models.text(&unit).is_some_and(|text| text.eq_ignore_ascii_case("true")) {
                continue;
            }
            for key in ["prompt", "completion", "cached", "input_cache_reads", "input_cache_writes"]
            {
                let at = [&at[..], &steps!["pricing", key]].concat();
                let price = self.models.text(&at).and_then(|text| text.parse::<f64>().ok());
                if price.is_some_and(|price| price.is_finite() && price > DEAR) {
                    let message = "this price is above $0.001 for one token";
                    let help = "prices are dollars per token, not per million: $0.15 per million \
                                is \"0.00000015\", or add `per_million: true`";
                    self.warn(self.models, &at, message, help);
                }
            }
        }
    }

    /// Warns of a `first_byte` that is longer than `total`.
    fn patience(&mut self, model: &Listed, drafts: &[Draft<'_>], TotalTime(total): TotalTime) {
        let Some(draft) = drafts.iter().find(|d| d.deployment.timeouts.first_byte > total) else {
            return;
        };
        let keys = steps!["timeouts", "first_byte"];
        let of_entry = draft.entry.zip(self.entries);
        let of_entry = of_entry.map(|(entry, entries)| (&*entries.document, &entry.at[..]));
        let of_route = draft.route.map(|route| (self.models, &route.at[..]));
        let of_file = self.entries.map(|entries| (&*entries.document, &[][..]));
        let places = of_entry
            .into_iter()
            .chain(of_route)
            .chain([(self.models, &model.at[..])])
            .chain(of_file);
        let mut places = places.map(|(document, at)| (document, [at, &keys].concat()));
        let given = places.find(|(document, at)| document.text(at).is_some());
        let total_at = [&model.at[..], &steps!["timeouts", "total"]].concat();
        let (document, at) = given.unwrap_or((self.models, total_at));
        let message = format!(
            "`first_byte` is longer than `total` of the model `{}`, {} s, and never comes to its end",
            model.id,
            total.as_secs_f64()
        );
        let help =
            "make `first_byte` shorter than `total`, so that another deployment can be tried";
        self.warn(document, &at, message, help);
    }

    fn forgotten(&mut self, model: &Listed, listed: &[&Entry]) {
        for route in &model.routes {
            let entry = listed.iter().copied().find(|e| e.join_key() == Some(&route.base.join_key));
            if !is_forgotten(route, entry, listed) {
                continue;
            }
            let named = route.name.as_ref().map_or_else(String::new, |name| format!(" `{name}`"));
            let message = format!(
                "this route{named} of the model `{}` gets no traffic: routing.yaml lists the model, \
                 but not this endpoint",
                model.id
            );
            let help =
                "list its endpoint in routing.yaml, or give the route a `weight` (0: standby)";
            let at = match self.models.text(&join(&route.at, "base_url")) {
                Some(_) => join(&route.at, "base_url"),
                None => route.at.clone(),
            };
            self.warn(self.models, &at, message, help);
        }
    }

    fn created(&mut self, model: &Listed, listed: &[&'a Entry]) {
        // A model with nothing but a `base_url` gets its other places from routing.yaml.
        let has_routes = model.routes.iter().any(|route| route.at != model.at);
        let Some(entries) = self.entries.filter(|_| has_routes) else { return };
        for entry in listed {
            let Some(endpoint) = entry.join_key() else { continue };
            let joins = model.routes.iter().any(|route| route.base.join_key == *endpoint);
            if joins || !self.created.insert(&entry.at) {
                continue;
            }
            let message = format!(
                "no route of the model `{}` has this endpoint, so it is one more deployment",
                model.id
            );
            let help = "write it like the `base_url` of a route to join that route; a deployment \
                        that only routing.yaml knows has the model's settings, and no prices of its own";
            self.warn(&entries.document, &join(&entry.at, "endpoint"), message, help);
        }
    }

    fn strategy(
        &mut self,
        model: &Listed,
        listed: &[&Entry],
        drafts: &[Draft<'_>],
        strategy: usize,
    ) {
        let Some(entries) = self.entries else { return };
        let Some(config) = self.strategies.get(strategy) else { return };
        if listed.is_empty() {
            if strategy > 0 {
                let message =
                    format!("this strategy has no effect: no list names the model `{}`", model.id);
                let help = "list its endpoints under `local_deployment` and `remote_deployment`";
                self.warn(&entries.document, &config.at, message, help);
            }
            return;
        }
        self.first_has_effect |= strategy == 0;
        let name = &*config.reference;
        // The share of routes that no entry lists is taken from that of the others.
        let is_shared = drafts.iter().all(|draft| draft.entry.is_some());
        if WEIGHTLESS.contains(&name) && is_shared {
            let weight = |draft: &Draft<'_>| draft.route.map_or(1.0, |r| r.weight.unwrap_or(1.0));
            // A weight of 0 makes a standby of a route under any strategy.
            let mut weighed = drafts.iter().filter(|draft| weight(draft) > 0.0);
            let first = weighed.next().map(weight);
            let differs = weighed.any(|draft| Some(weight(draft)) != first);
            let mut given = drafts.iter().filter_map(|draft| draft.route);
            if let Some(route) = given.find(|route| differs && route.weight > Some(0.0)) {
                let message = format!("the strategy `{name}` ignores this weight");
                let help = "remove it, or use `weighted-order`";
                self.warn(self.models, &join(&route.at, "weight"), message, help);
            }
        }
        let unnamed = drafts.iter().filter(|draft| !draft.named).count();
        if config.is_affine() && unnamed > 1 {
            let message = format!(
                "{unnamed} deployments of the model `{}` have no name: sessions move when their URLs \
                 change",
                model.id
            );
            let help = "give each route or entry a `name`";
            self.warn(self.models, &model.at, message, help);
        }
    }
}
