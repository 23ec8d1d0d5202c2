//! The sentences of engines and providers, as they write them. `m-1` is the model's name as sent.

use super::Said;
use crate::refusal::Feature::{self, Audio, Images, Other, Tools};
use crate::refusal::Sense::{Billing, Endpoint, Full, Key, Model, Refused};

/// Status and message: the prompt is too long.
pub(super) const TOO_LONG: [(u16, &str); 28] = [
    // vLLM
    (
        400,
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens (4000 in the messages, 1000 in the completion). Please reduce the length of the messages or completion.",
    ),
    (
        400,
        "'max_tokens' or 'max_completion_tokens' is too large: 5000. This model's maximum context length is 4096 tokens and your request has 10 input tokens",
    ),
    (
        400,
        "The decoder prompt (length 5000) is longer than the maximum model length of 4096. Make sure that `max_model_len` is no smaller than the number of text tokens.",
    ),
    (
        400,
        "You passed 5001 input tokens and requested 0 output tokens. However, the model's context length is only 4096 tokens, resulting in a maximum input length of 4096 tokens.",
    ),
    // SGLang
    (400, "The input (5000 tokens) is longer than the model's context length (4096 tokens)."),
    (
        400,
        "Requested token count exceeds the model's maximum context length of 4096 tokens. You requested a total of 5000 tokens",
    ),
    (
        400,
        "Input length (5000 tokens) exceeds the maximum allowed length (4090 tokens). Use a shorter input or enable --allow-auto-truncate.",
    ),
    // llama.cpp
    (
        400,
        "request (5000 tokens) exceeds the available context size (4096 tokens), try increasing it",
    ),
    (
        500,
        "input (700 tokens) is too large to process. increase the physical batch size (current batch size: 512)",
    ),
    // Ollama
    (400, "the input length exceeds the context length"),
    (400, "prompt too long; exceeded max context length by 12 tokens"),
    // OpenAI
    (
        400,
        "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 300000 tokens.",
    ),
    (
        400,
        "Your input exceeds the context window of this model. Please adjust your input and try again.",
    ),
    // Anthropic
    (400, "prompt is too long: 210000 tokens > 200000 maximum"),
    (400, "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000"),
    // OpenRouter
    (
        400,
        "This endpoint's maximum context length is 32768 tokens. However, you requested about 40000 tokens",
    ),
    // Groq
    (
        413,
        "Request too large for model `m-1` in organization `o` on tokens per minute (TPM): Limit 6000, Requested 8000",
    ),
    // Mistral
    (
        400,
        "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
    ),
    // Gemini
    (
        400,
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
    ),
    // TGI, text-embeddings-inference
    (
        422,
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193. Given: 9000",
    ),
    (413, "Input validation error: `inputs` must have less than 512 tokens. Given: 600"),
    // xAI, Bedrock, Cohere, Fireworks, TensorRT-LLM, TabbyAPI, LM Studio
    (400, "This model's maximum prompt length is 131072 but the request contains 140000 tokens."),
    (400, "Input is too long for requested model."),
    (400, "too many tokens: total number of tokens in the prompt cannot exceed 4081"),
    (400, "The prompt is too long: 210000, model maximum context length: 131072"),
    (400, "Prompt length (5000) exceeds maximum input length (4096)."),
    (400, "Prompt length 5000 is greater than max_seq_len 4096"),
    (
        400,
        "Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens, which is not enough. Context size overflow",
    ),
];

/// Status, message, and the feature that is lacking.
pub(super) const LACKING: [(u16, &str, Feature); 24] = [
    // vLLM
    (
        400,
        "\"auto\" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set",
        Tools,
    ),
    (400, "At most 0 image(s) may be provided in one prompt.", Images),
    (400, "m-1 is not a multimodal model", Images),
    (400, "At most 0 audio(s) may be provided in one prompt.", Audio),
    // llama.cpp
    (500, "tools param requires --jinja flag", Tools),
    (
        500,
        "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj",
        Images,
    ),
    (
        500,
        "audio input is not supported - hint: if this is unexpected, you may need to provide the projector",
        Audio,
    ),
    // Ollama
    (400, "registry.ollama.ai/library/m-1 does not support tools", Tools),
    (400, "this model is missing data required for image input", Images),
    (400, "\"m-1\" does not support thinking", Other),
    // OpenAI
    (400, "Invalid content type. image_url is only supported by certain models.", Images),
    (
        400,
        "tools is not supported in this model. For a list of supported models, refer to the docs",
        Tools,
    ),
    (400, "Unsupported parameter: 'tools' is not supported with this model.", Tools),
    (
        400,
        "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.",
        Other,
    ),
    // OpenRouter
    (
        404,
        "No endpoints found that support tool use. To learn more about provider routing, visit the docs",
        Tools,
    ),
    (404, "No endpoints found that support image input", Images),
    (404, "No endpoints found that can handle the requested parameters.", Other),
    // Groq
    (400, "`tool calling` is not supported with this model", Tools),
    (400, "messages[0].content must be a string", Images),
    // DeepSeek
    (
        422,
        "Failed to deserialize the JSON body: messages[0]: unknown variant `image_url`, expected `text`",
        Images,
    ),
    // Mistral, Gemini
    (400, "Function calling is not enabled for this model", Tools),
    (400, "Image input modality is not enabled for models/m-1", Images),
    // Bedrock, Fireworks
    (400, "This model doesn't support tool use.", Tools),
    (400, "This model does not support image inputs", Images),
];

/// All other meanings: money, keys, models, endpoints and load.
pub(super) const OTHERS: [Said; 33] = [
    (
        429,
        "You exceeded your current quota, please check your plan",
        "insufficient_quota",
        Some(Billing),
    ),
    (402, "Insufficient Balance", "", Some(Billing)),
    (400, "Your credit balance is too low to access the Anthropic API", "", Some(Billing)),
    (402, "This request requires more credits, or fewer max_tokens.", "", Some(Billing)),
    (
        429,
        "Your account is not active, please check your billing details",
        "billing_not_active",
        Some(Billing),
    ),
    // Google says quota to a rate limit.
    (429, "You exceeded your current quota", "RESOURCE_EXHAUSTED", Some(Full)),
    (
        401,
        "OpenAI-Organization header should match organization for API key",
        "mismatched_organization",
        Some(Refused),
    ),
    (
        403,
        "Your chosen model requires moderation and your input was flagged for violence",
        "",
        Some(Refused),
    ),
    (404, "No endpoints found matching your data policy", "", Some(Refused)),
    (
        403,
        "Your API key does not have permission to use the specified resource",
        "permission_error",
        Some(Key),
    ),
    (400, "API key not valid. Please pass a valid API key.", "INVALID_ARGUMENT", Some(Key)),
    (403, "The caller does not have permission", "PERMISSION_DENIED", Some(Key)),
    (404, "The model `m-1` does not exist.", "", Some(Model)),
    (404, "model \"m-1\" not found, try pulling it first", "", Some(Model)),
    (404, "model: m-1", "not_found_error", Some(Model)),
    (
        404,
        "models/m-1 is not found for API version v1beta, or is not supported for generateContent",
        "",
        Some(Model),
    ),
    (400, "m-1 is not a valid model ID", "", Some(Model)),
    (400, "Model Not Exist", "", Some(Model)),
    (400, "Invalid model: m-1", "1500", Some(Model)),
    (404, "gone", "model_not_found", Some(Model)),
    (400, "The model `m-1` has been decommissioned", "model_decommissioned", Some(Model)),
    (403, "Project `p` does not have access to model `m-1`", "model_not_found", Some(Model)),
    (404, "The API deployment for this resource does not exist", "DeploymentNotFound", Some(Model)),
    (
        501,
        "This server does not support embeddings. Start it with `--embeddings`",
        "",
        Some(Endpoint),
    ),
    (400, "The model does not support Embeddings API", "", Some(Endpoint)),
    (400, "The model does not support Chat Completions API", "", Some(Endpoint)),
    (
        400,
        "This model does not appear to be an embedding model by default. It does not support embeddings.",
        "",
        Some(Endpoint),
    ),
    (400, "\"m-1\" does not support chat", "", Some(Endpoint)),
    (404, "Invalid URL (POST /v1/rerank)", "unknown_url", Some(Endpoint)),
    (500, "Overloaded", "overloaded_error", Some(Full)),
    (503, "server busy, please try again. maximum pending requests exceeded", "", Some(Full)),
    (429, "Model is overloaded", "overloaded", Some(Full)),
    (498, "Flex tier capacity exceeded", "capacity_exceeded", Some(Full)),
];
