//! Measures the time of each piece of the request path.
//!
//! `cargo bench --features bench --bench path`

#[path = "../pieces/mod.rs"]
mod pieces;

use criterion::Criterion;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime");
    let _entered = runtime.enter();
    let mut criterion = Criterion::default().configure_from_args();
    for piece in pieces::all() {
        let mut run = None;
        // Made on demand, because a filter may skip the piece.
        criterion.bench_function(&piece.name, |bencher| {
            bencher.iter(&mut **run.get_or_insert_with(|| piece.make()));
        });
    }
    criterion.final_summary();
}
