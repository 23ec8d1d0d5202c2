//! The signals: numbers that a strategy may ask for by name. A new signal is a name, not a new
//! version of the contract. One table says what each of them is: [`Signal::facts`].

use std::fmt;

/// What a signal is about. It decides where its value stands in the answer of `signals.read`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalScope {
    /// One deployment: a column with one value a row.
    Deployment,
    /// The model, or all of the gateway: one value after the rows.
    Global,
}

/// What a signal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignalFacts {
    /// Its name, as `describe` asks for it: `engine.waiting`.
    pub name: &'static str,
    /// What it is about.
    pub scope: SignalScope,
    /// Its unit: `requests`, `ms`, `tokens`, `dollars`, `0 to 1`.
    pub unit: &'static str,
    /// Where its value comes from.
    pub source: &'static str,
    /// How old its value may be.
    pub age: &'static str,
    /// What it says, in one sentence.
    pub meaning: &'static str,
}

const fn of_deployment(
    name: &'static str,
    unit: &'static str,
    [source, age]: [&'static str; 2],
    meaning: &'static str,
) -> SignalFacts {
    SignalFacts { name, scope: SignalScope::Deployment, unit, source, age, meaning }
}

const fn of_budget(
    name: &'static str,
    unit: &'static str,
    [source, age]: [&'static str; 2],
    meaning: &'static str,
) -> SignalFacts {
    SignalFacts { name, scope: SignalScope::Global, unit, source, age, meaning }
}

const SCRAPED: [&str; 2] = ["the engine's `/metrics`, or its ORCA headers", "`engine.age`"];
const COUNTED: [&str; 2] = ["the host's counters", "none"];
const ANSWERS: [&str; 2] = ["the answers that the host has passed on", "the last answer"];
const MINUTE: [&str; 2] = ["first bytes of the last minute", "up to 6 s"];
const QUARTER: [&str; 2] = ["first bytes of the last 15 minutes", "up to 90 s"];
const LEDGER: [&str; 2] = ["the ledger", "none"];
const QUOTAS: [&str; 2] =
    ["the host's counters, or what the deployment's answers tell", "the last answer"];
const CONFIGURED: [&str; 2] = ["the configuration", "none"];

/// A number that a strategy may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "`facts` says what each is")]
#[repr(u8)]
pub enum Signal {
    EngineRunning,
    EngineWaiting,
    EngineKv,
    EnginePrefixHit,
    EngineAge,
    Limit,
    RefusedRate,
    Stalled,
    DurationMean,
    TokensPerSecond,
    FirstByteP50,
    FirstByteP90,
    FirstByteP99,
    FirstByteP50Long,
    FirstByteP90Long,
    FirstByteP99Long,
    PrefillBacklog,
    LineWait,
    PrefixTokens,
    PricePrompt,
    PriceCached,
    PriceCompletion,
    RequestCost,
    QuotaRequests,
    QuotaUsed,
    QuotaResets,
    ModelSequence,
    BudgetLeft,
    BudgetElapsed,
    BudgetPace,
}

impl Signal {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 30] = [
        Self::EngineRunning,
        Self::EngineWaiting,
        Self::EngineKv,
        Self::EnginePrefixHit,
        Self::EngineAge,
        Self::Limit,
        Self::RefusedRate,
        Self::Stalled,
        Self::DurationMean,
        Self::TokensPerSecond,
        Self::FirstByteP50,
        Self::FirstByteP90,
        Self::FirstByteP99,
        Self::FirstByteP50Long,
        Self::FirstByteP90Long,
        Self::FirstByteP99Long,
        Self::PrefillBacklog,
        Self::LineWait,
        Self::PrefixTokens,
        Self::PricePrompt,
        Self::PriceCached,
        Self::PriceCompletion,
        Self::RequestCost,
        Self::QuotaRequests,
        Self::QuotaUsed,
        Self::QuotaResets,
        Self::ModelSequence,
        Self::BudgetLeft,
        Self::BudgetElapsed,
        Self::BudgetPace,
    ];

    /// What it is. A value that is not known is NaN.
    #[must_use]
    pub const fn facts(self) -> SignalFacts {
        match self {
            Self::EngineRunning => of_deployment(
                "engine.running",
                "requests",
                SCRAPED,
                "Requests that the engine works on, whoever sent them, corrected by what the host \
                 has sent and received since.",
            ),
            Self::EngineWaiting => of_deployment(
                "engine.waiting",
                "requests",
                SCRAPED,
                "Requests in the engine's own queue.",
            ),
            Self::EngineKv => of_deployment(
                "engine.kv",
                "0 to 1",
                SCRAPED,
                "Used share of the engine's KV cache.",
            ),
            Self::EnginePrefixHit => of_deployment(
                "engine.prefix-hit",
                "0 to 1",
                SCRAPED,
                "Share of the prompt tokens that the engine found in its prefix cache.",
            ),
            Self::EngineAge => of_deployment(
                "engine.age",
                "ms",
                ["the host's clock", "none"],
                "Time since the engine's numbers were read.",
            ),
            Self::Limit => of_deployment(
                "limit",
                "requests",
                COUNTED,
                "Requests that the deployment takes at a time now, as learned from its refusals.",
            ),
            Self::RefusedRate => of_deployment(
                "refused-rate",
                "0 to 1",
                ANSWERS,
                "Share of the recent attempts that the deployment refused because it was full.",
            ),
            Self::Stalled => of_deployment(
                "stalled",
                "0 or 1",
                COUNTED,
                "1 while the deployment gives no first byte in time though it answers others.",
            ),
            Self::DurationMean => of_deployment(
                "duration.mean",
                "ms",
                ANSWERS,
                "Moving average of the time from sending a request to the end of its answer.",
            ),
            Self::TokensPerSecond => of_deployment(
                "tokens-per-second",
                "tokens/s",
                ANSWERS,
                "Moving average of the speed of one answer, from its first byte to its end.",
            ),
            Self::FirstByteP50 => {
                of_deployment("first-byte.p50", "ms", MINUTE, "Median time to the first byte.")
            }
            Self::FirstByteP90 => of_deployment(
                "first-byte.p90",
                "ms",
                MINUTE,
                "Time within which nine of ten first bytes came.",
            ),
            Self::FirstByteP99 => of_deployment(
                "first-byte.p99",
                "ms",
                MINUTE,
                "Time within which 99 of 100 first bytes came.",
            ),
            Self::FirstByteP50Long => {
                of_deployment("first-byte.p50-15m", "ms", QUARTER, "Median time to the first byte.")
            }
            Self::FirstByteP90Long => of_deployment(
                "first-byte.p90-15m",
                "ms",
                QUARTER,
                "Time within which nine of ten first bytes came.",
            ),
            Self::FirstByteP99Long => of_deployment(
                "first-byte.p99-15m",
                "ms",
                QUARTER,
                "Time within which 99 of 100 first bytes came.",
            ),
            Self::PrefillBacklog => of_deployment(
                "prefill.backlog",
                "tokens",
                COUNTED,
                "Estimated prompt tokens, without those cached there, of the requests sent to it \
                 that have no first byte yet.",
            ),
            Self::LineWait => of_deployment(
                "line.wait",
                "ms",
                COUNTED,
                "Expected wait for a place: 0 while one is free.",
            ),
            Self::PrefixTokens => of_deployment(
                "prefix.tokens",
                "tokens",
                ["the host's index of prompt prefixes", "the last answer"],
                "Tokens of this request's prompt that the deployment likely has in its cache.",
            ),
            Self::PricePrompt => {
                of_deployment("price.prompt", "dollars", CONFIGURED, "Price of a prompt token.")
            }
            Self::PriceCached => of_deployment(
                "price.cached",
                "dollars",
                CONFIGURED,
                "Price of a prompt token that comes from the provider's cache.",
            ),
            Self::PriceCompletion => of_deployment(
                "price.completion",
                "dollars",
                CONFIGURED,
                "Price of a token of the answer.",
            ),
            Self::RequestCost => of_deployment(
                "request.cost",
                "dollars",
                ["prices, the prompt's estimated tokens, the usual length of answers", "none"],
                "Estimated cost of this request at the deployment.",
            ),
            Self::QuotaRequests => of_deployment(
                "quota.requests",
                "requests",
                QUOTAS,
                "Requests that the deployment's allowance has left for now.",
            ),
            Self::QuotaUsed => of_deployment(
                "quota.used",
                "0 to 1",
                QUOTAS,
                "Used share of the tightest quota of the deployment, with what requests under way \
                 have reserved.",
            ),
            Self::QuotaResets => of_deployment(
                "quota.resets",
                "ms",
                QUOTAS,
                "Time until the window of the tightest quota turns.",
            ),
            Self::ModelSequence => SignalFacts {
                name: "model.sequence",
                scope: SignalScope::Global,
                unit: "requests",
                source: "a counter of the host that all cores share",
                age: "none",
                meaning: "Number of this request for its model: 0, 1, 2 and so on. Unknown in `assign`.",
            },
            Self::BudgetLeft => of_budget(
                "budget.NAME.left",
                "dollars",
                LEDGER,
                "What the budget NAME has left in its window: neither spent nor reserved.",
            ),
            Self::BudgetElapsed => of_budget(
                "budget.NAME.elapsed",
                "0 to 1",
                ["the host's clock", "none"],
                "Share of the budget's window that is over.",
            ),
            Self::BudgetPace => of_budget(
                "budget.NAME.pace",
                "1 = lasts",
                LEDGER,
                "Share of the budget that is spent, divided by the share of its window that is over.",
            ),
        }
    }

    /// The signal with this name. None for signals of budgets, which need the name of one:
    /// [`Column::by_name`](crate::Column::by_name).
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        let is_it = |signal: &Self| !signal.is_of_budget() && signal.facts().name == name;
        Self::ALL.into_iter().find(is_it)
    }

    /// Whether it is about a budget, whose name is a part of its own.
    #[must_use]
    pub const fn is_of_budget(self) -> bool {
        matches!(self, Self::BudgetLeft | Self::BudgetElapsed | Self::BudgetPace)
    }

    /// Its name, as `describe` asks for it. `NAME` stands for the name of a budget.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.facts().name
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Signals that somebody asked for, each once, in any order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SignalSet(u32);

impl SignalSet {
    /// Adds a signal.
    pub fn insert(&mut self, signal: Signal) {
        self.0 |= Self::bit(signal);
    }

    /// Whether the signal is among them.
    #[must_use]
    pub const fn contains(self, signal: Signal) -> bool {
        self.0 & Self::bit(signal) != 0
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The signals that either of two asked for.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn bit(signal: Signal) -> u32 {
        1 << signal as u32
    }
}

impl FromIterator<Signal> for SignalSet {
    fn from_iter<I: IntoIterator<Item = Signal>>(signals: I) -> Self {
        let mut set = Self::default();
        signals.into_iter().for_each(|signal| set.insert(signal));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_has_a_name_of_its_own() {
        for (at, signal) in Signal::ALL.into_iter().enumerate() {
            assert_eq!(signal as usize, at);
            let is_named = !signal.is_of_budget();
            assert_eq!(Signal::by_name(signal.name()), is_named.then_some(signal));
            let facts = signal.facts();
            assert!(facts.meaning.ends_with('.') && !facts.source.is_empty(), "{signal}");
        }
        assert_eq!(Signal::by_name("engine.nothing"), None);
    }

    #[test]
    fn a_set_holds_what_was_put_in() {
        let asked: SignalSet = [Signal::EngineKv, Signal::ModelSequence].into_iter().collect();
        for signal in Signal::ALL {
            let is_in = matches!(signal, Signal::EngineKv | Signal::ModelSequence);
            assert_eq!(asked.contains(signal), is_in, "{signal}");
        }
        assert!(SignalSet::default().is_empty() && !asked.is_empty());
        assert_eq!(SignalSet::default().or(asked), asked);
    }
}
