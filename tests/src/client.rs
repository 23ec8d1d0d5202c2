//! The client: one request, one whole answer.

use std::sync::Arc;

use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::DEADLINE;

/// A new HTTP client with a pool of its own. It trusts no certificate, because the gateway speaks
/// plain HTTP.
///
/// # Panics
/// If the TLS library has no protocol version.
#[must_use]
pub fn client() -> reqwest::Client {
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider's own versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let builder = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy();
    let builder = builder.redirect(reqwest::redirect::Policy::none()).timeout(DEADLINE);
    builder.build().expect("a client")
}

/// The body of a chat request for `model`.
#[must_use]
pub(crate) fn chat(model: &str, stream: bool) -> Value {
    json!({
        "model": model,
        "messages": [{"role": "user", "content": "hello there"}],
        "stream": stream,
    })
}

/// An answer that came whole.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

impl Reply {
    /// Reads an answer to its end.
    ///
    /// # Errors
    /// If it breaks off.
    pub async fn read(answer: reqwest::Response) -> reqwest::Result<Self> {
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Ok(Self { status, headers, body: answer.bytes().await?.to_vec() })
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    /// A header's value; empty where there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The name of the stub engine that answered; empty where none did.
    #[must_use]
    pub fn engine(&self) -> &str {
        self.header("x-stub-engine")
    }

    /// The `error` object of an OpenAI error.
    ///
    /// # Panics
    /// If the answer is none, whole with message, type, param and code.
    #[must_use]
    pub fn error(&self) -> Value {
        let error = self.json()["error"].clone();
        assert!(error["message"].is_string() && error["type"].is_string(), "{}", self.text());
        assert!(error.get("param").is_some() && error.get("code").is_some(), "{}", self.text());
        assert_eq!(self.header("content-type"), "application/json");
        error
    }
}
