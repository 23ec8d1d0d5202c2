//! The facts about a request that a strategy on the request path is told.

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
    pub tenant: Option<String>,
    /// The headers that the configuration lists, names in lower case.
    pub headers: Vec<(String, String)>,
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
}

impl Needs {
    /// The facts that either of two strategies needs.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            prompt_tokens: self.prompt_tokens || other.prompt_tokens,
            session: self.session || other.session,
            prefixes: self.prefixes || other.prefixes,
        }
    }
}
