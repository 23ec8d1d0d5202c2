//! What the strategy has learnt, in the store. One instance learns and writes, all others read.
//!
//! An index lists the records and their versions. A request reads the index, and only those records
//! anew that it needs and that have changed.

use std::collections::BTreeMap;

use gateway_strategy::store;

/// Milliseconds after which a record that is not written again is forgotten.
const KEPT: u32 = 24 * 3_600_000;
/// Bytes of an entry of the index: a key and a version.
const ENTRY: usize = 12;

/// Something that is kept in the store.
pub(crate) trait Record: Default {
    /// The record of these bytes. None: they are damaged.
    fn read(bytes: &[u8]) -> Option<Self>;
    /// Its bytes, at most 4,096.
    fn write(&self) -> Vec<u8>;
}

/// Records of one kind, by the hash of a name.
#[derive(Debug)]
pub(crate) struct Shelf<T> {
    /// The key of the index. Those of records begin with it.
    name: &'static str,
    /// The most records. The one that was written least recently makes room.
    most: usize,
    /// The index as it was read or written last.
    index: Vec<u8>,
    records: BTreeMap<u64, Entry<T>>,
}

#[derive(Debug, Default)]
struct Entry<T> {
    /// The version in the index.
    version: u32,
    /// The record, and its version. None: not read yet.
    read: Option<(u32, T)>,
    /// When it was changed, as a number that grows.
    changed: u64,
    is_dirty: bool,
}

impl<T: Record> Shelf<T> {
    /// A shelf of at most so many records.
    #[must_use]
    pub(crate) fn new(name: &'static str, most: usize) -> Self {
        Self { name, most, index: Vec::new(), records: BTreeMap::new() }
    }

    /// Reads the index anew.
    pub(crate) fn refresh(&mut self) {
        let index = store::get(self.name).unwrap_or_default();
        if index == self.index {
            return;
        }
        let listed: BTreeMap<u64, u32> = index.chunks_exact(ENTRY).filter_map(entry).collect();
        self.records.retain(|key, _| listed.contains_key(key));
        for (key, version) in listed {
            self.records.entry(key).or_default().version = version;
        }
        self.index = index;
    }

    /// The record of a key, as new as the index. Without one there is a default one.
    pub(crate) fn current(&mut self, key: u64) -> Option<&mut T> {
        let entry = self.records.get_mut(&key)?;
        if entry.read.as_ref().is_none_or(|(version, _)| *version != entry.version) {
            let bytes = store::get(&record(self.name, key)).unwrap_or_default();
            entry.read = Some((entry.version, T::read(&bytes).unwrap_or_default()));
        }
        entry.read.as_mut().map(|(_, record)| record)
    }

    /// The record of a key, as it was when [`current`](Self::current) was called last.
    #[must_use]
    pub(crate) fn get(&self, key: u64) -> Option<&T> {
        Some(&self.records.get(&key)?.read.as_ref()?.1)
    }

    /// The record of a key, to be changed and [written](Self::write) at the time `now`.
    pub(crate) fn change(&mut self, key: u64, now: u64) -> &mut T {
        let _ = self.current(key);
        let entry = self.records.entry(key).or_default();
        (entry.is_dirty, entry.changed) = (true, now);
        &mut entry.read.get_or_insert_with(|| (entry.version, T::default())).1
    }

    /// Writes what was changed.
    pub(crate) fn write(&mut self) {
        self.make_room();
        let name = self.name;
        // A record that the store has no room for is not listed, so that nobody misses it.
        self.records.retain(|key, entry| {
            if !std::mem::take(&mut entry.is_dirty) {
                return true;
            }
            entry.version = entry.version.wrapping_add(1);
            let Some((version, value)) = &mut entry.read else { return false };
            *version = entry.version;
            store::set(&record(name, *key), &value.write(), Some(KEPT)).is_ok()
        });
        let bytes = |(key, entry): (&u64, &Entry<T>)| {
            [&key.to_le_bytes()[..], &entry.version.to_le_bytes()].concat()
        };
        self.index = self.records.iter().flat_map(bytes).collect();
        let _ = store::set(self.name, &self.index, Some(KEPT));
    }

    fn make_room(&mut self) {
        while self.records.len() > self.most {
            let oldest = self.records.iter().min_by_key(|(_, entry)| entry.changed);
            let Some(key) = oldest.map(|(key, _)| *key) else { return };
            self.records.remove(&key);
            store::remove(&record(self.name, key));
        }
    }
}

fn record(name: &str, key: u64) -> String {
    format!("{name}-{key:016x}")
}

fn entry(bytes: &[u8]) -> Option<(u64, u32)> {
    let (key, version) = bytes.split_at_checked(8)?;
    Some((u64::from_le_bytes(key.try_into().ok()?), u32::from_le_bytes(version.try_into().ok()?)))
}
