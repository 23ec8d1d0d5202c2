//! An engine's prefix cache: system prompts, which many requests share, and sessions.

use std::collections::{BTreeMap, HashMap};

use super::workload::Request;

/// Cached prefixes of prompts. The least recently used are evicted first.
#[derive(Debug)]
pub(super) struct Cache {
    /// Maximum number of cached tokens.
    room: u64,
    used: u64,
    kept: HashMap<Beginning, Kept>,
    /// Prefixes by the `clock` of their last use.
    order: BTreeMap<u64, Beginning>,
    clock: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Beginning {
    /// The system prompt of a kind.
    Kind(usize),
    /// The rest of a session's prompt, after the system prompt.
    Session(u64),
}

#[derive(Debug, Clone, Copy)]
struct Kept {
    tokens: u64,
    used: u64,
}

impl Cache {
    pub(super) fn new(room: u64) -> Self {
        let (kept, order) = Default::default();
        Self { room, used: 0, kept, order, clock: 0 }
    }

    /// Number of cached tokens of a prompt. At least one token is never cached.
    pub(super) fn known(&self, request: &Request) -> u32 {
        let of = |beginning| self.kept.get(&beginning).map_or(0, |kept: &Kept| kept.tokens);
        let shared = of(Beginning::Kind(request.kind)).min(request.system.into());
        let whole = shared == u64::from(request.system);
        let own = if whole { of(Beginning::Session(request.session)) } else { 0 };
        let most = request.prompt.saturating_sub(1);
        u32::try_from(shared + own).unwrap_or(u32::MAX).min(most)
    }

    /// Caches a prompt and the first `answer` tokens of its answer.
    pub(super) fn keep(&mut self, request: &Request, answer: u32) {
        let own = u64::from(request.prompt.saturating_sub(request.system)) + u64::from(answer);
        self.put(Beginning::Session(request.session), own);
        self.put(Beginning::Kind(request.kind), request.system.into());
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(self.room);
    }

    fn put(&mut self, beginning: Beginning, tokens: u64) {
        if tokens == 0 || tokens > self.room {
            return;
        }
        self.clock += 1;
        let kept = Kept { tokens, used: self.clock };
        if let Some(before) = self.kept.insert(beginning, kept) {
            self.order.remove(&before.used);
            self.used -= before.tokens;
        }
        self.order.insert(self.clock, beginning);
        self.used += tokens;
        while self.used > self.room
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.used -= self.kept.remove(&oldest).map_or(0, |kept| kept.tokens);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn request(session: u64, prompt: u32) -> Request {
        let (at, tenant) = (Duration::ZERO, None);
        Request { at, kind: 0, session, system: 100, prompt, output: 10, stream: true, tenant }
    }

    #[test]
    fn a_session_knows_its_past_and_a_new_one_what_all_share() {
        let mut cache = Cache::new(1_000);
        assert_eq!(cache.known(&request(1, 300)), 0);
        cache.keep(&request(1, 300), 10);
        assert_eq!(cache.known(&request(1, 500)), 310);
        assert_eq!(cache.known(&request(2, 500)), 100);
        assert_eq!(cache.known(&request(2, 50)), 49, "at least one token is read");
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut cache = Cache::new(500);
        cache.keep(&request(1, 300), 0);
        cache.keep(&request(2, 300), 0);
        assert_eq!(cache.known(&request(1, 500)), 300);
        cache.keep(&request(3, 300), 0);
        assert_eq!(cache.known(&request(1, 500)), 100, "of session 1 nothing is left");
        assert_eq!(cache.known(&request(3, 500)), 300);
        cache.clear();
        assert_eq!(cache.known(&request(3, 500)), 0);
    }
}
