//! Bodies of known length, through the gate and hyper, on a socket.

use std::pin::pin;
use std::thread;

use hyper::Request;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;

use crate::api::RequestBody;
use crate::attempts::BoxError;

use super::*;

/// Limits with a short `client_idle`.
const SHORT: ClientTimeouts = ClientTimeouts { idle: Duration::from_millis(50), ..LIMITS };

/// Serves a connection whose answers are the bodies of its requests. `/early` is answered before
/// its body is read, `/never` not at all.
async fn serve(stream: TcpStream, limits: ClientTimeouts) -> Result<(), BoxError> {
    let (edge, requests, watch) = Edge::new(stream, limits, Arc::default());
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (answering, refusal) = requests.begin();
        assert_eq!(refusal, None);
        let mut request = request.map(|incoming| requests.upload(incoming));
        async move {
            answering.client().await;
            let mut body = Vec::new();
            let mut more = request.uri() != "/early";
            while more {
                match poll_fn(|cx| request.body_mut().poll_read(cx, &mut body)).await {
                    Ok(is_more) => more = is_more,
                    Err(error) => {
                        body = error.to_string().into_bytes();
                        more = false;
                    }
                }
            }
            if request.uri() == "/never" {
                std::future::pending::<()>().await;
            }
            let answer = Response::new(Body::own(body));
            Ok::<_, std::convert::Infallible>(answering.until(answer, request.version()))
        }
    });
    let mut connection = pin!(http().serve_connection(TokioIo::new(edge), service));
    poll_fn(|cx| watch.poll(connection.as_mut(), cx)).await
}

/// Lets the other end see what has been sent.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// Sends `pieces`, and returns all that the client receives. The server sees each piece before the
/// next is sent.
async fn talk(pieces: &[&[u8]], limits: ClientTimeouts) -> String {
    talk_with(pieces, limits, async |_| settle().await).await
}

/// Like [`talk`]; calls `behind` after each piece.
async fn talk_with(
    pieces: &[&[u8]],
    limits: ClientTimeouts,
    behind: impl AsyncFn(usize),
) -> String {
    let (mut client, server) = pair().await;
    let talk = async move {
        for (number, piece) in pieces.iter().enumerate() {
            client.write_all(piece).await.unwrap();
            behind(number).await;
        }
        let mut answers = String::new();
        client.read_to_string(&mut answers).await.unwrap();
        answers
    };
    let both = async { tokio::join!(talk, serve(server, limits)) };
    timeout(Duration::from_secs(20), both).await.unwrap().0
}

fn head(path: &str, length: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n")
}

fn body(length: usize) -> Vec<u8> {
    (b'a'..=b'z').cycle().take(length).collect()
}

/// A request that ends the connection.
const LAST: &[u8] =
    b"POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 3\r\n\r\nend";

#[tokio::test]
async fn a_body_comes_whole_however_it_is_cut() {
    for length in [1, 100, 8_000, 9_000, 40_000, 300_000] {
        let (head, body) = (head("/", length), body(length));
        // Begins with an empty line, which some clients send after a body.
        let text = [b"\r\n", head.as_bytes(), &body, LAST].concat();
        let begins = 2 + head.len();
        let ends = begins + length;
        let cuts = [
            0,
            1,
            10,
            begins - 1,
            begins,
            begins + 1,
            8_191,
            8_192,
            8_193,
            ends - 1,
            ends,
            ends + 1,
        ];
        let body = String::from_utf8(body).unwrap();
        for cut in cuts.map(|cut| cut.min(text.len())) {
            for second in [cut, (cut + 5).min(text.len())] {
                let pieces = [&text[..cut], &text[cut..second], &text[second..]];
                let answers = talk(&pieces, LIMITS).await;
                let first = answers.contains(&format!("\r\n\r\n{body}HTTP/1.1 200 OK\r\n"));
                assert!(first, "{length} {cut} {second} {answers:.300}");
                assert!(answers.ends_with("\r\n\r\nend"), "{length} {cut} {second}");
            }
        }
    }
}

#[tokio::test]
async fn a_body_that_stops_arriving_is_refused() {
    let text = [head("/", 9_000).as_bytes(), &body(8_500)].concat();
    let answers = talk(&[&text[..8_300], &text[8_300..]], SHORT).await;
    assert!(answers.ends_with("the body of the request stopped arriving"), "{answers}");
    assert!(answers.contains("\r\nconnection: close\r\n"), "{answers}");
}

#[tokio::test]
async fn a_body_that_came_while_its_core_stood_still_is_read() {
    let text = [head("/", 9_000).as_bytes(), &body(9_000), LAST].concat();
    let stand_still = async |piece| match piece {
        0 => settle().await,
        _ => thread::sleep(3 * SHORT.idle),
    };
    let answers = talk_with(&[&text[..8_300], &text[8_300..]], SHORT, stand_still).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers:.300}");
    assert!(answers.ends_with("\r\n\r\nend"), "{answers:.300}");
}

#[tokio::test]
async fn the_time_of_a_head_is_not_taken_from_its_body() {
    let text = [head("/", 9_000).as_bytes(), &body(9_000), LAST].concat();
    let slow_head = async |piece| match piece {
        0 => tokio::time::sleep(3 * SHORT.idle).await,
        _ => settle().await,
    };
    let pieces = [&text[..20], &text[20..8_000], &text[8_000..]];
    let answers = talk_with(&pieces, SHORT, slow_head).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers:.300}");
}

#[tokio::test]
async fn an_answer_before_the_whole_body_is_the_last() {
    for version in ["1.0\r\nconnection: keep-alive", "1.1"] {
        let head = head("/early", 9_000).replace("1.1", version);
        let answers = talk(&[head.as_bytes(), LAST], LIMITS).await;
        assert!(answers.contains("\r\nconnection: close"), "{answers}");
        assert_eq!(answers.matches("HTTP/1.").count(), 1, "{answers}");
    }
}

#[tokio::test]
async fn a_client_that_sends_all_before_it_reads_gets_its_answer() {
    let length = 32 << 20;
    let answers = talk(&[head("/early", length).as_bytes(), &body(length)], LIMITS).await;
    assert!(answers.starts_with("HTTP/1.1 200 OK"), "{answers:.300}");
}

#[tokio::test]
async fn a_body_that_nobody_reads_is_no_request() {
    let answers =
        talk(&[&[head("/early", 1_000).as_bytes(), &body(1_000), LAST].concat()], LIMITS).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers}");
    assert!(answers.ends_with("\r\n\r\nend"), "{answers}");
}

/// Returns how a connection ends after its client sends `pieces` and leaves.
async fn left(pieces: &[&[u8]], by_reset: bool) -> Result<(), BoxError> {
    let (mut client, server) = pair().await;
    let talk = async move {
        for piece in pieces {
            client.write_all(piece).await.unwrap();
            settle().await;
        }
        if by_reset {
            client.set_zero_linger().unwrap();
        }
    };
    let both = async { tokio::join!(talk, serve(server, LIMITS)) };
    timeout(Duration::from_secs(20), both).await.unwrap().1
}

#[tokio::test]
async fn a_client_that_leaves_within_its_body_is_not_waited_for() {
    let text = [head("/", 9_000).as_bytes(), &body(8_900)].concat();
    for by_reset in [false, true] {
        for sent in [text.len() - 8_900, 8_300, text.len()] {
            // It may end with or without an error.
            let _ = left(&[&text[..sent]], by_reset).await;
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_while_it_is_answered_is_seen() {
    let head = head("/never", 9_000);
    let text = [head.as_bytes(), &body(9_000)].concat();
    for cut in [10, head.len(), head.len() + 1, 8_192, text.len() - 1, text.len()] {
        let ended = left(&[&text[..cut], &text[cut..]], false).await;
        ended.expect_err("the request was not answered");
    }
}
