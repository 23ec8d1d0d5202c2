//! Sends one probe and judges the answer.

use std::time::{Duration, Instant};

use reqwest::header::{self, HeaderValue};

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
    /// An error is the reason in words, without an address. None: the probe was not sent for want
    /// of a file descriptor, which says nothing about the place.
    pub(super) result: Option<Result<(), String>>,
}

impl Probe {
    /// Asks a place. Only status 200 means healthy.
    pub(super) async fn ask(self, place: &Place) -> Answer {
        let sent = Instant::now();
        Answer { sent, result: self.send(place).await }
    }

    async fn send(self, (origin, target): &Place) -> Option<Result<(), String>> {
        let Self { client, timeout, closes } = self;
        let method = match target.method {
            ProbeMethod::Get => reqwest::Method::GET,
            ProbeMethod::Head => reqwest::Method::HEAD,
        };
        let mut request =
            client.request(method, format!("{origin}{}", target.path)).timeout(timeout);
        if closes {
            request = request.header(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Some(match request.send().await {
            Ok(response) if response.status() == reqwest::StatusCode::OK => Ok(()),
            Ok(response) => Err(format!("probe answered {}", response.status().as_u16())),
            Err(error) if error.is_connect() && descriptors::are_exhausted(&error) => return None,
            Err(error) if error.is_timeout() => {
                Err(format!("no answer to a probe within {timeout:?}"))
            }
            Err(error) if error.is_connect() => Err("probe could not connect".to_owned()),
            Err(_) => Err("probe got no valid answer".to_owned()),
        })
    }
}
