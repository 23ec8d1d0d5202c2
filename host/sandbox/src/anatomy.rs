//! What a component shows without being run: for its author, above all where it cannot be loaded.

use config::Sandbox;

use super::interface::{self, Provider};
use super::text::printable;
use super::{Cancellation, LoadError, PluginHost, Source};

/// A component from the outside.
#[derive(Debug)]
pub struct Anatomy {
    /// Its SHA-256 in lower-case hex.
    pub digest: String,
    /// Its size in bytes.
    pub size: usize,
    /// What it is made of, where the compiler takes it.
    pub parts: Result<Parts, LoadError>,
}

/// What a component asks for and what it gives. Names are fit to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// What it imports, in its order.
    pub imports: Vec<Import>,
    /// What it exports, in its order.
    pub exports: Vec<String>,
}

/// One import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// `wasi:cli/environment@0.2.6`
    pub name: String,
    /// Who provides it.
    pub provider: Provider,
}

impl PluginHost {
    /// Looks at a component. Blocks for as long as it takes to compile.
    ///
    /// # Errors
    /// Its bytes cannot be had, or the host itself could not get ready.
    pub fn look(&self, source: &Source, sandbox: &Sandbox) -> Result<Anatomy, LoadError> {
        let bytes = source.read(None, sandbox.component)?;
        let (digest, size) = (bytes.digest.clone(), bytes.bytes.len());
        let compiled = self.compile(source, bytes, sandbox, &Cancellation::default());
        let parts = compiled.map(|(_, component)| {
            let (engine, ty) = (component.engine(), component.component_type());
            let import = |name: &str| Import {
                name: printable(name, 200),
                provider: interface::provider(name),
            };
            Parts {
                imports: ty.imports(engine).map(|(name, _)| import(name)).collect(),
                exports: ty.exports(engine).map(|(name, _)| printable(name, 200)).collect(),
            }
        });
        Ok(Anatomy { digest, size, parts })
    }
}
