//! The answer to a client when no attempt succeeded.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use answers::refusal::Words;
use fleet::{Forbidden, QuotaSpent};
use ledger::Refused;

use super::cause::{Cause, Phase, Speaker};
use super::failure::Failure;

/// The `Retry-After` if the gateway or its deployments are full. It is short, because a place
/// becomes free whenever a request ends.
const OVERLOAD: Duration = Duration::from_secs(1);
/// The OpenAI SDKs repeat a request only if they may within this time.
const SOON: Duration = Duration::from_secs(120);

/// No attempt succeeded, or none could be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exhausted {
    /// One per failed attempt, with the deployment's name. A total time-out outside of attempts has
    /// the model's name. Empty if nothing could be tried.
    pub failures: Vec<(String, Failure)>,
    /// The shortest time until an ejected or cooling deployment may be used again.
    pub wait: Option<Duration>,
    /// Deployments were left, but the retry budget allowed no further attempt.
    pub over_budget: bool,
    /// A deployment had no place for the request.
    pub busy: bool,
    /// Why deployments were forbidden to the request. None: none was.
    pub forbidden: Option<Forbidden>,
    /// The budget that had too little left for the request. None: none had.
    pub short: Option<Refused>,
    /// The quota that fits the request soonest. None: a quota forbids none of the deployments.
    pub quota: Option<Box<QuotaSpent>>,
}

impl Exhausted {
    /// Nothing was tried, because a budget has too little left.
    #[must_use]
    pub fn short(short: Refused) -> Self {
        let (failures, wait, over_budget, busy) = Default::default();
        let forbidden = Some(Forbidden::Budget);
        Self { failures, wait, over_budget, busy, forbidden, short: Some(short), quota: None }
    }

    /// The failure that decides the client's answer, the most useful one. In this order: the
    /// shortest wait, a fault of the request, an engine's words, the last failure.
    fn telling(&self) -> Option<&Failure> {
        let failures = || self.failures.iter().rev().map(|(_, failure)| failure);
        let waits = |failure: &&Failure| {
            let facts = failure.cause.facts();
            facts.status == StatusCode::TOO_MANY_REQUESTS && facts.again
        };
        let wait = |failure: &&Failure| failure.retry_after.unwrap_or(Duration::MAX);
        let faulty =
            |failure: &&Failure| matches!(failure.cause, Cause::Rejected(_) | Cause::Unfit(..));
        let said = |failure: &&Failure| {
            failure.cause.facts().speaker != Speaker::Gateway && failure.message().is_some()
        };
        let client = |failure: &&Failure| failure.cause.facts().status.is_client_error();
        failures()
            .filter(waits)
            .min_by_key(wait)
            .or_else(|| failures().find(faulty))
            .or_else(|| failures().find(said))
            .or_else(|| failures().find(client))
            .or_else(|| failures().next())
    }

    /// The engine's words that the client is told, if any.
    #[must_use]
    pub fn words(&self) -> Option<&Words> {
        let telling = self.telling()?;
        let speaker = telling.cause.facts().speaker;
        telling.said.as_deref().filter(|_| speaker != Speaker::Gateway)
    }

    /// The engine's answer, if the client gets it as it is.
    #[must_use]
    pub fn body(&self) -> Option<&Bytes> {
        let telling = self.telling()?;
        telling.body.as_ref().filter(|_| telling.cause.facts().speaker == Speaker::Engine)
    }

    /// True if the request is at fault: no deployment is charged, and another try is pointless.
    #[must_use]
    pub fn is_rejected(&self) -> bool {
        self.telling().is_some_and(|f| matches!(f.cause, Cause::Rejected(_) | Cause::Unfit(..)))
    }

    /// True if no deployment was tried, and some are forbidden to the request.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        self.telling().is_none() && self.forbidden.is_some()
    }

    /// The budget that had too little left, if no deployment was tried for another reason.
    #[must_use]
    pub fn short_of(&self) -> Option<&Refused> {
        self.short.as_ref().filter(|_| self.telling().is_none() && !self.busy)
    }

    /// The quota that is used up, if no deployment was tried for another reason. A budget that frees
    /// the request sooner goes before it.
    #[must_use]
    pub fn quota(&self) -> Option<&QuotaSpent> {
        let wait = |quota: &QuotaSpent| quota.wait.unwrap_or(Duration::MAX);
        let sooner = |quota: &&QuotaSpent| {
            self.short_of().is_none_or(|refused| wait(quota) < refused.retry_after)
        };
        let quota = self.quota.as_deref().filter(|_| self.telling().is_none() && !self.busy);
        quota.filter(sooner)
    }

    /// True if the deployments lack the model.
    #[must_use]
    pub fn lacks_model(&self) -> bool {
        self.telling().is_some_and(|failure| matches!(failure.cause, Cause::NoModel(_)))
    }

    /// The resource that ran short, as metrics name it, if nothing else is wrong.
    #[must_use]
    pub fn shed(&self) -> Option<&'static str> {
        match self.telling() {
            None if self.quota().is_some() => Some("quota"),
            None if self.short_of().is_some() => Some("budget"),
            None => self.busy.then_some("concurrency"),
            Some(failure) => (failure.cause == Cause::NoDescriptors).then_some("descriptors"),
        }
    }

    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        let is_spent = || self.short_of().is_some_and(|refused| !refused.by_store);
        if self.quota().is_some() || is_spent() {
            return StatusCode::TOO_MANY_REQUESTS;
        }
        let told = self.telling().map(|failure| failure.cause.facts().status);
        told.unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
    }

    /// The `Retry-After` of the answer, if waiting helps: the shortest that is known, or a second if
    /// deployments are full.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        if let Some(quota) = self.quota() {
            return quota.wait;
        }
        if let Some(refused) = self.short_of() {
            return Some(refused.retry_after);
        }
        let asks = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
        let refusals = || self.failures.iter().filter(|(_, failure)| failure.is_refusal());
        let told = refusals().filter_map(|(_, failure)| failure.retry_after).min();
        let told = [told, self.wait].into_iter().flatten().min();
        let is_full = self.shed().is_some() || (told.is_none() && refusals().next().is_some());
        let wait = if is_full { Some(OVERLOAD) } else { told };
        wait.filter(|_| asks.contains(&self.status()))
    }

    /// True if the client may succeed by sending the request again at once.
    #[must_use]
    pub fn retry_may_help(&self) -> bool {
        // An exhausted retry budget means overload, which immediate repeats make worse. An
        // ambiguous request may have been answered, and must not be answered twice.
        let may_help = |failure: &Failure| failure.cause.facts().again && !failure.ambiguous;
        let soon = match (self.quota(), self.short_of()) {
            (Some(quota), _) => quota.wait.is_some_and(|wait| wait <= SOON),
            (None, Some(refused)) => refused.retry_after <= SOON,
            (None, None) => true,
        };
        !self.over_budget && soon && self.telling().is_none_or(may_help)
    }

    /// The time limit that passed, if the deciding failure is a time-out.
    #[must_use]
    pub fn phase(&self) -> Option<Phase> {
        match self.telling()?.cause {
            Cause::TimedOut(phase) => Some(phase),
            _ => None,
        }
    }
}

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(QuotaSpent { quota, wait }) = self.quota() {
            return match wait {
                Some(_) => write!(f, "the quota of {quota} has too little left for the request"),
                None => write!(f, "the request may take more than the quota of {quota} has"),
            };
        }
        if let Some(Refused { budget, by_store, .. }) = self.short_of() {
            return match by_store {
                true => write!(f, "the budget {budget} cannot be counted now; its file failed"),
                false => write!(f, "the budget {budget} has too little left for the request"),
            };
        }
        let Some(telling) = self.telling() else {
            f.write_str(match self.busy {
                true => "all deployments of the model are busy; send the request again",
                false => "no deployment of the model can be tried now",
            })?;
            return self.forbidden.map_or(Ok(()), |why| f.write_str(reason(why)));
        };
        let speaker = telling.cause.facts().speaker;
        let said = telling.message().filter(|_| speaker != Speaker::Gateway);
        if let (Speaker::Engine, Some(said)) = (speaker, said) {
            return f.write_str(said);
        }
        f.write_str("no deployment of the model answered: ")?;
        // A full deployment is tried again and again.
        let alike = |(name, failure): &(String, Failure), (other, next): &(String, Failure)| {
            name == other && failure.cause == next.cause
        };
        for (i, failures) in self.failures.chunk_by(alike).enumerate() {
            let Some((name, failure)) = failures.first() else { continue };
            let comma = if i > 0 { ", " } else { "" };
            write!(f, "{comma}{name}: {}", failure.cause)?;
            if failures.len() > 1 {
                write!(f, " ({} times)", failures.len())?;
            }
        }
        if let Some(said) = said {
            write!(f, "; the last said: {said}")?;
        }
        self.forbidden.map_or(Ok(()), |why| f.write_str(reason(why)))
    }
}

/// The end of a message that says what was forbidden.
const fn reason(why: Forbidden) -> &'static str {
    match why {
        Forbidden::Side => "; the others are on a side that is forbidden to this request",
        Forbidden::Context => "; the prompt does not fit the others",
        Forbidden::Feature => "; the others lack a feature that the request needs",
        Forbidden::Budget => "; the budgets of the others have too little left",
        Forbidden::Quota => "; the quotas of the others have too little left",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exhausted(causes: &[Cause]) -> Exhausted {
        let failures = causes.iter().map(|cause| ("d".to_owned(), (*cause).into()));
        Exhausted {
            failures: failures.collect(),
            wait: None,
            over_budget: false,
            busy: false,
            forbidden: None,
            short: None,
            quota: None,
        }
    }

    fn words(message: &str) -> Option<Box<Words>> {
        Some(Box::new(Words { message: message.into(), ..Words::default() }))
    }

    fn status(code: u16) -> Cause {
        Cause::Status(StatusCode::from_u16(code).expect("a status"))
    }

    const WAIT: Option<Duration> = Some(Duration::from_secs(9));

    #[test]
    fn the_most_useful_error_is_told() {
        let late = Cause::TimedOut(Phase::FirstByte);
        for (causes, want) in [
            (&[status(429), Cause::Connect][..], 429),
            (&[Cause::Connect, late], 504),
            (&[Cause::TimedOut(Phase::Connect), Cause::Connect], 502),
            (&[status(500)], 502),
            (&[status(503)], 503),
            (&[Cause::Credential(StatusCode::UNAUTHORIZED)], 502),
            (&[], 503),
        ] {
            assert_eq!(exhausted(causes).status(), want, "{causes:?}");
        }
        assert_eq!(exhausted(&[Cause::Connect, late]).phase(), Some(Phase::FirstByte));
        assert_eq!(exhausted(&[late, Cause::Connect]).phase(), None);
        assert_eq!(exhausted(&[]).phase(), None);
    }

    #[test]
    fn the_shortest_wait_goes_before_words_and_these_before_ours() {
        let mut failed = exhausted(&[status(429), status(500), status(429), Cause::Connect]);
        failed.failures[0].1.retry_after = Some(Duration::from_secs(3));
        failed.failures[0].1.said = words("three");
        failed.failures[2].1.retry_after = Some(Duration::from_secs(9));
        failed.failures[2].1.said = words("nine");
        assert_eq!(failed.words().map(|words| &*words.message), Some("three"));
        let mut failed = exhausted(&[status(500), Cause::Connect, status(502), Cause::Connect]);
        failed.failures[0].1.said = words("out of memory");
        assert_eq!(failed.words().map(|words| &*words.message), Some("out of memory"));
        let quota = Cause::Refused(StatusCode::TOO_MANY_REQUESTS);
        let mut failed = exhausted(&[quota, Cause::Connect]);
        failed.failures[0].1.said = words("no credit");
        assert_eq!((failed.status().as_u16(), failed.to_string()), (429, "no credit".into()));
        assert!(!failed.retry_may_help());
        let lacking = exhausted(&[Cause::NoModel(StatusCode::BAD_REQUEST), Cause::Connect]);
        assert!(lacking.lacks_model() && lacking.status() == StatusCode::NOT_FOUND);
    }

    #[test]
    fn what_is_forbidden_is_said() {
        let kept = Exhausted { forbidden: Some(Forbidden::Side), ..exhausted(&[]) };
        assert!(kept.to_string().ends_with("a side that is forbidden to this request"));
        assert_eq!(kept.status(), StatusCode::SERVICE_UNAVAILABLE);
        let failed = Exhausted { forbidden: Some(Forbidden::Side), ..exhausted(&[Cause::Connect]) };
        assert!(failed.to_string().contains("could not connect; the others are on a side"));
    }

    #[test]
    fn a_quota_says_when_it_is_back() {
        let quota = |seconds: Option<u64>| {
            let wait = seconds.map(Duration::from_secs);
            Some(Box::new(QuotaSpent { quota: "5 requests per minute".into(), wait }))
        };
        let spent = Exhausted { quota: quota(Some(9)), ..exhausted(&[]) };
        assert_eq!((spent.status().as_u16(), spent.retry_after()), (429, WAIT));
        assert_eq!((spent.shed(), spent.retry_may_help()), (Some("quota"), true));
        assert!(spent.to_string().contains("5 requests per minute"), "{spent}");
        let long = Exhausted { quota: quota(Some(121)), ..exhausted(&[]) };
        assert!(!long.retry_may_help(), "SDKs would only wait for a part of it");
        let never = Exhausted { quota: quota(None), ..exhausted(&[]) };
        assert_eq!((never.status().as_u16(), never.retry_after()), (429, None));
        assert!(!never.retry_may_help());
        // A place becomes free sooner, and what an attempt says is more.
        assert_eq!(Exhausted { busy: true, ..spent.clone() }.status().as_u16(), 503);
        let failed = Exhausted { quota: quota(Some(9)), ..exhausted(&[Cause::Connect]) };
        assert_eq!(failed.status().as_u16(), 502);
        let refused = |seconds| Refused {
            budget: "b".into(),
            retry_after: Duration::from_secs(seconds),
            by_store: false,
            then: config::OnceSpent::Next,
        };
        for (seconds, shed) in [(5, "budget"), (15, "quota")] {
            let both = Exhausted { short: Some(refused(seconds)), ..spent.clone() };
            assert_eq!(both.shed(), Some(shed));
            let wait = Duration::from_secs(seconds.min(9));
            assert_eq!(both.retry_after(), Some(wait), "the shorter wait");
        }
    }

    #[test]
    fn what_ran_short_is_named() {
        let busy = Exhausted { busy: true, ..exhausted(&[]) };
        assert_eq!(busy.shed(), Some("concurrency"));
        assert_eq!(exhausted(&[]).shed(), None);
        assert_eq!(exhausted(&[Cause::NoDescriptors]).shed(), Some("descriptors"));
        let failed = Exhausted { busy: true, ..exhausted(&[Cause::Connect]) };
        assert_eq!(failed.shed(), None);
    }

    #[test]
    fn a_wait_is_asked_for_where_it_helps() {
        let waits = |causes: &[Cause]| Exhausted { wait: WAIT, ..exhausted(causes) }.retry_after();
        assert_eq!(waits(&[status(429)]), WAIT);
        assert_eq!(waits(&[]), WAIT);
        assert_eq!(waits(&[Cause::Connect]), None, "waiting does not help after a 502");
        assert_eq!(waits(&[Cause::NoDescriptors]), Some(OVERLOAD));
        let busy = Exhausted { wait: WAIT, busy: true, ..exhausted(&[]) };
        assert_eq!(busy.retry_after(), Some(OVERLOAD));
    }

    #[test]
    fn clients_are_told_when_sending_again_is_pointless() {
        assert!(exhausted(&[Cause::Connect]).retry_may_help() && exhausted(&[]).retry_may_help());
        assert!(!exhausted(&[Cause::TimedOut(Phase::Total)]).retry_may_help());
        let over = Exhausted { over_budget: true, ..exhausted(&[Cause::Connect]) };
        assert!(!over.retry_may_help());
        let mut ambiguous = exhausted(&[Cause::Broken]);
        ambiguous.failures[0].1.ambiguous = true;
        assert!(!ambiguous.retry_may_help());
    }

    #[test]
    fn the_message_names_every_attempt_or_quotes_the_engine() {
        let mut failed = exhausted(&[Cause::Connect, status(500)]);
        let text = "no deployment of the model answered: d: could not connect, d: answered 500";
        assert_eq!(failed.to_string(), text);
        let again = exhausted(&[status(503), status(503), Cause::Connect, status(503)]);
        let each = "d: answered 503 (2 times), d: could not connect, d: answered 503";
        assert!(again.to_string().ends_with(each), "{again}");
        failed.failures[1].1.said = words("out of memory");
        assert_eq!(failed.to_string(), format!("{text}; the last said: out of memory"));
        let mut refused = exhausted(&[Cause::Rejected(StatusCode::BAD_REQUEST)]);
        assert!(refused.to_string().ends_with("d: the request is wrong"));
        refused.failures[0].1.said = words("too long");
        assert_eq!(refused.to_string(), "too long");
        let mut barred = exhausted(&[Cause::Credential(StatusCode::UNAUTHORIZED)]);
        barred.failures[0].1.said = words("the key sk-1 is wrong");
        assert!(!barred.to_string().contains("sk-1") && barred.words().is_none());
        let none = exhausted(&[]);
        assert_eq!(none.to_string(), "no deployment of the model can be tried now");
        let busy = Exhausted { busy: true, ..none };
        assert!(busy.to_string().starts_with("all deployments of the model are busy"));
    }
}
