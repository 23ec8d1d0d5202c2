//! Version 0.3.0 of the strategy interface, a draft. Its generated types are used in this folder
//! alone.

mod convert;
mod imports;

use generated::exports::hybrid::routing::{learning, policy, request_policy};
use generated::hybrid::routing::{chance, clock, logging, signals, store, types};
use wasmtime::Store;
use wasmtime::component::{Component, HasSelf, InstancePre, Linker};

use contract::{EndedAttempt, Needs, Place, Question, RawVerdict, RawWeights, Situation};

use super::guest::{Asking, StoreData};
use super::interface::{ComponentShape, check};
use super::version::{AskedSignal, RawDescription};

#[allow(missing_docs, unreachable_pub, unused_qualifications, reason = "not written by us")]
mod generated {
    // The world with every interface. `Linked` looks up only the exports that a component has.
    wasmtime::component::bindgen!({
        path: "../../wit/0.3.0-draft",
        world: "learning-request-strategy",
        exports: { default: async },
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

/// Export of every strategy of this version.
pub(super) const POLICY: &str = "hybrid:routing/policy@0.3.0-draft";
/// Export of a strategy that decides for each request.
pub(super) const REQUEST_POLICY: &str = "hybrid:routing/request-policy@0.3.0-draft";
/// Export of a strategy that learns how attempts ended.
pub(super) const LEARNING: &str = "hybrid:routing/learning@0.3.0-draft";
/// Optional imports: the log, small values that outlive an instance, the numbers that `describe`
/// asked for, the time, and chance.
pub(super) const IMPORTS: &[&str] = &[
    "hybrid:routing/logging@0.3.0-draft",
    "hybrid:routing/store@0.3.0-draft",
    "hybrid:routing/signals@0.3.0-draft",
    "hybrid:routing/clock@0.3.0-draft",
    "hybrid:routing/chance@0.3.0-draft",
];
/// Interface of types alone, without functions.
pub(super) const TYPES: &str = "hybrid:routing/types@0.3.0-draft";

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
    needs_tenant_name: bool,
    /// For each place the index of its model in the list that the guest was given.
    models: Vec<u32>,
    /// The deployments of one call. The buffers are reused by the next.
    local: Deployments,
    remote: Deployments,
}

type Deployments = Vec<types::Deployment>;

pub(super) fn add_to_linker(linker: &mut Linker<StoreData>) -> wasmtime::Result<()> {
    logging::add_to_linker::<StoreData, HasSelf<StoreData>>(linker, |state| state)?;
    store::add_to_linker::<StoreData, HasSelf<StoreData>>(linker, |state| state)?;
    signals::add_to_linker::<StoreData, HasSelf<StoreData>>(linker, |state| state)?;
    clock::add_to_linker::<StoreData, HasSelf<StoreData>>(linker, |state| state)?;
    chance::add_to_linker::<StoreData, HasSelf<StoreData>>(linker, |state| state)?;
    types::add_to_linker::<StoreData, HasSelf<StoreData>>(linker, |state| state)
}

impl Linked {
    /// Checks all types before any code of the component runs.
    pub(super) fn new(
        linker: &Linker<StoreData>,
        component: &Component,
        shape: ComponentShape,
    ) -> wasmtime::Result<Self> {
        let instance = linker.instantiate_pre(component)?;
        check::<(), (policy::Description,)>(component, POLICY, "describe")?;
        type Given = (String, Vec<String>, Vec<types::Place<'static>>);
        check::<Given, (Result<(), String>,)>(component, POLICY, "configure")?;
        check::<(Deployments, Deployments), (types::Weights,)>(component, POLICY, "assign")?;
        if shape.on_path {
            type Asked = (request_policy::Request<'static>, Deployments, Deployments);
            type Answer = (request_policy::Verdict,);
            check::<Asked, Answer>(component, REQUEST_POLICY, "assign-request")?;
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
            needs_tenant_name: false,
            models: Vec::new(),
            local: Vec::new(),
            remote: Vec::new(),
        })
    }
}

impl Guest {
    pub(super) async fn describe(
        &mut self,
        store: &mut Store<StoreData>,
    ) -> wasmtime::Result<RawDescription> {
        let said = self.policy.call_describe(store).await?;
        let needs = Needs {
            prompt_tokens: said.needs.contains(policy::Facts::PROMPT_TOKENS),
            session: said.needs.contains(policy::Facts::SESSION),
            prefixes: said.needs.contains(policy::Facts::PREFIXES),
            tenant_name: said.needs.contains(policy::Facts::TENANT_NAME),
        };
        self.needs_tenant_name = needs.tenant_name;
        let signal = |policy::Signal { name, optional }| AskedSignal { name, optional };
        Ok(RawDescription {
            name: said.name,
            version: said.version,
            summary: said.summary,
            parameters: said.parameters,
            refresh: said.refresh_interval,
            needs,
            signals: said.signals.into_iter().map(signal).collect(),
            reasons: said.reasons,
        })
    }

    pub(super) async fn configure(
        &mut self,
        store: &mut Store<StoreData>,
        parameters: &str,
        places: &[Place],
    ) -> wasmtime::Result<Result<(), String>> {
        let tags = convert::tags(places);
        let (models, places) = convert::places(places, &tags);
        self.models = places.iter().map(|place| place.model).collect();
        store.data_mut().asking = Asking::Open(None);
        let answer = self.policy.call_configure(&mut *store, parameters, &models, &places).await?;
        if let Asking::Open(Some(demand)) = &store.data().asking {
            self.needs_tenant_name = demand.needs.tenant_name;
        }
        Ok(answer)
    }

    pub(super) async fn assign(
        &mut self,
        store: &mut Store<StoreData>,
        situation: Situation<'_>,
    ) -> wasmtime::Result<RawWeights> {
        self.note(store, situation);
        let said = self.policy.call_assign(&mut *store, &self.local, &self.remote).await?;
        store.data_mut().signals.clear();
        Ok(RawWeights { local: said.local, remote: said.remote })
    }

    /// Fails if the guest does not export `request-policy`.
    pub(super) async fn assign_request(
        &mut self,
        store: &mut Store<StoreData>,
        question: Question<'_>,
    ) -> wasmtime::Result<RawVerdict> {
        self.note(store, question.situation);
        let Some(policy) = &self.request_policy else { return Err(not_exported(REQUEST_POLICY)) };
        let facts = question.facts;
        let headers: Vec<(&str, &str)> =
            facts.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let first = self.local.first().or(self.remote.first()).map_or(0, |one| one.id as usize);
        let request = request_policy::Request {
            model: self.models.get(first).copied().unwrap_or_default(),
            stream: question.stream,
            prompt_tokens: facts.prompt_tokens,
            max_output_tokens: facts.max_output_tokens,
            holds: convert::modalities(facts.holds),
            tools: facts.tools,
            priority: facts.priority,
            objective: facts.objective.map(convert::milliseconds),
            held: question.held,
            session: facts.session,
            prefixes: &facts.prefixes,
            tenant: facts.tenant.as_ref().map(|tenant| tenant.hash),
            tenant_name: facts
                .tenant
                .as_ref()
                .filter(|_| self.needs_tenant_name)
                .map(|tenant| tenant.name.as_str()),
            headers: &headers,
        };
        let called = policy.call_assign_request(&mut *store, request, &self.local, &self.remote);
        let verdict = called.await?;
        store.data_mut().signals.clear();
        Ok(verdict.into())
    }

    /// Fills the buffers with what a call is about.
    fn note(&mut self, store: &mut Store<StoreData>, situation: Situation<'_>) {
        let Situation { local, remote, signals } = situation;
        for (list, candidates) in [(&mut self.local, local), (&mut self.remote, remote)] {
            list.clear();
            list.extend(candidates.iter().map(types::Deployment::from));
        }
        let kept = &mut store.data_mut().signals;
        kept.clear();
        kept.extend_from_slice(signals);
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
