//! The bindings for strategies in C, `host/gateway/templates/strategy/c/generated`, are those of the contract.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use wasmparser::{Parser, Payload};
use wit_bindgen_c::Opts;
use wit_bindgen_core::Files;
use wit_parser::Resolve;

/// The name that the custom section with the type of the component gets. Tools look for its beginning.
const SECTION: &str = "component-type:strategy";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// `strategy.h` and `strategy.c`, as wit-bindgen generates them for a world.
///
/// wit-bindgen also generates an object file with the type of the component. `strategy.c` has its
/// content as assembler text instead: the repository then holds text only, which can be compared.
fn generated(world: &str) -> [(&'static str, String); 2] {
    let mut resolve = Resolve::default();
    let (package, _) =
        resolve.push_path(repository().join("wit/0.3.0-draft")).expect("the contract is valid");
    let id = resolve.select_world(&[package], Some(world)).expect("the contract has this world");
    let options = Opts { rename_world: Some("strategy".to_owned()), ..Opts::default() };
    let mut files = Files::default();
    options.build().generate(&mut resolve, id, &mut files).expect("bindings");
    let file = |name: &str| {
        let (_, content) = files.iter().find(|(file, _)| *file == name).expect("a generated file");
        content
    };
    let text = |name: &str| str::from_utf8(file(name)).expect("C is text");
    let source = text("strategy.c");
    let (source, _) =
        source.split_once("// Ensure that the *_component_type.o").expect("lines that link it");
    let component_type = component_type(file("strategy_component_type.o"));
    let source = format!("{source}{}", custom_section(component_type));
    [("strategy.h", text("strategy.h").to_owned()), ("strategy.c", source)]
}

/// The content of an object file's custom section with the type of the component.
fn component_type(object: &[u8]) -> &[u8] {
    let sections = Parser::new(0).parse_all(object).map(|payload| payload.expect("a module"));
    let types = sections.filter_map(|payload| match payload {
        Payload::CustomSection(section) if section.name().starts_with("component-type") => {
            Some(section.data())
        }
        _ => None,
    });
    types.last().expect("the type of the component")
}

/// C that puts `content` into a custom section.
fn custom_section(content: &[u8]) -> String {
    let mut text = String::from("// The type of the component, in a custom section.\n__asm__(\n");
    writeln!(text, r#"  ".section \".custom_section.{SECTION}\",\"\",@\n""#).expect("memory");
    for line in content.chunks(16) {
        let line: String = line.iter().copied().map(escaped).collect();
        writeln!(text, r#"  ".ascii \"{line}\"\n""#).expect("memory");
    }
    text.push_str(");\n");
    text
}

/// A byte of an assembler string that is itself in a C string.
fn escaped(byte: u8) -> String {
    match byte {
        b' '..=b'~' if byte != b'"' && byte != b'\\' => char::from(byte).to_string(),
        _ => format!(r"\\{byte:03o}"),
    }
}

/// `WRITE_BINDINGS=1` writes the files in place of comparing them.
#[test]
fn the_stored_bindings_are_current() {
    for world in ["strategy", "request-strategy"] {
        let folder = repository().join("host/gateway/templates/strategy/c/generated").join(world);
        for (name, content) in generated(world) {
            let path = folder.join(name);
            if std::env::var_os("WRITE_BINDINGS").is_some() {
                std::fs::write(&path, &content).expect("a writable file");
            }
            let stored = std::fs::read_to_string(&path).expect("a stored file");
            let make = "run host/gateway/templates/strategy/c/generated/make";
            assert!(stored == content, "{} is not current: {make}", path.display());
        }
    }
}
