//! The strategy `lmetric`: each request to the deployment with the least product of prompt tokens to
//! read and requests to serve.
//!
//! The rule is that of "LMetric" (arXiv 2603.15202). The tokens to read stand for the wait for the
//! first token, and the number of requests for the time of each further one. A product needs no weight
//! between the two, so there is nothing to tune.

use std::time::Duration;

use gateway_strategy::{
    Deployment, Needs, NoParameters, Order, Place, Request, RequestStrategy, Signal, Signals,
    Strategy, Verdict, Weights,
};

/// Columns of [`LMetric::SIGNALS`].
const BACKLOG: usize = 0;
const CACHED: usize = 1;
const RUNNING: usize = 2;
const WAITING: usize = 3;

/// The strategy.
#[derive(Debug)]
pub struct LMetric {
    /// Requests that each place takes at a time.
    capacities: Vec<u32>,
    order: Order,
}

gateway_strategy::export!(LMetric, request; schema = "parameters.json");

impl Strategy for LMetric {
    const SUMMARY: &'static str =
        "Each request to the least product of prompt tokens to read and requests to serve";
    const REFRESH: Option<Duration> = Some(Duration::from_secs(1));
    const NEEDS: Needs = Needs { prompt_tokens: true, ..Needs::NOTHING };
    const SIGNALS: &'static [Signal] = &[
        Signal::required("prefill.backlog"),
        Signal::required("prefix.tokens"),
        Signal::required("engine.running"),
        Signal::required("engine.waiting"),
    ];

    type Parameters = NoParameters;

    fn configure(_: NoParameters, places: Vec<Place>) -> Result<Self, String> {
        let capacities = places.iter().map(|place| place.capacity).collect();
        Ok(Self { capacities, order: Order::default() })
    }

    /// Shares by free places. These weights stand for a second: if the best deployment got
    /// everything, it would be overrun.
    fn assign(&mut self, local: &[Deployment], remote: &[Deployment]) -> Weights {
        Weights::each(local, remote, |one| one.room(self.capacities[one.place()]))
    }
}

impl RequestStrategy for LMetric {
    fn assign_request(
        &mut self,
        request: &Request,
        local: &[Deployment],
        remote: &[Deployment],
    ) -> Verdict {
        let signals = Signals::read(Self::SIGNALS.len());
        let prompt = request.prompt_tokens.map_or(0.0, f64::from);
        let mut rows = 0..;
        let cost = |one: &Deployment| {
            let row = rows.next().unwrap_or_default();
            to_read(prompt, &signals, row) * (to_serve(one, &signals, row) + 1.0)
        };
        let weights = self.order.steep(Weights::each(local, remote, cost));
        weights.share_by(local, remote, |one| f64::from(self.capacities[one.place()])).into()
    }
}

/// Prompt tokens that the deployment reads before this request's first token: those of the requests
/// before it, and the uncached ones of this request. At least 1, because an engine computes the last
/// token of every prompt, and because a product of 0 would hide the load.
fn to_read(prompt: f64, signals: &Signals, row: usize) -> f64 {
    // `max` ignores NaN: what is not known counts as nothing.
    let [backlog, cached] = [BACKLOG, CACHED].map(|column| signals.of(row, column).max(0.0));
    backlog + (prompt - cached).max(1.0)
}

/// Requests that the deployment has. The gateway knows those that are on their way, the engine those
/// of its other clients, so the larger number counts.
fn to_serve(one: &Deployment, signals: &Signals, row: usize) -> f64 {
    let known = signals.of(row, RUNNING) + signals.of(row, WAITING).max(0.0);
    let of_others = (known - f64::from(one.in_flight)).max(0.0);
    one.requests() + of_others
}

#[cfg(test)]
mod tests {
    use gateway_strategy::testing::{self, Fleet};

    use super::*;

    const UNKNOWN: f64 = f64::NAN;

    /// The shares of a request with a prompt of 1,000 tokens. `signals` has a row for each deployment.
    fn shares(fleet: &Fleet, signals: &[[f64; 4]]) -> Vec<f64> {
        testing::set_signals(signals.as_flattened());
        let request = Request { prompt_tokens: Some(1_000), ..Request::default() };
        let shares = fleet.ask_for::<LMetric>(&mut fleet.configure("{}"), &request);
        testing::set_signals(&[]);
        shares
    }

    #[test]
    fn a_cached_prompt_is_worth_some_load() {
        let fleet = |busy| Fleet::new().local("a").in_flight(busy).local("b").in_flight(1);
        // Of 1,000 tokens 250 are left to read at a, so it may have four times the requests.
        let signals = [[0.0, 750.0, UNKNOWN, UNKNOWN], [0.0, 0.0, UNKNOWN, UNKNOWN]];
        assert_eq!(shares(&fleet(6), &signals), [1.0, 0.0]);
        assert_eq!(shares(&fleet(8), &signals), [0.0, 1.0]);
    }

    #[test]
    fn tokens_that_wait_to_be_read_count() {
        let fleet = Fleet::new().local("a").in_flight(1).local("b").in_flight(3);
        let backlog = |tokens| [[tokens, 0.0, UNKNOWN, UNKNOWN], [0.0, 0.0, UNKNOWN, UNKNOWN]];
        assert_eq!(shares(&fleet, &backlog(900.0)), [1.0, 0.0]);
        assert_eq!(shares(&fleet, &backlog(1_100.0)), [0.0, 1.0]);
    }

    #[test]
    fn requests_of_other_clients_count() {
        let fleet = Fleet::new().local("a").in_flight(1).local("b").in_flight(2);
        let engine = |running, waiting| [[0.0, 0.0, running, waiting], [0.0, 0.0, 2.0, 0.0]];
        assert_eq!(shares(&fleet, &engine(1.0, 0.0)), [1.0, 0.0]);
        assert_eq!(shares(&fleet, &engine(1.0, 2.0)), [0.0, 1.0]);
        assert_eq!(shares(&fleet, &engine(0.0, UNKNOWN)), [1.0, 0.0], "one is on its way");
    }

    #[test]
    fn without_signals_the_number_of_requests_decides() {
        let fleet =
            Fleet::new().local("a").in_flight(2).local("b").queued(1).remote("c").in_flight(2);
        assert_eq!(shares(&fleet, &[]), [0.0, 1.0, 0.0]);
        let idle = Fleet::new().local("a").capacity(8).remote("b").capacity(24);
        assert_eq!(shares(&idle, &[]), [0.25, 0.75], "equals share by capacity");
    }

    #[test]
    fn a_whole_prompt_in_the_cache_does_not_hide_the_load() {
        let fleet = Fleet::new().local("a").in_flight(5).local("b").in_flight(4);
        let signals = [[0.0, 1_000.0, UNKNOWN, UNKNOWN]; 2];
        assert_eq!(shares(&fleet, &signals), [0.0, 1.0]);
    }

    #[test]
    fn answers_are_good_whatever_is_asked() {
        testing::check_requests::<LMetric>("{}");
    }
}
