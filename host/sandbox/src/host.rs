//! Loads a strategy component, configures it, and asks it for weights.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;

use config::Sandbox;
use contract::{Description, KnownBudgets, Place, Role, Surroundings};

use super::compile::{Cancellation, Compiler, Components};
use super::describe::Demand;
use super::guest::{Instance, Program, Unfit};
use super::interface::ComponentShape;
use super::kept::Lease;
use super::machine::Machine;
use super::path::{Maker, PathPlugin};
use super::plugin::Plugin;
use super::recipe::{LoadedComponent, Recipe};
use super::source::Bytes;
use super::system::System;
use super::values::{StoreRefusal, Stores};
use super::version::{AskedSignal, RawDescription};
use super::{Cache, LoadError, LoadStage, Source, describe, interface};

/// Machines kept: one for the stack size in use, one for the size before, so that a reload back to
/// it is cheap.
const MACHINES: usize = 2;

/// Loads strategies. Cloning is cheap: all clones share engines, clocks and compiled components.
#[derive(Clone)]
pub struct PluginHost {
    components: Arc<Components>,
    machines: Arc<Mutex<Vec<Arc<Machine>>>>,
    stores: Arc<Stores>,
    maker: Maker,
    budgets: KnownBudgets,
}

/// A strategy after its `describe` and before its `configure`.
pub struct Opened {
    loaded: Arc<LoadedComponent>,
    instance: Instance,
    stores: Arc<Stores>,
    maker: Maker,
    surroundings: Arc<dyn Surroundings>,
}

/// Durations of a load's stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadTimes {
    /// Time from bytes to machine code. It is near zero if the component was compiled before.
    pub compile: Duration,
    /// Time to make the first instance and run its `describe`.
    pub instantiate: Duration,
}

impl PluginHost {
    /// A host that compiles in this process. It is ready for the default sandbox's stack size.
    /// Engines for other sizes are created on demand.
    ///
    /// # Errors
    /// The system refuses a thread, or Wasmtime has no compiler for this processor.
    pub fn new() -> anyhow::Result<Self> {
        let (machines, stores, budgets) = Default::default();
        let maker = Maker::start().context("cannot start the thread that makes instances")?;
        let components = Arc::new(Components::new(Compiler::InProcess, None));
        let host = Self { components, machines, stores, maker, budgets };
        host.machine(Sandbox::default().stack)?;
        Ok(host)
    }

    /// Keeps machine code in `cache` and looks it up there. Forgets the components in memory.
    #[must_use]
    pub fn with_cache(self, cache: Cache) -> Self {
        Self { components: Arc::new(self.components.with_cache(cache)), ..self }
    }

    /// Compiles components with `compiler`. Forgets the components in memory.
    #[must_use]
    pub fn with_compiler(self, compiler: Compiler) -> Self {
        Self { components: Arc::new(self.components.with_compiler(compiler)), ..self }
    }

    /// Lets strategies ask for the signals of these budgets. Default: of any.
    #[must_use]
    pub fn with_budgets(self, budgets: KnownBudgets) -> Self {
        Self { budgets, ..self }
    }

    /// Ends a load of several strategies: evicts surplus compiled components from memory and from
    /// the cache, and stops abandoned compilations. Components in use, or requested by this load,
    /// stay. `is_good` says that the load requested everything that it uses.
    pub fn tidy(&self, is_good: bool) {
        self.components.tidy(is_good);
    }

    /// Loads a component up to and including `describe`. `pin` is the SHA-256 it must have, in hex.
    ///
    /// Blocks while it compiles, and then for at most twice [`Sandbox::call`]: once to instantiate,
    /// once to describe.
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

    /// Like [`Self::load`], but returns soon after `cancellation` is canceled.
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
        let budgets = self.budgets.clone();
        let program = Program::new(machine, &component, shape, *sandbox, budgets);
        let program = program.map_err(|e| match e {
            Unfit::Host(e) => LoadError::Host { what: what.clone(), cause: e.to_string() },
            Unfit::Link(cause) => LoadError::Link { what: what.clone(), cause },
        })?;
        let begun = Instant::now();
        let (mut instance, raw) = first_words(&program, &what, what.as_str().into())?;
        let times = LoadTimes { compile, instantiate: begun.elapsed() };
        let signals = describe::asked(&raw.signals);
        let description = describe::check(raw, &self.budgets)
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
            signals,
            name,
            times,
        };
        let (stores, maker) = (Arc::clone(&self.stores), self.maker.clone());
        let surroundings = Arc::new(System::default());
        Ok(Opened { loaded: Arc::new(loaded), instance, stores, maker, surroundings })
    }

    /// Compiles a component. Returns it with the machine that runs it.
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

    /// Returns the machine whose guests have `stack` bytes of stack. Creates it if there is none.
    fn machine(&self, stack: usize) -> anyhow::Result<Arc<Machine>> {
        let mut machines = self.machines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(machine) = machines.iter().find(|machine| machine.stack == stack) {
            return Ok(Arc::clone(machine));
        }
        let machine = Arc::new(Machine::new(stack)?);
        if machines.len() == MACHINES {
            // Strategies on the removed machine hold it by `Arc`, so it lives as long as they do.
            machines.remove(0);
        }
        machines.push(Arc::clone(&machine));
        Ok(machine)
    }
}

/// Makes a fresh instance and calls its `describe`.
fn first_words(
    program: &Program,
    what: &str,
    name: Arc<str>,
) -> Result<(Instance, RawDescription), LoadError> {
    let mut instance = program
        .instantiate(name, Arc::default(), Arc::new(System::default()), program.deadline())
        .map_err(|stopped| stopped.in_stage(what, LoadStage::Instantiate))?;
    instance.begin();
    let said = program
        .call(instance.guest.describe(&mut instance.store))
        .map_err(|stopped| stopped.in_stage(what, LoadStage::Describe))?;
    Ok((instance, said))
}

impl Opened {
    /// Opens the same component a second time without shared state: a fresh instance and an empty
    /// store. Repeated trials of a strategy use it, because nothing is read or compiled again.
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
        let surroundings = Arc::clone(&self.surroundings);
        Ok(Self { loaded, instance, stores: Arc::default(), maker, surroundings })
    }

    /// Like [`again`](Self::again), with the same store: an instance as another core has it.
    ///
    /// # Errors
    /// As [`again`](Self::again).
    ///
    /// # Panics
    /// On a thread that drives an async runtime.
    pub fn beside(&self) -> Result<Self, LoadError> {
        Ok(Self { stores: Arc::clone(&self.stores), ..self.again()? })
    }

    /// Takes time and chance from `surroundings`. Default: the system, in UTC.
    #[must_use]
    pub fn with_surroundings(self, surroundings: Arc<dyn Surroundings>) -> Self {
        Self { surroundings, ..self }
    }

    /// Puts a value into the store that the strategy has in this role. It never expires.
    ///
    /// # Errors
    /// If the store refuses it.
    pub fn put(&self, role: Role, key: &str, value: Vec<u8>) -> Result<(), StoreRefusal> {
        self.stores.of(&store_name(&self.loaded.name, role)).set(key.to_owned(), value, None)
    }

    /// True if it is told how attempts ended.
    #[must_use]
    pub fn learns(&self) -> bool {
        self.loaded.shape.learns
    }

    /// Durations of its load. A copy made by [`Self::again`] has those of the original.
    #[must_use]
    pub fn times(&self) -> LoadTimes {
        self.loaded.times
    }

    /// Linear memory of its instance, in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.instance.memory()
    }

    /// The checked answer of its `describe`.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.loaded.description
    }

    /// The signals that its `describe` asks for, in its order, also those that this host does not
    /// know.
    #[must_use]
    pub fn signals(&self) -> &[AskedSignal] {
        &self.loaded.signals
    }

    /// The component's SHA-256 in lower-case hex.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.loaded.digest
    }

    /// The world that its exports match, with the version: `hybrid:routing/strategy@0.2.0`.
    #[must_use]
    pub fn world(&self) -> String {
        let ComponentShape { version, .. } = self.loaded.shape;
        format!("hybrid:routing/{}@{}", self.loaded.shape.world(), version.as_str())
    }

    /// Size of the component in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.loaded.size
    }

    /// True if it also assigns weights for each request.
    #[must_use]
    pub fn is_on_path(&self) -> bool {
        self.loaded.shape.on_path
    }

    /// True if its `configure` is given the places. Its parameters can then be checked only
    /// together with them.
    #[must_use]
    pub fn takes_places(&self) -> bool {
        self.loaded.shape.version != interface::Version::V0_1_0
    }

    /// Configures the strategy. `parameters` is an object that fits [`Description::parameters`].
    /// `places` are the deployments of all models that it decides for. A
    /// [`Candidate::id`](contract::Candidate::id) is an index into them. A strategy on the request
    /// path gets `instances` more instances.
    ///
    /// # Errors
    /// [`LoadError::Configure`] if the guest refuses its parameters, [`LoadError::Trap`] and
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
        let Self { loaded, mut instance, stores, maker, surroundings } = self;
        let values = stores.of(&store_name(&loaded.name, role));
        instance.store.data_mut().values = Arc::clone(&values);
        instance.store.data_mut().surroundings = Arc::clone(&surroundings);
        let parameters = parameters.to_string();
        let description = loaded.description.clone();
        let mut recipe = Recipe { loaded, description, parameters, places, values, surroundings };
        let what = recipe.loaded.what.clone();
        let deadline = recipe.program().deadline();
        let answer = recipe.configure(&mut instance, deadline);
        let answer = answer.map_err(|stopped| stopped.in_stage(&what, LoadStage::Configure))?;
        let Demand { signals, needs } =
            answer.map_err(|message| LoadError::Configure { what: what.clone(), message })?;
        (recipe.description.signals, recipe.description.needs) = (signals, needs);
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
        Ok(Plugin::new(recipe, instance, path))
    }
}

/// Name of a strategy's store in a role. No strategy's name contains a `#`, so the roles never
/// share one.
fn store_name(name: &str, role: Role) -> String {
    match role {
        Role::Live => name.to_owned(),
        Role::Candidate => format!("{name}#candidate"),
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
