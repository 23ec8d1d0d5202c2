//! What the reader of YAML takes, and which limits a file may reach.

use super::*;

#[test]
fn a_file_that_is_not_yaml_or_not_there_is_an_error() {
    for (models, want) in [
        ("models: [", "not valid YAML"),
        ("models:\n\t- id: a", "not valid YAML"),
        ("models: []\n---\nmodels: []", "a second document"),
        ("models: !ruby/object {}", "tags have no meaning"),
        ("", "the key `models` is missing"),
        ("- a", "expected a mapping, found a list"),
        ("models:\n  - &a [*a]\n", "alias"),
    ] {
        let found = errors(models, None, &[]);
        assert!(found[0].contains(want), "{models}: {found:?}");
        assert!(load_texts(models, None, &[]).unwrap_err().to_string().contains(want));
    }
    // A routing file that does not parse does not count as absent.
    assert_eq!(errors("models: [{id: a}]", Some("local_deployment: ["), &[]).len(), 1);
    let shown = load_texts("a: 1\na: 2\n", None, &[]).unwrap_err().to_string();
    assert!(shown.contains("the key `a` is given twice") && shown.contains("first given here"));
    let gone = Paths {
        models: "/nonexistent/m".into(),
        routing: "/nonexistent/r".into(),
        routing_required: true,
    };
    assert_eq!(load(&gone, &|_| None).unwrap_err().iter().count(), 2);
}

#[test]
fn aliases_and_nesting_are_bounded() {
    let mut bomb = "models:\n  - &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..12 {
        let previous = format!("*a{}, ", n - 1).repeat(10);
        bomb.push_str(&format!("  - &a{n} [{previous}]\n"));
    }
    assert!(errors(&bomb, None, &[])[0].contains("aliases included"));
    let deep = format!("models: {}{}", "[".repeat(200), "]".repeat(200));
    assert!(errors(&deep, None, &[])[0].contains("levels deep"));
    // Aliases and merge keys themselves are fine.
    let models = "\
models:
  - &base {id: a, base_url: http://a, context_length: 5}
  - {<<: *base, id: b}
";
    let config = load_texts(models, None, &[]).unwrap();
    assert_eq!(config.models[1].id, "b");
    assert_eq!(config.models[1].card.context_length, 5);
}

proptest::proptest! {
    #[test]
    fn no_text_breaks_the_reader(
        text in proptest::prelude::prop_oneof![
            "[a-z:\\- \\n\\r\\t\\[\\]{},$&*'\"|>!#%é?<~0-9.]{0,120}",
            "models:\n  - (id|api_key|route|<<): [\\[{'\"$*&]?\\PC{0,40}\n",
        ],
    ) {
        for routing in [None, Some(text.as_str())] {
            if let Err(errors) = load_texts(&text, routing, &[]) {
                proptest::prop_assert!(!errors.to_string().is_empty());
            }
        }
    }
}

#[test]
fn a_file_may_reach_its_limits() {
    let parsed = |text: &str| super::super::text("x", text, &|_| None);
    let message = |text: &str| parsed(text).unwrap_err().short();
    let padded = |length: usize| format!("a: b{}", " ".repeat(length - 4));
    assert!(parsed(&padded(1 << 20)).is_ok());
    assert!(message(&padded((1 << 20) + 1)).contains("larger than 1 MiB"));
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(parsed(&nested(65)).is_ok(), "the outermost is level 0");
    assert!(message(&nested(66)).contains("nested more than 64 levels deep"));
    let mapped = |levels: usize| format!("{}b{}", "{a: ".repeat(levels), "}".repeat(levels));
    assert!(parsed(&mapped(64)).is_ok());
    assert!(message(&mapped(65)).contains("nested more than 64 levels deep"));
    // A list of 9,998 values, itself included, is repeated by nine aliases. Each alias is a value
    // of its own. The outer list has a few values more, behind or before the aliases.
    let repeated = |before: usize, behind: usize| {
        let (values, aliases) = ("1,".repeat(9_997), "*a,".repeat(9));
        format!("[&a [{values}],{}{aliases}{}]", "1,".repeat(before), "1,".repeat(behind))
    };
    for (before, behind) in [(10, 0), (0, 10)] {
        assert!(parsed(&repeated(before, behind)).is_ok());
        let more = repeated(before + before / 10, behind + behind / 10);
        assert!(message(&more).contains("more than 100000 values"));
    }
}

#[test]
fn later_sources_of_a_merge_add_only_new_keys() {
    let text = "\
a: &a {x: 1, y: 1}
b: &b {y: 2, z: 2}
c: {<<: [*a, *b], x: 3}
";
    let document = super::super::text("x", text, &|_| None).unwrap();
    let read = schema::value(&document, &["c".into()], &serde_json::json!(true)).unwrap();
    assert_eq!(read, serde_json::json!({"x": 3, "y": 1, "z": 2}));
}

#[test]
fn the_place_of_broken_yaml_is_shown() {
    let found = |text: &str| {
        super::super::text("x", text, &|_| None)
            .unwrap_err()
            .short()
            .lines()
            .last()
            .unwrap()
            .to_owned()
    };
    for (text, start, end) in [
        (
            "a: b\nc: [é",
            "x:2:",
            "check indentation, quotes and brackets here and on the line before",
        ),
        ("a: [${B}]\n", "x:1:", "inside `[ ]` and `{ }` a variable needs quotes: \"${VAR}\""),
        (
            "a: ${B}\nc: \"d\n",
            "x:",
            "check indentation, quotes and brackets here and on the line before",
        ),
        (
            "? [a]\n: b\n",
            "x:1:3: a key must be a plain word",
            "quote it if it begins with `{`, `[`, `*` or `&`",
        ),
        ("a: 1\n---\nb: 2\n", "x:3:1: a second document in the file", "remove the `---` before it"),
        ("a: !b c\n", "x:1:7: tags have no meaning here", "remove the word that begins with `!`"),
    ] {
        let found = found(text);
        assert!(found.starts_with(start) && found.ends_with(end), "{found}");
    }
}
