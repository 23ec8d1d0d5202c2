//! A bounded memory of which deployment has seen which beginnings of prompts.

/// Entries of a set. Keys with the same low bits share a set.
const WAYS: usize = 8;

/// An LRU memory of bounded size.
///
/// It is a table of sets of [`WAYS`] entries, like a CPU cache. The order of uses is exact within a
/// set only. In return, the request path neither moves nor allocates entries.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    sets: Vec<[Entry; WAYS]>,
    now: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    key: u64,
    place: u32,
    /// The turn of the last use. 0: the entry is free.
    used: u64,
}

impl Memory {
    /// A memory of `entries`, rounded up to a power of two of sets.
    pub(crate) fn new(entries: u32) -> Self {
        let sets = (entries as usize).div_ceil(WAYS).next_power_of_two();
        Self { sets: vec![[Entry::default(); WAYS]; sets], now: 0 }
    }

    /// The place that was put for a key last.
    pub(crate) fn get(&self, key: u64) -> Option<u32> {
        let set = &self.sets[self.set(key)];
        set.iter().find(|entry| entry.used > 0 && entry.key == key).map(|entry| entry.place)
    }

    /// Begins a turn. Entries of a later turn count as used more recently.
    pub(crate) fn turn(&mut self) {
        self.now += 1;
    }

    /// Remembers the place of a key. Replaces the key's entry, or the least recently used one.
    pub(crate) fn put(&mut self, key: u64, place: u32) {
        let (set, used) = (self.set(key), self.now);
        let age = |entry: &&mut Entry| if entry.key == key { 0 } else { entry.used };
        if let Some(entry) = self.sets[set].iter_mut().min_by_key(age) {
            *entry = Entry { key, place, used };
        }
    }

    fn set(&self, key: u64) -> usize {
        // The number of sets is a power of two, so the low bits of the key are an index.
        key as usize & (self.sets.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_is_forgotten() {
        let mut memory = Memory::new(8);
        for key in 0..8 {
            memory.turn();
            memory.put(key, 1);
        }
        memory.turn();
        memory.put(0, 2);
        memory.turn();
        memory.put(8, 3);
        let known: Vec<_> =
            (0..9).filter_map(|key| memory.get(key).map(|place| (key, place))).collect();
        assert_eq!(known, [(0, 2), (2, 1), (3, 1), (4, 1), (5, 1), (6, 1), (7, 1), (8, 3)]);
    }

    #[test]
    fn the_size_is_bounded() {
        let mut memory = Memory::new(1_000);
        for key in 0..100_000u64 {
            memory.turn();
            memory.put(key, 0);
        }
        assert_eq!((0..100_000).filter(|key| memory.get(*key).is_some()).count(), 1_024);
        assert_eq!(Memory::new(0).get(5), None);
    }
}
