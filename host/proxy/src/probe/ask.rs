//! One probe.

use std::time::{Duration, Instant};

use reqwest::header::{self, HeaderValue};

use config::{Origin, ProbeMethod, ProbeTarget};

use crate::descriptors;

/// What is asked, where. Deployments that share it share the answer.
pub(super) type Place = (Origin, ProbeTarget);

/// A probe that is to be sent.
#[derive(Debug, Clone)]
pub(super) struct Probe {
    pub(super) client: reqwest::Client,
    pub(super) timeout: Duration,
    /// Its connection is not kept for the next one.
    pub(super) closes: bool,
}

/// How a probe went.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) sent: Instant,
    /// An error is the reason, for people, and names no address. None: nobody was asked, for want of a file
    /// descriptor, which says nothing of the place.
    pub(super) result: Option<Result<(), String>>,
}

impl Probe {
    /// Asks a place: 200 is healthy.
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
