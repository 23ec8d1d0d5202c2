//! Runs one piece of the request path for `../count`, which counts its instructions with valgrind.
//!
//! Without an argument it prints the names of the pieces, one per line. With a name it runs that
//! piece. Only instructions inside [`counted`] are counted.

#![expect(clippy::print_stdout, reason = "the names are the program's output")]

#[path = "../pieces/mod.rs"]
mod pieces;

/// Number of counted runs. Rare and random work is averaged over them.
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
    // Warm-up: one-time initialisation and growing buffers are not counted.
    (0..RUNS).for_each(|_| run());
    counted(&mut run);
}

/// `../count` finds this function by its name.
#[inline(never)]
fn counted(run: &mut pieces::Run) {
    (0..RUNS).for_each(|_| run());
}
