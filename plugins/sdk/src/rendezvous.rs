//! Maps keys to deployments: a key stays at one deployment, and moves to few others when that one
//! has too much to do.

use crate::{Deployment, Order, Place, Side, Weights, hash, squash};

/// When a deployment has too much to do for its own keys.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    /// Its load may be this many times the average load. At least 1.
    pub load_factor: f64,
    /// Below this load it never has too much, whatever the average is.
    pub free_load: f64,
    /// True: remote deployments come after all local ones with room, and each side has its own
    /// average. False: both sides are treated alike.
    pub prefer_local: bool,
}

/// Weighted rendezvous hashing with bounded load.
///
/// Deployments are ordered by [`hash::distance`] from the key, with their capacity as the size. The
/// order depends on names and capacities only, so every instance on every gateway has the same one.
/// Deployments with too much to do come after the others, in the same order among themselves.
/// Weights fall steeply along the order ([`Order::steep`]). So fallback goes to the next deployment
/// in the order, to which the key also moves when its own deployment is removed.
#[derive(Debug, Clone)]
pub struct Rendezvous {
    bound: Bound,
    sites: Vec<Site>,
    order: Order,
}

#[derive(Debug, Clone, Copy)]
struct Site {
    name: u64,
    side: Side,
    capacity: u32,
}

impl Rendezvous {
    /// The hashing for these places. Their order is that of the ids.
    #[must_use]
    pub fn new(bound: Bound, places: &[Place]) -> Self {
        let site = |place: &Place| {
            let Place { side, capacity, .. } = *place;
            Site { name: hash::text(&place.name), side, capacity: capacity.max(1) }
        };
        Self { bound, sites: places.iter().map(site).collect(), order: Order::default() }
    }

    /// The weights for a key. `known` says how much of the key's data a deployment has, by its position
    /// in the call, local ones first. Among deployments with room, and among those without, the one that
    /// has the most comes first, of equals the one with the lowest load. Those that have nothing, 0 or
    /// NaN, follow in the order of the hashes.
    #[must_use]
    pub fn of(
        &mut self,
        key: u64,
        known: impl Fn(usize) -> f64,
        local: &[Deployment],
        remote: &[Deployment],
    ) -> Weights {
        let averages = self.averages(local, remote);
        let mut positions = 0..;
        let costs = Weights::each(local, remote, |one| {
            let (site, rank) = (self.sites[one.place()], self.rank(one, averages));
            let known = positions.next().map_or(0.0, &known);
            let within = match known >= 1.0 {
                // Whole units, so that the load decides between equals. Below 1 in all.
                true => 1.0 / (2.0 + known.floor() - squash(one.load(site.capacity))),
                false => 1.0 + squash(hash::distance(key, site.name, site.capacity.into())),
            };
            2.0 * f64::from(rank) + within
        });
        self.order.steep(costs)
    }

    /// The weights for a request without a key: by free places.
    #[must_use]
    pub fn of_none(&mut self, local: &[Deployment], remote: &[Deployment]) -> Weights {
        let averages = self.averages(local, remote);
        let ranks = Weights::each(local, remote, |one| self.rank(one, averages).into());
        let weights = self.order.steep(ranks);
        weights.share_by(local, remote, |one| one.room(self.sites[one.place()].capacity))
    }

    /// 0 (local) or 1 (remote) with room, 2 (local) or 3 (remote) without. See `prefer_local`.
    fn rank(&self, one: &Deployment, averages: [f64; 2]) -> u8 {
        let Bound { load_factor, free_load, prefer_local } = self.bound;
        let site = self.sites[one.place()];
        let side = u8::from(site.side == Side::Remote);
        let capacity = f64::from(site.capacity);
        let most = load_factor * averages[usize::from(side)] * capacity;
        let most = most.ceil().max(free_load * capacity).min(capacity).max(1.0);
        let after = if prefer_local { side } else { 0 };
        if one.requests() + 1.0 <= most { after } else { 2 + after }
    }

    /// The average loads for local and remote deployments, with this request counted.
    fn averages(&self, local: &[Deployment], remote: &[Deployment]) -> [f64; 2] {
        let mut sums = [self.sums(local), self.sums(remote)];
        if !self.bound.prefer_local {
            sums = [[sums[0][0] + sums[1][0], sums[0][1] + sums[1][1]]; 2];
        }
        sums.map(|[requests, capacity]| (requests + 1.0) / capacity)
    }

    /// The sums of requests and of capacity of a side.
    fn sums(&self, side: &[Deployment]) -> [f64; 2] {
        let capacity = |one: &Deployment| f64::from(self.sites[one.place()].capacity);
        [side.iter().map(Deployment::requests).sum(), side.iter().map(capacity).sum()]
    }
}

#[cfg(test)]
#[cfg(not(target_arch = "wasm32"))]
mod tests {
    use super::*;
    use crate::testing::{Fleet, shares};

    const BOUND: Bound = Bound { load_factor: 1.25, free_load: 0.5, prefer_local: true };

    /// The names of a fleet's deployments in the order for a key.
    fn order(fleet: &Fleet, bound: Bound, key: u64, known: Option<usize>) -> Vec<&str> {
        let mut rendezvous = Rendezvous::new(bound, &fleet.places);
        let weights = rendezvous.of(
            key,
            |at| if known == Some(at) { 512.0 } else { f64::NAN },
            &fleet.local,
            &fleet.remote,
        );
        let shares = shares(&weights);
        let ids = fleet.local.iter().chain(&fleet.remote).map(Deployment::place);
        let mut pairs: Vec<(f64, usize)> = shares.into_iter().zip(ids).collect();
        pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
        pairs.into_iter().map(|(_, place)| fleet.places[place].name.as_str()).collect()
    }

    fn four(loads: [u32; 4]) -> Fleet {
        ["a", "b", "c", "d"]
            .into_iter()
            .zip(loads)
            .fold(Fleet::new(), |fleet, (name, load)| fleet.local(name).in_flight(load))
    }

    #[test]
    fn a_key_moves_when_its_deployment_is_overloaded() {
        let idle =
            order(&four([0; 4]), BOUND, 7, None).into_iter().map(str::to_owned).collect::<Vec<_>>();
        let first = |name: &str| ["a", "b", "c", "d"].map(|other| u32::from(other == name));
        // Below half of its capacity it keeps the key, whatever the average is.
        let some = four(first(&idle[0]).map(|is| is * 3));
        assert_eq!(order(&some, BOUND, 7, None), idle);
        let much = four(first(&idle[0]).map(|is| is * 4));
        let moved = [&idle[1], &idle[2], &idle[3], &idle[0]];
        assert_eq!(order(&much, BOUND, 7, None), moved);
        // An equal load everywhere is not too much.
        assert_eq!(order(&four([5; 4]), BOUND, 7, None), idle);
        // Full deployments keep the order, too.
        assert_eq!(order(&four([8; 4]), BOUND, 7, None), idle);
    }

    #[test]
    fn a_known_deployment_with_room_comes_first() {
        for known in 0..4 {
            let name = ["a", "b", "c", "d"][known];
            assert_eq!(order(&four([0; 4]), BOUND, 7, Some(known))[0], name);
            let full: [u32; 4] = std::array::from_fn(|at| if at == known { 8 } else { 0 });
            assert_eq!(order(&four(full), BOUND, 7, Some(known))[3], name);
        }
    }

    #[test]
    fn most_known_comes_first_then_least_load() {
        let firsts = |known: [f64; 4], loads| {
            let fleet = four(loads);
            let mut rendezvous = Rendezvous::new(BOUND, &fleet.places);
            let weights = rendezvous.of(7, |at| known[at], &fleet.local, &fleet.remote);
            let shares = shares(&weights).into_iter().map(f64::round);
            shares.collect::<Vec<_>>()
        };
        assert_eq!(firsts([128.0, 256.0, 0.0, f64::NAN], [0, 2, 0, 0]), [0.0, 1.0, 0.0, 0.0]);
        assert_eq!(firsts([256.2, 256.9, 0.0, 0.0], [1, 2, 0, 0]), [1.0, 0.0, 0.0, 0.0]);
        assert_eq!(firsts([128.0, 256.0, 0.0, 0.0], [0, 8, 0, 0]), [1.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn remote_deployments_wait_for_full_local_ones() {
        let fleet = |load| Fleet::new().local("a").in_flight(load).remote("r");
        let mixed = Bound { prefer_local: false, ..BOUND };
        let firsts = |load, bound| {
            let first = |key| order(&fleet(load), bound, key, None)[0].to_owned();
            (0..100).filter(|key| first(*key) == "r").count()
        };
        assert_eq!(firsts(7, BOUND), 0);
        assert_eq!(firsts(8, BOUND), 100);
        assert!((30..70).contains(&firsts(0, mixed)), "{}", firsts(0, mixed));
        assert_eq!(firsts(8, mixed), 100);
    }

    #[test]
    fn without_a_key_room_decides() {
        let fleet = Fleet::new().local("a").in_flight(6).local("b").in_flight(2).remote("r");
        let mut rendezvous = Rendezvous::new(BOUND, &fleet.places);
        let mut shares = shares(&rendezvous.of_none(&fleet.local, &fleet.remote));
        // The load of `a` is above 1.25 times the average.
        shares.iter_mut().for_each(|share| *share = (*share * 1e4).round() / 1e4);
        assert_eq!(shares, [0.0, 1.0, 0.0]);
    }
}
