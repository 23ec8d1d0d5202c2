//! The facts about a request that a strategy on the request path is told.

use std::time::Duration;

/// Facts about a request beside its model. They contain neither the prompt nor a credential.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Tokens of the prompt, estimated. Only with [`Needs::prompt_tokens`].
    pub prompt_tokens: Option<u32>,
    /// Limit on the tokens of the answer, if the request sets one.
    pub max_output_tokens: Option<u32>,
    /// A hash that all requests of one session share. Only with [`Needs::session`].
    pub session: Option<u64>,
    /// Hashes of the prompt's first block, its first two, and so on. Only with [`Needs::prefixes`].
    pub prefixes: Vec<u64>,
    /// The tenant, from the configured header.
    pub tenant: Option<Tenant>,
    /// How urgent it is, from the configured header: larger is more urgent.
    pub priority: i32,
    /// The time to first byte that it asks for, from the configured header.
    pub objective: Option<Duration>,
    /// What the prompt holds beside text, where that tells the model's deployments apart.
    pub holds: Modalities,
    /// Whether it comes with tools, where that tells the model's deployments apart.
    pub tools: bool,
    /// The headers that the configuration lists, names in lower case.
    pub headers: Vec<(String, String)>,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// A hash of the name, the same on every gateway.
    pub hash: u64,
    /// The name.
    pub name: String,
}

/// The costly facts, which are computed only if a strategy's `describe` asks for them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs {
    /// [`Facts::prompt_tokens`]
    pub prompt_tokens: bool,
    /// [`Facts::session`]
    pub session: bool,
    /// [`Facts::prefixes`]
    pub prefixes: bool,
    /// The name in [`Facts::tenant`]. The hash costs nothing.
    pub tenant_name: bool,
}

impl Needs {
    /// The facts that either of two strategies needs.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            prompt_tokens: self.prompt_tokens || other.prompt_tokens,
            session: self.session || other.session,
            prefixes: self.prefixes || other.prefixes,
            tenant_name: self.tenant_name || other.tenant_name,
        }
    }
}

/// A set of modalities. Text is in every set, and names that routing does not use are in none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Modalities(u8);

impl Modalities {
    /// Text alone.
    pub const NONE: Self = Self(0);
    /// Pictures.
    pub const IMAGE: Self = Self(1);
    /// Sound.
    pub const AUDIO: Self = Self(2);
    /// Moving pictures.
    pub const VIDEO: Self = Self(4);

    /// The set of these names, as `models.yaml` writes them.
    #[must_use]
    pub fn of(names: &[String]) -> Self {
        let bit = |name: &String| match name.as_str() {
            "image" => Self::IMAGE.0,
            "audio" => Self::AUDIO.0,
            "video" => Self::VIDEO.0,
            _ => 0,
        };
        Self(names.iter().map(bit).fold(0, |all, bit| all | bit))
    }

    /// The union of both sets.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// True if the set contains all of `others`.
    #[must_use]
    pub const fn has(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }
}
