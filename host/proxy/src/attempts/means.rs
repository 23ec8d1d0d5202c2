//! What budgets leave to a request before its deployments are drawn.

use std::time::Duration;

use fleet::Scope;
use ledger::{Purse, Refused};
use routing::Exhausted;

use super::request::Request;

/// What a request may spend, and where it may go.
pub(super) struct Means {
    /// None: no budget counts for it.
    pub(super) purse: Option<Purse>,
    /// Leaves out deployments whose budgets have too little left.
    pub(super) scope: Scope,
    /// The first budget that has too little left.
    pub(super) short: Option<Refused>,
    /// How long it waits for deployments that these budgets do not cover.
    pub(super) holds: Duration,
}

impl Means {
    /// Looks into the budgets of a request.
    ///
    /// # Errors
    /// If one has too little left, and refuses such requests.
    pub(super) fn of(request: &Request) -> Result<Self, Exhausted> {
        let scope = request.scope();
        let Some(purse) = request.purse() else {
            return Ok(Self { purse: None, scope, short: None, holds: Duration::ZERO });
        };
        let (bits, short) = purse.short();
        match short {
            Some(short) if purse.refuses(bits) => Err(Exhausted::short(short)),
            short => Ok(Self {
                scope: scope.without(bits),
                holds: purse.holds(bits).unwrap_or_default(),
                short,
                purse: Some(purse),
            }),
        }
    }
}
