//! Random fleets with unusual values. The same seed gives the same fleets.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use contract::{Column, Facts, Modalities, Needs, Place, Price, Side, Signal};
use routing::facts::tenant;

use super::super::question::{AnyQuestion, Live, QuestionRequest, SignalValue};

/// Maximum deployments of a fleet.
const MOST: usize = 128;
/// Number of questions about one fleet.
const QUESTIONS: usize = 12;

/// A fleet and the questions about it.
#[derive(Debug)]
pub(super) struct DrawnFleet {
    pub(super) places: Vec<Place>,
    pub(super) questions: Vec<AnyQuestion>,
}

/// The questions that a strategy accepts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'a> {
    /// True if it may be asked about requests.
    pub(super) on_path: bool,
    /// Facts of requests that it is told.
    pub(super) needs: Needs,
    /// The signals that it reads. None: one that this gateway does not know.
    pub(super) signals: &'a [Option<Column>],
}

/// Draws the fleet with this number.
pub(super) fn fleet(seed: u64, number: u64, scope: Scope<'_>) -> DrawnFleet {
    // The multiplication keeps the streams of neighbouring seeds and numbers apart.
    let mut dice = Dice(StdRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number));
    let size = match number % 4 {
        0 => dice.0.random_range(1..=3),
        1 => MOST,
        _ => dice.0.random_range(1..=MOST),
    };
    dice.fleet(size, QUESTIONS, scope)
}

/// A fleet of ordinary size with many questions, for the memory check.
pub(super) fn treadmill(seed: u64, scope: Scope<'_>) -> DrawnFleet {
    Dice(StdRng::seed_from_u64(seed)).fleet(16, 64, scope)
}

struct Dice(StdRng);

impl Dice {
    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        // None of the lists here is empty.
        from.choose(&mut self.0).copied().unwrap_or(from[0])
    }

    fn coin(&mut self) -> bool {
        self.0.random()
    }

    fn fleet(&mut self, size: usize, questions: usize, scope: Scope<'_>) -> DrawnFleet {
        let sides: &[Side] =
            self.pick(&[&[Side::Local][..], &[Side::Remote], &[Side::Local, Side::Remote]]);
        let models = if size > 1 && self.0.random_bool(0.25) { 2 } else { 1 };
        let places: Vec<Place> = (0..size).map(|at| self.place(at, models, sides)).collect();
        let question = |n: usize| self.question(&places, n % models, scope);
        let questions = (0..questions).map(question).collect();
        DrawnFleet { places, questions }
    }

    fn place(&mut self, at: usize, models: usize, sides: &[Side]) -> Place {
        let prices = [None, Some(0.0), Some(1e-7), Some(1e-5), Some(1.0)];
        let few = self.0.random_range(2..=64);
        Place {
            // As in a configuration, names are unique within a model only.
            name: format!("place-{}", at / models),
            model: format!("model-{}", at % models),
            side: self.pick(sides),
            weight: self.pick(&[0.0, 0.01, 0.5, 1.0]),
            capacity: self.pick(&[1, 1, few, 1_000, u32::MAX]),
            price: self.pick(&prices).map(|price| Price {
                prompt: price,
                cached: price / 2.0,
                completion: 2.0 * price,
            }),
            context_length: self.pick(&[1, 4_096, 131_072, 10_000_000]),
            takes: self.pick(&[Modalities::NONE, Modalities::IMAGE]),
            tools: self.pick(&[false, true]),
            tags: if self.coin() { vec!["fast".to_owned()] } else { Vec::new() },
        }
    }

    /// Draws a question about one model: with all its deployments half of the time, else with some.
    fn question(&mut self, places: &[Place], model: usize, scope: Scope<'_>) -> AnyQuestion {
        let model = format!("model-{model}");
        let all: Vec<u32> =
            (0..).zip(places).filter(|(_, place)| place.model == model).map(|(id, _)| id).collect();
        let mut asked = all.clone();
        if self.coin() {
            asked.retain(|_| self.0.random_bool(0.5));
        }
        if asked.is_empty() {
            asked.push(self.pick(&all));
        }
        let mood = self.0.random_range(0..6);
        let (mut local, mut remote) = (Vec::new(), Vec::new());
        for id in asked {
            let place = &places[id as usize];
            let live = self.live(id, place.capacity, mood);
            match place.side {
                Side::Local => local.push(live),
                Side::Remote => remote.push(live),
            }
        }
        let request = (scope.on_path && self.coin()).then(|| self.request(scope.needs));
        let signals = self.signals(local.iter().chain(&remote).map(|live| live.id), scope.signals);
        AnyQuestion { local, remote, request, signals }
    }

    /// Draws values of signals. Those that are left out are unknown.
    fn signals(
        &mut self,
        ids: impl Iterator<Item = u32>,
        asked: &[Option<Column>],
    ) -> Vec<SignalValue> {
        let mut values = Vec::new();
        let (global, of_deployments): (Vec<&Column>, Vec<&Column>) =
            asked.iter().flatten().partition(|column| column.is_global());
        let deployments = ids.flat_map(|id| of_deployments.iter().map(move |one| (*one, Some(id))));
        for (column, deployment) in deployments.chain(global.into_iter().map(|one| (one, None))) {
            if self.coin() {
                let (column, value) = (column.clone(), self.value(column.signal));
                values.push(SignalValue { column, deployment, value });
            }
        }
        values
    }

    fn value(&mut self, signal: Signal) -> f64 {
        let share = self.0.random_range(0.0..=1.0);
        let some = f64::from(self.0.random_range(1_u32..=5_000));
        match signal.facts().unit {
            "0 or 1" => self.pick(&[0.0, 1.0]),
            "0 to 1" => self.pick(&[0.0, share, 1.0]),
            "dollars" => self.pick(&[0.0, 1e-7, share]),
            _ => self.pick(&[0.0, 1.0, some, some, 1e9]),
        }
    }

    /// Draws a deployment's state. In some moods all deployments are alike: idle, without latency,
    /// overloaded, failing, instant.
    fn live(&mut self, id: u32, capacity: u32, mood: u8) -> Live {
        let near = self.0.random_range(0..=capacity.saturating_mul(2));
        let some = self.0.random_range(0.1..5_000.0);
        let rate = self.0.random_range(0.0..=1.0);
        let mixed = Live {
            id,
            in_flight: self.pick(&[0, 1, near, capacity, u32::MAX]),
            queued: self.pick(&[0, 0, 1, near, u32::MAX]),
            limit: self.pick(&[None, None, Some(1), Some(near.clamp(1, capacity))]),
            latency: self.pick(&[None, Some(0.0), Some(some), Some(some), Some(1e12)]),
            error_rate: self.pick(&[0.0, 0.0, rate, 1.0]),
            ..Live::idle(id)
        };
        let idle = Live::idle(id);
        match mood {
            0 => idle,
            1 => Live { latency: None, ..mixed },
            2 => Live { in_flight: u32::MAX, queued: u32::MAX, latency: Some(1e12), ..mixed },
            3 => Live { error_rate: 1.0, ..mixed },
            4 => Live { latency: Some(0.0), ..idle },
            _ => mixed,
        }
    }

    fn request(&mut self, needs: Needs) -> QuestionRequest {
        let tokens = [0, 1, 700, 100_000, u32::MAX];
        let blocks = self.pick(&[0, 1, 8, 64]);
        let some = |dice: &mut Self, is_told: bool| is_told && dice.coin();
        let facts = Facts {
            prompt_tokens: some(self, needs.prompt_tokens).then(|| self.pick(&tokens)),
            max_output_tokens: self.coin().then(|| self.pick(&tokens)),
            // Few sessions, so that some recur.
            session: some(self, needs.session)
                .then(|| self.pick(&[0, 1, 2, 0x5bd1_e995, u64::MAX])),
            prefixes: match some(self, needs.prefixes) {
                true => (0..blocks).map(|_| self.0.random_range(0..32)).collect(),
                false => Vec::new(),
            },
            tenant: self.coin().then(|| tenant("acme")),
            priority: self.pick(&[0, 0, 1, -1, i32::MAX]),
            objective: self.coin().then(|| Duration::from_millis(250)),
            holds: Modalities::NONE,
            tools: self.coin(),
            headers: match self.coin() {
                true => vec![("x-tier".to_owned(), "gold".to_owned())],
                false => Vec::new(),
            },
        };
        QuestionRequest { stream: self.coin(), facts, held: self.pick(&[0, 0, 1, 2]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn column(signal: Signal) -> Option<Column> {
        Some(Column { signal, budget: None })
    }

    const SIGNALS: [Option<Column>; 4] =
        [column(Signal::EngineKv), None, column(Signal::ModelSequence), column(Signal::Stalled)];
    const ALL: Scope<'static> = Scope {
        on_path: true,
        signals: &SIGNALS,
        needs: Needs { prompt_tokens: true, session: true, prefixes: true, tenant_name: true },
    };

    #[test]
    fn the_same_seed_gives_the_same_fleet() {
        let shown = |seed, number| format!("{:?}", fleet(seed, number, ALL));
        assert_eq!(shown(7, 2), shown(7, 2));
        assert_ne!(shown(7, 2), shown(8, 2));
        assert_ne!(shown(7, 2), shown(7, 3));
    }

    #[test]
    fn every_question_is_one_that_the_gateway_could_ask() {
        let (mut empty, mut requests, mut sizes) = ([0, 0], 0, [MOST, 0]);
        for number in 0..200 {
            let DrawnFleet { places, questions } = fleet(1, number, ALL);
            sizes = [sizes[0].min(places.len()), sizes[1].max(places.len())];
            for question in questions {
                let (local, remote) = question.candidates(&places);
                assert!(!(local.is_empty() && remote.is_empty()));
                assert!(local.iter().all(|candidate| candidate.place.side == Side::Local));
                assert!(remote.iter().all(|candidate| candidate.place.side == Side::Remote));
                let mut models = local.iter().chain(&remote).map(|c| &c.place.model);
                let first = models.next();
                assert!(models.all(|model| Some(model) == first));
                empty[0] += usize::from(local.is_empty());
                empty[1] += usize::from(remote.is_empty());
                requests += usize::from(question.request.is_some());
            }
        }
        assert!(empty[0] > 100 && empty[1] > 100 && requests > 100, "{empty:?} {requests}");
        assert_eq!(sizes, [1, MOST]);
    }

    #[test]
    fn only_what_is_asked_for_is_told() {
        let told = |scope| {
            let questions = (0..50).flat_map(move |number| fleet(1, number, scope).questions);
            questions.filter_map(|question| question.request)
        };
        assert_eq!(told(Scope { on_path: false, ..ALL }).count(), 0);
        let values = |scope| {
            let questions = (0..50).flat_map(move |number| fleet(1, number, scope).questions);
            questions.flat_map(|question| question.signals).collect::<Vec<_>>()
        };
        assert_eq!(values(Scope { signals: &[], ..ALL }).len(), 0);
        let all = values(ALL);
        assert!(SIGNALS.iter().flatten().all(|asked| all.iter().any(|one| one.column == *asked)));
        assert!(all.iter().all(|one| match one.column.signal {
            Signal::EngineKv => (0.0..=1.0).contains(&one.value),
            Signal::Stalled => [0.0, 1.0].contains(&one.value),
            _ => one.deployment.is_none() && one.value >= 0.0,
        }));
        let needs = Needs::default();
        for request in told(Scope { needs, ..ALL }) {
            let Facts { prompt_tokens, session, prefixes, .. } = request.facts;
            assert!(prompt_tokens.is_none() && session.is_none() && prefixes.is_empty());
        }
        assert!(told(ALL).any(|request| request.facts.session.is_some()));
    }
}
