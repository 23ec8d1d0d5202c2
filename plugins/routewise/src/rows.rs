//! The deployments of a call: what the request costs at each of them, and what is known of it.

use gateway_strategy::{
    Deployment, Place, Price, Request, Side, Signals, Strategy as _, Weights, clock, hash, squash,
};

use crate::choice::{self, Candidate, Decision};
use crate::hedge::{self, Backup, Second};
use crate::leases::Leases;
use crate::profile::View;
use crate::{FALLBACK, RouteWise, cost, lp};

/// The columns of signals.
const CACHED: usize = 0;
const QUOTA: usize = 1;
/// Tokens of a prompt whose length is not known.
const PROMPT: f64 = 1_000.0;
/// The most deployments that are considered for a second attempt, the first of the call.
const BACKUPS: usize = 64;

/// What stays the same about a deployment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tier {
    /// The hash of its model and its name.
    pub(crate) key: u64,
    /// The hash of its model.
    pub(crate) model: u64,
    /// The price of a token, if it is paid by the token.
    price: Option<Price>,
    /// Whether it costs nothing more.
    is_paid: bool,
}

impl Tier {
    /// The tier of a deployment. One that is remote and has no price may cost anything.
    #[must_use]
    pub(crate) fn of(place: &Place) -> Self {
        let model = hash::text(&place.model);
        let is_free = |price: &Price| price.prompt <= 0.0 && price.completion <= 0.0;
        let price = place.price.filter(|price| !is_free(price));
        let is_paid = price.is_none() && (place.price.is_some() || place.side == Side::Local);
        Self { key: hash::mix(model, hash::text(&place.name)), model, price, is_paid }
    }

    /// Dollars of a request, if the deployment is paid by the token.
    #[must_use]
    pub(crate) fn on_demand(&self, prompt: f64, cached: f64, output: f64) -> Option<f64> {
        let cost = cost::on_demand(self.price?, prompt, cached, output);
        cost.is_finite().then_some(cost)
    }
}

/// A deployment of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// The index of its place.
    pub(crate) place: usize,
    /// Expected dollars of the request. None: its quota is exhausted, or its price is not known.
    pub(crate) cost: Option<f64>,
    /// Whether a place is free.
    has_room: bool,
    /// Whether it is out after failures.
    is_out: bool,
    /// Whether nothing was measured lately.
    pub(crate) is_unmeasured: bool,
    /// Expected milliseconds to the first byte.
    pub(crate) latency: Option<f64>,
}

impl RouteWise {
    /// The deployments of the call, local ones first.
    pub(crate) fn rows(
        &mut self,
        request: &Request,
        local: &[Deployment],
        remote: &[Deployment],
    ) -> Vec<Row> {
        let now = clock::now().milliseconds;
        self.known.refresh();
        self.usage.refresh();
        let signals = Signals::read(Self::SIGNALS.len());
        let all = || local.iter().chain(remote).enumerate();
        let first = local.first().or(remote.first());
        let model = first.map_or(0, |one| self.tiers[one.place()].model);
        let usage = self.usage.current(model).map(|usage| &*usage);
        let prompt = request.prompt_tokens.map_or(PROMPT, f64::from);
        let limit = request.max_output_tokens.map_or(f64::INFINITY, f64::from);
        let lengths = usage.map(|usage| usage.lengths).unwrap_or_default();
        let output = lengths.expect(request.prompt_tokens).min(limit);
        let on_demand = |row: usize, one: &Deployment| {
            let cached = signals.of(row, CACHED).max(0.0);
            self.tiers[one.place()].on_demand(prompt, cached, output)
        };
        let quota = |row: usize, one: &Deployment| {
            let used = signals.of(row, QUOTA);
            (self.tiers[one.place()].price.is_none() && used.is_finite()).then_some(used)
        };
        let has_quota = all().any(|(row, one)| quota(row, one).is_some());
        let range = usage.and_then(crate::Usage::range).or_else(|| {
            // Before anything is known, this request stands for all.
            let costs = all().filter_map(|(row, one)| on_demand(row, one));
            costs.filter(|_| has_quota).reduce(f64::min).map(|cost| [cost; 2])
        });
        let cost = |row: usize, one: &Deployment| match quota(row, one) {
            Some(used) => {
                (used < 1.0).then(|| range.map_or(0.0, |range| cost::prepaid(used, range)))
            }
            None if self.tiers[one.place()].is_paid => Some(0.0),
            None => on_demand(row, one),
        };
        let costs: Vec<Option<f64>> = all().map(|(row, one)| cost(row, one)).collect();
        self.has_quota |= has_quota;
        all().zip(costs).map(|((_, one), cost)| self.row(one, cost, now)).collect()
    }

    fn row(&mut self, one: &Deployment, cost: Option<f64>, now: u64) -> Row {
        let place = one.place();
        let known = self.known.current(self.tiers[place].key);
        let known = known.map(|known| {
            known.look(now);
            &*known
        });
        let view = known.and_then(|known| known.view());
        Row {
            place,
            cost,
            has_room: one.in_flight.saturating_add(one.queued) < one.limit,
            is_out: known.is_some_and(|known| known.profile().is_out(now)),
            is_unmeasured: view.is_none_or(View::is_unmeasured),
            latency: view.and_then(View::mean),
        }
    }

    /// The rows that may get the request: those with room that are not out and not being measured. If
    /// there is none, first the last two conditions are dropped, then the first, and then all.
    fn candidates(&self, rows: &[Row], leases: Option<&Leases>) -> Vec<usize> {
        let of = |is: &dyn Fn(&Row) -> bool| -> Vec<usize> {
            (0..rows.len()).filter(|row| is(&rows[*row])).collect()
        };
        let is_held = |row: &Row| {
            let key = self.tiers[row.place].key;
            row.is_unmeasured && leases.is_some_and(|leases| leases.holds(key))
        };
        let best = |row: &Row| row.cost.is_some() && row.has_room && !row.is_out && !is_held(row);
        let wishes: [&dyn Fn(&Row) -> bool; 4] = [
            &best,
            &|row: &Row| row.cost.is_some() && row.has_room,
            &|row: &Row| row.cost.is_some(),
            &|_: &Row| true,
        ];
        wishes.into_iter().map(of).find(|found| !found.is_empty()).unwrap_or_default()
    }

    /// The choice among the candidates, as rows. Explores if there are leases.
    pub(crate) fn decide(&self, rows: &[Row], leases: Option<&Leases>) -> Option<Decision> {
        let candidate = |row: usize| {
            let Row { place, cost, latency, is_unmeasured, .. } = rows[row];
            let name = self.places[place].name.as_str();
            let is_unmeasured =
                is_unmeasured && leases.is_some_and(|leases| !leases.holds(self.tiers[place].key));
            Candidate { row, name, cost: cost.unwrap_or(0.0), latency, is_unmeasured }
        };
        let candidates: Vec<Candidate<'_>> =
            self.candidates(rows, leases).into_iter().map(candidate).collect();
        let decision = choice::decide(&candidates, self.alpha, leases.is_some())?;
        let mix = decision.mix.map(|(at, weight)| (candidates[at].row, weight));
        let explored = decision.explored.map(|at| candidates[at].row);
        Some(Decision { mix, explored, ..decision })
    }

    /// The second attempt of a request whose first is at this row.
    pub(crate) fn second(&self, rows: &[Row], first: usize, objective: f64) -> Option<Second> {
        let view = |row: &Row| self.known.get(self.tiers[row.place].key)?.view();
        let backup = |(at, row): (usize, &Row)| {
            let name = self.places[row.place].name.as_str();
            Some(Backup { row: at, cost: row.cost?, view: view(row)?, name })
        };
        let others =
            rows.iter().enumerate().filter(|(at, row)| *at != first && row.has_room && !row.is_out);
        let backups: Vec<Backup<'_>> = others.filter_map(backup).take(BACKUPS).collect();
        hedge::second(objective, view(&rows[first])?, &backups)
    }

    /// The weights of the decision. All others are fallbacks, in the order in which the budget and
    /// their latencies recommend them.
    pub(crate) fn weights(
        &mut self,
        rows: &[Row],
        decision: Option<Decision>,
        local: &[Deployment],
        remote: &[Deployment],
    ) -> Weights {
        let budget = decision.map_or(0.0, |decision| decision.budget);
        let mut all = rows.iter();
        let rank = |_: &Deployment| {
            all.next().map_or(f64::INFINITY, |row| {
                let is_dear = row.cost.is_none_or(|cost| cost > budget + lp::EPSILON);
                let is_last = row.cost.is_none() || row.is_out || !row.has_room;
                let latency = row.latency.map_or(1.0, squash);
                f64::from(is_last) * 4.0 + f64::from(is_dear) * 2.0 + latency
            })
        };
        let mut weights = self.order.steep(Weights::each(local, remote, rank));
        let mix = decision.map(|decision| decision.mix).unwrap_or_default();
        for (row, weight) in weights.iter_mut().enumerate() {
            let of_mix = mix.iter().filter(|(at, _)| *at == row).map(|(_, weight)| weight);
            let chosen: f64 = of_mix.sum();
            *weight =
                if chosen > 0.0 { chosen } else { (*weight * FALLBACK).max(f64::MIN_POSITIVE) };
        }
        weights
    }
}
