//! Machine code on disk, so that a restarted gateway need not compile.
//!
//! The gateway executes these files without a sandbox. So the folder must be as trustworthy as the
//! gateway's own binary. The folder, its files and its parents belong to this process's user or to
//! root, and nobody else can write there. Otherwise the cache is not used. Each file is checked and
//! read through one open descriptor. The digest in each file detects damage by a full or failing
//! disk. It does not protect against forgery.
//!
//! A file's name has the component's digest and a hash of everything else that determines machine
//! code: the versions of Wasmtime and the compiler, their settings, and the features of this
//! processor.
//!
//! No error here fails a load: without a usable cache the component is compiled.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf, absolute};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

/// Suffix of files of machine code.
const KEPT: &str = ".machine-code";
/// Suffix of files that are being written, or whose writer was interrupted.
const UNFINISHED: &str = ".unfinished";
/// Files kept beside those in use. The least recently used are removed first.
const MOST_FILES: usize = 256;
/// Bytes kept beside those in use. A strategy in Python takes about 60 MiB.
const MOST_BYTES: u64 = 512 << 20;
/// Interval at which reading a file updates its modification time, which marks it as used.
const MARKED: Duration = Duration::from_secs(24 * 60 * 60);
/// Bytes of the digest that a file begins with.
const SUM: usize = 32;

/// A folder of machine code. It may be missing or read-only.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
    /// True if an operator chose the folder: then every error is logged as a warning.
    chosen: bool,
}

impl Cache {
    /// A cache in `folder`, which is created when the first file is written.
    #[must_use]
    pub fn at(folder: PathBuf) -> Self {
        Self { folder, chosen: true }
    }

    /// The user's own cache: `$XDG_CACHE_HOME/gateway`, else `$HOME/.cache/gateway`. None if
    /// neither variable is an absolute path.
    #[must_use]
    pub fn of_user(variable: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        // The XDG specification says to ignore relative paths.
        let folder = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let caches = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
        Some(Self { folder: caches?.join("gateway"), chosen: false })
    }

    /// The component with this digest, compiled for an engine with the same settings.
    pub(super) fn find(&self, engine: &Engine, digest: &str) -> Option<Component> {
        let name = name(engine, digest);
        let code = self.read(&name).unwrap_or_else(|error| {
            self.tell("read from", &error);
            None
        })?;
        match load(engine, &code) {
            Ok(component) => {
                tracing::debug!(file = name, "machine code from the cache");
                Some(component)
            }
            Err(error) => {
                tracing::warn!(file = name, "machine code in the cache is of no use: {error:#}");
                None
            }
        }
    }

    /// Writes a component's machine code for the next start. An error is only logged.
    pub(super) fn keep(&self, engine: &Engine, digest: &str, code: &[u8]) {
        let name = name(engine, digest);
        match self.write(&name, code) {
            Ok(()) => tracing::debug!(file = name, "machine code kept in the cache"),
            Err(error) => self.tell("written to", &error),
        }
    }

    /// Reads the machine code of a file. None if there is no such file.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let file = match trusted(&self.folder).and_then(|()| open(&self.folder.join(name))) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() || !is_ours(&metadata) || is_open_to_others(&metadata) {
            return Err(io::Error::other(format!("others can write to {name}")));
        }
        let mut bytes = Vec::with_capacity(metadata.len().min(MOST_BYTES) as usize);
        (&file).take(MOST_BYTES).read_to_end(&mut bytes)?;
        let whole =
            bytes.split_first_chunk::<SUM>().filter(|(sum, code)| **sum == seal(name, code));
        if whole.is_none() {
            return Err(io::Error::other(format!("{name} is damaged")));
        }
        let unmarked = |time: SystemTime| time.elapsed().is_ok_and(|since| since > MARKED);
        if metadata.modified().is_ok_and(unmarked) {
            // Best effort: a file that cannot be marked is only removed sooner.
            let _ = file.set_modified(SystemTime::now());
        }
        bytes.drain(..SUM);
        Ok(Some(bytes))
    }

    /// Writes a file completely or not at all.
    fn write(&self, name: &str, code: &[u8]) -> io::Result<()> {
        // The umask can only remove permissions from this mode.
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        trusted(&self.folder)?;
        // One file must not fill most of the cache.
        if code.len() as u64 > MOST_BYTES / 2 {
            return Err(io::Error::new(ErrorKind::FileTooLarge, "its machine code is too large"));
        }
        // A temporary file has a unique name and mode 0600.
        let mut file = tempfile::Builder::new().suffix(UNFINISHED).tempfile_in(&self.folder)?;
        file.write_all(&seal(name, code))?;
        file.write_all(code)?;
        file.persist(self.folder.join(name))?;
        Ok(())
    }

    /// Removes files beyond the limits, but none that are `used`. A load that ended early
    /// (`is_good` is false) has not requested everything that it will use once it is repaired, so
    /// twice the limits apply to it.
    pub(super) fn tidy(&self, used: &[(String, Engine)], is_good: bool) {
        let used = used.iter().map(|(digest, engine)| name(engine, digest)).collect();
        if let Err(error) = self.remove(&used, if is_good { 1 } else { 2 }) {
            self.tell("tidied", &error);
        }
    }

    /// Removes files that are not `used` and beyond the limits multiplied by `times`.
    fn remove(&self, used: &HashSet<String>, times: usize) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let ours = [KEPT, UNFINISHED]
                .iter()
                .any(|end| name.as_encoded_bytes().ends_with(end.as_bytes()));
            let is_used = name.to_str().is_some_and(|name| used.contains(name));
            // No metadata: another gateway may have removed the file.
            let metadata = entry.metadata().ok().filter(|of| ours && !is_used && of.is_file());
            let Some(metadata) = metadata else { continue };
            files.push((metadata.modified()?, metadata.len(), entry.path()));
        }
        // The last used first.
        files.sort_unstable_by(|a, b| b.cmp(a));
        let mut bytes = 0;
        for (number, (_, length, path)) in files.iter().enumerate() {
            bytes += length;
            if number >= MOST_FILES * times || bytes > MOST_BYTES * times as u64 {
                match fs::remove_file(path) {
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Logs an error of the cache. The line is a warning in three cases: a file is damaged, others
    /// could have written it, or an operator chose the folder.
    fn tell(&self, what: &str, error: &io::Error) {
        let folder = self.folder.display();
        match error.kind() {
            ErrorKind::Other => tracing::warn!("the cache {folder} is not {what}: {error}"),
            _ if self.chosen => tracing::warn!("the cache {folder} cannot be {what}: {error}"),
            _ => tracing::debug!("the cache {folder} cannot be {what}: {error}"),
        }
    }
}

/// Loads machine code that came from the cache or from the compiler.
#[allow(unsafe_code)]
pub(super) fn load(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `code` must be the output of `Engine::precompile_component`. The compiler's answer
    // is: it comes from this process, or over a pipe from a child that runs this executable. The
    // output of `Cache::read` is, too: only this user or root can have written the file or placed
    // it in its folder, and its digest proves that it is unchanged since `Cache::write` wrote it
    // for this key. An attacker who can forge it can also replace this executable.
    unsafe { Component::deserialize(engine, code) }
}

/// File name of a component's machine code for engines like this one.
fn name(engine: &Engine, digest: &str) -> String {
    let mut sum = Sum(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut sum);
    format!("{digest}-{:016x}{KEPT}", sum.finish())
}

/// SHA-256 as a `Hasher`: unlike the default hasher it gives the same values in every process.
struct Sum(Sha256);

impl Hasher for Sum {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let sum = self.0.clone().finalize();
        sum.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

/// Digest of a file. It covers the name, so that a renamed file is not taken for another component.
fn seal(name: &str, code: &[u8]) -> [u8; SUM] {
    Sha256::new().chain_update(name).chain_update(code).finalize().into()
}

/// Opens a file. Fails on a link, and does not block on a FIFO.
fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)
}

/// Checks that only this user and root can add files to a folder, or replace it or one of its
/// parents.
fn trusted(folder: &Path) -> io::Result<()> {
    let named = absolute(folder)?;
    // Checks the links on the way themselves, and the path that they lead to.
    let real = fs::canonicalize(&named)?;
    for path in [&named, &real] {
        for (above, step) in path.ancestors().enumerate() {
            let metadata = fs::symlink_metadata(step)?;
            // In a sticky folder like /tmp others cannot replace our entries. A link has no mode.
            let is_sticky = above > 0 && metadata.mode() & 0o1000 != 0;
            let is_open = is_open_to_others(&metadata) && !is_sticky && !metadata.is_symlink();
            if !is_ours(&metadata) || is_open {
                return Err(io::Error::other(format!("others can write to {}", step.display())));
            }
        }
    }
    Ok(())
}

/// True if the owner is the gateway's user or root.
fn is_ours(metadata: &Metadata) -> bool {
    [0, rustix::process::geteuid().as_raw()].contains(&metadata.uid())
}

fn is_open_to_others(metadata: &Metadata) -> bool {
    metadata.mode() & 0o022 != 0
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
