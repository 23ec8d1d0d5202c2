//! `gateway costs`: asks a running gateway what was spent, and what machines saved.

use std::collections::BTreeMap;
use std::io::{Write, stdout};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use lab::workbench::table;
use ledger::{BadQuery, By, Since};

/// Time for the answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What was spent, by a running gateway
#[derive(Debug, Args)]
pub(super) struct CostsArgs {
    /// What the rows are of: side, model, tenant or deployment
    #[arg(long, default_value = "side", value_parser = by)]
    by: &'static str,
    /// The beginning: hour, today, week, month, 24h, 7d, 2026-11-30, or 2026-11-30T08:00:00Z
    #[arg(long, default_value = "today", value_parser = since)]
    since: String,
    /// Print the gateway's answer, as JSON
    #[arg(long)]
    json: bool,
    /// The address that the gateway listens on
    #[arg(long, env = "HOST", default_value = "127.0.0.1")]
    host: String,
    /// The port that the gateway listens on
    #[arg(long, env = "PORT", default_value_t = 8080)]
    port: u16,
    /// The admin token of the gateway
    #[arg(long, env = "ADMIN_TOKEN", hide_env_values = true)]
    admin_token: Option<String>,
}

fn by(text: &str) -> Result<&'static str, BadQuery> {
    text.parse::<By>().map(By::as_str)
}

fn since(text: &str) -> Result<String, BadQuery> {
    text.parse::<Since>().map(|_| text.to_owned())
}

pub(super) fn run(args: &CostsArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let text = runtime.block_on(ask(args))?;
    let mut out = stdout().lock();
    if args.json {
        writeln!(out, "{text}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let answer: Answer = serde_json::from_str(&text).context("the answer is of another gateway")?;
    lines(&answer).into_iter().try_for_each(|line| writeln!(out, "{line}"))?;
    Ok(ExitCode::SUCCESS)
}

/// Where a gateway is reached that listens on this address.
fn authority(host: &str, port: u16) -> String {
    let address = match host.parse() {
        Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => Ok(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        Ok(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => Ok(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        other => other,
    };
    match address {
        Ok(IpAddr::V6(address)) => format!("[{address}]:{port}"),
        Ok(IpAddr::V4(address)) => format!("{address}:{port}"),
        Err(_) => format!("{host}:{port}"),
    }
}

async fn ask(args: &CostsArgs) -> anyhow::Result<String> {
    let place = authority(&args.host, args.port);
    // A `+` would be a space to some servers on the way.
    let since = args.since.replace('+', "%2B");
    let url = format!("http://{place}/routing/costs?by={}&since={since}", args.by);
    let client = proxy::probe::client(proxy::tls::client()?)?;
    let mut request = client.get(url).timeout(PATIENCE);
    if let Some(token) = args.admin_token.as_ref().filter(|token| !token.is_empty()) {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await.with_context(|| {
        format!("no gateway answers at {place}: start it, or name its --host and --port")
    })?;
    let status = answer.status();
    let text = answer.text().await.context("the answer did not arrive whole")?;
    if !status.is_success() {
        let error: Value = serde_json::from_str(&text).unwrap_or_default();
        match error["error"]["message"].as_str() {
            Some(message) => bail!("{message}"),
            None => bail!("{place} answered {status}: is it a gateway of this version?"),
        }
    }
    Ok(text)
}

/// The part of the answer that is shown. Amounts stay as they are written: no float has room for
/// them.
#[derive(Debug, Deserialize)]
struct Answer {
    since: String,
    until: String,
    recorded_since: String,
    durable: bool,
    last_error: Option<String>,
    rows: Vec<Row>,
    total: Row,
}

#[derive(Debug, Deserialize)]
struct Row {
    side: Option<String>,
    model: Option<String>,
    deployment: Option<String>,
    tenant: Option<String>,
    attempts: BTreeMap<String, u64>,
    tokens: BTreeMap<String, u64>,
    cost: BTreeMap<String, Box<RawValue>>,
    estimated: Estimated,
    saved: Box<RawValue>,
    machine: Option<Machine>,
}

#[derive(Debug, Deserialize)]
struct Estimated {
    attempts: u64,
    cost: Box<RawValue>,
}

#[derive(Debug, Deserialize)]
struct Machine {
    hours: f64,
    cost: f64,
    per_million_tokens: Option<f64>,
}

impl Row {
    /// What it is of.
    fn name(&self) -> String {
        match (&self.model, &self.deployment, &self.side, &self.tenant) {
            (Some(model), Some(deployment), Some(side), _) => {
                format!("{model}/{deployment} ({side})")
            }
            (Some(name), ..) | (_, _, Some(name), _) | (.., Some(name)) => name.clone(),
            _ => "(no tenant)".to_owned(),
        }
    }

    fn cells(&self, name: String) -> [String; 10] {
        let number =
            |of: &BTreeMap<String, u64>, key| of.get(key).copied().unwrap_or(0).to_string();
        let money = |key| self.cost.get(key).map_or("0", |amount| amount.get()).to_owned();
        [
            name,
            number(&self.attempts, "answered"),
            number(&self.tokens, "prompt"),
            number(&self.tokens, "cached"),
            number(&self.tokens, "completion"),
            money("total"),
            money("wasted"),
            money("hedged"),
            self.saved.get().to_owned(),
            self.machine.as_ref().map_or_else(String::new, Machine::cell),
        ]
    }
}

impl Machine {
    fn cell(&self) -> String {
        let Self { hours, cost, per_million_tokens } = self;
        let price = per_million_tokens.map(|price| format!(", {price:.4} a million tokens"));
        format!("{cost:.4} in {hours:.2} h{}", price.unwrap_or_default())
    }
}

/// A table with its heading and its notes.
fn lines(answer: &Answer) -> Vec<String> {
    let Answer { since, until, recorded_since, durable, last_error, rows, total } = answer;
    let mut lines = vec![format!("dollars from {since} to {until}"), String::new()];
    let heading = [
        "",
        "ANSWERED",
        "PROMPT",
        "CACHED",
        "COMPLETION",
        "COST",
        "WASTED",
        "HEDGED",
        "SAVED",
        "MACHINES",
    ];
    let heading = heading.map(str::to_owned);
    let cells = rows.iter().map(|row| row.cells(row.name()));
    let all = std::iter::once(heading).chain(cells);
    lines.extend(table::rows(all.chain([total.cells("total".to_owned())])));
    let mut notes = Vec::new();
    let Estimated { attempts, cost } = &total.estimated;
    if *attempts > 0 {
        let cost = cost.get();
        notes.push(format!("{attempts} attempts and {cost} dollars of them are estimates"));
    }
    if !durable {
        let why = "no ledger is configured, or it cannot be used";
        notes.push(format!("counted in memory since {recorded_since}: {why}"));
    } else if recorded_since > since {
        notes.push(format!("counted since {recorded_since}"));
    }
    if let Some(error) = last_error {
        notes.push(format!("the ledger cannot be written: {error}"));
    }
    if !notes.is_empty() {
        lines.push(String::new());
        lines.extend(notes);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_that_listens_everywhere_is_asked_here() {
        for (host, expected) in [
            ("0.0.0.0", "127.0.0.1:1"),
            ("::", "[::1]:1"),
            ("::1", "[::1]:1"),
            ("10.0.0.1", "10.0.0.1:1"),
            ("gw.example", "gw.example:1"),
        ] {
            assert_eq!(authority(host, 1), expected);
        }
    }

    #[test]
    fn a_table_shows_all_digits_and_says_what_it_lacks() {
        let row = |name: &str, cost: &str, machine: &str| {
            format!(
                r#"{{{name}"attempts":{{"answered":3,"wasted":1,"hedged":0}},"tokens":{{"prompt":7}},"cost":{{"answered":1,"wasted":0,"hedged":0,"total":{cost}}},"estimated":{{"attempts":2,"tokens":{{}},"cost":0.5}},"saved":0.000000000001,"machine":{machine}}}"#
            )
        };
        let exact = "12345.123456789012";
        let machine = r#"{"hours":1.5,"cost":3.75,"per_million_tokens":0.25}"#;
        let text = format!(
            r#"{{"by":"deployment","since":"2026-11-30T00:00:00Z","until":"2026-11-30T01:00:00Z","recorded_since":"2026-11-30T00:30:00Z","durable":false,"last_error":null,"rows":[{},{}],"total":{}}}"#,
            row(r#""model":"m","deployment":"d","side":"local","#, exact, machine),
            row(r#""tenant":null,"#, "0", "null"),
            row("", exact, "null"),
        );
        let answer: Answer = serde_json::from_str(&text).expect("an answer");
        let lines = lines(&answer).join("\n");
        let line = |name: &str| {
            let line = lines.lines().find(|line| line.starts_with(name));
            line.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            line("m/d"),
            format!(
                "m/d (local) 3 7 0 0 {exact} 0 0 0.000000000001 3.7500 in 1.50 h, 0.2500 a million tokens"
            )
        );
        assert_eq!(line("(no tenant)"), "(no tenant) 3 7 0 0 0 0 0 0.000000000001");
        assert!(lines.contains("2 attempts and 0.5 dollars of them are estimates"), "{lines}");
        assert!(lines.contains("in memory since 2026-11-30T00:30:00Z"), "{lines}");
    }
}
