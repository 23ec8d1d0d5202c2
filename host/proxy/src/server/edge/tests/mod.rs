//! The gate on a socket: what hyper gets, for buffers of any size.

#![allow(clippy::unwrap_used)]

mod uploads;

use std::future::poll_fn;

use hyper::header::CONNECTION;
use hyper::{Response, Version};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::attempts::Body;

use super::*;

const LIMITS: ClientTimeouts = ClientTimeouts {
    headers: Duration::from_secs(60),
    idle: Duration::from_secs(60),
    keep_alive: Duration::from_secs(60),
};

/// Both ends of a connection: the client's and the gate's.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

/// The gate of a connection whose client has sent `bytes`, which have all arrived.
async fn edge(bytes: &[u8]) -> (Edge, Requests, TcpStream) {
    let (mut client, server) = pair().await;
    client.write_all(bytes).await.unwrap();
    while server.peek(&mut vec![0; bytes.len()]).await.unwrap() < bytes.len() {
        tokio::task::yield_now().await;
    }
    let (edge, requests, _) = Edge::new(server, LIMITS, Arc::default());
    (edge, requests, client)
}

/// One read of hyper with room for so many bytes. None: there is nothing to read now.
async fn read(edge: &mut Edge, room: usize) -> Option<Vec<u8>> {
    let mut space = vec![0; room];
    let read = poll_fn(|cx| {
        let mut to = ReadBuf::new(&mut space);
        let poll = Pin::new(&mut *edge).poll_read(cx, &mut to);
        Poll::Ready(match poll {
            Poll::Ready(read) => read.map(|()| Some(to.filled().len())),
            Poll::Pending => Ok(None),
        })
    });
    let read = timeout(Duration::from_secs(20), read).await.unwrap().unwrap()?;
    space.truncate(read);
    Some(space)
}

/// Whether an answer now would come before the whole request.
fn is_early(requests: &Requests) -> bool {
    let answer = requests.begin().0.until(Response::new(Body::own("")), Version::HTTP_11);
    answer.headers().contains_key(CONNECTION)
}

#[tokio::test]
async fn a_request_passes_whole_and_alone_whatever_room_there_is() {
    let body = "b".repeat(300);
    for (fields, body, apart) in [
        ("content-length: 300", &*body, true),
        ("Content-Length:\t0300 ", &*body, true),
        ("content-length: 300\r\nexpect: 100-continue", &*body, false),
        ("transfer-encoding: chunked", "5\r\nabcde\r\n0\r\n\r\n", false),
        ("x: y", "", false),
    ] {
        let head = format!("POST /v1/rerank HTTP/1.1\r\nhost: a\r\n{fields}\r\n\r\n");
        let behind = "GET /health HTTP/1.1\r\nhost: a\r\n\r\n";
        let passes = if apart { head.replace("300", "000") } else { format!("{head}{body}") };
        for room in [1, 7, 64, passes.len() - 1, passes.len(), 8192] {
            let sent = format!("{head}{body}{behind}");
            let (mut edge, requests, _client) = edge(sent.as_bytes()).await;
            let mut given = Vec::new();
            while given.len() < passes.len() {
                given.extend(read(&mut edge, room).await.expect("it is all there"));
            }
            assert_eq!(String::from_utf8_lossy(&given), passes, "{room}");
            assert_eq!(read(&mut edge, room).await, None, "while it is answered");
            assert!(!is_early(&requests), "{fields} {room}");
            let whole = requests.0.source.borrow_mut().take_whole();
            assert_eq!(whole.as_deref(), apart.then_some(body.as_bytes()));
        }
    }
}

#[tokio::test]
async fn an_answer_is_early_while_something_of_the_request_is_missing() {
    for fields in ["content-length: 5", "content-length: 5\r\nexpect: 100-continue"] {
        let request = format!("POST /v1/rerank HTTP/1.1\r\nhost: a\r\n{fields}\r\n\r\nbody");
        let (mut edge, requests, _client) = edge(request.as_bytes()).await;
        while read(&mut edge, 8192).await.is_some() {}
        assert!(is_early(&requests), "{fields}");
    }
}
