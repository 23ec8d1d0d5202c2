//! Reads a file line by line, so that its size does not matter.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// Maximum bytes of a line. A prompt of a million tokens has 2,000 blocks, about 20 KB.
const LONGEST: usize = 1 << 20;

/// The lines of a text file that are not blank.
pub(super) struct Lines {
    /// The path, for errors.
    name: String,
    reader: BufReader<File>,
    /// Number of the last line, from 1.
    number: usize,
    line: Vec<u8>,
}

impl Lines {
    /// Opens a regular file. Refuses all others: opening a FIFO may block, and a device may never
    /// end.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let name = path.display().to_string();
        let kind = std::fs::metadata(path).map_err(|error| format!("{name}: {error}"))?;
        if !kind.is_file() {
            let what = if kind.is_dir() { "it is a folder" } else { "it is no regular file" };
            return Err(format!("{name}: {what}"));
        }
        let file = File::open(path).map_err(|error| format!("{name}: {error}"))?;
        Ok(Self { name, reader: BufReader::new(file), number: 0, line: Vec::new() })
    }

    /// The next line that is not blank, trimmed. None at the end of the file.
    pub(super) fn next(&mut self) -> Result<Option<&str>, String> {
        loop {
            self.line.clear();
            self.number += 1;
            let most = LONGEST as u64 + 1;
            let read = self.reader.by_ref().take(most).read_until(b'\n', &mut self.line);
            let read = read.map_err(|error| self.error(error.to_string()))?;
            if read > LONGEST {
                return Err(self.error(format!("the line is longer than {LONGEST} bytes")));
            }
            if read == 0 {
                return Ok(None);
            }
            if !self.line.trim_ascii().is_empty() {
                break;
            }
        }
        let text = std::str::from_utf8(&self.line).map_err(|_| self.error("it is not UTF-8"))?;
        // Spreadsheets write a byte order mark at the beginning of a file.
        Ok(Some(text.trim_start_matches('\u{feff}').trim()))
    }

    /// Number of the last line, from 1.
    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// An error in the last line.
    pub(super) fn error(&self, cause: impl AsRef<str>) -> String {
        format!("{}:{}: {}", self.name, self.number, cause.as_ref())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn all(text: &[u8]) -> Result<Vec<(usize, String)>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, text).unwrap();
        let mut lines = Lines::open(&path)?;
        let mut all = Vec::new();
        while let Some(line) = lines.next()?.map(str::to_owned) {
            all.push((lines.number(), line));
        }
        Ok(all)
    }

    #[test]
    fn blank_lines_count_but_do_not_show() {
        let want = [(1, "a".to_owned()), (4, "b c".to_owned())];
        assert_eq!(all(b"\xef\xbb\xbfa\r\n\n \t\n b c").unwrap(), want);
        assert_eq!(all(b"").unwrap(), []);
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let longest = vec![b'x'; LONGEST];
        assert_eq!(all(&longest).unwrap().len(), 1);
        let error = all(&[b"a\n", &longest[..], b"y"].concat()).unwrap_err();
        assert!(error.ends_with("file:2: the line is longer than 1048576 bytes"), "{error}");
        let error = all(b"a\n\n\xff\n").unwrap_err();
        assert!(error.ends_with("file:3: it is not UTF-8"), "{error}");
    }

    #[test]
    fn only_regular_files_are_opened() {
        for (path, want) in [("/dev/zero", "no regular file"), ("/", "it is a folder")] {
            let error = Lines::open(Path::new(path)).err().unwrap();
            assert!(error.contains(want), "{error}");
        }
    }
}
