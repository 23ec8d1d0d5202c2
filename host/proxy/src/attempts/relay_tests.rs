//! Time limits of an answer under way.

#![allow(clippy::unwrap_used)]

use std::future::poll_fn;
use std::rc::Rc;

use hyper::Response;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use config::{Config, Paths, load};
use contract::Signal;
use fleet::Fleet;

use crate::attempts::Desk;
use crate::telemetry::Metrics;

use super::*;

/// The `idle` of the deployment.
const IDLE: Duration = Duration::from_millis(400);
const HOUR: Duration = Duration::from_secs(3600);

/// One deployment.
fn config() -> Config {
    let folder = tempfile::tempdir().unwrap();
    let models = folder.path().join("models.yaml");
    let model = "{id: m, base_url: 'http://h', timeouts: {idle: 0.4}}";
    std::fs::write(&models, format!("models: [{model}]")).unwrap();
    let paths = Paths { models, routing: folder.path().join("none"), routing_required: false };
    load(&paths, &|_| None).unwrap()
}

/// A stream that has begun: the client's side, the upstream's side, and the deployment.
async fn relay(total: Duration) -> (Box<Relay>, TcpStream, Arc<Deployment>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let theirs = listener.accept().await.unwrap().0;
    let fleet = Fleet::build(&config(), None);
    let deployment = Arc::clone(&fleet.models[0].deployments[0]);
    let now = Instant::now().into_std();
    fleet.models[0].want(Signal::ALL.into_iter().collect(), now);
    let slot = deployment.slots.try_enter(now).place().unwrap();
    let mut permit = deployment.admit(slot, now).unwrap();
    permit.begun(now);
    let metrics = Arc::new(Metrics::new().unwrap());
    let desk = Desk { metrics, logging: Arc::default(), stop: Arc::default() };
    let mut journal = Journal::open("id".into(), "", Rc::new(desk));
    journal.trying(&permit, 1.0, None);
    let committed = Box::new(Committed {
        head: Response::new(()).into_parts().0,
        first: Bytes::new(),
        rest: Rest::Coming(Incoming::until_close(ours)),
        unread: Bytes::new(),
        commit: Commit::new(Shape::Stream),
    });
    let now = Instant::now();
    let relay = Relay::new(committed, permit, "m", journal, Span { now, end: now + total });
    (relay, theirs, deployment)
}

type Polled = Poll<Option<Result<Bytes, BoxError>>>;

async fn poll(relay: &mut Relay) -> Polled {
    poll_fn(|cx| Poll::Ready(relay.poll(cx))).await
}

/// Polls until the next chunk is there.
async fn next(relay: &mut Relay) -> String {
    let start = std::time::Instant::now();
    loop {
        match poll(relay).await {
            Poll::Ready(next) => return String::from_utf8(next.unwrap().unwrap().into()).unwrap(),
            Poll::Pending => sleep(Duration::from_millis(1)).await,
        }
        assert!(start.elapsed() < Duration::from_secs(20), "nothing comes");
    }
}

fn event(n: u8) -> String {
    format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{n}\"}}}}]}}\n\n")
}

#[tokio::test]
async fn only_the_time_in_which_the_upstream_is_waited_for_is_its_own() {
    let (mut relay, mut theirs, deployment) = relay(HOUR).await;
    theirs.write_all(event(1).as_bytes()).await.unwrap();
    assert_eq!(next(&mut relay).await, event(1));
    // The client is slow: nobody polls the relay.
    sleep(2 * IDLE).await;
    assert!(poll(&mut relay).await.is_pending(), "it is waited for from now on");
    theirs.write_all(event(2).as_bytes()).await.unwrap();
    assert_eq!(next(&mut relay).await, event(2));
    // The same holds if more data is already there.
    theirs.write_all(event(3).as_bytes()).await.unwrap();
    sleep(2 * IDLE).await;
    assert_eq!(next(&mut relay).await, event(3));
    assert!(next(&mut relay).await.contains("\"code\":\"timeout_idle\""));
    assert!(deployment.load.is_failing(), "it is charged");
}

#[tokio::test]
async fn an_upstream_that_is_never_waited_for_has_an_end_too() {
    let (mut relay, mut theirs, deployment) = relay(IDLE).await;
    for n in 0..20 {
        theirs.write_all(event(n).as_bytes()).await.unwrap();
    }
    assert!(next(&mut relay).await.starts_with(&event(0)));
    theirs.write_all(event(1).as_bytes()).await.unwrap();
    sleep(IDLE).await;
    assert!(next(&mut relay).await.contains("\"code\":\"timeout_total\""));
    assert!(!deployment.load.is_failing(), "nobody is charged");
}

#[tokio::test]
async fn an_answer_under_a_client_that_is_given_up_ends_then_and_is_charged_to_nobody() {
    for phase in [Phase::ClientIdle, Phase::Total] {
        let (mut relay, mut theirs, deployment) = relay(HOUR).await;
        theirs.write_all(event(1).as_bytes()).await.unwrap();
        assert_eq!(next(&mut relay).await, event(1));
        relay.give_up(phase);
        assert_eq!(deployment.load.in_flight(), 0, "the attempt is over");
        assert!(!deployment.load.is_failing());
        assert!(next(&mut relay).await.contains(phase.code()));
    }
}

#[tokio::test]
async fn a_whole_stream_tells_its_tokens() {
    let usage = r#""usage":{"prompt_tokens":9,"completion_tokens":90}"#;
    for (last, tokens) in [("".to_owned(), 21.0), (format!("data: {{{usage}}}\n\n"), 90.0)] {
        let began = Instant::now();
        let (mut relay, mut theirs, deployment) = relay(HOUR).await;
        for n in 0..20 {
            theirs.write_all(event(n).as_bytes()).await.unwrap();
        }
        assert!(next(&mut relay).await.starts_with(&event(0)));
        sleep(IDLE / 4).await;
        theirs
            .write_all(format!(": still there\n\n{last}data: [DONE]\n\n").as_bytes())
            .await
            .unwrap();
        while !next(&mut relay).await.contains("[DONE]") {}
        drop(theirs);
        while poll(&mut relay).await.is_pending() {
            sleep(Duration::from_millis(1)).await;
        }
        let speed = deployment.signal(Signal::TokensPerSecond, None, Instant::now().into_std());
        let most = (tokens - 1.0) / (IDLE / 4).as_secs_f64();
        let least = (tokens - 1.0) / began.elapsed().as_secs_f64();
        assert!((least..=most).contains(&speed), "{speed} is not within {least}..{most}");
        let lasts = deployment.signal(Signal::DurationMean, None, Instant::now().into_std());
        assert!(lasts >= 100.0, "{lasts} ms");
    }
}
