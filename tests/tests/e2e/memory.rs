//! Back-pressure: slow clients and slow upstreams hold the sender back, and the gateway buffers
//! little.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use tests::{Gateway, Port, Raw, Received, Wire, eventually, let_pass, one_model};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const MIB: u64 = 1 << 20;
const FLOOD: u64 = 400 * MIB;
/// Enough for every buffer to reach its full size.
const LITTLE: u64 = 4 * MIB;
/// More than all socket buffers hold, and much less than a flood.
const BUFFERS: u64 = 64 * MIB;

/// An upstream that sends the flood named in the request. The counter has the bytes that the
/// gateway took.
fn flooding() -> (Raw, Arc<AtomicU64>) {
    let taken = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&taken);
    let raw = Raw::start(move |received: &Received, wire: &mut Wire| {
        let asked = received.text();
        let most = if asked.contains("little") { LITTLE } else { FLOOD };
        let event = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"wordy\"}}]}\n\n";
        let head = |kind| format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n");
        let piece = match asked.contains("events") {
            true => event.repeat(1000).into_bytes(),
            false => vec![b'x'; 64 * 1024],
        };
        match asked.contains("plain") {
            true => {
                let length = format!("content-length: {}\r\n\r\n[\"", most + 4);
                wire.send(head("application/json") + &length);
            }
            false => wire.send(head("text/event-stream") + "\r\n" + event),
        }
        wire.flood(&piece, most, &count);
        if asked.contains("plain") {
            wire.send("\"]");
        }
        wire.close();
    });
    (raw, taken)
}

/// Sends a request for a flood of this kind, and reads no answer.
async fn ask(gateway: &Gateway, kind: &str) -> TcpStream {
    let stream = kind != "plain";
    let body = format!(r#"{{"model":"m","messages":[],"stream":{stream},"kind":"{kind}"}}"#);
    let length = body.len();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n";
    let request = format!("{head}content-length: {length}\r\n\r\n{body}");
    let mut client = TcpStream::connect(gateway.address()).await.expect("it listens");
    client.write_all(request.as_bytes()).await.expect("room");
    client
}

/// Waits until the gateway takes no more bytes, and gives how many it took.
async fn held_back(taken: &AtomicU64) -> u64 {
    let mut last = 0;
    eventually("the upstream is held back", async || {
        let_pass(Duration::from_millis(300)).await;
        let now = taken.load(SeqCst);
        (now > 0 && std::mem::replace(&mut last, now) == now).then_some(now)
    })
    .await
}

#[tokio::test]
async fn non_reading_client_costs_under_a_mebibyte() {
    const CLIENTS: u64 = 4;
    let (upstream, taken) = flooding();
    let gateway = tests::setup!().models(one_model(&[&upstream.url()])).start();
    for kind in ["events", "one line", "plain"] {
        for _ in 0..3 {
            let mut client = ask(&gateway, &format!("{kind}, little")).await;
            let mut seen = Vec::new();
            let _ = client.read_to_end(&mut seen).await;
            assert!(seen.len() as u64 > LITTLE / 2, "{kind}: {}", seen.len());
        }
        taken.store(0, SeqCst);
        let before = gateway.memory();
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            clients.push(ask(&gateway, kind).await);
        }
        let taken = held_back(&taken).await;
        let cost = gateway.memory().saturating_sub(before);
        let (each, of) = (cost / CLIENTS / 1024, taken / CLIENTS / MIB);
        eprintln!("{kind}: {each} KiB for a client that does not read, {of} of 400 MiB taken");
        assert!(taken < CLIENTS * BUFFERS, "{kind}: {of} MiB were taken");
        assert!(cost < CLIENTS * MIB, "{kind}: {each} KiB");
    }
}

#[tokio::test]
async fn bodies_for_a_non_reading_upstream_are_freed() {
    let port = Port::take();
    let listener = port.listen();
    let accepting = tokio::spawn(async move {
        let mut silent = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            silent.push(stream);
        }
    });
    // One core: the allocator keeps some freed memory for each thread.
    let gateway = tests::setup!().models(one_model(&[&port.url()])).arg("--cores").arg("1").start();
    let filler = "x".repeat(12 << 20);
    let body = format!(r#"{{"model":"m","messages":[],"filler":"{filler}"}}"#);
    let size = body.len() as u64;
    let before = gateway.memory();
    for _ in 0..6 {
        let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n";
        let request = format!("{head}content-length: {size}\r\n\r\n{body}");
        let mut client = TcpStream::connect(gateway.address()).await.expect("it listens");
        client.write_all(request.as_bytes()).await.expect("room");
        let attempts = |count: f64| {
            let gateway = &gateway;
            async move || {
                let in_flight = gateway.metric("gateway_deployment_in_flight", &[]).await;
                (in_flight == Some(count)).then_some(())
            }
        };
        eventually("the upstream is asked", attempts(1.0)).await;
        let cost = gateway.memory().saturating_sub(before);
        eprintln!("{} KiB for a body of {} KiB that nobody reads", cost / 1024, size / 1024);
        // The body, the pieces in which it arrived, and what the allocator kept of earlier bodies.
        assert!(cost < 3 * size, "{} MiB", cost / MIB);
        drop(client);
        eventually("the request is cancelled", attempts(0.0)).await;
    }
    accepting.abort();
}
