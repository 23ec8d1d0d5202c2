//! Checks the answer of `describe`, because it is shown to people and used as a metric's label.

use std::time::Duration;

use contract::{Column, Description, KnownBudgets, Needs, Signal};

use super::text::printable;
use super::version::{AskedSignal, RawDescription};

/// Maximum bytes of the name, and of the version.
const NAME: usize = 64;
/// Maximum bytes of the summary.
const SUMMARY: usize = 1_024;
/// Maximum bytes of the parameters' schema.
const PARAMETERS: usize = 64 << 10;
/// Maximum number of reasons, and maximum bytes of one.
const REASONS: usize = 256;
const REASON: usize = 128;
/// Maximum number of signals. More than there are, because some may be of a later host.
const SIGNALS: usize = 64;
/// The shortest refresh interval. A shorter one is raised to it.
const REFRESH: Duration = Duration::from_millis(100);

/// Returns the checked description, or its defect in words.
pub(super) fn check(raw: RawDescription, budgets: &KnownBudgets) -> Result<Description, String> {
    let RawDescription { name, version, summary, parameters, refresh, needs, signals, reasons } =
        raw;
    let in_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    if name.is_empty() || !name.chars().all(in_name) {
        let name = printable(&name, NAME);
        return Err(format!(
            "its name is `{name}`; a name has lower-case letters, digits, `-`, `_`, `.`"
        ));
    }
    let sizes = [
        ("name", &name, NAME),
        ("version", &version, NAME),
        ("summary", &summary, SUMMARY),
        ("parameter schema", &parameters, PARAMETERS),
    ];
    for (what, text, most) in sizes {
        if text.len() > most {
            return Err(format!("its {what} has {} bytes; at most {most} are allowed", text.len()));
        }
    }
    for (what, text) in [("version", &version), ("summary", &summary)] {
        if text.contains(char::is_control) {
            return Err(format!("its {what} is not one line of text"));
        }
    }
    let parameters: serde_json::Value = serde_json::from_str(&parameters)
        .map_err(|e| format!("the schema of its parameters is not JSON: {e}"))?;
    if !parameters.is_object() {
        return Err("the schema of its parameters is not a JSON object".to_owned());
    }
    if let Some(part) = config::schema::unchecked(&parameters) {
        return Err(format!("the schema of its parameters {}", printable(&part, 500)));
    }
    let (version, summary) = (printable(&version, 6 * NAME), printable(&summary, 6 * SUMMARY));
    let refresh = refresh.map(|ms| Duration::from_millis(ms.into()).max(REFRESH));
    let signals = columns(signals, budgets)?;
    if reasons.len() > REASONS {
        return Err(format!("it has {} reasons; at most {REASONS} are allowed", reasons.len()));
    }
    for reason in &reasons {
        if reason.is_empty() || reason.len() > REASON || reason.contains(char::is_control) {
            let reason = printable(reason, REASON);
            return Err(format!(
                "its reason `{reason}` is not one line of text of 1 to {REASON} bytes"
            ));
        }
    }
    Ok(Description { name, version, summary, parameters, refresh, needs, signals, reasons })
}

/// The signals and facts that a guest asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Demand {
    /// As [`Description::signals`].
    pub(super) signals: Vec<Option<Column>>,
    pub(super) needs: Needs,
}

impl Demand {
    /// The demand for signals and facts of these names, or its defect in words.
    pub(super) fn of_names(
        signals: Vec<String>,
        facts: &[String],
        budgets: &KnownBudgets,
    ) -> Result<Self, String> {
        let required = |name| AskedSignal { name, optional: false };
        let signals = columns(signals.into_iter().map(required).collect(), budgets)?;
        let mut needs = Needs::default();
        for fact in facts {
            let needed = match fact.as_str() {
                "prompt-tokens" => &mut needs.prompt_tokens,
                "session" => &mut needs.session,
                "prefixes" => &mut needs.prefixes,
                "tenant-name" => &mut needs.tenant_name,
                _ => {
                    let fact = printable(fact, NAME);
                    return Err(format!(
                        "it asks for the fact `{fact}`; there are prompt-tokens, session, \
                         prefixes, tenant-name"
                    ));
                }
            };
            *needed = true;
        }
        Ok(Self { signals, needs })
    }
}

/// The signals that a guest asks for. Each call reads all of them for each deployment, so their
/// number is bounded.
fn columns(
    signals: Vec<AskedSignal>,
    budgets: &KnownBudgets,
) -> Result<Vec<Option<Column>>, String> {
    if signals.len() > SIGNALS {
        return Err(format!(
            "it asks for {} signals; at most {SIGNALS} are allowed",
            signals.len()
        ));
    }
    signals.into_iter().map(|signal| known(signal, budgets)).collect()
}

/// The signals that a guest asks for, fit to be shown.
pub(super) fn asked(signals: &[AskedSignal]) -> Vec<AskedSignal> {
    let shown = |signal: &AskedSignal| AskedSignal {
        name: printable(&signal.name, NAME),
        optional: signal.optional,
    };
    signals.iter().map(shown).collect()
}

/// The signal that a guest asks for. None: this host does not know it, and the guest can do without.
fn known(
    AskedSignal { name, optional }: AskedSignal,
    budgets: &KnownBudgets,
) -> Result<Option<Column>, String> {
    let column = Column::by_name(&name, budgets);
    if column.is_some() || optional {
        return Ok(column);
    }
    if let Some(budget) = Column::budget_in(&name) {
        return Err(unknown_budget(&printable(&name, NAME), &printable(budget, NAME), budgets));
    }
    let known: Vec<&str> = Signal::ALL.into_iter().map(Signal::name).collect();
    let name = printable(&name, NAME);
    let known_names = known.join(", ");
    Err(match config::nearest(&name, known.into_iter()) {
        Some(near) => format!(
            "it asks for the signal `{name}`: did you mean `{near}`? There are {known_names}"
        ),
        None => format!("it asks for the signal `{name}`; there are {known_names}"),
    })
}

/// The error of a signal of a budget that there is not.
fn unknown_budget(signal: &str, budget: &str, budgets: &KnownBudgets) -> String {
    /// The text lists at most this many budgets.
    const SHOWN: usize = 16;

    let names: Vec<&str> = budgets.names().iter().map(|name| &**name).collect();
    let there_are = match names.len() {
        0 => "no budgets".to_owned(),
        all if all <= SHOWN => names.join(", "),
        all => format!("{} and {} more", names[..SHOWN].join(", "), all - SHOWN),
    };
    let near = match config::nearest(budget, names.into_iter()) {
        Some(near) => format!("did you mean `{near}`? There are"),
        None => "there are".to_owned(),
    };
    format!("it asks for the signal `{signal}` of the budget `{budget}`: {near} {there_are}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn raw() -> RawDescription {
        RawDescription {
            name: "spill-over".to_owned(),
            version: "1.0.0".to_owned(),
            summary: "Local first, remote when busy.".to_owned(),
            parameters: r#"{"type":"object"}"#.to_owned(),
            refresh: Some(3),
            needs: Needs::default(),
            signals: Vec::new(),
            reasons: Vec::new(),
        }
    }

    fn checked(raw: RawDescription) -> Result<Description, String> {
        check(raw, &KnownBudgets::default())
    }

    #[test]
    fn a_refresh_is_at_least_100_ms() {
        assert_eq!(checked(raw()).unwrap().refresh, Some(REFRESH));
        let slow = RawDescription { refresh: Some(5_000), ..raw() };
        assert_eq!(checked(slow).unwrap().refresh, Some(Duration::from_secs(5)));
        assert_eq!(checked(RawDescription { refresh: None, ..raw() }).unwrap().refresh, None);
    }

    #[test]
    fn text_that_changes_direction_is_escaped() {
        let turned = RawDescription { summary: "a\u{202e}b\u{200f}".to_owned(), ..raw() };
        assert_eq!(checked(turned).unwrap().summary, r"a\u{202e}b\u{200f}");
        let turned = RawDescription { version: "1\u{61c}".to_owned(), ..raw() };
        assert_eq!(checked(turned).unwrap().version, r"1\u{61c}");
    }

    #[test]
    fn what_cannot_be_shown_is_refused() {
        for (bad, says) in [
            (RawDescription { name: String::new(), ..raw() }, "its name is ``"),
            (RawDescription { name: "Fast\n".to_owned(), ..raw() }, "its name is `Fast\\n`"),
            (RawDescription { name: "x".repeat(65), ..raw() }, "its name has 65 bytes"),
            (RawDescription { version: "1".repeat(65), ..raw() }, "its version has 65 bytes"),
            (RawDescription { summary: "a\nb".to_owned(), ..raw() }, "its summary is not one line"),
            (RawDescription { parameters: String::new(), ..raw() }, "is not JSON"),
            (RawDescription { parameters: "[]".to_owned(), ..raw() }, "is not a JSON object"),
            (RawDescription { parameters: "[".repeat(9_000), ..raw() }, "is not JSON"),
            (
                RawDescription { parameters: r#"{"pattern":"x"}"#.to_owned(), ..raw() },
                "the schema of its parameters has `pattern` at `#/pattern`, which the gateway does not",
            ),
            (
                RawDescription {
                    parameters: r#"{"properties":{"\u202ea":1}}"#.to_owned(),
                    ..raw()
                },
                r"has no schema at `#/properties/\u{202e}a`",
            ),
        ] {
            let error = checked(bad).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn an_unknown_signal_is_refused_unless_it_is_optional() {
        let asks = |name: &str, optional| {
            let signal = AskedSignal { name: name.to_owned(), optional };
            checked(RawDescription { signals: vec![signal], ..raw() })
        };
        assert_eq!(
            asks("engine.waiting", false).unwrap().signals,
            [Some(Signal::EngineWaiting.into())]
        );
        assert_eq!(asks("engine.mood", true).unwrap().signals, [None]);
        let error = asks("engine.mood", false).unwrap_err();
        assert!(error.contains("`engine.mood`; there are engine.running, "), "{error}");
        let error = asks("engine.wating", false).unwrap_err();
        let says = "`engine.wating`: did you mean `engine.waiting`? There are engine.running, ";
        assert!(error.contains(says), "{error}");
    }

    #[test]
    fn an_unknown_budget_is_refused_with_those_that_there_are() {
        let asks = |name: &str, optional, budgets: &[&str]| {
            let signal = AskedSignal { name: name.to_owned(), optional };
            let budgets = KnownBudgets::named(budgets.iter().copied());
            check(RawDescription { signals: vec![signal], ..raw() }, &budgets)
        };
        let [known] = &asks("budget.a.b.left", false, &["a.b"]).unwrap().signals[..] else {
            panic!("one column");
        };
        assert_eq!(known.as_ref().unwrap().name(), "budget.a.b.left");
        assert_eq!(asks("budget.c.left", true, &["a.b"]).unwrap().signals, [None]);
        let says = |name: &str, budgets: &[&str]| asks(name, false, budgets).unwrap_err();
        let error = says("budget.compny.pace", &["company", "teams"]);
        let expected = "it asks for the signal `budget.compny.pace` of the budget `compny`: did you \
                        mean `company`? There are company, teams";
        assert_eq!(error, expected);
        assert!(says("budget.x.left", &["company"]).ends_with("`x`: there are company"));
        assert!(says("budget.x.left", &[]).ends_with("`x`: there are no budgets"));
        let many: Vec<String> = (0..64).map(|number| format!("budget-{number:057}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let error = says("budget.x.left", &many);
        assert!(error.ends_with(" and 48 more") && error.len() < 1_300, "{error}");
    }

    #[test]
    fn a_demand_names_signals_and_facts() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let demand = |signals: &[&str], facts: &[&str]| {
            let facts: Vec<String> = names(facts);
            Demand::of_names(names(signals), &facts, &KnownBudgets::Any)
        };
        let needs = Needs { session: true, prefixes: true, ..Needs::default() };
        let signals = [Signal::Limit, Signal::EngineKv].map(|signal| Some(signal.into())).to_vec();
        let asked = demand(&["limit", "engine.kv"], &["prefixes", "session"]);
        assert_eq!(asked, Ok(Demand { signals, needs }));
        let error = demand(&["limits"], &[]).unwrap_err();
        assert!(error.contains("`limits`: did you mean `limit`? There are "), "{error}");
        let error = demand(&[], &["tokens"]).unwrap_err();
        assert!(error.contains("`tokens`; there are prompt-tokens, "), "{error}");
        let error = demand(&["limit"; SIGNALS + 1], &[]).unwrap_err();
        assert!(error.contains("asks for 65 signals"), "{error}");
    }

    #[test]
    fn reasons_are_short_lines() {
        let gives = |reasons: Vec<String>| checked(RawDescription { reasons, ..raw() });
        assert_eq!(gives(vec!["full".to_owned(); REASONS]).unwrap().reasons.len(), REASONS);
        for (reasons, says) in [
            (vec!["full".to_owned(); REASONS + 1], "it has 257 reasons"),
            (vec![String::new()], "its reason `` is not"),
            (vec!["a\nb".to_owned()], "its reason `a\\nb` is not"),
            (vec!["x".repeat(REASON + 1)], "is not one line of text of 1 to 128 bytes"),
        ] {
            let error = gives(reasons).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
