//! The `store` of a strategy: small values that survive traps and reloads.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Maximum bytes of a key. The minimum is 1.
const KEY: usize = 128;
/// Maximum bytes of a value.
const VALUE: usize = 4 << 10;
/// Maximum number of keys of one strategy.
const KEYS: usize = 4 << 10;
/// Maximum bytes of all keys and values of one strategy together.
const BYTES: usize = 1 << 20;
/// Maximum number of stores. The store that was not opened for the longest time is forgotten first.
const STRATEGIES: usize = 256;

/// Why a value is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StoreRefusal {
    /// The key is empty or too long.
    Key,
    /// The value is too long.
    Value,
    /// The strategy has too many keys or bytes.
    Full,
}

/// The store of one strategy, shared by all its instances. The last write wins.
#[derive(Default)]
pub(super) struct Values {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    by_key: HashMap<String, Value>,
    /// Bytes of all keys and values. Every change of `by_key` must update it.
    bytes: usize,
}

struct Value {
    bytes: Vec<u8>,
    /// None if the value never expires.
    ends: Option<Instant>,
}

impl Value {
    fn is_over(&self, now: Instant) -> bool {
        self.ends.is_some_and(|ends| ends <= now)
    }
}

impl Values {
    pub(super) fn get(&self, key: &str) -> Option<Vec<u8>> {
        let kept = self.lock();
        let value = kept.by_key.get(key)?;
        // The clock is read only for a value that can expire.
        let is_over = value.ends.is_some() && value.is_over(Instant::now());
        (!is_over).then(|| value.bytes.clone())
    }

    pub(super) fn set(
        &self,
        key: String,
        bytes: Vec<u8>,
        ttl: Option<Duration>,
    ) -> Result<(), StoreRefusal> {
        if key.is_empty() || key.len() > KEY {
            return Err(StoreRefusal::Key);
        }
        if bytes.len() > VALUE {
            return Err(StoreRefusal::Value);
        }
        let now = Instant::now();
        let mut kept = self.lock();
        if !kept.has_room(&key, bytes.len()) {
            kept.forget_old(now);
            if !kept.has_room(&key, bytes.len()) {
                return Err(StoreRefusal::Full);
            }
        }
        kept.remove(&key);
        kept.bytes += key.len() + bytes.len();
        kept.by_key.insert(key, Value { bytes, ends: ttl.map(|ttl| now + ttl) });
        Ok(())
    }

    pub(super) fn remove(&self, key: &str) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Poisoning is ignored: between related changes only the allocator can panic.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn has_room(&self, key: &str, value: usize) -> bool {
        let old = self.by_key.get(key).map(|old| key.len() + old.bytes.len());
        let keys = self.by_key.len() + usize::from(old.is_none());
        keys <= KEYS && self.bytes - old.unwrap_or(0) + key.len() + value <= BYTES
    }

    fn remove(&mut self, key: &str) {
        if let Some(old) = self.by_key.remove(key) {
            self.bytes -= key.len() + old.bytes.len();
        }
    }

    fn forget_old(&mut self, now: Instant) {
        let bytes = &mut self.bytes;
        self.by_key.retain(|key, value| {
            let stays = !value.is_over(now);
            if !stays {
                *bytes -= key.len() + value.bytes.len();
            }
            stays
        });
    }
}

/// The stores of all strategies by name, at most [`STRATEGIES`].
#[derive(Default)]
pub(super) struct Stores {
    /// The last opened is at the end.
    by_name: Mutex<Vec<(String, Arc<Values>)>>,
}

impl Stores {
    /// Opens the store of this name. It is empty the first time.
    pub(super) fn of(&self, name: &str) -> Arc<Values> {
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        let at = by_name.iter().position(|(known, _)| known == name);
        let entry = match at {
            Some(at) => by_name.remove(at),
            None => (name.to_owned(), Arc::default()),
        };
        let values = Arc::clone(&entry.1);
        by_name.push(entry);
        if by_name.len() > STRATEGIES {
            by_name.remove(0);
        }
        values
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_value_lasts_until_its_time_or_its_removal() {
        let values = Values::default();
        values.set("a".into(), vec![1], None).unwrap();
        values.set("b".into(), vec![2], Some(Duration::ZERO)).unwrap();
        assert_eq!((values.get("a"), values.get("b")), (Some(vec![1]), None));
        values.set("a".into(), vec![3], None).unwrap();
        assert_eq!(values.get("a"), Some(vec![3]));
        values.remove("a");
        values.remove("a");
        assert_eq!(values.get("a"), None);
        let kept = values.lock();
        assert_eq!((kept.by_key.len(), kept.bytes), (1, 2));
    }

    #[test]
    fn what_is_too_large_is_refused_and_what_is_over_makes_room() {
        let values = Values::default();
        let set = |key: String, size, ttl| values.set(key, vec![0; size], ttl);
        assert_eq!(set(String::new(), 1, None), Err(StoreRefusal::Key));
        assert_eq!(set("k".repeat(KEY + 1), 1, None), Err(StoreRefusal::Key));
        assert_eq!(set("k".into(), VALUE + 1, None), Err(StoreRefusal::Value));
        for i in 0..KEYS {
            set(format!("{i:04}"), 1, (i % 2 == 0).then_some(Duration::ZERO)).unwrap();
        }
        set("0001".into(), 2, None).unwrap();
        for i in 0..KEYS / 2 {
            set(format!("x{i:04}"), 1, None).unwrap();
        }
        assert_eq!(set("more".into(), 1, None), Err(StoreRefusal::Full));
        assert!(values.lock().bytes <= BYTES);
    }

    #[test]
    fn bytes_are_bounded_too() {
        let values = Values::default();
        let full = (0..KEYS).find(|i| values.set(format!("{i:04}"), vec![0; VALUE], None).is_err());
        assert_eq!(full, Some(BYTES / (VALUE + 4)));
    }

    #[test]
    fn a_name_is_a_store() {
        let stores = Stores::default();
        stores.of("a").set("k".into(), vec![1], None).unwrap();
        assert_eq!(stores.of("a").get("k"), Some(vec![1]));
        assert_eq!(stores.of("b").get("k"), None);
        (0..STRATEGIES).for_each(|i| drop(stores.of(&i.to_string())));
        assert_eq!(stores.of("a").get("k"), None);
    }
}
