//! Which files a load went by, and what they held.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Files and what they held when they were looked at.
///
/// A load looks at each file *before* it reads it. So what it read is what it saw or newer, and a file
/// that differs from what was seen is the only reason to load again: no change can be missed, whenever
/// it happens, and a load that went by these files need not be repeated while they stay the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen(BTreeMap<PathBuf, Content>);

/// The digest of a file's content. None: there is no such file, or it cannot be read.
pub(super) type Content = Option<[u8; 32]>;

impl Seen {
    /// Adds one more file, which need not exist, and what it held.
    pub(super) fn add(&mut self, file: &Path, content: Content) {
        self.0.insert(file.to_owned(), content);
    }

    /// The same files as they are now.
    pub(super) fn again(&self) -> Self {
        let files = self.0.keys();
        Self(files.map(|file| (file.clone(), content(file))).collect())
    }

    /// Which they are.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        self.0.keys().map(PathBuf::as_path)
    }
}

/// What a file holds now.
pub(super) fn content(file: &Path) -> Content {
    digest(file).ok()
}

fn digest(file: &Path) -> io::Result<[u8; 32]> {
    // Asked before opening: opening a FIFO would wait for its writer, and a device has no end.
    if !fs::metadata(file)?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let (mut file, mut digest) = (File::open(file)?, Sha256::new());
    let mut chunk = [0; 8192];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(digest.finalize().into()),
            length => digest.update(&chunk[..length]),
        }
    }
}
