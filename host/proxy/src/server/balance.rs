//! Which core serves a connection: the one with the fewest, like Envoy's exact connection balance.
//!
//! All cores accept from one listener, and the first to wake takes all of a burst. Connections last
//! long: one of two cores could serve them all while the other waits.

use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use fleet::admission::{Hold, Quota};

use crate::api::Client;

/// A connection that was admitted.
#[derive(Debug)]
pub(super) struct Arrival<S = TcpStream> {
    pub(super) stream: S,
    pub(super) client: Client,
    /// Its places among the connections of the gateway and of the core that serves it.
    pub(super) places: [Hold; 2],
}

/// A connection on its way to another core. No runtime knows it.
type Sent = Arrival<std::net::TcpStream>;

/// One core's exchange of connections: it receives those that others accepted for it, and sends its
/// own to them.
#[derive(Debug)]
pub(super) struct Lobby {
    here: usize,
    cores: Arc<[Core]>,
    inbox: UnboundedReceiver<Sent>,
}

/// A core as the others see it.
#[derive(Debug)]
struct Core {
    connections: Quota,
    inbox: UnboundedSender<Sent>,
}

impl Lobby {
    /// One lobby for each core, connected to all others.
    pub(super) fn of(cores: usize) -> Vec<Self> {
        let (cores, inboxes): (Vec<_>, Vec<_>) = (0..cores)
            .map(|_| {
                let (sender, inbox) = unbounded_channel();
                (Core { connections: Quota::default(), inbox: sender }, inbox)
            })
            .unzip();
        let cores: Arc<[Core]> = cores.into();
        let of = |(here, inbox)| Self { here, cores: Arc::clone(&cores), inbox };
        inboxes.into_iter().enumerate().map(of).collect()
    }

    /// Returns the connection if this core is to serve it; otherwise another core has it now.
    /// `place` is its place among the connections of the gateway.
    pub(super) fn place(&self, stream: TcpStream, client: Client, place: Hold) -> Option<Arrival> {
        let open = |core: &Core| core.connections.in_use();
        let least = self.cores.iter().min_by_key(|core| open(core))?;
        if open(least) >= open(&self.cores[self.here]) {
            return self.keep(stream, client, place);
        }
        let places = [place, least.connections.take(1, usize::MAX)?];
        let sent = Arrival { stream: stream.into_std().ok()?, client, places };
        // The other core takes no more, because it is about to end: serve it here.
        let Arrival { stream, client, places: [place, _] } = least.inbox.send(sent).err()?.0;
        self.keep(TcpStream::from_std(stream).ok()?, client, place)
    }

    /// Returns the connection for this core, however many it has.
    pub(super) fn keep(&self, stream: TcpStream, client: Client, place: Hold) -> Option<Arrival> {
        let here = self.cores[self.here].connections.take(1, usize::MAX)?;
        Some(Arrival { stream, client, places: [place, here] })
    }

    /// The next connection that another core has accepted. Never resolves if none can come any
    /// more. Cancel-safe.
    pub(super) async fn next(&mut self) -> Arrival {
        loop {
            match self.inbox.recv().await.map(Sent::arrive) {
                Some(Some(arrival)) => return arrival,
                Some(None) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Takes no more connections. Returns those that have arrived, and those that are just being
    /// sent.
    pub(super) async fn close(&mut self) -> Vec<Arrival> {
        self.inbox.close();
        let mut come = Vec::new();
        while let Some(sent) = self.inbox.recv().await {
            come.extend(sent.arrive());
        }
        come
    }
}

impl Sent {
    /// Registers the connection with this runtime. None: the runtime refuses it, and the connection
    /// is closed.
    fn arrive(self) -> Option<Arrival> {
        let Self { stream, client, places } = self;
        Some(Arrival { stream: TcpStream::from_std(stream).ok()?, client, places })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::{IpAddr, Ipv4Addr};

    use tokio::net::TcpListener;

    use super::*;

    const CLIENT: Client = Client { address: IpAddr::V4(Ipv4Addr::LOCALHOST), is_surplus: false };

    /// A listener, and the clients that are connected to it.
    struct Door(TcpListener, Vec<TcpStream>);

    impl Door {
        async fn open() -> Self {
            Self(TcpListener::bind(("127.0.0.1", 0)).await.unwrap(), Vec::new())
        }

        async fn enter(&mut self) -> TcpStream {
            self.1.push(TcpStream::connect(self.0.local_addr().unwrap()).await.unwrap());
            self.0.accept().await.unwrap().0
        }
    }

    fn place() -> Hold {
        Quota::default().take(1, 1).unwrap()
    }

    #[tokio::test]
    async fn a_burst_at_one_core_is_shared_by_all() {
        let mut lobbies = Lobby::of(3);
        let (mut door, mut kept) = (Door::open().await, Vec::new());
        for _ in 0..9 {
            kept.extend(lobbies[1].place(door.enter().await, CLIENT, place()));
        }
        assert_eq!(kept.len(), 3);
        for other in [0, 2] {
            assert_eq!(lobbies[other].close().await.len(), 3);
        }
    }

    #[tokio::test]
    async fn what_ends_makes_room() {
        let mut lobbies = Lobby::of(2);
        let mut door = Door::open().await;
        let first = lobbies[0].place(door.enter().await, CLIENT, place());
        assert!(lobbies[0].place(door.enter().await, CLIENT, place()).is_none());
        drop(lobbies[1].next().await);
        assert!(lobbies[0].place(door.enter().await, CLIENT, place()).is_none());
        drop(first);
    }

    #[tokio::test]
    async fn a_core_that_takes_no_more_leaves_them_where_they_are() {
        let mut lobbies = Lobby::of(2);
        let mut door = Door::open().await;
        let first = lobbies[0].place(door.enter().await, CLIENT, place());
        assert!(lobbies[1].close().await.is_empty());
        let second = lobbies[0].place(door.enter().await, CLIENT, place());
        assert!(first.is_some() && second.is_some());
    }

    #[tokio::test]
    async fn among_equals_none_is_sent_on() {
        let lobbies = Lobby::of(2);
        let mut door = Door::open().await;
        // In a tie the connection stays with the core that accepted it, the first or not.
        let first = lobbies[1].place(door.enter().await, CLIENT, place());
        let second = lobbies[0].place(door.enter().await, CLIENT, place());
        let third = lobbies[1].place(door.enter().await, CLIENT, place());
        assert!(first.is_some() && second.is_some() && third.is_some());
    }
}
