//! The signals of `gateway strategy inspect --signals`: those that the gateway knows, and which of
//! them a strategy asks for.

use std::io::{self, Write};

use serde::Serialize;

use contract::{Column, KnownBudgets, Signal, SignalFacts, SignalScope};
use lab::workbench::table;
use sandbox::AskedSignal;

/// A signal. The field names are the keys of `--json`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct ShownSignal {
    name: String,
    /// `required` or `optional`. None: the strategy does not ask for it.
    asked: Option<&'static str>,
    /// None: this gateway does not know the signal, so its values are NaN.
    #[serde(flatten)]
    facts: Option<Facts>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Facts {
    /// `deployment` or `global`.
    of: &'static str,
    unit: &'static str,
    source: &'static str,
    /// How old a value may be.
    age: &'static str,
    meaning: &'static str,
}

/// All known signals in the order of the documentation, then those that are asked for of a budget, and
/// those that are not known.
pub(super) fn signals(asked: &[AskedSignal]) -> Vec<ShownSignal> {
    let word = |asked: &AskedSignal| if asked.optional { "optional" } else { "required" };
    let known = Signal::ALL.into_iter().map(Signal::facts).map(|facts| ShownSignal {
        name: facts.name.to_owned(),
        asked: asked.iter().find(|asked| asked.name == facts.name).map(word),
        facts: Some(Facts::from(facts)),
    });
    let is_listed = |asked: &AskedSignal| Signal::by_name(&asked.name).is_some();
    let others = asked.iter().filter(|asked| !is_listed(asked)).map(|asked| ShownSignal {
        name: asked.name.clone(),
        asked: Some(word(asked)),
        facts: Column::by_name(&asked.name, &KnownBudgets::Any)
            .map(|column| column.signal.facts().into()),
    });
    let (of_budgets, unknown): (Vec<_>, Vec<_>) = others.partition(|shown| shown.facts.is_some());
    known.chain(of_budgets).chain(unknown).collect()
}

/// Writes a table.
pub(super) fn write(signals: &[ShownSignal], out: &mut impl Write) -> io::Result<()> {
    let heading = ["NAME", "ASKED", "OF", "UNIT", "AGE", "SOURCE"];
    let row = |signal: &ShownSignal| {
        let name = signal.name.clone();
        let (asked, facts) = (signal.asked.unwrap_or_default(), signal.facts.as_ref());
        let rest = match facts {
            Some(Facts { of, unit, source, age, .. }) => [asked, of, unit, age, source],
            None => [asked, "", "", "", "none: this gateway does not know it, all values are NaN"],
        };
        let [asked, of, unit, age, source] = rest.map(|cell| cell.replace('`', ""));
        [name, asked, of, unit, age, source]
    };
    let rows = std::iter::once(heading.map(str::to_owned)).chain(signals.iter().map(row));
    table::rows(rows).into_iter().try_for_each(|line| writeln!(out, "{line}"))
}

impl From<SignalFacts> for Facts {
    fn from(facts: SignalFacts) -> Self {
        let SignalFacts { name: _, scope, unit, source, age, meaning } = facts;
        let of = match scope {
            SignalScope::Deployment => "deployment",
            SignalScope::Global => "global",
        };
        Self { of, unit, source, age, meaning }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_known_signal_is_a_row_and_unknown_ones_come_last() {
        let asked = [("limit", false), ("engine.nothing", true), ("budget.company.left", true)];
        let asked = asked.map(|(name, optional)| AskedSignal { name: name.to_owned(), optional });
        let shown = signals(&asked);
        assert_eq!(shown.len(), Signal::ALL.len() + 2);
        let mut out = Vec::new();
        write(&shown, &mut out).expect("memory");
        let text = String::from_utf8(out).expect("text");
        let line = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(&format!("{name} ")));
            line.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(line("limit"), "limit required deployment requests none the host's counters");
        assert!(line("engine.kv").starts_with("engine.kv deployment 0 to 1 engine.age the"));
        assert_eq!(
            line("budget.company.left"),
            "budget.company.left optional global dollars none the ledger"
        );
        assert!(line("engine.nothing").starts_with("engine.nothing optional none: this gateway"));
        assert!(text.lines().all(|line| line.len() <= 160), "{text}");
    }
}
