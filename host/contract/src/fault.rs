//! Why a strategy gave no answer that can be used.

use std::time::Duration;

use super::{BadVerdict, BadWeights};

/// Why a strategy's answer could not be used. The causes are counted separately because they need
/// different fixes: a trap is a bug, a time-out is high cost, a refusal is a bad answer, and busy
/// means slow.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Fault {
    /// The guest trapped (or exhausted memory or stack, or could not be instantiated).
    #[error("trapped: {0}")]
    Trap(String),
    /// The guest ran past its deadline.
    #[error("still running after {0:?}")]
    TimedOut(Duration),
    /// The guest gave an answer that cannot be used.
    #[error("refused: {0}")]
    Refused(#[from] BadVerdict),
    /// All instances were busy with other requests, or are still being created.
    #[error("no instance was free")]
    Busy,
    /// The strategy is out of use for a time, after faults or for its CPU time.
    #[error("out of use for a time")]
    Off,
    /// The call took more CPU time than was left of this, which the strategy has each second.
    #[error("beyond its share of CPU time, {0:?} a second (`sandbox.cpu_share`)")]
    Overspent(Duration),
}

impl Fault {
    /// The cause in one word, as metrics label it: `trap`, `timeout`, `refused`, `busy`, `off`, `cpu`.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        match self {
            Fault::Trap(_) => "trap",
            Fault::TimedOut(_) => "timeout",
            Fault::Refused(_) => "refused",
            Fault::Busy => "busy",
            Fault::Off => "off",
            Fault::Overspent(_) => "cpu",
        }
    }
}

impl From<BadWeights> for Fault {
    fn from(bad: BadWeights) -> Self {
        Fault::Refused(bad.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_its_own_label() {
        let faults = [
            (Fault::Trap("unreachable".into()), "trap"),
            (Fault::TimedOut(Duration::from_millis(10)), "timeout"),
            (Fault::from(BadWeights::Sum(0.0)), "refused"),
            (Fault::Busy, "busy"),
            (Fault::Off, "off"),
            (Fault::Overspent(Duration::from_millis(100)), "cpu"),
        ];
        for (fault, label) in faults {
            assert_eq!(fault.cause(), label, "{fault}");
        }
    }
}
