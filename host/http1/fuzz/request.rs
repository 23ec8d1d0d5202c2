//! The gate as a function of bytes, and what must hold of what it passes.

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

use pieces::{Pieces, dechunk};

use crate::Refusal;
use crate::request::Framing;

/// What becomes of a connection's bytes: what passes, request by request, and what is refused.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) passed: Vec<Vec<u8>>,
    /// The last of these has not come whole.
    pub(crate) open: bool,
    pub(crate) refusal: Option<Refusal>,
}

/// Reads bytes that come in these pieces, each request answered as soon as it has come.
pub(crate) fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut outcome = Outcome::default();
    let (mut framing, mut held, mut apart) = (Framing::start(), Vec::new(), 0);
    for piece in pieces {
        held.extend_from_slice(piece);
        loop {
            let in_head = framing.in_head();
            let verdict = match framing.advance(&held) {
                Ok(verdict) => verdict,
                Err(refusal) => {
                    // How much of a broken body passed before it broke is not of interest.
                    if !in_head {
                        outcome.passed.pop();
                    }
                    return Outcome { refusal: Some(refusal), open: false, ..outcome };
                }
            };
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
                Framing::End if apart > 0 => break,
                Framing::End => (framing, outcome.open) = (Framing::start(), false),
                _ if held.is_empty() || verdict.pass == 0 => break,
                _ => {}
            }
        }
    }
    outcome
}

/// However the bytes are cut, the verdict is the same; what passes is what came; and every request that
/// passes is read by hyper, and in the plainest way, as the same request. The input comes in pieces.
pub fn edge(input: &[u8]) {
    let pieces = Pieces::of(input);
    let text = pieces.text();
    let Outcome { passed, open, refusal } = read([text]);
    for way in pieces.ways() {
        let cut = read(way);
        assert_eq!(cut.refusal, refusal);
        assert_eq!((&cut.passed, cut.open), (&passed, open));
    }
    let mut rest = text;
    for request in &passed {
        rest = rest.strip_prefix(b"\r\n").unwrap_or(rest);
        rest = rest.strip_prefix(&**request).expect("as it came");
    }
    let whole = passed.len() - usize::from(open);
    for request in &passed[..whole] {
        one_request(request);
    }
}

/// What hyper makes of one request.
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
    assert_eq!((&*found.method, &*found.target), (method, target));
    assert_eq!(found.headers.len(), request.headers.len());
    assert_eq!(found.body, body);
    one_apart(text, found);
}

/// Where the service reads the body, hyper finds the same request without it.
fn one_apart(text: &[u8], found: &Found) {
    let mut head = text.to_vec();
    let verdict = Framing::start().advance(text).expect("as before");
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

/// Decoded or not, a path stays the same path.
fn one_path(target: &str) {
    let path = target.split('?').next().unwrap_or_default();
    let decoded: Vec<u8> = percent_encoding::percent_decode_str(path).collect();
    let mut segments = decoded.split(|byte| *byte == b'/');
    assert!(path.starts_with('/') && !segments.any(|segment| matches!(segment, b"." | b"..")));
    assert!(!decoded.iter().any(|byte| byte.is_ascii_control() || *byte == b'\\'));
    let slashes = |text: &[u8]| text.iter().filter(|byte| **byte == b'/').count();
    assert!(path.starts_with("/v1/models/") || slashes(&decoded) == slashes(path.as_bytes()));
}

/// The bodies of the requests that hyper finds in bytes that are all good.
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
    // As the gateway has it: the gate keeps the client's time.
    http.header_read_timeout(None).half_close(true);
    let connection = http.serve_connection(TokioIo::new(Client(text)), service);
    let (mut connection, mut cx) = (pin!(connection), Context::from_waker(Waker::noop()));
    // Nothing is ever waited for, but hyper gives way to others from time to time.
    let ended = (0..=text.len()).find_map(|_| match connection.as_mut().poll(&mut cx) {
        Poll::Ready(ended) => Some(ended),
        Poll::Pending => None,
    });
    ended.expect("an end").expect("good requests");
    found.take()
}

/// A client that sends this at once and takes everything.
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
