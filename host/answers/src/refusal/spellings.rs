//! How engines and providers say what is wrong, in lower case. [`tests`](super::tests) has the
//! sentences that these come from.

use super::{Feature, Sense};

/// One way to say something in a message.
pub(super) struct Spelling {
    pub(super) sense: Sense,
    /// Statuses with which the spelling counts. Empty: all.
    pub(super) statuses: &'static [u16],
    /// All of these occur in the message. Alternatives are separated by `|`.
    pub(super) parts: &'static [&'static str],
}

/// Values of `code` and `type`. The first row that has one of them counts.
pub(super) const WORDS: &[(Sense, &[&str])] = &[
    (
        Sense::TooLong,
        &[
            "context_length_exceeded",
            "context_window_exceeded",
            "model_context_window_exceeded",
            "contextwindowexceedederror",
            "exceed_context_size_error",
            "prompt_too_long",
            "input_too_long",
            "string_too_long_for_context",
        ],
    ),
    (
        Sense::Billing,
        &[
            "insufficient_quota",
            "insufficient_credits",
            "insufficient_balance",
            "insufficient_funds",
            "billing_hard_limit_reached",
            "billing_not_active",
            "billing_error",
            "payment_required",
            "payment_required_error",
            "credit_balance_too_low",
            "arrearage",
            "budget_exceeded",
            "spend_limit_exceeded",
        ],
    ),
    (Sense::Refused, &["mismatched_organization", "mismatched_project", "content_filter"]),
    (Sense::Refused, &["content_policy_violation", "responsibleaipolicyviolation"]),
    (
        Sense::Model,
        &[
            "model_not_found",
            "model_not_found_error",
            "modelnotfound",
            "model_not_available",
            "model_not_exist",
            "model_decommissioned",
            "model_deprecated",
            "invalid_model",
            "invalid_model_error",
            "unknown_model",
            "deploymentnotfound",
        ],
    ),
    (Sense::Endpoint, &["unknown_url", "not_supported_error", "not_implemented_error"]),
    (
        Sense::Key,
        &[
            "invalid_api_key",
            "invalid_authentication",
            "invalid_authentication_error",
            "authentication_error",
            "authenticationerror",
            "api_key_invalid",
            "permission_error",
            "permission_denied",
            "permissiondeniederror",
            "insufficient_permissions",
            "missing_scope",
            "unauthenticated",
            "unauthorized",
        ],
    ),
    (
        Sense::Full,
        &[
            "overloaded",
            "overloaded_error",
            "engine_overloaded",
            "engine_overloaded_error",
            "server_overloaded",
            "model_overloaded",
            "rate_limit_error",
            "rate_limit_exceeded",
            "rate_limit_reached",
            "ratelimiterror",
            "too_many_requests",
            "toomanyrequests",
            "tokens_limit_reached",
            "capacity_exceeded",
            "resource_exhausted",
            "service_unavailable",
            "unavailable",
            "unavailable_error",
            "queue_full",
        ],
    ),
];

const ANY: &[u16] = &[];
/// Statuses of a request that does not fit. llama.cpp says so by a 500, Groq by a 413.
const UNFIT: &[u16] = &[400, 404, 413, 422, 500];

const fn spelling(
    sense: Sense,
    statuses: &'static [u16],
    parts: &'static [&'static str],
) -> Spelling {
    Spelling { sense, statuses, parts }
}

/// Sentences. The first row that fits counts.
pub(super) const PHRASES: &[Spelling] = &[
    // The context, by its many names: vLLM, SGLang, llama.cpp, OpenAI, OpenRouter, Mistral, xAI,
    // Fireworks, TensorRT-LLM, TabbyAPI, LM Studio, Ollama.
    spelling(
        Sense::TooLong,
        UNFIT,
        &[
            "context length|context size|context window|context limit|maximum prompt length|\
             max_seq_len|max_model_len|model length|maximum input length|sequence length|\
             allowed length|maximum number of tokens|maximum number of input tokens",
            "exceed|longer than|too large|too long|maximum context length is|greater than|\
             overflow|larger than|is only|but the request contains|no smaller than",
        ],
    ),
    // Anthropic, Bedrock, Cohere, OpenAI's responses.
    spelling(
        Sense::TooLong,
        UNFIT,
        &["prompt is too long|input is too long|prompt too long|input too long|too many tokens"],
    ),
    spelling(Sense::TooLong, UNFIT, &["input tokens exceed|input token count|tokens must be <="]),
    // TGI and text-embeddings-inference.
    spelling(Sense::TooLong, UNFIT, &["inputs", "must have less than|must be <=", "tokens"]),
    // llama.cpp's embeddings, which say so with a 500.
    spelling(Sense::TooLong, UNFIT, &["too large to process", "batch size"]),
    // Groq and Together: more tokens than the account may send at once.
    spelling(Sense::TooLong, &[413], &["request too large for model"]),
    // Money.
    spelling(
        Sense::Billing,
        &[400, 401, 402, 403, 429],
        &["insufficient balance|insufficient credit|insufficient fund|credit balance is too low|\
           requires more credits|out of credits|used all available credits|check your billing|\
           account is not active|good standing|spending limit|spend limit|payment required"],
    ),
    // Refused for its own sake: OpenAI's organisation header, OpenRouter's privacy settings.
    spelling(
        Sense::Refused,
        &[400, 401, 403, 404],
        &["organization", "header should match|mismatched"],
    ),
    spelling(Sense::Refused, &[400, 403, 404], &["data policy|input was flagged|moderation"]),
    // Endpoints: vLLM, SGLang, llama.cpp, Ollama, LM Studio, OpenAI, web frameworks.
    spelling(
        Sense::Endpoint,
        &[400, 404, 405, 422, 500, 501],
        &["not support|doesn't support|not an embedding model", "embedding"],
    ),
    spelling(
        Sense::Endpoint,
        &[400, 404, 405, 422, 500, 501],
        &[
            "does not support|doesn't support|not supported by",
            " api| chat|completions|generate|rerank|responses",
        ],
    ),
    spelling(
        Sense::Endpoint,
        &[400, 404, 405, 500, 501],
        &["unexpected endpoint|invalid url (|cannot post|no route matched|page not found|\
           unknown endpoint|no such endpoint|unknown path"],
    ),
    // Features that a message names by a start option of the engine, or by the content types it
    // expects.
    spelling(
        Sense::Lacks(Feature::Tools),
        UNFIT,
        &["enable-auto-tool-choice|tool-call-parser|requires --jinja|tools param requires"],
    ),
    spelling(
        Sense::Lacks(Feature::Images),
        UNFIT,
        &["at most 0 image|not a multimodal model|variant `image_url`|content must be a string|\
           missing data required for image input|mmproj"],
    ),
    spelling(Sense::Lacks(Feature::Audio), UNFIT, &["at most 0 audio|variant `input_audio`"]),
    spelling(Sense::Lacks(Feature::Video), UNFIT, &["at most 0 video|variant `video_url`"]),
    spelling(Sense::Lacks(Feature::Other), UNFIT, &["can handle the requested parameters"]),
    // Models.
    spelling(
        Sense::Model,
        &[400, 403, 404, 422],
        &["model not exist|model not found|no such model|unknown model|not a valid model id|\
           no models loaded|no endpoints found for|api deployment for this resource"],
    ),
    // Keys. Google says so with a 400.
    spelling(
        Sense::Key,
        &[400, 403],
        &["api key|api-key|apikey|api_key|access token|authentication method|authentication token"],
    ),
    spelling(
        Sense::Key,
        &[403],
        &["does not have permission|insufficient permission|missing scope|missing permission|\
           not authorized to|does not have access"],
    ),
    // Full, whatever the status is.
    spelling(
        Sense::Full,
        &[500, 502, 503, 504, 520, 529],
        &["overloaded|over capacity|at capacity|server busy|server is busy|queue is full|\
           too many requests|too many concurrent|maximum pending requests"],
    ),
    // In an answer of status 200 there is no status to go by.
    spelling(Sense::Full, ANY, &["rate limit exceeded|rate limit reached|is overloaded"]),
];

/// Words of an engine that lacks something.
pub(super) const LACKING: &[&str] = &[
    "not supported",
    "not support ",
    "doesn't support",
    "don't support",
    "not enabled",
    "only supported by",
    "that support ",
    "unsupported by",
    "not available for this model",
];

/// Names of features in messages. The first row that fits counts.
pub(super) const FEATURES: &[(Feature, &[&str])] = &[
    (Feature::Tools, &["tool", "function call"]),
    (Feature::Audio, &["audio"]),
    (Feature::Video, &["video"]),
    (Feature::Images, &["image", "vision", "multimodal", "multi-modal"]),
    (
        Feature::Other,
        &[
            "response_format",
            "json_schema",
            "structured output",
            "json mode",
            "logprobs",
            "thinking",
        ],
    ),
];

/// Words of an engine that does not know the model it names.
pub(super) const UNKNOWN_MODEL: &[&str] = &[
    "not found",
    "not exist",
    "doesn't exist",
    "not a valid model",
    "not available",
    "not loaded",
    "unknown",
    "invalid model",
    "unable to access",
    "unsupported model",
    "have access to",
    "decommissioned",
    "deprecated",
    "no longer available",
    "no such",
];
