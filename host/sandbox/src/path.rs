//! A strategy on the request path: its idle instances, and the replacement of failed ones.
//!
//! No request waits until an instance is made. Instances are made at load and, after a fault, on a
//! separate thread. If none is idle, the published weights decide.

use std::fmt;
use std::pin::pin;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use contract::{
    CpuShare, Deciding, Description, Fault, PathStatus, PathStrategy, Question, Verdict,
};

use super::breaker::PathBreaker;
use super::guest::Instance;
use super::idle::Idle;
use super::meter::Meter;
use super::recipe::Recipe;

/// The part of a strategy that is asked on the request path.
pub(super) struct PathPlugin {
    recipe: Arc<Recipe>,
    idle: Idle<Instance>,
    breaker: PathBreaker,
    /// The CPU time that it may use on all serving threads together.
    share: Mutex<CpuShare>,
    last_error: Mutex<Option<String>>,
    /// Replaces lost instances.
    maker: Maker,
    /// Reference to itself, which the maker needs.
    this: Weak<Self>,
}

impl PathPlugin {
    /// Makes and configures `count` instances. Blocks.
    pub(super) fn new(recipe: Arc<Recipe>, count: usize, maker: Maker) -> Result<Arc<Self>, Fault> {
        let idle: Vec<Instance> = (0..count).map(|_| recipe.fresh()).collect::<Result<_, _>>()?;
        // There is one instance more than there are serving threads.
        let threads = count.saturating_sub(1).max(1);
        let share = CpuShare::new(recipe.program().cpu_share(), threads);
        Ok(Arc::new_cyclic(|this| Self {
            recipe,
            idle: Idle::of(idle),
            breaker: PathBreaker::default(),
            share: Mutex::new(share),
            last_error: Mutex::default(),
            maker,
            this: Weak::clone(this),
        }))
    }

    async fn ask(&self, question: Question<'_>) -> Result<Verdict, Fault> {
        let Some(instance) = self.idle.take() else { return Err(Fault::Busy) };
        let mut loan = Loan { plugin: self, instance: Some(instance) };
        let Some(instance) = &mut loan.instance else { return Err(Fault::Busy) };
        instance.begin();
        let meter = Meter::of(instance.mean);
        let said = {
            let call = pin!(instance.guest.assign_request(&mut instance.store, question));
            self.recipe.program().call_on_path(pin!(meter.measure(call))).await
        };
        let charge = self.charge(meter.settle(&mut instance.mean));
        let said = said?;
        loan.give_back();
        charge?;
        let deployments = [question.situation.local.len(), question.situation.remote.len()];
        Ok(Verdict::check(said, deployments, self.recipe.description().reasons.len())?)
    }

    /// Charges a call for its CPU time.
    fn charge(&self, time: Duration) -> Result<(), Fault> {
        if time.is_zero() {
            return Ok(());
        }
        let mut share = self.share.lock().unwrap_or_else(PoisonError::into_inner);
        match share.spend(time, Instant::now()) {
            true => Err(Fault::Overspent(share.each_second())),
            false => Ok(()),
        }
    }

    fn note(&self, fault: &Fault) {
        let mut last = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(fault.to_string());
    }

    /// Logs that it is off the path.
    fn tell(&self, fault: &Fault) {
        let strategy = &*self.recipe.description().name;
        match fault {
            Fault::Overspent(_) => {
                tracing::error!(strategy, %fault, "off the request path for its CPU time");
            }
            _ => tracing::error!(strategy, %fault, "off the request path for its faults"),
        }
    }

    /// Makes an instance in place of a lost one.
    fn replace(&self) {
        match self.recipe.fresh() {
            Ok(instance) => self.idle.add(instance),
            Err(fault) => self.note(&fault),
        }
    }
}

/// An instance in use. If its call does not complete, the instance is lost and the maker replaces
/// it.
struct Loan<'a> {
    plugin: &'a PathPlugin,
    instance: Option<Instance>,
}

impl Loan<'_> {
    fn give_back(&mut self) {
        if let Some(instance) = self.instance.take() {
            self.plugin.idle.give_back(instance);
        }
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        if let Some(instance) = self.instance.take() {
            self.plugin.maker.replace(&self.plugin.this, instance);
        }
    }
}

impl PathStrategy for PathPlugin {
    fn description(&self) -> &Description {
        self.recipe.description()
    }

    fn decide<'a>(&'a self, question: Question<'a>) -> Deciding<'a> {
        Box::pin(async move {
            let Some(leave) = self.breaker.leave() else { return Err(Fault::Off) };
            let answer = self.ask(question).await;
            match &answer {
                Ok(_) => leave.answered(),
                // Not a fault: all instances are in use or being replaced. Those that hang meet
                // their own deadline.
                Err(Fault::Busy) => {}
                Err(fault) => {
                    self.note(fault);
                    if leave.failed(fault) {
                        self.tell(fault);
                    }
                }
            }
            answer
        })
    }

    fn status(&self) -> PathStatus {
        let last = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        PathStatus { off: self.breaker.rests_for(), last_error: last.clone() }
    }
}

impl fmt::Debug for PathPlugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.recipe.description().name;
        f.debug_struct("PathPlugin").field("strategy", name).finish_non_exhaustive()
    }
}

/// Handle of the thread that drops lost instances and makes new ones. The thread ends with its last
/// handle.
#[derive(Clone)]
pub(super) struct Maker {
    orders: Sender<(Weak<PathPlugin>, Instance)>,
}

impl Maker {
    pub(super) fn start() -> std::io::Result<Self> {
        let (orders, inbox) = channel::<(Weak<PathPlugin>, Instance)>();
        let run = move || {
            while let Ok((plugin, lost)) = inbox.recv() {
                // Freeing its memory takes time, which a request must not wait for.
                drop(lost);
                if let Some(plugin) = plugin.upgrade() {
                    plugin.replace();
                }
            }
        };
        std::thread::Builder::new().name("strategy-maker".to_owned()).spawn(run)?;
        Ok(Self { orders })
    }

    fn replace(&self, plugin: &Weak<PathPlugin>, lost: Instance) {
        // Sending fails only if the thread is gone. The strategy then has one instance less.
        let _ = self.orders.send((Weak::clone(plugin), lost));
    }
}
