//! A configured strategy: its instance, and the calls of the contract.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use contract::{
    Description, EndedAttempt, Fault, MeanTime, PathStrategy, Place, Question, RawVerdict,
    RawWeights, Situation, Strategy,
};

use super::guest::Instance;
use super::meter::Meter;
use super::path::PathPlugin;
use super::recipe::{LoadedComponent, Recipe};

/// A configured strategy.
///
/// A trap or a time-out drops its instance, because the instance's memory may be inconsistent. The
/// next call makes and configures a fresh one, within the same
/// [`Sandbox::call`](config::Sandbox::call): no call blocks its thread for longer. If that takes
/// more than half of the time, the call ends as [`Fault::Busy`], and the next one has the instance.
pub struct Plugin {
    recipe: Arc<Recipe>,
    instance: Option<Instance>,
    path: Option<Arc<PathPlugin>>,
    /// By [`Kind`]: the time of its calls.
    means: [MeanTime; 2],
    /// CPU time that its calls are charged for, and that was not taken yet.
    charged: Duration,
}

/// Calls of one kind take similar times.
#[derive(Clone, Copy)]
enum Kind {
    Assign,
    Outcome,
}

impl Plugin {
    pub(super) fn new(
        recipe: Arc<Recipe>,
        instance: Instance,
        path: Option<Arc<PathPlugin>>,
    ) -> Self {
        let (means, charged) = Default::default();
        Self { recipe, instance: Some(instance), path, means, charged }
    }

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
        kind: Kind,
        call: impl AsyncFnOnce(&mut Instance) -> wasmtime::Result<T>,
    ) -> Result<T, Fault> {
        let deadline = self.recipe.program().deadline();
        // Put back only after success: an instance that was stopped cannot be used again.
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            None => self.renew(deadline)?,
        };
        instance.begin();
        let mean = &mut self.means[kind as usize];
        let meter = Meter::of(*mean);
        let answer = {
            let call = pin!(call(&mut instance));
            self.recipe.program().call_until(deadline, meter.measure(call))
        };
        self.charged += meter.settle(mean);
        let answer = answer?;
        self.instance = Some(instance);
        Ok(answer)
    }

    /// Makes a fresh instance. Leaves at least half of the time until `deadline` to the call.
    fn renew(&mut self, deadline: Instant) -> Result<Instance, Fault> {
        let half = deadline.saturating_duration_since(Instant::now()) / 2;
        let instance = self.recipe.fresh_until(deadline)?;
        if deadline.saturating_duration_since(Instant::now()) < half {
            self.instance = Some(instance);
            return Err(Fault::Busy);
        }
        Ok(instance)
    }
}

impl Strategy for Plugin {
    fn description(&self) -> &Description {
        self.recipe.description()
    }

    fn assign(&mut self, situation: Situation<'_>) -> Result<RawWeights, Fault> {
        self.call(Kind::Assign, async |instance| {
            instance.guest.assign(&mut instance.store, situation).await
        })
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
        self.call(Kind::Assign, async |instance| {
            instance.guest.assign_request(&mut instance.store, question).await
        })
    }

    fn learns(&self) -> bool {
        self.recipe.loaded.shape.learns
    }

    fn outcome(&mut self, attempts: &[EndedAttempt]) -> Result<(), Fault> {
        self.call(Kind::Outcome, async |instance| {
            instance.guest.outcome(&mut instance.store, attempts).await
        })
    }

    fn take_cpu_time(&mut self) -> Duration {
        std::mem::take(&mut self.charged)
    }
}

// Not derived: the parameters may hold secrets.
impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LoadedComponent { what, digest, .. } = &*self.recipe.loaded;
        f.debug_struct("Plugin").field("what", what).field("digest", digest).finish_non_exhaustive()
    }
}
