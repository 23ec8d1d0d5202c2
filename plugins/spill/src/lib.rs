//! The strategy `spill`: everything to local deployments until they are too busy, then a share to remote
//! ones, until they have room again.

use std::time::Duration;

use gateway_strategy::parameters::{Fraction, Positive};
use gateway_strategy::{Deployment, Place, Request, RequestStrategy, Strategy, Weights};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `routing_parameter` of this strategy.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// Spill when the local deployments have this many requests for each of their places, waiting ones
    /// included: 1 is full.
    pub high: Positive,
    /// Stop when they have no more than this; below high.
    pub low: Positive,
    /// Spill, too, when the first byte is expected to take longer than this many milliseconds at the
    /// best local deployment. Stop at low divided by high of it. Default: never for that.
    pub first_byte_ms: Option<Positive>,
    /// What goes to remote deployments while it spills.
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

/// The strategy.
#[derive(Debug)]
pub struct Spill {
    parameters: Parameters,
    capacities: Vec<u32>,
    /// Of each place's model: the first place that runs it.
    models: Vec<usize>,
    /// Of that place: whether its model spills.
    spilling: Vec<bool>,
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
        let first = |place: &Place| places.iter().position(|other| other.model == place.model);
        Ok(Self {
            parameters,
            capacities: places.iter().map(|place| place.capacity).collect(),
            models: places.iter().filter_map(first).collect(),
            spilling: vec![false; places.len()],
        })
    }

    fn assign(&mut self, local: &[Deployment], remote: &[Deployment]) -> Weights {
        let spills = self.spills(local);
        let room = |one: &Deployment| one.room(self.capacities[one.place()]);
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
    ) -> Weights {
        self.assign(local, remote)
    }
}

impl Spill {
    /// Whether the model spills now: as before, where neither limit says otherwise.
    fn spills(&mut self, local: &[Deployment]) -> bool {
        let Some(model) = local.first().map(|one| self.models[one.place()]) else { return false };
        let Parameters { high, low, first_byte_ms, .. } = self.parameters;
        let places: f64 = local.iter().map(|one| f64::from(self.capacities[one.place()])).sum();
        let load = local.iter().map(Deployment::requests).sum::<f64>() / places;
        // As a part of its limit. One that is not known yet may be as quick as it likes.
        let first_byte = |one: &Deployment| one.first_byte(self.capacities[one.place()]);
        let wait = local.iter().map(|one| first_byte(one).unwrap_or(0.0)).reduce(f64::min);
        let wait = first_byte_ms.zip(wait).map_or(0.0, |(limit, wait)| wait / limit.get());
        let spilling = &mut self.spilling[model];
        *spilling = match *spilling {
            false => load >= high.get() || wait > 1.0,
            true => load > low.get() || wait > low.get() / high.get(),
        };
        *spilling
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
