//! The strategies of `tests/guests`, as components.

mod core;
mod verdict;

use std::path::Path;

pub use core::CoreGuest;
pub use verdict::VerdictGuest;

/// The guest `tests/guests/NAME.wat`, as a component.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn guest(name: &str) -> Vec<u8> {
    component(&text(name))
}

/// The text of the guest `tests/guests/NAME.wat`.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn text(name: &str) -> String {
    let file = folder().join(format!("{name}.wat"));
    std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// Component text as a component.
///
/// # Panics
/// If it is none.
#[must_use]
pub fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// The names of all guests.
///
/// # Panics
/// If the folder cannot be read.
#[must_use]
pub fn guests() -> Vec<String> {
    let entries = std::fs::read_dir(folder()).expect("a folder");
    let files = entries.map(|entry| entry.expect("an entry").path());
    let mut names: Vec<String> = files
        .map(|file| file.file_stem().expect("a file").to_string_lossy().into_owned())
        .collect();
    names.sort_unstable();
    names
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/guests"))
}
