//! Loading a strategy, and asking it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;

use config::Sandbox;
use contract::{
    Attempt, Candidate, Description, Fault, PathStrategy, Place, Question, RawWeights, Strategy,
};

use super::compile::{Cancellation, Compiler, Components};
use super::guest::{Instance, Program, Stopped, Unfit};
use super::interface::ComponentShape;
use super::kept::Lease;
use super::machine::Machine;
use super::path::{Maker, PathPlugin};
use super::recipe::{LoadedComponent, Recipe};
use super::source::Bytes;
use super::values::Stores;
use super::version::RawDescription;
use super::{Cache, LoadError, LoadStage, Source, describe, interface};

/// Machines kept: one for the stack size in use, one for a reload back to the size before.
const MACHINES: usize = 2;

/// Loads strategies. Cheap to clone; all clones share engines, clock and compiled components.
#[derive(Clone)]
pub struct PluginHost {
    components: Arc<Components>,
    machines: Arc<Mutex<Vec<Arc<Machine>>>>,
    stores: Arc<Stores>,
    maker: Maker,
}

/// Who is asked: the strategy in use, or one that is being tried beside it. What one of them keeps the
/// other does not see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Its answers are used.
    Live,
    /// Its answers are compared, or used for a share of the requests.
    Candidate,
}

/// A strategy that has said who it is, and waits for its parameters.
pub struct Opened {
    loaded: Arc<LoadedComponent>,
    instance: Instance,
    stores: Arc<Stores>,
    maker: Maker,
}

/// A strategy in use.
///
/// After a trap or a time-out its instance is gone, because nobody knows what is left in its memory;
/// the next [`assign`](Strategy::assign) makes and configures a fresh one. Each guest call
/// of that has the whole of [`Sandbox::call`] for itself.
pub struct Plugin {
    recipe: Arc<Recipe>,
    instance: Option<Instance>,
    path: Option<Arc<PathPlugin>>,
}

/// How long the stages of a load took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadTimes {
    /// From bytes to machine code; next to nothing where it was compiled before.
    pub compile: Duration,
    /// Of the first instance, up to its `describe`.
    pub instantiate: Duration,
}

impl PluginHost {
    /// A host for the default sandbox's stack size; others are set up when they are asked for. It compiles in this
    /// process.
    ///
    /// # Errors
    /// The system refuses a thread, or the processor is one that wasmtime does not compile for.
    pub fn new() -> anyhow::Result<Self> {
        let (machines, stores) = Default::default();
        let maker = Maker::start().context("the thread that makes instances")?;
        let components = Arc::new(Components::new(Compiler::InProcess, None));
        let host = Self { components, machines, stores, maker };
        host.machine(Sandbox::default().stack)?;
        Ok(host)
    }

    /// The same, but what is compiled is kept in a folder, and found there.
    #[must_use]
    pub fn with_cache(self, cache: Cache) -> Self {
        Self { components: Arc::new(self.components.with_cache(cache)), ..self }
    }

    /// The same, but components are compiled by `compiler`.
    #[must_use]
    pub fn with_compiler(self, compiler: Compiler) -> Self {
        Self { components: Arc::new(self.components.with_compiler(compiler)), ..self }
    }

    /// Lets go of compiled components that are too many, in memory and in the cache, at the end of a load of several
    /// strategies. Never of those that are in use or that the load has asked for. `is_good`: it has asked for all that
    /// it uses.
    pub fn tidy(&self, is_good: bool) {
        self.components.tidy(is_good);
    }

    /// Loads a component up to and including `describe`. `pin` is the SHA-256 it must have, in hex.
    ///
    /// Blocks for as long as it takes to compile, and for twice [`Sandbox::call`] at most.
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
        self.load_unless_canceled(source, pin, sandbox, &Cancellation::default())
    }

    /// The same, but returns soon after it was canceled.
    ///
    /// # Errors
    /// As [`Self::load`], and [`LoadError::Canceled`].
    ///
    /// # Panics
    /// As [`Self::load`].
    pub fn load_unless_canceled(
        &self,
        source: &Source,
        pin: Option<&str>,
        sandbox: &Sandbox,
        cancellation: &Cancellation,
    ) -> Result<Opened, LoadError> {
        let what = source.to_string();
        let bytes = source.read(pin, sandbox.component)?;
        let (digest, size) = (bytes.digest.clone(), bytes.bytes.len());
        let begun = Instant::now();
        let (machine, component) = self.compile(source, bytes, sandbox, cancellation)?;
        let compile = begun.elapsed();
        let shape = interface::shape(&what, &component)?;
        let program = Program::new(machine, &component, shape, *sandbox).map_err(|e| match e {
            Unfit::Host(e) => LoadError::Host { what: what.clone(), cause: e.to_string() },
            Unfit::Link(cause) => LoadError::Link { what: what.clone(), cause },
        })?;
        let begun = Instant::now();
        let (mut instance, raw) = first_words(&program, &what, what.as_str().into())?;
        let times = LoadTimes { compile, instantiate: begun.elapsed() };
        let description = describe::check(raw)
            .map_err(|cause| LoadError::Description { what: what.clone(), cause })?;
        let name: Arc<str> = description.name.as_str().into();
        instance.store.data_mut().log.rename(Arc::clone(&name));
        let _lease = component;
        let loaded = LoadedComponent {
            what,
            program,
            _lease,
            shape,
            digest,
            size,
            description,
            name,
            times,
        };
        let (stores, maker) = (Arc::clone(&self.stores), self.maker.clone());
        Ok(Opened { loaded: Arc::new(loaded), instance, stores, maker })
    }

    /// A component as machine code, and the machine that runs it.
    pub(super) fn compile(
        &self,
        source: &Source,
        bytes: Bytes,
        sandbox: &Sandbox,
        cancellation: &Cancellation,
    ) -> Result<(Arc<Machine>, Lease), LoadError> {
        let what = source.to_string();
        let cannot_run = |cause| LoadError::Host { what: what.clone(), cause };
        let machine = self.machine(sandbox.stack).map_err(|e| cannot_run(format!("{e:#}")))?;
        let (components, engine) = (&self.components, &machine.engine);
        let component = components.compile(engine, &what, bytes, sandbox, cancellation)?;
        Ok((machine, component))
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

/// A fresh instance and what it says of itself.
fn first_words(
    program: &Program,
    what: &str,
    name: Arc<str>,
) -> Result<(Instance, RawDescription), LoadError> {
    let mut instance = program
        .instantiate(name, Arc::default())
        .map_err(|stopped| stopped.in_stage(what, LoadStage::Instantiate))?;
    instance.begin();
    let said = program
        .call(instance.guest.describe(&mut instance.store))
        .map_err(|stopped| stopped.in_stage(what, LoadStage::Describe))?;
    Ok((instance, said))
}

impl Opened {
    /// A second one of the same component, which knows nothing of this one: a fresh instance, and an empty
    /// store. For trying a strategy over and over; nothing is read or compiled for it.
    ///
    /// # Errors
    /// [`LoadError::Trap`] and [`LoadError::TimedOut`].
    ///
    /// # Panics
    /// On a thread that drives an async runtime.
    pub fn again(&self) -> Result<Self, LoadError> {
        let LoadedComponent { program, what, name, .. } = &*self.loaded;
        let (instance, _) = first_words(program, what, Arc::clone(name))?;
        let (loaded, maker) = (Arc::clone(&self.loaded), self.maker.clone());
        Ok(Self { loaded, instance, stores: Arc::default(), maker })
    }

    /// How long its load took.
    #[must_use]
    pub fn times(&self) -> LoadTimes {
        self.loaded.times
    }

    /// Bytes of linear memory that its instance has.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.instance.memory()
    }

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

    /// The world it is for, with the version: `hybrid:routing/strategy@0.2.0`.
    #[must_use]
    pub fn world(&self) -> String {
        let ComponentShape { version, .. } = self.loaded.shape;
        format!("hybrid:routing/{}@{}", self.loaded.shape.world(), version.as_str())
    }

    /// Bytes of the component.
    #[must_use]
    pub fn size(&self) -> usize {
        self.loaded.size
    }

    /// Whether it decides for each request too.
    #[must_use]
    pub fn is_on_path(&self) -> bool {
        self.loaded.shape.on_path
    }

    /// Whether it needs to know the deployments before it can tell good parameters from bad.
    #[must_use]
    pub fn takes_places(&self) -> bool {
        self.loaded.shape.version != interface::Version::V0_1_0
    }

    /// Gives it its parameters, an object that fits [`Description::parameters`], and the deployments of
    /// the models that it decides for, in the order of their [`Candidate::id`]. `instances` are made of
    /// it for the request path, where it is of that kind.
    ///
    /// # Errors
    /// [`LoadError::Configure`] where the guest refuses them, [`LoadError::Trap`] and
    /// [`LoadError::TimedOut`].
    ///
    /// # Panics
    /// On a thread that drives an async runtime.
    pub fn configure(
        self,
        parameters: &serde_json::Value,
        places: Vec<Place>,
        role: Role,
        instances: usize,
    ) -> Result<Plugin, LoadError> {
        let Self { loaded, mut instance, stores, maker } = self;
        let values = stores.of(&role.store(&loaded.name));
        instance.store.data_mut().values = Arc::clone(&values);
        let recipe = Recipe { loaded, parameters: parameters.to_string(), places, values };
        let what = recipe.loaded.what.clone();
        let answer = recipe.configure(&mut instance);
        let answer = answer.map_err(|stopped| stopped.in_stage(&what, LoadStage::Configure))?;
        answer.map_err(|message| LoadError::Configure { what: what.clone(), message })?;
        let recipe = Arc::new(recipe);
        let path = match recipe.loaded.shape.on_path {
            true => Some(PathPlugin::new(Arc::clone(&recipe), instances, maker)),
            false => None,
        };
        let path = path.transpose().map_err(|fault| LoadError::Trap {
            what,
            stage: LoadStage::Instantiate,
            cause: fault.to_string(),
        })?;
        Ok(Plugin { recipe, instance: Some(instance), path })
    }
}

impl Role {
    /// The name of its store: no strategy's name has a `#`.
    fn store(self, name: &str) -> String {
        match self {
            Role::Live => name.to_owned(),
            Role::Candidate => format!("{name}#candidate"),
        }
    }
}

impl Plugin {
    /// The component's SHA-256 in lower-case hex.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.recipe.loaded.digest
    }

    /// Bytes of linear memory that its instance has. None: the last call was its instance's end.
    #[must_use]
    pub fn memory(&self) -> Option<usize> {
        self.instance.as_ref().map(Instance::memory)
    }

    /// The places it was configured with; a [`Candidate::id`] is a position in them.
    #[must_use]
    pub fn places(&self) -> &[Place] {
        &self.recipe.places
    }

    /// Calls its instance, a fresh one where the last is gone.
    fn call<T>(
        &mut self,
        call: impl AsyncFnOnce(&mut Instance) -> wasmtime::Result<T>,
    ) -> Result<T, Fault> {
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            None => self.recipe.fresh()?,
        };
        instance.begin();
        let answer = self.recipe.program().call(call(&mut instance))?;
        self.instance = Some(instance);
        Ok(answer)
    }
}

impl Strategy for Plugin {
    fn description(&self) -> &Description {
        self.recipe.description()
    }

    fn assign(
        &mut self,
        local: &[Candidate<'_>],
        remote: &[Candidate<'_>],
    ) -> Result<RawWeights, Fault> {
        self.call(async |instance| instance.guest.assign(&mut instance.store, local, remote).await)
    }

    fn on_path(&self) -> Option<Arc<dyn PathStrategy>> {
        self.path.clone().map(|path| path as Arc<dyn PathStrategy>)
    }

    /// Blocks as [`assign`](Strategy::assign) does.
    fn assign_request(&mut self, question: Question<'_>) -> Result<RawWeights, Fault> {
        if self.path.is_none() {
            return self.assign(question.local, question.remote);
        }
        self.call(async |instance| {
            instance.guest.assign_request(&mut instance.store, question).await
        })
    }

    fn learns(&self) -> bool {
        self.recipe.loaded.shape.learns
    }

    fn outcome(&mut self, attempts: &[Attempt]) -> Result<(), Fault> {
        self.call(async |instance| instance.guest.outcome(&mut instance.store, attempts).await)
    }
}

impl Stopped {
    fn in_stage(self, what: &str, stage: LoadStage) -> LoadError {
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
        let LoadedComponent { what, digest, .. } = &*self.loaded;
        f.debug_struct("Opened").field("what", what).field("digest", digest).finish_non_exhaustive()
    }
}

// Not derived: the parameters may hold secrets.
impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LoadedComponent { what, digest, .. } = &*self.recipe.loaded;
        f.debug_struct("Plugin").field("what", what).field("digest", digest).finish_non_exhaustive()
    }
}
