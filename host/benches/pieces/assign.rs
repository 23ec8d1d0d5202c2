//! Weights and draw where a strategy is asked: `assign-request` of `least-load`, with all that the host does for it.

use super::{Piece, Run, at_once, fleet};

pub(super) fn pieces() -> Vec<Piece> {
    let piece = |deployments: usize| {
        Piece::new(format!("assign-request/{deployments}"), move || -> Run {
            let mut arrived = fleet::arrived(deployments, "least-load");
            Box::new(move || at_once(arrived.draw()))
        })
    };
    [2, 8, 32].map(piece).into()
}
