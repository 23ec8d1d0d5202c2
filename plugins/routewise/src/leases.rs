//! Leases of unmeasured deployments: one request at a time measures one.

use gateway_strategy::store;

/// Milliseconds after which another request may measure the deployment.
const LASTS: u64 = 60_000;
/// The most leases. While there are so many, nothing more is explored.
const MOST: usize = 200;
/// The key of the store.
const KEY: &str = "leases";
/// How often an instance tries again if others change the leases.
const TRIES: usize = 4;

/// The leases that last, as they were read.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    /// The value in the store.
    value: Option<Vec<u8>>,
    /// Keys of deployments, and when their leases end.
    lasting: Vec<(u64, u64)>,
}

impl Leases {
    /// Reads the leases that last at `now`.
    #[must_use]
    pub(crate) fn read(now: u64) -> Self {
        let value = store::get(KEY);
        let number = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
        let pair = |bytes: &[u8]| (number(&bytes[..8]), number(&bytes[8..]));
        let all = value.as_deref().unwrap_or_default().chunks_exact(16).map(pair);
        let lasting = all.filter(|(_, until)| *until > now).collect();
        Self { value, lasting }
    }

    /// True if a request is on its way to measure this deployment.
    #[must_use]
    pub(crate) fn holds(&self, key: u64) -> bool {
        self.lasting.iter().any(|(held, _)| *held == key)
    }

    /// Takes the lease of a deployment. False if anybody has changed the leases since they were read, or
    /// if there are too many.
    #[must_use]
    pub(crate) fn take(&self, key: u64, now: u64) -> bool {
        let with = self.lasting.iter().copied().chain([(key, now + LASTS)]);
        self.lasting.len() < MOST && self.replace(with)
    }

    fn replace(&self, with: impl Iterator<Item = (u64, u64)>) -> bool {
        let bytes = |(key, until): (u64, u64)| [key.to_le_bytes(), until.to_le_bytes()].concat();
        let value: Vec<u8> = with.flat_map(bytes).collect();
        store::compare_and_set(KEY, self.value.as_deref(), &value, None).is_ok()
    }
}

/// Ends the leases of deployments that were measured.
pub(crate) fn end(measured: &[u64], now: u64) {
    for _ in 0..TRIES {
        let leases = Leases::read(now);
        let left = || leases.lasting.iter().filter(|(key, _)| !measured.contains(key));
        if left().count() == leases.lasting.len() || leases.replace(left().copied()) {
            return;
        }
    }
}
