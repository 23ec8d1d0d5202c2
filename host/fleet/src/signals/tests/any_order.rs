//! What holds in whatever order attempts begin and end.

use proptest::prelude::*;

use super::*;

proptest! {
    /// Whatever happens to attempts in whatever order: in the end nothing is left to be read, and
    /// every value is finite and at least 0, or not known.
    #[test]
    fn values_stay_sound_in_any_order(steps in prop::collection::vec((0..9u8, 0..4u64), 1..120)) {
        let mut scene = Scene::with(|config| config.concurrency.max = 8);
        let mut out: Vec<Permit> = Vec::new();
        for (step, number) in steps {
            scene.now += 300 * MS * u32::try_from(number).unwrap();
            let slot = scene.at(0).slots.try_enter(scene.now).place();
            match step {
                0..=2 => {
                    if let Some(mut permit) = slot.and_then(|slot| scene.at(0).admit(slot, scene.now)) {
                        permit.carry(&request(number, 9));
                        out.push(permit);
                    }
                }
                3 => out.iter_mut().for_each(|permit| permit.begun(scene.now)),
                8 => scene.want((number < 2).then_some(Signal::ALL).into_iter().flatten()),
                _ => {
                    if let Some(mut permit) = out.pop() {
                        permit.answered(AnswerTokens { cached: Some(number * 200), ..stream(number) });
                        match step {
                            4 => {
                                permit.settle(Outcome::Success, scene.now);
                            }
                            5 => {
                                let wait = Some(MS * u32::try_from(number).unwrap());
                                permit.settle(limited(wait), scene.now);
                            }
                            6 => {
                                permit.settle(failure(), scene.now);
                            }
                            _ => drop(permit),
                        }
                    }
                }
            }
            for signal in Signal::ALL {
                let value = scene.of_request(signal, &request(number, 9));
                prop_assert!(value.is_nan() || (value.is_finite() && value >= 0.0), "{signal}: {value}");
            }
        }
        drop(out);
        let left = scene.signal(Signal::PrefillBacklog);
        prop_assert!(left.is_nan() || left == 0.0);
    }
}
