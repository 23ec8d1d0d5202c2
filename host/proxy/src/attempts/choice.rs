//! Gets the weights of a request, and compares shadows with the strategy in use.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use fleet::{RequestSignals, Scope};
use routing::facts::Asked;
use routing::{Choice, Inquiry};

use super::journal::Journal;
use super::request::Request;

/// The weights for a request, one for each deployment of its model, and what signals that are asked
/// for depend on.
pub(super) async fn choose<'r>(
    request: &'r Request,
    scope: Scope,
    journal: &mut Journal,
) -> (Cow<'r, [f64]>, Option<Arc<RequestSignals>>) {
    let Request { snapshot, model, headers, body, scan, .. } = request;
    let id = &snapshot.generation.fleet.models[*model].config.id;
    let asked = Asked { model: id, headers, body, scan };
    let inquiry = Inquiry { snapshot, model: *model, stream: scan.stream, scope, asked };
    let choice = match inquiry.at_once() {
        Some(choice) => choice,
        None => routing::choose(inquiry, rand::random, Instant::now).await,
    };
    let Choice { weights, attempt_queue, trial, shadow, signals } = choice;
    (journal.attempt_queue, journal.trial) = (attempt_queue, trial);
    // In a task of its own: a shadow must not delay the request.
    if let Some(shadow) = shadow {
        let snapshot = Rc::clone(snapshot);
        tokio::task::spawn_local(async move { shadow.compare(&snapshot, Instant::now).await });
    }
    (weights, signals)
}
