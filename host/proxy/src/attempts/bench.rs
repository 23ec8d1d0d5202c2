//! Parts of the request path for `benches/`, which measures each part by itself. A part does what
//! the path does, in the same order, without a socket. The internals stay private.

use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hyper::{HeaderMap, StatusCode};

use answers::commit::{Commit, Defect, End, Shape, Verdict};
use answers::usage::UsageScan;
use fleet::admission::Quota;
use fleet::{Outcome, Snapshot};
use http1::Scan;
use routing::{InferenceEndpoint, RoutedRequest, Turns};

use crate::telemetry::Metrics;

use super::choice::{Chosen, choose};
use super::{Desk, Journal, Request};

/// A request for the first model of its snapshot.
#[derive(Debug)]
pub struct Arrived {
    request: Request,
    journal: Box<Journal>,
    metrics: Arc<Metrics>,
}

impl Arrived {
    /// Builds a request with this body. `scan` must be the scan of `body`.
    #[must_use]
    pub fn new(body: Bytes, scan: Scan, snapshot: Arc<Snapshot>, metrics: Arc<Metrics>) -> Self {
        let endpoint = InferenceEndpoint::ChatCompletions;
        let request = Request {
            endpoint,
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            trusted: false,
            headers: HeaderMap::new(),
            hop: "gateway".into(),
            body,
            sides: config::Sides::BOTH,
            _held: Quota::default().on_core().take(0, 0).expect("taking 0 always succeeds"),
            scan,
            snapshot: Rc::new(snapshot),
            model: 0,
        };
        let journal = open(&request, &metrics);
        Self { request, journal, metrics }
    }

    /// Weighs the deployments and draws the first choice.
    pub async fn draw(&mut self) {
        let Self { request, journal, .. } = self;
        let generation = &request.snapshot.generation;
        let (fleet, route) = (&generation.fleet, &request.snapshot.routes[request.model]);
        let (model, terms) = (&fleet.models[request.model], request.terms(journal.started));
        let (scope, body, signals) = (request.scope(), &request.body, None);
        let asked = RoutedRequest { fleet, model, route, body, terms, scope, signals };
        let Chosen::Route { weights, place, signals } = choose(request, asked, journal).await
        else {
            panic!("the request is refused")
        };
        let asked = RoutedRequest { signals: signals.as_ref(), ..asked };
        let turns = Turns::begin(asked, weights, rand::rng(), Instant::now()).with_place(place);
        std::hint::black_box(&turns);
    }

    /// Does the bookkeeping of a request whose only attempt succeeds: the place, the count in
    /// flight, the standing of the deployment, the metrics and the record.
    pub fn attempt(&self) {
        let model = &self.request.snapshot.generation.fleet.models[self.request.model];
        let deployment = &model.deployments[0];
        let mut journal = open(&self.request, &self.metrics);
        let now = Instant::now();
        let slot = deployment.slots.try_enter(now).place().expect("a free place");
        let mut permit = deployment.admit(slot, now).expect("the deployment is admitted");
        journal.trying(&permit, 1.0, None).sending(now);
        permit.begun(now);
        deployment.answered(self.request.endpoint as usize, now);
        journal.answering(StatusCode::OK, now);
        permit.settle(Outcome::Success, now);
        journal.completed();
    }
}

/// Opens a journal without an access log, whose thread would be measured too.
fn open(request: &Request, metrics: &Arc<Metrics>) -> Box<Journal> {
    let metrics = Arc::clone(metrics);
    let desk = Desk { metrics, logging: Arc::default(), stop: Arc::default() };
    let id = "0123456789abcdef0123456789abcdef".into();
    let mut journal = Journal::open(id, request.endpoint.path(), Rc::new(desk));
    let model = &request.snapshot.generation.fleet.models[request.model];
    journal.asked(model, request.scan.stream, request.body.len());
    journal
}

/// A stream on its way: the work done on each chunk between the two sockets.
#[derive(Debug)]
pub struct Streamed {
    commit: Commit,
    usage: UsageScan,
}

impl Default for Streamed {
    fn default() -> Self {
        Self {
            commit: Commit::new(Shape::Stream).without_usage_event(),
            usage: UsageScan::default(),
        }
    }
}

impl Streamed {
    /// Takes the next chunk. Returns the bytes for the client, if there are any.
    #[must_use]
    pub fn feed(&mut self, chunk: Bytes) -> Option<Bytes> {
        match self.commit.feed(chunk) {
            Verdict::Pass(pass) => {
                if self.commit.usage().is_none() && !self.commit.is_repeated() {
                    self.usage.feed(&pass);
                }
                Some(pass)
            }
            Verdict::Hold => None,
            Verdict::Fail { defect, .. } => panic!("a good stream has a defect: {defect:?}"),
        }
    }

    /// Takes the end. True if the stream was whole and reported its usage.
    #[must_use]
    pub fn end(mut self) -> bool {
        let end: Result<Bytes, Defect> = self.commit.end(End::Framed);
        end.is_ok() && self.commit.usage().or(self.usage.found()).is_some()
    }
}
