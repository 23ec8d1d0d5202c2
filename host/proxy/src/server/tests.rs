//! The cores at the end of accepting.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use config::Config;
use fleet::{Board, Fleet, Generation};
use routing::Plan;

use crate::gateway::Gateway;
use crate::stop::Stage;
use crate::telemetry::Metrics;

use super::Cores;

/// A gateway without models.
fn gateway() -> Arc<Gateway> {
    let config = Config::default();
    let fleet = Fleet::build(&config, None);
    let generation = Generation {
        config,
        fleet,
        strategies: Vec::new(),
        books: None,
        loaded_at: SystemTime::now(),
    };
    let (_, snapshot) =
        Plan::tried(Arc::new(generation), Vec::new()).expect("an empty plan is valid");
    let metrics = Arc::new(Metrics::new().expect("unique metric names"));
    Arc::new(Gateway::new(Arc::new(Board::new(snapshot)), metrics, None))
}

#[tokio::test]
async fn connections_that_wait_when_accepting_ends_are_answered() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let address = listener.local_addr().expect("bound");
    let request = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let connect = |_| {
        let mut client = TcpStream::connect(address).expect("it listens");
        client.write_all(request).expect("room");
        client
    };
    let clients: Vec<_> = (0..100).map(connect).collect();
    let (gateway, tls) = (gateway(), Arc::new(crate::tls::client().expect("a client")));
    gateway.stop.enter(Stage::Draining);
    let mut cores = Cores::start(&listener, 2, &gateway, &tls).expect("threads");
    drop(listener);
    for mut client in clients {
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("an answer, and an orderly end");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
    }
    let ended = tokio::time::timeout(Duration::from_secs(20), cores.all_ended());
    ended.await.expect("nothing is left to serve");
    TcpStream::connect(address).expect_err("the listener is closed");
}
