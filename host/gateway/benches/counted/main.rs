//! One piece of a request's path, run for `../count`, which has valgrind count its instructions.
//!
//! Without an argument it names the pieces, one a line. With a name it runs that piece, and only what happens in
//! [`counted`] is meant.

#![expect(clippy::print_stdout, reason = "the names are what is asked for")]

#[path = "../pieces/mod.rs"]
mod pieces;

/// Runs that are counted: what comes only now and then, and what chance does, is spread over so many.
const RUNS: u32 = 256;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime");
    let _entered = runtime.enter();
    let Some(name) = std::env::args().nth(1).filter(|name| name != "--bench") else {
        println!("runs {RUNS}");
        pieces::all().iter().for_each(|piece| println!("{}", piece.name));
        return;
    };
    let pieces = pieces::all();
    let piece = pieces.iter().find(|piece| piece.name == name).expect("a piece of this name");
    let mut run = piece.make();
    // What happens once in a process, and buffers that grow.
    (0..RUNS).for_each(|_| run());
    counted(&mut run);
}

/// Named by `../count`.
#[inline(never)]
fn counted(run: &mut pieces::Run) {
    (0..RUNS).for_each(|_| run());
}
