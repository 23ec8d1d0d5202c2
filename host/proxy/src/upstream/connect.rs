//! Makes connections: names, TCP with happy eyeballs (RFC 8305), TLS.

use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use config::Origin;
use routing::Cause;

use crate::descriptors;

use super::SendError;
use super::connection::{Connection, Stream};
use super::resolve::RESOLVER;

/// The longest wait for an address before the next one is tried beside it (RFC 8305, 8).
const DELAY: Duration = Duration::from_millis(250);
/// Addresses of one name that are tried.
const MOST_ADDRESSES: usize = 16;

#[derive(Debug, Clone)]
pub(super) struct Connector {
    tls: TlsSetup,
}

#[derive(Clone)]
struct TlsSetup(TlsConnector);

impl fmt::Debug for TlsSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsSetup")
    }
}

impl Connector {
    pub(super) fn new(tls: Arc<ClientConfig>) -> Self {
        Self { tls: TlsSetup(tls.into()) }
    }

    /// A new connection, ready for a request. The caller gives up at `end`.
    pub(super) async fn connect(
        &self,
        origin: &Origin,
        end: Instant,
    ) -> Result<Connection, SendError> {
        let stream = tcp(origin, end).await.map_err(|error| {
            let is_ours = descriptors::are_exhausted(&*error);
            let cause = if is_ours { Cause::NoDescriptors } else { Cause::Connect };
            SendError { detail: Some(detail(&error)), ..cause.into() }
        })?;
        // Fails only if the connection is broken, which its first use shows.
        let _ = stream.set_nodelay(true);
        if !origin.tls {
            return Ok(Connection::new(Stream::Plain(stream)));
        }
        let name = ServerName::try_from(origin.host.clone()).map_err(|_| Cause::Tls)?;
        let stream = self
            .tls
            .0
            .connect(name, stream)
            .await
            .map_err(|error| SendError { detail: Some(detail(&error)), ..Cause::Tls.into() })?;
        Ok(Connection::new(Stream::Tls(Box::new(stream))))
    }
}

async fn tcp(origin: &Origin, end: Instant) -> Result<TcpStream, Arc<io::Error>> {
    let addresses = RESOLVER.resolve(&origin.host).await?;
    let addresses: Vec<_> = alternating(&addresses)
        .take(MOST_ADDRESSES)
        .map(|address| SocketAddr::new(address, origin.port))
        .collect();
    // Every address gets its turn before the end.
    let left = end.saturating_duration_since(Instant::now());
    let delay = DELAY.min(left / (addresses.len() as u32 + 1));
    let connected = first(addresses, delay, TcpStream::connect).await;
    if connected.is_err() {
        RESOLVER.forget(&origin.host);
    }
    connected.map_err(Arc::new)
}

/// The addresses with their families in turn, beginning with that of the first.
fn alternating(addresses: &[IpAddr]) -> impl Iterator<Item = IpAddr> {
    let is_first =
        |address: &IpAddr| addresses.first().map(IpAddr::is_ipv4) == Some(address.is_ipv4());
    let (first, second): (Vec<_>, Vec<_>) = addresses.iter().copied().partition(is_first);
    (0..addresses.len())
        .flat_map(move |at| [first.get(at).copied(), second.get(at).copied()])
        .flatten()
}

/// The first connection that is made. Each address is tried `delay` after the one before it, or at
/// once when that one fails.
async fn first<T, F: Future<Output = io::Result<T>>>(
    addresses: Vec<SocketAddr>,
    delay: Duration,
    connect: impl Fn(SocketAddr) -> F,
) -> io::Result<T> {
    let mut addresses = addresses.into_iter();
    let mut tries: Vec<Pin<Box<F>>> = Vec::new();
    let mut timer = Box::pin(sleep_until(Instant::now()));
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    let mut is_due = true;
    poll_fn(|cx| {
        loop {
            if is_due && let Some(address) = addresses.next() {
                tries.push(Box::pin(connect(address)));
                timer.as_mut().reset(Instant::now() + delay);
            }
            is_due = false;
            let mut at = 0;
            while let Some(attempt) = tries.get_mut(at) {
                match attempt.as_mut().poll(cx) {
                    Poll::Ready(Ok(stream)) => return Poll::Ready(Ok(stream)),
                    Poll::Ready(Err(error)) => {
                        last = error;
                        drop(tries.swap_remove(at));
                        is_due = true;
                    }
                    Poll::Pending => at += 1,
                }
            }
            if tries.is_empty() && addresses.len() == 0 {
                let last = std::mem::replace(&mut last, io::ErrorKind::Other.into());
                return Poll::Ready(Err(last));
            }
            if addresses.len() > 0 && !is_due {
                is_due = timer.as_mut().poll(cx).is_ready();
            }
            if !is_due || addresses.len() == 0 {
                return Poll::Pending;
            }
        }
    })
    .await
}

/// An error with all its sources. The last one says most: `Connection refused`, `UnknownIssuer`.
fn detail(error: &dyn Error) -> Box<str> {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = error.source();
    }
    text.into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Mutex;

    use super::*;

    /// The last number of an address decides how its attempt goes.
    async fn attempt(address: SocketAddr) -> io::Result<IpAddr> {
        let number = match address.ip() {
            IpAddr::V4(address) => address.octets()[3],
            IpAddr::V6(address) => address.octets()[15],
        };
        match number {
            0 => std::future::pending().await,
            1 => Err(io::ErrorKind::ConnectionRefused.into()),
            _ => Ok(address.ip()),
        }
    }

    async fn connected(numbers: &[u8]) -> (io::Result<IpAddr>, Duration, usize) {
        let addresses =
            numbers.iter().map(|number| SocketAddr::from(([10, 0, 0, *number], 1))).collect();
        let (begun, count) = (Instant::now(), Mutex::new(0));
        let connect = |address| {
            *count.lock().unwrap() += 1;
            attempt(address)
        };
        let done = first(addresses, DELAY, connect).await;
        (done, begun.elapsed(), count.into_inner().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_address_does_not_wait_for_the_first() {
        let good = IpAddr::from([10, 0, 0, 2]);
        for (numbers, wait, tried) in [
            (&[2, 0][..], 0, 1),
            (&[1, 2], 0, 2),
            (&[0, 2], 1, 2),
            (&[0, 0, 0, 2], 3, 4),
            (&[0, 1, 2], 1, 3),
            (&[1, 1, 1, 0, 2], 1, 5),
        ] {
            let (done, after, count) = connected(numbers).await;
            assert_eq!((done.unwrap(), count), (good, tried), "{numbers:?}");
            assert!(after >= DELAY * wait && after < DELAY * (wait + 1), "{numbers:?} {after:?}");
        }
        let (done, after, _) = connected(&[1, 1]).await;
        assert_eq!(done.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert!(after < DELAY);
        assert!(connected(&[]).await.0.is_err());
    }

    #[test]
    fn families_take_turns() {
        let parse =
            |text: &str| text.split(' ').map(|a| a.parse().unwrap()).collect::<Vec<IpAddr>>();
        for (given, want) in [
            ("::2 ::3 10.0.0.1 10.0.0.2", "::2 10.0.0.1 ::3 10.0.0.2"),
            ("10.0.0.1 ::2 ::3 ::4", "10.0.0.1 ::2 ::3 ::4"),
            ("::2 ::3 ::4 10.0.0.1", "::2 10.0.0.1 ::3 ::4"),
            ("10.0.0.1", "10.0.0.1"),
        ] {
            assert_eq!(alternating(&parse(given)).collect::<Vec<_>>(), parse(want), "{given}");
        }
    }
}
