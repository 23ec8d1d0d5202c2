//! Imports and exports of a core module.

use std::collections::BTreeMap;

use wasmparser::types::{EntityType, TypesRef};
use wasmparser::{Encoding, FuncType, MemoryType, Parser, Payload, Validator};

use super::ComponentizeError;

/// A valid core module as its embedder sees it.
#[derive(Debug)]
pub(crate) struct CoreModule {
    pub(crate) imports: Vec<CoreImport>,
    /// By name.
    pub(crate) exports: BTreeMap<String, Entity>,
    /// Whether it has a memory, imported or its own.
    pub(crate) has_memory: bool,
}

#[derive(Debug)]
pub(crate) struct CoreImport {
    pub(crate) module: String,
    pub(crate) name: String,
    pub(crate) entity: Entity,
}

/// The type of an import or export.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Entity {
    Function(FuncType),
    Memory(MemoryType),
    Table,
    Global,
    Tag,
}

impl CoreModule {
    /// Reads and validates a module.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, ComponentizeError> {
        if !bytes.starts_with(b"\0asm") {
            return Err(ComponentizeError::NotBinary { is_text: is_text(bytes) });
        }
        let invalid = |error: wasmparser::BinaryReaderError| {
            ComponentizeError::Invalid(error.message().to_owned(), error.offset() as u64)
        };
        let first = Parser::new(0).parse_all(bytes).next();
        if let Some(Ok(Payload::Version { encoding: Encoding::Component, .. })) = first {
            return Err(ComponentizeError::IsComponent);
        }
        let types = Validator::new().validate_all(bytes).map_err(invalid)?;
        let types = types.as_ref();
        let imports = types.core_imports().into_iter().flatten();
        let exports = types.core_exports().into_iter().flatten();
        Ok(Self {
            imports: imports
                .map(|(module, name, entity)| CoreImport {
                    module: module.to_owned(),
                    name: name.to_owned(),
                    entity: Entity::of(entity, types),
                })
                .collect(),
            exports: exports
                .map(|(name, entity)| (name.to_owned(), Entity::of(entity, types)))
                .collect(),
            has_memory: types.memory_count() > 0,
        })
    }
}

/// True for the text format: the first character after comments and blanks is a parenthesis.
fn is_text(bytes: &[u8]) -> bool {
    let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let mut code = lines.filter(|line| !line.is_empty() && !line.starts_with(b";;"));
    code.next().is_some_and(|line| line.starts_with(b"(module") || line.starts_with(b"(component"))
}

impl Entity {
    fn of(entity: EntityType, types: TypesRef<'_>) -> Self {
        match entity {
            EntityType::Func(id) | EntityType::FuncExact(id) => {
                Self::Function(types[id].unwrap_func().clone())
            }
            EntityType::Memory(memory) => Self::Memory(memory),
            EntityType::Table(_) => Self::Table,
            EntityType::Global(_) => Self::Global,
            EntityType::Tag(_) => Self::Tag,
        }
    }

    /// Its kind, in a word.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Function(_) => "function",
            Self::Memory(_) => "memory",
            Self::Table => "table",
            Self::Global => "global",
            Self::Tag => "tag",
        }
    }
}
