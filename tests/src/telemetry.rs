//! The access log and the metrics of a gateway.

use serde_json::Value;

use crate::{Gateway, Reply, eventually};

/// Where [`Gateway::records`] looks for the access log: for `logging.output`.
pub const ACCESS_LOG: &str = "access.log";

impl Gateway {
    /// The lines of the access log so far.
    ///
    /// # Panics
    /// If one is no JSON.
    #[must_use]
    pub fn records(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path(ACCESS_LOG)).unwrap_or_default();
        // The last line may still be incomplete.
        let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        lines.map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    /// The access log's line of a request, by the id in its answer; waits for it.
    ///
    /// # Panics
    /// If none comes.
    pub async fn record(&self, id: &str) -> Value {
        assert!(!id.is_empty(), "every answer carries an id");
        let find = || self.records().into_iter().find(|record| record["request_id"] == id);
        eventually("the request's line in the access log", async || find()).await
    }

    /// The attempts of an answered request: deployment and outcome.
    ///
    /// # Panics
    /// If there is no line about it.
    pub async fn attempts(&self, reply: &Reply) -> Vec<(String, String)> {
        outcomes(&self.record(reply.header("x-request-id")).await)
    }

    /// The sum of the samples of a metric that have all these labels; None where there is none.
    ///
    /// # Panics
    /// If there are no metrics.
    pub async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let reply = self.get("/metrics").await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        sum(&reply.text(), name, labels)
    }

    /// Waits until no request is in flight, at any deployment or before one. The gauges follow the end
    /// of a connection a moment later.
    ///
    /// # Panics
    /// If one stays.
    pub async fn is_idle(&self) {
        eventually("nothing is in flight", async || {
            let of_deployments = self.metric("gateway_deployment_in_flight", &[]).await?;
            let requests = self.metric("gateway_requests_in_flight", &[]).await?;
            (of_deployments + requests == 0.0).then_some(())
        })
        .await;
    }
}

/// The attempts in a line of the access log: deployment and outcome.
///
/// # Panics
/// If the line has none.
#[must_use]
pub fn outcomes(record: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let attempts = record["attempts"].as_array().expect("a list").iter();
    attempts.map(|attempt| (text(&attempt["deployment"]), text(&attempt["outcome"]))).collect()
}

fn sum(text: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let value = |line: &str| {
        let (series, value) = line.rsplit_once(' ')?;
        let (found, given) = series.split_once('{').unwrap_or((series, ""));
        let has = |(key, value): &(&str, &str)| given.contains(&format!("{key}=\"{value}\""));
        (found == name && labels.iter().all(has)).then(|| value.parse::<f64>().expect("a number"))
    };
    text.lines().filter_map(value).reduce(|sum, value| sum + value)
}
