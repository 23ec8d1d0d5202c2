//! Weights and draw: with the published snapshot, and with a strategy that is asked for each
//! request. The latter includes all work of the host around the call.

use super::{Piece, Run, at_once, fleet};

pub(super) fn pieces() -> Vec<Piece> {
    let of = |name: &'static str, strategy: &'static str, sizes: [usize; 3]| {
        sizes.map(|deployments| {
            Piece::new(format!("{name}/{deployments}"), move || -> Run {
                let mut arrived = fleet::arrived(deployments, strategy);
                Box::new(move || at_once(arrived.draw()))
            })
        })
    };
    let (published, asked) =
        (of("draw", "fixed", [2, 16, 128]), of("assign-request", "least-load", [2, 8, 32]));
    published.into_iter().chain(asked).collect()
}
