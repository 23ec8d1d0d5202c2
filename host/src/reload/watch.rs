//! Notices that a file changed: by the system's events, and by looking every two seconds, because
//! events are lost on network file systems and when a folder on the way is itself a symlink.
//!
//! What counts is the content: a file that was touched, or swapped for the same, changes nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecursiveMode, Watcher};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

/// Between two looks without an event.
const LOOK: Duration = Duration::from_secs(2);
/// A file must stay the same for this long: editors write in several steps.
const SETTLE: Duration = Duration::from_millis(50);

/// Content of the watched files, by path; None: cannot be read.
type Fingerprint = BTreeMap<PathBuf, Option<[u8; 32]>>;

/// Calls `changed` whenever the content of one of `files()` has changed and settled, or `asked` is
/// notified. Runs until dropped.
pub(crate) async fn watch(
    files: impl Fn() -> Vec<PathBuf>,
    asked: Arc<Notify>,
    mut changed: impl AsyncFnMut(),
) {
    let event = Arc::new(Notify::new());
    let signal = Arc::clone(&event);
    // Without events (no inotify instances left) looking is still enough.
    let mut watcher = notify::recommended_watcher(move |_| signal.notify_one())
        .inspect_err(|error| tracing::warn!(%error, "files are watched by looking alone"))
        .ok();
    let mut folders: Vec<PathBuf> = Vec::new();
    let mut seen = fingerprint(&files());
    loop {
        if let Some(watcher) = &mut watcher {
            follow(watcher, &files(), &mut folders);
        }
        let forced = tokio::select! {
            () = event.notified() => false,
            () = tokio::time::sleep(LOOK) => false,
            () = asked.notified() => true,
        };
        let now = settled(&files).await;
        if forced || now != seen {
            changed().await;
            // The strategy's file is another one now, perhaps.
            seen = fingerprint(&files());
            seen.extend(now.into_iter().filter(|(path, _)| !path.as_os_str().is_empty()));
        }
    }
}

/// Watches the folders of the files and of everything their symlinks lead through.
fn follow(watcher: &mut notify::RecommendedWatcher, files: &[PathBuf], folders: &mut Vec<PathBuf>) {
    for file in files {
        let mut hop = file.clone();
        for _ in 0..8 {
            let folder =
                hop.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            if !folders.iter().any(|known| known == folder)
                && watcher.watch(folder, RecursiveMode::NonRecursive).is_ok()
            {
                folders.push(folder.to_owned());
            }
            let Ok(next) = std::fs::read_link(&hop) else { break };
            hop = folder.join(next);
        }
    }
}

/// The content once it stays the same for [`SETTLE`]; after a second as it is then.
async fn settled(files: &impl Fn() -> Vec<PathBuf>) -> Fingerprint {
    let mut last = fingerprint(&files());
    for _ in 0..20 {
        tokio::time::sleep(SETTLE).await;
        let now = fingerprint(&files());
        if now == last {
            break;
        }
        last = now;
    }
    last
}

fn fingerprint(files: &[PathBuf]) -> Fingerprint {
    let content =
        |path: &PathBuf| std::fs::read(path).ok().map(|bytes| Sha256::digest(bytes).into());
    files.iter().map(|path| (path.clone(), content(path))).collect()
}
