//! The strategy `spill`: all traffic goes to local deployments. While those are too busy, remote
//! deployments get a share of it.

use std::time::Duration;

use gateway_strategy::pacing::Stretch;
use gateway_strategy::parameters::{Fraction, Positive};
use gateway_strategy::{
    Deployment, Needs, Place, Request, RequestStrategy, Strategy, Verdict, Weights, hash, store,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `routing_parameter` of the strategy `spill`.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// Spilling begins at this load of the local deployments: requests in flight and waiting, divided
    /// by the requests that they take at a time. 1 means full.
    pub high: Positive,
    /// Spilling ends at this load, at most high. Default: high, so that each request that finds a free
    /// local place is served there.
    pub low: Option<Positive>,
    /// Spilling also begins when the best local deployment is expected to take longer than this for
    /// the first byte, in milliseconds, and ends at low / high of it. Default: no such limit.
    pub first_byte_ms: Option<Positive>,
    /// The share of the traffic that remote deployments get while the strategy spills.
    pub remote_share: Fraction,
    /// The name of a budget in routing.yaml that is to last: while its money goes faster than time, high,
    /// low and first_byte_ms are multiplied. Default: none.
    pub budget: Option<String>,
    /// The share of the budget, spent ahead of time, that doubles them.
    pub ahead: Fraction,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            high: Positive::thousandths(1_000),
            low: None,
            first_byte_ms: None,
            remote_share: Fraction::percent(100),
            budget: None,
            ahead: Fraction::percent(2),
        }
    }
}

/// An instance of `spill`. Whether a model spills is in the [`store`], so that all instances begin and
/// stop at the same request.
#[derive(Debug)]
pub struct Spill {
    parameters: Parameters,
    stretch: Stretch,
    /// By the number of a place.
    /// For each place the hash of its model's id.
    models: Vec<u64>,
}

/// The factor of a deployment without a free place. Its requests would wait beside free places of
/// its side, so only one in about a million goes there. It stays a fallback before the other side.
const FULL: f64 = 1e-6;

gateway_strategy::export!(Spill, request; schema = "parameters.json");

impl Strategy for Spill {
    const SUMMARY: &'static str = "Local until that is too busy, then remote by share";
    const REFRESH: Option<Duration> = Some(Duration::from_millis(250));

    type Parameters = Parameters;

    fn configure(parameters: Parameters, places: Vec<Place>) -> Result<Self, String> {
        let Parameters { high, low, ref budget, ahead, .. } = parameters;
        if let Some(low) = low.filter(|low| *low > high) {
            let (high, low) = (high.get(), low.get());
            return Err(format!("`low`: {low} is above `high`, which is {high}"));
        }
        let stretch = Stretch::by(budget.as_deref(), ahead, Needs::NOTHING)?;
        let models = places.iter().map(|place| hash::text(&place.model)).collect();
        Ok(Self { parameters, stretch, models })
    }

    fn assign(&mut self, local: &[Deployment], remote: &[Deployment]) -> Weights {
        let stretch = self.stretch.factor(local.len() + remote.len());
        let spills = self.spills(local, stretch);
        let room = |one: &Deployment| {
            let free = one.load(one.limit) < 1.0;
            one.room(one.limit) * if free { 1.0 } else { FULL }
        };
        let to_remote = if spills { self.parameters.remote_share.get() } else { 0.0 };
        Weights::each(local, remote, room).sides(1.0 - to_remote)
    }
}

impl RequestStrategy for Spill {
    fn assign_request(
        &mut self,
        _request: &Request,
        local: &[Deployment],
        remote: &[Deployment],
    ) -> Verdict {
        self.assign(local, remote).into()
    }
}

impl Spill {
    /// Updates and returns whether the model of these deployments spills. Between the limits, which are
    /// multiplied by `stretch`, the model keeps its state.
    fn spills(&self, local: &[Deployment], stretch: f64) -> bool {
        // Without a local deployment nothing can spill, and the state waits for one.
        let Some(first) = local.first() else { return false };
        let Parameters { high, low, first_byte_ms, .. } = self.parameters;
        let low = low.unwrap_or(high);
        // What refusals taught, not what is configured: an engine may take far less.
        let limit: f64 = local.iter().map(|one| f64::from(one.limit)).sum();
        let load = local.iter().map(Deployment::requests).sum::<f64>() / limit / stretch;
        // Deployments without a latency yet count as instant: they must get traffic to be measured.
        let first_byte = |one: &Deployment| one.first_byte().unwrap_or(0.0);
        let best = local.iter().map(first_byte).reduce(f64::min);
        // The wait as a multiple of its limit.
        let wait =
            first_byte_ms.zip(best).map_or(0.0, |(limit, best)| best / limit.get() / stretch);
        let state = State::of(self.models[first.place()]);
        let was = state.is_spilling();
        let spills = load >= high.get()
            || wait > 1.0
            || was && (load > low.get() || wait > low.get() / high.get());
        if spills != was {
            state.set(spills);
        }
        spills
    }
}

/// Whether a model spills, in the [`store`]. Spilling begins and ends at different loads (hysteresis),
/// so the answer depends on the one before.
///
/// Instances write what the load says, and all see the same load. If two write at a time and the older
/// load wins, the next load beyond a limit corrects it.
struct State {
    /// A key of the store. Ids of models may be longer than keys.
    key: String,
}

impl State {
    fn of(model: u64) -> Self {
        Self { key: format!("{model:016x}") }
    }

    fn is_spilling(&self) -> bool {
        store::get(&self.key).is_some()
    }

    fn set(&self, spills: bool) {
        match spills {
            // The store has 4,096 keys. A model that finds none spills above `high` alone.
            true => _ = store::set(&self.key, &[], None),
            false => store::remove(&self.key),
        }
    }
}

#[cfg(test)]
mod tests {
    use gateway_strategy::testing::{self, Fleet};

    use super::Spill;

    fn busy(requests: u32) -> Fleet {
        Fleet::new().local("gpu").capacity(10).in_flight(requests).remote("api")
    }

    #[test]
    fn it_spills_above_high_and_stops_below_low() {
        let mut spill: Spill = busy(0).configure(r#"{"high": 0.9, "low": 0.7}"#);
        for (requests, local) in [(0, 1.0), (8, 1.0), (9, 0.0), (8, 0.0), (7, 1.0), (8, 1.0)] {
            assert_eq!(busy(requests).ask(&mut spill), [local, 1.0 - local], "{requests}");
        }
    }

    #[test]
    fn by_default_no_free_place_is_left_unused() {
        let mut spill: Spill = busy(0).configure("{}");
        for (requests, local) in [(9, 1.0), (10, 0.0), (10, 0.0), (9, 1.0), (11, 0.0), (0, 1.0)] {
            assert_eq!(busy(requests).ask(&mut spill), [local, 1.0 - local], "{requests}");
        }
    }

    #[test]
    fn only_a_share_goes_remote() {
        let mut spill: Spill = busy(0).configure(r#"{"remote_share": 0.25}"#);
        assert_eq!(busy(20).ask(&mut spill), [0.75, 0.25]);
    }

    #[test]
    fn it_spills_when_the_first_byte_is_late_at_the_best() {
        let fleet = |a, b| Fleet::new().local("a").latency(a).local("b").latency(b).remote("api");
        let mut spill: Spill =
            fleet(0.0, 0.0).configure(r#"{"high": 0.9, "low": 0.7, "first_byte_ms": 900}"#);
        for (a, b, remote) in
            [(2e3, 800.0, 0.0), (2e3, 901.0, 1.0), (2e3, 800.0, 1.0), (2e3, 699.0, 0.0)]
        {
            assert_eq!(fleet(a, b).ask(&mut spill)[2], remote, "{a} {b}");
        }
        let queue = Fleet::new().local("a").capacity(10).latency(500.0).queued(9).remote("api");
        let limits = r#"{"high": 5, "first_byte_ms": 900}"#;
        assert_eq!(queue.ask(&mut queue.configure::<Spill>(limits)), [0.0, 1.0]);
    }

    #[test]
    fn local_deployments_share_by_room() {
        let fleet =
            Fleet::new().local("a").capacity(10).in_flight(9).local("b").capacity(10).in_flight(7);
        assert_eq!(fleet.ask(&mut fleet.configure::<Spill>("{}")), [0.25, 0.75]);
    }

    #[test]
    fn nothing_waits_beside_a_free_place() {
        let fleet = |a, b| {
            Fleet::new().local("a").capacity(9).in_flight(a).local("b").capacity(2).in_flight(b)
        };
        let mut spill: Spill = fleet(0, 0).configure("{}");
        assert_eq!(fleet(8, 2).ask(&mut spill), [1.0, 0.0]);
        assert_eq!(fleet(9, 1).ask(&mut spill), [0.0, 1.0]);
        assert_eq!(fleet(9, 2).ask(&mut spill), [0.81818, 0.18182], "all wait alike");
    }

    #[test]
    fn each_model_spills_for_itself() {
        let two = Fleet::new()
            .local("a")
            .capacity(1)
            .remote("b")
            .local("a")
            .model("n")
            .remote("b")
            .model("n");
        let mut spill: Spill = two.configure(r#"{"high": 1, "low": 0.5}"#);
        let about = |ids: [usize; 2], requests| {
            let mut fleet = two.clone();
            fleet.local = vec![two.local[ids[0]]];
            fleet.remote = vec![two.remote[ids[1]]];
            fleet.local[0].in_flight = requests;
            fleet
        };
        assert_eq!(about([0, 0], 1).ask(&mut spill), [0.0, 1.0]);
        assert_eq!(about([1, 1], 1).ask(&mut spill), [1.0, 0.0]);
    }

    #[test]
    fn instances_spill_together() {
        let [mut one, mut other]: [Spill; 2] =
            [(); 2].map(|()| busy(0).configure(r#"{"high": 0.9, "low": 0.7}"#));
        assert_eq!(busy(9).ask(&mut one), [0.0, 1.0]);
        assert_eq!(busy(8).ask(&mut other), [0.0, 1.0], "it was not asked at 9");
        assert_eq!(busy(7).ask(&mut other), [1.0, 0.0]);
        assert_eq!(busy(8).ask(&mut one), [1.0, 0.0], "it was not asked at 7");
    }

    #[test]
    fn without_a_side_the_other_has_everything() {
        let mut spill: Spill = Fleet::new().local("a").remote("b").configure("{}");
        assert_eq!(Fleet::new().local("a").in_flight(99).ask(&mut spill), [1.0]);
        assert_eq!(Fleet::new().remote("b").in_flight(99).ask(&mut spill), [1.0]);
    }

    #[test]
    fn a_learned_limit_counts_as_full() {
        let fleet = |requests| {
            let fleet = Fleet::new().local("gpu").capacity(256).limit(20).in_flight(requests);
            fleet.remote("api")
        };
        let answer = |requests| {
            let fleet = fleet(requests);
            fleet.ask(&mut fleet.configure::<Spill>("{}"))
        };
        assert_eq!([answer(19), answer(20)], [[1.0, 0.0], [0.0, 1.0]]);
    }

    #[test]
    fn it_spills_later_while_money_goes_faster_than_time() {
        let mut spill: Spill = busy(0).configure(r#"{"budget": "b"}"#);
        for (pace, requests, remote) in
            [(1.0, 10, 1.0), (1.04, 19, 0.0), (1.04, 21, 1.0), (0.5, 9, 0.0), (0.5, 10, 1.0)]
        {
            testing::set_signals(&[0.5, pace]);
            assert_eq!(busy(requests).ask(&mut spill)[1], remote, "{pace} {requests}");
        }
        testing::set_signals(&[]);
    }

    #[test]
    fn limits_the_wrong_way_round_are_refused() {
        let refused = |text| testing::configured::<Spill>(text, Vec::new()).err();
        let says = "`low`: 0.7 is above `high`, which is 0.5";
        assert_eq!(refused(r#"{"high": 0.5, "low": 0.7}"#).as_deref(), Some(says));
        assert_eq!(refused(r#"{"high": 0.5, "low": 0.5}"#), None);
        let says = "`high`: -1 is not a number above 0";
        assert_eq!(refused(r#"{"high": -1}"#).as_deref(), Some(says));
    }

    #[test]
    fn answers_are_good_whatever_is_asked() {
        for parameters in
            ["{}", r#"{"first_byte_ms": 500, "remote_share": 0.5}"#, r#"{"remote_share": 0}"#]
        {
            testing::check_requests::<Spill>(parameters);
        }
    }
}
