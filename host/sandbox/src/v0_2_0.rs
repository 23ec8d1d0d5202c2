//! Version 0.2.0 of the strategy interface. Its generated types are used in no other file.

use generated::exports::hybrid::routing::{learning, policy, request_policy};
use generated::hybrid::routing::{logging, store, types};
use wasmtime::Store;
use wasmtime::component::{Component, HasSelf, InstancePre, Linker};

use contract::{
    Candidate, EndedAttempt, Ending, Needs, Place, Price, Question, RawVerdict, RawWeights, Side,
    Situation,
};

use super::guest::StoreData;
use super::interface::{ComponentShape, check};
use super::logging::Level;
use super::values::StoreRefusal;
use super::version::RawDescription;

#[allow(missing_docs, unreachable_pub, unused_qualifications, reason = "not written by us")]
mod generated {
    // The world with every interface. `Linked` looks up only the exports that a component has.
    wasmtime::component::bindgen!({
        path: "../../wit/0.2.0",
        world: "learning-request-strategy",
        exports: { default: async },
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

/// Export of every strategy of this version.
pub(super) const POLICY: &str = "hybrid:routing/policy@0.2.0";
/// Export of a strategy that decides for each request.
pub(super) const REQUEST_POLICY: &str = "hybrid:routing/request-policy@0.2.0";
/// Export of a strategy that learns how attempts ended.
pub(super) const LEARNING: &str = "hybrid:routing/learning@0.2.0";
/// Optional import: writes to the gateway's log.
pub(super) const LOGGING: &str = "hybrid:routing/logging@0.2.0";
/// Optional import: keeps small values over traps and reloads.
pub(super) const STORE: &str = "hybrid:routing/store@0.2.0";
/// Interface of types alone, without functions.
pub(super) const TYPES: &str = "hybrid:routing/types@0.2.0";

/// A component whose imports are resolved and whose exports have the right types.
pub(super) struct Linked {
    instance: InstancePre<StoreData>,
    policy: policy::GuestIndices,
    request_policy: Option<request_policy::GuestIndices>,
    learning: Option<learning::GuestIndices>,
}

/// Exports of one instance. Dropping the future of a call cancels it, and makes the store unusable.
pub(super) struct Guest {
    policy: policy::Guest,
    request_policy: Option<request_policy::Guest>,
    learning: Option<learning::Guest>,
    /// The deployments of one call. The buffers are reused by the next.
    local: Deployments,
    remote: Deployments,
}

pub(super) fn add_to_linker(linker: &mut Linker<StoreData>) -> wasmtime::Result<()> {
    logging::add_to_linker::<StoreData, HasSelf<StoreData>>(linker, |state| state)?;
    store::add_to_linker::<StoreData, HasSelf<StoreData>>(linker, |state| state)?;
    types::add_to_linker::<StoreData, HasSelf<StoreData>>(linker, |state| state)
}

type Deployments = Vec<types::Deployment>;

impl Linked {
    /// Checks all types before any code of the component runs.
    pub(super) fn new(
        linker: &Linker<StoreData>,
        component: &Component,
        shape: ComponentShape,
    ) -> wasmtime::Result<Self> {
        let instance = linker.instantiate_pre(component)?;
        check::<(), (policy::Description,)>(component, POLICY, "describe")?;
        type Places = Vec<types::Place<'static>>;
        check::<(String, Places), (Result<(), String>,)>(component, POLICY, "configure")?;
        check::<(Deployments, Deployments), (types::Weights,)>(component, POLICY, "assign")?;
        if shape.on_path {
            type Asked = (request_policy::Request<'static>, Deployments, Deployments);
            let name = "assign-request";
            check::<Asked, (types::Weights,)>(component, REQUEST_POLICY, name)?;
        }
        if shape.learns {
            check::<(Vec<learning::Attempt>,), ()>(component, LEARNING, "outcome")?;
        }
        Ok(Self {
            policy: policy::GuestIndices::new(&instance)?,
            request_policy: match shape.on_path {
                true => Some(request_policy::GuestIndices::new(&instance)?),
                false => None,
            },
            learning: match shape.learns {
                true => Some(learning::GuestIndices::new(&instance)?),
                false => None,
            },
            instance,
        })
    }

    pub(super) async fn instantiate(
        &self,
        store: &mut Store<StoreData>,
    ) -> wasmtime::Result<Guest> {
        let instance = self.instance.instantiate_async(&mut *store).await?;
        Ok(Guest {
            policy: self.policy.load(&mut *store, &instance)?,
            request_policy: match &self.request_policy {
                Some(indices) => Some(indices.load(&mut *store, &instance)?),
                None => None,
            },
            learning: match &self.learning {
                Some(indices) => Some(indices.load(&mut *store, &instance)?),
                None => None,
            },
            local: Vec::new(),
            remote: Vec::new(),
        })
    }
}

impl Guest {
    pub(super) async fn describe(
        &self,
        store: &mut Store<StoreData>,
    ) -> wasmtime::Result<RawDescription> {
        let said = self.policy.call_describe(store).await?;
        Ok(RawDescription {
            name: said.name,
            version: said.version,
            summary: said.summary,
            parameters: said.parameters,
            refresh: said.refresh_interval,
            needs: Needs {
                prompt_tokens: said.needs.contains(policy::Facts::PROMPT_TOKENS),
                session: said.needs.contains(policy::Facts::SESSION),
                prefixes: said.needs.contains(policy::Facts::PREFIXES),
                // It is told the name anyway.
                tenant_name: false,
            },
            signals: Vec::new(),
            reasons: Vec::new(),
        })
    }

    pub(super) async fn configure(
        &self,
        store: &mut Store<StoreData>,
        parameters: &str,
        places: &[Place],
    ) -> wasmtime::Result<Result<(), String>> {
        let places: Vec<types::Place<'_>> = places.iter().map(Into::into).collect();
        self.policy.call_configure(store, parameters, &places).await
    }

    pub(super) async fn assign(
        &mut self,
        store: &mut Store<StoreData>,
        situation: Situation<'_>,
    ) -> wasmtime::Result<RawWeights> {
        self.note(situation);
        let said = self.policy.call_assign(store, &self.local, &self.remote).await?;
        Ok(RawWeights { local: said.local, remote: said.remote })
    }

    /// Fails if the guest does not export `request-policy`.
    pub(super) async fn assign_request(
        &mut self,
        store: &mut Store<StoreData>,
        question: Question<'_>,
    ) -> wasmtime::Result<RawVerdict> {
        self.note(question.situation);
        let Some(policy) = &self.request_policy else { return Err(not_exported(REQUEST_POLICY)) };
        let facts = question.facts;
        let headers: Vec<(&str, &str)> =
            facts.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let request = request_policy::Request {
            model: question.model,
            stream: question.stream,
            prompt_tokens: facts.prompt_tokens,
            max_output_tokens: facts.max_output_tokens,
            session: facts.session,
            prefixes: &facts.prefixes,
            tenant: facts.tenant.as_ref().map(|tenant| tenant.name.as_str()),
            headers: &headers,
        };
        let said = policy.call_assign_request(store, request, &self.local, &self.remote).await?;
        Ok(RawWeights { local: said.local, remote: said.remote }.into())
    }

    /// Fills the buffers with the deployments of a call.
    fn note(&mut self, Situation { local, remote, .. }: Situation<'_>) {
        for (list, candidates) in [(&mut self.local, local), (&mut self.remote, remote)] {
            list.clear();
            list.extend(candidates.iter().map(types::Deployment::from));
        }
    }

    /// Fails if the guest does not export `learning`.
    pub(super) async fn outcome(
        &self,
        store: &mut Store<StoreData>,
        attempts: &[EndedAttempt],
    ) -> wasmtime::Result<()> {
        let Some(learning) = &self.learning else { return Err(not_exported(LEARNING)) };
        let attempts: Vec<learning::Attempt> = attempts.iter().map(Into::into).collect();
        learning.call_outcome(store, &attempts).await
    }
}

fn not_exported(interface: &str) -> wasmtime::Error {
    wasmtime::Error::msg(format!("the component does not export {interface}"))
}

impl From<&Candidate<'_>> for types::Deployment {
    fn from(candidate: &Candidate<'_>) -> Self {
        Self {
            id: candidate.id,
            in_flight: candidate.in_flight,
            queued: candidate.queued,
            latency: candidate.latency,
            error_rate: candidate.error_rate,
        }
    }
}

impl<'a> From<&'a Place> for types::Place<'a> {
    fn from(place: &'a Place) -> Self {
        Self {
            name: &place.name,
            model: &place.model,
            side: match place.side {
                Side::Local => types::Side::Local,
                Side::Remote => types::Side::Remote,
            },
            weight: place.weight,
            capacity: place.capacity,
            price: place.price.map(Into::into),
            context_length: place.context_length,
        }
    }
}

impl From<Price> for types::Price {
    fn from(price: Price) -> Self {
        Self { prompt: price.prompt, completion: price.completion }
    }
}

impl From<&EndedAttempt> for learning::Attempt {
    fn from(attempt: &EndedAttempt) -> Self {
        let millis = |time: std::time::Duration| time.as_secs_f64() * 1e3;
        Self {
            deployment: attempt.deployment,
            ending: match attempt.ending {
                Ending::Ok => learning::Ending::Ok,
                Ending::ClientError => learning::Ending::ClientError,
                Ending::Cancelled | Ending::Hedged => learning::Ending::Cancelled,
                Ending::Refused => learning::Ending::Limited,
                Ending::Failed => learning::Ending::Failed,
                Ending::TimedOut | Ending::Stalled => learning::Ending::TimedOut,
                Ending::Broken => learning::Ending::Broken,
            },
            status: attempt.status,
            first_byte: attempt.first_byte.map(millis),
            total: millis(attempt.total),
            prompt_tokens: attempt.prompt_tokens,
            completion_tokens: attempt.completion_tokens,
            cost: attempt.cost,
        }
    }
}

impl types::Host for StoreData {}

impl logging::Host for StoreData {
    fn log(&mut self, level: logging::Level, message: String) {
        let level = match level {
            logging::Level::Debug => Level::Debug,
            logging::Level::Info => Level::Info,
            logging::Level::Warn => Level::Warn,
            logging::Level::Error => Level::Error,
        };
        self.log.write(level, &message);
    }
}

impl store::Host for StoreData {
    fn get(&mut self, key: String) -> Option<Vec<u8>> {
        self.values.get(&key)
    }

    fn set(&mut self, key: String, value: Vec<u8>, ttl: Option<u32>) -> Result<(), store::Refusal> {
        let ttl = ttl.map(|ms| std::time::Duration::from_millis(ms.into()));
        self.values.set(key, value, ttl).map_err(|refusal| match refusal {
            StoreRefusal::Key => store::Refusal::Key,
            StoreRefusal::Value => store::Refusal::Value,
            // Only versions after this one compare.
            StoreRefusal::Full | StoreRefusal::Other => store::Refusal::Full,
        })
    }

    fn remove(&mut self, key: String) {
        self.values.remove(&key);
    }
}
