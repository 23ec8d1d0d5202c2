//! The world that a module is for.

use wit_component::metadata;
use wit_parser::{
    Function, LiftLowerAbi, ManglingAndAbi, Resolve, WasmExport, WasmExportKind, WorldId,
    WorldItem, WorldKey,
};

use super::ComponentizeError;
use super::module::CoreModule;

/// The versions of the contract, newest first, each with its text.
pub const CONTRACTS: [(&str, &str); 3] = [
    ("0.3.0-draft", include_str!("../../../wit/0.3.0-draft/routing.wit")),
    ("0.2.0", include_str!("../../../wit/0.2.0/routing.wit")),
    ("0.1.0", include_str!("../../../wit/0.1.0/routing.wit")),
];

/// The package of all versions.
pub(crate) const PACKAGE: &str = "hybrid:routing/";

/// The world that a module is for.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) resolve: Resolve,
    pub(crate) world: WorldId,
    /// How the module spells the names of imports and exports.
    pub(crate) mangling: ManglingAndAbi,
    /// True if the module itself says what the world is, in a custom section.
    pub(crate) is_embedded: bool,
}

impl Target {
    /// Finds the world of a module: from its custom sections, or else from the names of its
    /// exports.
    pub(crate) fn of(module: &[u8], core: &CoreModule) -> Result<Self, ComponentizeError> {
        let mangling = mangling(core);
        let (found, embedded) = metadata::decode(module)
            .map_err(|error| ComponentizeError::ComponentType(format!("{error:#}")))?;
        if found.is_none() {
            return Self::by_exports(core, mangling);
        }
        let (resolve, world) = (embedded.resolve, embedded.world);
        let target = Self { resolve, world, mangling, is_embedded: true };
        let exports = target.exports();
        match exports.iter().any(|export| export.starts_with("hybrid:routing/policy@")) {
            true => Ok(target),
            false => Err(ComponentizeError::NoPolicy { exports }),
        }
    }

    /// The smallest world of the contract with all interfaces that the module exports functions of.
    fn by_exports(core: &CoreModule, mangling: ManglingAndAbi) -> Result<Self, ComponentizeError> {
        let mut found = Vec::new();
        for (version, text) in CONTRACTS {
            let (resolve, worlds) = worlds(text);
            let candidate =
                |world| Self { resolve: resolve.clone(), world, mangling, is_embedded: false };
            let mut candidates: Vec<_> = worlds.into_iter().map(candidate).collect();
            candidates.sort_by_key(|target| target.world_exports().count());
            let used = candidates.iter().map(|target| target.used(core)).max().unwrap_or(0);
            let fitting = candidates.into_iter().find(|target| target.used(core) == used);
            if let Some(target) = fitting.filter(|_| used > 0) {
                found.push((version, target));
            }
        }
        if found.len() > 1 {
            let versions = found.into_iter().map(|(version, _)| version.to_owned());
            return Err(ComponentizeError::Versions(versions.collect()));
        }
        let target = found.pop().map(|(_, target)| target);
        target.ok_or_else(|| ComponentizeError::NoPolicy {
            exports: core.exports.keys().cloned().collect(),
        })
    }

    /// How many of its interfaces have a function that the module exports.
    fn used(&self, core: &CoreModule) -> usize {
        let is_used = |item: &(&WorldKey, &WorldItem)| {
            let functions = self.functions(*item);
            functions.first().is_some_and(|(key, function)| {
                let name = self.export(*key, function, WasmExportKind::Normal);
                let begin = name.strip_suffix(&function.name).unwrap_or(&name);
                core.exports.keys().any(|export| export.starts_with(begin))
            })
        };
        self.world_exports().filter(is_used).count()
    }

    /// The interfaces that the world exports, sorted: `hybrid:routing/policy@0.3.0-draft`.
    pub(crate) fn exports(&self) -> Vec<String> {
        let keys = self.world_exports().map(|(key, _)| self.resolve.name_world_key(key));
        let mut exports: Vec<_> = keys.collect();
        exports.sort_unstable();
        exports
    }

    pub(crate) fn world_exports(&self) -> impl Iterator<Item = (&WorldKey, &WorldItem)> {
        self.resolve.worlds[self.world].exports.iter()
    }

    pub(crate) fn world_imports(&self) -> impl Iterator<Item = (&WorldKey, &WorldItem)> {
        self.resolve.worlds[self.world].imports.iter()
    }

    /// The functions of an import or export of the world, each with its interface.
    pub(crate) fn functions<'a>(
        &'a self,
        (key, item): (&'a WorldKey, &'a WorldItem),
    ) -> Vec<(Option<&'a WorldKey>, &'a Function)> {
        match item {
            WorldItem::Interface { id, .. } => {
                let functions = self.resolve.interfaces[*id].functions.values();
                functions.map(|function| (Some(key), function)).collect()
            }
            WorldItem::Function(function) => vec![(None, function)],
            WorldItem::Type { .. } => Vec::new(),
        }
    }

    /// The name of the core export that is a function of the world.
    pub(crate) fn export(
        &self,
        interface: Option<&WorldKey>,
        func: &Function,
        kind: WasmExportKind,
    ) -> String {
        self.resolve.wasm_export_name(self.mangling, WasmExport::Func { interface, func, kind })
    }
}

/// How a module spells names: like the component model's build targets if an export begins with
/// `cm32p2`, else in the older way.
fn mangling(core: &CoreModule) -> ManglingAndAbi {
    match core.exports.keys().any(|name| name.starts_with("cm32p2")) {
        true => ManglingAndAbi::Standard32,
        false => ManglingAndAbi::Legacy(LiftLowerAbi::Sync),
    }
}

/// The worlds of a contract.
fn worlds(text: &str) -> (Resolve, Vec<WorldId>) {
    let mut resolve = Resolve::default();
    // A test reads all of them.
    let package = resolve.push_str("routing.wit", text).expect("the contract is valid");
    let worlds = resolve.packages[package].worlds.values().copied().collect();
    (resolve, worlds)
}
