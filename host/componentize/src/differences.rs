//! The differences between a core module and its world.

use std::fmt;

use wit_parser::abi::AbiVariant;
use wit_parser::{WasmExport, WasmExportKind, WasmImport};

use wasmparser::ValType;

use super::contract::{PACKAGE, Target};
use super::error::shown;
use super::module::{CoreImport, CoreModule, Entity};
use super::{PREVIEW_1, Signature};

/// A difference between a core module and its world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// A function is not exported.
    MissingExport {
        /// The name that the export must have.
        name: String,
        /// The type that it must have.
        expected: Signature,
    },
    /// An export has another type.
    ExportType {
        /// The name of the export.
        name: String,
        /// The type that it must have.
        expected: Signature,
        /// The type of the function, or the kind of what is exported instead.
        found: String,
    },
    /// The memory is not exported by its name, or is of another kind.
    Memory {
        /// The name that the export must have.
        name: String,
        /// What is there instead.
        found: MemoryFound,
    },
    /// An export has the name of a function that the contract does not have.
    UnknownExport {
        /// The name of the export.
        name: String,
        /// The function of the contract whose name is nearest.
        nearest: Option<String>,
    },
    /// The gateway does not have what the module imports.
    UnknownImport {
        /// The first part of the import's name.
        module: String,
        /// The second part of it.
        name: String,
        /// Its kind: `function`, `memory`, ...
        kind: &'static str,
        /// The import of the contract whose name is nearest.
        nearest: Option<String>,
    },
    /// An import has another type.
    ImportType {
        /// Both parts of the import's name.
        name: String,
        /// The type that it must have.
        expected: Signature,
        /// The type of the function, or the kind of what is imported instead.
        found: String,
    },
}

/// What is there in place of a memory that the gateway can use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemoryFound {
    /// The module has no memory.
    None,
    /// The memory is not exported.
    Hidden,
    /// The memory is exported by this name.
    Named(String),
    /// The export of that name is no memory: the type of a function, or a kind.
    Other(String),
    /// It has 64-bit addresses.
    Wide,
    /// Threads share it.
    Shared,
}

impl MemoryFound {
    /// None: the memory is as it must be.
    fn of(core: &CoreModule, name: &str) -> Option<Self> {
        match core.exports.get(name) {
            Some(Entity::Memory(memory)) if memory.memory64 => Some(Self::Wide),
            Some(Entity::Memory(memory)) if memory.shared => Some(Self::Shared),
            Some(Entity::Memory(_)) => None,
            Some(Entity::Function(function)) => {
                Some(Self::Other(format!("a function {}", Signature::from(function))))
            }
            Some(other) => Some(Self::Other(format!("a {}", other.kind()))),
            None if !core.has_memory => Some(Self::None),
            None => {
                let is_memory = |entity: &Entity| matches!(entity, Entity::Memory(_));
                let found = core.exports.iter().find(|(_, entity)| is_memory(entity));
                Some(found.map_or(Self::Hidden, |(name, _)| Self::Named(name.clone())))
            }
        }
    }
}

/// All differences, those of exports first.
pub(crate) fn differences(core: &CoreModule, target: &Target) -> Vec<Difference> {
    let mut differences = exports(core, target);
    differences.extend(runtime(core, target));
    differences.extend(unknown_exports(core, target));
    differences.extend(core.imports.iter().filter_map(|import| imported(import, target)));
    differences
}

/// Differences of the functions that the host calls.
fn exports(core: &CoreModule, target: &Target) -> Vec<Difference> {
    let mut differences = Vec::new();
    for (interface, function) in target.world_exports().flat_map(|item| target.functions(item)) {
        let signature = target.resolve.wasm_signature(AbiVariant::GuestExport, function);
        let signature = Signature::from(&signature);
        let name = target.export(interface, function, WasmExportKind::Normal);
        let post_return = target.export(interface, function, WasmExportKind::PostReturn);
        if core.exports.contains_key(&post_return) {
            differences.extend(exported(core, post_return, signature.post_return()));
        }
        differences.extend(exported(core, name, signature));
    }
    differences
}

/// Differences of the memory and of the function that allocates in it. Lists and strings pass
/// through them.
fn runtime(core: &CoreModule, target: &Target) -> Vec<Difference> {
    let mut differences = Vec::new();
    let name = |export| target.resolve.wasm_export_name(target.mangling, export);
    let memory = name(WasmExport::Memory);
    if let Some(found) = MemoryFound::of(core, &memory) {
        differences.push(Difference::Memory { name: memory, found });
    }
    let expected = Signature::new(&[ValType::I32; 4], &[ValType::I32]);
    differences.extend(exported(core, name(WasmExport::Realloc), expected));
    differences
}

fn exported(core: &CoreModule, name: String, expected: Signature) -> Option<Difference> {
    let Some(entity) = core.exports.get(&name) else {
        return Some(Difference::MissingExport { name, expected });
    };
    let found = unequal(entity, &expected)?;
    Some(Difference::ExportType { name, expected, found })
}

/// What is there in place of the expected function. None: that function.
fn unequal(entity: &Entity, expected: &Signature) -> Option<String> {
    match entity {
        Entity::Function(function) => {
            let found = Signature::from(function);
            (found != *expected).then(|| found.to_string())
        }
        other => Some(format!("a {}", other.kind())),
    }
}

/// Exports with a name like that of a function of the contract, but not of this world.
fn unknown_exports(core: &CoreModule, target: &Target) -> Vec<Difference> {
    let functions = target.world_exports().flat_map(|item| target.functions(item));
    let spelled = |(interface, function)| {
        [WasmExportKind::Normal, WasmExportKind::PostReturn]
            .map(|kind| target.export(interface, function, kind))
    };
    let known: Vec<String> = functions.flat_map(spelled).collect();
    let unknown =
        core.exports.keys().filter(|name| name.contains(PACKAGE) && !known.contains(name));
    let difference = |name: &String| Difference::UnknownExport {
        name: name.clone(),
        nearest: nearest(name, known.iter().map(String::as_str)),
    };
    unknown.map(difference).collect()
}

/// The difference of an import. None: it is as the world has it.
fn imported(import: &CoreImport, target: &Target) -> Option<Difference> {
    if import.module == PREVIEW_1 {
        return None;
    }
    let mut known = Vec::new();
    for (interface, func) in target.world_imports().flat_map(|item| target.functions(item)) {
        let name = WasmImport::Func { interface, func };
        let (module, name) = target.resolve.wasm_import_name(target.mangling, name);
        if (&module, &name) == (&import.module, &import.name) {
            let expected = target.resolve.wasm_signature(AbiVariant::GuestImport, func);
            let expected = Signature::from(&expected);
            let found = unequal(&import.entity, &expected)?;
            let name = format!("{module} {name}");
            return Some(Difference::ImportType { name, expected, found });
        }
        known.push(format!("{module} {name}"));
    }
    // `wit-component` also knows resources and newer versions of WASI. A module with its own
    // `component-type` may import these.
    let is_foreign = import.module.contains(':') && !import.module.contains(PACKAGE);
    if target.is_embedded && (is_foreign || import.name.starts_with('[')) {
        return None;
    }
    let name = format!("{} {}", import.module, import.name);
    Some(Difference::UnknownImport {
        module: import.module.clone(),
        name: import.name.clone(),
        kind: import.entity.kind(),
        nearest: nearest(&name, known.iter().map(String::as_str)),
    })
}

/// The nearest known name, if at most six letters differ: a version may lack its `-draft`.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let distances = known.map(|other| (strsim::damerau_levenshtein(name, other), other));
    let (distance, nearest) = distances.min()?;
    (distance <= "-draft".len()).then(|| nearest.to_owned())
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingExport { name, expected } => {
                write!(f, "`{name}` is not exported: it must be a function {expected}")
            }
            Self::ExportType { name, expected, found } => {
                write!(f, "the export `{name}` is {found}: it must be a function {expected}")
            }
            Self::Memory { name, found } => match found {
                MemoryFound::None => {
                    write!(
                        f,
                        "the module has no memory: it must have one and export it as `{name}`"
                    )
                }
                MemoryFound::Hidden => {
                    write!(f, "the memory is not exported: its name must be `{name}`")
                }
                MemoryFound::Named(other) => {
                    let other = shown(other);
                    write!(f, "the memory is exported as `{other}`: its name must be `{name}`")
                }
                MemoryFound::Other(found) => {
                    write!(f, "the export `{name}` is {found}: it must be the memory")
                }
                MemoryFound::Wide => {
                    write!(f, "the memory `{name}` has 64-bit addresses: it must have 32-bit ones")
                }
                MemoryFound::Shared => {
                    write!(f, "the memory `{name}` is shared by threads: it must not be")
                }
            },
            Self::UnknownExport { name, nearest } => {
                write!(f, "the export `{}` is no function of the contract", shown(name))?;
                did_you_mean(f, nearest.as_deref())
            }
            Self::UnknownImport { module, name, kind, nearest } => {
                let (part, name) = (shown(module), shown(name));
                write!(f, "nobody provides the import `{part}` `{name}`, a {kind}")?;
                match module.as_str() {
                    _ if nearest.is_some() => did_you_mean(f, nearest.as_deref()),
                    "env" if *kind == "memory" => write!(f, ": the module must have its own"),
                    "env" => write!(f, ": the linker found no definition of `{name}`"),
                    _ => Ok(()),
                }
            }
            Self::ImportType { name, expected, found } => {
                write!(f, "the import `{name}` is {found}: it must be a function {expected}")
            }
        }
    }
}

fn did_you_mean(f: &mut fmt::Formatter<'_>, nearest: Option<&str>) -> fmt::Result {
    match nearest {
        Some(nearest) => write!(f, ": did you mean `{nearest}`?"),
        None => Ok(()),
    }
}
