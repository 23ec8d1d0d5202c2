//! The one place that turns an error into an answer: an OpenAI error object with the right status.

use std::borrow::Cow;

use bytes::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use fleet::Fleet;
use http1::{Refusal, ScanError};
use ledger::BadQuery;
use routing::{Exhausted, InferenceEndpoint};

use crate::attempts::{Body, Denied, RequestOutcome};
use crate::telemetry::Metrics;

/// Most characters shown of a text that the client chose.
const SHOWN: usize = 100;
/// Most names suggested to a client that asks for an unknown model.
const NEAREST: usize = 3;

/// Why a request gets no answer from a deployment. The text goes to the client, and never contains
/// an address or a key.
#[derive(Debug)]
pub(super) enum Error {
    /// The input is no valid request, or its body failed on its way.
    Refused(Refusal),
    /// The body cannot be routed.
    Scan(ScanError),
    /// The body is compressed, which hides the model.
    Encoding,
    /// The body is larger than the limit, in bytes.
    TooLarge(usize),
    /// The body did not arrive whole.
    Body,
    /// The header `x-gateway-side` names no side.
    Side,
    /// A trusted proxy names two tenants.
    Tenants,
    /// The query has no meaning.
    Query(BadQuery),
    /// The page is for clients with the admin token. `exists`: there is one.
    NotAdmin { exists: bool },
    /// No model has that name. `nearest`: ids of similar models. `is_all`: there are no others.
    NoSuchModel { model: String, nearest: Vec<String>, is_all: bool },
    /// The path is unknown.
    NoSuchPath(String),
    /// The path does not take this method.
    Method { allowed: String },
    /// This gateway has forwarded the request already: a deployment of this model leads back here.
    Loop(String),
    /// Every attempt failed.
    Exhausted(Exhausted),
    /// A strategy refused the request.
    Denied(Denied),
    /// A limit of the gateway is reached.
    Overloaded(Crowd),
    /// The grace period of the shutdown is over.
    Stopping,
    /// A fault of the gateway.
    Internal,
}

/// The limit that is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Crowd {
    /// Connections of clients.
    Connections,
    /// Requests to deployments.
    Requests,
    /// Bytes of their bodies.
    Bodies,
}

impl Crowd {
    /// The name in metrics and errors.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Requests => "requests",
            Self::Bodies => "bodies",
        }
    }
}

impl Error {
    /// No model of `fleet` has that name.
    pub(super) fn no_such_model(name: &str, fleet: &Fleet) -> Self {
        let nearest: Vec<String> = fleet.nearest(name, NEAREST).map(str::to_owned).collect();
        let is_all = nearest.len() == fleet.models.len();
        Self::NoSuchModel { model: name.chars().take(SHOWN).collect(), nearest, is_all }
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            Error::Refused(refusal) => {
                StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST)
            }
            Error::Scan(_) | Error::Body | Error::Side | Error::Tenants | Error::Query(_) => {
                StatusCode::BAD_REQUEST
            }
            Error::NotAdmin { .. } => StatusCode::UNAUTHORIZED,
            Error::Encoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Error::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Error::NoSuchModel { .. } | Error::NoSuchPath(_) => StatusCode::NOT_FOUND,
            Error::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Error::Loop(_) => StatusCode::LOOP_DETECTED,
            Error::Exhausted(exhausted) => exhausted.status(),
            Error::Denied(_) => StatusCode::TOO_MANY_REQUESTS,
            Error::Overloaded(_) | Error::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            Error::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn message(&self) -> String {
        match self {
            Error::Refused(refusal) => refusal.message.into(),
            Error::Scan(error) => error.to_string(),
            Error::Encoding => {
                "compressed request bodies are not supported: send the body as it is".into()
            }
            Error::TooLarge(limit) => format!("the request body is larger than {limit} bytes"),
            Error::Body => "the request body did not arrive whole".into(),
            Error::Side => "the header `x-gateway-side` is `local` or `remote`".into(),
            Error::Tenants => "the header that names the tenant is given more than once".into(),
            Error::Query(bad) => bad.to_string(),
            Error::NotAdmin { exists: true } => {
                "this is for clients that send the admin token: `Authorization: Bearer TOKEN`"
                    .into()
            }
            Error::NotAdmin { exists: false } => {
                "this is for clients that send the admin token, and the gateway has none: start it \
                 with ADMIN_TOKEN"
                    .into()
            }
            Error::NoSuchModel { model, nearest, is_all } => {
                let nearest = nearest.join(", ");
                let known = match is_all {
                    true => format!("there are: {nearest}"),
                    false => format!("the nearest names are: {nearest}; /v1/models lists all"),
                };
                format!("the model `{model}` does not exist; {known}")
            }
            Error::NoSuchPath(path) => {
                let shown: String = path.chars().take(SHOWN).collect();
                match meant(path) {
                    Some(meant) => format!(
                        "there is nothing at {shown}; this is at {meant}: the base URL of the \
                         client must end in /v1, once, and have no other path"
                    ),
                    None => format!(
                        "there is nothing at {shown}; see /v1/models and /v1/chat/completions"
                    ),
                }
            }
            Error::Method { allowed } => format!("use one of: {allowed}"),
            Error::Loop(model) => {
                format!(
                    "the request came back to this gateway: a deployment of `{model}` leads here"
                )
            }
            Error::Exhausted(exhausted) => exhausted.to_string(),
            Error::Denied(Denied { reason: Some(reason), .. }) => {
                format!("the routing strategy refuses the request: {reason}")
            }
            Error::Denied(_) => "the routing strategy refuses the request for now".into(),
            Error::Overloaded(crowd) => {
                format!("the gateway has too many {} now; send the request again", crowd.as_str())
            }
            Error::Stopping => "the gateway is stopping; send the request again".into(),
            Error::Internal => "the gateway failed; its log says why".into(),
        }
    }

    /// `code` and `param` of the error object.
    pub(super) fn code(&self) -> (Cow<'static, str>, Option<Cow<'static, str>>) {
        if let Error::Exhausted(exhausted) = self
            && let Some(words) = exhausted.words()
            && let Some(code) = words.code.clone()
        {
            return (code.into(), words.param.clone().map(Cow::Owned));
        }
        let (code, param) = self.own_code();
        (code.into(), param.map(Cow::Borrowed))
    }

    /// How a request that gets this error ended.
    pub(super) fn outcome(&self) -> RequestOutcome {
        match self {
            Error::Exhausted(exhausted) if exhausted.is_rejected() => RequestOutcome::Rejected,
            Error::Exhausted(exhausted) if exhausted.shed().is_some() => RequestOutcome::Shed,
            Error::Overloaded(_) | Error::Denied(_) => RequestOutcome::Shed,
            _ => RequestOutcome::Error,
        }
    }

    fn own_code(&self) -> (&'static str, Option<&'static str>) {
        match self {
            Error::Refused(refusal) => (refusal.code, None),
            Error::Scan(ScanError::Json(_)) => ("invalid_json", None),
            Error::Scan(ScanError::NoModel) => ("missing_required_parameter", Some("model")),
            Error::Scan(ScanError::ModelType) => ("invalid_type", Some("model")),
            Error::Scan(ScanError::ModelLong) => ("model_too_long", Some("model")),
            Error::Scan(ScanError::Duplicate(name)) => ("duplicate_parameter", Some(name)),
            Error::Encoding => ("unsupported_encoding", None),
            Error::TooLarge(_) => ("request_too_large", None),
            Error::Body => ("incomplete_body", None),
            Error::Side => ("invalid_side", None),
            Error::Tenants => ("duplicate_tenant", None),
            Error::Query(BadQuery::By) => ("invalid_query", Some("by")),
            Error::Query(BadQuery::Since) => ("invalid_query", Some("since")),
            Error::NotAdmin { .. } => ("admin_token_required", None),
            Error::NoSuchModel { .. } => ("model_not_found", Some("model")),
            Error::NoSuchPath(_) => ("not_found", None),
            Error::Method { .. } => ("method_not_allowed", None),
            Error::Loop(_) => ("loop_detected", None),
            Error::Exhausted(exhausted) => match exhausted.phase() {
                None if exhausted.quota().is_some() => ("quota_exceeded", None),
                None if let Some(refused) = exhausted.short_of() => match refused.by_store {
                    true => ("ledger_unavailable", None),
                    false => ("budget_exceeded", None),
                },
                Some(phase) => (phase.code(), None),
                None if exhausted.status() == StatusCode::LOOP_DETECTED => ("loop_detected", None),
                None if exhausted.status() == StatusCode::TOO_MANY_REQUESTS => {
                    ("rate_limit_exceeded", None)
                }
                None if exhausted.shed().is_some() => ("overloaded", None),
                None if exhausted.lacks_model() => ("model_not_found", Some("model")),
                None if exhausted.is_rejected() => ("request_rejected", None),
                None if exhausted.is_forbidden() => ("no_deployment_allowed", None),
                None => ("no_deployment_answered", None),
            },
            Error::Denied(_) => ("refused_by_strategy", None),
            Error::Overloaded(_) => ("overloaded", None),
            Error::Stopping => ("stopping", None),
            Error::Internal => ("internal_error", None),
        }
    }

    /// Counts it, if there is a metric of its kind.
    pub(super) fn count(&self, metrics: &Metrics) {
        match self {
            Error::Refused(refusal) => metrics.refused(refusal.code),
            Error::Overloaded(crowd) => metrics.shed(crowd.as_str()),
            Error::Denied(_) => metrics.shed("strategy"),
            Error::Exhausted(exhausted) => exhausted.shed().iter().for_each(|of| metrics.shed(of)),
            _ => {}
        }
    }

    /// The error object that the client reads.
    pub(super) fn object(&self) -> Value {
        if let Some(object) = self.engines().and_then(|body| serde_json::from_slice(body).ok()) {
            return object;
        }
        let kind = match self.status().as_u16() {
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            _ => "server_error",
        };
        let (code, param) = self.code();
        let words = match &self {
            Error::Exhausted(exhausted) => exhausted.words(),
            _ => None,
        };
        let kind = words.and_then(|words| words.kind.as_deref()).unwrap_or(kind);
        let error = json!({"message": self.message(), "type": kind, "param": param, "code": code});
        json!({ "error": error })
    }

    /// The engine's own error object, if the client gets it as it is.
    fn engines(&self) -> Option<&Bytes> {
        match self {
            Error::Exhausted(exhausted) => exhausted.body(),
            _ => None,
        }
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let status = self.status();
        let mut response = match self.engines() {
            Some(body) => super::with_type(Body::own(body.clone()), "application/json"),
            None => super::json(&self.object()),
        };
        *response.status_mut() = status;
        let headers = response.headers_mut();
        match &self {
            Error::Method { allowed } => {
                if let Ok(value) = HeaderValue::from_str(allowed) {
                    headers.insert(header::ALLOW, value);
                }
            }
            // Unread input cannot be told from the next request.
            Error::Refused(refusal) => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
                if refusal.status == 405 {
                    headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
                }
            }
            Error::TooLarge(_) | Error::Body => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Error::Exhausted(exhausted) => {
                if let Some(wait) = exhausted.retry_after() {
                    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                    headers.insert(header::RETRY_AFTER, seconds.max(1).into());
                }
                // The OpenAI SDKs retry 5xx, 429, 408 and 409 twice unless they are told not to.
                if !exhausted.retry_may_help() {
                    headers.insert("x-should-retry", HeaderValue::from_static("false"));
                }
            }
            Error::Denied(denied) => {
                headers.insert(header::RETRY_AFTER, denied.retry_after.as_secs().max(1).into());
            }
            Error::Overloaded(crowd) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
                // A connection beyond the limit gets one answer.
                if *crowd == Crowd::Connections {
                    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
            }
            Error::NotAdmin { .. } => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Error::Stopping => {
                // By then another gateway, or this one restarted, can answer.
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

/// The path that the client meant. Its base URL lacks `/v1`, or has too much before or after it.
fn meant(path: &str) -> Option<&'static str> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let known = InferenceEndpoint::ALL.map(InferenceEndpoint::path);
    let mut known = known.into_iter().chain(["/v1/models"]);
    known.find(|known| {
        let relative = known.strip_prefix("/v1").unwrap_or(known);
        // `/completions` is the end of `/chat/completions`, which is before it in the list.
        path.ends_with(relative)
    })
}

impl From<ScanError> for Error {
    fn from(error: ScanError) -> Self {
        Error::Scan(error)
    }
}
