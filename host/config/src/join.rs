//! Joins the two files: the deployments of each model, with side, key and weight.
//!
//! An entry of `routing.yaml` joins the route with the same endpoint, of the models that it lists.
//! Without such a route it creates a deployment from the model's settings. A key is never sent to a
//! host that it was not configured for.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use contract::Side;

use super::diagnostic::nearest;
use super::document::steps;
use super::endpoint::BaseUrl;
use super::limits::SharedConcurrency;
use super::models::{Listed, ListedRoute, Models, capability};
use super::raw::models::RawRoute;
use super::routing::{Entries, Entry};
use super::timeouts::TimeLimits;
use super::warnings::Review;
use super::{
    Concurrency, Config, DeploymentConfig, Diagnostic, Document, Endpoint, EngineMetrics, Model,
    PathStep, ProbeTarget, Secret, Share, TimeZone, endpoint, strategy,
};

/// The models with their deployments, and warnings about likely mistakes. Invalid after an error.
pub(super) struct Joined {
    pub(super) models: Vec<Model>,
    pub(super) warnings: Vec<Diagnostic>,
}

/// Gives each model its deployments, in the order of `models.yaml`.
pub(super) fn join(
    models: &Models,
    entries: Option<&Entries>,
    config: &Config,
    errors: &mut Vec<Diagnostic>,
) -> Joined {
    let mut names = HashMap::new();
    for (index, model) in models.list.iter().enumerate() {
        names.insert(model.id.as_str(), index);
        names.extend(model.aliases.iter().map(|alias| (alias.as_str(), index)));
    }
    let mentions =
        entries.map_or_else(HashMap::new, |entries| mentions(models, &names, entries, errors));
    let strategies = entries.map(|entries| strategy::by_model(models, &names, entries, errors));
    let whole = models.whole && entries.is_none_or(|entries| entries.whole);
    let none = Vec::new();
    let (concurrency, timeouts) = entries.map_or_else(Default::default, |entries| {
        (entries.concurrency.clone(), entries.timeouts.clone())
    });
    let mut capped = Vec::new();
    let mut review = Review::new(models, entries, &config.strategies);
    let mut joined = Vec::with_capacity(models.list.len());
    for (index, model) in models.list.iter().enumerate() {
        let listed = mentions.get(&index).unwrap_or(&none);
        let timeouts = model.timeouts.over(&timeouts);
        let zone = &config.time_zone;
        let outer = Outer { timeouts: &timeouts, concurrency: &concurrency, zone };
        let mut drafts = drafts(model, listed, outer);
        capped.extend(shared_cap(&drafts, &concurrency).then_some(model));
        name(&mut drafts, models, entries, errors);
        let own = strategies.as_ref().map_or(0, |strategies| strategies[index]);
        review.model(model, listed, &drafts, own, timeouts.total());
        let known = whole && !model.incomplete && listed.iter().all(|entry| entry.base.is_some());
        normalise(&mut drafts, model, known, &models.document, errors);
        joined.push(Model {
            id: model.id.clone(),
            aliases: model.aliases.clone(),
            card: model.card.clone(),
            sides: model.sides,
            total: timeouts.total(),
            strategy: own,
            deployments: drafts.into_iter().map(|draft| draft.deployment).collect(),
        });
    }
    share_connections(&mut joined);
    let mut warnings = review.finish();
    warnings.extend(
        entries.and_then(|entries| one_cap_for_both(&entries.document, &concurrency, &capped)),
    );
    Joined { models: joined, warnings }
}

/// Whether both sides of a model have a deployment that uses the shared `max`. A remote API then
/// takes no more requests than a GPU, and overflowing requests wait for it.
fn shared_cap(drafts: &[Draft], concurrency: &SharedConcurrency) -> bool {
    let shares = |side: Side| {
        let own = |draft: &Draft| {
            let route = draft.route.is_some_and(|route| route.concurrency.has("max"));
            route || draft.entry.is_some_and(|entry| entry.concurrency.has("max"))
        };
        let mut of_side = drafts.iter().filter(|draft| draft.deployment.side == side);
        !concurrency.given(side).has("max") && of_side.any(|draft| !own(draft))
    };
    shares(Side::Local) && shares(Side::Remote)
}

/// Warns that a `max` limits both sides, if it was likely meant for one.
fn one_cap_for_both(
    document: &Document,
    concurrency: &SharedConcurrency,
    models: &[&Listed],
) -> Option<Diagnostic> {
    let at = steps!["concurrency", "max"];
    let max = document.text(&at)?;
    // A wide limit for both sides is no mistake.
    if concurrency.all.max >= Concurrency::default().max {
        return None;
    }
    let (first, more) = models.split_first()?;
    let more = match more.len() {
        0 => String::new(),
        count => format!(" and {count} more"),
    };
    let message = format!(
        "this limits local and remote deployments alike, those of model `{}`{more}",
        first.id
    );
    // A variable's value is not shown.
    let max = if max.parse::<u32>().is_ok() && !document.is_substituted(&at) { max } else { "8" };
    let help = format!(
        "write `concurrency: {{local: {{max: {max}}}}}` if it is for the GPUs; \
         if it is for both, say so with `local` and `remote`"
    );
    Some(document.error(&at, message, help).into_warning())
}

/// Connections belong to an origin, not to a deployment: the smallest `pool_idle` of its
/// deployments applies to all.
fn share_connections(models: &mut [Model]) {
    let mut smallest = HashMap::new();
    let all = || models.iter().flat_map(|model| &model.deployments);
    for deployment in all() {
        let origin = deployment.endpoint.origin.clone();
        let time = deployment.timeouts.pool_idle;
        smallest
            .entry(origin)
            .and_modify(|least: &mut Duration| *least = time.min(*least))
            .or_insert(time);
    }
    for deployment in models.iter_mut().flat_map(|model| &mut model.deployments) {
        deployment.timeouts.pool_idle = smallest[&deployment.endpoint.origin];
    }
}

/// The entries that list each model, by index of the model. Reports unknown models and repetitions.
fn mentions<'e>(
    models: &Models,
    names: &HashMap<&str, usize>,
    entries: &'e Entries,
    errors: &mut Vec<Diagnostic>,
) -> HashMap<usize, Vec<&'e Entry>> {
    let mut seen: HashMap<(usize, &Endpoint), Side> = HashMap::new();
    let mut mentions: HashMap<usize, Vec<&Entry>> = HashMap::new();
    for entry in &entries.list {
        for (nth, name) in entry.models.iter().enumerate() {
            let at = [&entry.at[..], &steps!["models", nth]].concat();
            if entries.document.text(&at).is_none() {
                continue;
            }
            let Some(&index) = names.get(name.as_str()) else {
                errors.push(unknown_model(&entries.document, &at, name, models));
                continue;
            };
            let Some(endpoint) = entry.join_key() else {
                mentions.entry(index).or_default().push(entry);
                continue;
            };
            match seen.insert((index, endpoint), entry.side) {
                None => mentions.entry(index).or_default().push(entry),
                Some(side) => {
                    let id = &models.list[index].id;
                    let side = side.as_str();
                    let message =
                        format!("the model `{id}` is already listed for this endpoint, as {side}");
                    let help =
                        "list a model once for an endpoint (a trailing `/v1` does not count)";
                    errors.push(entries.document.error(&at, message, help));
                }
            }
        }
    }
    mentions
}

pub(super) fn unknown_model(
    document: &Document,
    at: &[PathStep],
    name: &str,
    models: &Models,
) -> Diagnostic {
    let ids = || models.list.iter().map(|model| model.id.as_str());
    let aliases = models.list.iter().flat_map(|model| model.aliases.iter().map(String::as_str));
    let help = match nearest(name, ids().chain(aliases)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known there: {}", ids().collect::<Vec<_>>().join(", ")),
    };
    document.error(at, format!("models.yaml has no model `{name}`"), help)
}

/// A deployment whose weight is not normalised yet. It comes from a route, an entry, or both.
pub(super) struct Draft<'a> {
    pub(super) deployment: DeploymentConfig,
    /// Whether the entry or the route gives the name.
    pub(super) named: bool,
    pub(super) entry: Option<&'a Entry>,
    pub(super) route: Option<&'a ListedRoute>,
}

/// Settings for the deployments of a model, for keys that neither route nor entry gives.
#[derive(Clone, Copy)]
struct Outer<'a> {
    timeouts: &'a TimeLimits,
    concurrency: &'a SharedConcurrency,
    zone: &'a TimeZone,
}

/// The deployments of the model's routes, then those that entries create, each in the order of its
/// file. Once an entry lists the model, a route without an entry takes part only with a weight of
/// its own: a forgotten route must not cost money.
fn drafts<'a>(model: &'a Listed, listed: &[&'a Entry], outer: Outer<'_>) -> Vec<Draft<'a>> {
    let entry_of = |base: &BaseUrl| {
        listed.iter().copied().find(|entry| entry.join_key() == Some(&base.join_key))
    };
    let routes = model.routes.iter().map(|route| (route, entry_of(&route.base)));
    let used = routes.filter(|(route, entry)| !is_forgotten(route, *entry, listed));
    let mut drafts: Vec<_> = used.map(|(route, entry)| joined(route, entry, outer)).collect();
    for entry in listed {
        if let Some(base) = &entry.base
            && model.routes.iter().all(|route| route.base.join_key != base.join_key)
        {
            drafts.push(created(model, entry, base, outer));
        }
    }
    drafts
}

/// True if a route gets no traffic: entries list its model but not the route, and the route states
/// no weight.
pub(super) fn is_forgotten(route: &ListedRoute, entry: Option<&Entry>, listed: &[&Entry]) -> bool {
    entry.is_none() && !listed.is_empty() && route.weight.is_none()
}

fn joined<'a>(route: &'a ListedRoute, entry: Option<&'a Entry>, outer: Outer<'_>) -> Draft<'a> {
    let side = match entry {
        Some(entry) => entry.side,
        None => route.side.unwrap_or_else(|| endpoint::side(&route.endpoint.origin)),
    };
    let mut endpoint = route.endpoint.clone();
    if let Some(path) = entry.and_then(|entry| entry.path.as_deref()) {
        endpoint = route.base.at(&route.kind, Some(path));
    }
    let name = entry.and_then(|entry| entry.name.as_ref()).or(route.name.as_ref());
    let health = entry.and_then(|entry| entry.health.as_ref()).or(route.health.as_ref());
    let api_key = entry.and_then(|entry| entry.api_key.as_ref()).or(route.api_key.as_ref());
    let concurrency = route.concurrency.over(&outer.concurrency.of(side));
    let timeouts = route.timeouts.over(outer.timeouts);
    let mut deployment = DeploymentConfig {
        name: name.cloned().unwrap_or_default(),
        side,
        kind: route.kind.clone(),
        endpoint,
        api_key: api_key.cloned(),
        provider_model_id: route.provider_model_id.clone(),
        capability: route.capability,
        stream_usage: route.stream_usage,
        cancel: route.cancel,
        tags: route.tags.clone(),
        weight: route.weight.unwrap_or(1.0),
        share: if entry.is_some() { Share::Assigned } else { Share::Kept },
        budgets: 0,
        quotas: route.quotas.iter().map(|quota| quota.within(outer.zone)).collect(),
        pricing: route.pricing.clone(),
        probe: None,
        metrics: None,
        timeouts: entry
            .map_or(timeouts.attempt(), |entry| entry.timeouts.over(&timeouts).attempt()),
        concurrency: entry.map_or(concurrency, |entry| entry.concurrency.over(&concurrency)),
    };
    deployment.probe = ProbeTarget::of(&deployment, health);
    let signals = entry.and_then(|entry| entry.signals.as_ref()).or(route.signals.as_ref());
    deployment.metrics = EngineMetrics::of(&deployment, signals);
    Draft { deployment, named: name.is_some(), entry, route: Some(route) }
}

fn created<'a>(model: &Listed, entry: &'a Entry, base: &BaseUrl, outer: Outer<'_>) -> Draft<'a> {
    let endpoint = base.at(&model.card.provider, entry.path.as_deref());
    let mut deployment = DeploymentConfig {
        name: entry.name.clone().unwrap_or_default(),
        side: entry.side,
        kind: model.card.provider.clone(),
        api_key: entry.api_key.clone().or_else(|| key_for(model, &endpoint)),
        endpoint,
        provider_model_id: model.provider_model_id.clone(),
        capability: capability(&RawRoute::default(), &model.card),
        stream_usage: model.stream_usage,
        cancel: model.cancel,
        tags: Vec::new(),
        weight: 1.0,
        share: Share::Assigned,
        budgets: 0,
        quotas: Vec::new(),
        pricing: model.card.pricing.clone(),
        probe: None,
        metrics: None,
        timeouts: entry.timeouts.over(outer.timeouts).attempt(),
        concurrency: entry.concurrency.over(&outer.concurrency.of(entry.side)),
    };
    deployment.probe = ProbeTarget::of(&deployment, entry.health.as_ref());
    deployment.metrics = EngineMetrics::of(&deployment, entry.signals.as_ref());
    Draft { deployment, named: entry.name.is_some(), entry: Some(entry), route: None }
}

/// The key that the model has for the origin of an endpoint, if any.
fn key_for(model: &Listed, endpoint: &Endpoint) -> Option<Secret> {
    let own = model.base.as_ref().map(|base| &base.endpoint).zip(model.key.as_ref());
    let routes = model.routes.iter().filter_map(|r| Some((&r.endpoint, r.api_key.as_ref()?)));
    let mut keys = own.into_iter().chain(routes);
    keys.find(|(of, _)| of.origin == endpoint.origin).map(|(_, key)| key.clone())
}

/// Gives every deployment a name. A name given twice is reported at the second place.
fn name(
    drafts: &mut [Draft],
    models: &Models,
    entries: Option<&Entries>,
    errors: &mut Vec<Diagnostic>,
) {
    let mut taken = HashSet::new();
    for draft in drafts.iter().filter(|draft| draft.named) {
        let name = &draft.deployment.name;
        if taken.insert(name.clone()) {
            continue;
        }
        let (document, at) = match (draft.entry.zip(entries), draft.route) {
            (Some((entry, entries)), _) if entry.name.is_some() => (&entries.document, &entry.at),
            (_, Some(route)) => (&models.document, &route.at),
            _ => continue,
        };
        let at = [&at[..], &steps!["name"]].concat();
        let message = format!("two deployments of the model are named `{name}`");
        errors.push(document.error(&at, message, "give one of them another `name`"));
    }
    let mut counts = HashMap::new();
    for draft in drafts.iter_mut().filter(|draft| !draft.named) {
        let side = draft.deployment.side;
        let count = counts.entry(side).or_insert(0_usize);
        draft.deployment.name = loop {
            *count += 1;
            let name = format!("{}-{count}", side.as_str());
            if taken.insert(name.clone()) {
                break name;
            }
        };
    }
}

/// Divides the weights by their sum. `known`: no deployment was dropped because of an error, so an
/// empty list is an error.
fn normalise(
    drafts: &mut [Draft],
    model: &Listed,
    known: bool,
    document: &Document,
    errors: &mut Vec<Diagnostic>,
) {
    let id = &model.id;
    let sum: f64 = drafts.iter().map(|draft| draft.deployment.weight).sum();
    if sum > 0.0 {
        for draft in drafts {
            draft.deployment.weight /= sum;
        }
    } else if known && drafts.is_empty() {
        let message = format!("the model `{id}` runs nowhere");
        let help = "give it a `base_url` or a `route`, or list it in routing.yaml";
        errors.push(document.error(&model.at, message, help));
    } else if known {
        let message = format!("all weights of the model `{id}` are 0");
        let help = "give at least one route a weight above 0";
        errors.push(document.error(&[&model.at[..], &steps!["route"]].concat(), message, help));
    }
}
