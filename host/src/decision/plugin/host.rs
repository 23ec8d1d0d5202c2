//! Loading a strategy, and asking it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::compile::Compiler;
use super::guest::{Instance, Program, Stopped, Unfit};
use super::machine::Machine;
use super::text::printable;
use super::{LoadError, Source, Stage, describe, interface};
use crate::config::Sandbox;
use crate::decision::{Candidate, Description, Fault, RawWeights, Strategy};

/// Machines kept: one for the stack size in use, one for a reload back to the size before.
const MACHINES: usize = 2;

/// Loads strategies. Cheap to clone; all clones share engines, clock and compiled components.
#[derive(Clone, Default)]
pub struct PluginHost {
    compiler: Arc<Compiler>,
    machines: Arc<Mutex<Vec<Arc<Machine>>>>,
}

/// A strategy that has said who it is, and waits for its parameters.
pub struct Opened {
    loaded: Loaded,
    instance: Instance,
}

/// A strategy in use.
///
/// After a trap or a time-out its instance is gone, because nobody knows what is left in its memory;
/// the next [`assign`](Strategy::assign) makes and configures a fresh one. Each guest call
/// of that has the whole of [`Sandbox::call`] for itself.
pub struct Plugin {
    loaded: Loaded,
    /// `routing_parameter` as JSON text.
    parameters: String,
    instance: Option<Instance>,
}

/// What stays the same over all instances.
struct Loaded {
    what: String,
    program: Program,
    digest: String,
    description: Description,
    /// The name under which instances log.
    name: Arc<str>,
}

impl PluginHost {
    /// A host for the default sandbox's stack size; others are set up when they are asked for.
    ///
    /// # Errors
    /// The system refuses a thread, or the processor is one that wasmtime does not compile for.
    pub fn new() -> anyhow::Result<Self> {
        let host = Self::default();
        host.machine(Sandbox::default().stack)?;
        Ok(host)
    }

    /// Loads a component up to and including `describe`. `pin` is the SHA-256 it must have, in hex.
    ///
    /// Blocks for at most [`Sandbox::compile`] and twice [`Sandbox::call`].
    ///
    /// # Errors
    /// See [`LoadError`]: one variant for each stage.
    ///
    /// # Panics
    /// On a thread that drives an async runtime.
    pub fn load(
        &self,
        source: &Source,
        pin: Option<&str>,
        sandbox: &Sandbox,
    ) -> Result<Opened, LoadError> {
        let what = source.to_string();
        let cannot_run = |cause: String| LoadError::Host { what: what.clone(), cause };
        let bytes = source.read(pin, sandbox.component)?;
        let digest = bytes.digest.clone();
        let machine = self.machine(sandbox.stack).map_err(|e| cannot_run(format!("{e:#}")))?;
        let component = self.compiler.compile(&machine.engine, &what, bytes, sandbox.compile)?;
        let needs = interface::check(&what, &component)?;
        let program = Program::new(machine, &component, needs, *sandbox).map_err(|e| match e {
            Unfit::Host(e) => cannot_run(e.to_string()),
            Unfit::Link(cause) => LoadError::Link { what: what.clone(), cause },
        })?;
        let mut instance = program
            .instantiate(what.as_str().into())
            .map_err(|stopped| stopped.in_stage(&what, Stage::Instantiate))?;
        instance.begin();
        let raw = program
            .call(instance.guest.describe(&mut instance.store))
            .map_err(|stopped| stopped.in_stage(&what, Stage::Describe))?;
        let description = describe::check(raw)
            .map_err(|cause| LoadError::Description { what: what.clone(), cause })?;
        let name: Arc<str> = description.name.as_str().into();
        instance.store.data_mut().log.rename(Arc::clone(&name));
        Ok(Opened { loaded: Loaded { what, program, digest, description, name }, instance })
    }

    /// The machine for a stack size in bytes.
    fn machine(&self, stack: usize) -> anyhow::Result<Arc<Machine>> {
        let mut machines = self.machines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(machine) = machines.iter().find(|machine| machine.stack == stack) {
            return Ok(Arc::clone(machine));
        }
        let machine = Arc::new(Machine::new(stack)?);
        if machines.len() == MACHINES {
            // Strategies that run on it keep it for as long as they live.
            machines.remove(0);
        }
        machines.push(Arc::clone(&machine));
        Ok(machine)
    }
}

impl Opened {
    /// Who it is.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.loaded.description
    }

    /// The component's SHA-256 in lower-case hex.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.loaded.digest
    }

    /// Gives it its parameters, an object that fits [`Description::parameters`].
    ///
    /// # Errors
    /// [`LoadError::Configure`] where the guest refuses them, [`LoadError::Trap`] and
    /// [`LoadError::TimedOut`].
    ///
    /// # Panics
    /// On a thread that drives an async runtime.
    pub fn configure(self, parameters: &serde_json::Value) -> Result<Plugin, LoadError> {
        let Self { loaded, mut instance } = self;
        let parameters = parameters.to_string();
        let answer = loaded.configure(&mut instance, &parameters);
        let answer = answer.map_err(|stopped| stopped.in_stage(&loaded.what, Stage::Configure))?;
        answer.map_err(|message| LoadError::Configure { what: loaded.what.clone(), message })?;
        Ok(Plugin { loaded, parameters, instance: Some(instance) })
    }
}

impl Plugin {
    /// The component's SHA-256 in lower-case hex.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.loaded.digest
    }

    /// An instance that has its parameters, as the one at load had.
    fn fresh(&self) -> Result<Instance, Fault> {
        let mut instance = self.loaded.program.instantiate(Arc::clone(&self.loaded.name))?;
        match self.loaded.configure(&mut instance, &self.parameters)? {
            Ok(()) => Ok(instance),
            Err(message) => {
                Err(Fault::Trap(format!("a fresh instance refuses its parameters: {message}")))
            }
        }
    }
}

impl Strategy for Plugin {
    fn description(&self) -> &Description {
        &self.loaded.description
    }

    fn assign(&mut self, local: &[Candidate], remote: &[Candidate]) -> Result<RawWeights, Fault> {
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            None => self.fresh()?,
        };
        instance.begin();
        let call = instance.guest.assign(&mut instance.store, local, remote);
        let answer = self.loaded.program.call(call)?;
        self.instance = Some(instance);
        Ok(answer)
    }
}

impl Loaded {
    /// The guest's own answer, in words fit to be shown.
    fn configure(
        &self,
        instance: &mut Instance,
        parameters: &str,
    ) -> Result<Result<(), String>, Stopped> {
        instance.begin();
        let call = instance.guest.configure(&mut instance.store, parameters);
        let answer = self.program.call(call)?;
        Ok(answer.map_err(|message| printable(&message, 1_024)))
    }
}

impl Stopped {
    fn in_stage(self, what: &str, stage: Stage) -> LoadError {
        let what = what.to_owned();
        match self {
            Stopped::Trap(cause) => LoadError::Trap { what, stage, cause },
            Stopped::TimedOut(after) => LoadError::TimedOut { what, stage, after },
        }
    }
}

impl From<Stopped> for Fault {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Trap(cause) => Fault::Trap(cause),
            Stopped::TimedOut(after) => Fault::TimedOut(after),
        }
    }
}

impl fmt::Debug for PluginHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginHost").finish_non_exhaustive()
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Loaded { what, digest, .. } = &self.loaded;
        f.debug_struct("Opened").field("what", what).field("digest", digest).finish_non_exhaustive()
    }
}

// Not derived: the parameters may hold secrets.
impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Loaded { what, digest, .. } = &self.loaded;
        f.debug_struct("Plugin").field("what", what).field("digest", digest).finish_non_exhaustive()
    }
}
