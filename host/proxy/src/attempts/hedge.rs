//! A second attempt beside one that takes long. The first of the two to reach its commit point goes
//! to the client, and the other is cancelled.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use rand::Rng;
use tokio::time::Instant;

use fleet::{Deployment, Permit};
use routing::{Failure, Turns};

use crate::timeout::{Span, timeout_at};
use crate::upstream::Upstream;

use super::attempt::{Begun, attempt};
use super::fallback::fail;
use super::journal::{AttemptNote, Journal, SharedSent};
use super::request::Request;

/// What both attempts of a request have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way<'a> {
    pub(super) upstream: &'a Upstream,
    pub(super) request: &'a Request,
    /// Deadline of the whole request.
    pub(super) end: Instant,
}

impl Way<'_> {
    /// Makes the attempt of `permit`. If it has not committed at `due`, makes a second one beside
    /// it. Returns the attempt that won or, if both failed, the one that failed last, with its
    /// result.
    pub(super) async fn race<R: Rng>(
        self,
        (permit, probability): (Permit, f64),
        due: Instant,
        turns: &mut Turns<'_, R>,
        journal: &mut Journal,
    ) -> (Permit, Result<Begun, Failure>) {
        let (id, started) = (Rc::clone(&journal.id), journal.started);
        let note = |sent| AttemptNote { id: &id, started, sent };
        let sent = [SharedSent::default(), SharedSent::default()];
        journal.racing(&permit, probability, &sent[0], turns.reserved());
        let deployment = Arc::clone(permit.deployment());
        let mut first = pin!(self.attempt(&deployment, permit.issued(), note(&sent[0])));
        if let Ok(begun) = timeout_at(due, first.as_mut()).await {
            return (permit, begun);
        }
        let Some((beside, probability)) = turns.hedge(Instant::now().into_std()) else {
            return (permit, first.await);
        };
        journal.racing(&beside, probability, &sent[1], turns.reserved());
        let deployment = Arc::clone(beside.deployment());
        let mut second = pin!(self.attempt(&deployment, beside.issued(), note(&sent[1])));
        tokio::select! {
            biased;
            begun = &mut first => match begun {
                Ok(begun) => {
                    journal.beaten();
                    beside.beaten(Instant::now().into_std());
                    (permit, Ok(begun))
                }
                Err(failure) => {
                    fail(failure, permit, turns, journal).await;
                    (beside, second.await)
                }
            },
            begun = &mut second => {
                turns.swap();
                journal.swap();
                match begun {
                    Ok(begun) => {
                        journal.beaten();
                        permit.beaten(Instant::now().into_std());
                        (beside, Ok(begun))
                    }
                    Err(failure) => {
                        fail(failure, beside, turns, journal).await;
                        (permit, first.await)
                    }
                }
            }
        }
    }

    async fn attempt(
        self,
        deployment: &Deployment,
        issued: std::time::Instant,
        note: AttemptNote<'_>,
    ) -> Result<Begun, Failure> {
        let span = Span { now: Instant::from_std(issued), end: self.end };
        attempt(self.upstream, deployment, self.request, note, span).await
    }
}
