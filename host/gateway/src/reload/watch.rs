//! Detects changed files. It polls them every two seconds, and at once after a file event near
//! them.
//!
//! Only polling detects a change. Events merely speed it up, because they are lost on network file
//! systems and when a parent folder is replaced. Only the content counts: touching a file, or
//! replacing it by an equal one, is no change.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::{Loading, Seen};

/// Polling interval without events.
const LOOK: Duration = Duration::from_secs(2);
/// Time for which a file must stay unchanged, because editors write in several steps.
const SETTLE: Duration = Duration::from_millis(50);
/// Maximum polls of files that do not settle. They are then taken as they are.
const PATIENCE: u32 = 20;
/// Pause before the same files are tried again, after a reload that failed for lack of time or
/// resources.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// Maximum pause. The pause doubles with each such failure.
const LAST_PAUSE: Duration = Duration::from_secs(600);

/// Result of a reload.
#[derive(Debug, Default)]
pub(crate) struct Reloaded {
    /// The files that it read, which are watched from then on. None if they are unknown.
    pub(crate) seen: Option<Seen>,
    /// True if it was refused, but may succeed later with the same files.
    pub(crate) is_transient: bool,
}

/// Calls `reload` in three cases: the files differ from `seen` and have settled, `asked` is
/// notified, or the pause after a failure for lack of time is over. If files change during a
/// reload, it is canceled and the next one begins. Files are polled on the blocking threads of
/// `looker`, so that polling never waits for a load. Runs until dropped.
pub(crate) async fn watch(
    mut seen: Seen,
    asked: &Notify,
    looker: &Handle,
    mut reload: impl AsyncFnMut(&Arc<Loading>) -> Reloaded,
) {
    let mut pause = None;
    loop {
        let event = Arc::new(Notify::new());
        // New in each round, because the files or their folders may be others.
        let _watcher = listen(&seen, &event);
        let now = tokio::select! {
            now = changed(&seen, &event, asked, looker) => {
                pause = None;
                now
            }
            () = over(pause) => look(&seen, looker).await,
        };
        let loading = Arc::new(Loading::default());
        let reloaded = {
            let mut reload = pin!(reload(&loading));
            tokio::select! {
                reloaded = &mut reload => reloaded,
                () = superseded(&loading, &event, looker) => {
                    loading.cancellation().cancel();
                    // Its files have changed, so the next round begins at once.
                    reload.await
                }
            }
        };
        pause = reloaded.is_transient.then(|| longer(pause));
        if let Some(pause) = pause {
            tracing::info!(
                ?pause,
                "the load failed for lack of time or memory: the same files are tried again"
            );
        }
        // A reload with unknown files would fail in the same way on the same content.
        seen = reloaded.seen.unwrap_or(now);
    }
}

/// The pause after the next failure.
fn longer(pause: Option<Duration>) -> Duration {
    pause.map_or(FIRST_PAUSE, |pause| (pause * 2).min(LAST_PAUSE))
}

/// Ready at the end of the pause. Never ready without one.
async fn over(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}

/// Ready once a file that the load has recorded so far has changed and has settled.
async fn superseded(loading: &Loading, event: &Notify, looker: &Handle) {
    loop {
        tokio::select! {
            () = event.notified() => tokio::time::sleep(SETTLE).await,
            () = tokio::time::sleep(LOOK) => {}
        }
        let seen = loading.seen();
        if look(&seen, looker).await != seen && settled(&seen, looker).await != seen {
            return;
        }
    }
}

/// Waits until the files differ from `seen` and have settled, or `asked` is notified. Returns the
/// files as they then are.
async fn changed(seen: &Seen, event: &Notify, asked: &Notify, looker: &Handle) -> Seen {
    loop {
        // Polls before it waits, because events before the watcher existed are lost.
        if look(seen, looker).await != *seen {
            let now = settled(seen, looker).await;
            if now != *seen {
                return now;
            }
        }
        tokio::select! {
            // Does not wait until files settle: a request to reload means that they are complete.
            () = asked.notified() => return look(seen, looker).await,
            // Events come in bursts, also for other files in the folder.
            () = event.notified() => tokio::time::sleep(SETTLE).await,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Waits until the files have been unchanged for [`SETTLE`]. Gives up after [`PATIENCE`] polls.
async fn settled(seen: &Seen, looker: &Handle) -> Seen {
    let mut last = look(seen, looker).await;
    for _ in 0..PATIENCE {
        tokio::time::sleep(SETTLE).await;
        let now = look(seen, looker).await;
        if now == last {
            break;
        }
        last = now;
    }
    last
}

async fn look(seen: &Seen, looker: &Handle) -> Seen {
    let files = seen.clone();
    // Not on the thread of the probes, because a slow disk or a lost network file system blocks.
    looker.spawn_blocking(move || files.again()).await.unwrap_or_else(|_| seen.clone())
}

/// Notifies `event` of all file events in the folders that lead to the files. None if the system
/// offers no events. Polling is then enough.
fn listen(seen: &Seen, event: &Arc<Notify>) -> Option<RecommendedWatcher> {
    let event = Arc::clone(event);
    let names = seen.files().flat_map(names).collect::<BTreeSet<_>>();
    let tell = move |found: notify::Result<Event>| {
        if found.as_ref().map_or(true, |found| is_change(found, &names)) {
            event.notify_one();
        }
    };
    let mut watcher = notify::recommended_watcher(tell)
        .inspect_err(|error| tracing::warn!(%error, "files are watched by looking alone"))
        .ok()?;
    for folder in seen.files().flat_map(folders).collect::<BTreeSet<_>>() {
        if let Err(error) = watcher.watch(&folder, RecursiveMode::NonRecursive) {
            tracing::debug!(%error, folder = %folder.display(), "a folder is watched by looking alone");
        }
    }
    Some(watcher)
}

/// True if an event may have changed one of the files. `names` are theirs. Opening and reading are
/// no changes, and polling itself does both. Writes to other files are ignored, because the access
/// log may be in the same folder.
fn is_change(event: &Event, names: &BTreeSet<OsString>) -> bool {
    let is_ours = || {
        let mut paths = event.paths.iter();
        paths.any(|path| path.file_name().is_none_or(|name| names.contains(name)))
    };
    match event.kind {
        EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write) && is_ours(),
        EventKind::Modify(ModifyKind::Data(_)) => is_ours(),
        _ => true,
    }
}

/// The name of a file, and that of its target if it is a link.
fn names(file: &Path) -> impl Iterator<Item = OsString> {
    let target = file.canonicalize().ok();
    let both = [Some(file), target.as_deref()];
    both.map(|file| file?.file_name().map(OsString::from)).into_iter().flatten()
}

/// The folders in which a change can give `file` another content: its own folder, or the nearest
/// one above that exists. The targets of all links on the way have theirs, too.
fn folders(file: &Path) -> BTreeSet<PathBuf> {
    let (mut folders, mut left) = (BTreeSet::new(), vec![file.to_owned()]);
    // Bounded like the kernel's own limit, because links may form a circle.
    for _ in 0..40 {
        let Some(path) = left.pop() else { break };
        let mut above = path.ancestors().skip(1).map(or_here);
        folders.extend(above.find_map(|folder| folder.canonicalize().ok()));
        for link in path.ancestors() {
            let Ok(target) = link.read_link() else { continue };
            let folder = link.parent().map_or(Path::new("."), or_here);
            folders.extend(folder.canonicalize());
            let rest = path.strip_prefix(link).into_iter().flat_map(Path::components);
            left.push(folder.join(target).components().chain(rest).collect());
        }
    }
    folders
}

/// Turns an empty path, the parent of a bare name, into the working folder.
fn or_here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

#[cfg(test)]
mod tests {
    use crate::reload::watch::*;

    #[test]
    fn pauses_double_up_to_ten_minutes() {
        let pauses = std::iter::successors(Some(longer(None)), |pause| Some(longer(Some(*pause))));
        let seconds: Vec<u64> = pauses.map(|pause| pause.as_secs()).take(8).collect();
        assert_eq!(seconds, [10, 20, 40, 80, 160, 320, 600, 600]);
    }
}
