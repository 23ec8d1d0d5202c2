//! The strategy `weighted-order`: uses deployments in tiers, each tier when those before it fail.

use std::collections::{BTreeMap, BTreeSet};

use gateway_strategy::{Deployment, Order, Place, Strategy, Weights, hash};
use schemars::JsonSchema;
use serde::Deserialize;

/// `routing_parameter` of this strategy.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// Names of deployments, the first tier first. Those that are not named come last. Default: the
    /// deployments by their configured weights, the largest first, those of one weight in one tier.
    #[serde(default)]
    pub order: Vec<Tier>,
}

/// Who shares a tier.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a name, or a list of names")]
pub enum Tier {
    /// One deployment.
    One(String),
    /// Several, evenly.
    Several(Vec<String>),
}

impl Tier {
    fn names(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        }
    }
}

/// The strategy.
#[derive(Debug)]
pub struct WeightedOrder {
    /// The rank of each place. Lower ranks come first.
    ranks: Vec<f64>,
    order: Order,
}

gateway_strategy::export!(WeightedOrder; schema = "parameters.json");

impl Strategy for WeightedOrder {
    const SUMMARY: &'static str = "Deployments in tiers, each for when those before it fail";

    type Parameters = Parameters;

    fn configure(parameters: Parameters, places: Vec<Place>) -> Result<Self, String> {
        let tiers: BTreeMap<_, usize> = named(&parameters.order).collect();
        let mut known = BTreeSet::new();
        let ranks = places.iter().map(|place| {
            let tier = tiers.get_key_value(&hash::key(&place.name));
            known.extend(tier.map(|(name, _)| *name));
            match tier {
                _ if parameters.order.is_empty() => -place.weight,
                #[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 tiers")]
                Some((_, tier)) => *tier as f64,
                None => f64::INFINITY,
            }
        });
        let ranks = ranks.collect();
        let mut seen = BTreeSet::new();
        for (name, _) in named(&parameters.order) {
            let text = name.1;
            if !seen.insert(name) {
                return Err(format!("`order`: `{text}` is in it twice"));
            }
            if !known.contains(&name) {
                Place::named(text, &places).map_err(|why| format!("`order`: {why}"))?;
            }
        }
        Ok(Self { ranks, order: Order::default() })
    }

    fn assign(&mut self, local: &[Deployment], remote: &[Deployment]) -> Weights {
        self.order.steep(Weights::each(local, remote, |one| self.ranks[one.place()]))
    }
}

/// The names of an order as keys, each with the number of its tier.
fn named(order: &[Tier]) -> impl Iterator<Item = ((u64, &str), usize)> {
    let of_tier = |(number, tier): (usize, _)| {
        let names = Tier::names(tier).iter();
        names.map(move |name| (hash::key(name), number))
    };
    order.iter().enumerate().flat_map(of_tier)
}

#[cfg(test)]
mod tests {
    use gateway_strategy::testing::{self, Fleet};
    use gateway_strategy::{STEP, Strategy as _, Weights};

    use super::WeightedOrder;

    fn fleet() -> Fleet {
        let fleet = Fleet::new().local("a").weight(0.2).local("b").weight(0.7);
        fleet.remote("c").weight(0.2).remote("d").weight(0.0)
    }

    #[test]
    fn weights_fall_a_millionfold_from_tier_to_tier() {
        let mut strategy: WeightedOrder = fleet().configure(r#"{"order": [["a", "c"], "d"]}"#);
        let Weights { local, remote } = strategy.assign(&fleet().local, &fleet().remote);
        assert_eq!((local[0], remote[0]), (1.0, 1.0));
        assert!((remote[1] / STEP - 1.0).abs() < 1e-9, "{remote:?}");
        assert!(
            (local[1] / STEP.powi(2) - 1.0).abs() < 1e-9,
            "what is not named comes last: {local:?}"
        );
    }

    #[test]
    fn without_the_first_tiers_the_next_has_everything() {
        let mut strategy: WeightedOrder = fleet().configure(r#"{"order": [["a", "c"], "d"]}"#);
        assert_eq!(fleet().ask(&mut strategy), [0.5, 0.0, 0.5, 0.0]);
        let out = Fleet { local: Vec::new(), remote: vec![fleet().remote[1]], ..fleet() };
        assert_eq!(out.ask(&mut strategy), [1.0]);
    }

    #[test]
    fn without_names_the_configured_weights_are_the_order() {
        let shares = fleet().ask::<WeightedOrder>(&mut fleet().configure("{}"));
        assert_eq!(shares, [0.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn unknown_and_repeated_names_are_refused() {
        let refused = |text| testing::configured::<WeightedOrder>(text, fleet().places).err();
        let says = "`order`: no deployment is named `e`; there are a, b, c, d";
        assert_eq!(refused(r#"{"order": ["a", ["e"]]}"#).as_deref(), Some(says));
        let says = "`order`: `a` is in it twice";
        assert_eq!(refused(r#"{"order": ["a", ["b", "a"]]}"#).as_deref(), Some(says));
        let says = "`order`: a name, or a list of names";
        assert_eq!(refused(r#"{"order": [1]}"#).as_deref(), Some(says));
    }

    #[test]
    fn answers_are_good_whatever_is_asked() {
        for parameters in ["{}", r#"{"order": ["place-0"]}"#] {
            testing::check::<WeightedOrder>(parameters);
        }
    }
}
