//! A reload that fails at its last step must leave everything as it was.

#![allow(clippy::unwrap_used)]

use std::time::Instant;

use config::Paths;
use fleet::{FailureKind, Outcome};
use sandbox::Compiler;

use crate::decider::tests::{generation, tried};
use crate::reload::Seen;

use super::*;

#[test]
fn a_plan_that_panics_leaves_the_old_log_and_the_old_places() {
    let folder = tempfile::tempdir().unwrap();
    let log = |name: &str| format!("logging: {{output: '{}'}}", folder.path().join(name).display());
    let settings = |name, max| format!("{}\nconcurrency: {{max: {max}}}", log(name));
    let (plan, snapshot) = tried(generation(&settings("old", 1), None));
    let first = Arc::clone(&snapshot.generation);
    let board = Arc::new(Board::new(snapshot));
    let metrics = Arc::new(Metrics::new().unwrap());
    let decider = Decider::start(plan, Arc::clone(&board)).unwrap();
    let gateway = Arc::new(Gateway::new(board, metrics, None));
    let [models, routing] = ["models.yaml", "routing.yaml"].map(|name| folder.path().join(name));
    let paths = Paths { models, routing, routing_required: true };
    let loader = Loader::new(paths, folder.path().to_owned(), Compiler::InProcess).unwrap();
    let tls = Arc::new(proxy::tls::client().unwrap());
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let worker = worker("reload").unwrap();
    let control = Control::new(
        Arc::clone(&gateway),
        decider,
        Arc::new(loader),
        &tls,
        worker.handle().clone(),
    )
    .unwrap();
    equip(&control.gateway, &first).unwrap();

    let (plan, snapshot) = tried(generation(&settings("new", 2), Some(&first.fleet)));
    // An ejection after the trial makes the installation ask the strategy again.
    let (deployment, now) = (&first.fleet.models[0].deployments[0], Instant::now());
    for _ in 0..5 {
        let slot = deployment.slots.try_enter(now).place().unwrap();
        let cause = "answered 500".into();
        let outcome = Outcome::Failure { cause, kind: FailureKind::Answer };
        deployment.admit(slot, now).unwrap().settle(outcome, now);
    }
    let installed =
        runtime.block_on(control.install(Loaded { plan, snapshot, seen: Seen::default() }));
    assert_eq!(installed.unwrap_err().to_string(), PANICKED);

    assert!(Arc::ptr_eq(&gateway.board.snapshot().generation, &first), "the weights");
    let slots = &first.fleet.models[0].deployments[0].slots;
    assert_eq!(slots.max(), 1, "the places");
    let files = ["old", "new"].map(|name| folder.path().join(name));
    files.iter().for_each(|file| std::fs::remove_file(file).unwrap());
    let log = gateway.access_log().unwrap();
    log.reopen();
    log.flush();
    assert_eq!(files.map(|file| file.exists()), [true, false], "the log");
}
