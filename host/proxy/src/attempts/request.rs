//! A request whose model is known.

use std::cell::LazyCell;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hyper::HeaderMap;

use config::Sides;
use fleet::admission::CoreHold;
use fleet::{Demand, FleetModel, Held, Scope};
use http1::Scan;
use ledger::Purse;
use routing::{InferenceEndpoint, Stakes, Terms, facts};

/// A request ready to be attempted.
#[derive(Debug)]
pub(crate) struct Request {
    pub endpoint: InferenceEndpoint,
    /// Peer address of the connection; an IPv4-mapped address as IPv4.
    pub client: IpAddr,
    /// The client's headers, without forwarding headers unless the peer is a trusted proxy.
    pub headers: HeaderMap,
    /// The name of this gateway among the hops of the request.
    pub hop: Arc<str>,
    /// The whole body.
    pub body: Bytes,
    /// Whether a trusted proxy sent it, whose word on the tenant counts for money.
    pub trusted: bool,
    /// The sides that the client allows.
    pub sides: Sides,
    /// The share of `limits.bodies_mib` that the body takes. Freed together with the body.
    pub(crate) _held: CoreHold,
    /// What routing reads in the body: the model and `stream`.
    pub scan: Scan,
    /// The snapshot that routes this request from start to end.
    pub snapshot: Held,
    /// Index of its model in the snapshot.
    pub model: usize,
}

impl Request {
    /// The deployments that the request may go to. Leaves out, before any strategy is asked, those
    /// on a side that the model or the client forbids, and those that do not meet the request's
    /// demand. Quotas that are used up at the moment leave out more.
    #[must_use]
    pub(crate) fn scope(&self) -> Scope {
        let model = &self.snapshot.generation.fleet.models[self.model];
        let scope = self.lasting_scope(model);
        match routing::quota_needs(model, self.endpoint, &self.body, &self.scan.fields) {
            Some(needs) => scope.needing(needs),
            None => scope,
        }
    }

    /// The part of the scope that no time changes.
    fn lasting_scope(&self, model: &FleetModel) -> Scope {
        let sides = model.config.sides.and(self.sides);
        if sides == Sides::BOTH && !model.is_varied {
            return Scope::ALL;
        }
        let demand = match model.is_varied {
            true => routing::demand(model, &self.body, &self.scan.fields),
            false => Demand::default(),
        };
        Scope::of(sides, demand, model.deployments.iter().map(|d| &d.config))
    }

    /// The tenant of the request, as far as it counts for money: if there are budgets, and a trusted
    /// proxy names it.
    #[must_use]
    pub(crate) fn payer(&self) -> Option<&str> {
        let generation = &self.snapshot.generation;
        let counts = self.trusted && generation.books.is_some();
        counts.then(|| facts::tenant_name(&self.headers, &generation.config.request)).flatten()
    }

    /// What the request may spend. None: no budget counts for it.
    #[must_use]
    pub(crate) fn purse(&self) -> Option<Purse> {
        let generation = &self.snapshot.generation;
        let books = generation.books.as_ref()?;
        let model = &generation.fleet.models[self.model];
        let stakes =
            LazyCell::new(|| Stakes::of(model, self.endpoint, &self.body, &self.scan.fields));
        books.purse(self.model, self.payer(), |deployment| stakes.at(deployment))
    }

    /// The routing terms of this request, which arrived at `started`.
    #[must_use]
    pub(crate) fn terms(&self, started: Instant) -> Terms {
        let generation = &self.snapshot.generation;
        Terms {
            fallback: generation.config.fallback,
            hedging: generation.config.hedging,
            endpoint: self.endpoint,
            panic: self.snapshot.routes[self.model].eligible.panic,
            started,
            total: generation.fleet.models[self.model].config.total.0,
        }
    }
}
