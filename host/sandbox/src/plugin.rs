//! A configured strategy: its instance, and the calls of the contract.

use std::fmt;
use std::sync::Arc;

use contract::{
    Description, EndedAttempt, Fault, PathStrategy, Place, Question, RawVerdict, RawWeights,
    Situation, Strategy,
};

use super::guest::Instance;
use super::path::PathPlugin;
use super::recipe::{LoadedComponent, Recipe};

/// A configured strategy.
///
/// A trap or a time-out drops its instance, because the instance's memory may be inconsistent. The
/// next call makes and configures a fresh one. Each guest call on the way has the full
/// [`Sandbox::call`](config::Sandbox::call) for itself.
pub struct Plugin {
    pub(super) recipe: Arc<Recipe>,
    pub(super) instance: Option<Instance>,
    pub(super) path: Option<Arc<PathPlugin>>,
}

impl Plugin {
    /// The component's SHA-256 in lower-case hex.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.recipe.loaded.digest
    }

    /// Linear memory of its instance, in bytes. None after a call that trapped or timed out.
    #[must_use]
    pub fn memory(&self) -> Option<usize> {
        self.instance.as_ref().map(Instance::memory)
    }

    /// The places it was configured with. A [`Candidate::id`](contract::Candidate::id) is an index into them.
    #[must_use]
    pub fn places(&self) -> &[Place] {
        &self.recipe.places
    }

    /// Calls its instance. Makes a fresh one first if the last call lost it.
    fn call<T>(
        &mut self,
        call: impl AsyncFnOnce(&mut Instance) -> wasmtime::Result<T>,
    ) -> Result<T, Fault> {
        // Put back only after success: an instance that was stopped cannot be used again.
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

    fn assign(&mut self, situation: Situation<'_>) -> Result<RawWeights, Fault> {
        self.call(async |instance| instance.guest.assign(&mut instance.store, situation).await)
    }

    fn on_path(&self) -> Option<Arc<dyn PathStrategy>> {
        self.path.clone().map(|path| path as Arc<dyn PathStrategy>)
    }

    /// Blocks like [`assign`](Strategy::assign), which answers if the strategy has no request
    /// policy.
    fn assign_request(&mut self, question: Question<'_>) -> Result<RawVerdict, Fault> {
        if self.path.is_none() {
            return self.assign(question.situation).map(RawVerdict::from);
        }
        self.call(async |instance| {
            instance.guest.assign_request(&mut instance.store, question).await
        })
    }

    fn learns(&self) -> bool {
        self.recipe.loaded.shape.learns
    }

    fn outcome(&mut self, attempts: &[EndedAttempt]) -> Result<(), Fault> {
        self.call(async |instance| instance.guest.outcome(&mut instance.store, attempts).await)
    }
}

// Not derived: the parameters may hold secrets.
impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LoadedComponent { what, digest, .. } = &*self.recipe.loaded;
        f.debug_struct("Plugin").field("what", what).field("digest", digest).finish_non_exhaustive()
    }
}
