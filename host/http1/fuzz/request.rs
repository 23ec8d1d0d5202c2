//! Fuzz oracle of the gate: the invariants of the requests that it passes.

use std::cell::RefCell;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use pieces::{Pieces, dechunk, work};

use crate::Refusal;
use crate::request::RequestFraming;

/// The result of reading a connection's bytes: the requests that passed, and the refusal.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) passed: Vec<Vec<u8>>,
    /// True if the last of these is incomplete.
    pub(crate) open: bool,
    /// True if a line was left out that offers another protocol.
    pub(crate) is_changed: bool,
    pub(crate) refusal: Option<Refusal>,
}

/// Reads bytes that come in these pieces. Each request is answered as soon as it is complete.
pub(crate) fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut outcome = Outcome::default();
    let (mut framing, mut held, mut apart) = (RequestFraming::start(), Vec::new(), 0);
    for piece in pieces {
        held.extend_from_slice(piece);
        loop {
            let in_head = framing.in_head();
            let mut verdict = match framing.advance(&held) {
                Ok(verdict) => verdict,
                Err(refusal) => {
                    // How much of a broken body passes depends on the cuts, so it is not compared.
                    if !in_head {
                        outcome.passed.pop();
                    }
                    return Outcome { refusal: Some(refusal), open: false, ..outcome };
                }
            };
            let before = verdict.pass;
            verdict.remove_ignored(&mut held);
            outcome.is_changed |= verdict.pass != before;
            if in_head && !framing.in_head() {
                outcome.passed.push(Vec::new());
            }
            apart += verdict.apart.map_or(0, |body| body.bytes);
            held.drain(..verdict.skip);
            if let Some(request) = outcome.passed.last_mut() {
                request.extend(held.drain(..verdict.pass));
                let of_body =
                    usize::try_from(apart).map_or(held.len(), |left| left.min(held.len()));
                request.extend(held.drain(..of_body));
                apart -= of_body as u64;
            }
            outcome.open = !framing.in_head();
            match framing {
                RequestFraming::End if apart > 0 => break,
                RequestFraming::End => (framing, outcome.open) = (RequestFraming::start(), false),
                _ if held.is_empty() || verdict.pass == 0 => break,
                _ => {}
            }
        }
    }
    outcome
}

/// Bytes that may be looked at for each byte of requests, however they are cut: each byte is searched
/// for a line end, and judged with its line.
const WORK: usize = 2;

/// Checks that the verdict does not depend on how the bytes are cut, that requests pass unchanged,
/// and that hyper and httparse read each of them as the same request. The input comes in pieces.
pub fn edge(input: &[u8]) {
    let pieces = Pieces::of(input);
    let text = pieces.text();
    let Outcome { passed, open, is_changed, refusal } = read([text]);
    for way in pieces.ways() {
        let cut = work::bounded(WORK, text.len(), (1, 0), || read(way));
        assert_eq!(cut.refusal, refusal);
        assert_eq!((&cut.passed, cut.open), (&passed, open));
    }
    let mut rest = text;
    for request in passed.iter().filter(|_| !is_changed) {
        rest = rest.strip_prefix(b"\r\n").unwrap_or(rest);
        rest = rest.strip_prefix(&**request).expect("as it came");
    }
    let whole = passed.len() - usize::from(open);
    for request in &passed[..whole] {
        one_request(request);
    }
}

/// One request as hyper reads it.
struct Found {
    method: String,
    target: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

fn one_request(text: &[u8]) {
    let mut headers = [httparse::EMPTY_HEADER; 100];
    let mut request = httparse::Request::new(&mut headers);
    let end = request.parse(text).expect("a request").unwrap();
    let (method, target) = (request.method.expect("is whole"), request.path.expect("is whole"));
    let all = |name: &'static str| {
        let all = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        all.map(|header| header.value.trim_ascii()).collect::<Vec<_>>()
    };
    assert!(all("host").len() <= 1 && all("upgrade").is_empty());
    let body = match (&all("content-length")[..], &all("transfer-encoding")[..]) {
        ([], []) => Vec::new(),
        ([length], []) => {
            let length: usize = str::from_utf8(length).expect("digits").parse().expect("digits");
            assert_eq!(text.len() - end, length);
            text[end..].to_vec()
        }
        ([], [coding]) => {
            assert!(coding.eq_ignore_ascii_case(b"chunked"));
            let (body, behind) = dechunk(&text[end..]).expect("a whole body");
            assert!(behind.is_empty());
            body
        }
        _ => panic!("framed twice"),
    };
    one_path(target);
    let found = as_hyper_reads(text);
    let [found] = &found[..] else { panic!("hyper finds {} requests", found.len()) };
    let target: http::Uri = target.parse().expect("a target");
    assert_eq!((&*found.method, &*found.target), (method, &*target.to_string()));
    assert_eq!(found.headers.len(), request.headers.len());
    assert_eq!(found.body, body);
    one_apart(text, found);
}

/// Checks that hyper reads the same request without its body, if the service reads the body itself.
fn one_apart(text: &[u8], found: &Found) {
    let mut head = text.to_vec();
    let verdict = RequestFraming::start().advance(text).expect("as before");
    let Some(body) = verdict.apart else { return };
    body.hide(&mut head);
    let alone = as_hyper_reads(&head[verdict.skip..][..verdict.pass]);
    let [alone] = &alone[..] else { panic!("hyper finds {} requests", alone.len()) };
    assert!(alone.body.is_empty());
    assert_eq!((&alone.method, &alone.target), (&found.method, &found.target));
    for (name, value) in &found.headers {
        let same =
            name == "content-length" || alone.headers.get_all(name).iter().any(|v| v == value);
        assert!(same, "{name}");
    }
}

/// Checks that a path means the same before and after decoding.
fn one_path(target: &str) {
    // With a host before it or without, http's parser finds the same path.
    let uri: http::Uri = target.parse().expect("a target");
    let path = uri.path();
    let decoded: Vec<u8> = percent_encoding::percent_decode_str(path).collect();
    let mut segments = decoded.split(|byte| *byte == b'/');
    assert!(path.starts_with('/') && !segments.any(|segment| matches!(segment, b"." | b"..")));
    assert!(!decoded.iter().any(|byte| byte.is_ascii_control() || *byte == b'\\'));
    let slashes = |text: &[u8]| text.iter().filter(|byte| **byte == b'/').count();
    assert!(path.starts_with("/v1/models/") || slashes(&decoded) == slashes(path.as_bytes()));
}

/// The bodies of the requests that hyper reads in valid bytes.
#[cfg(test)]
pub(crate) fn bodies(text: &[u8]) -> Vec<Vec<u8>> {
    as_hyper_reads(text).into_iter().map(|found| found.body).collect()
}

fn as_hyper_reads(text: &[u8]) -> Vec<Found> {
    let found = Rc::<RefCell<Vec<Found>>>::default();
    let service = hyper::service::service_fn(|request: Request<Incoming>| {
        let found = Rc::clone(&found);
        async move {
            let (head, body) = request.into_parts();
            let target = head.uri.to_string();
            let body = body.collect().await?.to_bytes().to_vec();
            let method = head.method.to_string();
            found.borrow_mut().push(Found { method, target, headers: head.headers, body });
            Ok::<_, hyper::Error>(hyper::Response::new(Empty::<bytes::Bytes>::new()))
        }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    // As in the gateway, where the gate enforces the client's time-outs.
    http.header_read_timeout(None).half_close(true);
    let connection = http.serve_connection(TokioIo::new(Client(text)), service);
    let (mut connection, mut cx) = (pin!(connection), Context::from_waker(Waker::noop()));
    // The client never blocks, but hyper yields from time to time.
    let ended = (0..=text.len()).find_map(|_| match connection.as_mut().poll(&mut cx) {
        Poll::Ready(ended) => Some(ended),
        Poll::Pending => None,
    });
    ended.expect("an end").expect("good requests");
    found.take()
}

/// A client that sends these bytes at once and accepts every answer.
struct Client<'a>(&'a [u8]);

impl AsyncRead for Client<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (now, later) = self.0.split_at(self.0.len().min(to.remaining()));
        to.put_slice(now);
        self.0 = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Client<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
