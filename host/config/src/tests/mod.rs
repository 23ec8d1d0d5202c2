#![allow(clippy::unwrap_used)]

mod budgets;
mod endpoints;
mod engines;
mod env;
mod errors;
mod files;
mod joining;
mod limits;
mod masking;
mod quotas;
mod redactor;
mod schemas;
mod seconds;
mod shown;
mod strategies;
mod timeouts;
mod values;
mod warnings;
mod yaml;

use super::*;

/// Loads two texts as the two files, with the given variables.
fn load_texts(
    models: &str,
    routing: Option<&str>,
    vars: &[(&str, &str)],
) -> Result<Config, Diagnostics> {
    let folder = tempfile::tempdir().unwrap();
    let paths = Paths {
        models: folder.path().join("models.yaml"),
        routing: folder.path().join("routing.yaml"),
        routing_required: false,
    };
    std::fs::write(&paths.models, models).unwrap();
    if let Some(routing) = routing {
        std::fs::write(&paths.routing, routing).unwrap();
    }
    load(&paths, &|name| {
        let found = vars.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    })
}

/// The errors, each as `file:line:column: message; help` with the folder cut off.
fn errors(models: &str, routing: Option<&str>, vars: &[(&str, &str)]) -> Vec<String> {
    let errors = load_texts(models, routing, vars).unwrap_err();
    let cut = |line: &str| line[line.find("s.yaml:").map_or(0, |at| at - 5)..].to_owned();
    let cut = |line: &str| match line.find("routing.yaml:") {
        Some(at) => line[at..].to_owned(),
        None => cut(line),
    };
    errors.short().lines().map(cut).collect()
}

/// Deployments as `name side endpoint weight share`, model by model.
fn deployments(config: &Config) -> Vec<String> {
    let show = |d: &DeploymentConfig| {
        let share = if d.share == Share::Assigned { "assigned" } else { "kept" };
        format!("{} {} {:.3} {share}", d.name, d.endpoint, d.weight)
    };
    config.models.iter().flat_map(|model| model.deployments.iter().map(show)).collect()
}
