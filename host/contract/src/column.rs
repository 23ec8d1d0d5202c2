//! The columns of numbers that a strategy reads: a signal each, and of which budget.

use std::borrow::Cow;
use std::sync::Arc;

use crate::{Signal, SignalScope};

/// The part of a documented name that stands for the name of a budget.
const NAME: &str = "NAME";
/// Maximum bytes of the name of a budget, as in the configuration.
const LONGEST: usize = 64;

/// A signal that a strategy reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// The signal.
    pub signal: Signal,
    /// The budget that a signal of budgets is about. None for all others.
    pub budget: Option<Arc<str>>,
}

/// The budgets whose signals a strategy may ask for.
#[derive(Debug, Clone, Default)]
pub enum KnownBudgets {
    /// Those of a configuration, by their names.
    Named(Arc<[Arc<str>]>),
    /// Any: a strategy is looked at without a configuration.
    #[default]
    Any,
}

impl Column {
    /// The column of this name: that of a signal, or `budget.company.left` for the budget
    /// `company`. None if there is no such signal, or no such budget.
    #[must_use]
    pub fn by_name(name: &str, budgets: &KnownBudgets) -> Option<Self> {
        if let Some(signal) = Signal::by_name(name) {
            return Some(signal.into());
        }
        let (signal, budget) = Self::parts(name)?;
        let budget = budgets.find(budget)?;
        Some(Self { signal, budget: Some(budget) })
    }

    /// The budget that a signal of this name would be about, known or not. None: the name is not that
    /// of a signal of budgets.
    #[must_use]
    pub fn budget_in(name: &str) -> Option<&str> {
        Self::parts(name).map(|(_, budget)| budget)
    }

    /// Its name, as strategies ask for it.
    #[must_use]
    pub fn name(&self) -> Cow<'static, str> {
        let name = self.signal.name();
        match &self.budget {
            Some(budget) => name.replacen(NAME, budget, 1).into(),
            None => name.into(),
        }
    }

    /// Whether it has one value after the rows instead of one a row.
    #[must_use]
    pub const fn is_global(&self) -> bool {
        matches!(self.signal.facts().scope, SignalScope::Global)
    }

    /// A signal of budgets, and the name of the budget. The name may have dots, so only what stands
    /// around it tells it.
    fn parts(name: &str) -> Option<(Signal, &str)> {
        Signal::ALL.into_iter().filter(|signal| signal.is_of_budget()).find_map(|signal| {
            let (before, after) = signal.name().split_once(NAME)?;
            let budget = name.strip_prefix(before)?.strip_suffix(after)?;
            Some((signal, budget))
        })
    }
}

impl From<Signal> for Column {
    fn from(signal: Signal) -> Self {
        Self { signal, budget: None }
    }
}

impl KnownBudgets {
    /// The budgets of these names.
    #[must_use]
    pub fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self::Named(names.into_iter().map(Arc::from).collect())
    }

    /// Their names. Empty if any is known.
    #[must_use]
    pub fn names(&self) -> &[Arc<str>] {
        match self {
            Self::Named(names) => names,
            Self::Any => &[],
        }
    }

    fn find(&self, name: &str) -> Option<Arc<str>> {
        let in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        match self {
            Self::Named(names) => names.iter().find(|known| ***known == *name).cloned(),
            Self::Any => {
                let is_name = (1..=LONGEST).contains(&name.len()) && name.bytes().all(in_name);
                is_name.then(|| name.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_budgets_may_have_dots_and_look_like_signals() {
        let names = ["company", "a.left", "left", "NAME", "x.budget.y.pace"];
        for budgets in [KnownBudgets::named(names), KnownBudgets::Any] {
            for budget in names {
                for (what, signal) in [
                    ("left", Signal::BudgetLeft),
                    ("elapsed", Signal::BudgetElapsed),
                    ("pace", Signal::BudgetPace),
                ] {
                    let name = format!("budget.{budget}.{what}");
                    let column = Column::by_name(&name, &budgets).expect(&name);
                    assert_eq!((column.signal, column.budget.as_deref()), (signal, Some(budget)));
                    assert_eq!(column.name(), name);
                    assert!(column.is_global());
                    assert_eq!(Column::budget_in(&name), Some(budget));
                }
            }
        }
    }

    #[test]
    fn only_budgets_of_the_configuration_are_known() {
        let known = KnownBudgets::named(["company"]);
        for name in [
            "budget.Company.left",
            "budget.company.spent",
            "budget.company",
            "budget..left",
            "budget.left",
            "budget.NAME.left",
            "engine.nothing",
        ] {
            assert_eq!(Column::by_name(name, &known), None, "{name}");
        }
        for name in ["budget..left", "budget.two words.left", "budget.left"] {
            assert_eq!(Column::by_name(name, &KnownBudgets::Any), None, "{name}");
        }
        let long = format!("budget.{}.left", "x".repeat(65));
        assert_eq!(Column::by_name(&long, &KnownBudgets::Any), None);
    }

    #[test]
    fn other_signals_are_columns_by_their_names() {
        for signal in Signal::ALL.into_iter().filter(|signal| !signal.is_of_budget()) {
            let column = Column::by_name(signal.name(), &KnownBudgets::Any).expect("a column");
            assert_eq!(column, signal.into());
            assert_eq!(column.name(), signal.name());
        }
    }
}
