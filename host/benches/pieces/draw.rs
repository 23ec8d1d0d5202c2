//! Weights and draw where the published snapshot decides.

use super::{Piece, Run, at_once, fleet};

pub(super) fn pieces() -> Vec<Piece> {
    let piece = |deployments: usize| {
        Piece::new(format!("draw/{deployments}"), move || -> Run {
            let mut arrived = fleet::arrived(deployments, "fixed");
            Box::new(move || at_once(arrived.draw()))
        })
    };
    [2, 16, 128].map(piece).into()
}
