//! Where engines tell their load: by kind in `signals.txt`, or by `signals` of a deployment. And
//! how often they are asked: `signals` of `routing.yaml`.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use contract::{Side, Signal};

use super::models::{Check, join};
use super::raw::RawSignals;
use super::seconds::{self, Time};
use super::series::{Source, parse};
use super::{DeploymentConfig, Origin, PathStep, Secret};

/// The signals that engines tell, with their names in the files. A signal's position here is its
/// index wherever there is one value for each.
pub const ENGINE_SIGNALS: [(Signal, &str); 4] = [
    (Signal::EngineRunning, "running"),
    (Signal::EngineWaiting, "waiting"),
    (Signal::EngineKv, "kv"),
    (Signal::EnginePrefixHit, "prefix-hit"),
];

/// How often engines are asked for their load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Scraping {
    /// Time between two scrapes of an engine by all `gateways` together, 50 ms to 60 s. A number is
    /// used for ten times as long, for three scrapes of this gateway, or for 5 s, whichever is
    /// longest.
    #[serde(with = "seconds")]
    #[schemars(with = "Time", extend("minimum" = 0.05, "maximum" = 60))]
    pub interval: Duration,
    /// Time that one scrape may take.
    #[serde(with = "seconds")]
    #[schemars(with = "Time", extend("maximum" = 60))]
    pub timeout: Duration,
    /// Whether all engines are asked. By default only those are whose numbers a strategy asks for.
    pub always: bool,
    /// Number of gateways that scrape the same engines, 1 to 1,000. Each of them waits this many
    /// intervals between two scrapes, so all of them together ask an engine once in an interval.
    #[schemars(range(min = 1, max = 1000))]
    pub gateways: u32,
}

impl Default for Scraping {
    fn default() -> Self {
        let (interval, timeout) = (Duration::from_millis(500), Duration::from_secs(2));
        Self { interval, timeout, always: false, gateways: 1 }
    }
}

impl Scraping {
    /// Time between two scrapes of an engine by this gateway.
    #[must_use]
    pub fn period(&self) -> Duration {
        self.gateways * self.interval
    }

    /// How long a number is used. With many gateways it must outlast a scrape that fails.
    #[must_use]
    pub fn stale_after(&self) -> Duration {
        (10 * self.interval).max(3 * self.period()).max(Duration::from_secs(5))
    }
}

/// Where the engine of a deployment tells its load.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EngineMetrics {
    address: Address,
    /// The first word of its kind's rows. None: the kind has none.
    kind: Option<&'static str>,
    own: Option<Arc<Own>>,
}

/// `/metrics`, or `:8002/metrics` for another port of the host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Address {
    port: Option<u16>,
    path: String,
}

/// The sources that a deployment gives, by the position of their signal.
type Own = [Option<Source>; ENGINE_SIGNALS.len()];

/// `signals` of a deployment as a file gives it.
#[derive(Debug, Clone, Default)]
pub(crate) struct GivenSignals {
    address: Option<Address>,
    own: Option<Arc<Own>>,
}

impl EngineMetrics {
    /// None: the deployment is not asked. A remote one is asked only if the file says so, because a
    /// public API has no such page.
    pub(crate) fn of(deployment: &DeploymentConfig, given: Option<&GivenSignals>) -> Option<Self> {
        if deployment.side == Side::Remote && given.is_none() {
            return None;
        }
        let given = given.cloned().unwrap_or_default();
        let kind = deployment.kind.to_ascii_lowercase();
        let known = ENGINES.iter().find(|engine| engine.kinds.contains(&&*kind));
        let address = given.address.or_else(|| {
            let usual = Address::parse(known.map_or(ANYWHERE, |engine| engine.path))?;
            Some(usual.below(deployment.endpoint.root()))
        });
        Some(Self { address: address?, kind: known.map(|engine| engine.kinds[0]), own: given.own })
    }

    /// The host and port that are asked, for a deployment at `of`.
    #[must_use]
    pub fn origin(&self, of: &Origin) -> Origin {
        Origin { port: self.address.port.unwrap_or(of.port), ..of.clone() }
    }

    /// The path that is asked there.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.address.path
    }

    /// The key for a scrape of a deployment. A key belongs to one port of a host.
    #[must_use]
    pub fn key<'d>(&self, deployment: &'d DeploymentConfig) -> Option<&'d Secret> {
        let origin = &deployment.endpoint.origin;
        deployment.api_key.as_ref().filter(|_| self.origin(origin) == *origin)
    }

    /// The sources of the signal at this position of [`ENGINE_SIGNALS`]. The first one whose series
    /// is there counts.
    pub fn sources(&self, signal: usize) -> impl Iterator<Item = &Source> {
        let own = self.own.as_ref().and_then(|own| own[signal].as_ref());
        let is_its = move |engine: &&Engine| match self.kind {
            Some(kind) => engine.kinds[0] == kind,
            None => engine.path == ANYWHERE,
        };
        let known = ENGINES.iter().filter(is_its).flat_map(move |engine| &engine.sources[signal]);
        own.into_iter().chain(known.filter(move |_| own.is_none()))
    }
}

/// The position in [`ENGINE_SIGNALS`] of a number in the header `endpoint-load-metrics`.
#[must_use]
pub fn reported_signal(name: &str) -> Option<usize> {
    ORCA.iter().find(|(known, _)| *known == name).map(|(_, signal)| *signal)
}

/// Where engines are asked whose kind is not known.
const ANYWHERE: &str = "/metrics";

/// The rows of one kind.
struct Engine {
    kinds: Vec<&'static str>,
    path: &'static str,
    sources: [Vec<Source>; ENGINE_SIGNALS.len()],
}

static ENGINES: LazyLock<Vec<Engine>> = LazyLock::new(|| {
    let mut engines: Vec<Engine> = Vec::new();
    for row in rows().filter(|row| row.kinds != "orca") {
        let kinds: Vec<_> = row.kinds.split(',').collect();
        let at = engines.iter().position(|engine| engine.kinds == kinds).unwrap_or_else(|| {
            engines.push(Engine { kinds, path: row.path, sources: Default::default() });
            engines.len() - 1
        });
        engines[at].sources[row.signal].extend(parse(row.series, ENGINE_SIGNALS[row.signal].0));
    }
    engines
});

static ORCA: LazyLock<Vec<(&str, usize)>> = LazyLock::new(|| {
    rows().filter(|row| row.kinds == "orca").map(|row| (row.series, row.signal)).collect()
});

/// A line of the file.
struct Row {
    kinds: &'static str,
    path: &'static str,
    signal: usize,
    series: &'static str,
}

fn rows() -> impl Iterator<Item = Row> {
    let lines = include_str!("signals.txt").lines();
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).filter_map(|line| {
        let mut columns = line.split_ascii_whitespace();
        let (kinds, path) = (columns.next()?, columns.next()?);
        let (signal, series) = (columns.next()?, columns.next()?);
        let signal = ENGINE_SIGNALS.iter().position(|(_, name)| *name == signal)?;
        Some(Row { kinds, path, signal, series })
    })
}

impl Address {
    fn parse(text: &str) -> Option<Self> {
        let (port, path) = match text.strip_prefix(':') {
            Some(rest) => {
                let (port, path) = rest.split_at(rest.find('/')?);
                (Some(port.parse().ok().filter(|port| *port > 0)?), path)
            }
            None => (None, text),
        };
        let is_plain = |b: u8| b.is_ascii_graphic() && b != b'#';
        let is_path = path.starts_with('/') && path.bytes().all(is_plain);
        is_path.then(|| Self { port, path: path.to_owned() })
    }

    /// The same page below the path `root`, for an engine behind an ingress. An address with a port
    /// stays as it is: another port is another server.
    fn below(self, root: &str) -> Self {
        if self.port.is_some() {
            return self;
        }
        Self { path: format!("{root}{}", self.path), ..self }
    }
}

impl Check<'_> {
    /// Checks `signals` of a route or an entry.
    pub(super) fn signals(
        &mut self,
        at: &[PathStep],
        raw: Option<RawSignals>,
    ) -> Option<GivenSignals> {
        let RawSignals { path, running, waiting, kv, prefix_hit } = raw?;
        let at = join(at, "signals");
        let address = path.as_deref().and_then(Address::parse);
        if path.is_some() && address.is_none() {
            let message = "this is not a path of the engine's host";
            let help = "write `/metrics`, or `:8002/metrics` for another port of the same host";
            self.report(&join(&at, "path"), message, help);
        }
        let mut own = Own::default();
        for (index, text) in [running, waiting, kv, prefix_hit].into_iter().enumerate() {
            let (signal, key) = ENGINE_SIGNALS[index];
            match text.map(|text| parse(&text, signal)) {
                Some(Ok(source)) => own[index] = Some(source),
                Some(Err((message, help))) => self.report(&join(&at, key), message, help),
                None => {}
            }
        }
        let has_own = own.iter().any(Option::is_some);
        Some(GivenSignals { address, own: has_own.then(|| Arc::new(own)) })
    }

    /// Reports an error at a value, unless a variable in it is not set, which is reported already.
    fn report(&mut self, at: &[PathStep], message: &str, help: &str) {
        if self.document.text(at).is_some() {
            self.errors.push(self.document.error(at, message, help));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::providers;
    use super::*;

    #[test]
    fn every_line_is_read() {
        let text = include_str!("signals.txt");
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let sources = ENGINES.iter().flat_map(|engine| &engine.sources).flatten();
        assert_eq!(lines.count(), sources.count() + ORCA.len());
        let mut kinds = HashSet::new();
        for engine in ENGINES.iter() {
            assert!(Address::parse(engine.path).is_some(), "{}", engine.path);
            for kind in &engine.kinds {
                assert!(providers::of_kind(kind).is_some(), "{kind} is in providers.txt");
                assert!(kinds.insert(kind), "{kind} has one block");
            }
        }
        for row in rows() {
            assert!(row.kinds == "orca" || Address::parse(row.path).is_some());
        }
    }

    #[test]
    fn signals_stand_at_their_positions() {
        for (at, (signal, name)) in ENGINE_SIGNALS.into_iter().enumerate() {
            assert_eq!((signal as usize, signal.name()), (at, &*format!("engine.{name}")));
        }
        assert_eq!(reported_signal("kv_cache_usage_perc"), Some(2));
        assert_eq!(reported_signal("cpu_utilization"), None);
    }

    #[test]
    fn addresses_are_paths_of_the_host() {
        let parsed = |text| Address::parse(text).map(|found| (found.port, found.path));
        assert_eq!(parsed("/m?x=1"), Some((None, "/m?x=1".into())));
        assert_eq!(parsed(":8002/metrics"), Some((Some(8002), "/metrics".into())));
        for text in
            ["", "metrics", ":8002", ":0/m", ":70000/m", "http://h/m", "/a b", "/a#b", ":x/"]
        {
            assert_eq!(parsed(text), None, "{text}");
        }
    }
}
