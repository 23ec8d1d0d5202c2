//! The files of a load, with digests of their content.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Files, each with the digest of its content at the time of a look.
///
/// A load takes the digest of each file *before* it reads the file. A change during the load
/// therefore leaves a file that differs from its digest. Such a difference is the only reason to
/// load again: no change is missed, and no load is repeated while its files stay the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen(BTreeMap<PathBuf, Content>);

/// The digest of a file's content. None if the file is missing or unreadable.
pub(super) type Content = Option<[u8; 32]>;

impl Seen {
    /// Adds a file, which may be missing, and its content.
    pub(super) fn add(&mut self, file: &Path, content: Content) {
        self.0.insert(file.to_owned(), content);
    }

    /// The same files with their current content.
    pub(super) fn again(&self) -> Self {
        let files = self.0.keys();
        Self(files.map(|file| (file.clone(), content(file))).collect())
    }

    /// The paths of the files.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        self.0.keys().map(PathBuf::as_path)
    }
}

/// The current content of a file.
pub(super) fn content(file: &Path) -> Content {
    digest(file).ok()
}

/// In bytes. No load reads a larger file, so its digest covers only its length and time of
/// modification.
const LARGEST: u64 = 64 << 20;

fn digest(file: &Path) -> io::Result<[u8; 32]> {
    // Checked before opening: opening a FIFO blocks until it has a writer, and reading a device may
    // never end.
    let kind = fs::metadata(file)?;
    if !kind.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut digest = Sha256::new();
    if kind.len() > LARGEST {
        digest.update(format!("{} {:?}", kind.len(), kind.modified()?));
        return Ok(digest.finalize().into());
    }
    let (mut file, mut chunk) = (File::open(file)?.take(LARGEST), [0; 8192]);
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(digest.finalize().into()),
            length => digest.update(&chunk[..length]),
        }
    }
}
