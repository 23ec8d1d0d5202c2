//! The numbers that scorers and filters go by: where each comes from, and what it is known for.

use gateway_strategy::{Deployment, Place, Request, Side, Signals, hash};

/// A number of each deployment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Quantity {
    /// A number that the gateway gives with every deployment.
    Field(Field),
    /// A column of the signals of a call.
    Signal {
        column: usize,
        /// It is a price or a cost: unknown of a remote deployment without a configured price.
        is_money: bool,
    },
    /// A number that stays: by the index of a place.
    Fixed(Vec<f64>),
    /// 1 for the deployment that the session of the request belongs to, 0 for others.
    Session,
}

/// A number that the gateway gives with every deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    InFlight,
    Queued,
    Requests,
    Load,
    FreePlaces,
    Limit,
    Latency,
    FirstByte,
    Duration,
    ErrorRate,
    RefusedRate,
}

/// The fields by name.
const FIELDS: [(&str, Field); 11] = [
    ("in-flight", Field::InFlight),
    ("queued", Field::Queued),
    ("requests", Field::Requests),
    ("load", Field::Load),
    ("free-places", Field::FreePlaces),
    ("limit", Field::Limit),
    ("latency", Field::Latency),
    ("first-byte", Field::FirstByte),
    ("duration", Field::Duration),
    ("error-rate", Field::ErrorRate),
    ("refused-rate", Field::RefusedRate),
];

/// Names of numbers that are neither fields nor signals.
const OTHERS: [&str; 4] = ["capacity", "weight", "context-length", "session"];

/// Numbers of which more is better. Of all others, less is.
const MORE_IS_BETTER: [&str; 10] = [
    "free-places",
    "limit",
    "capacity",
    "weight",
    "context-length",
    "session",
    "engine.prefix-hit",
    "tokens-per-second",
    "prefix.tokens",
    "quota.requests",
];

/// Numbers from 0 to 1.
const SHARES: [&str; 6] =
    ["engine.kv", "engine.prefix-hit", "error-rate", "refused-rate", "stalled", "session"];

/// Where a scale ends by default.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum End {
    /// At this value.
    At(f64),
    /// At the best or worst value among the deployments.
    Extreme,
    /// At this value, or at the extreme if that is beyond.
    AtLeast(f64),
    /// At the tokens of the prompt, or at the extreme if they are unknown.
    Prompt,
}

/// True if more of this number is better.
pub(crate) fn more_is_better(name: &str) -> bool {
    MORE_IS_BETTER.contains(&name)
}

/// The best and the worst end of a number's scale, where the parameters do not say.
pub(crate) fn ends(name: &str, more_is_better: bool) -> [End; 2] {
    let ends = match name {
        "load" => [End::AtLeast(1.0), End::At(0.0)],
        "prefix.tokens" => [End::Prompt, End::At(0.0)],
        share if SHARES.contains(&share) => [End::At(1.0), End::At(0.0)],
        _ => return [End::Extreme; 2],
    };
    match more_is_better {
        true => ends,
        false => [ends[1], ends[0]],
    }
}

/// The names of the numbers that are known without a signal.
pub(crate) fn fields() -> impl Iterator<Item = &'static str> {
    FIELDS.iter().map(|(name, _)| *name).chain(OTHERS)
}

/// The field that was most likely meant by a name that is none. None: no field is near.
pub(crate) fn nearest_field(name: &str) -> Option<&'static str> {
    /// In bytes. No field has so long a name.
    const LONGEST: usize = 32;

    let most = name.len().max(3) / 3;
    let near = |field: &'static str| {
        let distance = strsim::osa_distance(name, field);
        (distance <= most).then_some((distance, field))
    };
    let near = fields().filter(|_| name.len() <= LONGEST).filter_map(near).min();
    near.map(|(_, field)| field)
}

impl Quantity {
    /// The number of this name. A name that is no field is a signal: it gets a column of `signals`.
    pub(crate) fn named(name: &str, places: &[Place], signals: &mut Vec<String>) -> Self {
        if let Some((_, field)) = FIELDS.iter().find(|(known, _)| *known == name) {
            return Self::Field(*field);
        }
        let fixed = |of: fn(&Place) -> f64| Self::Fixed(places.iter().map(of).collect());
        match name {
            "capacity" => fixed(|place| place.capacity.into()),
            "weight" => fixed(|place| place.weight),
            #[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 tokens")]
            "context-length" => fixed(|place| place.context_length as f64),
            "session" => Self::Session,
            _ => {
                let known = signals.iter().position(|signal| signal == name);
                let column = known.unwrap_or_else(|| {
                    signals.push(name.to_owned());
                    signals.len() - 1
                });
                let is_money = name == "request.cost" || name.starts_with("price.");
                Self::Signal { column, is_money }
            }
        }
    }
}

/// The facts of a place that do not change.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Site {
    /// The hash of its name.
    name: u64,
    capacity: u32,
    /// Its cost is known: it has a price, or is paid for already.
    has_price: bool,
}

impl Site {
    pub(crate) fn of(place: &Place) -> Self {
        let has_price = place.price.is_some() || place.side == Side::Local;
        Self { name: hash::text(&place.name), capacity: place.capacity, has_price }
    }
}

/// What the numbers of one call are read from.
pub(crate) struct Call<'c> {
    sites: &'c [Site],
    signals: Signals,
    /// Tokens of the prompt. NaN: unknown.
    pub(crate) prompt: f64,
    session: Option<u64>,
}

impl<'c> Call<'c> {
    pub(crate) fn new(sites: &'c [Site], columns: usize, request: Option<&Request>) -> Self {
        let signals = if columns > 0 { Signals::read(columns) } else { Signals::default() };
        let prompt = request.and_then(|request| request.prompt_tokens);
        let session = request.and_then(|request| request.session);
        Self { sites, signals, prompt: prompt.map_or(f64::NAN, f64::from), session }
    }

    /// Calls `with` for each deployment that `is_in`, with its row and its value. A value that is not
    /// known is NaN.
    pub(crate) fn each(
        &self,
        quantity: &Quantity,
        all: &[&Deployment],
        is_in: &[bool],
        mut with: impl FnMut(usize, f64),
    ) {
        let home = match (quantity, self.session) {
            (Quantity::Session, Some(session)) => self.home(session, all, is_in),
            _ => None,
        };
        for (row, one) in all.iter().enumerate().filter(|(row, _)| is_in[*row]) {
            let site = self.sites[one.place()];
            let value = match quantity {
                Quantity::Field(field) => field.of(one),
                Quantity::Signal { is_money: true, .. } if !site.has_price => f64::NAN,
                Quantity::Signal { column, .. } => self.signals.of(row, *column),
                Quantity::Fixed(values) => values[one.place()],
                Quantity::Session => home.map_or(f64::NAN, |home| f64::from(u8::from(home == row))),
            };
            // An infinite number says no more than an unknown one, and would spoil a scale.
            with(row, if value.is_finite() { value } else { f64::NAN });
        }
    }

    /// The row of the deployment that a session belongs to: by rendezvous hashing, so all gateways
    /// agree and few sessions move when a deployment comes or goes.
    fn home(&self, session: u64, all: &[&Deployment], is_in: &[bool]) -> Option<usize> {
        let distance = |row: &usize| {
            let Site { name, capacity, .. } = self.sites[all[*row].place()];
            hash::distance(session, name, capacity.into())
        };
        let rows = (0..all.len()).filter(|row| is_in[*row]);
        let pairs = rows.map(|row| (distance(&row), row));
        pairs.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, row)| row)
    }
}

impl Field {
    fn of(self, one: &Deployment) -> f64 {
        let limit = f64::from(one.limit.max(1));
        match self {
            Self::InFlight => one.in_flight.into(),
            Self::Queued => one.queued.into(),
            Self::Requests => one.requests(),
            Self::Load => one.load(one.limit),
            Self::FreePlaces => (limit - one.requests()).max(0.0),
            Self::Limit => limit,
            Self::Latency => one.latency,
            Self::FirstByte => one.first_byte().unwrap_or(f64::NAN),
            Self::Duration => one.duration,
            Self::ErrorRate => one.error_rate,
            Self::RefusedRate => one.refused_rate,
        }
    }
}
