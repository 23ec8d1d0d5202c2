#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use config::{Config, Paths};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::ask::NotReady;
use super::*;

fn probing(interval: Duration) -> Probing {
    let timeout = Duration::from_millis(200);
    Probing { interval: Some(interval), timeout, down_after: 1, up_after: 1 }
}

fn fleet(models: &str, probing: Probing, previous: Option<&Fleet>) -> Fleet {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("models.yaml");
    std::fs::write(&path, models).unwrap();
    let routing = folder.path().join("none");
    let paths = Paths { models: path, routing, routing_required: false };
    let config = config::load(&paths, &|_| None).unwrap();
    Fleet::build(&Config { probing, ..config }, previous)
}

fn client() -> reqwest::Client {
    super::client(crate::tls::client().unwrap()).unwrap()
}

#[tokio::test]
async fn a_probe_that_panics_is_not_the_last() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let probing = probing(Duration::from_millis(20));
    let fleet = fleet(&format!("models: [{{id: m, base_url: '{url}'}}]"), probing, None);
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    fleet
        .changes
        .listen(move || assert!(counted.fetch_add(1, SeqCst) > 0, "the first call panics"));
    let mut probes = Probes::default();
    probes.follow(&fleet, probing, &client());
    let called = async |times| {
        while calls.load(SeqCst) < times {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, called(1)).await.expect("nobody answers: it is down");
    assert_eq!(fleet.changes.take().len(), 1);
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    tokio::spawn(answer_all(listener));
    tokio::time::timeout(limit, called(2)).await.expect("somebody answers: it is up");
}

/// Answers 200 to every connection.
async fn answer_all(listener: tokio::net::TcpListener) {
    loop {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut head = [0; 1024];
        // The head arrives in one piece.
        let _ = client.read(&mut head).await.unwrap();
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        client.write_all(answer).await.unwrap();
    }
}

/// So many places, each with a model of its own.
fn many(count: usize) -> String {
    let model = |at| format!("  - {{id: m{at}, base_url: 'http://h{at}'}}\n");
    format!("models:\n{}", (0..count).map(model).collect::<String>())
}

/// Ends the probe of a place.
fn answer(places: &mut Places, id: Id, result: Result<(), NotReady>, now: Instant) {
    places.ended(id, Some(Answer { sent: now, result: Some(result) }), 0.0, now);
}

/// Begins every probe that is due.
fn begin(places: &mut Places, running: &mut JoinSet<()>, now: Instant) -> Vec<Id> {
    let due = std::iter::from_fn(|| {
        let (id, ..) = places.next(now)?;
        places.began(id, running.spawn(std::future::pending()));
        Some(id)
    });
    due.collect()
}

#[tokio::test]
async fn probes_are_spread_and_hung_ones_delay_no_good_one() {
    let (interval, mut now) = (Duration::from_secs(10), Instant::now());
    let probing = probing(interval);
    let fleet = fleet(&many(2_000), probing, None);
    let (mut places, mut running) = (Places::default(), JoinSet::new());
    places.follow(&fleet, probing, &client(), now);
    // Within a second every place is probed once. Every probe of the first half fails.
    let (mut first, end) = (Vec::new(), now + Duration::from_secs(1));
    while let Some(time) = places.next_time().filter(|time| *time <= end) {
        now = time;
        for id in begin(&mut places, &mut running, now) {
            first.push(id);
            let result = if id < 1_000 { Err("refused".into()) } else { Ok(()) };
            answer(&mut places, id, result, now);
        }
    }
    assert_eq!(first.len(), 2_000);
    // From then on the probes of that half hang. The others are sent in every interval.
    let (mut good, mut bad, mut most) = (0, 0, 0);
    let end = now + 3 * interval;
    while let Some(time) = places.next_time().filter(|time| *time <= end) {
        now = time;
        let begun = begin(&mut places, &mut running, now);
        most = most.max(begun.len());
        for id in begun {
            match id < 1_000 {
                true => bad += 1,
                false => {
                    good += 1;
                    answer(&mut places, id, Ok(()), now);
                }
            }
        }
    }
    // A place skips its first turn if it comes too soon after its first probe.
    assert!((2_700..=3_100).contains(&good), "{good}");
    assert_eq!(bad, 512, "so many may hang");
    assert!(most < 10, "{most} in one instant");
}

#[tokio::test]
async fn a_place_is_asked_when_requests_fail() {
    let (interval, now) = (Duration::from_secs(10), Instant::now());
    let probing = probing(interval);
    let fleet = fleet(&many(1), probing, None);
    let health = fleet.models[0].deployments[0].health.clone().unwrap();
    let (mut places, mut running) = (Places::default(), JoinSet::new());
    places.follow(&fleet, probing, &client(), now);
    let id = begin(&mut places, &mut running, now)[0];
    places.ask(&[Arc::clone(&health)], now);
    assert_eq!(begin(&mut places, &mut running, now).len(), 0, "one at a time");
    answer(&mut places, id, Ok(()), now);
    assert_eq!(begin(&mut places, &mut running, now), [id], "once more");
    answer(&mut places, id, Ok(()), now);
    assert_eq!(begin(&mut places, &mut running, now).len(), 0);
    places.ask(&[health], now);
    assert_eq!(begin(&mut places, &mut running, now), [id]);
}

#[tokio::test]
async fn a_reload_leaves_places_that_stay_alone() {
    let (interval, now) = (Duration::from_secs(10), Instant::now());
    let probing = probing(interval);
    let (mut places, mut running) = (Places::default(), JoinSet::new());
    let first = fleet(&many(3), probing, None);
    places.follow(&first, probing, &client(), now);
    let after = now + Duration::from_secs(1);
    let ids = begin(&mut places, &mut running, after);
    assert_eq!(ids.len(), 3);
    ids[..2].iter().for_each(|id| answer(&mut places, *id, Ok(()), after));
    let due = places.next_time();
    // The third probe is under way, and its place is removed.
    let second = fleet(&many(2), probing, Some(&first));
    places.follow(&second, probing, &client(), after);
    assert_eq!((begin(&mut places, &mut running, after).len(), places.next_time()), (0, due));
    assert!(running.join_next().await.unwrap().unwrap_err().is_cancelled());
    let third = fleet(&many(3), probing, Some(&second));
    places.follow(&third, probing, &client(), after);
    assert_eq!(begin(&mut places, &mut running, after), [3], "a new place");
    let faster = Probing { timeout: Duration::from_secs(1), ..probing };
    places.follow(&third, faster, &client(), after);
    assert_eq!(begin(&mut places, &mut running, after + interval).len(), 3, "all anew");
}
