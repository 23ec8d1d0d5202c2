//! Names each header that does not pass once in the log, so that operators can find out why one is
//! missing.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use http1::headers::Way;

/// Maximum number of names in the log for each [`Way`]. It is bounded because clients choose the
/// names.
const MOST: usize = 64;
/// Most characters of a name that the log shows.
const SHOWN: usize = 64;

/// Names by [`Way`].
type Names = [HashSet<Box<str>>; 3];

/// The names that the log has told.
static TOLD: Mutex<Option<Names>> = Mutex::new(None);

thread_local! {
    /// The names that this core has met, so that it takes the lock once for each.
    static MET: RefCell<Names> = RefCell::default();
}

/// Logs a header that does not pass, once for each name and way.
pub(super) fn on_dropped(way: Way, name: &str) {
    let name = name.get(..SHOWN).unwrap_or(name);
    let is_new = MET.with_borrow_mut(|met| {
        let met = &mut met[way as usize];
        !met.contains(name) && met.len() < MOST && met.insert(name.into())
    });
    if is_new {
        tell(way, name);
    }
}

fn tell(way: Way, name: &str) {
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    let told = told.get_or_insert_default();
    let told = &mut told[way as usize];
    if told.len() >= MOST || !told.insert(name.into()) {
        return;
    }
    let to = match way {
        Way::ToRemote => "remote deployments",
        Way::ToLocal => "local deployments",
        Way::ToClient => "clients",
    };
    let more = if told.len() == MOST { "; no more names are told" } else { "" };
    tracing::info!(
        header = name,
        to,
        "a header does not pass: see `headers` of routing.yaml{more}"
    );
}
