//! The strategy `prefix-affinity`: sends prompts that begin alike to one deployment, unless it has
//! too much to do. Its cache has their beginning.

mod memory;

use std::time::Duration;

use gateway_strategy::parameters::Fraction;
use gateway_strategy::{
    Bound, Deployment, Needs, Place, Rendezvous, Request, RequestStrategy, Strategy, Verdict,
    Weights, hash,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use memory::Memory;

/// At most this many blocks of a prompt are looked up and remembered.
const BLOCKS: usize = 64;

/// `routing_parameter` of this strategy.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// Above this many times the average load, a deployment's prompts move on to another one.
    #[schemars(range(min = 1))]
    pub load_factor: f64,
    /// Below this load (requests per place), no prompt moves on.
    pub free_load: Fraction,
    /// True: remote deployments get prompts only when no local one has room. False: all deployments
    /// share them by capacity.
    pub prefer_local: bool,
    /// Beginnings that an instance remembers, each in about 24 bytes.
    #[schemars(range(max = 65536))]
    pub remembered: u32,
}

impl Default for Parameters {
    fn default() -> Self {
        let free_load = Fraction::percent(50);
        Self { load_factor: 1.25, free_load, prefer_local: true, remembered: 16_384 }
    }
}

/// The strategy.
#[derive(Debug)]
pub struct PrefixAffinity {
    rendezvous: Rendezvous,
    memory: Memory,
    /// The hash of each place's model. Models do not share caches.
    models: Vec<u64>,
}

gateway_strategy::export!(PrefixAffinity, request; schema = "parameters.json");

impl Strategy for PrefixAffinity {
    const SUMMARY: &'static str = "Prompts that begin alike to one deployment, with bounded load";
    const REFRESH: Option<Duration> = Some(Duration::from_secs(1));
    const NEEDS: Needs = Needs { prefixes: true, ..Needs::NOTHING };

    type Parameters = Parameters;

    fn configure(parameters: Parameters, places: Vec<Place>) -> Result<Self, String> {
        let Parameters { load_factor, free_load, prefer_local, remembered } = parameters;
        if !(load_factor.is_finite() && load_factor >= 1.0) {
            return Err(format!("`load_factor`: {load_factor} is not a number of at least 1"));
        }
        if remembered > 65_536 {
            return Err(format!("`remembered`: {remembered} is more than 65536"));
        }
        let bound = Bound { load_factor, free_load: free_load.get(), prefer_local };
        Ok(Self {
            rendezvous: Rendezvous::new(bound, &places),
            memory: Memory::new(remembered),
            models: places.iter().map(|place| hash::text(&place.model)).collect(),
        })
    }

    /// Shares by free places, as for a request without a prompt.
    fn assign(&mut self, local: &[Deployment], remote: &[Deployment]) -> Weights {
        self.rendezvous.of_none(local, remote)
    }
}

impl RequestStrategy for PrefixAffinity {
    fn assign_request(
        &mut self,
        request: &Request,
        local: &[Deployment],
        remote: &[Deployment],
    ) -> Verdict {
        let prefixes = &request.prefixes[..request.prefixes.len().min(BLOCKS)];
        let (Some(block), Some(any)) = (prefixes.first(), local.iter().chain(remote).next()) else {
            return self.rendezvous.of_none(local, remote).into();
        };
        let model = self.models[any.place()];
        // The longest beginning that an eligible deployment is known to have.
        let is_here = |id: &u32| local.iter().chain(remote).any(|one| one.id == *id);
        let known = |prefix: &u64| self.memory.get(hash::mix(model, *prefix)).filter(is_here);
        let known = prefixes.iter().rev().find_map(known);
        let weights = self.rendezvous.of(*block, known, local, remote);
        // All but one in a million draws take the deployment of the largest weight.
        let all = weights.iter().zip(local.iter().chain(remote));
        if let Some((_, first)) = all.max_by(|a, b| a.0.total_cmp(&b.0)) {
            self.memory.turn();
            for prefix in prefixes {
                self.memory.put(hash::mix(model, *prefix), first.id);
            }
        }
        weights.into()
    }
}

#[cfg(test)]
mod tests {
    use gateway_strategy::Request;
    use gateway_strategy::testing::{self, Fleet};

    use super::PrefixAffinity;

    fn prompt(prefixes: &[u64]) -> Request {
        Request { prefixes: prefixes.to_vec(), ..Request::default() }
    }

    /// The position of the largest share.
    fn first(shares: &[f64]) -> usize {
        (0..shares.len()).max_by(|a, b| shares[*a].total_cmp(&shares[*b])).expect("a deployment")
    }

    #[test]
    fn instances_agree_on_what_they_have_not_seen() {
        let fleet = Fleet::new().local("a").local("b").local("c");
        let mut one: PrefixAffinity = fleet.configure("{}");
        for block in 0..100 {
            let mut other: PrefixAffinity = fleet.configure("{}");
            let long = fleet.ask_for(&mut one, &prompt(&[block, block + 1_000]));
            assert_eq!(
                fleet.ask_for(&mut other, &prompt(&[block])),
                long,
                "the first block decides"
            );
        }
    }

    #[test]
    fn the_longest_known_beginning_decides() {
        let idle = Fleet::new().local("a").local("b").local("c");
        let mut strategy: PrefixAffinity = idle.configure("{}");
        let home = first(&idle.ask_for(&mut strategy, &prompt(&[1])));
        let mut busy = idle.clone();
        busy.local[home].in_flight = 8;
        // The prompt moves on, and longer prompts with this beginning follow it.
        let moved = first(&busy.ask_for(&mut strategy, &prompt(&[1, 2])));
        assert_ne!(moved, home);
        assert_eq!(first(&idle.ask_for(&mut strategy, &prompt(&[1, 2, 3]))), moved);
        // Without that deployment, the first block decides again.
        let mut without = idle.clone();
        without.local.remove(moved);
        let left = first(&without.ask_for(&mut strategy, &prompt(&[1, 2, 3])));
        assert_eq!(without.local[left].place(), home);
    }

    #[test]
    fn models_have_caches_of_their_own() {
        let both = Fleet::new().local("a").local("b").local("a").model("n").local("b").model("n");
        let of = |ids: std::ops::Range<usize>| {
            let local = both.local[ids].to_vec();
            Fleet { local, ..both.clone() }
        };
        let mut strategy: PrefixAffinity = both.configure("{}");
        let here = first(&of(0..2).ask_for(&mut strategy, &prompt(&[9])));
        assert_eq!(first(&of(2..4).ask_for(&mut strategy, &prompt(&[9]))), here, "names decide");
        let mut busy = of(0..2);
        busy.local[here].in_flight = 8;
        assert_ne!(first(&busy.ask_for(&mut strategy, &prompt(&[9]))), here);
        assert_eq!(first(&of(2..4).ask_for(&mut strategy, &prompt(&[9]))), here, "it stayed");
    }

    #[test]
    fn without_a_prompt_free_places_decide() {
        let fleet = Fleet::new().local("a").in_flight(2).local("b").in_flight(4);
        let mut strategy: PrefixAffinity = fleet.configure(r#"{"load_factor": 2}"#);
        assert_eq!(fleet.ask_for(&mut strategy, &Request::default()), [0.6, 0.4]);
        assert_eq!(fleet.ask(&mut strategy), [0.6, 0.4]);
    }

    #[test]
    fn parameters_out_of_range_are_refused() {
        let refused = |text| testing::configured::<PrefixAffinity>(text, Vec::new()).err();
        let says = "`load_factor`: 0 is not a number of at least 1";
        assert_eq!(refused(r#"{"load_factor": 0}"#).as_deref(), Some(says));
        let says = "`remembered`: 70000 is more than 65536";
        assert_eq!(refused(r#"{"remembered": 70000}"#).as_deref(), Some(says));
    }

    #[test]
    fn answers_are_good_whatever_is_asked() {
        for parameters in ["{}", r#"{"prefer_local": false, "load_factor": 1, "remembered": 0}"#] {
            testing::check_requests::<PrefixAffinity>(parameters);
        }
    }
}
