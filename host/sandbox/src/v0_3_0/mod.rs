//! Version 0.3.0 of the strategy interface, a draft. Its generated types are used in this folder
//! alone.

mod convert;
mod imports;
mod rows;

use generated::exports::hybrid::routing::{learning, policy, request_policy};
use generated::hybrid::routing::{chance, clock, logging, signals, store, types};
use wasmtime::Store;
use wasmtime::component::{
    Component, ComponentExportIndex, Func, HasSelf, Instance, InstancePre, Linker, TypedFunc,
};

use contract::{EndedAttempt, Needs, Place, Question, RawVerdict, RawWeights, Situation};

use super::guest::{Asking, StoreData};
use super::interface::{ComponentShape, check};
use super::version::{AskedSignal, RawDescription};
use rows::Rows;

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
    assign: ComponentExportIndex,
    assign_request: Option<ComponentExportIndex>,
    learning: Option<learning::GuestIndices>,
}

/// Exports of one instance. Dropping the future of a call cancels it, and makes the store unusable.
pub(super) struct Guest {
    policy: policy::Guest,
    /// Of type [`Assign`].
    assign: Func,
    /// Of type [`AssignRequest`].
    assign_request: Option<Func>,
    learning: Option<learning::Guest>,
    needs_tenant_name: bool,
    /// For each place the index of its model in the list that the guest was given.
    models: Vec<u32>,
}

type Assign<'a> = TypedFunc<(Rows<'a>, Rows<'a>), (types::Weights,)>;
type AssignRequest<'a> =
    TypedFunc<(request_policy::Request<'a>, Rows<'a>, Rows<'a>), (request_policy::Verdict,)>;

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
        check::<(Rows<'_>, Rows<'_>), (types::Weights,)>(component, POLICY, "assign")?;
        if shape.on_path {
            type Asked<'a> = (request_policy::Request<'a>, Rows<'a>, Rows<'a>);
            type Answer = (request_policy::Verdict,);
            check::<Asked<'_>, Answer>(component, REQUEST_POLICY, "assign-request")?;
        }
        if shape.learns {
            check::<(Vec<learning::Attempt>,), ()>(component, LEARNING, "outcome")?;
        }
        Ok(Self {
            policy: policy::GuestIndices::new(&instance)?,
            assign: export(component, POLICY, "assign")?,
            assign_request: match shape.on_path {
                true => Some(export(component, REQUEST_POLICY, "assign-request")?),
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
            assign: function(store, &instance, &self.assign)?,
            assign_request: match &self.assign_request {
                Some(index) => Some(function(store, &instance, index)?),
                None => None,
            },
            learning: match &self.learning {
                Some(indices) => Some(indices.load(&mut *store, &instance)?),
                None => None,
            },
            needs_tenant_name: false,
            models: Vec::new(),
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
        let Situation { local, remote, signals } = situation;
        // SAFETY: `Linked::new` has checked its type.
        #[allow(unsafe_code, reason = "a checked function cannot be stored with its lifetime")]
        let assign = unsafe { Assign::new_unchecked(self.assign) };
        note(store, signals);
        let (said,) = assign.call_async(&mut *store, (Rows(local), Rows(remote))).await?;
        store.data_mut().signals.clear();
        Ok(RawWeights { local: said.local, remote: said.remote })
    }

    /// Fails if the guest does not export `request-policy`.
    pub(super) async fn assign_request(
        &mut self,
        store: &mut Store<StoreData>,
        question: Question<'_>,
    ) -> wasmtime::Result<RawVerdict> {
        let Some(function) = self.assign_request else { return Err(not_exported(REQUEST_POLICY)) };
        let Situation { local, remote, signals } = question.situation;
        let facts = question.facts;
        let headers: Vec<(&str, &str)> =
            facts.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let first = local.first().or(remote.first()).map_or(0, |one| one.id as usize);
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
        // SAFETY: `Linked::new` has checked its type.
        #[allow(unsafe_code, reason = "a checked function cannot be stored with its lifetime")]
        let assign_request = unsafe { AssignRequest::new_unchecked(function) };
        note(store, signals);
        let question = (request, Rows(local), Rows(remote));
        let (verdict,) = assign_request.call_async(&mut *store, question).await?;
        store.data_mut().signals.clear();
        Ok(verdict.into())
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

/// Keeps the signals of a call for the guest to read.
fn note(store: &mut Store<StoreData>, signals: &[f64]) {
    let kept = &mut store.data_mut().signals;
    kept.clear();
    kept.extend_from_slice(signals);
}

fn export(
    component: &Component,
    interface: &str,
    name: &str,
) -> wasmtime::Result<ComponentExportIndex> {
    component
        .get_export_index(None, interface)
        .and_then(|interface| component.get_export_index(Some(&interface), name))
        .ok_or_else(|| not_exported(interface))
}

fn function(
    store: &mut Store<StoreData>,
    instance: &Instance,
    index: &ComponentExportIndex,
) -> wasmtime::Result<Func> {
    let function = instance.get_func(store, index);
    function.ok_or_else(|| wasmtime::Error::msg("an export is not a function"))
}

fn not_exported(interface: &str) -> wasmtime::Error {
    wasmtime::Error::msg(format!("the component does not export {interface}"))
}
