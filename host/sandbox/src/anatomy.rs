//! Inspects a component without running it, mainly for the author of one that cannot be loaded.

use config::Sandbox;

use super::interface::{self, Provider};
use super::text::printable;
use super::{Cancellation, LoadError, PluginHost, Source};

/// A component as seen from outside.
#[derive(Debug)]
pub struct Anatomy {
    /// Its SHA-256 in lower-case hex.
    pub digest: String,
    /// Its size in bytes.
    pub size: usize,
    /// Its imports and exports, or the error of its compilation.
    pub parts: Result<Parts, LoadError>,
}

/// The imports and exports of a component. Names are made printable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// Its imports, in the component's order.
    pub imports: Vec<Import>,
    /// Its exports, in the component's order.
    pub exports: Vec<String>,
}

/// One import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The full name, such as `wasi:cli/environment@0.2.6`.
    pub name: String,
    /// Its provider: the gateway, or nobody.
    pub provider: Provider,
}

impl PluginHost {
    /// Inspects a component. Blocks while it compiles.
    ///
    /// # Errors
    /// Its bytes cannot be read, or are too many. Later errors are in [`Anatomy::parts`].
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
