//! How traffic is shared.

use tests::{Engine, one_model, split};

#[tokio::test]
async fn a_request_is_answered_by_a_deployment() {
    let (local, remote) = (Engine::start("local"), Engine::start("remote"));
    let (l, r) = (local.url(), remote.url());
    let gateway =
        tests::setup!().models(one_model(&[&l, &r])).routing(split(0.6, &[&l], &[&r], "")).start();
    let reply = gateway.chat("m").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(["local", "remote"].contains(&reply.engine()), "{:?}", reply.headers);
    let weights = gateway.weights("m").await;
    assert_eq!(weights, [("local-1".into(), 0.6), ("remote-1".into(), 0.4)].into());
}
