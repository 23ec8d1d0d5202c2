//! The bookkeeping of a request with one attempt.

use super::{Piece, Run, fleet};

pub(super) fn pieces() -> Vec<Piece> {
    vec![Piece::new("attempt", || -> Run {
        let arrived = fleet::arrived(2, "fixed");
        Box::new(move || arrived.attempt())
    })]
}
