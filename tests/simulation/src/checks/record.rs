//! The record of one request: what was done for it, and whether it was right.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use answers::commit::End;
use contract::Side;
use fleet::{Busy, Condition, Deployment, Permit, Route, Scope};
use routing::{Exhausted, Failure, Terms, WaitLog};

use crate::engine::{Exchange, Script};
use crate::request::Request;
use crate::world::{Site, World};

use super::Rule;

/// Refusals by full deployments that cost a request none of its attempts.
const FREE: u32 = 16;
/// More waits in a row that take no time are a loop.
const SPINS: u32 = 64;

/// The record of one request, and the rules about it.
#[derive(Debug)]
pub(crate) struct Record<'w> {
    pub(super) world: &'w World,
    pub(super) request: &'w Request,
    pub(super) route: &'w Route,
    pub(super) scope: Scope,
    pub(super) terms: Terms,
    pub(super) arrived: Instant,
    /// By deployment: no objection to it, nor pressure, when the request arrived.
    pub(super) clear: Vec<bool>,
    /// Deployments that failed at it, other than by a refusal for being full.
    pub(super) failed_at: Vec<usize>,
    pub(super) attempts: u32,
    pub(super) refusals: u32,
    /// Attempts whose request was written without a byte of an answer.
    pub(super) uncertain: u32,
    /// An engine said that the request is wrong.
    pub(super) is_wrong: bool,
    /// The last failure was a refusal by a full deployment.
    was_refused: bool,
    written: bool,
    heard: bool,
    /// It still counts for the retry budget.
    active: bool,
    open: Option<Open>,
    /// Bytes that the client has of the answer.
    got: usize,
    /// Time in line.
    pub(super) waited: Duration,
    /// Waits in a row that took no time.
    idle: u32,
}

/// An attempt under way at a deployment, counted until dropped.
#[derive(Debug)]
struct Open {
    site: Rc<Site>,
    max: u32,
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.site.open.get() >= self.max {
            self.site.maxed.set(Some(Instant::now()));
        }
        self.site.open.set(self.site.open.get() - 1);
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        self.rest();
    }
}

impl WaitLog for Record<'_> {
    fn queued(&mut self, time: Duration) {
        self.world.counts.borrow_mut().waits += 1;
        self.waited += time;
        self.idle = if time.is_zero() { self.idle + 1 } else { 0 };
        if self.idle > SPINS {
            self.violated(Rule::Spins, format!("{} waits at one moment", self.idle));
            // Nothing else ends such a loop.
            panic!("it spins");
        }
        self.note(|| format!("waited {} ms", time.as_millis()));
    }

    fn passed_over(&mut self, deployment: &Arc<Deployment>, busy: Busy, _after: Duration) {
        self.note(|| format!("{} has no place: {}", deployment.config.name, busy.as_str()));
    }
}

impl<'w> Record<'w> {
    pub(crate) fn begin(
        world: &'w World,
        request: &'w Request,
        route: &'w Route,
        scope: Scope,
        terms: Terms,
    ) -> Self {
        let model = &world.generation.fleet.models[request.model];
        let now = fleet::now();
        let is_clear = |d: &Arc<Deployment>| {
            d.is_open(now)
                && d.state(now).condition == Condition::Healthy
                && !d.slots.is_pressed()
                && !d.lacks(request.endpoint as usize, now)
        };
        world.allowance.borrow_mut().enter();
        let record = Self {
            world,
            request,
            route,
            scope,
            terms,
            arrived: Instant::now(),
            clear: model.deployments.iter().map(is_clear).collect(),
            failed_at: Vec::new(),
            attempts: 0,
            refusals: 0,
            uncertain: 0,
            is_wrong: false,
            was_refused: false,
            written: false,
            heard: false,
            active: true,
            open: None,
            got: 0,
            waited: Duration::ZERO,
            idle: 0,
        };
        record.note(|| {
            let Request { model, nature, stream, endpoint, .. } = request;
            let panic = terms.panic;
            format!("arrives: m{model} {nature:?} {endpoint:?} stream={stream} panic={panic}")
        });
        record
    }

    /// Text that is only in the answer to the present attempt.
    pub(crate) fn mark(&self) -> String {
        format!("r{}a{}", self.request.id, self.attempts)
    }

    /// Judges an attempt that begins. Returns the position of its deployment.
    pub(crate) fn attempt(&mut self, permit: &Permit, panic: bool) -> usize {
        let deployment = permit.deployment();
        let model = &self.world.generation.fleet.models[self.request.model];
        let at = model.deployments.iter().position(|d| Arc::ptr_eq(d, deployment));
        let at = at.expect("a deployment of the model");
        self.note(|| format!("attempt {} at {}", self.attempts + 1, deployment.config.name));
        self.judge_repetition(deployment, at);
        self.judge_limits(deployment, at);
        let extra = self.attempts > 0 && !self.was_refused;
        if extra && (panic || deployment.load.is_failing()) {
            self.world.counts.borrow_mut().extra += 1;
            if !self.world.allowance.borrow_mut().take() {
                self.violated(Rule::OverBudget, "an extra attempt beyond the budget".into());
            }
        }
        self.attempts += 1;
        (self.written, self.heard) = (false, false);
        let site = Rc::clone(&self.world.sites[self.request.model][at]);
        site.open.set(site.open.get() + 1);
        self.open = Some(Open { site, max: deployment.config.concurrency.max });
        self.world.counts.borrow_mut().attempts += 1;
        at
    }

    fn judge_repetition(&self, deployment: &Deployment, at: usize) {
        let again = u32::from(self.terms.is_repeatable());
        if self.uncertain > again {
            let what = format!("sent again after {} times without an answer", self.uncertain);
            self.violated(Rule::SentAgain, what);
        }
        if self.is_wrong {
            self.violated(Rule::SentAgain, "sent again although it is wrong".into());
        }
        let sides = self.world.scene.models[self.request.model].sides.and(self.request.sides);
        if !sides.has(deployment.config.side) {
            self.violated(Rule::SentAgain, "sent to a side that is forbidden".into());
        }
        if self.is_never_tried(at) {
            self.violated(Rule::SentAgain, "sent to a standby that is never tried".into());
        }
    }

    fn judge_limits(&self, deployment: &Deployment, at: usize) {
        let free = self.refusals.min(FREE);
        if self.attempts + 1 - free > self.terms.fallback.attempts {
            let what = format!("attempt {} with {free} free", self.attempts + 1);
            self.violated(Rule::OverLimit, what);
        }
        let site = &self.world.sites[self.request.model][at];
        let concurrency = deployment.config.concurrency;
        if site.open.get() >= concurrency.max {
            self.violated(Rule::OverLimit, format!("{} attempts at once", site.open.get() + 1));
        }
        if deployment.slots.waiting() > concurrency.queue as usize {
            let what = format!("{} in a queue", deployment.slots.waiting());
            self.violated(Rule::OverLimit, what);
        }
        if let Some(until) = site.cools.get().filter(|until| *until > Instant::now()) {
            let left = until.saturating_duration_since(Instant::now());
            self.violated(Rule::OverLimit, format!("{left:?} before the end of a pause"));
        }
    }

    /// The request is written to the engine.
    pub(crate) fn written(&mut self) {
        self.written = true;
    }

    /// The head of an answer came.
    pub(crate) fn heard(&mut self) {
        self.heard = true;
    }

    /// The last attempt failed before its commit point.
    pub(crate) fn failed(&mut self, at: usize, failure: &Failure) {
        self.note(|| format!("failed: {} ambiguous={}", failure.cause, failure.ambiguous));
        self.open = None;
        self.was_refused = failure.is_refusal();
        self.uncertain += u32::from(self.written && !self.heard);
        match self.was_refused {
            true => {
                self.refusals += 1;
                self.world.counts.borrow_mut().refusals += 1;
                self.pauses(at, failure);
            }
            false => self.failed_at.push(at),
        }
        self.world.look(self.request.model);
        self.is_wrong |= !failure.cause.facts().elsewhere && failure.cause.answered().is_some();
    }

    /// A remote deployment that names a time is left alone for it.
    fn pauses(&self, at: usize, failure: &Failure) {
        let model = &self.world.generation.fleet.models[self.request.model];
        let wait = failure.retry_after.unwrap_or_default();
        if model.deployments[at].config.side == Side::Remote && !wait.is_zero() {
            let site = &self.world.sites[self.request.model][at];
            site.cools.set(site.cools.get().max(Some(Instant::now() + wait)));
            self.world.counts.borrow_mut().pauses += 1;
        }
    }

    /// An engine's word that the request is wrong goes to the client.
    pub(crate) fn rejected(&mut self) {
        self.note(|| "rejected".into());
        self.rest();
        self.world.counts.borrow_mut().rejected += 1;
    }

    /// An answer is past its commit point.
    pub(crate) fn committed(&mut self) {
        self.note(|| "committed".into());
        if let Some(open) = &self.open {
            open.site.answered.set(true);
        }
        self.rest();
    }

    /// Bytes of an answer go to the client.
    pub(crate) fn passed(&mut self, script: &Script, bytes: &Bytes) {
        let expected = script.body.get(self.got..self.got + bytes.len());
        if expected != Some(&**bytes) {
            let what = format!("{} bytes at {} are not those sent", bytes.len(), self.got);
            self.violated(Rule::Mixed, what);
        }
        self.got += bytes.len();
    }

    /// The answer has ended. None: the client takes it for whole.
    pub(crate) fn ended(&mut self, exchange: &Exchange, failure: Option<&Failure>) {
        let script = exchange.script();
        let is_all = exchange.sent() == script.body.len() && script.end != End::Early;
        match failure {
            None => {
                self.note(|| format!("whole, {} bytes", self.got));
                if !script.is_whole() || self.got < script.needed {
                    let (got, needed) = (self.got, script.needed);
                    let what = format!("{got} bytes, and {needed} are whole: {:?}", script.end);
                    self.violated(Rule::CutAsWhole, what);
                }
                if self.got != exchange.sent() {
                    let what = format!("{} of {} bytes", self.got, exchange.sent());
                    self.violated(Rule::Mixed, what);
                }
                self.world.counts.borrow_mut().whole += 1;
            }
            Some(failure) => {
                self.note(|| format!("broke after {} bytes: {}", self.got, failure.cause));
                if script.good && is_all && failure.cause.answered().is_none() && self.is_in_time()
                {
                    self.violated(Rule::WholeAsCut, format!("{}: all was sent", failure.cause));
                }
                self.world.counts.borrow_mut().broken += 1;
            }
        }
        self.open = None;
    }

    /// No deployment answered.
    pub(crate) fn exhausted(&mut self, exhausted: &Exhausted) {
        self.note(|| format!("no answer: {} {exhausted}", exhausted.status()));
        self.rest();
        self.world.counts.borrow_mut().unanswered += 1;
        self.judge_loss(exhausted);
    }

    /// The deadline of the request.
    pub(super) fn end(&self) -> Instant {
        Instant::from_std(self.terms.end())
    }

    /// True before the deadline of the request.
    pub(super) fn is_in_time(&self) -> bool {
        Instant::now() < self.end()
    }

    pub(super) fn violated(&self, rule: Rule, what: String) {
        self.world.violated(rule, Some(self.request.id), what);
    }

    fn note(&self, what: impl FnOnce() -> String) {
        self.world.note(Some(self.request.id), what);
    }

    /// The request needs no further attempt.
    fn rest(&mut self) {
        if std::mem::take(&mut self.active) {
            self.world.allowance.borrow_mut().leave();
        }
    }
}
