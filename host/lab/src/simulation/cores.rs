//! A strategy on a gateway with several cores.

use std::sync::Arc;
use std::time::Duration;

use contract::{
    Description, EndedAttempt, Fault, PathStrategy, Question, RawVerdict, RawWeights, Situation,
    Strategy,
};

/// Instances of one strategy that are asked about requests in turn, as on a gateway with so many
/// cores. The first one also answers off the path and learns. Instances share only their `store`.
pub struct Cores {
    first: Box<dyn Strategy>,
    others: Vec<Box<dyn Strategy>>,
    /// The instance whose turn it is. 0: the first one.
    turn: usize,
}

impl Cores {
    /// The instances. All must be configured alike, and share their `store`.
    #[must_use]
    pub fn new(first: Box<dyn Strategy>, others: Vec<Box<dyn Strategy>>) -> Self {
        Self { first, others, turn: 0 }
    }
}

impl Strategy for Cores {
    fn description(&self) -> &Description {
        self.first.description()
    }

    fn assign(&mut self, situation: Situation<'_>) -> Result<RawWeights, Fault> {
        self.first.assign(situation)
    }

    fn on_path(&self) -> Option<Arc<dyn PathStrategy>> {
        self.first.on_path()
    }

    fn assign_request(&mut self, question: Question<'_>) -> Result<RawVerdict, Fault> {
        let turn = self.turn;
        self.turn = (turn + 1) % (self.others.len() + 1);
        match turn.checked_sub(1) {
            None => self.first.assign_request(question),
            Some(other) => self.others[other].assign_request(question),
        }
    }

    fn learns(&self) -> bool {
        self.first.learns()
    }

    fn outcome(&mut self, attempts: &[EndedAttempt]) -> Result<(), Fault> {
        self.first.outcome(attempts)
    }

    fn take_cpu_time(&mut self) -> Duration {
        let others = self.others.iter_mut().map(|other| other.take_cpu_time());
        others.sum::<Duration>() + self.first.take_cpu_time()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use contract::{Candidate, Facts, Place, Side};

    use super::*;

    /// Gives its own number as a weight.
    struct Numbered(Description, f64);

    impl Strategy for Numbered {
        fn description(&self) -> &Description {
            &self.0
        }

        fn assign(&mut self, _: Situation<'_>) -> Result<RawWeights, Fault> {
            Ok(RawWeights { local: vec![self.1], remote: Vec::new() })
        }
    }

    #[test]
    fn instances_take_turns_about_requests_alone() {
        let numbered = |number| -> Box<dyn Strategy> {
            Box::new(Numbered(Description::named("numbered"), number))
        };
        let mut cores = Cores::new(numbered(0.0), vec![numbered(1.0), numbered(2.0)]);
        let place = Place::new("d", "m", Side::Local);
        let (local, facts) = ([Candidate::idle(0, &place)], &Facts::default());
        let situation = Situation { local: &local, ..Situation::default() };
        for expected in [0.0, 1.0, 2.0, 0.0] {
            assert_eq!(cores.assign(situation).unwrap().local, [0.0]);
            let question = Question { model: "m", stream: false, facts, situation, held: 0 };
            let said = cores.assign_request(question).unwrap();
            let weights = RawWeights { local: vec![expected], remote: Vec::new() };
            assert_eq!(said, RawVerdict::from(weights));
        }
    }
}
