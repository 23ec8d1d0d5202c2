//! Time and chance, as the gateway or a simulator has them.
//!
//! In a native build, tests set them with [`testing::set_now`](crate::testing::set_now) and
//! [`testing::set_draws`](crate::testing::set_draws).

/// A moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds since 1970-01-01 00:00 UTC.
    pub milliseconds: u64,
    /// Minutes that the time zone of `routing.yaml` is ahead of UTC at that moment.
    pub offset: i32,
}

impl Moment {
    /// Minutes since midnight in the time zone, from 0 to 1,439.
    #[must_use]
    pub fn minute_of_day(&self) -> u32 {
        let minutes = (self.milliseconds / 60_000).cast_signed() + i64::from(self.offset);
        u32::try_from(minutes.rem_euclid(1_440)).unwrap_or_default()
    }
}

/// Now.
#[must_use]
pub fn now() -> Moment {
    inner::now()
}

/// A random number from 0 to below 1.
#[must_use]
pub fn draw() -> f64 {
    inner::draw()
}

#[cfg(target_arch = "wasm32")]
use crate::component as inner;
#[cfg(not(target_arch = "wasm32"))]
use crate::testing::stand_in as inner;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_at_midnight_of_the_zone() {
        let at =
            |hours: u64, offset| Moment { milliseconds: hours * 3_600_000, offset }.minute_of_day();
        assert_eq!([at(0, 0), at(23, 60), at(1, -120)], [0, 0, 23 * 60]);
    }

    #[test]
    fn tests_set_time_and_chance() {
        let moment = Moment { milliseconds: 5, offset: 60 };
        crate::testing::set_now(moment);
        assert_eq!(now(), moment);
        crate::testing::set_draws(&[0.25, 0.75]);
        assert_eq!([draw(), draw(), draw()], [0.25, 0.75, 0.25], "again from the first");
    }
}
