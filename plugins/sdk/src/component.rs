//! The WebAssembly side of [`export!`](crate::export). Not for authors.
//!
//! Each interface is a world of its own here, so that a strategy exports only the interfaces it
//! has. The tool that makes the component merges them into one of the four worlds of the contract.

use std::cell::RefCell;
use std::thread::LocalKey;

use crate::clock::Moment;
use crate::{
    Attempt, Deployment, Ending, Hedge, Learning, Needs, Request, RequestStrategy, Strategy,
};
use crate::{Modalities, Place, Plan, Price, Side, Tiers, Verdict, Weights, WhenFull, parameters};
use crate::{log::Level, store::Refusal};

use imports::hybrid::routing::{chance, clock, logging, signals};
use learning::exports::hybrid::routing::learning as wit_learning;
use policy::exports::hybrid::routing::policy as wit_policy;
use request_policy::exports::hybrid::routing::request_policy as wit_request;

mod imports {
    #![allow(unsafe_code, missing_docs, unreachable_pub, unused_qualifications)]

    wit_bindgen::generate!({
        path: "../../wit/0.3.0-draft",
        inline: "
            package gateway:imports;
            world gateway-strategy-imports {
                import hybrid:routing/logging@0.3.0-draft;
                import hybrid:routing/store@0.3.0-draft;
                import hybrid:routing/signals@0.3.0-draft;
                import hybrid:routing/clock@0.3.0-draft;
                import hybrid:routing/chance@0.3.0-draft;
            }
        ",
        world: "gateway:imports/gateway-strategy-imports",
        generate_all,
    });
}

pub mod policy {
    #![allow(unsafe_code, missing_docs, unreachable_pub, unused_qualifications)]

    wit_bindgen::generate!({
        path: "../../wit/0.3.0-draft",
        inline: "
            package gateway:policy;
            world gateway-strategy-policy {
                export hybrid:routing/policy@0.3.0-draft;
            }
        ",
        world: "gateway:policy/gateway-strategy-policy",
        generate_all,
        with: {
            "hybrid:routing/types@0.3.0-draft/condition": crate::Condition,
            "hybrid:routing/types@0.3.0-draft/deployment": crate::Deployment,
            "hybrid:routing/types@0.3.0-draft/weights": crate::Weights,
        },
        pub_export_macro: true,
    });
}

pub mod request_policy {
    #![allow(unsafe_code, missing_docs, unreachable_pub, unused_qualifications)]

    wit_bindgen::generate!({
        path: "../../wit/0.3.0-draft",
        inline: "
            package gateway:request-policy;
            world gateway-strategy-request-policy {
                export hybrid:routing/request-policy@0.3.0-draft;
            }
        ",
        world: "gateway:request-policy/gateway-strategy-request-policy",
        generate_all,
        with: {
            "hybrid:routing/types@0.3.0-draft/condition": crate::Condition,
            "hybrid:routing/types@0.3.0-draft/deployment": crate::Deployment,
            "hybrid:routing/types@0.3.0-draft/weights": crate::Weights,
        },
        pub_export_macro: true,
    });
}

pub mod learning {
    #![allow(unsafe_code, missing_docs, unreachable_pub, unused_qualifications)]

    wit_bindgen::generate!({
        path: "../../wit/0.3.0-draft",
        inline: "
            package gateway:learning;
            world gateway-strategy-learning {
                export hybrid:routing/learning@0.3.0-draft;
            }
        ",
        world: "gateway:learning/gateway-strategy-learning",
        generate_all,
        pub_export_macro: true,
    });
}

/// The instance of a strategy. A component has one thread, so a thread-local holds it.
pub type State<S> = LocalKey<RefCell<Option<S>>>;

/// The JSON Schema of a strategy's parameters, made from their type.
#[must_use]
pub fn made_schema<S: Strategy>() -> String {
    parameters::schema::<S::Parameters>()
}

/// Answers `describe`.
#[must_use]
pub fn describe<S: Strategy>(
    name: &str,
    version: &str,
    parameters: String,
) -> wit_policy::Description {
    let Needs { prompt_tokens, session, prefixes, tenant_name } = S::NEEDS;
    let mut needs = wit_policy::Facts::empty();
    needs.set(wit_policy::Facts::PROMPT_TOKENS, prompt_tokens);
    needs.set(wit_policy::Facts::SESSION, session);
    needs.set(wit_policy::Facts::PREFIXES, prefixes);
    needs.set(wit_policy::Facts::TENANT_NAME, tenant_name);
    let signal = |signal: &crate::Signal| wit_policy::Signal {
        name: signal.name.to_owned(),
        optional: signal.optional,
    };
    wit_policy::Description {
        name: name.to_owned(),
        version: version.to_owned(),
        summary: S::SUMMARY.to_owned(),
        parameters,
        refresh_interval: S::REFRESH.map(|time| time.as_millis().try_into().unwrap_or(u32::MAX)),
        needs,
        signals: S::SIGNALS.iter().map(signal).collect(),
        reasons: S::REASONS.iter().map(|reason| (*reason).to_owned()).collect(),
    }
}

/// Answers `configure`.
///
/// # Errors
/// The parameters are wrong. The text says how, for the operator.
pub fn configure<S: Strategy>(
    state: &'static State<S>,
    parameters: &str,
    models: &[String],
    places: Vec<wit_policy::Place>,
) -> Result<(), String> {
    let parameters = parameters::parse(parameters)?;
    let place = |place: wit_policy::Place| {
        let model = models.get(place.model as usize).cloned().unwrap_or_default();
        Place { model, ..Place::from(place) }
    };
    let strategy = S::configure(parameters, places.into_iter().map(place).collect())?;
    state.set(Some(strategy));
    Ok(())
}

/// Answers `assign`.
#[must_use]
pub fn assign<S: Strategy>(
    state: &'static State<S>,
    local: &[Deployment],
    remote: &[Deployment],
) -> Weights {
    with(state, |strategy| strategy.assign(local, remote))
}

/// Answers `assign-request`.
#[must_use]
pub fn assign_request<S: RequestStrategy>(
    state: &'static State<S>,
    request: wit_request::Request,
    local: &[Deployment],
    remote: &[Deployment],
) -> wit_request::Verdict {
    let request = Request::from(request);
    with(state, |strategy| strategy.assign_request(&request, local, remote)).into()
}

/// Takes `outcome`.
pub fn outcome<S: Learning>(state: &'static State<S>, attempts: Vec<wit_learning::Attempt>) {
    let attempts: Vec<Attempt> = attempts.into_iter().map(Attempt::from).collect();
    with(state, |strategy| strategy.outcome(&attempts));
}

fn with<S, T>(state: &'static State<S>, ask: impl FnOnce(&mut S) -> T) -> T {
    state.with_borrow_mut(|strategy| match strategy {
        Some(strategy) => ask(strategy),
        None => panic!("asked before it was configured"),
    })
}

pub(crate) fn log(level: Level, message: &str) {
    let level = match level {
        Level::Debug => logging::Level::Debug,
        Level::Info => logging::Level::Info,
        Level::Warn => logging::Level::Warn,
        Level::Error => logging::Level::Error,
    };
    logging::log(level, message);
}

pub(crate) fn read_signals() -> Vec<f64> {
    signals::read()
}

pub(crate) fn ask(signals: &[String], needs: Needs) -> Result<(), String> {
    let Needs { prompt_tokens, session, prefixes, tenant_name } = needs;
    let all = [
        (prompt_tokens, "prompt-tokens"),
        (session, "session"),
        (prefixes, "prefixes"),
        (tenant_name, "tenant-name"),
    ];
    let facts = all.into_iter().filter(|(needed, _)| *needed).map(|(_, name)| name.to_owned());
    signals::ask(signals, &facts.collect::<Vec<_>>())
}

pub(crate) fn now() -> Moment {
    let clock::Moment { milliseconds, offset } = clock::now();
    Moment { milliseconds, offset }
}

pub(crate) fn draw() -> f64 {
    chance::draw()
}

pub(crate) mod values {
    use super::Refusal;
    use super::imports::hybrid::routing::store;

    pub(crate) use store::{get, remove};

    pub(crate) fn set(key: &str, value: &[u8], ttl: Option<u32>) -> Result<(), Refusal> {
        store::set(key, value, ttl).map_err(Refusal::from)
    }

    pub(crate) fn compare_and_set(
        key: &str,
        old: Option<&[u8]>,
        value: &[u8],
        ttl: Option<u32>,
    ) -> Result<(), Refusal> {
        store::compare_and_set(key, old, value, ttl).map_err(Refusal::from)
    }

    pub(crate) fn add(key: &str, delta: i64) -> Result<i64, Refusal> {
        store::add(key, delta).map_err(Refusal::from)
    }

    impl From<store::Refusal> for Refusal {
        fn from(refusal: store::Refusal) -> Self {
            match refusal {
                store::Refusal::Key => Self::Key,
                store::Refusal::Value => Self::Value,
                store::Refusal::Full => Self::Full,
                store::Refusal::Other => Self::Other,
            }
        }
    }
}

impl From<wit_policy::Place> for Place {
    fn from(place: wit_policy::Place) -> Self {
        use policy::hybrid::routing::types;

        Self {
            name: place.name,
            model: String::new(),
            model_number: place.model,
            side: match place.side {
                types::Side::Local => Side::Local,
                types::Side::Remote => Side::Remote,
            },
            weight: place.weight,
            capacity: place.capacity,
            price: place.price.map(|types::Price { prompt, cached, completion }| Price {
                prompt,
                cached,
                completion,
            }),
            context_length: place.context_length,
            takes: Modalities {
                image: place.takes.contains(types::Modalities::IMAGE),
                audio: place.takes.contains(types::Modalities::AUDIO),
                video: place.takes.contains(types::Modalities::VIDEO),
            },
            tools: place.tools,
            tags: place.tags,
        }
    }
}

impl From<wit_request::Request> for Request {
    fn from(request: wit_request::Request) -> Self {
        use request_policy::hybrid::routing::types::Modalities as Flags;

        Self {
            model: request.model,
            stream: request.stream,
            prompt_tokens: request.prompt_tokens,
            max_output_tokens: request.max_output_tokens,
            session: request.session,
            prefixes: request.prefixes,
            tenant: request.tenant,
            tenant_name: request.tenant_name,
            holds: Modalities {
                image: request.holds.contains(Flags::IMAGE),
                audio: request.holds.contains(Flags::AUDIO),
                video: request.holds.contains(Flags::VIDEO),
            },
            tools: request.tools,
            priority: request.priority,
            objective: request.objective,
            held: request.held,
            headers: request.headers,
        }
    }
}

impl From<Verdict> for wit_request::Verdict {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Route(Plan { weights, tiers, when_full, hedge, reason }) => {
                Self::Route(wit_request::Plan {
                    weights,
                    tiers: tiers
                        .map(|Tiers { local, remote }| wit_request::Tiers { local, remote }),
                    when_full: match when_full {
                        WhenFull::AsConfigured => wit_request::WhenFull::AsConfigured,
                        WhenFull::Next => wit_request::WhenFull::Next,
                        WhenFull::Wait(milliseconds) => wit_request::WhenFull::Wait(milliseconds),
                    },
                    hedge: hedge.map(|Hedge { after, weights, max_cost }| wit_request::Hedge {
                        after,
                        weights,
                        max_cost,
                    }),
                    reason,
                })
            }
            Verdict::Hold(milliseconds) => Self::Hold(milliseconds),
            Verdict::Refuse { retry_after, reason } => {
                Self::Refuse(wit_request::Refusal { retry_after, reason })
            }
        }
    }
}

impl From<wit_learning::Attempt> for Attempt {
    fn from(attempt: wit_learning::Attempt) -> Self {
        Self {
            deployment: attempt.deployment,
            request: attempt.request,
            session: attempt.session,
            tenant: attempt.tenant,
            ending: match attempt.ending {
                wit_learning::Ending::Ok => Ending::Ok,
                wit_learning::Ending::ClientError => Ending::ClientError,
                wit_learning::Ending::Cancelled => Ending::Cancelled,
                wit_learning::Ending::Refused => Ending::Refused,
                wit_learning::Ending::Stalled => Ending::Stalled,
                wit_learning::Ending::Failed => Ending::Failed,
                wit_learning::Ending::TimedOut => Ending::TimedOut,
                wit_learning::Ending::Broken => Ending::Broken,
                wit_learning::Ending::Hedged => Ending::Hedged,
            },
            status: attempt.status,
            queued: attempt.queued,
            first_byte: attempt.first_byte,
            total: attempt.total,
            probability: attempt.probability,
            prompt_tokens: attempt.prompt_tokens,
            cached_tokens: attempt.cached_tokens,
            completion_tokens: attempt.completion_tokens,
            reasoning_tokens: attempt.reasoning_tokens,
            cost: attempt.cost,
        }
    }
}
