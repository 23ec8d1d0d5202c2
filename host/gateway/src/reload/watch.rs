//! Notices that a file changed: by looking, every two seconds and whenever the system tells of an
//! event near the file.
//!
//! Looking alone decides. Events only make it happen sooner: they are lost on network file systems,
//! and when a folder on the way is replaced. What counts is the content: a file that was touched, or
//! swapped for the same, changes nothing.

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

use super::{Attempt, Seen};

/// Between two looks without an event.
const LOOK: Duration = Duration::from_secs(2);
/// A file must stay the same for this long: editors write in several steps.
const SETTLE: Duration = Duration::from_millis(50);
/// Looks at files that do not settle, after which they are taken as they are.
const PATIENCE: u32 = 20;
/// From a reload that was refused for want of time to the next with the same files.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// It doubles with each refusal, up to this.
const LAST_PAUSE: Duration = Duration::from_secs(600);

/// What came of a reload.
#[derive(Debug, Default)]
pub(crate) struct Reloaded {
    /// The files that it went by, which are watched from then on. None: nobody knows.
    pub(crate) seen: Option<Seen>,
    /// It was refused, and may be good later with the same files.
    pub(crate) may_pass: bool,
}

/// Calls `reload` whenever the files are no longer as they were `seen`, and have settled, or `asked` is
/// notified, which is not waited for, and again where a reload was refused for want of time. A reload whose files
/// change meanwhile is canceled, and the next one begins. Files are looked at where `looker` has its threads for what
/// blocks: not on those of a load. Runs until dropped.
pub(crate) async fn watch(
    mut seen: Seen,
    asked: &Notify,
    looker: &Handle,
    mut reload: impl AsyncFnMut(&Arc<Attempt>) -> Reloaded,
) {
    let mut pause = None;
    loop {
        let event = Arc::new(Notify::new());
        // Dropped with each round: the files of the next may be others, and so may the folders.
        let _watcher = listen(&seen, &event);
        let now = tokio::select! {
            now = changed(&seen, &event, asked, looker) => {
                pause = None;
                now
            }
            () = over(pause) => look(&seen, looker).await,
        };
        let attempt = Arc::new(Attempt::default());
        let reloaded = {
            let mut reload = pin!(reload(&attempt));
            tokio::select! {
                reloaded = &mut reload => reloaded,
                () = superseded(&attempt, &event, looker) => {
                    attempt.cancellation().cancel();
                    // The files that it went by are not as they were: the next round begins at once.
                    reload.await
                }
            }
        };
        pause = reloaded.may_pass.then(|| longer(pause));
        if let Some(pause) = pause {
            tracing::info!(?pause, "the same files are tried again");
        }
        // A reload that does not tell its files would fail in the same way on the same content.
        seen = reloaded.seen.unwrap_or(now);
    }
}

/// The pause after the next refusal.
fn longer(pause: Option<Duration>) -> Duration {
    pause.map_or(FIRST_PAUSE, |pause| (pause * 2).min(LAST_PAUSE))
}

/// Ready at the end of the pause; without one never.
async fn over(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}

/// Ready once a file that the load has gone by so far is another, and has settled.
async fn superseded(attempt: &Attempt, event: &Notify, looker: &Handle) {
    loop {
        tokio::select! {
            () = event.notified() => tokio::time::sleep(SETTLE).await,
            () = tokio::time::sleep(LOOK) => {}
        }
        let seen = attempt.seen();
        if look(&seen, looker).await != seen && settled(&seen, looker).await != seen {
            return;
        }
    }
}

/// The files as they are, once they differ from what was seen, or `asked` is notified.
async fn changed(seen: &Seen, event: &Notify, asked: &Notify, looker: &Handle) -> Seen {
    loop {
        // Before waiting: nobody tells of what happened before somebody listened.
        if look(seen, looker).await != *seen {
            let now = settled(seen, looker).await;
            if now != *seen {
                return now;
            }
        }
        tokio::select! {
            // Who asks has written what there is to write.
            () = asked.notified() => return look(seen, looker).await,
            // Events come in bursts, and from other files of the folder too.
            () = event.notified() => tokio::time::sleep(SETTLE).await,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// The files once they have stayed the same for [`SETTLE`].
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
    // Not on the thread of the probes: a disk may be slow, a network file system gone.
    looker.spawn_blocking(move || files.again()).await.unwrap_or_else(|_| seen.clone())
}

/// Notifies `event` of whatever happens in the folders that lead to the files. None: there are no
/// events to be had, and looking is still enough.
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

/// Whether an event may be of one of the files, which have these `names`. Opening and reading change nothing;
/// looking does both. What is written to another file changes that alone: the access log may be in the same
/// folder.
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

/// The name of a file, and of the one that it links to.
fn names(file: &Path) -> impl Iterator<Item = OsString> {
    let target = file.canonicalize().ok();
    let both = [Some(file), target.as_deref()];
    both.map(|file| file?.file_name().map(OsString::from)).into_iter().flatten()
}

/// The folders in which a change can give `file` another content: its own (where that does not exist,
/// the nearest above it), and the same for wherever links on the way lead.
fn folders(file: &Path) -> BTreeSet<PathBuf> {
    let (mut folders, mut left) = (BTreeSet::new(), vec![file.to_owned()]);
    // As many as the system follows: links may lead in a circle.
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

/// An empty path, which is what stands above a bare name, is the working folder.
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
