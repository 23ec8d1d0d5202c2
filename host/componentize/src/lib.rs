//! Makes a strategy's component from a core module, which compilers for C, Zig and other languages
//! write: see [`componentize`].
//!
//! `wit-component` does the work. Before that, this crate finds the world of the contract that the
//! module is for (`contract`), and compares the module with it (`differences`). It does so because
//! `wit-component` stops at the first difference and names no remedy.

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

/// A component made from a core module.
#[derive(Debug, Clone)]
pub struct Component {
    /// The component in the binary format.
    pub bytes: Vec<u8>,
    /// The interfaces that it exports: `hybrid:routing/policy@0.3.0-draft`.
    pub exports: Vec<String>,
    /// True if the module is a program. Nothing calls its `_start`, so the library of its language
    /// is never set up.
    pub is_program: bool,
}

/// Makes a component from a core module in the binary format.
///
/// The world and its types come from the module's custom sections `component-type*`, which
/// `wit-bindgen` writes. Without these, the names of the exports decide the world and the version
/// of the contract. Imports of `wasi_snapshot_preview1` are translated to WASI 0.2.
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
