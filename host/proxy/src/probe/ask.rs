//! Sends one probe and judges the answer.

use std::time::{Duration, Instant};

use reqwest::Response;
use reqwest::header::{self, HeaderValue};
use serde_json::Value;

use config::{Origin, ProbeMethod, ProbeTarget};

use crate::descriptors;

/// Where a probe goes, and what it asks. Deployments with the same place share its answer.
pub(super) type Place = (Origin, ProbeTarget);

/// A probe that is ready to be sent.
#[derive(Debug, Clone)]
pub(super) struct Probe {
    pub(super) client: reqwest::Client,
    pub(super) timeout: Duration,
    /// Whether its connection is closed instead of kept for the next probe.
    pub(super) closes: bool,
}

/// The result of a probe.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) sent: Instant,
    /// None: the answer says nothing about the place, because it was 429 or 529, or because the
    /// probe was not sent for want of a file descriptor.
    pub(super) result: Option<Result<(), NotReady>>,
}

/// Why a probe was not answered as a healthy place answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotReady {
    /// In words, without an address.
    Down(String),
    /// The place answered, and refused the key that the probe carried, or the lack of one. For
    /// people: `probe answered 401`.
    KeyRefused(String),
}

impl From<&str> for NotReady {
    fn from(reason: &str) -> Self {
        Self::Down(reason.to_owned())
    }
}

/// Most bytes of an answer that are read.
const READ: usize = 4 << 10;
/// Words of engines that run, but do not answer requests yet.
const NOT_READY: [&str; 4] = ["loading", "sleeping", "starting", "initializing"];

impl Probe {
    /// Asks a place.
    pub(super) async fn ask(self, place: &Place) -> Answer {
        let sent = Instant::now();
        let asked = tokio::time::timeout(self.timeout, self.judge(place)).await;
        let late =
            || Some(Err(NotReady::Down(format!("no answer to a probe within {:?}", self.timeout))));
        Answer { sent, result: asked.unwrap_or_else(|_| late()) }
    }

    /// Asks once, and once more where the method or the path turns out to be unknown. None: the
    /// answer says nothing, or the probe was not sent.
    async fn judge(&self, (origin, target): &Place) -> Option<Result<(), NotReady>> {
        use ProbeMethod::{Get, Head};
        let mut method = target.method;
        let mut answer = match self.send(origin, &target.path, method, target).await? {
            Ok(answer) => answer,
            Err(reason) => return Some(Err(reason)),
        };
        let is_missing = |answer: &Response| matches!(answer.status().as_u16(), 404 | 405 | 501);
        if method == Head && matches!(answer.status().as_u16(), 405 | 501) {
            method = Get;
            answer = match self.send(origin, &target.path, Get, target).await? {
                Ok(answer) => answer,
                Err(reason) => return Some(Err(reason)),
            };
        }
        if let Some(path) = target.last_resort.as_ref().filter(|_| is_missing(&answer)) {
            method = Get;
            answer = match self.send(origin, path, Get, target).await? {
                Ok(answer) => answer,
                Err(reason) => return Some(Err(reason)),
            };
        }
        let status = answer.status().as_u16();
        let is_good = match &target.status[..] {
            [] => matches!(status, 200 | 204),
            good => good.contains(&status),
        };
        // Full is not broken. A 503 may mean that the engine loads its model, or that it died.
        if !is_good && matches!(status, 429 | 529) {
            return None;
        }
        if !is_good {
            let reason = format!("probe answered {status}");
            return Some(Err(match status {
                401 | 407 => NotReady::KeyRefused(reason),
                _ => NotReady::Down(reason),
            }));
        }
        if method == Head {
            return Some(Ok(()));
        }
        Some(match beginning(answer).await {
            Ok(body) => judge_body(&body, target.body.as_deref()),
            Err(_) => Err("probe got no whole answer".into()),
        })
    }

    /// Sends one request. None: it was not sent for want of a file descriptor.
    async fn send(
        &self,
        origin: &Origin,
        path: &str,
        method: ProbeMethod,
        target: &ProbeTarget,
    ) -> Option<Result<Response, NotReady>> {
        let method = match method {
            ProbeMethod::Get => reqwest::Method::GET,
            ProbeMethod::Head => reqwest::Method::HEAD,
        };
        let mut request = self.client.request(method, format!("{origin}{path}"));
        if let Some(key) = &target.key {
            request = request.bearer_auth(key.expose());
        }
        if self.closes {
            request = request.header(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Some(match request.send().await {
            Ok(response) => Ok(response),
            Err(error) if error.is_connect() && descriptors::are_exhausted(&error) => return None,
            Err(error) if error.is_connect() => Err("probe could not connect".into()),
            Err(_) => Err("probe got no valid answer".into()),
        })
    }
}

/// The first bytes of a body. Reading all of a short one lets its connection be used again.
async fn beginning(mut answer: Response) -> reqwest::Result<Vec<u8>> {
    let mut body = Vec::new();
    while body.len() < READ {
        let Some(chunk) = answer.chunk().await? else { break };
        body.extend_from_slice(&chunk);
    }
    body.truncate(READ);
    Ok(body)
}

/// Whether a body says that the engine is ready. `wanted`: a text that it must have.
fn judge_body(body: &[u8], wanted: Option<&str>) -> Result<(), NotReady> {
    let text = String::from_utf8_lossy(body);
    if let Some(wanted) = wanted {
        let is_there = text.contains(wanted);
        return if is_there { Ok(()) } else { Err("probe answered another body".into()) };
    }
    let said = match serde_json::from_str::<Value>(&text) {
        Ok(Value::Object(fields)) => {
            if fields.get("is_sleeping").is_some_and(|sleeps| *sleeps == Value::Bool(true)) {
                return Err("probe answered that the engine is sleeping".into());
            }
            let words = ["status", "state"].into_iter().filter_map(|key| fields.get(key)?.as_str());
            words.collect::<Vec<_>>().join(" ")
        }
        Ok(Value::String(word)) => word,
        Ok(_) => String::new(),
        // A page may say anything. A text is short.
        Err(_) if text.trim_start().starts_with('<') || text.len() > 256 => String::new(),
        Err(_) => text.into_owned(),
    };
    let said = said.to_ascii_lowercase();
    match NOT_READY.into_iter().find(|word| said.contains(word)) {
        Some(word) => Err(NotReady::Down(format!("probe answered that the engine is {word}"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_that_load_or_sleep_are_not_ready() {
        for body in [
            r#"{"status":"loading model"}"#,
            r#"{"state": "Sleeping"}"#,
            r#"{"is_sleeping": true}"#,
            "Loading model",
            r#""starting""#,
        ] {
            assert!(judge_body(body.as_bytes(), None).is_err(), "{body}");
        }
        for body in [
            "",
            "OK",
            "Ollama is running",
            r#"{"status":"ok"}"#,
            r#"{"is_sleeping": false}"#,
            r#"{"object":"list","data":[{"id":"sleeping-beauty"}]}"#,
            "<html><script>/* loading */</script></html>",
        ] {
            assert_eq!(judge_body(body.as_bytes(), None), Ok(()), "{body}");
        }
        assert_eq!(judge_body(b"loading: no", Some("no")), Ok(()));
        assert!(judge_body(b"OK", Some("ready")).is_err());
    }
}
