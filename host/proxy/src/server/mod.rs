//! Accepts connections and serves HTTP/1.1 on them. Each core is one current-thread runtime. All
//! cores accept from one listener, and the core with the fewest connections serves each new one
//! ([`balance`]). [`Gateway`] holds what else the cores share. Every byte of a client passes
//! through the [`edge`].

mod balance;
mod edge;
#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::{IpAddr, TcpListener};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::runtime::LocalOptions;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::rustls::ClientConfig;

use fleet::admission::Hold;

use crate::api::{Api, Client};
use crate::descriptors;
use crate::gateway::Gateway;
use crate::stop::Stage;

use balance::{Arrival, Lobby};
use edge::Edge;

/// Time for requests to arrive that were on their way when the gateway stopped accepting.
const ON_ITS_WAY: Duration = Duration::from_millis(100);
/// Longest queue of connections that wait to be accepted: the default maximum of Linux. The
/// standard library asks for 128, and a client that is one too many retries only after a second.
const BACKLOG: i32 = 4096;
/// How long accepting pauses after the system refused a descriptor.
const PAUSE: Duration = Duration::from_millis(100);
/// Time limit for the request of a connection beyond the limit.
const SURPLUS: Duration = Duration::from_secs(1);
/// Time that clients have to read their errors at the end of the shutdown.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The serving threads, one per core.
#[derive(Debug)]
pub struct Cores {
    ended: mpsc::UnboundedReceiver<()>,
    running: usize,
}

impl Cores {
    /// Starts `cores` threads that serve `listener` until the gateway stops. Each has its own
    /// handle of it.
    ///
    /// # Errors
    /// If the listener cannot be duplicated, or a thread cannot be started.
    pub fn start(
        listener: &TcpListener,
        cores: usize,
        gateway: &Arc<Gateway>,
        tls: &Arc<ClientConfig>,
    ) -> std::io::Result<Self> {
        listener.set_nonblocking(true)?;
        // Listening again changes only the backlog.
        rustix::net::listen(listener, BACKLOG)?;
        // Half of them: the attempt of a request takes a descriptor too.
        let most = descriptors::raise() / 2;
        let is_loopback = listener.local_addr()?.ip().to_canonical().is_loopback();
        let (tell, ended) = mpsc::unbounded_channel();
        for (core, lobby) in Lobby::of(cores).into_iter().enumerate() {
            let end = End(tell.clone());
            let listener = listener.try_clone()?;
            let (gateway, tls) = (Arc::clone(gateway), Arc::clone(tls));
            let at = Place { most, is_loopback };
            let run = move || {
                let _end = end;
                // A `LocalSet` would poll the accepting task whenever a connection makes progress.
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build_local(LocalOptions::default());
                match runtime {
                    Ok(runtime) => {
                        runtime.block_on(serve(listener, lobby, gateway, tls, at));
                        // Does not wait for a blocking DNS lookup.
                        runtime.shutdown_background();
                    }
                    Err(error) => tracing::error!(%error, "the runtime of a core cannot be built"),
                }
            };
            std::thread::Builder::new().name(format!("core-{core}")).spawn(run)?;
        }
        Ok(Self { ended, running: cores })
    }

    /// Resolves when one thread has ended, also by a panic.
    pub async fn one_ended(&mut self) {
        if self.ended.recv().await.is_some() {
            self.running -= 1;
        }
    }

    /// Resolves when all threads have ended.
    pub async fn all_ended(&mut self) {
        while self.running > 0 {
            self.one_ended().await;
        }
    }
}

/// What a core knows of its listener.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Most connections that the limit of open files leaves room for.
    most: usize,
    /// Only this machine reaches it.
    is_loopback: bool,
}

/// Reports the end of a thread, also after a panic.
struct End(mpsc::UnboundedSender<()>);

impl Drop for End {
    fn drop(&mut self) {
        // Fails only when the process ends, and nobody listens.
        let _ = self.0.send(());
    }
}

async fn serve(
    listener: TcpListener,
    mut lobby: Lobby,
    gateway: Arc<Gateway>,
    tls: Arc<ClientConfig>,
    at: Place,
) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "a core cannot accept"),
    };
    let stop = Arc::clone(&gateway.stop);
    let api = Rc::new(Api::new(gateway, tls, at.most, at.is_loopback));
    let mut connections = JoinSet::new();
    tokio::select! {
        biased;
        () = stop.reached(Stage::Draining) => {}
        () = accept(&listener, &mut lobby, &mut connections, &api) => {}
    }
    for arrival in lobby.close().await {
        connections.spawn_local(connection(arrival, Rc::clone(&api)));
    }
    match listener.into_std() {
        Ok(listener) => accept_waiting(&listener, &lobby, &mut connections, &api),
        Err(error) => tracing::error!(%error, "connections that waited are reset"),
    }
    let cut = async {
        stop.reached(Stage::Over).await;
        tokio::time::sleep(LAST_WORDS).await;
    };
    tokio::select! {
        () = async { while connections.join_next().await.is_some() {} } => {}
        () = cut => {}
    }
}

/// Accepts connections until dropped. Dropping `connections` aborts those that are open.
async fn accept(
    listener: &tokio::net::TcpListener,
    lobby: &mut Lobby,
    connections: &mut JoinSet<()>,
    api: &Rc<Api>,
) {
    // Accepting pauses until then, for want of descriptors. Connections from other cores still
    // arrive.
    let mut pause: Option<tokio::time::Instant> = None;
    let accepted = async |pause: Option<tokio::time::Instant>| {
        if let Some(until) = pause {
            tokio::time::sleep_until(until).await;
        }
        listener.accept().await
    };
    loop {
        tokio::select! {
            accepted = accepted(pause) => match accepted {
                Ok((stream, peer)) => {
                    pause = None;
                    let admitted = admit(peer.ip(), api);
                    let placed =
                        admitted.and_then(|(client, place)| lobby.place(stream, client, place));
                    if let Some(arrival) = placed {
                        connections.spawn_local(connection(arrival, Rc::clone(api)));
                    }
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    if pause.is_none() {
                        tracing::error!(%error, "accepting pauses");
                    }
                    // Out of descriptors: connections that end free theirs.
                    pause = Some(tokio::time::Instant::now() + PAUSE);
                }
            },
            arrival = lobby.next() => {
                connections.spawn_local(connection(arrival, Rc::clone(api)));
            }
            // A panic of a connection is in the log already.
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

/// Accepts the connections that the system has established already. Closing the listener would
/// reset them.
fn accept_waiting(
    listener: &TcpListener,
    lobby: &Lobby,
    connections: &mut JoinSet<()>,
    api: &Rc<Api>,
) {
    let start = Instant::now();
    // Bounded in time: new ones may arrive as fast as these are accepted.
    while start.elapsed() < ON_ITS_WAY {
        match listener.accept() {
            Ok((stream, peer)) => {
                let stream =
                    stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
                let (Ok(stream), Some((client, place))) = (stream, admit(peer.ip(), api)) else {
                    continue;
                };
                if let Some(arrival) = lobby.keep(stream, client, place) {
                    connections.spawn_local(connection(arrival, Rc::clone(api)));
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(_) => return,
        }
    }
}

/// Whether an error of accept concerns only one client, which left while it waited.
fn is_of_one_connection(error: &std::io::Error) -> bool {
    use ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// Admits a connection. None: there are too many even to answer it with an error, so it is closed.
fn admit(peer: IpAddr, api: &Api) -> Option<(Client, Hold)> {
    let (place, is_surplus) = api.admit()?;
    Some((Client { address: peer, is_surplus }, place))
}

async fn connection(arrival: Arrival, api: Rc<Api>) {
    let Arrival { stream, client, places: _places } = arrival;
    // Without `nodelay` the small chunks of a stream would wait for each other.
    let _ = stream.set_nodelay(true);
    let mut changes = api.stop().changes();
    let mut limits = api.client_timeouts();
    if client.is_surplus {
        limits.headers = limits.headers.min(SURPLUS);
        limits.idle = limits.idle.min(SURPLUS);
    }
    let (edge, requests, watch) = Edge::new(stream, limits, Arc::clone(api.stop()));
    let service = hyper::service::service_fn(move |request| {
        let version = hyper::Request::version(&request);
        let (api, (answering, refusal)) = (Rc::clone(&api), requests.begin());
        let request = request.map(|incoming| requests.upload(incoming));
        // Boxed: the box is freed with the head of the answer. hyper would keep room for an unboxed
        // future, 4 KiB, as long as the connection lasts.
        Box::pin(async move {
            let response = match refusal {
                None => {
                    answering.client().await;
                    api.answer(request, client).await
                }
                Some(refusal) => api.refuse(refusal),
            };
            Ok::<_, std::convert::Infallible>(answering.until(response, version))
        })
    });
    let connection =
        edge::http().keep_alive(!client.is_surplus).serve_connection(TokioIo::new(edge), service);
    let mut connection = pin!(connection);
    let ended = poll_fn(|cx| {
        loop {
            if let Poll::Ready(ended) = watch.poll(connection.as_mut(), cx) {
                return Poll::Ready(ended);
            }
            // The stage changed. Polled again, the edge, the request and the body read it.
            ready!(changes.poll_next(cx));
        }
    })
    .await;
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended with an error");
    }
}
