//! `gateway strategy wrap`: makes a component from a core module, without other tools.

use std::fs::{self, File};
use std::io::{Read, Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::Args;

use componentize::componentize;

/// Make a component from a core module, such as compilers for C and Zig write
#[derive(Debug, Args)]
pub(in crate::commands) struct WrapArgs {
    /// The core module
    #[arg(value_name = "CORE")]
    module: PathBuf,
    /// The file to write; `-` for standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// In bytes. No gateway loads a component that is as large.
const LARGEST: u64 = 64 << 20;

/// Reads a module, of a device or a pipe too, up to [`LARGEST`].
fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut module = Vec::new();
    File::open(path)?.take(LARGEST + 1).read_to_end(&mut module)?;
    match module.len() as u64 > LARGEST {
        true => Err(anyhow!("it has more than {} MiB", LARGEST >> 20)),
        false => Ok(module),
    }
}

pub(super) fn run(args: &WrapArgs) -> anyhow::Result<ExitCode> {
    let file = args.module.display();
    let module = read(&args.module).with_context(|| format!("cannot read {file}"))?;
    let component = componentize(&module)
        .map_err(|error| anyhow!("{file} cannot become a component: {error}"))?;
    if component.is_program {
        eprintln!(
            "warning: {file} is a program, whose `_start` is never called: build a reactor, with \
             `-mexec-model=reactor` in C or `-fno-entry` in Zig"
        );
    }
    if args.output == Path::new("-") {
        stdout().lock().write_all(&component.bytes)?;
        return Ok(ExitCode::SUCCESS);
    }
    let output = args.output.display();
    fs::write(&args.output, &component.bytes).with_context(|| format!("cannot write {output}"))?;
    let (size, exports) = (component.bytes.len(), component.exports.join(", "));
    writeln!(stdout(), "wrote {output}: {size} bytes, exports {exports}")?;
    Ok(ExitCode::SUCCESS)
}
