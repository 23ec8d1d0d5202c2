//! A deployment whose quota is used up.

use config::{Period, Quota, QuotaSource, QuotaUnit, TimeZone};

use super::super::{Eligible, QuotaNeeds, QuotaUse, State, ToldQuota};
use super::*;

/// A fleet whose first deployment has a quota of one request in 1,000 s.
fn scene(source: QuotaSource) -> Scene {
    let mut scene = Scene::of(2);
    let (unit, per, time_zone) = (QuotaUnit::Requests, Period::Seconds(1_000), TimeZone::default());
    let quota = Quota { unit, amount: 1, per, source, time_zone };
    scene.config.models[0].deployments[0].quotas = vec![quota];
    scene.fleet = Fleet::build(&scene.config, Some(&scene.fleet));
    scene
}

/// An attempt that is sent.
fn send(scene: &Scene) -> Permit {
    let hold = scene.at(0).take_quota(QuotaNeeds::default(), scene.now).expect("it fits");
    let mut permit = scene.admit(0).expect("no objection");
    permit.use_quota(hold);
    permit
}

fn panics(scene: &Scene) -> (bool, Vec<usize>) {
    let model = &scene.fleet.models[0];
    let states: Vec<State> =
        model.deployments.iter().map(|deployment| deployment.state(scene.now)).collect();
    let eligible = Eligible::of(model, &states, config::Standby::Last);
    (eligible.panic, (0..2).filter(|at| states[*at].is_eligible()).collect())
}

#[test]
fn it_is_out_until_the_window_turns_whatever_happens() {
    let mut scene = scene(QuotaSource::Counted);
    assert_eq!(panics(&scene), (false, vec![0, 1]));
    let permit = send(&scene);
    let state = scene.at(0).state(scene.now);
    assert_eq!(state.condition, Condition::Quota);
    assert!(state.reason.expect("why").starts_with("its quota of 1 requests per 1000s is used up"));
    assert!(!scene.at(0).is_open(scene.now) && !scene.at(0).is_worth_waiting(scene.now));
    assert_eq!(panics(&scene), (false, vec![1]));
    let wait = scene.fleet.models[0].wait(scene.now).expect("a time");
    assert!(wait > Duration::ZERO && wait <= 1_000 * SECOND);
    permit.settle(Outcome::Success, scene.now);
    assert_eq!(scene.condition(0), Condition::Quota, "a good answer brings nothing back");
    assert_eq!(scene.pass_to_change(0), wait);
    assert_eq!(scene.condition(0), Condition::Healthy);
    assert!(scene.at(0).next_change(scene.now).is_none());
}

#[test]
fn a_reload_keeps_what_is_used_and_may_lift_the_quota() {
    let mut scene = scene(QuotaSource::Counted);
    let permit = send(&scene);
    let quota = scene.config.models[0].deployments[0].quotas[0].clone();
    for (amount, condition) in [(2, Condition::Healthy), (1, Condition::Quota)] {
        let quotas = &mut scene.config.models[0].deployments[0].quotas;
        *quotas = vec![Quota { amount, ..quota.clone() }];
        scene.fleet = Fleet::build(&scene.config, Some(&scene.fleet));
        assert_eq!(scene.condition(0), condition);
    }
    let hold = permit.quota().expect("it took one");
    scene.at(0).settle_quota(hold, QuotaUse::Unsent, scene.now);
    assert_eq!(scene.condition(0), Condition::Healthy, "it was not sent");
    scene.config.models[0].deployments[0].quotas.clear();
    scene.fleet = Fleet::build(&scene.config, Some(&scene.fleet));
    assert!(scene.at(0).quotas.is_none() && scene.fleet.models[0].quotas.is_none());
}

#[test]
fn headers_close_it_only_where_they_are_believed() {
    let (unit, per, limit) = (QuotaUnit::Requests, None, None);
    let told = [ToldQuota { unit, per, limit, remaining: 0, reset: Some(30 * SECOND) }];
    for (source, condition) in
        [(QuotaSource::Headers, Condition::Quota), (QuotaSource::Counted, Condition::Healthy)]
    {
        let mut scene = scene(source);
        if source == QuotaSource::Counted {
            scene.config.models[0].deployments[0].quotas[0].amount = 9;
            scene.fleet = Fleet::build(&scene.config, Some(&scene.fleet));
        }
        let permit = send(&scene);
        permit.told(&told, scene.now);
        assert_eq!(scene.condition(0), condition);
        // Elsewhere they limit the places, as those of any remote deployment.
        let places = scene.at(0).slots.try_enter(scene.now).place();
        assert_eq!(places.is_some(), source == QuotaSource::Headers);
        drop((permit, places));
        scene.pass(30 * SECOND);
        assert_eq!(scene.condition(0), Condition::Healthy);
    }
}
