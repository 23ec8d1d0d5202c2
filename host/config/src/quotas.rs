//! Quotas: requests or tokens that a deployment may have in a window of time, whatever they cost.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::document::steps;
use super::models::{Check, join};
use super::period::RawPeriod;
use super::{PathStep, Period, TimeZone};

/// Quotas that a deployment can have.
const MOST_QUOTAS: usize = 8;
/// The largest amount. Larger numbers are not exact in all YAML and JSON readers.
const LARGEST: u64 = 1_000_000_000_000_000;

/// Requests or tokens for each window of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// What is counted.
    pub unit: QuotaUnit,
    /// How much of it is allowed in one window, above 0.
    pub amount: u64,
    /// The windows. Those of [`QuotaSource::Headers`] begin when the deployment says so.
    pub per: Period,
    /// Who counts.
    pub source: QuotaSource,
    /// The zone in which days and months begin.
    pub time_zone: TimeZone,
}

/// What a quota counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QuotaUnit {
    /// Attempts that were sent.
    Requests,
    /// Tokens of prompts and answers.
    Tokens,
}

/// Who counts what is left of a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum QuotaSource {
    /// The gateway.
    #[default]
    Counted,
    /// The deployment, in headers of its answers such as `x-ratelimit-remaining-requests`.
    Headers,
}

impl QuotaUnit {
    /// Its name in the files, in metrics and in messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
        }
    }
}

impl QuotaSource {
    /// Its name in the files and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counted => "counted",
            Self::Headers => "headers",
        }
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} per {}", self.amount, self.unit.as_str(), self.window())
    }
}

impl Quota {
    /// The window as it is written: `minute`, or `90s`.
    #[must_use]
    pub fn window(&self) -> String {
        match self.per {
            Period::Seconds(MINUTE) => "minute".into(),
            Period::Seconds(seconds) => format!("{seconds}s"),
            Period::Hour => "hour".into(),
            Period::Day => "day".into(),
            Period::Week => "week".into(),
            Period::Month => "month".into(),
        }
    }
}

const MINUTE: u32 = 60;

/// One quota of a route, or several.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum RawQuotas {
    /// `{requests: 500, per: minute}`
    One(RawQuota),
    /// `[{requests: 500, per: minute}, {tokens: 30000, per: minute}]`
    Several(#[schemars(length(max = MOST_QUOTAS))] Vec<RawQuota>),
}

/// Requests or tokens that a deployment may have in each window of time.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawQuota {
    /// Requests in each window.
    #[schemars(range(min = 1, max = LARGEST))]
    requests: Option<u64>,
    /// Tokens of prompts and answers in each window.
    #[schemars(range(min = 1, max = LARGEST))]
    tokens: Option<u64>,
    /// The window: minute, hour, day, month, or a number of seconds.
    per: RawPeriod<NamedPeriod>,
    /// Who counts: the gateway (counted), or the deployment in headers of its answers (headers).
    #[serde(default)]
    source: QuotaSource,
    /// The zone in which days and months begin: America/Los_Angeles. Default: that of routing.yaml.
    #[schemars(length(max = 64))]
    time_zone: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum NamedPeriod {
    Minute,
    Hour,
    Day,
    Month,
}

/// A quota before the files are joined.
#[derive(Debug, Clone)]
pub(super) struct GivenQuota {
    unit: QuotaUnit,
    amount: u64,
    per: Period,
    source: QuotaSource,
    time_zone: Option<TimeZone>,
}

impl GivenQuota {
    /// The quota, in `zone` unless it has one of its own.
    pub(super) fn within(&self, zone: &TimeZone) -> Quota {
        let Self { unit, amount, per, source, ref time_zone } = *self;
        let time_zone = time_zone.as_ref().unwrap_or(zone).clone();
        Quota { unit, amount, per, source, time_zone }
    }
}

impl Check<'_> {
    /// The quotas of the route at `at`.
    pub(super) fn quotas(&mut self, at: &[PathStep], raw: Option<RawQuotas>) -> Vec<GivenQuota> {
        let at = join(at, "quota");
        let mut quotas = Vec::new();
        match raw {
            None => {}
            Some(RawQuotas::One(raw)) => self.quota(&at, raw, &mut quotas),
            Some(RawQuotas::Several(all)) => {
                for (index, raw) in all.into_iter().enumerate() {
                    self.quota(&[&at[..], &steps![index]].concat(), raw, &mut quotas);
                }
            }
        }
        quotas
    }

    fn quota(&mut self, at: &[PathStep], raw: RawQuota, quotas: &mut Vec<GivenQuota>) {
        let per = raw.per.period(|name| match name {
            NamedPeriod::Minute => Period::Seconds(MINUTE),
            NamedPeriod::Hour => Period::Hour,
            NamedPeriod::Day => Period::Day,
            NamedPeriod::Month => Period::Month,
        });
        let time_zone = raw.time_zone.map(|name| self.zone(&join(at, "time_zone"), &name));
        if self.whole && raw.requests.is_none() && raw.tokens.is_none() {
            let help = "write how many a window has: `{requests: 500, per: minute}`";
            let message = "the quota has neither `requests` nor `tokens`";
            self.errors.push(self.document.error(at, message, help));
        }
        let units = [(QuotaUnit::Requests, raw.requests), (QuotaUnit::Tokens, raw.tokens)];
        for (unit, amount) in units {
            let Some(amount) = amount else { continue };
            let is_same = |other: &GivenQuota| {
                (other.unit, other.per, other.source) == (unit, per, raw.source)
            };
            if quotas.iter().any(is_same) {
                let message = format!("a second quota counts {} in this window", unit.as_str());
                let help = "remove one of the two";
                self.errors.push(self.document.error(at, message, help));
            }
            let (source, time_zone) = (raw.source, time_zone.clone());
            quotas.push(GivenQuota { unit, amount, per, source, time_zone });
        }
    }
}
