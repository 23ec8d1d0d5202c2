//! Compares mean waits with the formulas of queueing theory.

use super::*;

/// A queue with `servers`, a mean service time of 1 s, and `rate` arrivals per second.
fn queue(servers: u32, rate: f64) -> Scenario {
    scenario(&format!(
        "duration: 60000
deployments:
  - {{name: a, side: local, parallel: {servers}, prefill: 1e9, decode: 1000, concurrency: {{max: 100000}}}}
arrivals: {{rate: {rate}}}
requests:
  - {{prompt: 1, output: {{exponential: 1000}}}}
gateway: {{first_byte: 80000, total: 1000000}}
"
    ))
}

fn waits(scenario: &Scenario) -> Vec<f64> {
    let (_, done) = run(scenario, 1.0);
    done.records.iter().map(|record| record.queued.as_secs_f64()).collect()
}

/// Mean wait over several seeds. The mean of one run is off by a few percent, because waits in a
/// queue are correlated.
fn mean_wait(mut scenario: Scenario) -> f64 {
    let all: Vec<f64> = (1..=6)
        .flat_map(|seed| {
            scenario.seed = seed;
            waits(&scenario)
        })
        .collect();
    all.iter().sum::<f64>() / all.len() as f64
}

#[test]
fn one_server_makes_requests_wait_as_the_theory_says() {
    // M/M/1: rho / (mu - lambda).
    for rate in [0.5, 0.8] {
        let (got, want) = (mean_wait(queue(1, rate)), rate / (1.0 - rate));
        assert!((got / want - 1.0).abs() < 0.03, "at {rate}: {got} instead of {want}");
    }
}

#[test]
fn several_servers_make_requests_wait_as_the_theory_says() {
    // M/M/c: Erlang's C over (c mu - lambda).
    let (servers, load) = (4_u32, 2.8_f64);
    let rho = load / f64::from(servers);
    let term = |k: u32| load.powi(k as i32) / (1..=k).map(f64::from).product::<f64>();
    let last = term(servers) / (1.0 - rho);
    let erlang = last / ((0..servers).map(term).sum::<f64>() + last);
    let (got, want) = (mean_wait(queue(servers, load)), erlang / (f64::from(servers) - load));
    assert!((got / want - 1.0).abs() < 0.03, "{got} instead of {want}");
}

#[test]
fn every_single_wait_is_that_of_lindleys_recursion() {
    let scenario = queue(1, 0.9);
    let requests = workload::requests(&scenario).unwrap();
    let mut free = 0.0_f64;
    for (request, got) in requests.iter().zip(waits(&scenario)) {
        let at = request.at.as_secs_f64();
        let want = (free - at).max(0.0);
        assert!((got - want).abs() < 1e-3, "{got} instead of {want}");
        free = at.max(free) + f64::from(request.output) / 1000.0;
    }
}

#[test]
fn the_line_of_the_gateway_is_the_same_queue() {
    let mut scenario = queue(4, 3.2);
    let in_engine = waits(&scenario);
    let concurrency = &mut scenario.sites[0].concurrency;
    (concurrency.max, concurrency.queue) = (4, 100_000);
    concurrency.wait = Duration::from_secs(100_000);
    let in_line = waits(&scenario);
    assert!(in_line.iter().zip(&in_engine).all(|(line, engine)| (line - engine).abs() < 1e-3));
}
