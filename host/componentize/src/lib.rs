//! Makes a strategy's component of a core module, as compilers for C, Zig and other languages write
//! them: [`componentize`].
//!
//! `wit-component` does the work. This crate finds the world of the contract that the module is for
//! (`contract`), and compares the module with it first (`differences`): `wit-component` stops at the
//! first difference and names no remedy.

mod contract;
mod differences;
mod error;
mod module;
#[cfg(test)]
mod tests;

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME as PREVIEW_1,
    WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER as PREVIEW_1_ADAPTER,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

pub use contract::CONTRACTS;
pub use differences::Difference;
pub use error::{ComponentizeError, Signature};

use contract::Target;
use module::CoreModule;

/// A component made of a core module.
#[derive(Debug, Clone)]
pub struct Component {
    /// The component in the binary format.
    pub bytes: Vec<u8>,
    /// The interfaces that it exports: `hybrid:routing/policy@0.3.0-draft`.
    pub exports: Vec<String>,
    /// True if the module is a program: its `_start`, which sets up its language's library, is never
    /// called.
    pub is_program: bool,
}

/// Makes a component of a core module in the binary format.
///
/// The types of the component come from the module's custom sections `component-type*`, which
/// `wit-bindgen` writes, or else from the contract: the names of the module's exports say for which
/// world and version it is. Imports of `wasi_snapshot_preview1` are translated to WASI 0.2.
///
/// # Errors
/// If the module is not valid or does not fit its world. Lists all differences.
pub fn componentize(module: &[u8]) -> Result<Component, ComponentizeError> {
    let core = CoreModule::read(module)?;
    let target = Target::of(module, &core)?;
    let differences = differences::differences(&core, &target);
    if !differences.is_empty() {
        return Err(ComponentizeError::Differs(differences));
    }
    let bytes = encode(module, &core, &target)
        .map_err(|error| ComponentizeError::Encoding(format!("{error:#}")))?;
    let is_program =
        core.exports.contains_key("_start") && !core.exports.contains_key("_initialize");
    Ok(Component { bytes, exports: target.exports(), is_program })
}

fn encode(module: &[u8], core: &CoreModule, target: &Target) -> anyhow::Result<Vec<u8>> {
    let mut module = module.to_vec();
    if !target.is_embedded {
        embed_component_metadata(&mut module, &target.resolve, target.world, StringEncoding::UTF8)?;
    }
    let mut encoder = ComponentEncoder::default().validate(true).module(&module)?;
    if core.imports.iter().any(|import| import.module == PREVIEW_1) {
        // The adapter needs memory before the module is set up, when an allocator may not work yet.
        encoder = encoder.adapter(PREVIEW_1, PREVIEW_1_ADAPTER)?.realloc_via_memory_grow(true);
    }
    encoder.encode()
}
