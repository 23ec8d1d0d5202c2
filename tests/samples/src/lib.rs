//! Models and deployments for tests. A test writes only the fields that it is about, and takes the
//! others from here.

use config::{
    Capability, Concurrency, DeploymentConfig, Endpoint, Model, ModelCard, Origin, Pricing, Share,
    Sides, Timeouts, TotalTime,
};
use contract::{Modalities, Side};

/// A remote deployment with the name `d` and its port, without a key, probes and limits of its own.
#[must_use]
pub fn deployment(port: u16) -> DeploymentConfig {
    DeploymentConfig {
        name: format!("d{port}"),
        side: Side::Remote,
        kind: "vllm".into(),
        endpoint: Endpoint {
            origin: Origin { tls: false, host: "h".into(), port },
            prefix: String::new(),
            query: String::new(),
        },
        api_key: None,
        provider_model_id: "m".into(),
        capability: Capability {
            context_length: 1,
            input: Modalities::NONE,
            output: Modalities::NONE,
            tools: false,
        },
        stream_usage: true,
        cancel: None,
        tags: Vec::new(),
        weight: 1.0,
        share: Share::Kept,
        budgets: 0,
        quotas: Vec::new(),
        pricing: Pricing::default(),
        probe: None,
        metrics: None,
        concurrency: Concurrency::default(),
        timeouts: Timeouts::default(),
    }
}

/// The model `m`, whose requests may go to both sides and end by the default time limit. The first
/// strategy decides for it.
#[must_use]
pub fn model(deployments: Vec<DeploymentConfig>) -> Model {
    Model {
        id: "m".into(),
        aliases: Vec::new(),
        card: card(),
        sides: Sides::BOTH,
        total: TotalTime::default(),
        strategy: 0,
        deployments,
    }
}

/// A free model of text.
fn card() -> ModelCard {
    ModelCard {
        name: "m".into(),
        provider: "vllm".into(),
        context_length: 1,
        max_output_length: 1,
        has_lengths: true,
        quantization: "bf16".into(),
        input_modalities: Vec::new(),
        output_modalities: Vec::new(),
        supports_tools: false,
        supports_structured_output: false,
        supported_params: Vec::new(),
        pricing: Pricing::default(),
    }
}
