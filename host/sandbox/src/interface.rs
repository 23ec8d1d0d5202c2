//! The imports that a component may have and the exports that it must have.

use wasmtime::bail;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentNamedList, Lift, Lower};
use wasmtime::error::Context;

use super::text::printable;
use super::{LoadError, v0_1_0, v0_2_0, v0_3_0};

/// The WASI 0.2 packages that a component may import. The standard libraries of most languages need
/// them to start. The host offers them without files, environment or arguments behind them.
pub(super) const WASI: &[&str] =
    &["wasi:cli", "wasi:clocks", "wasi:filesystem", "wasi:io", "wasi:random"];

/// The versions of the strategy interface that this gateway supports, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V0_1_0,
    V0_2_0,
    V0_3_0,
}

impl Version {
    pub(super) const ALL: [Self; 3] = [Self::V0_1_0, Self::V0_2_0, Self::V0_3_0];

    /// The interface that every strategy of this version exports.
    pub(super) fn policy(self) -> &'static str {
        match self {
            Self::V0_1_0 => v0_1_0::POLICY,
            Self::V0_2_0 => v0_2_0::POLICY,
            Self::V0_3_0 => v0_3_0::POLICY,
        }
    }

    /// Interfaces that only some worlds of this version export: first `request-policy`, then
    /// `learning`. [`shape`] relies on this order.
    fn others(self) -> &'static [&'static str] {
        match self {
            Self::V0_1_0 => &[],
            Self::V0_2_0 => &[v0_2_0::REQUEST_POLICY, v0_2_0::LEARNING],
            Self::V0_3_0 => &[v0_3_0::REQUEST_POLICY, v0_3_0::LEARNING],
        }
    }

    /// Interfaces of the contract that the gateway provides to this version.
    fn imports(self) -> &'static [&'static str] {
        match self {
            Self::V0_1_0 => &[v0_1_0::LOGGING],
            Self::V0_2_0 => &[v0_2_0::LOGGING, v0_2_0::STORE],
            Self::V0_3_0 => v0_3_0::IMPORTS,
        }
    }

    /// The version number, such as `0.2.0`.
    pub(super) fn as_str(self) -> &'static str {
        self.policy().rsplit('@').next().unwrap_or_default()
    }

    /// The worlds of this version.
    pub(super) fn worlds(self) -> &'static [&'static str] {
        match self {
            Self::V0_1_0 => &["strategy"],
            Self::V0_2_0 | Self::V0_3_0 => {
                &["strategy", "request-strategy", "learning-strategy", "learning-request-strategy"]
            }
        }
    }
}

/// The requirements and the world of a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ComponentShape {
    /// The component imports something of WASI.
    pub(super) wasi: bool,
    pub(super) version: Version,
    /// The component also decides for each request.
    pub(super) on_path: bool,
    /// The component is told how attempts ended.
    pub(super) learns: bool,
}

impl ComponentShape {
    /// Name of the world that has exactly these exports.
    pub(super) fn world(self) -> &'static str {
        match (self.on_path, self.learns) {
            (false, false) => "strategy",
            (true, false) => "request-strategy",
            (false, true) => "learning-strategy",
            (true, true) => "learning-request-strategy",
        }
    }
}

/// Every interface of the contract that the gateway provides, for all versions.
pub(super) fn offered() -> Vec<&'static str> {
    Version::ALL.iter().flat_map(|version| version.imports()).copied().collect()
}

/// Every world that the gateway supports, such as `hybrid:routing/strategy@0.1.0`.
pub(super) fn spoken() -> Vec<String> {
    let name =
        |version: Version, world: &&str| format!("hybrid:routing/{world}@{}", version.as_str());
    let of = |version: &Version| {
        version.worlds().iter().map(|world| name(*version, world)).collect::<Vec<_>>()
    };
    Version::ALL.iter().flat_map(of).collect()
}

/// The provider of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// The gateway, as a part of the contract.
    Gateway,
    /// The gateway, as a clock of WASI: it tells the real time.
    Clock,
    /// The gateway, as random numbers of WASI: they are those of the system.
    Random,
    /// The gateway, as WASI without files, network, environment or arguments.
    Wasi,
    /// Nobody: such a component is refused.
    Nobody,
}

pub(super) fn provider(import: &str) -> Provider {
    if is_wasi(import) {
        match import.split_once('/') {
            Some(("wasi:clocks", _)) => Provider::Clock,
            Some(("wasi:random", _)) => Provider::Random,
            _ => Provider::Wasi,
        }
    } else if is_types(import) || offered().contains(&import) {
        Provider::Gateway
    } else {
        Provider::Nobody
    }
}

/// Checks every import against the allow-list, and derives the world from the exports.
pub(super) fn shape(what: &str, component: &Component) -> Result<ComponentShape, LoadError> {
    let (engine, ty) = (component.engine(), component.component_type());
    let mut wasi = false;
    for (import, _) in ty.imports(engine) {
        match provider(import) {
            Provider::Gateway => {}
            Provider::Clock | Provider::Random | Provider::Wasi => wasi = true,
            Provider::Nobody => {
                let import = printable(import, 200);
                return Err(LoadError::Import { what: what.to_owned(), import });
            }
        }
    }
    let exports: Vec<&str> = ty.exports(engine).map(|(export, _)| export).collect();
    let spoken = |version: &&Version| exports.contains(&version.policy());
    // An interface of ours that this version lacks is of another version.
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

/// True for the interface of types alone, which some tools import and export by themselves.
fn is_types(name: &str) -> bool {
    name == v0_2_0::TYPES || name == v0_3_0::TYPES
}

/// True for an allowed package of any 0.2 release, such as `wasi:cli/environment@0.2.6`.
fn is_wasi(import: &str) -> bool {
    let Some((interface, version)) = import.split_once('@') else { return false };
    let Some((package, _)) = interface.split_once('/') else { return false };
    let patch = version.strip_prefix("0.2.").unwrap_or("");
    WASI.contains(&package) && !patch.is_empty() && patch.bytes().all(|b| b.is_ascii_digit())
}

/// Checks the type of one exported function. Wasmtime's own check does not name the function.
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
    fn clocks_and_random_numbers_are_told_apart_from_nothing() {
        for (import, expected) in [
            ("wasi:clocks/wall-clock@0.2.0", Provider::Clock),
            ("wasi:clocks/monotonic-clock@0.2.6", Provider::Clock),
            ("wasi:random/insecure-seed@0.2.6", Provider::Random),
            ("wasi:cli/environment@0.2.6", Provider::Wasi),
            ("wasi:filesystem/types@0.2.6", Provider::Wasi),
            ("wasi:clocks/wall-clock@0.3.0", Provider::Nobody),
            ("wasi:sockets/tcp@0.2.0", Provider::Nobody),
            (v0_2_0::STORE, Provider::Gateway),
        ] {
            assert_eq!(provider(import), expected, "{import}");
        }
    }

    #[test]
    fn every_world_is_named_with_its_version() {
        let spoken = spoken();
        assert_eq!(spoken[0], "hybrid:routing/strategy@0.1.0");
        assert!(spoken.contains(&"hybrid:routing/request-strategy@0.2.0".to_owned()));
    }
}
