//! Accepting connections and serving HTTP/1.1 on them: one current-thread runtime a core, all of
//! them accepting from one listener. What is shared between cores is in [`Gateway`]. Every byte of a
//! client comes through the [`edge`].

mod edge;

use std::io::ErrorKind;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::{JoinSet, LocalSet};
use tokio_rustls::rustls::ClientConfig;

use crate::Gateway;
use crate::admission::Hold;
use crate::api::{Api, Client};
use crate::descriptors;

use edge::Edge;
#[cfg(any(test, fuzzing))]
pub(crate) use edge::fuzzing;

/// A request that was on its way when the gateway was stopped arrives within this time.
const ON_ITS_WAY: Duration = Duration::from_millis(100);
/// How long accepting pauses where the system gives no more descriptors.
const PAUSE: Duration = Duration::from_millis(100);
/// A connection that is one too many is waited for no longer.
const SURPLUS: Duration = Duration::from_secs(1);
/// Requests in flight may take this long to finish after the stop.
const GRACE: Duration = Duration::from_secs(30);

/// Starts `cores` threads that serve `listener` until `stop` is true, then finish what is in flight and
/// refuse what is new.
///
/// # Errors
/// If the listener cannot be shared or the system gives no thread.
pub(crate) fn start(
    listener: &TcpListener,
    cores: usize,
    gateway: &Arc<Gateway>,
    tls: &Arc<ClientConfig>,
    stop: &watch::Receiver<bool>,
) -> std::io::Result<Vec<JoinHandle<()>>> {
    listener.set_nonblocking(true)?;
    // An attempt takes a descriptor too.
    let most = descriptors::raise() / 2;
    let spawn = |core| {
        let (listener, gateway) = (listener.try_clone()?, Arc::clone(gateway));
        let (tls, stop) = (Arc::clone(tls), stop.clone());
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => {
                    LocalSet::new()
                        .block_on(&runtime, serve(listener, Api::new(gateway, tls, most), stop));
                }
                Err(error) => tracing::error!(%error, "a core has no runtime"),
            }
        };
        std::thread::Builder::new().name(format!("core-{core}")).spawn(run)
    };
    (0..cores).map(spawn).collect()
}

async fn serve(listener: TcpListener, api: Api, mut stop: watch::Receiver<bool>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "a core cannot accept"),
    };
    let api = Rc::new(api);
    let (mut connections, watched) = (JoinSet::new(), stop.clone());
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => {}
        () = accept(&listener, &mut connections, &api, &watched) => {}
    }
    // Who comes now is told so, and not left waiting in the listener's queue; nobody waits for them.
    let mut late = JoinSet::new();
    let all = async { while connections.join_next().await.is_some() {} };
    tokio::select! {
        () = all => {}
        () = accept(&listener, &mut late, &api, &watched) => {}
        () = tokio::time::sleep(GRACE) => {
            tracing::warn!("requests were cut at the end of the grace period");
        }
    }
}

/// Accepts connections until dropped; a connection ends with the set.
async fn accept(
    listener: &tokio::net::TcpListener,
    connections: &mut JoinSet<()>,
    api: &Rc<Api>,
    stop: &watch::Receiver<bool>,
) {
    let mut paused = false;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    paused = false;
                    // One that is too many even to be told so.
                    let Some((place, is_surplus)) = api.admit() else { continue };
                    let late = *stop.borrow();
                    let stop = (!late && !is_surplus).then(|| stop.clone());
                    let client = Client { address: peer.ip(), is_surplus };
                    let api = Rc::clone(api);
                    connections.spawn_local(connection(stream, client, place, api, stop));
                }
                // The client went away while it waited.
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    if !std::mem::replace(&mut paused, true) {
                        tracing::error!(%error, "accepting pauses");
                    }
                    // Out of descriptors: those in flight give theirs back.
                    tokio::time::sleep(PAUSE).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

/// Whether the error of an accept says nothing of the next.
fn is_of_one_connection(error: &std::io::Error) -> bool {
    use ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

async fn connection(
    stream: TcpStream,
    client: Client,
    _place: Hold,
    api: Rc<Api>,
    stop: Option<watch::Receiver<bool>>,
) {
    // Chunks of a stream are small and must not wait for each other.
    let _ = stream.set_nodelay(true);
    let mut limits = api.client_timeouts();
    if client.is_surplus {
        limits.headers = limits.headers.min(SURPLUS);
        limits.idle = limits.idle.min(SURPLUS);
    }
    let (edge, requests) = Edge::new(stream, limits);
    let service = hyper::service::service_fn(move |request| {
        let (api, (answering, refusal)) = (Rc::clone(&api), requests.begin());
        async move {
            let response = match refusal {
                None => api.answer(request, client).await,
                Some(refusal) => api.refuse(refusal),
            };
            Ok::<_, std::convert::Infallible>(answering.until(response))
        }
    });
    // The edge keeps the client's time.
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .keep_alive(stop.is_some())
        .serve_connection(TokioIo::new(edge), service);
    let mut connection = std::pin::pin!(connection);
    let stopped = async {
        match stop {
            // A gateway that could not tell would not stop either.
            Some(mut stop) => drop(stop.wait_for(|stop| *stop).await),
            // One that came late has its one request answered.
            None => std::future::pending().await,
        }
        tokio::time::sleep(ON_ITS_WAY).await;
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended with an error");
    }
}
