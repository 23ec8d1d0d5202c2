//! The strategy `prefix-affinity`: sends prompts that begin alike to one deployment, unless it has
//! too much to do. Its cache has their beginning.

use std::time::Duration;

use gateway_strategy::parameters::Fraction;
use gateway_strategy::{
    Bound, Deployment, Needs, Place, Rendezvous, Request, RequestStrategy, Signal, Signals,
    Strategy, Verdict, Weights,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `routing_parameter` of this strategy.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// A deployment gets a prompt for its cache if it has at least this share of the prompt cached.
    pub cached_share: Fraction,
    /// Above this many times the average load, a deployment's prompts move on to another one.
    #[schemars(range(min = 1))]
    pub load_factor: f64,
    /// Below this load (requests per place), no prompt moves on.
    pub free_load: Fraction,
    /// True: remote deployments get prompts only when no local one has room. False: all deployments
    /// share them by capacity.
    pub prefer_local: bool,
}

impl Default for Parameters {
    fn default() -> Self {
        let (cached_share, free_load) = (Fraction::percent(30), Fraction::percent(50));
        Self { cached_share, load_factor: 1.25, free_load, prefer_local: true }
    }
}

/// The strategy.
#[derive(Debug)]
pub struct PrefixAffinity {
    rendezvous: Rendezvous,
    cached_share: f64,
}

gateway_strategy::export!(PrefixAffinity, request; schema = "parameters.json");

impl Strategy for PrefixAffinity {
    const SUMMARY: &'static str = "Prompts that begin alike to one deployment, with bounded load";
    const REFRESH: Option<Duration> = Some(Duration::from_secs(1));
    const NEEDS: Needs = Needs { prefixes: true, prompt_tokens: true, ..Needs::NOTHING };
    const SIGNALS: &'static [Signal] = &[Signal::required("prefix.tokens")];

    type Parameters = Parameters;

    fn configure(parameters: Parameters, places: Vec<Place>) -> Result<Self, String> {
        let Parameters { cached_share, load_factor, free_load, prefer_local } = parameters;
        if !(load_factor.is_finite() && load_factor >= 1.0) {
            return Err(format!("`load_factor`: {load_factor} is not a number of at least 1"));
        }
        let bound = Bound { load_factor, free_load: free_load.get(), prefer_local };
        let cached_share = cached_share.get();
        Ok(Self { rendezvous: Rendezvous::new(bound, &places), cached_share })
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
        let [first, ..] = request.prefixes[..] else {
            return self.rendezvous.of_none(local, remote).into();
        };
        let signals = Signals::read(Self::SIGNALS.len());
        let rows = local.len() + remote.len();
        // `max` ignores NaN: what is not known counts as nothing.
        let cached = (0..rows).map(|row| signals.of(row, 0)).fold(0.0, f64::max);
        let enough = self.cached_share * request.prompt_tokens.map_or(0.0, f64::from);
        // A short beginning, like a system prompt, is soon cached wherever it is sent. If it decided,
        // all prompts that have it would go to the deployments that had it first.
        if cached >= 1.0 && cached < enough {
            let whole = request.prefixes.last().copied().unwrap_or(first);
            return self.rendezvous.of(whole, |_| 0.0, local, remote).into();
        }
        // The first block decides where no deployment has any of the prompt.
        self.rendezvous.of(first, |row| signals.of(row, 0), local, remote).into()
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
    fn the_longest_cached_beginning_decides() {
        let idle = Fleet::new().local("a").local("b").local("c");
        let mut strategy: PrefixAffinity = idle.configure("{}");
        let home = first(&idle.ask_for(&mut strategy, &prompt(&[1])));
        let cached: [f64; 3] = std::array::from_fn(|at| if at == home { 128.0 } else { 256.0 });
        testing::set_signals(&cached);
        assert_ne!(first(&idle.ask_for(&mut strategy, &prompt(&[1, 2]))), home);
        let mut busy = idle.clone();
        busy.local[(home + 1) % 3].in_flight = 8;
        busy.local[(home + 2) % 3].in_flight = 8;
        assert_eq!(first(&busy.ask_for(&mut strategy, &prompt(&[1, 2]))), home, "it has room");
        testing::set_signals(&[]);
        assert_eq!(first(&idle.ask_for(&mut strategy, &prompt(&[1, 2]))), home, "nothing is known");
    }

    #[test]
    fn prompts_with_little_in_common_are_spread() {
        let fleet = Fleet::new().local("a").local("b").local("c");
        let mut strategy: PrefixAffinity = fleet.configure("{}");
        let mut spread = |tokens| {
            testing::set_signals(&[0.0, 512.0, 0.0]);
            let to = |end| {
                let asked = Request { prompt_tokens: Some(tokens), ..prompt(&[1, 2, end]) };
                first(&fleet.ask_for(&mut strategy, &asked))
            };
            let all: Vec<usize> = (100..160).map(to).collect();
            testing::set_signals(&[]);
            [0, 1, 2].map(|at| all.iter().filter(|to| **to == at).count())
        };
        assert_eq!(spread(1_700), [0, 60, 0], "three in ten tokens are cached");
        assert!(spread(1_800).iter().all(|count| *count >= 8), "{:?}", spread(1_800));
    }

    #[test]
    fn a_cache_elsewhere_does_not_pay_for_a_remote_deployment() {
        let fleet = Fleet::new().local("a").in_flight(2).remote("r");
        let asked = |parameters| {
            testing::set_signals(&[0.0, 512.0]);
            fleet.ask_for::<PrefixAffinity>(&mut fleet.configure(parameters), &prompt(&[1]))
        };
        assert_eq!(asked("{}"), [1.0, 0.0]);
        assert_eq!(asked(r#"{"prefer_local": false}"#), [0.0, 1.0]);
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
    }

    #[test]
    fn answers_are_good_whatever_is_asked() {
        for parameters in ["{}", r#"{"prefer_local": false, "load_factor": 1}"#] {
            testing::check_requests::<PrefixAffinity>(parameters);
        }
    }
}
