//! How the budgets stand, with the numbers that strategies read.

use contract::Signal;
use fleet::Snapshot;
use ledger::{Books, Payer};
use serde_json::{Map, Value, json};

/// The budgets that are no tenant's own, by their names. None: there are no budgets.
pub(super) fn show(snapshot: &Snapshot) -> Option<Value> {
    let generation = &snapshot.generation;
    let books = generation.books.as_deref()?;
    let names = generation.config.budgets.iter().filter(|budget| budget.each.is_none());
    let shown: Map<String, Value> =
        names.map(|budget| (budget.name.clone(), numbers(books, &budget.name))).collect();
    Some(shown.into())
}

fn numbers(books: &Books, budget: &str) -> Value {
    let value = |signal| books.signal(signal, budget, Payer::Anybody);
    json!({
        "elapsed": value(Signal::BudgetElapsed),
        "left": value(Signal::BudgetLeft),
        "pace": value(Signal::BudgetPace),
    })
}
