//! Budgets: money for windows of time.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use contract::{Picodollars, Side};

use super::document::steps;
use super::models::{Check, join};
use super::period::RawPeriod;
use super::seconds::{self, Time};
use super::{Diagnostic, Document, Model, PathStep, TimeZone, nearest};

/// Budgets that a configuration can have: each is a bit of a set.
pub const MOST_BUDGETS: usize = 64;

/// Money for each window of time.
#[derive(Debug, Clone, PartialEq)]
pub struct Budget {
    /// Unique.
    pub name: String,
    /// What may be spent in one window, above 0.
    pub amount: Picodollars,
    /// The windows.
    pub per: Period,
    /// The zone in which days, weeks and months begin.
    pub time_zone: TimeZone,
    /// What it covers.
    pub of: Coverage,
    /// Who has a budget of this size each. None: there is one for all.
    pub each: Option<Each>,
    /// What happens when it is spent.
    pub then: OnceSpent,
    /// What a request reserves.
    pub reserve: Reserve,
    /// The share of the amount that is told when it is spent, 0 to 1.
    pub warn_at: f64,
}

/// How long a window is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// From the full hour.
    Hour,
    /// From midnight.
    Day,
    /// From Monday.
    Week,
    /// From the first.
    Month,
    /// So many seconds, counted from 1970.
    Seconds(u32),
}

/// What happens with requests when a budget is spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnceSpent {
    /// They go to deployments that it does not cover.
    Next,
    /// Likewise, and wait for those so long.
    Hold(Duration),
    /// They are refused.
    Refuse,
}

/// What a budget covers. A request at a deployment counts if everything that is given fits.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Coverage {
    /// Deployments of a side.
    pub side: Option<Side>,
    /// Deployments of this name.
    pub deployment: Option<String>,
    /// A model, by its id or an alias.
    pub model: Option<String>,
    /// Requests of a tenant.
    pub tenant: Option<String>,
}

/// Who has an own budget each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Each {
    /// Each tenant. Requests without one share one.
    Tenant,
}

/// What a request reserves before it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Reserve {
    /// The most that it can cost: the amount is never passed.
    #[default]
    Maximum,
    /// What it will probably cost: the amount may be passed by what requests under way cost more.
    Expected,
}

/// The file in which the gateway keeps what budgets have spent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LedgerConfig {
    /// Its path. Default: ledger.redb in the gateway's folder of the user's state.
    pub file: Option<PathBuf>,
    /// What happens with requests that budgets cover while the file cannot be written.
    pub on_store_failure: OnStoreFailure,
}

/// What happens while the ledger cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnStoreFailure {
    /// Nothing more is spent than the file already has.
    #[default]
    Refuse,
    /// Budgets count on in memory. What they count is lost at a restart.
    Allow,
}

/// A budget as written.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawBudget {
    /// Its name in answers, metrics and logs.
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9_.-]+$"))]
    name: String,
    /// US dollars that may be spent in each window.
    #[schemars(range(min = 0))]
    amount: f64,
    /// The window: hour, day, week, month, or a number of seconds.
    per: RawPeriod<NamedPeriod>,
    /// The zone in which days, weeks and months begin: Europe/Berlin. Default: `time_zone`.
    #[schemars(length(max = 64))]
    time_zone: Option<String>,
    /// What it covers. Default: everything that costs money.
    #[serde(default)]
    of: Coverage,
    /// Who has a budget of this size each. Default: there is one for all.
    each: Option<Each>,
    /// What happens when it is spent: requests go where it does not count (next), wait for room there
    /// (hold), or are refused (refuse).
    #[serde(default)]
    then: RawThen,
    /// How long `hold` waits.
    #[serde(default = "hold", with = "seconds")]
    #[schemars(with = "Time")]
    hold: Duration,
    /// What a request reserves: the most that it can cost (maximum) or what it will probably cost
    /// (expected).
    #[serde(default)]
    reserve: Reserve,
    /// The share of the amount, 0 to 1, that is told in the log when it is spent.
    #[serde(default = "warn_at")]
    #[schemars(range(min = 0, max = 1))]
    warn_at: f64,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum NamedPeriod {
    Hour,
    Day,
    Week,
    Month,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum RawThen {
    #[default]
    Next,
    Hold,
    Refuse,
}

fn hold() -> Duration {
    Duration::from_secs(30)
}

fn warn_at() -> f64 {
    0.8
}

/// Notes at each deployment which budgets cover it, whatever the tenant is.
pub(super) fn cover(budgets: &[Budget], models: &mut [Model]) {
    for model in models {
        for deployment in &mut model.deployments {
            for (at, Budget { of, .. }) in budgets.iter().enumerate() {
                let named =
                    |name: &str| *name == model.id || model.aliases.iter().any(|it| it == name);
                let covers = of.covers(deployment.side, &deployment.name, named)
                    && deployment.pricing.costs();
                deployment.budgets |= u64::from(covers) << at;
            }
        }
    }
}

impl Coverage {
    /// Whether it covers a deployment, whatever the tenant is. `is_model` says whether the deployment's
    /// model has a name.
    #[must_use]
    pub fn covers(&self, side: Side, deployment: &str, is_model: impl Fn(&str) -> bool) -> bool {
        self.side.is_none_or(|only| only == side)
            && self.deployment.as_deref().is_none_or(|name| name == deployment)
            && self.model.as_deref().is_none_or(is_model)
    }
}

/// Checks the budgets of a document, which stand under its key `budgets`.
pub fn budgets_of(
    document: &Document,
    raw: Vec<RawBudget>,
    errors: &mut Vec<Diagnostic>,
) -> Vec<Budget> {
    Check { document, whole: true, errors }.budgets(raw, &TimeZone::default())
}

impl Check<'_> {
    /// `zone` is that of the file.
    pub(super) fn budgets(&mut self, raw: Vec<RawBudget>, zone: &TimeZone) -> Vec<Budget> {
        if raw.len() > MOST_BUDGETS {
            let at = steps!["budgets", MOST_BUDGETS];
            let message = format!("there are more than {MOST_BUDGETS} budgets");
            let help = "give budgets that differ only in the tenant one line with `each: tenant`";
            self.errors.push(self.document.error(&at, message, help));
        }
        let mut names = HashSet::new();
        let mut budgets = Vec::new();
        for (index, raw) in raw.into_iter().take(MOST_BUDGETS).enumerate() {
            let at = steps!["budgets", index];
            if !names.insert(raw.name.clone()) {
                let message = format!("a second budget has the name {}", raw.name);
                let help = "give each budget a name of its own";
                self.errors.push(self.document.error(&join(&at, "name"), message, help));
            }
            budgets.extend(self.budget(&at, raw, zone));
        }
        budgets
    }

    fn budget(&mut self, at: &[PathStep], raw: RawBudget, zone: &TimeZone) -> Option<Budget> {
        let amount = self.amount(&join(at, "amount"), raw.amount);
        let time_zone = match raw.time_zone {
            Some(name) => self.zone(&join(at, "time_zone"), &name),
            None => zone.clone(),
        };
        let of = &raw.of;
        if of.tenant.is_some() && raw.each.is_some() {
            let help = "leave out `each: tenant`, or `of.tenant`";
            let message = "a budget of one tenant is no budget of each";
            self.errors.push(self.document.error(&join(at, "each"), message, help));
        }
        Some(Budget {
            name: raw.name,
            amount: amount?,
            per: raw.per.period(|name| match name {
                NamedPeriod::Hour => Period::Hour,
                NamedPeriod::Day => Period::Day,
                NamedPeriod::Week => Period::Week,
                NamedPeriod::Month => Period::Month,
            }),
            time_zone,
            of: raw.of,
            each: raw.each,
            then: match raw.then {
                RawThen::Next => OnceSpent::Next,
                RawThen::Hold => OnceSpent::Hold(raw.hold),
                RawThen::Refuse => OnceSpent::Refuse,
            },
            reserve: raw.reserve,
            warn_at: raw.warn_at,
        })
    }

    /// The amount as its text has it: a float would round it.
    fn amount(&mut self, at: &[PathStep], number: f64) -> Option<Picodollars> {
        let text = self.document.text(at).map_or_else(|| number.to_string(), str::to_owned);
        match Picodollars::from_decimal(&text) {
            Ok(amount) if amount > Picodollars::ZERO => Some(amount),
            Ok(_) => {
                let help =
                    "write the dollars that may be spent; to use no paid deployment: `sides`";
                self.errors.push(self.document.error(at, "a budget is above 0", help));
                None
            }
            Err(error) => {
                let help = "write dollars: 50, 0.25";
                self.errors.push(self.document.error(at, error.to_string(), help));
                None
            }
        }
    }
}

/// A name in a coverage that nothing has: the place, what it should be, and the nearest.
pub(super) fn unknown(
    budgets: &[Budget],
    models: &[Model],
) -> Vec<(Vec<PathStep>, String, String)> {
    let deployments = || models.iter().flat_map(|model| &model.deployments);
    let names = || models.iter().flat_map(|model| std::iter::once(&model.id).chain(&model.aliases));
    let mut unknown = Vec::new();
    for (index, budget) in budgets.iter().enumerate() {
        let mut look = |key: &'static str, what: &str, name: &str, all: Vec<&str>| {
            if all.contains(&name) {
                return;
            }
            let help = match nearest(name, all.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("write the name of a {what} of models.yaml"),
            };
            let at = steps!["budgets", index, "of", key].to_vec();
            unknown.push((at, format!("there is no {what} {name}"), help));
        };
        if let Some(name) = &budget.of.deployment {
            let all = deployments().map(|deployment| &*deployment.name).collect();
            look("deployment", "deployment", name, all);
        }
        if let Some(name) = &budget.of.model {
            look("model", "model", name, names().map(|name| &**name).collect());
        }
    }
    unknown
}

/// Budgets that reserve the most that a request can cost, of models that do not say how long prompts and
/// answers can be: their places, and the first such model of each.
pub(super) fn unbounded(
    budgets: &[Budget],
    models: &[Model],
) -> Vec<(Vec<PathStep>, String, String)> {
    let mut unbounded = Vec::new();
    for (index, _) in budgets.iter().enumerate().filter(|(_, b)| b.reserve == Reserve::Maximum) {
        let covers = |model: &&Model| {
            let covered = model.deployments.iter().any(|one| one.budgets & 1 << index != 0);
            covered && !model.card.has_lengths
        };
        if let Some(model) = models.iter().find(covers) {
            let id = &model.id;
            let message = format!("how much a request to {id} can cost at most is not known");
            let help = format!(
                "give {id} its `context_length` and `max_output_length` in models.yaml, or reserve \
                 what is probable: `reserve: expected`"
            );
            unbounded.push((steps!["budgets", index].to_vec(), message, help));
        }
    }
    unbounded
}
