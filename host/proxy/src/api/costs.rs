//! `/routing/costs`: what was spent, by side, model, tenant or deployment, and what machines saved.

use std::sync::Arc;

use hyper::Request;
use percent_encoding::percent_decode_str;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use config::Period;
use ledger::{By, Report, RowName, Since, Spending, Sums, TokenKind};

use crate::gateway::Gateway;
use crate::render::{Page, write_json};

use super::Error;
use super::routing::is_admin;

/// Picodollars in a dollar.
const DOLLAR: u128 = 1_000_000_000_000;
/// In milliseconds.
const HOUR: u128 = 3_600_000;

/// The whole page.
pub(super) struct CostsPage {
    gateway: Arc<Gateway>,
    by: By,
    since: Since,
    /// The report is made when the page is rendered, because that takes time on another thread.
    rows: Option<std::vec::IntoIter<(RowName, Sums)>>,
    total: Sums,
    is_first: bool,
}

impl CostsPage {
    /// The page that a query asks for: `?by=model&since=24h`. By default today's costs by side.
    ///
    /// # Errors
    /// If the client is no admin, or the query has no meaning.
    pub(super) fn new<B>(gateway: &Arc<Gateway>, request: &Request<B>) -> Result<Self, Error> {
        if !is_admin(gateway, request.headers()) {
            return Err(Error::NotAdmin { exists: gateway.admin_token.is_some() });
        }
        let (mut by, mut since) = (By::Side, Since::This(Period::Day));
        for part in request.uri().query().unwrap_or_default().split('&') {
            let Some((key, value)) = part.split_once('=') else { continue };
            let value = percent_decode_str(value).decode_utf8_lossy();
            match key {
                "by" => by = value.parse().map_err(Error::Query)?,
                "since" => since = value.parse().map_err(Error::Query)?,
                _ => {}
            }
        }
        let (rows, total, is_first) = (None, Sums::default(), true);
        Ok(Self { gateway: Arc::clone(gateway), by, since, rows, total, is_first })
    }

    fn begin(&mut self, text: &mut Vec<u8>) -> std::vec::IntoIter<(RowName, Sums)> {
        let Report { by, since, until, recorded_since, is_durable, failure, rows, total } =
            self.gateway.costs.report(self.by, self.since);
        let head = json!({
            "by": by.as_str(),
            "since": since.to_string(),
            "until": until.to_string(),
            "recorded_since": recorded_since.to_string(),
            "durable": is_durable,
            "last_error": failure,
        });
        write_json(text, &head);
        // The object goes on with the rows.
        text.pop();
        text.extend(br#","rows":["#);
        self.total = total;
        rows.into_iter().collect::<Vec<_>>().into_iter()
    }
}

impl Page for CostsPage {
    fn write(&mut self, text: &mut Vec<u8>) -> bool {
        let mut rows = match self.rows.take() {
            Some(rows) => rows,
            None => self.begin(text),
        };
        let Some((name, sums)) = rows.next() else {
            text.extend(br#"],"total":"#);
            write_row(text, Map::new(), &self.total, self.by);
            text.push(b'}');
            return false;
        };
        if !std::mem::take(&mut self.is_first) {
            text.push(b',');
        }
        write_row(text, named(name, self.by), &sums, self.by);
        self.rows = Some(rows);
        true
    }
}

/// The keys that say what a row is of.
fn named(name: RowName, by: By) -> Map<String, Value> {
    let RowName { side, model, deployment, tenant } = name;
    let mut row = Map::new();
    let mut put = |key: &str, value: Value| row.insert(key.to_owned(), value);
    let text = |name: Option<Arc<str>>| Value::from(name.map(|name| name.to_string()));
    let side = side.map(|side| side.as_str()).into();
    match by {
        By::Side => drop(put("side", side)),
        By::Model => drop(put("model", text(model))),
        By::Tenant => drop(put("tenant", text(tenant))),
        By::Deployment => {
            put("model", text(model));
            put("deployment", text(deployment));
            put("side", side);
        }
    }
    row
}

/// Writes a row. Money has all its digits, which no float has room for.
fn write_row(text: &mut Vec<u8>, mut row: Map<String, Value>, sums: &Sums, by: By) {
    let attempts = |kind: Spending| (kind.as_str().to_owned(), count(sums.attempts(kind)));
    row.insert("attempts".to_owned(), Spending::ALL.into_iter().map(attempts).collect());
    let tokens = |kind: TokenKind| (kind.as_str().to_owned(), count(sums.tokens(kind)));
    row.insert("tokens".to_owned(), TokenKind::ALL.into_iter().map(tokens).collect());
    write_json(text, &row);
    // The object goes on with money.
    text.pop();
    text.extend(br#","cost":{"#);
    for kind in Spending::ALL {
        write_json(text, &kind.as_str());
        text.push(b':');
        write_json(text, &money(sums.cost(kind)));
        text.push(b',');
    }
    text.extend(br#""total":"#);
    write_json(text, &money(sums.total()));
    text.extend(br#"},"estimated":{"attempts":"#);
    write_json(text, &count(sums.estimated_attempts()));
    let tokens = |kind: TokenKind| (kind.as_str().to_owned(), count(sums.estimated_tokens(kind)));
    text.extend(br#","tokens":"#);
    write_json(text, &TokenKind::ALL.into_iter().map(tokens).collect::<Value>());
    text.extend(br#","cost":"#);
    write_json(text, &money(sums.estimated_cost()));
    text.extend(br#"},"saved":"#);
    write_json(text, &money(sums.saved()));
    text.extend(br#","machine":"#);
    write_machine(text, sums, by);
    text.push(b'}');
}

/// What machines with a price by the hour cost. Null: there were none. A machine works for all tenants,
/// so a report by tenant has none.
fn write_machine(text: &mut Vec<u8>, sums: &Sums, by: By) {
    let (time, cost) = sums.machine();
    if time == 0 || by == By::Tenant {
        return text.extend(b"null");
    }
    let tokens = [TokenKind::Prompt, TokenKind::Completion].map(|kind| sums.tokens(kind));
    let tokens: u128 = tokens.iter().sum();
    text.extend(br#"{"hours":"#);
    write_json(text, &(time as f64 / HOUR as f64));
    text.extend(br#","cost":"#);
    write_json(text, &money(cost));
    text.extend(br#","per_million_tokens":"#);
    let price = cost.saturating_mul(1_000_000).checked_div(tokens);
    write_json(text, &price.map(money));
    text.push(b'}');
}

/// A count, which is never as large as this in life.
fn count(number: u128) -> Value {
    u64::try_from(number).unwrap_or(u64::MAX).into()
}

/// Dollars as a JSON number with all digits and no zeros at the end.
fn money(picodollars: u128) -> Box<RawValue> {
    let dollars = format!("{}.{:012}", picodollars / DOLLAR, picodollars % DOLLAR);
    let dollars = dollars.trim_end_matches('0').trim_end_matches('.');
    // Digits and a point are a number.
    RawValue::from_string(dollars.to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_has_all_its_digits() {
        for (picodollars, expected) in [
            (0, "0"),
            (1, "0.000000000001"),
            (1_100_200_000_000, "1.1002"),
            (120 * DOLLAR, "120"),
            (u128::MAX, "340282366920938463463374607.431768211455"),
        ] {
            assert_eq!(money(picodollars).get(), expected);
        }
    }
}
