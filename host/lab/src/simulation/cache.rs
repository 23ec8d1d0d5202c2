//! An engine's prefix cache: system prompts, which many requests share, and sessions, or the blocks
//! of a trace.

use std::collections::{BTreeMap, HashMap};

use super::scenario::TRACE_BLOCK;
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
    /// A block of a trace, together with all before it.
    Block(u64),
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
        let most = request.prompt.saturating_sub(1);
        if !request.blocks.is_empty() {
            let blocks = request.blocks.iter().map(|block| of(Beginning::Block(*block)));
            let known: u64 = blocks.take_while(|tokens| *tokens > 0).sum();
            return u32::try_from(known).unwrap_or(u32::MAX).min(most);
        }
        let shared = of(Beginning::Kind(request.kind)).min(request.system.into());
        let whole = shared == u64::from(request.system);
        let own = if whole { of(Beginning::Session(request.session)) } else { 0 };
        u32::try_from(shared + own).unwrap_or(u32::MAX).min(most)
    }

    /// Caches a prompt and the first `answer` tokens of its answer. A trace names no blocks of
    /// answers, so that only its prompts are kept.
    pub(super) fn keep(&mut self, request: &Request, answer: u32) {
        if !request.blocks.is_empty() {
            // The last blocks are put first, and so evicted first: alone they are of no use.
            for (index, block) in request.blocks.iter().enumerate().rev() {
                let before = u64::from(TRACE_BLOCK) * index as u64;
                let rest = u64::from(request.prompt).saturating_sub(before);
                self.put(Beginning::Block(*block), rest.min(TRACE_BLOCK.into()));
            }
            return;
        }
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
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    fn request(session: u64, prompt: u32) -> Request {
        let (at, tenant, blocks, stream) = (Duration::ZERO, None, Arc::default(), true);
        Request {
            at,
            kind: 0,
            session,
            system: 100,
            prompt,
            output: 10,
            stream,
            tenant,
            max_tokens: None,
            blocks,
        }
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

    #[test]
    fn blocks_of_a_trace_are_known_up_to_the_first_unknown() {
        let blocks = |prompt, list: &[u64]| Request { blocks: list.into(), ..request(1, prompt) };
        let mut cache = Cache::new(2_000);
        cache.keep(&blocks(1_100, &[1, 2, 3]), 10);
        assert_eq!(cache.known(&blocks(1_100, &[1, 2, 3])), 1_099, "at least one token is read");
        assert_eq!(cache.known(&blocks(3_000, &[1, 2, 4, 3])), 1_024);
        assert_eq!(cache.known(&blocks(3_000, &[4, 2, 3])), 0);
        cache.keep(&blocks(1_024, &[5, 6]), 0);
        assert_eq!(cache.known(&blocks(3_000, &[1, 2, 3])), 512, "the last blocks go first");
    }
}
