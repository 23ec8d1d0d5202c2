//! Hostile requests: the gateway refuses them, survives them, forwards none, and charges no
//! deployment.

mod bodies;
mod framing;
mod heads;
mod table;

use std::collections::BTreeSet;

use tests::{Gateway, Raw, Strict, one_model};

use table::{Row, Wanted};

const WHOLE: &str = r#"{"id":"x","choices":[{"message":{"role":"assistant","content":"hi"}}]}"#;

/// A gateway in front of an upstream that answers anything. It answers to every host, because hosts
/// are among what is tried.
fn gateway(upstream: &Raw) -> Gateway {
    tests::setup!().models(one_model(&[&upstream.url()])).routing("hosts: ['*']\n").start()
}

/// Sends every row on a connection of its own, a few at a time. Gives the rows that failed.
async fn run(gateway: &Gateway, rows: Vec<Row>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut running = tokio::task::JoinSet::new();
    let mut rows = rows.into_iter();
    loop {
        while running.len() < 8
            && let Some(row) = rows.next()
        {
            let address = gateway.address().to_owned();
            running.spawn(async move { row.judge(&address).await });
        }
        match running.join_next().await {
            None => return wrong,
            Some(verdict) => wrong.extend(verdict.expect("no panic").err()),
        }
    }
}

/// The attempts by outcome, which refused requests must not change.
async fn attempts(gateway: &Gateway) -> Vec<String> {
    let metrics = gateway.get("/metrics").await.text();
    let counted = |line: &&str| line.starts_with("gateway_attempts_total") && !line.ends_with(" 0");
    let lines = metrics.lines().filter(counted);
    lines.map(str::to_owned).collect()
}

#[tokio::test]
async fn hostile_inputs_are_refused_and_never_forwarded() {
    let upstream = Raw::answering(200, WHOLE);
    let mut gateway = gateway(&upstream);
    let rows = [heads::rows(), framing::rows(), bodies::rows()].concat();
    let names: BTreeSet<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names.len(), rows.len(), "two rows of one name");
    let hostile = rows.iter().filter(|row| row.wanted != Wanted::Answered).count();
    let answered = rows.len() - hostile;
    assert!(hostile >= 200, "{hostile} hostile inputs");
    // The upstream gets the rows that must be answered, and nothing else.
    let wrong = run(&gateway, rows).await;
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(upstream.received().len(), answered);
    let attempts = attempts(&gateway).await;
    assert!(attempts.iter().all(|line| line.contains(r#"outcome="ok""#)), "{attempts:?}");
    assert!(gateway.is_running() && !gateway.log().contains("panicked"), "{}", gateway.log());
    assert_eq!(gateway.chat("m").await.status, 200);
}

#[tokio::test]
async fn forwarded_requests_satisfy_a_strict_parser() {
    let Some(upstream) = Strict::start() else {
        eprintln!("passed over: there is no python3");
        return;
    };
    let models = one_model(&[&upstream.url()]);
    let gateway = tests::setup!().models(models).routing("hosts: ['*']\n").start();
    let mut rows = [heads::rows(), framing::rows(), bodies::rows()].concat();
    rows.retain(|row| row.wanted == Wanted::Answered);
    let wrong = run(&gateway, rows).await;
    drop(gateway);
    assert_eq!(upstream.complaints(), Vec::<String>::new());
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
