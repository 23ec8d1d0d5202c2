//! Tells requests apart. SDKs repeat a request by themselves, and a repeated request is no second
//! sign of anything.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// In bytes. Of a longer body the beginning and the end are read: reading all of a large one would
/// hold a core for too long.
const PART: usize = 512 * 1024;

/// A digest of a body. Computed only when an attempt fails.
#[must_use]
pub fn digest(body: &[u8]) -> u64 {
    if body.len() <= 2 * PART {
        return xxh3_64(body);
    }
    let (start, end) = (&body[..PART], &body[body.len() - PART..]);
    xxh3_64_with_seed(end, xxh3_64_with_seed(start, body.len() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_bodies_differ() {
        assert_eq!(digest(b"a"), digest(b"a"));
        assert_ne!(digest(b"a"), digest(b"b"));
        let long = vec![b'a'; 3 * PART];
        let change = |at: usize| {
            let mut other = long.clone();
            other[at] = b'b';
            digest(&other)
        };
        assert_ne!(digest(&long), change(0));
        assert_ne!(digest(&long), change(3 * PART - 1));
        assert_ne!(digest(&long), digest(&long[1..]));
    }
}
