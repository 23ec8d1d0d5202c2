//! Engines of deployments: who shares one, and whose attempts it counts.

use contract::Signal;

use super::*;

#[test]
fn deployments_at_one_origin_share_their_engine() {
    let mut scene = Scene::with(2, Ejection::default());
    let again = config::Model { id: "n".into(), ..model(vec![deployment(1)]) };
    scene.config.models.push(again);
    scene.fleet = Fleet::build(&scene.config, Some(&scene.fleet));
    let engine = |fleet: &Fleet, model: usize, at: usize| {
        Arc::clone(&fleet.models[model].deployments[at].engine)
    };
    let first = engine(&scene.fleet, 0, 0);
    assert!(Arc::ptr_eq(&first, &engine(&scene.fleet, 1, 0)));
    assert!(!Arc::ptr_eq(&first, &engine(&scene.fleet, 0, 1)));

    first.ask(true, &config::Scraping::default());
    first.record([Some(4.0), None, None, None], first.moment(scene.now));
    let running = || first.value(Signal::EngineRunning, scene.now);
    let other = scene.fleet.models[1].deployments[0].admit(scene.slot(), scene.now);
    let permit = scene.admit(0).expect("healthy");
    assert_eq!(running(), 6.0, "attempts of both");
    let next = Fleet::build(&scene.config, Some(&scene.fleet));
    assert!(Arc::ptr_eq(&first, &engine(&next, 0, 0)), "kept over reloads");
    drop(other);
    permit.settle(Outcome::Success, scene.now);
    assert_eq!(running(), 4.0);
}
