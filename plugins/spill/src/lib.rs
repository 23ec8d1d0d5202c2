//! The strategy `spill`: all traffic goes to local deployments. While those are too busy, remote
//! deployments get a share of it.

use std::collections::BTreeMap;
use std::time::Duration;

use gateway_strategy::parameters::{Fraction, Positive};
use gateway_strategy::{
    Deployment, Place, Request, RequestStrategy, Strategy, Verdict, Weights, hash,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `routing_parameter` of the strategy `spill`.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// Spilling begins at this load of the local deployments: requests in flight and waiting, divided
    /// by capacity. 1 means full.
    pub high: Positive,
    /// Spilling ends at this load. Must be below high.
    pub low: Positive,
    /// Spilling also begins when the best local deployment is expected to take longer than this for
    /// the first byte, in milliseconds, and ends at low / high of it. Default: no such limit.
    pub first_byte_ms: Option<Positive>,
    /// The share of the traffic that remote deployments get while the strategy spills.
    pub remote_share: Fraction,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            high: Positive::thousandths(900),
            low: Positive::thousandths(700),
            first_byte_ms: None,
            remote_share: Fraction::percent(100),
        }
    }
}

/// An instance of `spill`, with the state of each model.
#[derive(Debug)]
pub struct Spill {
    parameters: Parameters,
    /// By the number of a place.
    sites: Vec<Site>,
    /// Whether a model spills, by the number of the model. Spilling begins and ends at different
    /// loads (hysteresis), so the answer depends on the one before.
    spilling: Vec<bool>,
}

/// The facts of a place that do not change.
#[derive(Debug, Clone, Copy)]
struct Site {
    capacity: u32,
    /// An index into [`Spill::spilling`].
    model: usize,
}

gateway_strategy::export!(Spill, request; schema = "parameters.json");

impl Strategy for Spill {
    const SUMMARY: &'static str = "Local until that is too busy, then remote by share";
    const REFRESH: Option<Duration> = Some(Duration::from_millis(250));

    type Parameters = Parameters;

    fn configure(parameters: Parameters, places: Vec<Place>) -> Result<Self, String> {
        let Parameters { high, low, .. } = parameters;
        if low >= high {
            let (high, low) = (high.get(), low.get());
            return Err(format!("`low`: {low} is not below `high`, which is {high}"));
        }
        let models = places.iter().map(|place| hash::key(&place.model));
        let (models, count) = numbered(models);
        let site = |(place, model): (&Place, usize)| Site { capacity: place.capacity, model };
        let sites = places.iter().zip(models).map(site).collect();
        Ok(Self { parameters, sites, spilling: vec![false; count] })
    }

    fn assign(&mut self, local: &[Deployment], remote: &[Deployment]) -> Weights {
        let spills = self.spills(local);
        let room = |one: &Deployment| one.room(self.sites[one.place()].capacity);
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
    /// Updates and returns whether the model of these deployments spills. Between the limits the
    /// model keeps its state.
    fn spills(&mut self, local: &[Deployment]) -> bool {
        // Without a local deployment nothing can spill, and the state waits for one.
        let Some(first) = local.first() else { return false };
        let site = |one: &Deployment| self.sites[one.place()];
        let model = site(first).model;
        let Parameters { high, low, first_byte_ms, .. } = self.parameters;
        let capacity: f64 = local.iter().map(|one| f64::from(site(one).capacity)).sum();
        let load = local.iter().map(Deployment::requests).sum::<f64>() / capacity;
        // Deployments without a latency yet count as instant: they must get traffic to be measured.
        let first_byte = |one: &Deployment| one.first_byte().unwrap_or(0.0);
        let best = local.iter().map(first_byte).reduce(f64::min);
        // The wait as a multiple of its limit.
        let wait = first_byte_ms.zip(best).map_or(0.0, |(limit, best)| best / limit.get());
        let spilling = &mut self.spilling[model];
        *spilling = match *spilling {
            false => load >= high.get() || wait > 1.0,
            true => load > low.get() || wait > low.get() / high.get(),
        };
        *spilling
    }
}

/// Numbers distinct keys from 0 in the order of their first appearance. Returns the number of each
/// key, and the count of distinct keys.
///
/// A gateway has tens of thousands of places, so each key is looked up, not searched for.
fn numbered<K: Copy + Ord>(keys: impl Iterator<Item = K>) -> (Vec<usize>, usize) {
    let mut numbers = BTreeMap::new();
    let mut last = None;
    let number = |key| {
        // The gateway lists the places of a model together.
        if let Some((same, number)) = last
            && same == key
        {
            return number;
        }
        let next = numbers.len();
        let number = *numbers.entry(key).or_insert(next);
        last = Some((key, number));
        number
    };
    let all = keys.map(number).collect();
    (all, numbers.len())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::cmp::Ordering;

    use gateway_strategy::testing::{self, Fleet};

    use super::Spill;

    fn busy(requests: u32) -> Fleet {
        Fleet::new().local("gpu").capacity(10).in_flight(requests).remote("api")
    }

    #[test]
    fn it_spills_above_high_and_stops_below_low() {
        let mut spill: Spill = busy(0).configure("{}");
        for (requests, local) in [(0, 1.0), (8, 1.0), (9, 0.0), (8, 0.0), (7, 1.0), (8, 1.0)] {
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
        let mut spill: Spill = fleet(0.0, 0.0).configure(r#"{"first_byte_ms": 900}"#);
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
    fn each_model_spills_for_itself() {
        let two = Fleet::new()
            .local("a")
            .capacity(1)
            .remote("b")
            .local("a")
            .model("n")
            .remote("b")
            .model("n");
        let mut spill: Spill = two.configure("{}");
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
    fn models_are_numbered_by_their_first_place() {
        let numbers = super::numbered(["a", "b", "a", "c", "b"].into_iter());
        assert_eq!(numbers, (vec![0, 1, 0, 2, 1], 3));
    }

    /// A key that counts how often it is compared.
    #[derive(Clone, Copy)]
    struct Counted<'a>(usize, &'a Cell<usize>);

    impl Ord for Counted<'_> {
        fn cmp(&self, other: &Self) -> Ordering {
            self.1.update(|comparisons| comparisons + 1);
            self.0.cmp(&other.0)
        }
    }

    impl PartialOrd for Counted<'_> {
        fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }

    impl PartialEq for Counted<'_> {
        fn eq(&self, other: &Self) -> bool {
            self.cmp(other).is_eq()
        }
    }

    impl Eq for Counted<'_> {}

    #[test]
    fn numbering_models_is_not_quadratic() {
        let comparisons = |places: usize| {
            let count = Cell::new(0);
            let (_, models) = super::numbered((0..places).map(|place| Counted(place / 4, &count)));
            assert_eq!(models, places / 4);
            count.get()
        };
        let (some, many) = (comparisons(4_000), comparisons(40_000));
        // Ten times as many places take a few more comparisons each. A quadratic search takes ten times.
        assert!(many < 15 * some, "{some} comparisons, then {many}");
    }

    #[test]
    fn without_a_side_the_other_has_everything() {
        let mut spill: Spill = Fleet::new().local("a").remote("b").configure("{}");
        assert_eq!(Fleet::new().local("a").in_flight(99).ask(&mut spill), [1.0]);
        assert_eq!(Fleet::new().remote("b").in_flight(99).ask(&mut spill), [1.0]);
    }

    #[test]
    fn limits_the_wrong_way_round_are_refused() {
        let refused = |text| testing::configured::<Spill>(text, Vec::new()).err();
        let says = "`low`: 0.7 is not below `high`, which is 0.5";
        assert_eq!(refused(r#"{"high": 0.5}"#).as_deref(), Some(says));
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
