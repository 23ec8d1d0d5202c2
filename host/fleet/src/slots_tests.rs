use super::*;
use crate::Busy;

pub(crate) fn new(max: u32) -> Arc<Slots> {
    Arc::new(Slots::with_jitter(Side::Local, max, || 0.0))
}

pub(crate) fn place(slots: &Arc<Slots>) -> Slot {
    match slots.try_enter(Instant::now()) {
        Entry::Place(slot) => slot,
        entry => panic!("{entry:?}"),
    }
}

#[test]
fn places_are_counted_and_never_more_than_configured() {
    let slots = new(2);
    let (first, _second) = (place(&slots), place(&slots));
    assert!(matches!(slots.try_enter(Instant::now()), Entry::Full));
    assert_eq!(slots.taken(), 2);
    drop(first);
    let _third = place(&slots);
    assert_eq!((slots.taken(), slots.unanswered.load(Ordering::Relaxed)), (2, 2));
}

#[test]
fn places_that_are_too_many_go_as_they_become_free() {
    let slots = new(3);
    let mut taken: Vec<Slot> = (0..3).map(|_| place(&slots)).collect();
    slots.resize(1);
    taken.pop();
    assert!(matches!(slots.try_enter(Instant::now()), Entry::Full), "two are still taken");
    taken.clear();
    let _one = place(&slots);
    assert!(matches!(slots.try_enter(Instant::now()), Entry::Full));
    slots.resize(2);
    let _two = place(&slots);
}

#[test]
fn a_refusal_is_told_from_a_configured_limit() {
    let (slots, now) = (new(3), Instant::now());
    let taken: Vec<Slot> = (0..3).map(|_| place(&slots)).collect();
    slots.refuse(3, now, now);
    drop(taken);
    let _taken = (place(&slots), place(&slots));
    assert!(matches!(slots.try_enter(now), Entry::Pressed { soon: true }));
    let report = slots.report();
    assert_eq!((report.limit, report.refusals, report.stalls), (Some(2), 1, 0));
    assert!(slots.is_pressed() && slots.opens(now).is_none());
}

#[test]
fn nothing_is_expected_soon_of_a_pause() {
    let (slots, now) = (new(3), Instant::now());
    let only = place(&slots);
    slots.refuse(1, now, now);
    drop(only);
    assert!(matches!(slots.try_enter(now), Entry::Pressed { soon: false }));
    assert!(slots.opens(now).is_some_and(|opens| opens > now));
}

#[test]
fn a_stall_needs_answers_to_others() {
    let slots = new(10);
    // The clock of the deployments has begun.
    let sent = Instant::now() + Duration::from_secs(1);
    let mut streaming = place(&slots);
    let waiting = place(&slots);
    assert!(!slots.stall(2, sent, sent + Duration::from_secs(5)), "it hangs");
    streaming.begin(sent, sent + Duration::from_secs(1));
    assert!(slots.stall(2, sent, sent + Duration::from_secs(5)));
    assert!(slots.report().stalled.is_some());
    drop(waiting);
    let later = sent + Duration::from_secs(6);
    let Entry::Place(mut trial) = slots.try_enter(later) else { panic!("a trial") };
    assert!(matches!(slots.try_enter(later), Entry::Pressed { soon: false }));
    assert!(trial.begin(later, later), "the stall is over");
    assert!(!trial.begin(later, later));
    assert!(slots.report().stalled.is_none() && !slots.is_pressed());
    assert_eq!(slots.report().stalls, 1);
}

#[test]
fn a_trial_that_ends_makes_room_for_the_next() {
    let slots = new(10);
    let sent = Instant::now() + Duration::from_secs(1);
    let _waiting = place(&slots);
    slots.hear(sent);
    assert!(slots.stall(1, sent, sent));
    for _ in 0..3 {
        let Entry::Place(_trial) = slots.try_enter(sent) else { panic!("a trial") };
        assert!(matches!(slots.try_enter(sent), Entry::Pressed { .. }));
    }
}

#[test]
fn a_line_of_the_callers_own_comes_first() {
    let (slots, now) = (new(4), Instant::now());
    assert!(matches!(slots.enter_behind(1, now), Entry::Full));
    let first = slots.take(now).place().expect("for the first in line");
    assert_eq!(slots.refused(Side::Local, Some(Duration::from_secs(9)), (3, now), now), None);
    assert!(matches!(slots.enter_behind(1, now), Entry::Pressed { .. }));
    drop(first);
    assert_eq!(slots.taken(), 0);
}

#[test]
fn slow_start_begins_at_a_part_of_the_peak() {
    let (slots, now) = (new(100), Instant::now());
    drop((0..40).map(|_| place(&slots)).collect::<Vec<_>>());
    let settings = SlowStart::default();
    slots.come_back(Ramp::begin(settings.min_rate, &settings, now), &settings, now);
    let some: Vec<_> = (0..4).map(|_| slots.try_enter(now)).collect();
    assert!(some.iter().all(|entry| matches!(entry, Entry::Place(_))));
    assert!(matches!(slots.try_enter(now), Entry::Pressed { .. }));
    assert!(matches!(slots.try_enter(now + Duration::from_secs(10)), Entry::Place(_)));
    slots.come_back(None, &settings, now);
    assert!(matches!(slots.try_enter(now), Entry::Place(_)));
}

#[test]
fn reasons_have_names_in_the_order_of_their_counters() {
    let named = Busy::ALL.map(|busy| (busy as usize, busy.as_str()));
    assert_eq!(
        named,
        [(0, "queue_full"), (1, "queue_timeout"), (2, "queue_dispersed"), (3, "learned_limit")]
    );
}
