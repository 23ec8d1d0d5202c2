//! What a component may import and what it must export.

use wasmtime::component::Component;

use super::text::printable;
use super::{LoadError, v0_1_0};

/// The versions of the strategy interface that this gateway speaks.
pub(super) const SPOKEN: &[&str] = &[v0_1_0::POLICY];
/// What the gateway itself offers.
pub(super) const LOGGING: &str = v0_1_0::LOGGING;
/// The WASI 0.2 packages a component may import: what the standard libraries of most languages ask
/// for before they do anything. It gets them empty.
pub(super) const WASI: &[&str] =
    &["wasi:cli", "wasi:clocks", "wasi:filesystem", "wasi:io", "wasi:random"];

/// What a component asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Needs {
    pub(super) wasi: bool,
}

/// Checks every import against the allow-list, and that an export is spoken.
pub(super) fn check(what: &str, component: &Component) -> Result<Needs, LoadError> {
    let (engine, ty) = (component.engine(), component.component_type());
    let mut needs = Needs { wasi: false };
    for (import, _) in ty.imports(engine) {
        if is_wasi(import) {
            needs.wasi = true;
        } else if import != LOGGING {
            let import = printable(import, 200);
            return Err(LoadError::Import { what: what.to_owned(), import });
        }
    }
    if ty.exports(engine).any(|(export, _)| SPOKEN.contains(&export)) {
        return Ok(needs);
    }
    let seen = ty.exports(engine).map(|(export, _)| format!("`{}`", printable(export, 200)));
    Err(LoadError::Version { what: what.to_owned(), seen: seen.collect() })
}

/// `wasi:cli/environment@0.2.6`: an allowed package at any 0.2 release.
fn is_wasi(import: &str) -> bool {
    let Some((interface, version)) = import.split_once('@') else { return false };
    let Some((package, _)) = interface.split_once('/') else { return false };
    let patch = version.strip_prefix("0.2.").unwrap_or("");
    WASI.contains(&package) && !patch.is_empty() && patch.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::is_wasi;

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
}
