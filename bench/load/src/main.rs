//! The benchmark's tools beside wrk: engines that cost next to nothing, load at a fixed rate, and
//! thousands of streams. Everything runs on 127.0.0.1. Results are one line of JSON.
//!
//! HTTP is written by hand, because load and contender share the same few cores: the cost of the
//! load lowers the result.

mod answer;
mod engine;
mod open;
mod quantiles;
mod request;
mod streams;

use std::io;
use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
enum Command {
    /// Run engines, and print their free ports
    Engine(engine::Options),
    /// Send requests at a fixed rate, and print the latencies from the due times
    Open(open::Options),
    /// Open many streams at a time, and print their times to first event and their results
    Streams(streams::Options),
}

fn main() -> ExitCode {
    match run(Command::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> io::Result<()> {
    match command {
        Command::Engine(options) => engine::run(&options),
        Command::Open(options) => open::run(&options),
        Command::Streams(options) => streams::run(&options),
    }
}
