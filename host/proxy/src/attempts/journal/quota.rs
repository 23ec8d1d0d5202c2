//! What an attempt uses of the quotas of its deployment.

use answers::Usage;
use contract::Ending;
use fleet::{Deployment, QuotaHold, QuotaUse};

use super::{End, Journal};

impl Journal {
    /// Settles what an attempt took from quotas. `answered`: the client got its answer, or a part of
    /// it. `sent`: its request was written.
    pub(super) fn settle_quota(
        &self,
        deployment: &Deployment,
        hold: &QuotaHold,
        end: &End,
        answered: bool,
        sent: bool,
    ) {
        let usage = self.usage_of(end, answered, sent);
        deployment.settle_quota(hold, used(end, answered, sent, usage), fleet::now());
    }
}

/// What an attempt uses of quotas. Deployments count errors as requests too, but no tokens of them.
fn used(end: &End, answered: bool, sent: bool, usage: Option<Usage>) -> QuotaUse {
    let is_error = |status: u16| !(200..300).contains(&status);
    let tokens = |usage: Usage| usage.prompt_tokens.saturating_add(usage.completion_tokens);
    match (end.ending, usage) {
        _ if !sent => QuotaUse::Unsent,
        (Ending::Ok, Some(usage)) if !usage.is_estimated => QuotaUse::Tokens(tokens(usage)),
        (Ending::ClientError | Ending::Refused, _) => QuotaUse::Tokens(0),
        _ if !answered && end.status.is_some_and(is_error) => QuotaUse::Tokens(0),
        (_, usage) => QuotaUse::AtLeast(usage.map_or(0, tokens)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_count_what_is_known_no_tokens_of_errors_and_else_all_that_was_reserved() {
        let end = |ending, status| {
            let is_cut = false;
            End { outcome: "x".into(), ending, status, waste: None, is_cut }
        };
        let told = |is_estimated| {
            let (prompt_tokens, completion_tokens) = (3, 4);
            Some(Usage { prompt_tokens, completion_tokens, is_estimated, ..Usage::default() })
        };
        for (ending, status, answered, sent, usage, expected) in [
            (Ending::Ok, None, true, true, told(false), QuotaUse::Tokens(7)),
            (Ending::Ok, None, true, true, told(true), QuotaUse::AtLeast(7)),
            (Ending::Cancelled, None, true, true, told(false), QuotaUse::AtLeast(7)),
            (Ending::Hedged, None, false, true, None, QuotaUse::AtLeast(0)),
            (Ending::Failed, None, false, false, None, QuotaUse::Unsent),
            (Ending::Failed, Some(500), false, true, None, QuotaUse::Tokens(0)),
            (Ending::Refused, Some(429), false, true, None, QuotaUse::Tokens(0)),
            (Ending::ClientError, Some(400), true, true, None, QuotaUse::Tokens(0)),
        ] {
            let settled = used(&end(ending, status), answered, sent, usage);
            assert_eq!(settled, expected, "{ending:?} {status:?} {answered} {sent} {usage:?}");
        }
    }
}
