//! Finds the names most similar to a name that does not exist.

/// Buckets of a letter count.
const BUCKETS: usize = 32;
/// Limit on the cells of distance tables per search. It keeps a search far below a millisecond, for
/// any number and length of names.
const CELLS: usize = 300_000;
/// Bytes of a name that are compared. The rest is ignored.
const COMPARED: usize = 256;

/// Counts the letters of a name by bucket. The edit distance of two names is at least the distance
/// of their counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Letters([u8; BUCKETS]);

impl Letters {
    pub(super) fn of(name: &str) -> Self {
        let mut counts = [0u8; BUCKETS];
        for byte in name.bytes().take(COMPARED) {
            // The low bits of a letter are the same in upper and lower case.
            let count = &mut counts[usize::from(byte) % BUCKETS];
            *count = count.saturating_add(1);
        }
        Self(counts)
    }

    /// A lower bound of the edit distance.
    fn distance(&self, other: &Self) -> u32 {
        let (mut more, mut fewer) = (0, 0);
        for (a, b) in self.0.iter().zip(&other.0) {
            more += u32::from(a.saturating_sub(*b));
            fewer += u32::from(b.saturating_sub(*a));
        }
        more.max(fewer)
    }
}

/// Positions of the `count` names most similar to `name`, the most similar first. `letters` has one
/// entry per name, and `name_at` returns the name at a position. Case is ignored.
pub(super) fn nearest<'n>(
    name: &str,
    count: usize,
    letters: &[Letters],
    name_at: impl Fn(usize) -> &'n str,
) -> Vec<usize> {
    let ours = Letters::of(name);
    let bounds = letters.iter().map(|theirs| ours.distance(theirs)).enumerate();
    let mut candidates: Vec<(u32, usize)> = bounds.map(|(at, bound)| (bound, at)).collect();
    // Most names are far away. Sorting only the likely ones saves time.
    let likely = candidates.len().min(256.max(count));
    if likely < candidates.len() {
        candidates.select_nth_unstable(likely);
        candidates.truncate(likely);
    }
    candidates.sort_unstable();
    let name = comparable(name);
    let (mut nearest, mut cells): (Vec<(usize, usize)>, usize) = (Vec::new(), 0);
    for (bound, at) in candidates {
        let is_full = nearest.len() >= count;
        if is_full && (cells > CELLS || nearest[count - 1].0 < bound as usize) {
            break;
        }
        let other = comparable(name_at(at));
        cells += name.len() * other.len();
        let distance = strsim::generic_levenshtein(&name, &other);
        let place = nearest.partition_point(|known| *known <= (distance, at));
        nearest.insert(place, (distance, at));
        nearest.truncate(count);
    }
    nearest.into_iter().map(|(_, at)| at).collect()
}

fn comparable(name: &str) -> Vec<u8> {
    name.bytes().take(COMPARED).map(|byte| byte.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<'n>(name: &str, names: &[&'n str]) -> Vec<&'n str> {
        let letters: Vec<_> = names.iter().map(|name| Letters::of(name)).collect();
        nearest(name, 3, &letters, |at| names[at]).into_iter().map(|at| names[at]).collect()
    }

    #[test]
    fn typing_errors_find_the_name() {
        let names = ["llama-3.3-70b", "gpt-4o", "gpt-4o-mini", "mistral-large", "qwen-2.5-7b"];
        for (asked, meant) in [
            ("gtp-4o", "gpt-4o"),
            ("GPT-4O-mini", "gpt-4o-mini"),
            ("llama-3.3", "llama-3.3-70b"),
            ("mistral-lareg", "mistral-large"),
            ("qwen2.5-7b", "qwen-2.5-7b"),
        ] {
            let found = of(asked, &names);
            assert_eq!((found.len(), found[0]), (3, meant), "{asked}: {found:?}");
        }
        assert_eq!(of("gpt-4", &names)[..2], ["gpt-4o", "gpt-4o-mini"]);
        assert_eq!(of("x", &["b", "a"]), ["b", "a"], "in the order of the file");
        assert_eq!(of("", &[]), [""; 0]);
    }

    #[test]
    fn the_nearest_of_many_are_found() {
        let names: Vec<String> = (0..10_000).map(|at| format!("model-{at:05}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let found = of("model-0777", &names);
        let far = found.iter().filter(|found| strsim::levenshtein("model-0777", found) > 1);
        assert_eq!(far.count(), 0, "{found:?}");
    }
}
