//! A minimal proxy of hyper and hyper-util's client: tokio's multi-thread runtime, one shared
//! connection pool, two upstreams that share requests 60 to 40. It has no limits and no log, and
//! reads no bodies.
//!
//! Usage: `peer-hyper PORT LOCAL_PORT REMOTE_PORT`, all on 127.0.0.1.

use std::convert::Infallible;
use std::error::Error;
use std::net::Ipv4Addr;

use http_body_util::{Either, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, HOST};
use hyper::http::uri::{Authority, Parts, Scheme};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpListener;

/// The first upstream's share of the requests.
const LOCAL_SHARE: f64 = 0.6;

type Pool = Client<HttpConnector, Incoming>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let ports: Vec<u16> =
        std::env::args().skip(1).map(|port| port.parse()).collect::<Result<_, _>>()?;
    let [port, local, remote] = ports[..] else {
        return Err("usage: peer-hyper PORT LOCAL_PORT REMOTE_PORT".into());
    };
    let upstreams = [local, remote].map(|port| Authority::try_from(format!("127.0.0.1:{port}")));
    let [Ok(local), Ok(remote)] = upstreams else { return Err("no authority".into()) };

    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let pool: Pool =
        Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        stream.set_nodelay(true)?;
        let (pool, local, remote) = (pool.clone(), local.clone(), remote.clone());
        let service = service_fn(move |request| {
            let upstream = if rand::random::<f64>() < LOCAL_SHARE { &local } else { &remote };
            forward(pool.clone(), upstream.clone(), request)
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

/// Sends `request` to `upstream` and relays the answer. 502 without an answer.
async fn forward(
    pool: Pool,
    upstream: Authority,
    mut request: Request<Incoming>,
) -> Result<Response<Either<Incoming, Empty<Bytes>>>, Infallible> {
    let mut parts = Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(upstream);
    parts.path_and_query = request.uri().path_and_query().cloned();
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    for hop in [CONNECTION, HOST] {
        request.headers_mut().remove(hop);
    }
    Ok(match pool.request(request).await {
        Ok(answer) => answer.map(Either::Left),
        Err(_) => {
            let mut answer = Response::new(Either::Right(Empty::new()));
            *answer.status_mut() = StatusCode::BAD_GATEWAY;
            answer
        }
    })
}
