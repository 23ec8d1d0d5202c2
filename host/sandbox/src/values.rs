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
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StoreRefusal {
    /// The key is empty or too long.
    #[error("a key of the store has 1 to {KEY} bytes")]
    Key,
    /// The value is too long.
    #[error("a value of the store has at most {VALUE} bytes")]
    Value,
    /// The strategy has too many keys or bytes.
    #[error("the store has at most {KEYS} keys, and {BYTES} bytes of keys and values")]
    Full,
    /// The key has another value than was expected.
    #[error("the key has another value")]
    Other,
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
        check(&key, &bytes)?;
        let now = Instant::now();
        self.lock().set(key, Value { bytes, ends: ttl.map(|ttl| now + ttl) }, now)
    }

    /// Sets a value if the key still has the value `old`. None: if it has none.
    pub(super) fn compare_and_set(
        &self,
        key: String,
        old: Option<&[u8]>,
        bytes: Vec<u8>,
        ttl: Option<Duration>,
    ) -> Result<(), StoreRefusal> {
        check(&key, &bytes)?;
        let now = Instant::now();
        let mut kept = self.lock();
        if kept.get(&key, now).map(|value| &*value.bytes) != old {
            return Err(StoreRefusal::Other);
        }
        kept.set(key, Value { bytes, ends: ttl.map(|ttl| now + ttl) }, now)
    }

    /// Adds to a number of 8 bytes, the lowest first. Returns the sum, which wraps around. The end
    /// of its time stays.
    pub(super) fn add(&self, key: String, delta: i64) -> Result<i64, StoreRefusal> {
        check(&key, &[])?;
        let now = Instant::now();
        let mut kept = self.lock();
        let (number, ends) = match kept.get(&key, now) {
            Some(value) => {
                let bytes = <[u8; 8]>::try_from(&*value.bytes).map_err(|_| StoreRefusal::Value)?;
                (i64::from_le_bytes(bytes), value.ends)
            }
            None => (0, None),
        };
        let sum = number.wrapping_add(delta);
        kept.set(key, Value { bytes: sum.to_le_bytes().to_vec(), ends }, now)?;
        Ok(sum)
    }

    pub(super) fn remove(&self, key: &str) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Poisoning is ignored: between related changes only the allocator can panic.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check(key: &str, bytes: &[u8]) -> Result<(), StoreRefusal> {
    if key.is_empty() || key.len() > KEY {
        return Err(StoreRefusal::Key);
    }
    if bytes.len() > VALUE { Err(StoreRefusal::Value) } else { Ok(()) }
}

impl Kept {
    /// The value of a key that has not expired.
    fn get(&self, key: &str, now: Instant) -> Option<&Value> {
        self.by_key.get(key).filter(|value| !value.is_over(now))
    }

    fn set(&mut self, key: String, value: Value, now: Instant) -> Result<(), StoreRefusal> {
        if !self.has_room(&key, value.bytes.len()) {
            self.forget_old(now);
            if !self.has_room(&key, value.bytes.len()) {
                return Err(StoreRefusal::Full);
            }
        }
        self.remove(&key);
        self.bytes += key.len() + value.bytes.len();
        self.by_key.insert(key, value);
        Ok(())
    }

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
    fn a_number_is_added_to_and_keeps_its_time() {
        let values = Values::default();
        assert_eq!((values.add("n".into(), 5), values.add("n".into(), -7)), (Ok(5), Ok(-2)));
        assert_eq!(values.get("n"), Some((-2i64).to_le_bytes().to_vec()));
        values.set("n".into(), i64::MAX.to_le_bytes().to_vec(), None).unwrap();
        assert_eq!(values.add("n".into(), 1), Ok(i64::MIN));
        values.set("over".into(), 9i64.to_le_bytes().to_vec(), Some(Duration::ZERO)).unwrap();
        assert_eq!(values.add("over".into(), 1), Ok(1), "its time was over");
        let hour = Duration::from_secs(3600);
        values.set("timed".into(), 9i64.to_le_bytes().to_vec(), Some(hour)).unwrap();
        assert_eq!(values.add("timed".into(), 1), Ok(10));
        assert!(values.lock().by_key["timed"].ends.is_some());
        values.set("text".into(), vec![1, 2], None).unwrap();
        assert_eq!(values.add("text".into(), 1), Err(StoreRefusal::Value));
        assert_eq!(values.add(String::new(), 1), Err(StoreRefusal::Key));
    }

    #[test]
    fn a_value_is_set_only_in_place_of_the_expected_one() {
        let values = Values::default();
        let set =
            |old: Option<&[u8]>, new: u8| values.compare_and_set("k".into(), old, vec![new], None);
        assert_eq!(set(Some(&[1]), 2), Err(StoreRefusal::Other), "there is none yet");
        assert_eq!(set(None, 1), Ok(()));
        assert_eq!(set(None, 2), Err(StoreRefusal::Other));
        assert_eq!(set(Some(&[9]), 2), Err(StoreRefusal::Other));
        assert_eq!((set(Some(&[1]), 2), values.get("k")), (Ok(()), Some(vec![2])));
        values.set("k".into(), vec![2], Some(Duration::ZERO)).unwrap();
        assert_eq!(set(Some(&[2]), 3), Err(StoreRefusal::Other), "its time is over");
        assert_eq!(set(None, 3), Ok(()));
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
