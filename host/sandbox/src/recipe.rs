//! What it takes to make one more instance of a strategy that was loaded.

use std::sync::Arc;

use contract::{Description, Fault, Place};

use super::guest::{Instance, Program, Stopped};
use super::host::LoadTimes;
use super::interface::ComponentShape;
use super::kept::Lease;
use super::text::printable;
use super::values::Values;

/// What stays the same over all instances.
pub(super) struct LoadedComponent {
    pub(super) what: String,
    pub(super) program: Program,
    /// Keeps the component from being evicted.
    pub(super) _lease: Lease,
    pub(super) shape: ComponentShape,
    pub(super) digest: String,
    /// Bytes of the component.
    pub(super) size: usize,
    pub(super) description: Description,
    /// The name under which instances log.
    pub(super) name: Arc<str>,
    pub(super) times: LoadTimes,
}

/// All it takes to make an instance that can be asked.
pub(super) struct Recipe {
    pub(super) loaded: Arc<LoadedComponent>,
    /// `routing_parameter` as JSON text.
    pub(super) parameters: String,
    pub(super) places: Vec<Place>,
    pub(super) values: Arc<Values>,
}

impl Recipe {
    pub(super) fn description(&self) -> &Description {
        &self.loaded.description
    }

    pub(super) fn program(&self) -> &Program {
        &self.loaded.program
    }

    /// An instance that has its parameters, as the one at load had.
    pub(super) fn fresh(&self) -> Result<Instance, Fault> {
        let (name, values) = (Arc::clone(&self.loaded.name), Arc::clone(&self.values));
        let mut instance = self.loaded.program.instantiate(name, values)?;
        instance.begin();
        self.loaded.program.call(instance.guest.describe(&mut instance.store))?;
        match self.configure(&mut instance)? {
            Ok(()) => Ok(instance),
            Err(message) => {
                Err(Fault::Trap(format!("a fresh instance refuses its parameters: {message}")))
            }
        }
    }

    /// The guest's own answer, in words fit to be shown.
    pub(super) fn configure(&self, instance: &mut Instance) -> Result<Result<(), String>, Stopped> {
        instance.begin();
        let (store, guest) = (&mut instance.store, &instance.guest);
        let call = guest.configure(store, &self.parameters, &self.places);
        let answer = self.loaded.program.call(call)?;
        Ok(answer.map_err(|message| printable(&message, 1_024)))
    }
}
