//! Resolves the names of upstreams, once for all cores and requests that ask for a name.
//!
//! The system's resolver blocks its caller, for up to half a minute if no server answers. Each name
//! has at most one look-up in flight, on a thread of its own, so a name that hangs delays no other
//! one. Answers are used for [`FRESH`]: a change of a name is seen within that time. While a look-up
//! hangs, the last answer is used for up to [`STALE`].

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::timeout;

const FRESH: Duration = Duration::from_secs(5);
const STALE: Duration = Duration::from_secs(600);
/// How long a new answer is waited for, if there is a stale one.
const PATIENCE: Duration = Duration::from_millis(250);
/// Look-ups in flight over all names. More wait for one of these.
const MOST: usize = 256;
/// In bytes. Enough for the resolvers of C libraries and their plug-ins.
const STACK: usize = 512 << 10;

/// The resolver of the process.
pub(super) static RESOLVER: std::sync::LazyLock<Resolver> =
    std::sync::LazyLock::new(|| Resolver::new(of_system));

/// The resolver of the process, for clients of control traffic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SharedNames;

impl reqwest::dns::Resolve for SharedNames {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        Box::pin(async move {
            let addresses = RESOLVER.resolve(name.as_str()).await?;
            // reqwest replaces the port.
            let addresses: Vec<_> = addresses.iter().map(|ip| SocketAddr::new(*ip, 0)).collect();
            let addresses: reqwest::dns::Addrs = Box::new(addresses.into_iter());
            Ok(addresses)
        })
    }
}

/// The addresses of a name, in the order of the system's preference.
pub(super) type Answer = Result<Arc<[IpAddr]>, Arc<io::Error>>;

type Lookup = fn(&str) -> io::Result<Vec<IpAddr>>;

fn of_system(name: &str) -> io::Result<Vec<IpAddr>> {
    Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
}

/// Looks names up, and remembers the answers.
#[derive(Debug)]
pub(super) struct Resolver {
    lookup: Lookup,
    names: Arc<Mutex<Names>>,
}

#[derive(Debug, Default)]
struct Names {
    known: HashMap<Box<str>, Known>,
    /// The look-ups in flight and in `queue`.
    asked: HashMap<Box<str>, watch::Receiver<Option<Answer>>>,
    /// Look-ups that wait for a thread.
    queue: VecDeque<Asked>,
    threads: usize,
}

#[derive(Debug)]
struct Known {
    addresses: Arc<[IpAddr]>,
    at: Instant,
}

/// A look-up to be done.
#[derive(Debug)]
struct Asked {
    name: Box<str>,
    tell: watch::Sender<Option<Answer>>,
}

impl Resolver {
    pub(super) fn new(lookup: Lookup) -> Self {
        Self { lookup, names: Arc::default() }
    }

    /// The addresses of a name or address, at least one.
    ///
    /// # Errors
    /// The system's reason.
    pub(super) async fn resolve(&self, name: &str) -> Answer {
        if let Ok(address) = name.parse() {
            return Ok([address].into());
        }
        let (stale, mut coming) = {
            let mut names = lock(&self.names);
            let known = names.known.get(name).map(|known| (known.addresses.clone(), known.at));
            let age = known.as_ref().map(|(_, at)| at.elapsed());
            match (known, age) {
                (Some((addresses, _)), Some(age)) if age < FRESH => return Ok(addresses),
                (known, age) => {
                    let stale = known.filter(|_| age.is_some_and(|age| age < STALE));
                    (stale, self.ask(&mut names, name))
                }
            }
        };
        let answer = async {
            let answer = coming.wait_for(Option::is_some).await.ok().and_then(|told| told.clone());
            // The thread panicked.
            answer.unwrap_or_else(|| Err(Arc::new(io::ErrorKind::Other.into())))
        };
        match stale {
            Some((stale, _)) => timeout(PATIENCE, answer).await.unwrap_or(Ok(stale)),
            None => answer.await,
        }
    }

    /// Forgets the answer for a name, because none of its addresses can be connected to.
    pub(super) fn forget(&self, name: &str) {
        lock(&self.names).known.remove(name);
    }

    /// Joins the look-up of this name, or begins one.
    fn ask(&self, names: &mut Names, name: &str) -> watch::Receiver<Option<Answer>> {
        if let Some(coming) = names.asked.get(name) {
            return coming.clone();
        }
        let (tell, coming) = watch::channel(None);
        names.asked.insert(name.into(), coming.clone());
        names.queue.push_back(Asked { name: name.into(), tell });
        if names.threads < MOST {
            let (lookup, shared) = (self.lookup, Arc::clone(&self.names));
            let thread = std::thread::Builder::new().name("resolver".into()).stack_size(STACK);
            match thread.spawn(move || work(lookup, &shared)) {
                Ok(_) => names.threads += 1,
                // A running thread takes the look-up. Without any thread the request fails now.
                Err(error) if names.threads == 0 => {
                    let error = Arc::new(error);
                    for Asked { name, tell } in std::mem::take(&mut names.queue) {
                        names.asked.remove(&name);
                        tell.send_replace(Some(Err(Arc::clone(&error))));
                    }
                }
                Err(_) => {}
            }
        }
        coming
    }
}

/// Does look-ups until none is queued.
fn work(lookup: Lookup, names: &Mutex<Names>) {
    loop {
        let asked = {
            let mut names = lock(names);
            let Some(asked) = names.queue.pop_front() else {
                names.threads -= 1;
                return;
            };
            asked
        };
        let found = lookup(&asked.name).and_then(|addresses| match addresses.is_empty() {
            true => Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address")),
            false => Ok(Arc::from(addresses)),
        });
        let mut names = lock(names);
        names.asked.remove(&asked.name);
        // Names that no configuration has any more.
        names.known.retain(|_, known| known.at.elapsed() < STALE);
        match &found {
            Ok(addresses) => {
                let known = Known { addresses: Arc::clone(addresses), at: Instant::now() };
                names.known.insert(asked.name, known);
            }
            Err(_) => drop(names.known.remove(&asked.name)),
        }
        asked.tell.send_replace(Some(found.map_err(Arc::new)));
    }
}

fn lock(names: &Mutex<Names>) -> MutexGuard<'_, Names> {
    names.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;

    static LOOKUPS: AtomicUsize = AtomicUsize::new(0);

    /// Names hang, fail, or give their length in an address.
    fn lookup(name: &str) -> io::Result<Vec<IpAddr>> {
        match name {
            _ if name.starts_with("hangs") => loop {
                std::thread::park();
            },
            _ if name.starts_with("slow") => {
                // Other tests look up other names at the same time.
                if name == "slow" {
                    LOOKUPS.fetch_add(1, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_millis(50));
                Ok(vec![IpAddr::from([10, 0, 0, name.len() as u8])])
            }
            "none" => Ok(vec![]),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    #[tokio::test]
    async fn names_are_looked_up_once_for_all() {
        let resolver = Resolver::new(lookup);
        let many = join_all((0..100).map(|_| resolver.resolve("slow"))).await;
        assert!(
            many.iter().all(|answer| answer.as_deref().unwrap() == [IpAddr::from([10, 0, 0, 4])])
        );
        assert_eq!(LOOKUPS.load(Ordering::Relaxed), 1);
        resolver.resolve("slow").await.unwrap();
        assert_eq!(LOOKUPS.load(Ordering::Relaxed), 1, "remembered");
        resolver.forget("slow");
        resolver.resolve("slow").await.unwrap();
        assert_eq!(LOOKUPS.load(Ordering::Relaxed), 2, "a forgotten name is looked up");
    }

    #[tokio::test]
    async fn a_name_that_hangs_delays_no_other() {
        let resolver = Resolver::new(lookup);
        let hanging: Vec<String> = (0..20).map(|n| format!("hangs-{n}")).collect();
        let hang = join_all(hanging.iter().map(|name| resolver.resolve(name)));
        tokio::select! {
            _ = hang => panic!("they hang"),
            answer = resolver.resolve("slower") => { answer.unwrap(); }
        }
        assert_eq!(lock(&resolver.names).asked.len(), 20);
    }

    #[tokio::test]
    async fn a_stale_answer_serves_while_a_look_up_hangs() {
        let resolver = Resolver::new(lookup);
        let old = IpAddr::from([10, 0, 0, 9]);
        let known = |age: Duration| Known {
            addresses: [old].into(),
            at: Instant::now().checked_sub(age).unwrap(),
        };
        lock(&resolver.names).known.insert("hangs".into(), known(2 * FRESH));
        assert_eq!(&*resolver.resolve("hangs").await.unwrap(), [old]);
        lock(&resolver.names).known.insert("gone".into(), known(2 * FRESH));
        resolver.resolve("gone").await.unwrap_err();
    }

    #[tokio::test]
    async fn addresses_are_not_looked_up_and_failures_are_told() {
        let resolver = Resolver::new(lookup);
        for address in ["127.0.0.1", "fd00::7"] {
            assert_eq!(
                &*resolver.resolve(address).await.unwrap(),
                [address.parse::<IpAddr>().unwrap()]
            );
        }
        for name in ["none", "unknown"] {
            assert_eq!(resolver.resolve(name).await.unwrap_err().kind(), io::ErrorKind::NotFound);
        }
    }
}
