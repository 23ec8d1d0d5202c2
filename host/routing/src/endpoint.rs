//! The endpoints that deployments answer.

/// An endpoint that is routed to deployments. It has the same path there.
///
/// Not to be mixed up with [`config::Endpoint`], the address of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InferenceEndpoint {
    /// `/v1/chat/completions`
    ChatCompletions,
    /// `/v1/completions`
    Completions,
    /// `/v1/embeddings`
    Embeddings,
    /// `/v1/responses`
    Responses,
    /// `/v1/rerank`
    Rerank,
}

impl InferenceEndpoint {
    /// Every endpoint.
    pub const ALL: [Self; 5] =
        [Self::ChatCompletions, Self::Completions, Self::Embeddings, Self::Responses, Self::Rerank];

    /// The endpoint at `path`.
    #[must_use]
    pub fn at(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|endpoint| endpoint.path() == path)
    }

    /// The path, the same for clients and deployments.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Embeddings => "/v1/embeddings",
            Self::Responses => "/v1/responses",
            Self::Rerank => "/v1/rerank",
        }
    }

    /// The path after a deployment's prefix: `/chat/completions`.
    #[must_use]
    pub fn relative_path(self) -> &'static str {
        self.path().strip_prefix("/v1").unwrap_or(self.path())
    }

    /// True if answering a request twice does no harm. Responses can store their answers and call
    /// tools; the others only compute.
    #[must_use]
    pub const fn is_repeatable(self) -> bool {
        !matches!(self, Self::Responses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_finds_its_endpoint() {
        for endpoint in InferenceEndpoint::ALL {
            assert_eq!(InferenceEndpoint::at(endpoint.path()), Some(endpoint));
        }
        for path in ["/v1/models", "/v1/chat/completions/", "/v1", ""] {
            assert_eq!(InferenceEndpoint::at(path), None, "{path}");
        }
    }

    #[test]
    fn only_responses_must_not_be_answered_twice() {
        let once = InferenceEndpoint::ALL.into_iter().filter(|endpoint| !endpoint.is_repeatable());
        assert_eq!(once.collect::<Vec<_>>(), [InferenceEndpoint::Responses]);
    }
}
