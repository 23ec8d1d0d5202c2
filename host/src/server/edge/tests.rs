//! The gate on a socket: what hyper is given, whatever room it has for it.

#![allow(clippy::unwrap_used)]

use std::future::poll_fn;

use hyper::body::Incoming;
use hyper::header::CONNECTION;
use hyper::{Response, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;
use crate::api::RequestBody;
use crate::execution::Body;

const LIMITS: ClientTimeouts = ClientTimeouts {
    headers: Duration::from_secs(60),
    idle: Duration::from_secs(60),
    keep_alive: Duration::from_secs(60),
};

/// The gate of a connection whose client has sent `bytes`, all of which are here.
async fn edge(bytes: &[u8]) -> (Edge, Requests, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let server = listener.accept().await.unwrap().0;
    client.write_all(bytes).await.unwrap();
    while server.peek(&mut vec![0; bytes.len()]).await.unwrap() < bytes.len() {
        tokio::task::yield_now().await;
    }
    let (edge, requests) = Edge::new(server, LIMITS, Arc::default());
    (edge, requests, client)
}

/// What hyper is given at one time, with room for so many bytes. None: nothing now.
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

/// Serves a connection whose answers are the bodies of its requests, but for one that asks for something else: that
/// is answered at once. Says how it ended.
async fn serve(stream: TcpStream, limits: ClientTimeouts) -> Result<(), hyper::Error> {
    let (edge, requests) = Edge::new(stream, limits, Arc::default());
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let (answering, refusal) = requests.begin();
        assert_eq!(refusal, None);
        let mut request = request.map(|incoming| requests.upload(incoming));
        async move {
            let mut body = Vec::new();
            if request.uri() == "/" {
                let body_left = request.body_mut();
                loop {
                    match poll_fn(|cx| body_left.poll_read(cx, &mut body)).await {
                        Ok(true) => {}
                        Ok(false) => break,
                        Err(error) => break body.extend(error.to_string().into_bytes()),
                    }
                }
            }
            drop(request);
            let answer = Response::new(Body::own(body));
            Ok::<_, std::convert::Infallible>(answering.until(answer, Version::HTTP_11))
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .header_read_timeout(None)
        .serve_connection(hyper_util::rt::TokioIo::new(edge), service);
    connection.await
}

/// All that a client receives of such a connection, to its end, which sends `text` cut into these pieces and waits between
/// them.
async fn answers(text: &[u8], cuts: &[usize], limits: ClientTimeouts) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let server = listener.accept().await.unwrap().0;
    let talk = async move {
        let mut rest = text;
        for cut in cuts {
            let (now, later) = rest.split_at((*cut).min(rest.len()));
            rest = later;
            client.write_all(now).await.unwrap();
            // The server has polled what came.
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        }
        client.write_all(rest).await.unwrap();
        let mut answers = String::new();
        client.read_to_string(&mut answers).await.unwrap();
        answers
    };
    let both = async { tokio::join!(talk, serve(server, limits)) };
    // A client that closes is an error to hyper.
    timeout(Duration::from_secs(20), both).await.unwrap().0
}

/// Two requests, the second of which ends the connection.
fn two(length: usize) -> (Vec<u8>, Vec<u8>) {
    let body: Vec<u8> = (b'a'..=b'z').cycle().take(length).collect();
    let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n");
    let behind = "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 3\r\n\r\nend";
    ([head.as_bytes(), &body, behind.as_bytes()].concat(), body)
}

#[tokio::test]
async fn a_body_comes_whole_however_it_is_cut() {
    for length in [1, 100, 8_000, 9_000, 40_000, 300_000] {
        let (text, body) = two(length);
        let body = String::from_utf8(body).unwrap();
        let head = text.len() - length - 90;
        for cuts in [&[][..], &[10], &[head, 1, 2], &[8_192], &[8_193, 1], &[60, length, 1, 5]] {
            let answers = answers(&text, cuts, LIMITS).await;
            let ends = [&format!("\r\n\r\n{body}HTTP/1.1 200 OK\r\n"), "\r\n\r\nend"];
            assert!(answers.contains(ends[0]), "{length} {cuts:?} {answers:.300}");
            assert!(answers.ends_with(ends[1]), "{length} {cuts:?}");
        }
    }
}

#[tokio::test]
async fn a_body_that_stops_arriving_is_refused() {
    let (text, _) = two(9_000);
    let limits = ClientTimeouts { idle: Duration::from_millis(50), ..LIMITS };
    let answers = answers(&text[..8_500], &[8_300], limits).await;
    assert!(answers.ends_with("the body of the request stopped arriving"), "{answers}");
    assert!(answers.contains("\r\nconnection: close\r\n"), "{answers}");
}

#[tokio::test]
async fn an_answer_before_the_whole_body_is_the_last() {
    let (text, _) = two(9_000);
    let text = [b"POST /early", &text[6..8_500]].concat();
    let answers = answers(&text, &[], LIMITS).await;
    assert!(answers.contains("\r\nconnection: close\r\n"), "{answers}");
}

#[tokio::test]
async fn a_body_that_nobody_reads_is_no_request() {
    let (text, _) = two(1_000);
    let text = [b"POST /early", &text[6..]].concat();
    let answers = answers(&text, &[], LIMITS).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers}");
    assert!(answers.ends_with("\r\n\r\nend"), "{answers}");
}
