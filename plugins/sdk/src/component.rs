//! The WebAssembly side of [`export!`](crate::export). Not for authors.
//!
//! Each interface is a world of its own here, so that a strategy exports only the interfaces it
//! has. The tool that makes the component merges them into one of the four worlds of the contract.

use std::cell::RefCell;
use std::thread::LocalKey;

use crate::{Attempt, Deployment, Ending, Learning, Needs, Request, RequestStrategy, Strategy};
use crate::{Place, Price, Side, Weights, parameters};
use crate::{log::Level, store::Refusal};

use imports::hybrid::routing::logging;
use learning::exports::hybrid::routing::learning as wit_learning;
use policy::exports::hybrid::routing::policy as wit_policy;
use request_policy::exports::hybrid::routing::request_policy as wit_request;

mod imports {
    #![allow(unsafe_code, missing_docs, unreachable_pub, unused_qualifications)]

    wit_bindgen::generate!({
        path: "../../wit/0.2.0",
        inline: "
            package gateway:imports;
            world gateway-strategy-imports {
                import hybrid:routing/logging@0.2.0;
                import hybrid:routing/store@0.2.0;
            }
        ",
        world: "gateway:imports/gateway-strategy-imports",
        generate_all,
    });
}

pub mod policy {
    #![allow(unsafe_code, missing_docs, unreachable_pub, unused_qualifications)]

    wit_bindgen::generate!({
        path: "../../wit/0.2.0",
        inline: "
            package gateway:policy;
            world gateway-strategy-policy {
                export hybrid:routing/policy@0.2.0;
            }
        ",
        world: "gateway:policy/gateway-strategy-policy",
        generate_all,
        with: {
            "hybrid:routing/types@0.2.0/deployment": crate::Deployment,
            "hybrid:routing/types@0.2.0/weights": crate::Weights,
        },
        pub_export_macro: true,
    });
}

pub mod request_policy {
    #![allow(unsafe_code, missing_docs, unreachable_pub, unused_qualifications)]

    wit_bindgen::generate!({
        path: "../../wit/0.2.0",
        inline: "
            package gateway:request-policy;
            world gateway-strategy-request-policy {
                export hybrid:routing/request-policy@0.2.0;
            }
        ",
        world: "gateway:request-policy/gateway-strategy-request-policy",
        generate_all,
        with: {
            "hybrid:routing/types@0.2.0/deployment": crate::Deployment,
            "hybrid:routing/types@0.2.0/weights": crate::Weights,
        },
        pub_export_macro: true,
    });
}

pub mod learning {
    #![allow(unsafe_code, missing_docs, unreachable_pub, unused_qualifications)]

    wit_bindgen::generate!({
        path: "../../wit/0.2.0",
        inline: "
            package gateway:learning;
            world gateway-strategy-learning {
                export hybrid:routing/learning@0.2.0;
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
    let Needs { prompt_tokens, session, prefixes } = S::NEEDS;
    let mut needs = wit_policy::Facts::empty();
    needs.set(wit_policy::Facts::PROMPT_TOKENS, prompt_tokens);
    needs.set(wit_policy::Facts::SESSION, session);
    needs.set(wit_policy::Facts::PREFIXES, prefixes);
    wit_policy::Description {
        name: name.to_owned(),
        version: version.to_owned(),
        summary: S::SUMMARY.to_owned(),
        parameters,
        refresh_interval: S::REFRESH.map(|time| time.as_millis().try_into().unwrap_or(u32::MAX)),
        needs,
    }
}

/// Answers `configure`.
///
/// # Errors
/// The parameters are wrong. The text says how, for the operator.
pub fn configure<S: Strategy>(
    state: &'static State<S>,
    parameters: &str,
    places: Vec<wit_policy::Place>,
) -> Result<(), String> {
    let parameters = parameters::parse(parameters)?;
    let strategy = S::configure(parameters, places.into_iter().map(Place::from).collect())?;
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
) -> Weights {
    let request = Request::from(request);
    with(state, |strategy| strategy.assign_request(&request, local, remote))
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

pub(crate) mod values {
    use super::Refusal;
    use super::imports::hybrid::routing::store;

    pub(crate) use store::{get, remove};

    pub(crate) fn set(key: &str, value: &[u8], ttl: Option<u32>) -> Result<(), Refusal> {
        store::set(key, value, ttl).map_err(|refusal| match refusal {
            store::Refusal::Key => Refusal::Key,
            store::Refusal::Value => Refusal::Value,
            store::Refusal::Full => Refusal::Full,
        })
    }
}

impl From<wit_policy::Place> for Place {
    fn from(place: wit_policy::Place) -> Self {
        use policy::hybrid::routing::types;

        Self {
            name: place.name,
            model: place.model,
            side: match place.side {
                types::Side::Local => Side::Local,
                types::Side::Remote => Side::Remote,
            },
            weight: place.weight,
            capacity: place.capacity,
            price: place
                .price
                .map(|types::Price { prompt, completion }| Price { prompt, completion }),
            context_length: place.context_length,
        }
    }
}

impl From<wit_request::Request> for Request {
    fn from(request: wit_request::Request) -> Self {
        Self {
            model: request.model,
            stream: request.stream,
            prompt_tokens: request.prompt_tokens,
            max_output_tokens: request.max_output_tokens,
            session: request.session,
            prefixes: request.prefixes,
            tenant: request.tenant,
            headers: request.headers,
        }
    }
}

impl From<wit_learning::Attempt> for Attempt {
    fn from(attempt: wit_learning::Attempt) -> Self {
        Self {
            deployment: attempt.deployment,
            ending: match attempt.ending {
                wit_learning::Ending::Ok => Ending::Ok,
                wit_learning::Ending::ClientError => Ending::ClientError,
                wit_learning::Ending::Cancelled => Ending::Cancelled,
                wit_learning::Ending::Limited => Ending::Limited,
                wit_learning::Ending::Failed => Ending::Failed,
                wit_learning::Ending::TimedOut => Ending::TimedOut,
                wit_learning::Ending::Broken => Ending::Broken,
            },
            status: attempt.status,
            first_byte: attempt.first_byte,
            total: attempt.total,
            prompt_tokens: attempt.prompt_tokens,
            completion_tokens: attempt.completion_tokens,
            cost: attempt.cost,
        }
    }
}
