//! `gateway schema`: prints the JSON Schema of a file, for editors.

use std::io::{Write, stdout};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use config::schema;

/// Print the JSON Schema of a file, for editors
#[derive(Debug, Args)]
pub(super) struct SchemaArgs {
    file: File,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum File {
    /// models.yaml
    Models,
    /// routing.yaml
    Routing,
}

pub(super) fn run(args: &SchemaArgs) -> anyhow::Result<ExitCode> {
    let schema = match args.file {
        File::Models => schema::models(),
        File::Routing => schema::routing(),
    };
    writeln!(stdout(), "{}", serde_json::to_string_pretty(&schema)?)?;
    Ok(ExitCode::SUCCESS)
}
