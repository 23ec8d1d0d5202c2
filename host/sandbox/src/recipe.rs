//! Everything needed to make another instance of a loaded strategy.

use std::sync::Arc;
use std::time::Instant;

use contract::{Description, Fault, Place, Surroundings};

use super::describe::Demand;
use super::guest::{Asking, Instance, Program, Stopped};
use super::host::LoadTimes;
use super::interface::ComponentShape;
use super::kept::Lease;
use super::text::printable;
use super::values::Values;
use super::version::AskedSignal;

/// The parts that all instances of a component share.
pub(super) struct LoadedComponent {
    /// The strategy, as its source displays it.
    pub(super) what: String,
    pub(super) program: Program,
    /// Keeps the component from being evicted.
    pub(super) _lease: Lease,
    pub(super) shape: ComponentShape,
    pub(super) digest: String,
    /// Size of the component in bytes.
    pub(super) size: usize,
    pub(super) description: Description,
    /// The signals that its `describe` asks for, in its order.
    pub(super) signals: Vec<AskedSignal>,
    /// The name under which instances log.
    pub(super) name: Arc<str>,
    pub(super) times: LoadTimes,
}

/// Everything needed to make a configured instance.
pub(super) struct Recipe {
    pub(super) loaded: Arc<LoadedComponent>,
    /// That of `loaded`, with the demand of its `configure`.
    pub(super) description: Description,
    /// `routing_parameter` as JSON text.
    pub(super) parameters: String,
    pub(super) places: Vec<Place>,
    pub(super) values: Arc<Values>,
    pub(super) surroundings: Arc<dyn Surroundings>,
}

impl Recipe {
    pub(super) fn description(&self) -> &Description {
        &self.description
    }

    pub(super) fn program(&self) -> &Program {
        &self.loaded.program
    }

    /// Makes an instance and configures it like the one at load. Blocks for up to three guest
    /// calls, each with its own deadline.
    pub(super) fn fresh(&self) -> Result<Instance, Fault> {
        self.fresh_by(|| self.program().deadline())
    }

    /// Like [`Self::fresh`], where all calls have one deadline.
    pub(super) fn fresh_until(&self, deadline: Instant) -> Result<Instance, Fault> {
        self.fresh_by(|| deadline)
    }

    fn fresh_by(&self, deadline: impl Fn() -> Instant) -> Result<Instance, Fault> {
        let (name, values) = (Arc::clone(&self.loaded.name), Arc::clone(&self.values));
        let surroundings = Arc::clone(&self.surroundings);
        let mut instance = self.program().instantiate(name, values, surroundings, deadline())?;
        instance.begin();
        // The contract promises guests that `describe` precedes `configure`.
        let describe = instance.guest.describe(&mut instance.store);
        self.program().call_until(deadline(), describe)?;
        match self.configure(&mut instance, deadline())? {
            Ok(demand) if demand == self.demand() => Ok(instance),
            Ok(_) => {
                Err(Fault::Trap("a fresh instance asks for other signals or facts".to_owned()))
            }
            Err(message) => {
                Err(Fault::Trap(format!("a fresh instance refuses its parameters: {message}")))
            }
        }
    }

    /// The signals and facts that instances with these parameters ask for.
    fn demand(&self) -> Demand {
        Demand { signals: self.description.signals.clone(), needs: self.description.needs }
    }

    /// Configures an instance. Returns what the guest asks for: the demand of its `configure`, else
    /// that of `describe`. Its refusal is made printable.
    pub(super) fn configure(
        &self,
        instance: &mut Instance,
        deadline: Instant,
    ) -> Result<Result<Demand, String>, Stopped> {
        instance.begin();
        let (store, guest) = (&mut instance.store, &mut instance.guest);
        let call = guest.configure(store, &self.parameters, &self.places);
        let answer = self.program().call_until(deadline, call)?;
        let asked = match std::mem::take(&mut instance.store.data_mut().asking) {
            Asking::Open(asked) => asked,
            Asking::Closed => None,
        };
        let of_describe = || {
            let Description { signals, needs, .. } = &self.loaded.description;
            Demand { signals: signals.clone(), needs: *needs }
        };
        let demand = |()| asked.unwrap_or_else(of_describe);
        Ok(answer.map(demand).map_err(|message| printable(&message, 1_024)))
    }
}
