//! What is forbidden to a request.

use config::{Capability, Sides};
use contract::Modalities;
use proptest::prelude::*;

use super::super::{Demand, Forbidden, Scope};
use super::*;

fn place(side: Side, context_length: u64, input: &[&str], tools: bool) -> DeploymentConfig {
    let names: Vec<String> = input.iter().map(|name| (*name).to_owned()).collect();
    let (input, output) = (Modalities::of(&names), Modalities::NONE);
    let capability = Capability { context_length, input, output, tools };
    DeploymentConfig { side, capability, ..deployment(1) }
}

fn forbidden(scope: Scope, places: &[DeploymentConfig]) -> Vec<Option<Forbidden>> {
    places.iter().map(|place| scope.forbids(place)).collect()
}

#[test]
fn a_demand_forbids_what_does_not_meet_it_if_another_does() {
    let places =
        [place(Side::Local, 16_000, &[], false), place(Side::Remote, 128_000, &["image"], true)];
    let of = |demand| forbidden(Scope::of(Sides::BOTH, demand, places.iter()), &places);
    let none = Demand::default();
    assert_eq!(of(none), [None, None]);
    assert_eq!(of(Demand { tokens: 16_000, ..none }), [None, None]);
    assert_eq!(of(Demand { tokens: 16_001, ..none }), [Some(Forbidden::Context), None]);
    assert_eq!(of(Demand { tokens: 200_000, ..none }), [None, None], "nobody has so much");
    assert_eq!(of(Demand { tools: true, ..none }), [Some(Forbidden::Feature), None]);
    assert_eq!(of(Demand { input: Modalities::IMAGE, ..none }), [Some(Forbidden::Feature), None]);
    assert_eq!(of(Demand { input: Modalities::AUDIO, ..none }), [None, None], "nobody has ears");
}

#[test]
fn a_side_is_never_left_for_a_demand() {
    let places =
        [place(Side::Local, 16_000, &[], false), place(Side::Remote, 128_000, &["image"], true)];
    let demand = Demand { tokens: 100_000, input: Modalities::IMAGE, tools: true };
    let scope = Scope::of(Sides::only(Side::Local), demand, places.iter());
    assert_eq!(forbidden(scope, &places), [None, Some(Forbidden::Side)]);
    let nobody = Sides::only(Side::Local).and(Sides::only(Side::Remote));
    let scope = Scope::of(nobody, demand, places.iter());
    assert_eq!(forbidden(scope, &places), [Some(Forbidden::Side); 2]);
}

proptest! {
    /// Whatever a request demands, no deployment on a forbidden side is left, and each allowed side
    /// with deployments keeps at least one of the model's.
    #[test]
    fn sides_hold_for_all_demands(
        places in proptest::collection::vec((any::<bool>(), 1..10u64, any::<bool>()), 1..6),
        (local, remote) in any::<(bool, bool)>(),
        (tokens, tools) in (0..12u64, any::<bool>()),
    ) {
        let side = |local| if local { Side::Local } else { Side::Remote };
        let places: Vec<_> =
            places.iter().map(|(local, length, tools)| place(side(*local), *length, &[], *tools)).collect();
        let sides: Sides = [(local, Side::Local), (remote, Side::Remote)]
            .into_iter().filter_map(|(has, side)| has.then_some(side)).collect();
        let scope = Scope::of(sides, Demand { tokens, tools, ..Demand::default() }, places.iter());
        for place in &places {
            let is_out = scope.forbids(place) == Some(Forbidden::Side);
            prop_assert_eq!(is_out, !sides.has(place.side));
        }
        let some = places.iter().any(|place| sides.has(place.side));
        prop_assert_eq!(places.iter().any(|place| scope.forbids(place).is_none()), some);
    }
}
