//! The strategies that are part of the gateway, so that it runs with no plugin folder.

use super::Source;

/// Name in `routing_strategy`, and component; the first is the default.
const BUILT_IN: &[(&str, &[u8])] = &[
    ("fixed", include_bytes!("../../../../plugins/fixed/fixed.wasm")),
    ("local-first", include_bytes!("../../../../plugins/local-first/local-first.wasm")),
];

/// The built-in strategy of that name.
pub(super) fn find(name: &str) -> Option<Source> {
    let (name, bytes) = BUILT_IN.iter().copied().find(|(known, _)| *known == name)?;
    Some(Source::BuiltIn { name, bytes })
}

/// The names of all built-in strategies.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|(name, _)| *name)
}
