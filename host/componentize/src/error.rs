//! Why no component can be made of a module.

use std::fmt::{self, Write as _};

use thiserror::Error;
use wasmparser::{FuncType, ValType};
use wit_parser::abi::{WasmSignature, WasmType};

use super::{CONTRACTS, Difference};

/// Why no component can be made of a module.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ComponentizeError {
    /// The bytes are no WebAssembly in the binary format.
    #[error("it is not WebAssembly{}", if *is_text { ", but its text format: translate it first, as `wat2wasm` does" } else { "" })]
    NotBinary {
        /// It is WebAssembly in the text format.
        is_text: bool,
    },
    /// It is a component already.
    #[error("it is a component already: use it as it is")]
    IsComponent,
    /// A message, and the offset in bytes.
    #[error("it is not valid WebAssembly: {0} (at byte {1})")]
    Invalid(String, u64),
    /// The custom section `component-type` cannot be read.
    #[error("its custom section `component-type` cannot be read: {0}")]
    ComponentType(String),
    /// It exports no strategy.
    #[error("{}", no_policy(.exports))]
    NoPolicy {
        /// What it exports instead: names of exports, or interfaces of its `component-type`.
        exports: Vec<String>,
    },
    /// It exports functions of more than one version of the contract.
    #[error("it exports functions of several versions of the contract: {}", .0.join(", "))]
    Versions(Vec<String>),
    /// It differs from its world in these ways.
    #[error("{}", listed(.0))]
    Differs(Vec<Difference>),
    /// The component cannot be made for another reason.
    #[error("{0}")]
    Encoding(String),
}

fn no_policy(exports: &[String]) -> String {
    let policies = CONTRACTS.map(|(version, _)| format!("hybrid:routing/policy@{version}"));
    let exports = match exports {
        [] => "nothing".to_owned(),
        names => {
            let told: Vec<String> = names.iter().take(TOLD).map(|name| shown(name)).collect();
            let more = names.len() - told.len();
            let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("`{}`{rest}", told.join("`, `"))
        }
    };
    format!(
        "it is no strategy. A strategy exports the functions of `{}`, each by its name, as in `{}#describe`. \
         It exports {exports}",
        policies.join("` or `"),
        policies[0]
    )
}

/// Most differences and names that are told. A module may have 100,000.
const TOLD: usize = 50;

fn listed(differences: &[Difference]) -> String {
    let mut text = String::from("it does not fit the contract");
    for difference in differences.iter().take(TOLD) {
        let _ = write!(text, "\n  {difference}");
    }
    if let more @ 1.. = differences.len().saturating_sub(TOLD) {
        let _ = write!(text, "\n  and {more} more");
    }
    text
}

/// A name of the module, fit for a terminal: its control characters are escaped, and its first bytes
/// are enough.
pub(crate) fn shown(name: &str) -> String {
    const LONGEST: usize = 200;
    let cut = name.floor_char_boundary(LONGEST);
    let rest = if cut < name.len() { "…" } else { "" };
    format!("{}{rest}", name[..cut].escape_debug())
}

/// The type of a core function. Displayed as `(i32, f64) -> i32`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    parameters: Vec<ValType>,
    results: Vec<ValType>,
}

impl Signature {
    pub(crate) fn new(parameters: &[ValType], results: &[ValType]) -> Self {
        Self { parameters: parameters.to_vec(), results: results.to_vec() }
    }

    /// The type of the `cabi_post_` function, which is called with the results of this one after
    /// they are read.
    pub(crate) fn post_return(&self) -> Self {
        Self { parameters: self.results.clone(), results: Vec::new() }
    }
}

impl From<&FuncType> for Signature {
    fn from(function: &FuncType) -> Self {
        Self::new(function.params(), function.results())
    }
}

impl From<&WasmSignature> for Signature {
    fn from(signature: &WasmSignature) -> Self {
        let core = |types: &[WasmType]| {
            let types = types.iter().map(|one| match one {
                WasmType::I32 | WasmType::Pointer | WasmType::Length => ValType::I32,
                WasmType::I64 | WasmType::PointerOrI64 => ValType::I64,
                WasmType::F32 => ValType::F32,
                WasmType::F64 => ValType::F64,
            });
            types.collect()
        };
        Self { parameters: core(&signature.params), results: core(&signature.results) }
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list =
            |types: &[ValType]| types.iter().map(ValType::to_string).collect::<Vec<_>>().join(", ");
        write!(f, "({})", list(&self.parameters))?;
        match &self.results[..] {
            [] => Ok(()),
            [one] => write!(f, " -> {one}"),
            more => write!(f, " -> ({})", list(more)),
        }
    }
}
