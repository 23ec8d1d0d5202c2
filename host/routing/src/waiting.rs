//! Models that wait to be decided: those that changed first, then those whose strategy is due.

use std::collections::VecDeque;

/// Why a model waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Its strategy is due.
    Due,
    /// A deployment of it changed.
    Changed,
}

/// Positions of models. Each waits in the queue of its most urgent reason. An old entry in the
/// other queue is skipped.
#[derive(Debug)]
pub(super) struct Waiting {
    why: Vec<Option<Why>>,
    changed: VecDeque<usize>,
    due: VecDeque<usize>,
}

impl Waiting {
    /// Starts with this many models, none of them waiting.
    pub(super) fn new(models: usize) -> Self {
        Self { why: vec![None; models], changed: VecDeque::new(), due: VecDeque::new() }
    }

    /// Adds a model, unless it waits already. A due model that changes moves to the queue of
    /// changed ones.
    pub(super) fn add(&mut self, model: usize, why: Why) {
        let queue = match (self.why[model], why) {
            (None, Why::Due) => &mut self.due,
            (None | Some(Why::Due), Why::Changed) => &mut self.changed,
            (Some(_), _) => return,
        };
        queue.push_back(model);
        self.why[model] = Some(why);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.due.is_empty()
    }

    /// Takes the next model, changed ones first.
    pub(super) fn pop(&mut self) -> Option<usize> {
        let mut next = self.changed.pop_front();
        while next.is_none() {
            let due = self.due.pop_front()?;
            next = (self.why[due] == Some(Why::Due)).then_some(due);
        }
        let next = next?;
        self.why[next] = None;
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_models_go_first_and_each_comes_once() {
        let mut waiting = Waiting::new(5);
        for (model, why) in [
            (3, Why::Due),
            (1, Why::Due),
            (2, Why::Changed),
            (1, Why::Changed),
            (2, Why::Due),
            (4, Why::Due),
            (3, Why::Due),
        ] {
            waiting.add(model, why);
        }
        let order: Vec<usize> = std::iter::from_fn(|| waiting.pop()).collect();
        assert_eq!(order, [2, 1, 3, 4]);
        assert!(waiting.is_empty());
        waiting.add(1, Why::Due);
        assert_eq!((waiting.pop(), waiting.pop()), (Some(1), None));
    }
}
