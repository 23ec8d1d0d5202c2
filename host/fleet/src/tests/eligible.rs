//! Which deployments may get traffic.

use config::Standby;

use super::super::{Eligible, Prospect};
use super::*;

const LOCAL: Prospect = Prospect {
    side: Side::Local,
    share: Share::Assigned,
    weight: 0.0,
    condition: Condition::Healthy,
};
const REMOTE: Prospect = Prospect { side: Side::Remote, ..LOCAL };
const KEPT: Prospect = Prospect { share: Share::Kept, weight: 0.5, ..LOCAL };

fn found(prospects: &[Prospect], standby: Standby) -> (bool, Vec<usize>, Vec<usize>) {
    let Eligible { panic, local, remote, .. } = Eligible::among(prospects, standby);
    (panic, local, remote)
}

#[test]
fn conditions_decide() {
    for condition in Condition::ALL {
        let prospects = [LOCAL, REMOTE, Prospect { condition, ..LOCAL }];
        let used = matches!(
            condition,
            Condition::Healthy | Condition::SlowStart | Condition::HalfOpen | Condition::Stalled
        );
        let local = if used { vec![0, 2] } else { vec![0] };
        let want = (false, local, vec![1]);
        assert_eq!(found(&prospects, Standby::Last), want, "{condition:?}");
    }
}

#[test]
fn without_any_all_are_but_who_asks_to_be_left_alone() {
    let [out, cooling] =
        [Condition::Ejected, Condition::Cooling].map(|condition| Prospect { condition, ..LOCAL });
    let want = (true, vec![0, 2], vec![]);
    assert_eq!(found(&[out, cooling, out], Standby::Last), want);
    let want = (true, vec![], vec![]);
    assert_eq!(found(&[cooling, cooling], Standby::Last), want, "nothing overrides the wish");
}

#[test]
fn standby_that_is_never_used_does_not_count() {
    let ejected = Prospect { condition: Condition::Ejected, ..KEPT };
    let idle = Prospect { weight: 0.0, ..KEPT };
    assert!(found(&[ejected, idle], Standby::Never).0);
    assert!(!found(&[ejected, idle], Standby::Last).0);
    assert!(!found(&[ejected, KEPT], Standby::Never).0, "this one has a weight");
    assert!(!found(&[ejected, LOCAL], Standby::Never).0, "the strategy may give this one a weight");
}

#[test]
fn who_has_gone_out_since_is_left_out() {
    let eligible = Eligible::among(&[LOCAL, REMOTE, LOCAL], Standby::Last);
    assert!(matches!(eligible.still(|_| true), std::borrow::Cow::Borrowed(_)));
    let still = eligible.still(|i| i != 0);
    assert_eq!((&still.local[..], &still.remote[..]), (&[2][..], &[1][..]));
    let none = eligible.still(|_| false);
    assert!(eligible.is_assigned() && !none.is_assigned());
    let remote = eligible.still(|i| i == 1);
    assert!(remote.is_assigned(), "one side is enough");
    let out = Prospect { condition: Condition::Ejected, ..LOCAL };
    let panic = Eligible::among(&[out], Standby::Last);
    assert!(panic.still(|_| false).is_assigned(), "in panic there is nothing better");
}

#[test]
fn shares_keep_the_proportion_of_weights() {
    let assigned = |port| DeploymentConfig { share: Share::Assigned, ..deployment(port) };
    let models = vec![model((1..=3).map(assigned).collect())];
    let fleet = Fleet::build(&Config { models, ..Config::default() }, None);
    let (model, now) = (&fleet.models[0], Instant::now());
    let states: Vec<_> = model.deployments.iter().map(|place| place.state(now)).collect();
    let eligible = Eligible::of(model, &states, Standby::Last);
    assert_eq!(eligible.share(model, &states, &[1.0, 3.0, 0.0]), [0.25, 0.75, 0.0]);
    assert_eq!(eligible.share(model, &states, &[0.0; 3]), [1.0 / 3.0; 3]);
}
