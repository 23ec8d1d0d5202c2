//! What a component may import and what it must export.

use wasmtime::bail;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentNamedList, Lift, Lower};
use wasmtime::error::Context;

use super::text::printable;
use super::{LoadError, v0_1_0, v0_2_0};

/// The WASI 0.2 packages a component may import: what the standard libraries of most languages ask
/// for before they do anything. It gets them empty.
pub(super) const WASI: &[&str] =
    &["wasi:cli", "wasi:clocks", "wasi:filesystem", "wasi:io", "wasi:random"];

/// The versions of the strategy interface that this gateway speaks, the newest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V0_1_0,
    V0_2_0,
}

impl Version {
    pub(super) const ALL: [Self; 2] = [Self::V0_1_0, Self::V0_2_0];

    /// What every strategy of this version exports.
    pub(super) fn policy(self) -> &'static str {
        match self {
            Self::V0_1_0 => v0_1_0::POLICY,
            Self::V0_2_0 => v0_2_0::POLICY,
        }
    }

    /// Its further interfaces; a world has some of them.
    fn others(self) -> &'static [&'static str] {
        match self {
            Self::V0_1_0 => &[],
            Self::V0_2_0 => &[v0_2_0::REQUEST_POLICY, v0_2_0::LEARNING],
        }
    }

    /// What the gateway itself offers to it.
    fn imports(self) -> &'static [&'static str] {
        match self {
            Self::V0_1_0 => &[v0_1_0::LOGGING],
            Self::V0_2_0 => &[v0_2_0::LOGGING, v0_2_0::STORE],
        }
    }

    /// `0.2.0`
    pub(super) fn as_str(self) -> &'static str {
        self.policy().rsplit('@').next().unwrap_or_default()
    }

    /// The worlds a strategy of this version may be for.
    pub(super) fn worlds(self) -> &'static [&'static str] {
        match self {
            Self::V0_1_0 => &["strategy"],
            Self::V0_2_0 => {
                &["strategy", "request-strategy", "learning-strategy", "learning-request-strategy"]
            }
        }
    }
}

/// What a component asks for, and what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ComponentShape {
    pub(super) wasi: bool,
    pub(super) version: Version,
    /// It decides on the request path too.
    pub(super) on_path: bool,
    /// It is to be told how attempts went.
    pub(super) learns: bool,
}

impl ComponentShape {
    /// The world it is for.
    pub(super) fn world(self) -> &'static str {
        match (self.on_path, self.learns) {
            (false, false) => "strategy",
            (true, false) => "request-strategy",
            (false, true) => "learning-strategy",
            (true, true) => "learning-request-strategy",
        }
    }
}

/// Every interface that the gateway offers, over all versions.
pub(super) fn offered() -> Vec<&'static str> {
    Version::ALL.iter().flat_map(|version| version.imports()).copied().collect()
}

/// Every world that the gateway speaks: `hybrid:routing/strategy@0.1.0`.
pub(super) fn spoken() -> Vec<String> {
    let name =
        |version: Version, world: &&str| format!("hybrid:routing/{world}@{}", version.as_str());
    let of = |version: &Version| {
        version.worlds().iter().map(|world| name(*version, world)).collect::<Vec<_>>()
    };
    Version::ALL.iter().flat_map(of).collect()
}

/// Who provides what a component imports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// The gateway: a part of the contract.
    Gateway,
    /// The gateway, with an empty world behind it: no files, network, environment or arguments.
    Wasi,
    /// Nobody: a strategy does not get it.
    Nobody,
}

/// Who provides an import of this name.
pub(super) fn provider(import: &str) -> Provider {
    if is_wasi(import) {
        Provider::Wasi
    } else if is_types(import) || offered().contains(&import) {
        Provider::Gateway
    } else {
        Provider::Nobody
    }
}

/// Checks every import against the allow-list, and finds out which world the exports are of.
pub(super) fn shape(what: &str, component: &Component) -> Result<ComponentShape, LoadError> {
    let (engine, ty) = (component.engine(), component.component_type());
    let mut wasi = false;
    for (import, _) in ty.imports(engine) {
        match provider(import) {
            Provider::Gateway => {}
            Provider::Wasi => wasi = true,
            Provider::Nobody => {
                let import = printable(import, 200);
                return Err(LoadError::Import { what: what.to_owned(), import });
            }
        }
    }
    let exports: Vec<&str> = ty.exports(engine).map(|(export, _)| export).collect();
    let spoken = |version: &&Version| exports.contains(&version.policy());
    let unknown = |version: Version| {
        let ours = |export: &&&str| export.starts_with("hybrid:routing/") && !is_types(export);
        let known = |export: &str| export == version.policy() || version.others().contains(&export);
        exports.iter().filter(ours).any(|export| !known(export))
    };
    match Version::ALL.iter().rev().find(spoken) {
        Some(&version) if !unknown(version) => {
            let has =
                |at: usize| version.others().get(at).is_some_and(|export| exports.contains(export));
            Ok(ComponentShape { wasi, version, on_path: has(0), learns: has(1) })
        }
        _ => {
            let seen = exports.iter().map(|export| format!("`{}`", printable(export, 200)));
            Err(LoadError::Version { what: what.to_owned(), seen: seen.collect() })
        }
    }
}

/// The interface that only names types, which some tools import and export for themselves.
fn is_types(name: &str) -> bool {
    name == v0_2_0::TYPES
}

/// `wasi:cli/environment@0.2.6`: an allowed package at any 0.2 release.
fn is_wasi(import: &str) -> bool {
    let Some((interface, version)) = import.split_once('@') else { return false };
    let Some((package, _)) = interface.split_once('/') else { return false };
    let patch = version.strip_prefix("0.2.").unwrap_or("");
    WASI.contains(&package) && !patch.is_empty() && patch.bytes().all(|b| b.is_ascii_digit())
}

/// Checks the type of one exported function; wasmtime's own check does not name it.
pub(super) fn check<Params, Return>(
    component: &Component,
    interface: &str,
    name: &str,
) -> wasmtime::Result<()>
where
    Params: ComponentNamedList + Lower,
    Return: ComponentNamedList + Lift,
{
    let engine = component.engine();
    let whole = component.component_type();
    let export = whole.get_export(engine, interface).map(|export| export.ty);
    let Some(ComponentItem::ComponentInstance(instance)) = export else {
        bail!("`{interface}` is not an interface");
    };
    match instance.get_export(engine, name).map(|export| export.ty) {
        Some(ComponentItem::ComponentFunc(function)) => function
            .typecheck::<Params, Return>(&whole.instance_type())
            .with_context(|| format!("`{name}` is of another type")),
        _ => bail!("`{name}` is not a function"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_harmless_part_of_wasi_is_allowed() {
        assert!(is_wasi("wasi:cli/environment@0.2.6"));
        assert!(is_wasi("wasi:clocks/monotonic-clock@0.2.0"));
        for refused in [
            "wasi:sockets/tcp@0.2.0",
            "wasi:http/outgoing-handler@0.2.0",
            "wasi:cli/environment@0.3.0",
            "wasi:cli/environment@0.2.0-rc1",
            "wasi:cli/environment@0.2.",
            "wasi:cli/environment",
            "wasi:client/x@0.2.0",
            "wasi:cli",
            "environment",
        ] {
            assert!(!is_wasi(refused), "{refused}");
        }
    }

    #[test]
    fn every_world_is_named_with_its_version() {
        let spoken = spoken();
        assert_eq!(spoken[0], "hybrid:routing/strategy@0.1.0");
        assert!(spoken.contains(&"hybrid:routing/request-strategy@0.2.0".to_owned()));
    }
}
