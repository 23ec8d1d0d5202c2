//! What the oracles of fuzz targets share. An oracle is a function of bytes that panics where a promise does
//! not hold: `host/CRATE/fuzz/`. Fuzzing looks for such bytes, and tests replay the seeds of `fuzz/seeds`.

use std::path::Path;

pub mod work;

/// In an input that comes in pieces, this byte is a cut.
const CUT: u8 = 0xff;
/// In such an input, this byte stands for many `x`, because limits are larger than inputs.
const LONG: u8 = 0xfe;
/// How many `x` that byte adds, and the length of the text beyond which it adds none.
const XS: (usize, usize) = (4096, 128 << 10);
/// Up to this length a text is also read byte by byte.
const SHORT: usize = 1024;

/// A text, and where a socket might cut it.
#[derive(Debug)]
pub struct Pieces {
    text: Vec<u8>,
    cuts: Vec<usize>,
}

impl Pieces {
    /// The text of an input: 0xff is a cut, 0xfe stands for many `x`.
    #[must_use]
    pub fn of(input: &[u8]) -> Self {
        let (mut text, mut cuts) = (Vec::with_capacity(input.len()), vec![0]);
        for &byte in input {
            match byte {
                CUT => cuts.push(text.len()),
                LONG => text.resize((text.len() + XS.0).min(XS.1.max(text.len())), b'x'),
                byte => text.push(byte),
            }
        }
        cuts.push(text.len());
        cuts.dedup();
        Self { text, cuts }
    }

    /// All of it.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The text, cut in several ways. No piece is empty.
    pub fn ways(&self) -> impl Iterator<Item = Vec<&[u8]>> {
        let as_asked = self.cuts.windows(2).map(|ends| &self.text[ends[0]..ends[1]]).collect();
        let bytes = (self.text.len() <= SHORT).then(|| self.text.chunks(1).collect());
        [Some(as_asked), bytes].into_iter().flatten()
    }
}

/// Decodes a chunked body in the simplest way, for comparison. Returns the payload and the bytes
/// after the body, which must be valid. None if it is incomplete.
#[must_use]
pub fn dechunk(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (mut body, mut rest) = (Vec::new(), text);
    loop {
        let (line, after) = line(rest)?;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let size = usize::from_str_radix(str::from_utf8(&line[..digits]).ok()?, 16).ok()?;
        rest = after;
        if size == 0 {
            break;
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
    loop {
        let (trailer, after) = line(rest)?;
        rest = after;
        if trailer.is_empty() {
            return Some((body, rest));
        }
    }
}

fn line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memmem::find(text, b"\r\n")?;
    Some((&text[..end], &text[end + 2..]))
}

/// Calls an oracle with each of the seeds of this target.
///
/// # Panics
/// If there are none, or one breaks what the oracle promises.
pub fn replay(target: &str, oracle: fn(&[u8])) {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../seeds").join(target);
    let mut seeds = std::fs::read_dir(seeds).expect("seeds of every target").peekable();
    assert!(seeds.peek().is_some(), "no seeds");
    for seed in seeds {
        let file = seed.expect("a file").path();
        eprintln!("{}", file.display());
        oracle(&std::fs::read(file).expect("a seed"));
    }
}
