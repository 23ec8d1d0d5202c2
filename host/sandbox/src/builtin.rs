//! The strategies embedded in the gateway, so that it runs without a plugin folder.

use super::Source;

/// Name in `routing_strategy`, and component. The first is the default.
const BUILT_IN: &[(&str, &[u8])] = &[
    ("fixed", include_bytes!("../../../plugins/fixed/fixed.wasm")),
    ("budget", include_bytes!("../../../plugins/budget/budget.wasm")),
    ("cost", include_bytes!("../../../plugins/cost/cost.wasm")),
    ("latency", include_bytes!("../../../plugins/latency/latency.wasm")),
    ("least-load", include_bytes!("../../../plugins/least-load/least-load.wasm")),
    ("lmetric", include_bytes!("../../../plugins/lmetric/lmetric.wasm")),
    ("local-first", include_bytes!("../../../plugins/local-first/local-first.wasm")),
    ("prefix-affinity", include_bytes!("../../../plugins/prefix-affinity/prefix-affinity.wasm")),
    ("prompt-length", include_bytes!("../../../plugins/prompt-length/prompt-length.wasm")),
    ("round-robin", include_bytes!("../../../plugins/round-robin/round-robin.wasm")),
    ("routewise", include_bytes!("../../../plugins/routewise/routewise.wasm")),
    ("score", include_bytes!("../../../plugins/score/score.wasm")),
    ("session-affinity", include_bytes!("../../../plugins/session-affinity/session-affinity.wasm")),
    ("spill", include_bytes!("../../../plugins/spill/spill.wasm")),
    ("weighted-order", include_bytes!("../../../plugins/weighted-order/weighted-order.wasm")),
];

pub(super) fn find(name: &str) -> Option<Source> {
    let (name, bytes) = BUILT_IN.iter().copied().find(|(known, _)| *known == name)?;
    Some(Source::BuiltIn { name, bytes })
}

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|(name, _)| *name)
}
