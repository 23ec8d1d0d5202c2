use super::*;

fn trap() -> Fault {
    Fault::Trap("t".into())
}

/// A breaker that has just gone out of use, and when it did.
fn off() -> (Breaker, Instant) {
    let (mut breaker, now) = (Breaker::default(), Instant::now());
    let fail = |breaker: &mut Breaker| {
        let call = breaker.admit(now).expect("in use");
        breaker.failed(call, &trap(), now)
    };
    let opened: Vec<bool> = (0..5).map(|_| fail(&mut breaker)).collect();
    assert_eq!(opened, [false, false, false, false, true]);
    (breaker, now)
}

/// The number of calls until the strategy is out of use, if every `nth` of 10,000 is a fault.
fn calls_until_off(nth: u32) -> Option<u32> {
    let (mut breaker, now) = (Breaker::default(), Instant::now());
    (1..=10_000).find(|number| {
        let call = breaker.admit(now).expect("in use");
        let is_fault = number % nth == 0;
        if !is_fault {
            breaker.answered(call);
        }
        is_fault && breaker.failed(call, &trap(), now)
    })
}

#[test]
fn faults_in_a_row_take_it_out_for_a_time() {
    let (mut breaker, now) = off();
    let until = now + Breaker::REST;
    assert_eq!(breaker.rest(), Some(Rest { until, cause: RestCause::Faults }));
    assert!(!breaker.is_calm());
    assert_eq!(breaker.rests(now), Some(until));
    assert_eq!(breaker.rests(until), None);
    assert_eq!(breaker.admit(until - Duration::from_nanos(1)), None);
    assert_eq!(breaker.admit(until), Some(Call::Trial));
}

#[test]
fn many_faults_take_it_out_whatever_lies_between() {
    assert_eq!(calls_until_off(1), Some(5));
    assert_eq!(calls_until_off(2), Some(12));
    assert_eq!(calls_until_off(4), Some(28));
    assert_eq!(calls_until_off(8), Some(152));
}

#[test]
fn a_fault_now_and_then_is_forgiven() {
    assert_eq!(calls_until_off(11), None);
    let (mut breaker, now) = (Breaker::default(), Instant::now());
    assert!(!breaker.failed(Call::Regular, &trap(), now));
    for _ in 0..Breaker::FAULT {
        assert!(!breaker.is_calm());
        breaker.answered(Call::Regular);
    }
    assert!(breaker.is_calm());
}

#[test]
fn one_call_beyond_its_share_takes_it_out() {
    let (mut breaker, now) = (Breaker::default(), Instant::now());
    let overspent = Fault::Overspent(Duration::from_millis(100));
    let call = breaker.admit(now).expect("in use");
    assert!(breaker.failed(call, &overspent, now));
    assert_eq!(breaker.rest().map(|rest| rest.cause), Some(RestCause::Cpu));
    let at = now + Breaker::REST;
    let trial = breaker.admit(at).expect("a trial");
    breaker.answered(trial);
    assert!(breaker.is_calm());
}

#[test]
fn what_is_no_result_counts_for_nothing() {
    let (mut breaker, now) = off();
    let at = now + Breaker::REST;
    let trial = breaker.admit(at).expect("a trial");
    assert!(!breaker.failed(trial, &Fault::Busy, at));
    assert_eq!(breaker.admit(at), Some(Call::Trial));
    let mut breaker = Breaker::default();
    assert!((0..100).all(|_| !breaker.failed(Call::Regular, &Fault::Busy, now)));
    assert!(breaker.is_calm());
}

#[test]
fn one_trial_at_a_time_decides() {
    let (mut breaker, mut now) = off();
    now += Breaker::REST;
    let trial = breaker.admit(now).expect("a trial");
    assert_eq!(breaker.admit(now), None, "one at a time");
    assert!(!breaker.failed(trial, &trap(), now), "it was out already");
    assert_eq!(breaker.admit(now), None, "it rests again");
    now += Breaker::REST;
    let trial = breaker.admit(now).expect("a trial");
    breaker.give_back(trial);
    let trial = breaker.admit(now).expect("a trial that was given back frees the next one");
    breaker.answered(trial);
    assert!(breaker.is_calm());
    assert_eq!(breaker.admit(now), Some(Call::Regular));
}

#[test]
fn calls_of_before_it_went_out_do_not_bring_it_back() {
    let (mut breaker, now) = off();
    breaker.answered(Call::Regular);
    assert!(breaker.rest().is_some());
    assert!(!breaker.failed(Call::Regular, &trap(), now + Breaker::REST));
    let at = now + Breaker::REST;
    assert_eq!(breaker.admit(at), Some(Call::Trial), "an old fault does not extend the rest");
    breaker.give_back(Call::Regular);
    assert_eq!(breaker.admit(at), None, "an old call does not end a trial");
}
