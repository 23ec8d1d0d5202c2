//! Pages whose size grows with the fleet. A thread of its own renders them piece by piece, as fast
//! as each client reads.
//!
//! A serving core holds one piece of a page and asks for the next one. So a large page, or many
//! clients that ask for it, takes little of a core's time and memory. A client that does not read
//! keeps nobody waiting.

use std::pin::Pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::{fmt, io};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::telemetry::catch;

/// Size in bytes at which a piece is complete. A smaller page is one piece, and its length is
/// known.
const PIECE: usize = 64 << 10;

/// A page that is written item by item.
pub(crate) trait Page: Send {
    /// Appends the next item, of a few KB at most, to `text`. False: the page is complete.
    fn write(&mut self, text: &mut Vec<u8>) -> bool;
}

/// A part of a page, and the page itself if more follows.
struct Piece {
    text: Bytes,
    rest: Option<Box<dyn Page>>,
}

struct Job {
    page: Box<dyn Page>,
    done: oneshot::Sender<Piece>,
}

/// The rendering thread. It starts with the first page and ends with the renderer.
#[derive(Debug, Default)]
pub(crate) struct Renderer(Mutex<Option<Sender<Job>>>);

/// A page on its way to a client.
pub(crate) struct Rendering {
    renderer: Arc<Renderer>,
    next: Option<oneshot::Receiver<Piece>>,
}

/// A page whose first piece is rendered.
pub(crate) enum Rendered {
    /// The whole page.
    Whole(Bytes),
    /// More pieces follow.
    Pieces(Rendering),
}

impl Renderer {
    /// Renders the first piece of a page.
    ///
    /// # Errors
    /// If the thread cannot be started, or the page panics.
    pub(crate) async fn begin(self: &Arc<Self>, page: Box<dyn Page>) -> io::Result<Rendered> {
        let Piece { text, rest } = self.submit(page)?.await.map_err(io::Error::other)?;
        let Some(rest) = rest else { return Ok(Rendered::Whole(text)) };
        let (done, first) = oneshot::channel();
        // Cannot fail: the receiver is in scope.
        let _ = done.send(Piece { text, rest: Some(rest) });
        Ok(Rendered::Pieces(Rendering { renderer: Arc::clone(self), next: Some(first) }))
    }

    fn submit(&self, page: Box<dyn Page>) -> io::Result<oneshot::Receiver<Piece>> {
        let (done, piece) = oneshot::channel();
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if jobs.is_none() {
            let (sender, receiver) = channel();
            std::thread::Builder::new().name("render".into()).spawn(move || run(&receiver))?;
            *jobs = Some(sender);
        }
        // The thread lives as long as the sender, because it catches panics.
        let sent = jobs.as_ref().map(|jobs| jobs.send(Job { page, done }));
        sent.map_or(Ok(()), |sent| sent.map_err(|_| io::ErrorKind::BrokenPipe.into()))
            .map(|()| piece)
    }
}

fn run(jobs: &Receiver<Job>) {
    for Job { mut page, done } in jobs {
        if done.is_closed() {
            // The client went away.
            continue;
        }
        let piece = catch(move || {
            let (mut text, mut more) = (Vec::new(), true);
            while more && text.len() < PIECE {
                more = page.write(&mut text);
            }
            Piece { text: text.into(), rest: more.then_some(page) }
        });
        match piece {
            // The client may have left.
            Ok(piece) => drop(done.send(piece)),
            Err(panic) => panic.log("a page panicked"),
        }
    }
}

impl Rendering {
    /// The next piece. None: there is no more.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let Some(next) = &mut self.next else { return Poll::Ready(None) };
        let piece = ready!(Pin::new(next).poll(cx));
        self.next = None;
        Poll::Ready(Some(piece.map_err(io::Error::other).and_then(|Piece { text, rest }| {
            // Asked for now, so that it is rendered while this piece is sent.
            self.next = rest.map(|rest| self.renderer.submit(rest)).transpose()?;
            Ok(text)
        })))
    }

    /// Whether all pieces were returned.
    pub(crate) fn is_end(&self) -> bool {
        self.next.is_none()
    }
}

impl fmt::Debug for Rendering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rendering").finish_non_exhaustive()
    }
}

/// Appends a value as JSON to a page.
pub(crate) fn write_json(text: &mut Vec<u8>, value: &impl serde::Serialize) {
    // Cannot fail: a `Vec` takes everything, and all keys are strings.
    let _ = serde_json::to_writer(text, value);
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;

    /// A page of so many lines of 1 KiB, and a count of those written.
    struct Lines(usize, Arc<AtomicUsize>);

    impl Page for Lines {
        fn write(&mut self, text: &mut Vec<u8>) -> bool {
            assert!(self.0 > 0, "a page is not asked for more than there is");
            self.0 -= 1;
            self.1.fetch_add(1, SeqCst);
            text.extend([b'x'; 1023]);
            text.push(b'\n');
            self.0 > 0
        }
    }

    async fn begin(renderer: &Arc<Renderer>, lines: usize) -> (Rendered, Arc<AtomicUsize>) {
        let written = Arc::default();
        let page = Box::new(Lines(lines, Arc::clone(&written)));
        (renderer.begin(page).await.expect("a thread"), written)
    }

    #[tokio::test]
    async fn a_small_page_is_whole_at_once() {
        let renderer = Arc::default();
        for lines in [1, 64] {
            let Rendered::Whole(text) = begin(&renderer, lines).await.0 else { panic!("{lines}") };
            assert_eq!(text.len(), lines << 10);
        }
    }

    #[tokio::test]
    async fn a_large_page_comes_in_pieces_and_no_faster_than_it_is_taken() {
        let renderer = Arc::default();
        let (Rendered::Pieces(mut page), written) = begin(&renderer, 200).await else {
            panic!("it is large")
        };
        let mut sizes = Vec::new();
        while let Some(piece) = poll_fn(|cx| page.poll(cx)).await {
            sizes.push(piece.expect("a piece").len() >> 10);
            let ahead = written.load(SeqCst) - sizes.iter().sum::<usize>();
            assert!(ahead <= 64, "{ahead}");
        }
        assert_eq!(sizes, [64, 64, 64, 8]);
        assert!(page.is_end());
    }

    #[tokio::test]
    async fn a_page_that_panics_harms_no_other() {
        let renderer = Arc::default();
        let page = Box::new(Lines(0, Arc::default()));
        assert!(Renderer::begin(&renderer, page).await.is_err());
        assert!(matches!(begin(&renderer, 1).await.0, Rendered::Whole(_)));
    }
}
