//! Resolves a strategy's name to a component, and checks the size and digest of its bytes.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{LoadError, builtin};

/// Origin of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Embedded in the gateway's executable.
    BuiltIn {
        /// Its name in `routing_strategy`.
        name: &'static str,
        /// The component in binary form.
        bytes: &'static [u8],
    },
    /// A file, which is read again at every load.
    File(PathBuf),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::BuiltIn { name, .. } => write!(f, "the built-in strategy `{name}`"),
            Source::File(path) => write!(f, "the strategy {}", path.display()),
        }
    }
}

/// Resolves `routing_strategy`: first as the name of a built-in, then as `NAME.wasm` in the plugin
/// folder, then as a path if it contains a `/` or ends in `.wasm`.
///
/// # Errors
/// [`LoadError::Unknown`], which lists the known names. A path may lead nowhere: that is an error
/// of the load.
pub fn locate(reference: &str, plugins: &Path) -> Result<Source, LoadError> {
    if let Some(source) = builtin::find(reference) {
        return Ok(source);
    }
    // This also finds a dangling link, so that the load's error names the link.
    let in_folder = in_folder(reference, plugins).filter(|file| fs::symlink_metadata(file).is_ok());
    let file = in_folder.or_else(|| as_path(reference));
    file.map(Source::File).ok_or_else(|| unknown(reference, plugins))
}

/// The files that `routing_strategy` may resolve to, whether or not they exist. A change of any may
/// change the strategy.
#[must_use]
pub fn places(reference: &str, plugins: &Path) -> Vec<PathBuf> {
    if builtin::find(reference).is_some() {
        return Vec::new();
    }
    in_folder(reference, plugins).into_iter().chain(as_path(reference)).collect()
}

fn in_folder(reference: &str, plugins: &Path) -> Option<PathBuf> {
    let stem = reference.strip_suffix(".wasm").unwrap_or(reference);
    let is_name = !reference.is_empty() && !reference.contains('/');
    is_name.then(|| plugins.join(format!("{stem}.wasm")))
}

fn as_path(reference: &str) -> Option<PathBuf> {
    (reference.contains('/') || reference.ends_with(".wasm")).then(|| reference.into())
}

fn unknown(reference: &str, plugins: &Path) -> LoadError {
    let mut in_folder: Vec<String> = fs::read_dir(plugins)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            name.strip_suffix(".wasm").map(str::to_owned)
        })
        .collect();
    in_folder.sort_unstable();
    let built_in: Vec<_> = builtin::names().collect();
    let nearest = built_in
        .iter()
        .copied()
        .chain(in_folder.iter().map(String::as_str))
        .map(|name| (strsim::jaro_winkler(name, reference), name))
        .filter(|(likeness, _)| *likeness >= 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name.to_owned());
    let (reference, folder) = (reference.to_owned(), plugins.to_owned());
    LoadError::Unknown { reference, built_in, folder, in_folder, nearest }
}

/// A component's bytes, after the checks of size and digest.
pub(super) struct Bytes {
    pub(super) bytes: Cow<'static, [u8]>,
    /// SHA-256 in lower-case hex.
    pub(super) digest: String,
}

impl Bytes {
    /// True if they came from a file, false if they are built in.
    pub(super) fn is_foreign(&self) -> bool {
        matches!(self.bytes, Cow::Owned(_))
    }
}

impl Source {
    /// Reads the component and checks it. `pin` is the SHA-256 it must have, in hex. `limit` is in
    /// bytes.
    pub(super) fn read(&self, pin: Option<&str>, limit: u64) -> Result<Bytes, LoadError> {
        let too_large = |size: u64| LoadError::TooLarge { what: self.to_string(), size, limit };
        let bytes = match self {
            Source::BuiltIn { bytes, .. } if bytes.len() as u64 > limit => {
                return Err(too_large(bytes.len() as u64));
            }
            Source::BuiltIn { bytes, .. } => Cow::Borrowed(*bytes),
            Source::File(path) => {
                let read = read_file(path, limit);
                let read = read.map_err(|cause| LoadError::Read { path: path.clone(), cause })?;
                Cow::Owned(read.map_err(too_large)?)
            }
        };
        let digest = hex(&Sha256::digest(&bytes));
        match pin {
            Some(want) if !want.eq_ignore_ascii_case(&digest) => {
                let (what, want) = (self.to_string(), want.to_owned());
                Err(LoadError::Pin { what, want, got: digest })
            }
            _ => Ok(Bytes { bytes, digest }),
        }
    }
}

/// Returns the file's bytes, or its size if that is above `limit`.
fn read_file(path: &Path, limit: u64) -> io::Result<Result<Vec<u8>, u64>> {
    // Checked before opening, because opening a FIFO blocks until it has a writer.
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    if metadata.len() > limit {
        return Ok(Err(metadata.len()));
    }
    let mut bytes = Vec::new();
    // The file may have grown since its size was checked.
    File::open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    let size = bytes.len() as u64;
    Ok(if size > limit { Err(size) } else { Ok(bytes) })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_name_is_looked_for_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("spill-over.wasm");
        fs::write(&file, b"x").unwrap();
        assert!(matches!(
            locate("fixed", folder.path()),
            Ok(Source::BuiltIn { name: "fixed", .. })
        ));
        assert_eq!(locate("spill-over", folder.path()).unwrap(), Source::File(file.clone()));
        assert_eq!(locate("spill-over.wasm", folder.path()).unwrap(), Source::File(file));
        assert_eq!(locate("./mine", folder.path()).unwrap(), Source::File("./mine".into()));
        assert_eq!(locate("mine.wasm", folder.path()).unwrap(), Source::File("mine.wasm".into()));
    }

    #[test]
    fn every_file_that_decides_what_a_name_means_is_known() {
        let folder = Path::new("plugins");
        assert!(places("fixed", folder).is_empty());
        assert_eq!(places("mine", folder), [folder.join("mine.wasm")]);
        assert_eq!(places("./mine", folder), [Path::new("./mine")]);
        assert_eq!(
            places("mine.wasm", folder),
            [&folder.join("mine.wasm"), Path::new("mine.wasm")]
        );
    }

    #[test]
    fn an_unknown_name_is_answered_with_what_there_is() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("spill-over.wasm"), b"x").unwrap();
        let error = locate("spillover", folder.path()).unwrap_err().to_string();
        assert!(error.contains("did you mean `spill-over`?"), "{error}");
        let error = locate("local-frist", folder.path()).unwrap_err().to_string();
        assert!(error.contains("did you mean `local-first`?"), "{error}");
        assert!(error.contains("weighted-order; in "), "{error}");
        assert!(error.ends_with(": spill-over"), "{error}");
        let error = locate("x", &folder.path().join("none")).unwrap_err().to_string();
        assert!(error.ends_with(": nothing") && !error.contains("mean"), "{error}");
    }

    #[test]
    fn what_is_no_regular_file_is_not_opened() {
        let error = Source::File("/dev/zero".into()).read(None, 10).err().unwrap();
        assert!(matches!(error, LoadError::Read { .. }), "{error}");
    }

    #[test]
    fn the_digest_is_the_known_one() {
        let read = Source::BuiltIn { name: "x", bytes: b"abc" }.read(None, 3).unwrap();
        assert!(read.digest.starts_with("ba7816bf8f01cfea4141"), "{}", read.digest);
        assert_eq!(read.digest.len(), 64);
    }
}
