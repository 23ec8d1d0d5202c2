//! What the benchmark needs beside wrk: engines that answer at next to no cost, load at a fixed rate, and
//! streams by the thousand. Everything is on 127.0.0.1, and results are one line of JSON.
//!
//! HTTP is written by hand, because whatever the load costs is taken from what is measured: all of it runs
//! on the same few cores.

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
    /// Run engines that answer at once, a listener each, on free ports that are printed
    Engine(engine::Options),
    /// Ask at a fixed rate, and tell how long answers took from when they were due
    Open(open::Options),
    /// Open many streams at a time, and tell when they began and what came of them
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
