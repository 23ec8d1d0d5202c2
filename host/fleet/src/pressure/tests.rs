//! The rules one by one.

use proptest::prelude::*;

use super::refused_level::REQUESTS;
use super::*;

const MS: Duration = Duration::from_millis(1);
const MAX: u32 = 1000;

fn new(side: Side) -> Pressure {
    Pressure::new(side, || 0.0)
}

/// A local deployment that refused one of `out` requests.
fn refused(out: u32, now: Instant) -> Pressure {
    let mut pressure = new(Side::Local);
    pressure.refused((out, now), out, MAX, now);
    pressure
}

fn limit(pressure: &mut Pressure, out: u32, now: Instant) -> u32 {
    pressure.room(out, MAX, now).limit
}

/// The highest level that was good. 0: none is known.
fn good(pressure: &Pressure) -> u32 {
    (1..=MAX).take_while(|level| pressure.limit.was_good(*level)).last().unwrap_or(0)
}

/// Lets a round of good answers come at the limit.
fn round(pressure: &mut Pressure, now: Instant) {
    let limit = pressure.limit(MAX).expect("a limit");
    (0..limit).for_each(|_| pressure.answered(now, limit, MAX, now));
}

#[test]
fn a_refusal_sets_the_limit_below_what_was_out() {
    let now = Instant::now();
    let mut pressure = new(Side::Local);
    assert!(pressure.is_none());
    assert_eq!(pressure.room(3, MAX, now), Room { limit: MAX, opens: None, trial: false });
    // Twelve at once, at an engine with four places.
    for out in (5..=12).rev() {
        pressure.refused((out, now), out, MAX, now);
        assert_eq!(pressure.limit(MAX), Some(out - 1));
    }
    assert_eq!((limit(&mut pressure, 4, now), pressure.is_none()), (4, false));
    assert_eq!(pressure.limit(4), None, "the configured limit is no higher");
}

#[test]
fn the_limit_rises_by_rounds_and_shuns_the_refused_level() {
    let now = Instant::now();
    let mut pressure = refused(5, now);
    pressure.refused((4, now), 4, MAX, now);
    assert_eq!(pressure.limit(MAX), Some(3));
    // The level of 4 was refused, and is tried again after a second.
    round(&mut pressure, now + 999 * MS);
    assert_eq!(pressure.limit(MAX), Some(3));
    round(&mut pressure, now + 1000 * MS);
    assert_eq!(pressure.limit(MAX), Some(4));
    round(&mut pressure, now + 1000 * MS);
    assert_eq!(pressure.limit(MAX), Some(5), "nothing is known against it");
    // Answers while places are free say nothing about the next one.
    (0..50).for_each(|_| pressure.answered(now + 1000 * MS, 4, MAX, now + 1000 * MS));
    assert_eq!(pressure.limit(MAX), Some(5));
}

#[test]
fn a_refused_level_is_tried_less_and_less_often() {
    let mut now = Instant::now();
    let mut pressure = new(Side::Remote);
    pressure.refused((5, now), 5, MAX, now);
    for wait in [1, 2, 4, 8, 16, 30, 30].map(Duration::from_secs) {
        // Rounds without end do not bring a remote deployment's retry forward.
        (0..20).for_each(|_| round(&mut pressure, now + wait - MS));
        assert_eq!(pressure.limit(MAX), Some(4), "{wait:?}");
        now += wait;
        round(&mut pressure, now);
        assert_eq!(pressure.limit(MAX), Some(5), "{wait:?}");
        // A burst of refusals is one.
        pressure.refused((5, now), 5, MAX, now);
        pressure.refused((5, now), 5, MAX, now);
        assert!(pressure.limit(MAX) <= Some(4));
        (0..4).for_each(|_| round(&mut pressure, now));
    }
}

#[test]
fn a_busy_local_deployment_is_tried_again_sooner() {
    let now = Instant::now();
    let mut pressure = refused(5, now);
    round(&mut pressure, now);
    (4..REQUESTS).for_each(|_| pressure.passed_over());
    round(&mut pressure, now);
    assert_eq!(pressure.limit(MAX), Some(5));
}

#[test]
fn only_requests_sent_since_the_limit_was_set_show_it() {
    let now = Instant::now();
    let mut pressure = refused(5, now);
    (0..20).for_each(|_| pressure.answered(now - MS, 5, MAX, now + 5000 * MS));
    assert_eq!((pressure.limit(MAX), good(&pressure)), (Some(4), 0));
    round(&mut pressure, now + 5000 * MS);
    assert_eq!((pressure.limit(MAX), good(&pressure)), (Some(5), 4));
}

#[test]
fn an_engine_that_grew_is_followed_by_doubling() {
    let now = Instant::now();
    let mut pressure = refused(5, now);
    let mut later = now + 1000 * MS;
    round(&mut pressure, later);
    assert_eq!(pressure.limit(MAX), Some(5), "tried again");
    for limit in 6..=40 {
        later += MS;
        pressure.answered(later, limit - 1, MAX, later);
        assert_eq!(pressure.limit(MAX), Some(limit), "each answer at the limit adds one");
    }
    pressure.refused((40, later + MS), 40, MAX, later + MS);
    pressure.answered(later + MS, 39, MAX, later + 2 * MS);
    assert_eq!(pressure.limit(MAX), Some(39), "until one is refused");
    // A level that was too slow is no longer refused after one answer in time.
    let mut pressure = new(Side::Local);
    pressure.stalls((5, now), 5, 5, MAX, now);
    later = now + 4000 * MS;
    round(&mut pressure, later);
    assert_eq!(pressure.limit(MAX), Some(5));
    pressure.answered(later, 5, MAX, later);
    assert_eq!(pressure.limit(MAX), Some(5));
}

#[test]
fn a_refusal_at_the_level_of_a_later_one_is_not_of_others() {
    let now = Instant::now();
    let mut pressure = refused(5, now);
    round(&mut pressure, now);
    // The engine took the fifth request, and refused the fourth that came behind it.
    pressure.refused((4, now + MS), 5, MAX, now + 2 * MS);
    assert_eq!((pressure.limit(MAX), good(&pressure)), (Some(4), 4));
}

#[test]
fn refusals_below_what_was_good_are_of_others() {
    let now = Instant::now();
    let mut pressure = refused(11, now);
    round(&mut pressure, now);
    assert_eq!((pressure.limit(MAX), good(&pressure)), (Some(10), 10));
    pressure.refused((6, now), 6, MAX, now);
    assert_eq!((pressure.limit(MAX), good(&pressure)), (Some(8), 8), "0.8 of it");
    for _ in 0..20 {
        pressure.refused((2, now), 2, MAX, now);
    }
    assert_eq!(pressure.limit(MAX), Some(1), "never none");
}

#[test]
fn a_refusal_with_nothing_else_out_is_a_pause() {
    for (side, longest) in [(Side::Local, 1_000), (Side::Remote, 30_000)] {
        let (mut now, mut pressure, mut pause) = (Instant::now(), new(side), 100);
        for _ in 0..12 {
            pressure.refused((1, now), 1, MAX, now);
            let until = now + pause * MS;
            let closed = Room { limit: 0, opens: Some(until), trial: false };
            assert_eq!(pressure.room(0, MAX, until - MS), closed, "{side:?} {pause}");
            now = until;
            assert_eq!(limit(&mut pressure, 0, now), 1, "one trial");
            pause = (pause * 2).min(longest);
        }
        pressure.answered(now, 1, MAX, now);
        pressure.refused((1, now), 1, MAX, now);
        assert_eq!(pressure.room(0, MAX, now).opens, Some(now + 100 * MS), "from the beginning");
    }
}

#[test]
fn requests_shorten_the_pause_of_a_local_deployment() {
    for (side, open) in [(Side::Local, true), (Side::Remote, false)] {
        let now = Instant::now();
        let mut pressure = new(side);
        pressure.refused((1, now), 1, MAX, now);
        (1..REQUESTS).for_each(|_| pressure.passed_over());
        assert_eq!(limit(&mut pressure, 0, now), 0);
        pressure.passed_over();
        assert_eq!(limit(&mut pressure, 0, now) == 1, open, "{side:?}");
    }
}

#[test]
fn a_stall_lets_one_request_at_a_time_try() {
    let now = Instant::now();
    let mut pressure = new(Side::Local);
    pressure.stalls((7, now), 7, 1, MAX, now);
    assert!(pressure.stalled().is_some() && pressure.limit(MAX).is_none());
    let opens = Some(now + 1000 * MS);
    assert_eq!(pressure.room(6, MAX, now), Room { limit: 7, opens, trial: true });
    pressure.admitted(true, now);
    assert_eq!(limit(&mut pressure, 7, now), 7, "one trial at a time");
    pressure.trial_ended();
    assert_eq!(limit(&mut pressure, 6, now), 7);
    assert!(!pressure.begun(now - MS), "sent before the stall");
    assert!(pressure.begun(now) && !pressure.is_none(), "the engine may work on");
    pressure.answered(now, 1, MAX, now + 1000 * MS);
    assert!(pressure.is_none());
}

#[test]
fn a_level_that_is_tried_in_vain_is_no_stall() {
    let now = Instant::now();
    let mut pressure = new(Side::Local);
    let mut later = now + 1000 * MS;
    (0..2).for_each(|_| pressure.stalls((5, now), 5, 5, MAX, later));
    assert!(pressure.stalled().is_some() && pressure.begun(later));
    round(&mut pressure, later);
    later += 4000 * MS;
    round(&mut pressure, later);
    assert_eq!((pressure.limit(MAX), good(&pressure)), (Some(5), 4));
    pressure.stalls((5, later), 5, 5, MAX, later);
    assert_eq!((pressure.limit(MAX), pressure.stalled()), (Some(4), None));
    later += 7999 * MS;
    round(&mut pressure, later);
    assert_eq!(pressure.limit(MAX), Some(4), "tried again after eight seconds, and no sooner");
    round(&mut pressure, later + MS);
    assert_eq!(pressure.limit(MAX), Some(5));
    pressure.stalls((4, later), 4, 4, MAX, later);
    assert!(pressure.stalled().is_some(), "below the level that is tried");
}

#[test]
fn a_stall_explains_what_engines_still_work_on() {
    let now = Instant::now();
    let mut pressure = new(Side::Local);
    assert!(!pressure.explains(now), "nothing is known of a stall");
    // Three are given up, of which the engine may not know yet.
    let later = now + 1000 * MS;
    for out in (3..=5).rev() {
        pressure.stalls((out, now), out, out, MAX, later);
    }
    assert!(pressure.explains(now), "sent before the stall");
    for nth in 0..3 {
        let sent = later + nth * 1000 * MS;
        assert!(pressure.explains(sent), "{nth}");
        pressure.stalls((1, sent), 1, 1, MAX, sent + 1000 * MS);
    }
    assert!(!pressure.explains(later + 3000 * MS), "it has had the time of three");
    assert!(pressure.begun(later + 3000 * MS));
    assert!(!pressure.explains(now));
    // However many were given up.
    (0..100).for_each(|_| pressure.stalls((5, now), 5, 5, MAX, later));
    (0..8).for_each(|_| pressure.stalls((1, later), 1, 1, MAX, later));
    assert!(!pressure.explains(later));
}

#[test]
fn stalls_of_many_lower_the_limit() {
    let now = Instant::now();
    let mut late = now + 1200 * MS;
    // 24 at an engine that answers eight in time.
    let mut pressure = new(Side::Local);
    for out in (9..=24).rev() {
        pressure.stalls((out, now), out, out, MAX, late);
    }
    assert_eq!(pressure.limit(MAX), Some(7));
    // Sent after the first answers, into the queue of 24.
    for out in (5..=8).rev() {
        pressure.stalls((24, now + 500 * MS), out, out, MAX, late + 500 * MS);
    }
    assert_eq!(pressure.limit(MAX), Some(7), "says nothing about the limit");
    // The trial waits behind requests that the engine still works on.
    late += 2000 * MS;
    pressure.stalls((2, late - 1200 * MS), 2, 2, MAX, late);
    assert_eq!(pressure.limit(MAX), Some(7));
    pressure.begun(late);
    // Later than the engine works on anything that was given up.
    late += 1500 * MS;
    round(&mut pressure, late);
    (0..33).for_each(|_| pressure.answered(late, 5, MAX, late));
    // Below what was good a single one is no sign.
    for _ in 0..3 {
        pressure.stalls((6, late), 6, 3, MAX, late + 1200 * MS);
        assert_eq!(pressure.limit(MAX), Some(7), "three of forty and more");
        late += 2400 * MS;
    }
    pressure.stalls((6, late), 6, 3, MAX, late + 1200 * MS);
    assert_eq!(pressure.limit(MAX), Some(5), "four of forty");
    // Those that were sent before the limit fell say nothing about the lower one.
    (0..9).for_each(|_| pressure.stalls((6, late), 6, 3, MAX, late + 1201 * MS));
    assert_eq!(pressure.limit(MAX), Some(5));
}

#[test]
fn what_is_given_up_keeps_its_places_for_a_second() {
    let now = Instant::now();
    let mut pressure = new(Side::Local);
    let late = now + 1200 * MS;
    for out in (9..=24).rev() {
        pressure.stalls((out, now), out, out, MAX, late);
    }
    pressure.begun(late);
    let busy = Room { limit: 1, opens: Some(late + 1000 * MS), trial: false };
    assert_eq!(pressure.room(0, MAX, late + 999 * MS), busy);
    assert_eq!(limit(&mut pressure, 0, late + 1000 * MS), 7);
}

#[test]
fn slow_start_ramps_the_limit() {
    let now = Instant::now();
    let mut pressure = new(Side::Local);
    let lasts = 10_000 * MS;
    pressure.ramp(Some(LimitRamp { from: 2, to: 12, began: now, lasts }));
    assert!(!pressure.is_none());
    let room = pressure.room(0, MAX, now);
    assert_eq!(room, Room { limit: 2, opens: Some(now + 1000 * MS), trial: false });
    assert_eq!(limit(&mut pressure, 0, now + 5000 * MS), 7);
    assert_eq!(limit(&mut pressure, 0, now + 9999 * MS), 11);
    assert_eq!(limit(&mut pressure, 0, now + lasts), MAX);
    assert!(pressure.is_none());
    pressure.ramp(Some(LimitRamp { from: 1, to: 1, began: now, lasts }));
    assert_eq!(pressure.room(0, MAX, now).limit, 1);
    assert!(pressure.room(0, MAX, now).opens > Some(now));
}

proptest! {
    /// There is always a way on: a place, a request that is out, or a time at which there is one.
    #[test]
    fn it_never_closes_for_good(
        steps in prop::collection::vec((0..7u8, 1..20u32, 0..2_000u32), 0..100),
        max in 1..20u32,
        remote in any::<bool>(),
    ) {
        let side = if remote { Side::Remote } else { Side::Local };
        let (mut pressure, mut now) = (new(side), Instant::now());
        for (step, out, wait) in steps {
            now += wait * MS;
            match step {
                0 => pressure.refused((out, now), out, max, now),
                1 => pressure.stalls((out, now), out, out, max, now),
                2 => pressure.answered(now, out, max, now),
                3 => pressure.spent(out % 2 == 0, now),
                4 => pressure.passed_over(),
                5 => pressure.admitted(true, now),
                _ => pressure.trial_ended(),
            }
            pressure.trial_ended();
            let room = pressure.room(0, max, now);
            prop_assert!(room.limit <= max);
            prop_assert!(room.limit > 0 || room.opens.is_some_and(|opens| opens > now));
        }
    }
}
