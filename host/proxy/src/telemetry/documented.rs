//! Tables of the documentation that are made from the code. A test fails if a page differs. With
//! `UPDATE_DOCS=1` in its environment it writes the page.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// The longest line of a page, in characters.
const WIDTH: usize = 160;

/// A table in Markdown.
pub(crate) fn table<const N: usize>(
    head: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut text = line(&head.map(str::to_owned));
    text.push_str(&line(&head.map(|_| "---".to_owned())));
    for cells in rows {
        let row = line(&cells.map(|cell| cell.replace('|', "\\|")));
        assert!(row.trim_end().chars().count() <= WIDTH, "wider than {WIDTH} columns: {row}");
        text.push_str(&row);
    }
    text
}

/// Compares `text` with the part of a page of `docs` that is between the markers of `name`.
pub(crate) fn hold(page: &str, name: &str, text: &str) {
    let path = docs().join(page);
    let old = fs::read_to_string(&path).unwrap();
    let begin = format!("<!-- generated: {name} -->\n");
    let (before, rest) = old.split_once(&begin).unwrap();
    let (_, after) = rest.split_once("<!-- end -->").unwrap();
    let new = format!("{before}{begin}{text}<!-- end -->{after}");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path, new).unwrap();
        return;
    }
    assert_eq!(
        old, new,
        "docs/{page} differs: UPDATE_DOCS=1 in the environment of the test writes it"
    );
}

/// The folder of the documentation: the nearest one above this crate.
fn docs() -> PathBuf {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let mut folders = above.map(|folder| folder.join("docs"));
    folders.find(|docs| docs.join("operate").is_dir()).unwrap()
}
