//! How long the pieces of a request's path take.
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
        // Made when it is wanted: options may leave it out.
        criterion.bench_function(&piece.name, |bencher| {
            bencher.iter(&mut **run.get_or_insert_with(|| piece.make()));
        });
    }
    criterion.final_summary();
}
