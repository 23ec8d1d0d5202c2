//! Modules in text form that fit the contract, and modules that differ from it in one place.

use wasmparser::Validator;
use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::{CONTRACTS, ComponentizeError, Difference, componentize};

const REALLOC: &str =
    r#"(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)"#;
const MEMORY: &str = r#"(memory (export "memory") 1)"#;
const DESCRIBE: &str =
    r#"(func (export "hybrid:routing/policy@0.3.0-draft#describe") (result i32) unreachable)"#;
const CONFIGURE: &str = r#"(func (export "hybrid:routing/policy@0.3.0-draft#configure")
    (param i32 i32 i32 i32 i32 i32) (result i32) unreachable)"#;
const ASSIGN: &str = r#"(func (export "hybrid:routing/policy@0.3.0-draft#assign")
    (param i32 i32 i32 i32) (result i32) unreachable)"#;
const ASSIGN_REQUEST: &str = r#"(func (export "hybrid:routing/request-policy@0.3.0-draft#assign-request")
    (param i32) (result i32) unreachable)"#;
const OUTCOME: &str = r#"(func (export "hybrid:routing/learning@0.3.0-draft#outcome")
    (param i32 i32) unreachable)"#;
const STRATEGY: [&str; 5] = [REALLOC, MEMORY, DESCRIBE, CONFIGURE, ASSIGN];

/// A module with these fields. Imports come first.
fn module(fields: &[&str]) -> Vec<u8> {
    let text = format!("(module\n{}\n)", fields.join("\n"));
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn strategy_with(more: &str) -> Vec<u8> {
    module(&[&[more], &STRATEGY[..]].concat())
}

/// A strategy without one of its fields, and with another in its place.
fn strategy_but(without: &str, with: &str) -> Vec<u8> {
    module(&STRATEGY.map(|field| if field == without { with } else { field }))
}

fn exports(module: &[u8]) -> Vec<String> {
    let component = componentize(module).unwrap_or_else(|error| panic!("{error}"));
    Validator::new().validate_all(&component.bytes).expect("a valid component");
    assert_eq!(component.bytes[4..8], [0x0d, 0, 1, 0], "the version of components");
    component.exports
}

fn error(module: &[u8]) -> String {
    componentize(module).expect_err("no component").to_string()
}

#[test]
fn exports_say_which_world_it_is() {
    let policy = "hybrid:routing/policy@0.3.0-draft";
    let (request, learning) =
        ("hybrid:routing/request-policy@0.3.0-draft", "hybrid:routing/learning@0.3.0-draft");
    assert_eq!(exports(&strategy_with("")), [policy]);
    assert_eq!(exports(&strategy_with(ASSIGN_REQUEST)), [policy, request]);
    assert_eq!(exports(&strategy_with(OUTCOME)), [learning, policy]);
    let all = [ASSIGN_REQUEST, OUTCOME].join("\n");
    assert_eq!(exports(&strategy_with(&all)), [learning, policy, request]);
}

#[test]
fn earlier_versions_become_components() {
    let of = |version: &str, places: &str| {
        let configure = CONFIGURE.replace("i32 i32 i32 i32 i32 i32", places);
        let fields = [REALLOC, MEMORY, DESCRIBE, &configure, ASSIGN];
        module(&fields.map(|field| field.replace("0.3.0-draft", version)).each_ref().map(|f| &**f))
    };
    assert_eq!(exports(&of("0.2.0", "i32 i32 i32 i32")), ["hybrid:routing/policy@0.2.0"]);
    assert_eq!(exports(&of("0.1.0", "i32 i32")), ["hybrid:routing/policy@0.1.0"]);
}

#[test]
fn imports_of_the_contract_are_kept() {
    let text = r#"(import "hybrid:routing/signals@0.3.0-draft" "read" (func (param i32)))
        (import "hybrid:routing/chance@0.3.0-draft" "draw" (func (result f64)))"#;
    let component = componentize(&strategy_with(text)).expect("a component");
    let named =
        |name: &str| component.bytes.windows(name.len()).any(|window| window == name.as_bytes());
    assert!(named("hybrid:routing/signals@0.3.0-draft"));
    assert!(!named("hybrid:routing/store@0.3.0-draft"), "the module does not import it");
}

#[test]
fn all_differences_are_named_at_once() {
    let wrong = ASSIGN.replace("(param i32 i32 i32 i32)", "(param i32 f64)");
    let module = module(&[MEMORY, DESCRIBE, &wrong]);
    let Err(ComponentizeError::Differs(differences)) = componentize(&module) else {
        panic!("it differs");
    };
    let lines: Vec<_> = differences.iter().map(Difference::to_string).collect();
    assert_eq!(
        lines,
        [
            "`hybrid:routing/policy@0.3.0-draft#configure` is not exported: \
             it must be a function (i32, i32, i32, i32, i32, i32) -> i32",
            "the export `hybrid:routing/policy@0.3.0-draft#assign` is (i32, f64) -> i32: \
             it must be a function (i32, i32, i32, i32) -> i32",
            "`cabi_realloc` is not exported: it must be a function (i32, i32, i32, i32) -> i32",
        ]
    );
}

#[test]
fn a_misspelled_export_is_named() {
    let said = error(&strategy_but(ASSIGN, &ASSIGN.replace("#assign", "#asign")));
    assert!(said.contains("`hybrid:routing/policy@0.3.0-draft#assign` is not exported"), "{said}");
    let hint = "the export `hybrid:routing/policy@0.3.0-draft#asign` is no function of the contract: \
                did you mean `hybrid:routing/policy@0.3.0-draft#assign`?";
    assert!(said.contains(hint), "{said}");
}

#[test]
fn names_that_are_told_are_few_short_and_plain() {
    let exports: String = (0..70)
        .map(|n| format!(r#"(func (export "hybrid:routing/policy@0.3.0-draft#\1b[31m{n:0500}"))"#))
        .collect();
    let (differs, other) =
        (module(&[&exports]), module(&[&exports.replace("0.3.0-draft", "9.0.0")]));
    for said in [differs, other].map(|module| componentize(&module).expect_err("bad").to_string()) {
        assert!(said.contains(r"#\u{1b}[31m000") && said.contains(" more"), "{said}");
        assert!(said.len() < 50_000 && !said.contains('\x1b'), "{} bytes", said.len());
    }
}

#[test]
fn a_global_is_no_function() {
    let global =
        r#"(global (export "hybrid:routing/policy@0.3.0-draft#assign") i32 (i32.const 0))"#;
    let said = error(&strategy_but(ASSIGN, global));
    assert!(said.contains("#assign` is a global: it must be a function (i32"), "{said}");
}

#[test]
fn a_wrong_post_return_is_named() {
    let post = r#"(func (export "cabi_post_hybrid:routing/policy@0.3.0-draft#assign"))"#;
    let said = error(&strategy_with(post));
    assert!(said.contains("#assign` is (): it must be a function (i32)"), "{said}");
}

#[test]
fn the_memory_must_be_exported() {
    for (field, says) in [
        ("(memory 1)", "the memory is not exported: its name must be `memory`"),
        ("", "the module has no memory: it must have one and export it as `memory`"),
        (
            r#"(memory (export "mem\1b") 1)"#,
            r"is exported as `mem\u{1b}`: its name must be `memory`",
        ),
        (
            r#"(memory 1) (func (export "memory") (result i32) unreachable)"#,
            "the export `memory` is a function () -> i32: it must be the memory",
        ),
        (
            r#"(global (export "memory") i32 (i32.const 0))"#,
            "the export `memory` is a global: it must be the memory",
        ),
        (r#"(memory (export "memory") i64 1)"#, "`memory` has 64-bit addresses"),
        (r#"(memory (export "memory") 1 1 shared)"#, "`memory` is shared by threads"),
    ] {
        let said = error(&strategy_but(MEMORY, field));
        assert!(said.contains(says), "{field}: {said}");
        assert_eq!(said.lines().count(), 2, "{said}");
    }
}

#[test]
fn unknown_imports_are_named_with_a_remedy() {
    for (import, says) in [
        (
            r#"(import "env" "sqrt" (func))"#,
            "`env` `sqrt`, a function: the linker found no definition",
        ),
        (r#"(import "env" "table" (table 1 funcref))"#, "the import `env` `table`, a table"),
        (
            r#"(import "hybrid:routing/store@0.3.0-draft" "gett" (func (param i32 i32 i32)))"#,
            "did you mean `hybrid:routing/store@0.3.0-draft get`?",
        ),
        (
            r#"(import "hybrid:routing/clock@0.3.0" "now" (func (param i32)))"#,
            "did you mean `hybrid:routing/clock@0.3.0-draft now`?",
        ),
        (
            r#"(import "hybrid:routing/clock@0.3.0-draft" "now" (func (result i64)))"#,
            "the import `hybrid:routing/clock@0.3.0-draft now` is () -> i64: it must be a function (i32)",
        ),
        (
            r#"(import "wasi:http/handler@0.2.0" "handle" (func))"#,
            "nobody provides the import `wasi:http",
        ),
    ] {
        let said = error(&strategy_with(import));
        assert!(said.contains(says), "{import}: {said}");
    }
    let imported = r#"(import "env" "memory" (memory 1)) (export "memory" (memory 0))"#;
    let said = error(&module(&[imported, REALLOC, DESCRIBE, CONFIGURE, ASSIGN]));
    assert!(said.contains("a memory: the module must have its own"), "{said}");
}

#[test]
fn wasi_0_1_is_translated() {
    let write = r#"(import "wasi_snapshot_preview1" "fd_write"
        (func (param i32 i32 i32 i32) (result i32)))"#;
    assert_eq!(exports(&strategy_with(write)), ["hybrid:routing/policy@0.3.0-draft"]);
    let unknown = r#"(import "wasi_snapshot_preview1" "fork" (func))"#;
    let said = error(&strategy_with(unknown));
    assert!(said.contains("`fork`"), "{said}");
}

#[test]
fn a_program_is_told_apart() {
    let start = r#"(func (export "_start"))"#;
    assert!(componentize(&strategy_with(start)).expect("a component").is_program);
    let reactor = r#"(func (export "_initialize"))"#;
    assert!(!componentize(&strategy_with(reactor)).expect("a component").is_program);
}

/// A module with the type of a world in a custom section, as `wit-bindgen` writes it.
fn embedded(mut module: Vec<u8>, text: &str, world: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("world.wit", text).expect("a package");
    let world = resolve.select_world(&[package], Some(world)).expect("a world");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
        .expect("a section");
    module
}

#[test]
fn the_section_says_which_world_it_is() {
    let (_, contract) = CONTRACTS[0];
    let module = embedded(strategy_with(""), contract, "strategy");
    assert_eq!(exports(&module), ["hybrid:routing/policy@0.3.0-draft"]);
    let said = error(&embedded(strategy_with(""), contract, "request-strategy"));
    assert!(said.contains("request-policy@0.3.0-draft#assign-request` is not exported"), "{said}");
    let said = error(&embedded(strategy_with(ASSIGN_REQUEST), contract, "strategy"));
    assert!(said.contains("#assign-request` is no function of the contract"), "{said}");
    let other = "package other:things@1.0.0; interface i { f: func(); } world w { export i; }";
    let said = error(&embedded(strategy_with(""), other, "w"));
    assert!(said.contains("It exports `other:things/i@1.0.0`"), "{said}");
}

#[test]
fn a_broken_section_is_an_error() {
    let section = r#"(@custom "component-type:x" "nonsense")"#;
    assert!(error(&strategy_with(section)).contains("`component-type` cannot be read"));
}

#[test]
fn what_is_no_strategy_says_what_it_is() {
    let good = componentize(&strategy_with("")).expect("a component").bytes;
    let other = DESCRIBE.replace("0.3.0-draft", "0.2.0");
    for (bytes, says) in [
        (b"".to_vec(), "it is not WebAssembly"),
        (b"\x7fELF".to_vec(), "it is not WebAssembly"),
        (b"\n ;; text\n(module)".to_vec(), "its text format"),
        (good, "it is a component already"),
        (b"\0asm\x01\0\0\0\x01\x7f".to_vec(), "it is not valid WebAssembly"),
        (module(&[]), "It exports nothing"),
        (module(&[MEMORY]), "It exports `memory`"),
        (strategy_with(&other), "several versions of the contract: 0.3.0-draft, 0.2.0"),
    ] {
        let said = error(&bytes);
        assert!(said.contains(says), "{says}: {said}");
    }
}

/// Names as the build targets of the component model have them.
#[test]
fn the_other_spelling_of_names_is_read() {
    let spelled = |field: &str| {
        field
            .replace(
                "hybrid:routing/policy@0.3.0-draft#",
                "cm32p2|hybrid:routing/policy@0.3.0-draft|",
            )
            .replace("cabi_realloc", "cm32p2_realloc")
            .replace("\"memory\"", "\"cm32p2_memory\"")
    };
    let fields = STRATEGY.map(spelled);
    assert_eq!(exports(&module(&fields.each_ref().map(|field| &**field))).len(), 1);
}
