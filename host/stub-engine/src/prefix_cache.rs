//! The engine's prefix cache: which beginnings of prompts it has read lately. It keeps hashes only.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};

/// Words of a block. Only whole blocks are cached, as in vLLM.
const BLOCK: usize = 16;

/// A prompt as the cache sees it: a hash of its first block, of its first two blocks, and so on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Prompt {
    blocks: Vec<u64>,
    words: usize,
}

impl Prompt {
    /// A prompt made of messages, each with its role.
    pub(super) fn new<'t>(messages: impl IntoIterator<Item = (&'t str, String)>) -> Self {
        let (mut prompt, mut hasher) = (Self::default(), DefaultHasher::new());
        for (role, text) in messages {
            role.hash(&mut hasher);
            for word in text.split_whitespace() {
                word.hash(&mut hasher);
                prompt.words += 1;
                if prompt.words.is_multiple_of(BLOCK) {
                    prompt.blocks.push(hasher.finish());
                }
            }
        }
        prompt
    }
}

/// The blocks that are cached. The least recently used ones are evicted first.
#[derive(Debug, Default)]
pub(super) struct PrefixCache {
    /// Blocks with the `clock` of their last use.
    used: HashMap<u64, u64>,
    /// The same, by the `clock`.
    order: BTreeMap<u64, u64>,
    clock: u64,
}

impl PrefixCache {
    /// The number of cached words, which are at the beginning of the prompt, and the number of its
    /// other words. The last word is never cached, because the engine needs it to go on.
    pub(super) fn split(&self, prompt: &Prompt) -> (usize, usize) {
        let known = prompt.blocks.iter().take_while(|block| self.used.contains_key(block)).count();
        let cached = (known * BLOCK).min(prompt.words.saturating_sub(1));
        (cached, prompt.words - cached)
    }

    /// Caches a prompt, in a cache of this many words.
    pub(super) fn keep(&mut self, prompt: &Prompt, words: usize) {
        // The last blocks are put first, and so evicted first: alone they are of no use.
        for block in prompt.blocks.iter().rev() {
            self.clock += 1;
            if let Some(before) = self.used.insert(*block, self.clock) {
                self.order.remove(&before);
            }
            self.order.insert(self.clock, *block);
        }
        while self.used.len() > words / BLOCK
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.used.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A prompt of so many words, all alike, after a first word.
    fn prompt(first: &str, words: usize) -> Prompt {
        let text = std::iter::once(first).chain(std::iter::repeat_n("x", words - 1));
        Prompt::new([("user", text.collect::<Vec<_>>().join(" "))])
    }

    #[test]
    fn whole_blocks_at_the_beginning_are_cached() {
        let mut cache = PrefixCache::default();
        assert_eq!(cache.split(&prompt("a", 40)), (0, 40));
        cache.keep(&prompt("a", 40), 1000);
        assert_eq!(cache.split(&prompt("a", 40)), (32, 8));
        assert_eq!(cache.split(&prompt("a", 90)), (32, 58));
        assert_eq!(cache.split(&prompt("a", 32)), (31, 1), "the last word is read");
        assert_eq!(cache.split(&prompt("b", 40)), (0, 40));
        assert_eq!(cache.split(&Prompt::default()), (0, 0));
    }

    #[test]
    fn a_role_is_a_part_of_the_prompt() {
        let text = || "x ".repeat(20);
        let [user, system] = ["user", "system"].map(|role| Prompt::new([(role, text())]));
        assert_ne!(user, system);
    }

    #[test]
    fn the_least_recently_used_blocks_go_first() {
        let mut cache = PrefixCache::default();
        cache.keep(&prompt("a", 32), 64);
        cache.keep(&prompt("b", 32), 64);
        cache.keep(&prompt("a", 32), 64);
        cache.keep(&prompt("c", 16), 64);
        let known = |first| cache.split(&prompt(first, 33)).0;
        assert_eq!([known("a"), known("b"), known("c")], [32, 16, 16]);
        assert_eq!((cache.used.len(), cache.order.len()), (4, 4));
    }
}
