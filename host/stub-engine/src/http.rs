//! Requests to the engine: finds the path, checks the key, and turns answers and errors into HTTP.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use super::body::AnswerBody;
use super::endpoint::{self, InferenceCall, InferencePath, Reply};
use super::engine::{CallGuard, Engine, EngineChange, Settings};
use super::metrics;

/// The largest request body that is read, in bytes.
const BODY_LIMIT: usize = 64 << 20;

/// An error, as the client is told it.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    kind: &'static str,
    param: Option<&'static str>,
    code: Option<&'static str>,
    message: String,
}

impl Problem {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, param: None, code: None, message: message.into() }
    }

    /// The error for an invalid request. `param` is the field at fault.
    pub(super) fn bad(param: Option<&'static str>, message: impl Into<String>) -> Self {
        let problem = Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message);
        Self { param, ..problem }
    }

    fn missing(path: &str) -> Self {
        let message = format!("there is no {path} here");
        Self::new(StatusCode::NOT_FOUND, "invalid_request_error", message)
    }

    fn down() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", "this engine is down")
    }

    fn full(status: StatusCode) -> Self {
        Self::new(status, "server_error", "this engine is full")
    }

    /// The response, with a `Retry-After` of these seconds.
    fn into_response_after(self, seconds: Option<u64>) -> Response<AnswerBody> {
        let mut response = self.into_response();
        if let Some(seconds) = seconds {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }

    fn into_response(self) -> Response<AnswerBody> {
        let body = json!({"error": {
            "message": self.message, "type": self.kind, "param": self.param, "code": self.code,
        }});
        json_response(self.status, &body)
    }
}

/// Answers any request.
pub(super) async fn answer(
    engine: &Arc<Engine>,
    request: Request<Incoming>,
) -> Response<AnswerBody> {
    let path = request.uri().path();
    let mut response = if let Some(endpoint) = InferencePath::at(path) {
        match *request.method() {
            Method::POST => inference(engine, endpoint, request).await,
            _ => not_allowed("POST"),
        }
    } else {
        match (path, request.method()) {
            ("/health", &Method::GET) => health(engine),
            ("/v1/models", &Method::GET) => {
                models(engine, &request).unwrap_or_else(Problem::into_response)
            }
            ("/stub", &Method::GET) => json_response(StatusCode::OK, &engine.status()),
            ("/stub", &Method::POST) => {
                control(engine, request).await.unwrap_or_else(Problem::into_response)
            }
            ("/metrics", &Method::GET) => {
                tell(engine, &request).await.unwrap_or_else(Problem::into_response)
            }
            ("/health" | "/metrics" | "/v1/models", _) => not_allowed("GET"),
            ("/stub", _) => not_allowed("GET, POST"),
            _ => Problem::missing(path).into_response(),
        }
    };
    response.headers_mut().insert("x-stub-engine", engine.label.clone());
    response
}

/// Counts an inference call in, answers it, and leaves its guard in the body.
async fn inference(
    engine: &Arc<Engine>,
    endpoint: InferencePath,
    request: Request<Incoming>,
) -> Response<AnswerBody> {
    let (number, mut in_flight) = engine.begin();
    let response = generate(engine, endpoint, (number, &mut in_flight), request).await;
    let response = response.unwrap_or_else(Problem::into_response);
    response.map(|body| body.counted(in_flight))
}

async fn generate(
    engine: &Arc<Engine>,
    endpoint: InferencePath,
    (number, in_flight): (u64, &mut CallGuard),
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Problem> {
    let settings = engine.settings();
    admit(engine, &settings, &request)?;
    let load_format = request.headers().get("endpoint-load-metrics-format").cloned();
    let body = read(request).await?;
    let body: Value = serde_json::from_slice(&body)
        .map_err(|error| Problem::bad(None, format!("the body is not JSON: {error}")))?;
    let prompt = match settings.reads() {
        true => endpoint::prompt(endpoint, &body),
        false => Default::default(),
    };
    let (cached, prefill) = engine.look_up(&settings, &prompt);
    let call = InferenceCall::new(&engine.name, number, now(), body)?.with_cached(cached);
    let reply = endpoint::reply(endpoint, &call)?;
    if let Err(wait) = engine.spend(&settings) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds")]
        let seconds = wait.ceil() as u64;
        let problem = Problem::full(StatusCode::TOO_MANY_REQUESTS);
        return Ok(problem.into_response_after(settings.retry_after.or(Some(seconds))));
    }
    let Some(place) = engine.work(&settings, prefill).await else {
        let status = StatusCode::from_u16(settings.refusal);
        let problem = Problem::full(status.unwrap_or(StatusCode::SERVICE_UNAVAILABLE));
        return Ok(problem.into_response_after(settings.retry_after));
    };
    in_flight.hold(place);
    engine.keep(&settings, &prompt);
    if engine.fails(&settings) {
        let message = "this engine was told to fail";
        return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", message));
    }
    match reply {
        Reply::Whole { tokens, body } => {
            tokio::time::sleep(settings.pace(tokens)).await;
            let mut response = json_response(StatusCode::OK, &body);
            let format = load_format.as_ref().and_then(|format| format.to_str().ok());
            if let Some(load) = format.and_then(|format| metrics::header(engine, &settings, format))
            {
                response.headers_mut().insert("endpoint-load-metrics", load);
            }
            Ok(response)
        }
        Reply::Stream(chunks) => Ok(event_stream(AnswerBody::paced(chunks, Arc::clone(&settings)))),
    }
}

/// Refuses a `/v1` call while the engine is down, or without its key.
fn admit(engine: &Engine, settings: &Settings, request: &Request<Incoming>) -> Result<(), Problem> {
    if !settings.healthy {
        return Err(Problem::down());
    }
    let Some(key) = &engine.api_key else { return Ok(()) };
    let given = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    if given.and_then(|value| value.strip_prefix("Bearer ")) == Some(key) {
        return Ok(());
    }
    let message = "this engine wants its key as a bearer token";
    let problem = Problem::new(StatusCode::UNAUTHORIZED, "invalid_request_error", message);
    Err(Problem { code: Some("invalid_api_key"), ..problem })
}

fn health(engine: &Engine) -> Response<AnswerBody> {
    if engine.settings().healthy {
        json_response(StatusCode::OK, &json!({"status": "ok"}))
    } else {
        Problem::down().into_response()
    }
}

fn models(engine: &Engine, request: &Request<Incoming>) -> Result<Response<AnswerBody>, Problem> {
    admit(engine, &engine.settings(), request)?;
    let created = now();
    let model =
        |id| json!({"id": id, "object": "model", "created": created, "owned_by": engine.name});
    let data: Vec<Value> = engine.models.iter().map(model).collect();
    Ok(json_response(StatusCode::OK, &json!({"object": "list", "data": data})))
}

/// Tells the load, in the format of Prometheus.
async fn tell(
    engine: &Engine,
    request: &Request<Incoming>,
) -> Result<Response<AnswerBody>, Problem> {
    let settings = engine.settings();
    admit(engine, &settings, request)?;
    let text = metrics::text(engine, &settings).await;
    let text = text.ok_or_else(|| Problem::missing("/metrics"))?;
    Ok(response(
        StatusCode::OK,
        "text/plain; version=0.0.4; charset=utf-8",
        AnswerBody::whole(text),
    ))
}

async fn control(
    engine: &Engine,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Problem> {
    let body = read(request).await?;
    let change: EngineChange = serde_json::from_slice(&body)
        .map_err(|error| Problem::bad(None, format!("not a change of settings: {error}")))?;
    engine.change(&change).map_err(|message| Problem::bad(None, message))?;
    Ok(json_response(StatusCode::OK, &engine.status()))
}

async fn read(request: Request<Incoming>) -> Result<Bytes, Problem> {
    let body = Limited::new(request.into_body(), BODY_LIMIT).collect().await;
    body.map(http_body_util::Collected::to_bytes).map_err(|error| {
        if error.is::<LengthLimitError>() {
            let message = format!("the body is over {BODY_LIMIT} bytes");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request_error", message)
        } else {
            Problem::bad(None, "the body ended early")
        }
    })
}

fn not_allowed(methods: &'static str) -> Response<AnswerBody> {
    let message = format!("this path takes {methods}");
    let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "invalid_request_error", message);
    let mut response = problem.into_response();
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}

fn json_response(status: StatusCode, body: &impl serde::Serialize) -> Response<AnswerBody> {
    match serde_json::to_vec(body) {
        Ok(data) => response(status, "application/json", AnswerBody::whole(data)),
        // Cannot happen: only a map whose keys are not strings fails.
        Err(error) => response(
            StatusCode::INTERNAL_SERVER_ERROR,
            "text/plain",
            AnswerBody::whole(error.to_string()),
        ),
    }
}

fn event_stream(body: AnswerBody) -> Response<AnswerBody> {
    let mut response = response(StatusCode::OK, "text/event-stream", body);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

fn response(
    status: StatusCode,
    content_type: &'static str,
    body: AnswerBody,
) -> Response<AnswerBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Seconds since 1970, as the OpenAI API gives times.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
