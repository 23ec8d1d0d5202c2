//! The built-in strategies in a large fleet, within the memory and the deadlines of the default
//! sandbox.
//!
//! Deadlines are measured in Wasmtime's fuel, about one unit per instruction of the guest. So the
//! tests detect a guest that does too much work on any machine, however busy. They also do in a
//! debug build, where the host takes most of a call's time.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use wasmtime::component::Component;

use super::super::builtin;
use super::super::guest::{Instance, Program, Stopped};
use super::super::interface::{self, ComponentShape};
use super::super::machine::{self, Machine};
use super::super::source::Source;
use super::super::system::System;
use config::Sandbox;
use contract::{
    Candidate, Facts, KnownBudgets, Place, Price, Question, RawVerdict, Side, Situation, Verdict,
};

/// Number of places in the largest fleet, such as 10,000 models with 4 deployments each.
const PLACES: usize = 40_000;
/// Number of deployments of the largest model that is asked about on the request path.
const OF_A_REQUEST: usize = 2_000;
/// A third of what a core of 2.5 GHz executes, because the host takes a share of the time.
const FUEL_PER_MILLISECOND: u64 = 1_000_000;

#[test]
fn built_ins_take_forty_thousand_places() {
    for name in builtin::names() {
        let guest = Guest::new(name);
        for of_a_model in [4, PLACES] {
            let places = places(of_a_model);
            let mut instance = guest.configured(&json!({}), &places);
            let all = candidates(&places);
            for model in [&all[..of_a_model], &all[PLACES - of_a_model..]] {
                guest.assign(&mut instance, model);
                if guest.shape.on_path {
                    guest.assign_request(&mut instance, &model[..of_a_model.min(OF_A_REQUEST)]);
                }
            }
        }
    }
}

#[test]
fn parameters_may_name_a_thousand_places() {
    let places = places(PLACES);
    let names = || places.iter().rev().take(1_000).map(|place| place.name.clone());
    let order = json!({ "order": names().collect::<Vec<_>>() });
    let limits = names().map(|name| (name, json!(1_000))).collect();
    let limits = json!({ "max_tokens": Value::Object(limits) });
    for (name, parameters) in [("weighted-order", order), ("prompt-length", limits)] {
        let guest = Guest::new(name);
        let mut instance = guest.configured(&parameters, &places);
        guest.assign(&mut instance, &candidates(&places));
    }
}

#[test]
fn score_takes_every_kind_of_number_in_large_fleets() {
    let guest = Guest::new("score");
    let signal = |name: &str| json!({"signal": name});
    let scorers: Vec<Value> =
        ["session", "request.cost", "prefix.tokens", "first-byte", "weight", "engine.waiting"]
            .map(signal)
            .into();
    let filters = json!([{"signal": "free-places", "above": 0}, {"side": "local"}]);
    for picker in ["best", "weighted", "best-of-two"] {
        let places = places(PLACES);
        let parameters = json!({"scorers": scorers, "filters": filters, "picker": picker});
        let mut instance = guest.configured(&parameters, &places);
        let all = candidates(&places);
        guest.assign(&mut instance, &all);
        guest.assign_request(&mut instance, &all[PLACES / 2 - 1_000..][..OF_A_REQUEST]);
    }
}

/// Fuel of a call with 8 and with 32 deployments, after earlier calls have allocated its memory.
/// The call is `assign-request`, or `assign` of strategies that decide only off the path.
const FUEL: [(&str, [u64; 2]); 15] = [
    ("fixed", [2_300, 6_250]),
    ("budget", [3_950, 10_250]),
    ("cost", [8_750, 36_000]),
    ("latency", [10_100, 42_150]),
    ("least-load", [7_350, 28_400]),
    ("lmetric", [7_200, 27_250]),
    ("local-first", [2_300, 6_250]),
    ("prefix-affinity", [8_800, 35_600]),
    ("prompt-length", [6_450, 20_150]),
    ("round-robin", [12_700, 39_700]),
    ("routewise", [45_000, 150_000]),
    ("score", [15_250, 56_000]),
    ("session-affinity", [8_200, 33_800]),
    ("spill", [6_050, 15_450]),
    ("weighted-order", [4_200, 15_400]),
];

#[test]
fn calls_stay_as_cheap_as_they_are() {
    let fuel = |name| FUEL.iter().find(|(known, _)| *known == name).map(|(_, fuel)| *fuel);
    let mut dearer = Vec::new();
    for name in builtin::names() {
        let guest = Guest::new(name);
        for (size, least) in [8, 32].into_iter().zip(fuel(name).expect(name)) {
            let places = &places(size)[..size];
            let mut instance = guest.configured(&json!({}), places);
            let all = candidates(places);
            let mut used = 0;
            // The first calls take memory.
            for _ in 0..8 {
                guest.assign(&mut instance, &all);
                used = guest.used(&instance, guest.sandbox.call);
                if guest.shape.on_path {
                    guest.assign_request(&mut instance, &all);
                    used = guest.used(&instance, guest.sandbox.request);
                }
            }
            if used > least + least / 20 {
                dearer.push(format!("{name} of {size}: {used}, it was {least}"));
            }
        }
    }
    assert!(dearer.is_empty(), "{dearer:#?}");
}

/// A built-in strategy on an engine that counts fuel.
struct Guest {
    name: &'static str,
    program: Program,
    shape: ComponentShape,
    sandbox: Sandbox,
}

impl Guest {
    fn new(name: &'static str) -> Self {
        let sandbox = Sandbox::default();
        let mut config = machine::settings(sandbox.stack);
        let machine = Machine::with(config.consume_fuel(true), sandbox.stack).unwrap();
        let Some(Source::BuiltIn { bytes, .. }) = builtin::find(name) else { panic!("{name}") };
        let component = Component::new(&machine.engine, bytes).unwrap();
        let shape = interface::shape(name, &component).unwrap();
        // Fuel replaces the deadline. The clock only catches a guest that hangs.
        let patient = Sandbox { call: Duration::from_secs(600), ..sandbox };
        let program =
            Program::new(Arc::new(machine), &component, shape, patient, KnownBudgets::Any);
        Self { name, program: program.ok().unwrap(), shape, sandbox }
    }

    /// Makes an instance and configures it with these places.
    fn configured(&self, parameters: &Value, places: &[Place]) -> Instance {
        let (deadline, system) = (self.program.deadline(), Arc::new(System::default()));
        let mut instance =
            self.program.instantiate(self.name.into(), Arc::default(), system, deadline).unwrap();
        self.within(self.sandbox.call, &mut instance, async |Instance { store, guest, .. }| {
            guest.describe(store).await
        });
        let parameters = parameters.to_string();
        let answer = self.within(
            self.sandbox.call,
            &mut instance,
            async |Instance { store, guest, .. }| guest.configure(store, &parameters, places).await,
        );
        assert_eq!(answer, Ok(()), "{}", self.name);
        instance
    }

    fn assign(&self, instance: &mut Instance, model: &[Candidate<'_>]) {
        let (local, remote) = sides(model);
        let said =
            self.within(self.sandbox.call, instance, async |Instance { store, guest, .. }| {
                let situation = Situation { local: &local, remote: &remote, signals: &[] };
                guest.assign(store, situation).await
            });
        self.check(said.into(), &local, &remote);
    }

    fn assign_request(&self, instance: &mut Instance, model: &[Candidate<'_>]) {
        let (local, remote) = sides(model);
        let facts = Facts {
            prompt_tokens: Some(700),
            max_output_tokens: Some(256),
            session: Some(0x5eed),
            prefixes: (1..=64).collect(),
            ..Facts::default()
        };
        let (model, facts) = (&*model[0].place.model, &facts);
        let situation = Situation { local: &local, remote: &remote, signals: &[] };
        let question = Question { model, stream: true, facts, situation, held: 0 };
        let said = self.within(
            self.sandbox.request,
            instance,
            async |Instance { store, guest, .. }| guest.assign_request(store, question).await,
        );
        self.check(said, &local, &remote);
    }

    /// Runs a call with as much fuel as `deadline` allows. Panics if the fuel runs out.
    fn within<T>(
        &self,
        deadline: Duration,
        instance: &mut Instance,
        call: impl AsyncFnOnce(&mut Instance) -> wasmtime::Result<T>,
    ) -> T {
        let milliseconds = u64::try_from(deadline.as_millis()).unwrap();
        instance.begin();
        instance.store.set_fuel(milliseconds * FUEL_PER_MILLISECOND).unwrap();
        match self.program.call(call(instance)) {
            Ok(answer) => answer,
            Err(Stopped::Trap(cause)) => panic!("{} within {deadline:?}: {cause}", self.name),
            Err(Stopped::TimedOut(after)) => panic!("{} hangs for {after:?}", self.name),
        }
    }

    /// Fuel that the last call took, of what `deadline` allowed.
    fn used(&self, instance: &Instance, deadline: Duration) -> u64 {
        let milliseconds = u64::try_from(deadline.as_millis()).unwrap();
        milliseconds * FUEL_PER_MILLISECOND - instance.store.get_fuel().unwrap()
    }

    fn check(&self, said: RawVerdict, local: &[Candidate<'_>], remote: &[Candidate<'_>]) {
        let good = Verdict::check(said, [local.len(), remote.len()], 256);
        assert!(good.is_ok(), "{}: {good:?}", self.name);
    }
}

/// All places. Half of each model's are local. Values that a strategy may sort by are distinct.
fn places(of_a_model: usize) -> Vec<Place> {
    let place = |at: u32| {
        let number = at as usize % of_a_model;
        let side = if number < of_a_model / 2 { Side::Local } else { Side::Remote };
        let (name, model) =
            (format!("{}-{number}", side.as_str()), format!("model-{}", at as usize / of_a_model));
        let prompt = 1e-9 * f64::from(at);
        Place {
            weight: 1.0 / (1.0 + f64::from(at)),
            capacity: 8,
            price: Some(Price { prompt, cached: prompt, completion: 1e-5 }),
            context_length: 1_000 + u64::from(at),
            ..Place::new(&name, &model, side)
        }
    };
    (0..).take(PLACES).map(place).collect()
}

/// A candidate for each place. The latency falls from one to the next, the costliest order to sort.
fn candidates(places: &[Place]) -> Vec<Candidate<'_>> {
    let candidate = |(id, place): (u32, _)| Candidate {
        in_flight: id % 7,
        latency: Some(100_000.0 - f64::from(id)),
        ..Candidate::idle(id, place)
    };
    (0..).zip(places).map(candidate).collect()
}

/// Splits the deployments of a model into local and remote ones.
fn sides<'p>(model: &[Candidate<'p>]) -> (Vec<Candidate<'p>>, Vec<Candidate<'p>>) {
    model.iter().copied().partition(|candidate| candidate.place.side == Side::Local)
}
