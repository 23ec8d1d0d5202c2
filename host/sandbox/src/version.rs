//! Dispatches guest calls to the component's version of the interface. The version is determined
//! once, at load. Callers need not know it.

use wasmtime::Store;
use wasmtime::component::{Component, Linker};

use contract::{EndedAttempt, Needs, Place, Question, RawVerdict, RawWeights, Situation};

use super::guest::StoreData;
use super::interface::{ComponentShape, Version};
use super::{v0_1_0, v0_2_0, v0_3_0};

/// A component whose imports are resolved and whose exports have the right types.
pub(super) enum Linked {
    V0_1_0(v0_1_0::Linked),
    V0_2_0(v0_2_0::Linked),
    V0_3_0(v0_3_0::Linked),
}

/// Exports of one instance. Dropping the future of a call cancels it, and makes the store unusable.
pub(super) enum Guest {
    V0_1_0(v0_1_0::Guest),
    V0_2_0(v0_2_0::Guest),
    V0_3_0(v0_3_0::Guest),
}

/// The answer of a guest's `describe`, unchecked.
#[derive(Debug, Clone)]
pub(super) struct RawDescription {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) summary: String,
    pub(super) parameters: String,
    /// In milliseconds.
    pub(super) refresh: Option<u32>,
    pub(super) needs: Needs,
    pub(super) signals: Vec<AskedSignal>,
    pub(super) reasons: Vec<String>,
}

/// A signal that a guest asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedSignal {
    /// Its name, made printable where the guest has been loaded.
    pub name: String,
    /// The guest can do without it.
    pub optional: bool,
}

impl Linked {
    pub(super) fn new(
        linker: &mut Linker<StoreData>,
        component: &Component,
        shape: ComponentShape,
    ) -> wasmtime::Result<Self> {
        Ok(match shape.version {
            Version::V0_1_0 => {
                v0_1_0::add_to_linker(linker)?;
                Self::V0_1_0(v0_1_0::Linked::new(linker, component)?)
            }
            Version::V0_2_0 => {
                v0_2_0::add_to_linker(linker)?;
                Self::V0_2_0(v0_2_0::Linked::new(linker, component, shape)?)
            }
            Version::V0_3_0 => {
                v0_3_0::add_to_linker(linker)?;
                Self::V0_3_0(v0_3_0::Linked::new(linker, component, shape)?)
            }
        })
    }

    pub(super) async fn instantiate(
        &self,
        store: &mut Store<StoreData>,
    ) -> wasmtime::Result<Guest> {
        Ok(match self {
            Self::V0_1_0(linked) => Guest::V0_1_0(linked.instantiate(store).await?),
            Self::V0_2_0(linked) => Guest::V0_2_0(linked.instantiate(store).await?),
            Self::V0_3_0(linked) => Guest::V0_3_0(linked.instantiate(store).await?),
        })
    }
}

impl Guest {
    pub(super) async fn describe(
        &mut self,
        store: &mut Store<StoreData>,
    ) -> wasmtime::Result<RawDescription> {
        match self {
            Self::V0_1_0(guest) => guest.describe(store).await,
            Self::V0_2_0(guest) => guest.describe(store).await,
            Self::V0_3_0(guest) => guest.describe(store).await,
        }
    }

    pub(super) async fn configure(
        &mut self,
        store: &mut Store<StoreData>,
        parameters: &str,
        places: &[Place],
    ) -> wasmtime::Result<Result<(), String>> {
        match self {
            Self::V0_1_0(guest) => guest.configure(store, parameters).await,
            Self::V0_2_0(guest) => guest.configure(store, parameters, places).await,
            Self::V0_3_0(guest) => guest.configure(store, parameters, places).await,
        }
    }

    pub(super) async fn assign(
        &mut self,
        store: &mut Store<StoreData>,
        situation: Situation<'_>,
    ) -> wasmtime::Result<RawWeights> {
        match self {
            Self::V0_1_0(guest) => guest.assign(store, situation).await,
            Self::V0_2_0(guest) => guest.assign(store, situation).await,
            Self::V0_3_0(guest) => guest.assign(store, situation).await,
        }
    }

    pub(super) async fn assign_request(
        &mut self,
        store: &mut Store<StoreData>,
        question: Question<'_>,
    ) -> wasmtime::Result<RawVerdict> {
        match self {
            // Not reached: a component of this version never has a request policy.
            Self::V0_1_0(guest) => Ok(guest.assign(store, question.situation).await?.into()),
            Self::V0_2_0(guest) => guest.assign_request(store, question).await,
            Self::V0_3_0(guest) => guest.assign_request(store, question).await,
        }
    }

    pub(super) async fn outcome(
        &self,
        store: &mut Store<StoreData>,
        attempts: &[EndedAttempt],
    ) -> wasmtime::Result<()> {
        match self {
            Self::V0_1_0(_) => Ok(()),
            Self::V0_2_0(guest) => guest.outcome(store, attempts).await,
            Self::V0_3_0(guest) => guest.outcome(store, attempts).await,
        }
    }
}
