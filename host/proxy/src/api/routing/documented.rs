//! The page of signals, made from their facts.

use contract::{Signal, SignalScope};

use crate::telemetry::documented::{hold, table};

const PAGE: &str = "strategies/signals.md";

#[test]
fn every_signal_is_documented() {
    let code = |signal: Signal| format!("`{}`", signal.name());
    let of = |signal: Signal| match signal.facts().scope {
        _ if signal.is_of_budget() => "budget",
        SignalScope::Deployment => "deployment",
        SignalScope::Global => "model",
    };
    let meanings = Signal::ALL.map(|signal| {
        let facts = signal.facts();
        [code(signal), of(signal).to_owned(), facts.unit.to_owned(), facts.meaning.to_owned()]
    });
    let head = ["Signal", "Of a", "Unit", "Meaning"];
    hold(PAGE, "signals", &table(head, meanings.into_iter()));
    let sources = Signal::ALL.map(|signal| {
        let facts = signal.facts();
        [code(signal), facts.source.to_owned(), facts.age.to_owned()]
    });
    hold(PAGE, "sources", &table(["Signal", "Source", "How old"], sources.into_iter()));
}
