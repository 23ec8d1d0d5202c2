//! Hashes that never change: the same in every instance, on every gateway, in every version.

/// A hash of a number and a seed. Every bit of both counts.
#[must_use]
pub const fn mix(seed: u64, value: u64) -> u64 {
    // The finaliser of SplitMix64, over both.
    let mut x = seed.rotate_left(32) ^ value.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A hash of a text. Hash a deployment's name, not its id: ids change when others are added.
#[must_use]
pub fn text(text: &str) -> u64 {
    // The high bits of FNV-1a are weak, so `mix` spreads them.
    let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    mix(0, text.bytes().fold(0xcbf2_9ce4_8422_2325, fnv))
}

/// A text as a key of a sorted map. Keys compare by hash first: names of deployments and models often
/// have a long beginning in common, and comparing those would be most of `configure` in a large fleet.
#[must_use]
pub fn key(name: &str) -> (u64, &str) {
    (text(name), name)
}

/// The distance of a place from a key in weighted rendezvous hashing. The nearest gets the key.
///
/// `place` is the hash of the place's name. A place gets keys in proportion to its `size`. If a
/// place goes, only its own keys move, each to its second nearest place. The distance is finite and
/// at least 0. A `size` of 0 counts as a very small one.
#[must_use]
pub fn distance(key: u64, place: u64, size: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "53 bits are left, which f64 holds")]
    let uniform = ((mix(key, place) >> 11) as f64 + 0.5) * 2f64.powi(-53);
    // Exponential with rate `size`: each is the minimum of several in proportion to its rate.
    -uniform.ln() / size.max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_never_change() {
        assert_eq!(mix(1, 2), 0x37ad_5fdd_5756_bd3d);
        assert_eq!(text("gpu-a"), 0x71c5_3eaa_f720_eaff);
    }

    fn nearest(key: u64, places: &[(&str, f64)]) -> usize {
        let distance = |at: &usize| distance(key, text(places[*at].0), places[*at].1);
        (0..places.len()).min_by(|a, b| distance(a).total_cmp(&distance(b))).expect("a place")
    }

    #[test]
    fn keys_are_shared_by_size() {
        let places = [("a", 1.0), ("b", 2.0), ("c", 5.0)];
        let mut counts = [0u32; 3];
        (0..80_000).for_each(|key| counts[nearest(key, &places)] += 1);
        for (count, want) in counts.into_iter().zip([10_000.0, 20_000.0, 50_000.0]) {
            assert!((f64::from(count) / want - 1.0).abs() < 0.05, "{counts:?}");
        }
    }

    #[test]
    fn a_lost_place_moves_only_its_own_keys() {
        let all = [("a", 1.0), ("b", 2.0), ("c", 5.0), ("d", 1.0)];
        for key in 0..2_000 {
            let (before, after) = (nearest(key, &all), nearest(key, &all[..3]));
            assert!(before == 3 || before == after, "key {key}: from {before} to {after}");
        }
    }

    #[test]
    fn distances_are_finite() {
        for key in [0, 1, u64::MAX] {
            for size in [0.0, 1.0, 4_294_967_295.0] {
                let distance = distance(key, text(""), size);
                assert!(distance.is_finite() && distance >= 0.0, "{distance}");
            }
        }
    }
}
