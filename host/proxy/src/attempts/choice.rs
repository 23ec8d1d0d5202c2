//! Asks what happens with a request, holds it if a strategy says so, and compares shadows with the
//! strategy in use.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet::{RequestSignals, Slot, now};
use routing::facts::Asked;
use routing::{Choice, Inquiry, RequestWeights, RoutedRequest, Said, WaitLog, hold};

use super::journal::Journal;
use super::request::Request;

/// What happens with a request after it was held, if it was.
pub(super) enum Chosen<'r> {
    /// It is sent.
    Route {
        /// How it is shared.
        weights: RequestWeights<'r>,
        /// The place that it got while it was held.
        place: Option<(usize, Slot)>,
        /// What signals depend on that are asked for.
        signals: Option<Arc<RequestSignals>>,
    },
    /// A strategy refuses it.
    Denied(Denied),
}

/// A request that a strategy refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Denied {
    /// When the client may ask again.
    pub(crate) retry_after: Duration,
    /// Why, in the strategy's words.
    pub(crate) reason: Option<String>,
}

/// Says what happens with a request. `routed` is the same request as routing sees it.
pub(super) async fn choose<'r>(
    request: &'r Request,
    routed: RoutedRequest<'_>,
    journal: &mut Journal,
) -> Chosen<'r> {
    let mut held = 0;
    let mut place = None;
    loop {
        let (said, signals) = ask(request, routed, held, journal).await;
        match said {
            Said::Route { weights, reason } => {
                journal.reason = reason.map(Into::into);
                return Chosen::Route { weights, place, signals };
            }
            Said::Refuse { retry_after, reason } => {
                journal.reason = reason.map(Into::into);
                let reason = reason.map(str::to_owned);
                return Chosen::Denied(Denied { retry_after, reason });
            }
            Said::Hold(time) => {
                let since = now();
                // A place from the time before is free for others, and this request is in line again.
                drop(place.take());
                // Boxed: few requests are held, and the others stay small.
                place = Box::pin(hold(routed, time)).await;
                journal.queued(now().saturating_duration_since(since));
                held += 1;
            }
        }
    }
}

/// What a strategy, or the published weights, say of a request that was held so many times.
async fn ask<'r>(
    request: &'r Request,
    routed: RoutedRequest<'_>,
    held: u32,
    journal: &mut Journal,
) -> (Said<'r>, Option<Arc<RequestSignals>>) {
    let Request { snapshot, model, headers, body, scan, .. } = request;
    let id = &snapshot.generation.fleet.models[*model].config.id;
    let asked = Asked { model: id, headers, body, scan };
    let (stream, scope) = (scan.stream, routed.scope);
    let payer = request.payer();
    let inquiry = Inquiry { snapshot, model: *model, stream, scope, asked, held, payer };
    let choice = match inquiry.at_once() {
        Some(choice) => choice,
        None => routing::choose(inquiry, rand::random, Instant::now).await,
    };
    let Choice { said, attempt_queue, trial, shadow, session, tenant, signals } = choice;
    (journal.attempt_queue, journal.trial) = (attempt_queue, trial);
    (journal.session, journal.tenant) = (session, tenant);
    // In a task of its own: a shadow must not delay the request.
    if let Some(shadow) = shadow {
        let snapshot = Rc::clone(snapshot);
        tokio::task::spawn_local(async move { shadow.compare(&snapshot, Instant::now).await });
    }
    (said, signals)
}
