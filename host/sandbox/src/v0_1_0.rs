//! Version 0.1.0 of the strategy interface. Its generated types are used in no other file.

use generated::exports::hybrid::routing::policy;
use generated::hybrid::routing::logging;
use generated::{Strategy, StrategyPre};
use wasmtime::Store;
use wasmtime::component::{Component, HasSelf, Linker};

use contract::{Candidate, Needs, Price, RawWeights, Situation};

use super::guest::StoreData;
use super::interface::check;
use super::logging::Level;
use super::version::RawDescription;

#[allow(missing_docs, unreachable_pub, unused_qualifications, reason = "not written by us")]
mod generated {
    wasmtime::component::bindgen!({
        path: "../../wit/0.1.0",
        world: "strategy",
        exports: { default: async },
    });
}

/// Export of every strategy of this version.
pub(super) const POLICY: &str = "hybrid:routing/policy@0.1.0";
/// Optional import: writes to the gateway's log.
pub(super) const LOGGING: &str = "hybrid:routing/logging@0.1.0";

/// A component whose imports are resolved and whose exports have the right types.
pub(super) struct Linked(StrategyPre<StoreData>);

/// Exports of one instance. Dropping the future of a call cancels it, and makes the store unusable.
pub(super) struct Guest(Strategy);

pub(super) fn add_to_linker(linker: &mut Linker<StoreData>) -> wasmtime::Result<()> {
    logging::add_to_linker::<StoreData, HasSelf<StoreData>>(linker, |state| state)
}

impl Linked {
    /// Checks all types before any code of the component runs.
    pub(super) fn new(linker: &Linker<StoreData>, component: &Component) -> wasmtime::Result<Self> {
        let linked = Self(StrategyPre::new(linker.instantiate_pre(component)?)?);
        check::<(), (policy::Description,)>(component, POLICY, "describe")?;
        check::<(String,), (Result<(), String>,)>(component, POLICY, "configure")?;
        type Side = Vec<policy::Deployment>;
        check::<(Side, Side), (policy::Weights,)>(component, POLICY, "assign")?;
        Ok(linked)
    }

    pub(super) async fn instantiate(
        &self,
        store: &mut Store<StoreData>,
    ) -> wasmtime::Result<Guest> {
        Ok(Guest(self.0.instantiate_async(store).await?))
    }
}

impl Guest {
    pub(super) async fn describe(
        &self,
        store: &mut Store<StoreData>,
    ) -> wasmtime::Result<RawDescription> {
        let said = self.0.hybrid_routing_policy().call_describe(store).await?;
        Ok(RawDescription {
            name: said.name,
            version: said.version,
            summary: said.summary,
            parameters: said.parameters,
            refresh: said.refresh_interval,
            needs: Needs::default(),
            signals: Vec::new(),
            reasons: Vec::new(),
        })
    }

    pub(super) async fn configure(
        &self,
        store: &mut Store<StoreData>,
        parameters: &str,
    ) -> wasmtime::Result<Result<(), String>> {
        self.0.hybrid_routing_policy().call_configure(store, parameters).await
    }

    pub(super) async fn assign(
        &self,
        store: &mut Store<StoreData>,
        Situation { local, remote, .. }: Situation<'_>,
    ) -> wasmtime::Result<RawWeights> {
        let [local, remote] = [local, remote]
            .map(|side| side.iter().map(policy::Deployment::from).collect::<Vec<_>>());
        let policy = self.0.hybrid_routing_policy();
        let said = policy.call_assign(store, &local, &remote).await?;
        Ok(RawWeights { local: said.local, remote: said.remote })
    }
}

impl From<&Candidate<'_>> for policy::Deployment {
    fn from(candidate: &Candidate<'_>) -> Self {
        let place = candidate.place;
        Self {
            name: place.name.clone(),
            model: place.model.clone(),
            weight: place.weight,
            in_flight: candidate.in_flight,
            latency: candidate.latency,
            error_rate: candidate.error_rate,
            price: place.price.map(Into::into),
            // No gateway has ever filled this field.
            signals: Vec::new(),
        }
    }
}

impl From<Price> for policy::Price {
    fn from(price: Price) -> Self {
        Self { prompt: price.prompt, completion: price.completion }
    }
}

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
