//! Several gateways in front of the same engines.

use contract::{RawVerdict, Signal};

use super::scripted::{Scripted, first, run_scripted};
use super::*;

#[test]
fn engines_serve_all_gateways_in_one_queue() {
    let waits = |gateways: u8| {
        let scenario = scenario(&format!(
            "duration: 2000
deployments: [{{name: a, side: local, parallel: 3, prefill: 1e9, decode: 1000, concurrency: {{max: 100000}}}}]
arrivals: {{rate: 2.5}}
requests: [{{prompt: 1, output: {{exponential: 1000}}}}]
gateway: {{gateways: {gateways}, first_byte: 80000, total: 100000}}
"
        ));
        let (_, done) = run(&scenario, 1.0);
        done.records.iter().map(|record| record.queued).collect::<Vec<_>>()
    };
    let one = waits(1);
    assert!(one.iter().any(|wait| *wait > Duration::from_secs(1)));
    assert_eq!(one, waits(5));
}

/// An engine for four requests that refuses the fifth, and a slow one.
fn crowded(gateways: u8) -> Scenario {
    scenario(&format!(
        "duration: 300
deployments:
  - {{name: a, side: local, parallel: 4, prefill: 1e6, decode: 100, refuses: {{queue: 0}}}}
  - {{name: b, side: local, parallel: 1000, prefill: 1e6, decode: 20}}
arrivals: {{rate: 10}}
requests: [{{prompt: 10, output: 60}}]
gateway: {{gateways: {gateways}}}
"
    ))
}

#[test]
fn each_gateway_sees_its_own_requests_and_learns_its_own_limit() {
    let most = std::sync::Mutex::new([[0_u32; 2]; 3]);
    let mut asked = [0_usize; 3];
    let mut strategies: Vec<_> = asked
        .iter_mut()
        .enumerate()
        .map(|(gateway, asked)| {
            let most = &most;
            Scripted::new(&[Signal::Limit], move |question| {
                *asked += 1;
                let one = &question.situation.local[0];
                let mut most = most.lock().unwrap();
                most[gateway][0] = most[gateway][0].max(one.in_flight);
                most[gateway][1] = one.limit;
                RawVerdict::Route(first(question))
            })
        })
        .collect();
    let (requests, done) = run_scripted(&crowded(3), &mut strategies);
    drop(strategies);
    let (most, share) = (most.into_inner().unwrap(), requests.len() / 3);
    for ([in_flight, limit], asked) in most.into_iter().zip(asked) {
        assert!(asked.abs_diff(share) < share / 10, "{asked} of {share}");
        assert!(in_flight <= 5 && (1..=4).contains(&limit), "{in_flight} {limit}");
    }
    // Together they keep the engine busy, although none of them sees the others.
    let at_first = done.records.iter().filter(|record| record.site == Some(0)).count();
    let could = 300.0 * 4.0 / 0.6;
    assert!(at_first as f64 > 0.8 * could, "{at_first} of {could}");
}

#[test]
fn gateways_eject_by_what_they_see() {
    let mut scenario = scenario(ROUGH);
    scenario.gateways = 3;
    let (requests, done) = run(&scenario, 1.0);
    let (again, same) = run(&scenario, 1.0);
    assert_eq!((&requests, &done.records), (&again, &same.records), "as the seed says");
    scenario.gateways = 1;
    let (_, alone) = run(&scenario, 1.0);
    let ejections = |done: &run::Done| done.counts.iter().map(|c| c.ejections).sum::<u64>();
    assert!(ejections(&done) > ejections(&alone), "{:?} {:?}", done.counts, alone.counts);
    assert_eq!(done.records.len(), requests.len());
}
