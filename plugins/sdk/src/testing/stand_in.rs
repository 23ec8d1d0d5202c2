//! A log and a store in place of the gateway's, for native builds. Each thread has its own.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use crate::Needs;
use crate::clock::Moment;
use crate::log::Level;
use crate::store::Refusal;

/// The gateway's limits on bytes of a message, a key and a value.
const MESSAGE: usize = 1_024;
const KEY: usize = 128;
const VALUE: usize = 4_096;
/// The gateway's limits on a store: keys, and bytes of keys and values.
const KEYS: usize = 4_096;
const BYTES: usize = 1 << 20;
/// At most this many unread messages are kept.
const MESSAGES: usize = 100;

thread_local! {
    static LOG: RefCell<Vec<(Level, String)>> = const { RefCell::new(Vec::new()) };
    static SIGNALS: RefCell<Vec<f64>> = const { RefCell::new(Vec::new()) };
    static ASKED: RefCell<(Vec<String>, Needs)> =
        const { RefCell::new((Vec::new(), Needs::NOTHING)) };
    static NOW: Cell<Moment> = const { Cell::new(Moment { milliseconds: 0, offset: 0 }) };
    static DRAWS: RefCell<Vec<f64>> = const { RefCell::new(Vec::new()) };
    static STORE: RefCell<BTreeMap<String, Vec<u8>>> = const { RefCell::new(BTreeMap::new()) };
}

pub(crate) fn log(level: Level, message: &str) {
    LOG.with_borrow_mut(|log| {
        if log.len() < MESSAGES {
            log.push((level, message[..message.floor_char_boundary(MESSAGE)].to_owned()));
        }
    });
}

/// The messages logged on this thread since the last call, at most the first 100.
#[must_use]
pub fn logged() -> Vec<(Level, String)> {
    LOG.take()
}

/// Puts another store in the place of this thread's, and gives that one back.
pub(crate) fn replace_store(other: BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    STORE.replace(other)
}

pub(crate) fn get(key: &str) -> Option<Vec<u8>> {
    STORE.with_borrow(|store| store.get(key).cloned())
}

pub(crate) fn set(key: &str, value: &[u8], _ttl: Option<u32>) -> Result<(), Refusal> {
    if key.is_empty() || key.len() > KEY {
        return Err(Refusal::Key);
    }
    if value.len() > VALUE {
        return Err(Refusal::Value);
    }
    STORE.with_borrow_mut(|store| {
        let others = || store.iter().filter(|(other, _)| *other != key);
        let bytes: usize = others().map(|(key, value)| key.len() + value.len()).sum();
        if others().count() >= KEYS || bytes + key.len() + value.len() > BYTES {
            return Err(Refusal::Full);
        }
        store.insert(key.to_owned(), value.to_owned());
        Ok(())
    })
}

pub(crate) fn compare_and_set(
    key: &str,
    old: Option<&[u8]>,
    value: &[u8],
    ttl: Option<u32>,
) -> Result<(), Refusal> {
    if get(key).as_deref() != old {
        return Err(Refusal::Other);
    }
    set(key, value, ttl)
}

pub(crate) fn add(key: &str, delta: i64) -> Result<i64, Refusal> {
    let number = match get(key) {
        Some(value) => i64::from_le_bytes(value.try_into().map_err(|_| Refusal::Value)?),
        None => 0,
    };
    let sum = number.wrapping_add(delta);
    set(key, &sum.to_le_bytes(), None)?;
    Ok(sum)
}

pub(crate) fn read_signals() -> Vec<f64> {
    SIGNALS.with_borrow(Clone::clone)
}

pub(crate) fn ask(signals: &[String], needs: Needs) -> Result<(), String> {
    ASKED.set((signals.to_vec(), needs));
    Ok(())
}

/// What [`ask`](crate::ask) was last called with on this thread. Every name counts as known.
#[must_use]
pub fn asked() -> (Vec<String>, Needs) {
    ASKED.with_borrow(Clone::clone)
}

/// Sets what [`Signals::read`](crate::Signals::read) gives on this thread: rows, then global values.
pub fn set_signals(values: &[f64]) {
    SIGNALS.set(values.to_vec());
}

pub(crate) fn now() -> Moment {
    NOW.get()
}

/// Sets what [`clock::now`](crate::clock::now) gives on this thread.
pub fn set_now(now: Moment) {
    NOW.set(now);
}

pub(crate) fn draw() -> f64 {
    DRAWS.with_borrow_mut(|draws| {
        if draws.is_empty() {
            return 0.0;
        }
        draws.rotate_left(1);
        draws[draws.len() - 1]
    })
}

/// Sets the numbers that [`clock::draw`](crate::clock::draw) gives on this thread in turn. Without
/// any it gives 0.
pub fn set_draws(numbers: &[f64]) {
    DRAWS.set(numbers.to_vec());
}

pub(crate) fn remove(key: &str) {
    STORE.with_borrow_mut(|store| store.remove(key));
}

#[cfg(test)]
mod tests {
    use super::logged;
    use crate::log::{self, Level};
    use crate::store::{self, Refusal};

    #[test]
    fn messages_are_kept_for_the_test() {
        log::warn("so it is");
        log::info(&"é".repeat(1_000));
        let [(warn, text), (info, long)] = &logged()[..] else { panic!("two messages") };
        assert_eq!((warn, text.as_str()), (&Level::Warn, "so it is"));
        assert_eq!((info, long.len()), (&Level::Info, 1_024));
        assert!(logged().is_empty());
    }

    #[test]
    fn values_are_kept_within_the_gateways_bounds() {
        assert_eq!(store::set("a", b"1", None), Ok(()));
        assert_eq!(store::set("a", b"2", Some(5)), Ok(()));
        assert_eq!(store::get("a").as_deref(), Some(&b"2"[..]));
        store::remove("a");
        store::remove("a");
        assert_eq!(store::get("a"), None);
        assert_eq!(store::set("", b"", None), Err(Refusal::Key));
        assert_eq!(store::set(&"k".repeat(129), b"", None), Err(Refusal::Key));
        assert_eq!(store::set("a", &[0; 4_097], None), Err(Refusal::Value));
        assert_eq!((store::add("n", 5), store::add("n", -7)), (Ok(5), Ok(-2)));
        assert_eq!(store::add("n", 0), Ok(-2));
        assert_eq!(store::compare_and_set("c", Some(b"1"), b"2", None), Err(Refusal::Other));
        assert_eq!(store::compare_and_set("c", None, b"2", None), Ok(()));
        assert_eq!(store::add("c", 1), Err(Refusal::Value));
        store::remove("n");
        store::remove("c");
        for n in 0..255 {
            assert_eq!(store::set(&format!("{n}"), &[0; 4_096], None), Ok(()));
        }
        assert_eq!(store::set("one more", &[0; 4_096], None), Err(Refusal::Full));
        assert_eq!(store::set("0", &[1; 4_096], None), Ok(()), "in the place of another");
    }
}
