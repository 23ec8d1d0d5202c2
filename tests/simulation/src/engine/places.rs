//! The places of an engine, its queue, and how well it is used.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use tokio::sync::oneshot;
use tokio::time::Instant;

/// The places of one engine.
#[derive(Debug)]
pub(crate) struct Places(RefCell<State>);

#[derive(Debug)]
struct State {
    places: u32,
    busy: u32,
    /// The most requests that wait.
    most: usize,
    waiting: VecDeque<oneshot::Sender<Place>>,
    /// When all places were last taken.
    full: Option<Instant>,
    /// Seconds of work since the start, and until when they are counted.
    work: (f64, Instant),
}

/// A place, taken until dropped.
#[derive(Debug)]
pub(crate) struct Place(Rc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.change(|state| state.busy -= 1);
        self.0.serve();
    }
}

impl Places {
    pub(crate) fn new(places: u32, most: usize, now: Instant) -> Rc<Self> {
        let waiting = VecDeque::new();
        let state = State { places, busy: 0, most, waiting, full: None, work: (0.0, now) };
        Rc::new(Self(RefCell::new(state)))
    }

    /// Takes a place, perhaps after a wait. None: it is full.
    pub(crate) async fn enter(self: &Rc<Self>) -> Option<Place> {
        if let Some(place) = self.take() {
            return Some(place);
        }
        let told = {
            let mut state = self.0.borrow_mut();
            state.waiting.retain(|waiting| !waiting.is_closed());
            if state.waiting.len() >= state.most {
                return None;
            }
            let (tell, told) = oneshot::channel();
            state.waiting.push_back(tell);
            told
        };
        told.await.ok()
    }

    pub(crate) fn resize(self: &Rc<Self>, places: u32) {
        self.change(|state| state.places = places);
        self.serve();
    }

    /// Seconds of work since the start, over all places.
    pub(crate) fn work(&self) -> f64 {
        self.change(|_| {});
        self.0.borrow().work.0
    }

    /// True if all places were taken at some time since then.
    pub(crate) fn was_full(&self, since: Instant) -> bool {
        let state = self.0.borrow();
        state.busy >= state.places || state.full.is_some_and(|at| at >= since)
    }

    fn take(self: &Rc<Self>) -> Option<Place> {
        let mut taken = false;
        self.change(|state| {
            taken = state.busy < state.places;
            state.busy += u32::from(taken);
        });
        taken.then(|| Place(Rc::clone(self)))
    }

    /// Gives free places to those that wait.
    fn serve(self: &Rc<Self>) {
        loop {
            let waiting = {
                let mut state = self.0.borrow_mut();
                let free = state.busy < state.places;
                if free { state.waiting.pop_front() } else { None }
            };
            let Some(waiting) = waiting else { return };
            if waiting.is_closed() {
                continue;
            }
            if let Some(place) = self.take() {
                // One that has left gives the place back by its drop.
                let _ = waiting.send(place);
            }
        }
    }

    fn change(&self, act: impl FnOnce(&mut State)) {
        let now = Instant::now();
        let mut state = self.0.borrow_mut();
        let passed = now.duration_since(state.work.1).as_secs_f64();
        state.work = (state.work.0 + passed * f64::from(state.busy.min(state.places)), now);
        if state.busy >= state.places {
            state.full = Some(now);
        }
        act(&mut state);
        if state.busy >= state.places {
            state.full = Some(now);
        }
    }
}
