//! Version 0.1.0 of the strategy interface: its types end in this file.

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentNamedList, HasSelf, Lift, Linker, Lower};
use wasmtime::error::Context;
use wasmtime::{Store, bail};

use super::guest::State;
use super::logging::Level;
use crate::decision::{Candidate, Price, RawWeights};

use generated::Strategy;
use generated::StrategyPre;
use generated::exports::hybrid::routing::policy;
use generated::hybrid::routing::logging;

#[allow(missing_docs, unreachable_pub, unused_qualifications, reason = "not written by us")]
mod generated {
    wasmtime::component::bindgen!({
        path: "../wit/0.1.0",
        world: "strategy",
        exports: { default: async },
    });
}

/// What a strategy of this version exports.
pub(super) const POLICY: &str = "hybrid:routing/policy@0.1.0";
/// What it may import.
pub(super) const LOGGING: &str = "hybrid:routing/logging@0.1.0";

/// A component whose imports are found and whose exports have the right types.
pub(super) struct Linked(StrategyPre<State>);

/// One instance's exports. Its calls are cancelled by dropping them; the store is then of no
/// further use.
pub(super) struct Guest(Strategy);

/// What a guest says of itself, before any check.
#[derive(Debug, Clone)]
pub(super) struct RawDescription {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) summary: String,
    pub(super) parameters: String,
    /// In milliseconds.
    pub(super) refresh: Option<u32>,
}

/// Offers this version's imports.
pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    logging::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl Linked {
    /// Nothing of the component runs before its types are known to be right.
    pub(super) fn new(linker: &Linker<State>, component: &Component) -> wasmtime::Result<Self> {
        let linked = Self(StrategyPre::new(linker.instantiate_pre(component)?)?);
        check::<(), (policy::Description,)>(component, "describe")?;
        check::<(String,), (Result<(), String>,)>(component, "configure")?;
        type Side = Vec<policy::Deployment>;
        check::<(Side, Side), (policy::Weights,)>(component, "assign")?;
        Ok(linked)
    }

    pub(super) async fn instantiate(&self, store: &mut Store<State>) -> wasmtime::Result<Guest> {
        Ok(Guest(self.0.instantiate_async(store).await?))
    }
}

/// Checks the type of one function of the policy; wasmtime's own check does not name it.
fn check<Params, Return>(component: &Component, name: &str) -> wasmtime::Result<()>
where
    Params: ComponentNamedList + Lower,
    Return: ComponentNamedList + Lift,
{
    let engine = component.engine();
    let whole = component.component_type();
    let policy = whole.get_export(engine, POLICY).map(|export| export.ty);
    let Some(ComponentItem::ComponentInstance(policy)) = policy else {
        bail!("`{POLICY}` is not an interface");
    };
    match policy.get_export(engine, name).map(|export| export.ty) {
        Some(ComponentItem::ComponentFunc(function)) => function
            .typecheck::<Params, Return>(&whole.instance_type())
            .with_context(|| format!("`{name}` is of another type")),
        _ => bail!("`{name}` is not a function"),
    }
}

impl Guest {
    pub(super) async fn describe(
        &self,
        store: &mut Store<State>,
    ) -> wasmtime::Result<RawDescription> {
        let said = self.0.hybrid_routing_policy().call_describe(store).await?;
        Ok(RawDescription {
            name: said.name,
            version: said.version,
            summary: said.summary,
            parameters: said.parameters,
            refresh: said.refresh_interval,
        })
    }

    pub(super) async fn configure(
        &self,
        store: &mut Store<State>,
        parameters: &str,
    ) -> wasmtime::Result<Result<(), String>> {
        self.0.hybrid_routing_policy().call_configure(store, parameters).await
    }

    pub(super) async fn assign(
        &self,
        store: &mut Store<State>,
        local: &[Candidate],
        remote: &[Candidate],
    ) -> wasmtime::Result<RawWeights> {
        let [local, remote] = [local, remote]
            .map(|side| side.iter().map(policy::Deployment::from).collect::<Vec<_>>());
        let policy = self.0.hybrid_routing_policy();
        let said = policy.call_assign(store, &local, &remote).await?;
        Ok(RawWeights { local: said.local, remote: said.remote })
    }
}

impl From<&Candidate> for policy::Deployment {
    fn from(candidate: &Candidate) -> Self {
        Self {
            name: candidate.name.clone(),
            model: candidate.model.clone(),
            weight: candidate.weight,
            in_flight: candidate.in_flight,
            latency: candidate.latency,
            error_rate: candidate.error_rate,
            price: candidate.price.map(Into::into),
            signals: candidate.signals.clone(),
        }
    }
}

impl From<Price> for policy::Price {
    fn from(price: Price) -> Self {
        Self { prompt: price.prompt, completion: price.completion }
    }
}

impl logging::Host for State {
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
