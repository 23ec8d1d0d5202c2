//! The gateway, as the tests of this crate start it.

use std::process::ExitCode;

fn main() -> ExitCode {
    gateway::main()
}
