//! The strategy `session-affinity`: sends the requests of a session to one deployment, unless it
//! has too much to do. Its cache has the beginning of the session.

use std::time::Duration;

use gateway_strategy::parameters::Fraction;
use gateway_strategy::{
    Bound, Deployment, Needs, Place, Rendezvous, Request, RequestStrategy, Strategy, Verdict,
    Weights,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `routing_parameter` of this strategy.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// Above this many times the average load, a deployment's sessions move on to another one, if it is
    /// above `free_load`, too.
    #[schemars(range(min = 1))]
    pub load_factor: f64,
    /// Below this load (requests per place), no session moves on. 1: sessions move on when no place is
    /// free.
    pub free_load: Fraction,
    /// True: remote deployments get sessions only when no local one has room. False: all deployments
    /// share them by capacity.
    pub prefer_local: bool,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { load_factor: 1.25, free_load: Fraction::percent(100), prefer_local: true }
    }
}

/// The strategy.
#[derive(Debug)]
pub struct SessionAffinity {
    rendezvous: Rendezvous,
}

gateway_strategy::export!(SessionAffinity, request; schema = "parameters.json");

impl Strategy for SessionAffinity {
    const SUMMARY: &'static str = "The requests of a session to one deployment, with bounded load";
    const REFRESH: Option<Duration> = Some(Duration::from_secs(1));
    const NEEDS: Needs = Needs { session: true, ..Needs::NOTHING };

    type Parameters = Parameters;

    fn configure(parameters: Parameters, places: Vec<Place>) -> Result<Self, String> {
        let Parameters { load_factor, free_load, prefer_local } = parameters;
        if !(load_factor.is_finite() && load_factor >= 1.0) {
            return Err(format!("`load_factor`: {load_factor} is not a number of at least 1"));
        }
        let bound = Bound { load_factor, free_load: free_load.get(), prefer_local };
        Ok(Self { rendezvous: Rendezvous::new(bound, &places) })
    }

    /// Shares by free places, as for a request without a session.
    fn assign(&mut self, local: &[Deployment], remote: &[Deployment]) -> Weights {
        self.rendezvous.of_none(local, remote)
    }
}

impl RequestStrategy for SessionAffinity {
    fn assign_request(
        &mut self,
        request: &Request,
        local: &[Deployment],
        remote: &[Deployment],
    ) -> Verdict {
        match request.session {
            Some(session) => self.rendezvous.of(session, |_| 0.0, local, remote).into(),
            None => self.rendezvous.of_none(local, remote).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use gateway_strategy::Request;
    use gateway_strategy::testing::{self, Fleet};

    use super::SessionAffinity;

    fn in_session(session: u64) -> Request {
        Request { session: Some(session), ..Request::default() }
    }

    /// The position of the largest share.
    fn first(shares: &[f64]) -> usize {
        (0..shares.len()).max_by(|a, b| shares[*a].total_cmp(&shares[*b])).expect("a deployment")
    }

    #[test]
    fn sessions_stay_and_are_shared_by_capacity() {
        let fleet = Fleet::new().local("a").capacity(8).local("b").capacity(24);
        let mut strategy: SessionAffinity = fleet.configure("{}");
        let mut counts = [0; 2];
        for session in 0..4_000 {
            let shares = fleet.ask_for(&mut strategy, &in_session(session));
            let at = first(&shares);
            assert!(shares[at] > 0.999_99, "{shares:?}");
            counts[at] += 1;
        }
        assert!((900..1_100).contains(&counts[0]), "{counts:?}");
    }

    #[test]
    fn a_lost_deployment_moves_only_its_own_sessions() {
        let all = Fleet::new().local("a").local("b").local("c");
        let mut without = all.clone();
        without.local.pop();
        let mut strategy: SessionAffinity = all.configure("{}");
        for session in 0..500 {
            let before = all.ask_order(&mut strategy, &in_session(session));
            let after = without.ask_for(&mut strategy, &in_session(session));
            // Its own sessions go where fallback had sent them.
            let fallback = first(&before[..2]);
            assert_eq!(first(&after), fallback);
        }
    }

    #[test]
    fn without_a_session_free_places_decide() {
        let fleet = Fleet::new().local("a").in_flight(2).local("b").in_flight(4).remote("r");
        let mut strategy: SessionAffinity = fleet.configure(r#"{"load_factor": 2}"#);
        let shares = fleet.ask_for(&mut strategy, &Request::default());
        assert!((shares[0] - 0.6).abs() < 1e-5 && (shares[1] - 0.4).abs() < 1e-5, "{shares:?}");
        assert_eq!(fleet.ask(&mut strategy), shares);
    }

    #[test]
    fn a_factor_below_1_is_refused() {
        let refused = testing::configured::<SessionAffinity>(r#"{"load_factor": 0.5}"#, Vec::new());
        let says = "`load_factor`: 0.5 is not a number of at least 1";
        assert_eq!(refused.err().as_deref(), Some(says));
    }

    #[test]
    fn a_session_stays_until_no_place_is_free() {
        let fleet =
            |busy| Fleet::new().local("a").capacity(8).in_flight(busy).local("b").capacity(8);
        let mut strategy: SessionAffinity = fleet(0).configure("{}");
        let mut bounded: SessionAffinity = fleet(0).configure(r#"{"free_load": 0.5}"#);
        let at_a =
            |session: &u64| first(&fleet(0).ask_for(&mut strategy, &in_session(*session))) == 0;
        let session = in_session((0..99).find(at_a).expect("a session of a"));
        for (busy, stays, stays_bounded) in [(3, 0, 0), (7, 0, 1), (8, 1, 1)] {
            assert_eq!(first(&fleet(busy).ask_for(&mut strategy, &session)), stays, "{busy}");
            assert_eq!(
                first(&fleet(busy).ask_for(&mut bounded, &session)),
                stays_bounded,
                "{busy}"
            );
        }
    }

    #[test]
    fn answers_are_good_whatever_is_asked() {
        for parameters in ["{}", r#"{"prefer_local": false, "load_factor": 1, "free_load": 0}"#] {
            testing::check_requests::<SessionAffinity>(parameters);
        }
    }
}
