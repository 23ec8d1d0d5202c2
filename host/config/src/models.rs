//! Checks `models.yaml` by itself: names, URLs, keys and prices. [`join`](super::join) completes
//! its deployments with `routing.yaml`.

use std::collections::HashMap;
use std::sync::Arc;

use contract::{Modalities, Side};

use super::document::steps;
use super::endpoint::BaseUrl;
use super::given::Given;
use super::probing::GivenProbe;
use super::quotas::GivenQuota;
use super::raw::models::{ModelsFile, RawModel, RawRoute};
use super::raw::{RawHealth, RawProbe, RawStatus};
use super::signals::GivenSignals;
use super::{
    Cancel, Capability, Diagnostic, Document, Endpoint, ModelCard, PathStep, Pricing, ProbeMethod,
    Secret, Sides, endpoint, schema,
};

/// `models.yaml`, checked by itself.
pub(super) struct Models {
    pub(super) document: Arc<Document>,
    pub(super) list: Vec<Listed>,
    /// True if every part of the file is here. False: parts with errors were dropped.
    pub(super) whole: bool,
}

/// A model before the files are joined.
pub(super) struct Listed {
    /// Its position in the file.
    pub(super) at: Vec<PathStep>,
    pub(super) id: String,
    pub(super) aliases: Vec<String>,
    pub(super) sides: Sides,
    pub(super) card: ModelCard,
    pub(super) provider_model_id: String,
    /// The configured prefix of the API's paths at `base`.
    pub(super) path: Option<String>,
    /// The model's own key, which belongs to `base`.
    pub(super) key: Option<Secret>,
    pub(super) base: Option<BaseUrl>,
    pub(super) stream_usage: bool,
    pub(super) cancel: Option<Cancel>,
    pub(super) timeouts: Given,
    pub(super) routes: Vec<ListedRoute>,
    /// Some of its routes are missing here. Their errors are reported already.
    pub(super) incomplete: bool,
}

/// A route, completed with the values of its model.
pub(super) struct ListedRoute {
    pub(super) at: Vec<PathStep>,
    pub(super) name: Option<String>,
    pub(super) side: Option<Side>,
    pub(super) kind: String,
    /// The URL as the file has it. Entries of `routing.yaml` join by it.
    pub(super) base: BaseUrl,
    /// Where requests go.
    pub(super) endpoint: Endpoint,
    pub(super) api_key: Option<Secret>,
    pub(super) provider_model_id: String,
    /// None if the file gives none.
    pub(super) weight: Option<f64>,
    pub(super) pricing: Pricing,
    pub(super) capability: Capability,
    pub(super) stream_usage: bool,
    pub(super) cancel: Option<Cancel>,
    pub(super) tags: Vec<String>,
    pub(super) health: Option<GivenProbe>,
    pub(super) signals: Option<GivenSignals>,
    pub(super) concurrency: Given,
    pub(super) timeouts: Given,
    pub(super) quotas: Vec<GivenQuota>,
}

/// Checks the file. Returns what could be understood, and adds the errors.
pub(super) fn check(document: Arc<Document>, errors: &mut Vec<Diagnostic>) -> Option<Models> {
    let document = without_deployments(document, errors);
    let (raw, whole): (ModelsFile, _) = typed(&document, &schema::models(), errors)?;
    unique_names(&document, &raw.models, errors);
    let mut check = Check { document: &document, whole, errors };
    let models = raw.models.into_iter().enumerate();
    let list = models.map(|(index, model)| check.model(&steps!["models", index], model)).collect();
    Some(Models { document, list, whole })
}

/// Reports the old key `deployments`, and removes it.
pub(super) fn without_deployments(
    document: Arc<Document>,
    errors: &mut Vec<Diagnostic>,
) -> Arc<Document> {
    let at = steps!["deployments"];
    if document.get(&at).is_none() {
        return document;
    }
    let help = "list them in routing.yaml, under `local_deployment` and `remote_deployment`";
    errors.push(document.key_error(&at, "`deployments` is no longer read", help));
    Arc::new(document.without("deployments"))
}

/// Reads a file as `T`, without the parts that have errors. True: nothing was left out.
pub(super) fn typed<T: serde::de::DeserializeOwned>(
    document: &Document,
    schema: &serde_json::Value,
    errors: &mut Vec<Diagnostic>,
) -> Option<(T, bool)> {
    let (value, found) = schema::read(document, &[], schema);
    let whole = found.is_empty();
    errors.extend(found);
    match serde_json::from_value(value?) {
        Ok(raw) => Some((raw, whole)),
        Err(error) => {
            errors.push(document.error(&[], error.to_string(), ""));
            None
        }
    }
}

/// Checks that ids and aliases are unique over all models. A model's alias may repeat its id.
fn unique_names(document: &Document, models: &[RawModel], errors: &mut Vec<Diagnostic>) {
    let mut owners: HashMap<&str, &str> = HashMap::new();
    for (index, model) in models.iter().enumerate() {
        let at = steps!["models", index, "id"];
        if document.text(&at).is_none() {
            continue;
        }
        if let Some(other) = owners.insert(&model.id, &model.id) {
            let message = format!("the model id `{other}` is given twice");
            let help = "ids are unique; two places of one model are two entries of its `route`";
            errors.push(document.error(&at, message, help));
        }
    }
    for (index, model) in models.iter().enumerate() {
        for (nth, alias) in model.aliases.iter().enumerate().filter(|(_, a)| **a != model.id) {
            let at = steps!["models", index, "aliases", nth];
            if document.text(&at).is_none() {
                continue;
            }
            if let Some(owner) = owners.insert(alias, &model.id) {
                let message = format!("the name `{alias}` already belongs to the model `{owner}`");
                errors.push(document.error(
                    &at,
                    message,
                    "remove one of the two: ids and aliases are unique over all models",
                ));
            }
        }
    }
}

/// Checks single values, for both files.
pub(super) struct Check<'a> {
    pub(super) document: &'a Document,
    /// True if every part of the file is here. False: parts with errors were dropped.
    pub(super) whole: bool,
    pub(super) errors: &'a mut Vec<Diagnostic>,
}

impl Check<'_> {
    fn model(&mut self, at: &[PathStep], raw: RawModel) -> Listed {
        let start = self.errors.len();
        let given = |key: &str| self.document.text(&join(at, key)).is_some();
        let has_lengths = given("context_length") && given("max_output_length");
        let pricing = self.pricing(at, &raw.pricing, &Pricing::default());
        let provider_model_id = raw.provider_model_id.unwrap_or_else(|| raw.id.clone());
        let mut model = Listed {
            at: at.to_vec(),
            aliases: raw.aliases.into_iter().filter(|alias| *alias != raw.id).collect(),
            sides: raw.sides.into_iter().collect(),
            card: ModelCard {
                name: raw.name.unwrap_or_else(|| raw.id.clone()),
                provider: raw.provider,
                context_length: raw.context_length,
                max_output_length: raw.max_output_length,
                has_lengths,
                quantization: raw.quantization,
                input_modalities: raw.input_modalities,
                output_modalities: raw.output_modalities,
                supports_tools: raw.supports_tools,
                supports_structured_output: raw.supports_structured_output,
                supported_params: raw.supported_params,
                pricing,
            },
            id: raw.id,
            provider_model_id,
            key: self.key(at, raw.api_key),
            base: self.endpoint(&join(at, "base_url"), raw.base_url.as_deref()),
            path: self.path(at, raw.path),
            stream_usage: raw.stream_usage,
            cancel: raw.cancel,
            timeouts: raw.timeouts,
            routes: Vec::new(),
            incomplete: false,
        };
        let given = raw.route.is_some();
        for (index, route) in raw.route.unwrap_or_default().into_iter().enumerate() {
            let at = [at, &steps!["route", index]].concat();
            model.routes.extend(self.route(&at, route, &model));
        }
        if !given && model.base.is_some() {
            model.routes.extend(self.route(at, RawRoute::default(), &model));
        }
        // A `base_url` with an unset variable was reported before this check, and has no endpoint.
        let holes = raw.base_url.is_some() && model.base.is_none();
        model.incomplete = self.errors.len() > start || holes;
        model
    }

    /// Checks a route. None: it has no valid endpoint.
    fn route(&mut self, at: &[PathStep], raw: RawRoute, model: &Listed) -> Option<ListedRoute> {
        let own = self.endpoint(&join(at, "base_url"), raw.base_url.as_deref());
        if self.whole && raw.base_url.is_none() && model.base.is_none() {
            let message = "neither the route nor its model has a `base_url`";
            let help = "add `base_url: http://host:8000` to the route";
            self.errors.push(self.document.error(at, message, help));
        }
        let same_host = match (&own, &model.base) {
            (Some(own), Some(base)) => own.endpoint.origin == base.endpoint.origin,
            _ => true,
        };
        let inherited = model.key.clone().filter(|_| same_host);
        let is_model = *at == *model.at;
        let pricing = match is_model {
            true => model.card.pricing.clone(),
            false => self.pricing(at, &raw.pricing, &model.card.pricing),
        };
        let health = self.health(at, raw.health.as_ref());
        let capability = capability(&raw, &model.card);
        let signals = self.signals(at, raw.signals);
        let quotas = self.quotas(at, raw.quota);
        // A `path` belongs to the URL beside it.
        let own_path = self.path(at, raw.path).filter(|_| !is_model);
        let (base, path) = match raw.base_url {
            Some(_) => (own?, own_path),
            None => (model.base.clone()?, own_path.or_else(|| model.path.clone())),
        };
        let kind = raw.kind.unwrap_or_else(|| model.card.provider.clone());
        Some(ListedRoute {
            at: at.to_vec(),
            name: raw.name,
            side: raw.side,
            endpoint: base.at(&kind, path.as_deref()),
            base,
            kind,
            api_key: self.key(at, raw.api_key).or(inherited),
            provider_model_id: raw
                .provider_model_id
                .unwrap_or_else(|| model.provider_model_id.clone()),
            weight: raw.weight,
            pricing,
            capability,
            stream_usage: raw.stream_usage.unwrap_or(model.stream_usage),
            cancel: raw.cancel.or(model.cancel),
            tags: raw.tags,
            health,
            signals,
            concurrency: raw.concurrency,
            timeouts: raw.timeouts,
            quotas,
        })
    }

    /// Parses a URL. None: it is not given, has an unset variable, or is invalid and reported.
    pub(super) fn endpoint(&mut self, at: &[PathStep], text: Option<&str>) -> Option<BaseUrl> {
        text?;
        match endpoint::parse(self.document.text(at)?) {
            Ok(endpoint) => Some(endpoint),
            Err((message, help)) => {
                self.errors.push(self.document.error(at, message, help));
                None
            }
        }
    }

    /// Checks the `path` beside a URL: the prefix before `/chat/completions`.
    pub(super) fn path(&mut self, at: &[PathStep], text: Option<String>) -> Option<String> {
        let at = join(at, "path");
        let text = text?;
        let known = self.document.text(&at).is_some();
        let plain = |b: u8| b.is_ascii_graphic() && !b"?#\\".contains(&b);
        let dots = text.split('/').any(|segment| matches!(segment, "." | ".."));
        let begins = text.is_empty() || text.starts_with('/');
        if known && !(begins && !dots && text.bytes().all(plain)) {
            let help =
                "write what stands before `/chat/completions`: /v1, /openai/v1, or / for nothing";
            self.errors.push(self.document.error(&at, "this is not a path", help));
        }
        Some(text)
    }

    /// Checks a key. An empty key counts as none, so that `${KEY:-}` makes a key optional.
    pub(super) fn key(&mut self, at: &[PathStep], text: Option<String>) -> Option<Secret> {
        let text = text.filter(|text| !text.is_empty())?;
        if text.contains(|c: char| c.is_ascii_control()) {
            let message = "the key holds a line break or another control character";
            let help = "no header can hold it: look at the end of the file or variable it is from";
            self.errors.push(self.document.error(&join(at, "api_key"), message, help));
        }
        Some(Secret::new(text))
    }

    pub(super) fn health(
        &mut self,
        at: &[PathStep],
        raw: Option<&RawHealth>,
    ) -> Option<GivenProbe> {
        let at = join(at, "health");
        let (at, given) = match raw? {
            RawHealth::Path(path) => {
                let path = Some(path.clone());
                let method = ProbeMethod::Get;
                (at, GivenProbe { path, method, status: Vec::new(), body: None })
            }
            RawHealth::Probe(RawProbe { path, method, status, body }) => {
                let status = match status.clone() {
                    None => Vec::new(),
                    Some(RawStatus::One(status)) => vec![status],
                    Some(RawStatus::Several(all)) => all,
                };
                let (path, body) = (path.clone(), body.clone());
                (join(&at, "path"), GivenProbe { path, method: *method, status, body })
            }
        };
        let known = self.document.text(&at).is_some();
        let is_path = |path: &String| {
            path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic() && b != b'#')
        };
        if known && !given.path.as_ref().is_none_or(is_path) {
            let help = "write it as `/health`: the gateway asks the host of the deployment";
            self.errors.push(self.document.error(&at, "a health path begins with `/`", help));
        }
        Some(given)
    }
}

/// What a route can do. Keys that it lacks are taken from the model.
pub(super) fn capability(raw: &RawRoute, card: &ModelCard) -> Capability {
    let of = |own: &Option<Vec<String>>, models: &[String]| match own {
        Some(own) => Modalities::of(own),
        None => Modalities::of(models),
    };
    Capability {
        context_length: raw.context_length.unwrap_or(card.context_length),
        input: of(&raw.input_modalities, &card.input_modalities),
        output: of(&raw.output_modalities, &card.output_modalities),
        tools: raw.supports_tools.unwrap_or(card.supports_tools),
    }
}

pub(super) fn join(at: &[PathStep], key: &str) -> Vec<PathStep> {
    [at, &steps![key]].concat()
}
