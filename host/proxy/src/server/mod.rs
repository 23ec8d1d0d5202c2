//! Accepting connections and serving HTTP/1.1 on them: one current-thread runtime a core, all of
//! them accepting from one listener, each connection served by the core with the fewest ([`balance`]). What else is
//! shared between cores is in [`Gateway`]. Every byte of a client comes through the [`edge`].

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

/// A request that was on its way when the gateway stopped accepting arrives within this time.
const ON_ITS_WAY: Duration = Duration::from_millis(100);
/// Connections that wait to be accepted: as many as Linux allows by default. The standard library asks for 128, and
/// whoever is one too many of a burst tries again after a second.
const BACKLOG: i32 = 4096;
/// How long accepting pauses where the system gives no more descriptors.
const PAUSE: Duration = Duration::from_millis(100);
/// A connection that is one too many is waited for no longer.
const SURPLUS: Duration = Duration::from_secs(1);
/// Clients take what they are told at the end of the stop within this time.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The threads that serve.
#[derive(Debug)]
pub struct Cores {
    ended: mpsc::UnboundedReceiver<()>,
    running: usize,
}

impl Cores {
    /// Starts `cores` threads that serve `listener`, each on a handle of its own, until the gateway
    /// stops.
    ///
    /// # Errors
    /// If the listener cannot be shared or the system gives no thread.
    pub fn start(
        listener: &TcpListener,
        cores: usize,
        gateway: &Arc<Gateway>,
        tls: &Arc<ClientConfig>,
    ) -> std::io::Result<Self> {
        listener.set_nonblocking(true)?;
        // Listening again changes nothing else.
        rustix::net::listen(listener, BACKLOG)?;
        // An attempt takes a descriptor too.
        let most = descriptors::raise() / 2;
        let (tell, ended) = mpsc::unbounded_channel();
        for (core, lobby) in Lobby::of(cores).into_iter().enumerate() {
            let end = End(tell.clone());
            let listener = listener.try_clone()?;
            let (gateway, tls) = (Arc::clone(gateway), Arc::clone(tls));
            let run = move || {
                let _end = end;
                // A `LocalSet` would poll what accepts whenever a connection has something to do.
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build_local(LocalOptions::default());
                match runtime {
                    Ok(runtime) => {
                        runtime.block_on(serve(listener, lobby, gateway, tls, most));
                        // A name that is still being looked up is not waited for.
                        runtime.shutdown_background();
                    }
                    Err(error) => tracing::error!(%error, "a core has no runtime"),
                }
            };
            std::thread::Builder::new().name(format!("core-{core}")).spawn(run)?;
        }
        Ok(Self { ended, running: cores })
    }

    /// Ready when one of them has ended, be it by a panic.
    pub async fn one_ended(&mut self) {
        if self.ended.recv().await.is_some() {
            self.running -= 1;
        }
    }

    /// Ready when all of them have.
    pub async fn all_ended(&mut self) {
        while self.running > 0 {
            self.one_ended().await;
        }
    }
}

/// Tells of the end of a thread, however it comes.
struct End(mpsc::UnboundedSender<()>);

impl Drop for End {
    fn drop(&mut self) {
        // Nobody is left to be told when the process ends.
        let _ = self.0.send(());
    }
}

async fn serve(
    listener: TcpListener,
    mut lobby: Lobby,
    gateway: Arc<Gateway>,
    tls: Arc<ClientConfig>,
    most: usize,
) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "a core cannot accept"),
    };
    let stop = Arc::clone(&gateway.stop);
    let api = Rc::new(Api::new(gateway, tls, most));
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

/// Accepts connections until dropped; a connection ends with the set.
async fn accept(
    listener: &tokio::net::TcpListener,
    lobby: &mut Lobby,
    connections: &mut JoinSet<()>,
    api: &Rc<Api>,
) {
    // Until when there are no descriptors for more. What others have accepted goes on.
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
                    // Out of descriptors: those in flight give theirs back.
                    pause = Some(tokio::time::Instant::now() + PAUSE);
                }
            },
            arrival = lobby.next() => {
                connections.spawn_local(connection(arrival, Rc::clone(api)));
            }
            // One that panicked has said so in the log.
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

/// Accepts the connections that the system has made already: those that still wait when the listener is
/// closed are reset.
fn accept_waiting(
    listener: &TcpListener,
    lobby: &Lobby,
    connections: &mut JoinSet<()>,
    api: &Rc<Api>,
) {
    let start = Instant::now();
    // Others may come as fast as these are taken.
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

/// Whether the error of an accept says nothing of the next: the client went away while it waited.
fn is_of_one_connection(error: &std::io::Error) -> bool {
    use ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// Lets a connection in. None: it is one too many even to be told so, and is closed.
fn admit(peer: IpAddr, api: &Api) -> Option<(Client, Hold)> {
    let (place, is_surplus) = api.admit()?;
    Some((Client { address: peer, is_surplus }, place))
}

async fn connection(arrival: Arrival, api: Rc<Api>) {
    let Arrival { stream, client, places: _places } = arrival;
    // Chunks of a stream are small and must not wait for each other.
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
        // In a box, which an answer gives back with its head: hyper keeps room for what is not, 4 KiB, for as
        // long as the connection lasts.
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
            // Polled anew, the edge, the request and the body look at the stage themselves.
            ready!(changes.poll_next(cx));
        }
    })
    .await;
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended with an error");
    }
}
