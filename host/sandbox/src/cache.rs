//! Machine code on disk, so that a gateway which starts again need not compile.
//!
//! Whoever writes such a file says what the gateway executes, with no sandbox around it. So the folder is as
//! trusted as the gateway's own binary has to be, or it is not used: it, its files and everything on the way to
//! it belong to this process's user or to root, and nobody else can write there. What is read is what was
//! checked, from one open file. A digest in each file tells what a full disk or a bad one left of it; it keeps
//! nobody out.
//!
//! A file's name is the component's digest and that of all else that decides about machine code: the versions
//! of wasmtime and the compiler, their settings, and what this processor can do.
//!
//! Nothing here fails: without a cache, or with a bad one, the component is compiled.

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

/// What files of machine code end in.
const KEPT: &str = ".machine-code";
/// What files end in that are not whole yet, or never became so.
const UNFINISHED: &str = ".unfinished";
/// Files kept beside those in use; those that were not used for the longest time go first.
const MOST_FILES: usize = 256;
/// Bytes kept beside those in use: a strategy in Python has some 60 MiB.
const MOST_BYTES: u64 = 512 << 20;
/// A file that is in use says so by its time, once in this long.
const MARKED: Duration = Duration::from_secs(24 * 60 * 60);
/// Bytes of the digest that a file begins with.
const SUM: usize = 32;

/// A folder of machine code. It need not exist, nor be writable.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
    /// Somebody asked for it, and is to hear that it cannot be used.
    chosen: bool,
}

impl Cache {
    /// One in this folder, which is made where it is missing.
    #[must_use]
    pub fn at(folder: PathBuf) -> Self {
        Self { folder, chosen: true }
    }

    /// The user's own: `$XDG_CACHE_HOME/gateway`, else `$HOME/.cache/gateway`. None: neither is set.
    #[must_use]
    pub fn of_user(variable: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        // What is not absolute does not count, says the specification of the first.
        let folder = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let caches = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
        Some(Self { folder: caches?.join("gateway"), chosen: false })
    }

    /// The component with this digest, as it was compiled for an engine like this one.
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

    /// Keeps a component's machine code for the next start.
    pub(super) fn keep(&self, engine: &Engine, digest: &str, code: &[u8]) {
        let name = name(engine, digest);
        match self.write(&name, code) {
            Ok(()) => tracing::debug!(file = name, "machine code kept in the cache"),
            Err(error) => self.tell("written to", &error),
        }
    }

    /// The machine code in a file; None: there is no such file.
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
            // Where that cannot be said it goes sooner.
            let _ = file.set_modified(SystemTime::now());
        }
        bytes.drain(..SUM);
        Ok(Some(bytes))
    }

    /// Writes a file whole, or not at all.
    fn write(&self, name: &str, code: &[u8]) -> io::Result<()> {
        // Whatever the process's mask is: it can only take away from these.
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        trusted(&self.folder)?;
        if code.len() as u64 > MOST_BYTES / 2 {
            return Err(io::Error::new(ErrorKind::FileTooLarge, "its machine code is too large"));
        }
        // For its owner alone, under a name that nobody has.
        let mut file = tempfile::Builder::new().suffix(UNFINISHED).tempfile_in(&self.folder)?;
        file.write_all(&seal(name, code))?;
        file.write_all(code)?;
        file.persist(self.folder.join(name))?;
        Ok(())
    }

    /// Removes what is too much, but nothing of what is `used`. A load that ended early (it is not `is_good`) has not
    /// said all that it will use once it is mended: twice as much stays then.
    pub(super) fn tidy(&self, used: &[(String, Engine)], is_good: bool) {
        let used = used.iter().map(|(digest, engine)| name(engine, digest)).collect();
        if let Err(error) = self.remove(&used, if is_good { 1 } else { 2 }) {
            self.tell("tidied", &error);
        }
    }

    /// Removes what is beyond `times` the limits and not `used`.
    fn remove(&self, used: &HashSet<String>, times: usize) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let ours = [KEPT, UNFINISHED]
                .iter()
                .any(|end| name.as_encoded_bytes().ends_with(end.as_bytes()));
            let is_used = name.to_str().is_some_and(|name| used.contains(name));
            // Another gateway may have removed it.
            let metadata = entry.metadata().ok().filter(|of| ours && !is_used && of.is_file());
            let Some(metadata) = metadata else { continue };
            files.push((metadata.modified()?, metadata.len(), entry.path()));
        }
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

    /// Says once more that it compiles: where others could have been at work always, else who asked for it.
    fn tell(&self, what: &str, error: &io::Error) {
        let folder = self.folder.display();
        match error.kind() {
            ErrorKind::Other => tracing::warn!("the cache {folder} is not {what}: {error}"),
            _ if self.chosen => tracing::warn!("the cache {folder} cannot be {what}: {error}"),
            _ => tracing::debug!("the cache {folder} cannot be {what}: {error}"),
        }
    }
}

/// Machine code as it came from the cache, or from the compiler.
#[allow(unsafe_code)]
pub(super) fn load(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the bytes must be of `Engine::precompile_component`. Those of the compiler are: they come from this
    // process, or over a pipe from a child that runs this executable. So are those of `Cache::read`: out of a file
    // that only this user or root can have written, in a folder where nobody else can put one, and unchanged, by its
    // digest, since `Cache::write` made it for this very key. Who can forge that can replace this program.
    unsafe { Component::deserialize(engine, code) }
}

/// What a component's machine code for this engine is called.
fn name(engine: &Engine, digest: &str) -> String {
    let mut sum = Sum(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut sum);
    format!("{digest}-{:016x}{KEPT}", sum.finish())
}

/// A digest as a hasher that is the same in each process.
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

/// The digest of a file: of its name too, so that one which was renamed is not taken for another.
fn seal(name: &str, code: &[u8]) -> [u8; SUM] {
    Sha256::new().chain_update(name).chain_update(code).finalize().into()
}

/// Opens a file that is no link, without waiting for what a FIFO would wait for.
fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)
}

/// That nobody but this user and root can put something in a folder, or another folder in its place.
fn trusted(folder: &Path) -> io::Result<()> {
    let named = absolute(folder)?;
    // Links on the way are checked as what they are, and where they lead.
    let real = fs::canonicalize(&named)?;
    for path in [&named, &real] {
        for (above, step) in path.ancestors().enumerate() {
            let metadata = fs::symlink_metadata(step)?;
            // Out of a sticky folder like /tmp others cannot take what is not theirs. A link has no mode.
            let is_sticky = above > 0 && metadata.mode() & 0o1000 != 0;
            let is_open = is_open_to_others(&metadata) && !is_sticky && !metadata.is_symlink();
            if !is_ours(&metadata) || is_open {
                return Err(io::Error::other(format!("others can write to {}", step.display())));
            }
        }
    }
    Ok(())
}

/// Whether it belongs to who runs the gateway, or to root.
fn is_ours(metadata: &Metadata) -> bool {
    [0, rustix::process::geteuid().as_raw()].contains(&metadata.uid())
}

fn is_open_to_others(metadata: &Metadata) -> bool {
    metadata.mode() & 0o022 != 0
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
