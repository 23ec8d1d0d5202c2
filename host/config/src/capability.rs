//! What a deployment can do, and where the requests of a model may go: the facts that forbid a
//! deployment for a request.

use contract::{Modalities, Side};

/// What one deployment can do: its route's keys, else the model's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capability {
    /// Tokens of prompt and answer together.
    pub context_length: u64,
    /// What a prompt may hold.
    pub input: Modalities,
    /// What an answer may hold.
    pub output: Modalities,
    /// Whether tool calls are answered.
    pub tools: bool,
}

/// A set of sides. The default has both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sides {
    local: bool,
    remote: bool,
}

impl Sides {
    /// Both sides: nothing is forbidden.
    pub const BOTH: Self = Self { local: true, remote: true };

    /// One side alone.
    #[must_use]
    pub const fn only(side: Side) -> Self {
        Self { local: matches!(side, Side::Local), remote: matches!(side, Side::Remote) }
    }

    /// True if the set contains `side`.
    #[must_use]
    pub const fn has(self, side: Side) -> bool {
        match side {
            Side::Local => self.local,
            Side::Remote => self.remote,
        }
    }

    /// The sides that both sets have.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self { local: self.local && other.local, remote: self.remote && other.remote }
    }
}

impl Default for Sides {
    fn default() -> Self {
        Self::BOTH
    }
}

impl FromIterator<Side> for Sides {
    fn from_iter<I: IntoIterator<Item = Side>>(sides: I) -> Self {
        let none = Self { local: false, remote: false };
        sides.into_iter().fold(none, |all, side| match side {
            Side::Local => Self { local: true, ..all },
            Side::Remote => Self { remote: true, ..all },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrowing_never_widens() {
        let (local, remote) = (Sides::only(Side::Local), Sides::only(Side::Remote));
        assert_eq!(Sides::BOTH.and(local), local);
        assert_eq!(local.and(Sides::BOTH), local);
        let none = local.and(remote);
        assert!(!none.has(Side::Local) && !none.has(Side::Remote));
        assert_eq!([Side::Remote, Side::Local].into_iter().collect::<Sides>(), Sides::BOTH);
    }

    #[test]
    fn modalities_are_those_of_the_names() {
        let set = |names: &[&str]| {
            Modalities::of(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
        };
        let seen = set(&["text", "image", "smell"]);
        assert!(seen.has(Modalities::IMAGE) && !seen.has(Modalities::AUDIO));
        assert_eq!(set(&["text"]), Modalities::default());
        assert!(set(&["audio", "video"]).has(Modalities::VIDEO));
    }
}
