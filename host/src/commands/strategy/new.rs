//! `gateway strategy new`: a project that builds, for somebody who has nothing but this binary.

use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

/// The contract, as the project keeps it in `wit/`.
const CONTRACT: &str = include_str!("../../../../wit/0.2.0/routing.wit");

/// Which project.
#[derive(Debug, Args)]
pub(in crate::commands) struct NewArgs {
    /// The strategy's name, as routing.yaml will give it: lower-case letters, digits, `-`
    name: String,
    /// The folder to make; default: NAME
    #[arg(long)]
    dir: Option<PathBuf>,
}

pub(super) fn run(args: &NewArgs) -> anyhow::Result<ExitCode> {
    let folder = args.dir.as_deref().unwrap_or(Path::new(&args.name));
    write(&folder.join("wit/routing.wit"), CONTRACT)?;
    writeln!(stdout(), "wrote {}", folder.display())?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a file that is not there yet.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent)
        .and_then(|()| std::fs::File::create_new(path))
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}
