//! How settings, documents and errors are shown.

use serde_json::json;

use super::super::diagnostic::Cutout;
use super::values::parsed;
use super::*;

#[test]
fn settings_are_shown_as_the_files_write_them() {
    let of = |config: &Config| {
        serde_json::Map::from_iter(
            config.settings().into_iter().map(|(key, value)| (key.to_owned(), value)),
        )
    };
    let routing = "\
timeouts: {connect: 1500ms}
health_check: 30
timeout: 0.5
health: {down_after: 4}
limits: {body_mib: 8}
sandbox: {stack_kib: 128}
ejection: {consecutive: 0}
slow_start: {duration: 0}
";
    let models = "models: [{id: a, base_url: 'http://a'}]";
    let shown = of(&load_texts(models, Some(routing), &[]).unwrap());
    assert_eq!(shown["timeouts"]["connect"], json!(1.5));
    assert_eq!(shown["timeouts"]["total"], json!(600.0));
    assert_eq!(shown["timeouts"]["keep_alive"], json!(75.0));
    assert_eq!((&shown["health_check"], &shown["timeout"]), (&json!(30.0), &json!(0.5)));
    assert_eq!(shown["health"], json!({"down_after": 4, "up_after": 1}));
    assert_eq!(
        (&shown["limits"]["body_mib"], &shown["limits"]["bodies_mib"]),
        (&json!(8), &json!(1024))
    );
    assert_eq!(shown["sandbox"]["stack_kib"], json!(128));
    assert_eq!(shown["ejection"]["consecutive"], json!(0));
    assert_eq!(shown["slow_start"]["duration"], json!(0.0));
    assert_eq!(of(&Config::default())["health_check"], json!(0.0));
}

#[test]
fn a_document_knows_its_name_and_texts() {
    let document = parsed("a: 5\nb: [x]\n");
    assert_eq!(document.file(), "x.yaml");
    let at = |steps: &[PathStep]| document.text(steps).map(str::to_owned);
    assert_eq!(at(&["a".into()]), Some("5".to_owned()));
    assert_eq!(at(&["b".into(), 0.into()]), Some("x".to_owned()));
    for missing in
        [&["b".into()][..], &["b".into(), 1.into()], &["c".into()], &["a".into(), 0.into()]]
    {
        assert_eq!(at(missing), None, "{missing:?}");
    }
    let error = document.error(&["b".into(), 0.into()], "m", "h");
    assert_eq!(error.short(), "x.yaml:2:5: m; h");
    assert_eq!(document.error(&["b".into(), 7.into()], "m", "h").short(), "x.yaml:2:1: m; h");
    assert_eq!(document.error(&[], "m", "h").short(), "x.yaml:1:1: m; h");
}

#[test]
fn a_place_is_underlined_where_it_can_be_read_at_once() {
    let text = "a:\n- [1,\n   2]\n- {b: 1,\n   c: 2}\n- ''\n-\nlong:\n  d: 1\n";
    let document = parsed(text);
    for (at, line, column, width) in [
        // A block at its key, an item of a list at its first line, a mapping in a list at its key.
        (vec![PathStep::from("a")], 1, 1, 1),
        (vec!["a".into(), 0.into()], 2, 3, 3),
        (vec!["a".into(), 0.into(), 1.into()], 3, 4, 1),
        (vec!["a".into(), 1.into()], 4, 4, 1),
        (vec!["a".into(), 1.into(), "c".into()], 5, 7, 1),
        (vec!["a".into(), 2.into()], 6, 3, 2),
        (vec!["long".into()], 8, 1, 4),
        (vec!["long".into(), "d".into()], 9, 6, 1),
        (vec![], 1, 1, 1),
    ] {
        let error = document.error(&at, "m", "");
        assert_eq!((error.line, error.column), (line, column), "{at:?}");
        let shown = error.to_string();
        assert_eq!(shown.matches('^').count(), width, "{shown}");
    }
    assert_eq!(parsed("").error(&[], "m", "").short(), "x.yaml:1:1: m");
    assert_eq!(parsed("[[], 1]").error(&[0.into()], "m", "").to_string().matches('^').count(), 2);
}

#[test]
fn a_diagnostic_counts_lines_and_characters() {
    let at = |start| {
        let cutout = Cutout { text: "aé\nb".into(), span: start..start, also: None };
        let found = Diagnostic::at("f".into(), cutout, "m", "");
        (found.line, found.column)
    };
    for (offset, place) in
        [(0, (1, 1)), (1, (1, 2)), (2, (1, 2)), (3, (1, 3)), (4, (2, 1)), (5, (2, 2)), (99, (2, 2))]
    {
        assert_eq!(at(offset), place, "{offset}");
    }
    let of_file = |help: &str| Diagnostic::of_file("f".into(), "m\u{7}", help).short();
    assert_eq!(of_file(""), "f:1:1: m\\u{7}");
    assert_eq!(of_file("h"), "f:1:1: m\\u{7}; h");
    let two = Diagnostics::new(vec![Diagnostic::of_file("f".into(), "one", "two"); 2]);
    assert_eq!(two.short(), "f:1:1: one; two\nf:1:1: one; two");
    assert_eq!((two.iter().count(), (&two).into_iter().count()), (2, 2));
    assert_eq!(two.to_string(), two.render(false));
    assert!(two.render(true).contains("\u{1b}[") && !two.render(false).contains('\u{1b}'));
    assert!(two.to_string().contains("error: one"));
    let warning = Diagnostic::of_file("f".into(), "one", "").into_warning().to_string();
    assert!(warning.contains("warning: one") && !warning.contains("help"), "{warning}");
}
