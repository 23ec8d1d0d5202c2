//! Everything needed to make another instance of a loaded strategy.

use std::sync::Arc;

use contract::{Description, Fault, Place, Surroundings};

use super::guest::{Instance, Program, Stopped};
use super::host::LoadTimes;
use super::interface::ComponentShape;
use super::kept::Lease;
use super::text::printable;
use super::values::Values;

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
    /// The name under which instances log.
    pub(super) name: Arc<str>,
    pub(super) times: LoadTimes,
}

/// Everything needed to make a configured instance.
pub(super) struct Recipe {
    pub(super) loaded: Arc<LoadedComponent>,
    /// `routing_parameter` as JSON text.
    pub(super) parameters: String,
    pub(super) places: Vec<Place>,
    pub(super) values: Arc<Values>,
    pub(super) surroundings: Arc<dyn Surroundings>,
}

impl Recipe {
    pub(super) fn description(&self) -> &Description {
        &self.loaded.description
    }

    pub(super) fn program(&self) -> &Program {
        &self.loaded.program
    }

    /// Makes an instance and configures it like the one at load. Blocks for up to three guest
    /// calls.
    pub(super) fn fresh(&self) -> Result<Instance, Fault> {
        let (name, values) = (Arc::clone(&self.loaded.name), Arc::clone(&self.values));
        let surroundings = Arc::clone(&self.surroundings);
        let mut instance = self.loaded.program.instantiate(name, values, surroundings)?;
        instance.begin();
        // The contract promises guests that `describe` precedes `configure`.
        self.loaded.program.call(instance.guest.describe(&mut instance.store))?;
        match self.configure(&mut instance)? {
            Ok(()) => Ok(instance),
            Err(message) => {
                Err(Fault::Trap(format!("a fresh instance refuses its parameters: {message}")))
            }
        }
    }

    /// Configures an instance. The guest's refusal is made printable.
    pub(super) fn configure(&self, instance: &mut Instance) -> Result<Result<(), String>, Stopped> {
        instance.begin();
        let (store, guest) = (&mut instance.store, &mut instance.guest);
        let call = guest.configure(store, &self.parameters, &self.places);
        let answer = self.loaded.program.call(call)?;
        Ok(answer.map_err(|message| printable(&message, 1_024)))
    }
}
