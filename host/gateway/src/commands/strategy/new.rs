//! `gateway strategy new`: writes a complete project. Its author needs nothing else of this
//! repository.

use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;

use sandbox::{Source, locate};

use super::ports::Ports;
use super::templates::{Language, Project};

/// Write a project of a new strategy: source, contract, build command, fixtures, README
#[derive(Debug, Args)]
pub(in crate::commands) struct NewArgs {
    /// The strategy's name, as routing.yaml will give it: lower-case letters, digits, `-`
    name: String,
    /// The language to write it in
    #[arg(long, alias = "language")]
    lang: Language,
    /// The folder to make; NAME by default
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Let it decide for each request, not only after changes
    #[arg(long)]
    request: bool,
    /// Write a strategy that learns how attempts ended; Rust only
    #[arg(long, conflicts_with = "request")]
    learning: bool,
}

pub(super) fn run(args: &NewArgs) -> anyhow::Result<ExitCode> {
    check(&args.name)?;
    if args.learning && args.lang != Language::Rust {
        bail!("only Rust has a template of a strategy that learns: write `--lang rust`");
    }
    let folder = args.dir.as_deref().unwrap_or(Path::new(&args.name));
    make(folder)?;
    let NewArgs { name, lang, request, learning, .. } = args;
    let (language, request, learning) = (*lang, *request, *learning);
    let project = Project { name, language, request, learning, ports: Ports::free() };
    for (path, content) in project.files() {
        write(&folder.join(path), &content)?;
    }
    let folder = folder.display();
    writeln!(stdout(), "wrote {folder}; the next commands are in {folder}/README.md")?;
    Ok(ExitCode::SUCCESS)
}

/// Checks the name. It becomes a file name, a package name in every language, and a value in
/// routing.yaml.
fn check(name: &str) -> anyhow::Result<()> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase());
    if !begins || name.ends_with('-') || !name.chars().all(allowed) || name.len() > 64 {
        bail!(
            "{name:?} cannot be a strategy's name: it has lower-case letters, digits and `-`, begins with \
             a letter, does not end with `-`, and has at most 64 characters, as in `cheap-at-night`"
        );
    }
    if matches!(locate(name, Path::new("")), Ok(Source::BuiltIn { .. })) {
        bail!(
            "{name:?} is a built-in strategy, and wins over a file of its name: choose another name"
        );
    }
    Ok(())
}

/// Makes the folder. Refuses one that is not empty, because its files may be somebody's work.
fn make(folder: &Path) -> anyhow::Result<()> {
    let cannot = || format!("cannot make the folder {}", folder.display());
    std::fs::create_dir_all(folder).with_context(cannot)?;
    if std::fs::read_dir(folder).with_context(cannot)?.next().is_some() {
        bail!("the folder {} is not empty: give another one with --dir", folder.display());
    }
    Ok(())
}

/// Writes a new file. Fails if it exists.
fn write(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent)
        .and_then(|()| std::fs::File::create_new(path))
        .and_then(|mut file| file.write_all(content))
        .with_context(|| format!("cannot write {}", path.display()))
}
