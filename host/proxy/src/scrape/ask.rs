//! Sends one scrape, and reads the wanted series out of the answer.

use std::time::Duration;

use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, HeaderValue};

use answers::exposition::{Exposition, Found, Selector};
use config::{Origin, Secret};

/// Where an engine tells its load: an origin and a path. One scrape is for all deployments there.
pub(super) type Place = (Origin, String);

/// Most bytes of an answer that are read.
pub(super) const READ: usize = 4 << 20;
/// The text format without the extensions of OpenMetrics.
const TEXT: HeaderValue = HeaderValue::from_static("text/plain;version=0.0.4");

/// Why a scrape gave no series. Its text has no address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotRead {
    /// There is no such page. It is asked for less often.
    Missing(u16),
    /// Everything else.
    Failed(String),
}

impl From<&str> for NotRead {
    fn from(reason: &str) -> Self {
        Self::Failed(reason.to_owned())
    }
}

impl NotRead {
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Missing(status) => format!("the engine answered {status}: it has no such page"),
            Self::Failed(reason) => reason.clone(),
        }
    }
}

/// Asks a place once, for at most `timeout`. Returns what the selectors found.
pub(super) async fn ask(
    client: &reqwest::Client,
    (origin, path): &Place,
    key: Option<&Secret>,
    timeout: Duration,
    selectors: Vec<Selector<'_>>,
) -> Result<Vec<Found>, NotRead> {
    let request = client.get(format!("{origin}{path}")).header(ACCEPT, TEXT);
    // Without this header an engine could choose any encoding (RFC 9110, 12.5.3).
    let mut request = request.header(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if let Some(key) = key {
        request = request.bearer_auth(key.expose());
    }
    let asked = tokio::time::timeout(timeout, read(request, selectors)).await;
    asked.unwrap_or_else(|_| Err(NotRead::Failed(format!("no whole answer within {timeout:?}"))))
}

async fn read(
    request: reqwest::RequestBuilder,
    selectors: Vec<Selector<'_>>,
) -> Result<Vec<Found>, NotRead> {
    let mut answer = request.send().await.map_err(|error| match error.is_connect() {
        true => NotRead::from("could not connect"),
        false => NotRead::from("no valid answer"),
    })?;
    match answer.status().as_u16() {
        200 => {}
        status @ (404 | 405 | 501) => return Err(NotRead::Missing(status)),
        status => return Err(NotRead::Failed(format!("the engine answered {status}"))),
    }
    // The request accepts none.
    if answer.headers().get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return Err("the answer is compressed".into());
    }
    let (mut exposition, mut left) = (Exposition::new(selectors), READ);
    while let Some(chunk) = answer.chunk().await.map_err(|_| NotRead::from("no whole answer"))? {
        let chunk = &chunk[..chunk.len().min(left)];
        exposition.feed(chunk);
        left -= chunk.len();
        if left == 0 {
            return Ok(exposition.end(true));
        }
    }
    Ok(exposition.end(false))
}
