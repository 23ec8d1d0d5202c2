//! The pages in docs/strategies: their examples are good configurations, their tables are those of
//! the schemas. The first configurations of README.md and docs/start are good, too.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tests::Setup;

/// The page of each built-in strategy, by the strategy's name.
fn pages() -> BTreeMap<String, String> {
    let folder = repository().join("docs/strategies");
    let entries = std::fs::read_dir(folder).expect("the pages");
    let paths = entries.map(|entry| entry.expect("a page").path());
    let named = paths.map(|path| {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        (name, std::fs::read_to_string(path).expect("a page"))
    });
    named
        .filter(|(name, _)| !["capped", "index", "signals", "traffic"].contains(&name.as_str()))
        .collect()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The YAML block of a page that is titled `title`.
fn block<'a>(page: &'a str, title: &str) -> &'a str {
    let fence = format!("```yaml title=\"{title}\"\n");
    let (_, rest) = page.split_once(&fence).unwrap_or_else(|| panic!("no {title} in:\n{page}"));
    rest.split_once("```").expect("an end").0
}

fn example(page: &str) -> Setup {
    tests::setup!().models(block(page, "models.yaml")).routing(block(page, "routing.yaml"))
}

#[test]
fn every_built_in_strategy_has_a_page() {
    let plugins = std::fs::read_dir(repository().join("plugins")).expect("the plugins");
    let folders = plugins.map(|entry| entry.expect("a folder").path());
    let mut built_in: Vec<String> = folders
        .filter(|folder| folder.join("parameters.json").exists())
        .map(|folder| folder.file_name().expect("a name").to_string_lossy().into_owned())
        .collect();
    built_in.sort_unstable();
    assert_eq!(pages().into_keys().collect::<Vec<_>>(), built_in);
}

#[test]
fn the_examples_pass_check() {
    for (name, page) in pages() {
        let output = example(&page).arg("check").output();
        let [said, errors] =
            [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("text"));
        // A warning says that a part of the example has no effect.
        assert!(output.status.success() && errors.is_empty(), "{name}: {errors}");
        assert!(said.starts_with(&format!("strategy {name} ")), "{name}: {said}");
    }
}

#[test]
fn first_configurations_pass_check() {
    for page in ["README.md", "docs/start/ollama-and-api.md", "docs/start/vllm-and-api.md"] {
        let text = std::fs::read_to_string(repository().join(page)).expect("a page");
        let keys = ["API_KEY", "OPENROUTER_API_KEY"];
        let setup = keys.iter().fold(example(&text), |setup, key| setup.env(key, "sk-x"));
        let output = setup.arg("check").output();
        let errors = String::from_utf8(output.stderr).expect("text");
        assert!(output.status.success(), "{page}: {errors}");
    }
}

#[test]
fn the_tables_are_those_of_the_schemas() {
    for (name, page) in pages() {
        let file = repository().join("plugins").join(&name).join("parameters.json");
        let schema = std::fs::read_to_string(file).expect("the schema of a built-in strategy");
        let schema: Value = serde_json::from_str(&schema).expect("JSON");
        let Some(properties) = schema["properties"].as_object() else {
            assert!(page.contains("## Parameters\n\nNone."), "{name}: it has no parameters");
            continue;
        };
        let mut rows: BTreeMap<&str, Vec<&str>> = rows(&page);
        for (parameter, property) in properties {
            let row = rows.remove(format!("`{parameter}`").as_str());
            let row = row.unwrap_or_else(|| panic!("{name}: no row for {parameter}"));
            assert_eq!(row[2], default(property), "{name}: the default of {parameter}");
            for (key, words) in [("minimum", "at least "), ("exclusiveMinimum", "above ")] {
                if let Some(limit) = property[key].as_f64() {
                    let given = row[3].contains(&format!("{words}{limit}"))
                        || row[3].starts_with(&format!("{limit} to "));
                    assert!(given, "{name}: the range of {parameter} is {:?}", row[3]);
                }
            }
            if let Some(limit) = property["maximum"].as_f64() {
                let given = row[3].ends_with(&format!(" to {limit}"));
                assert!(given, "{name}: the range of {parameter} is {:?}", row[3]);
            }
        }
        assert!(rows.is_empty(), "{name}: rows for no parameter: {rows:?}");
    }
}

/// The rows of a page's table of parameters, by their first cells.
fn rows(page: &str) -> BTreeMap<&str, Vec<&str>> {
    let (_, table) = page.split_once("| Parameter | Type |").expect("a table of parameters");
    let lines = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let cells = lines.map(|line| line.split('|').skip(1).map(str::trim).collect::<Vec<_>>());
    cells.map(|cells| (cells[0], cells)).collect()
}

/// A default as the pages write it.
fn default(property: &Value) -> String {
    match property.get("default") {
        // The default of a list without one in the schema is empty.
        None => "`[]`".to_owned(),
        Some(Value::Null) => "none".to_owned(),
        Some(value) => format!("`{value}`"),
    }
}
