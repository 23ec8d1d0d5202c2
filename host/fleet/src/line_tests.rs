use std::pin::{Pin, pin};

use futures_util::FutureExt;

use super::super::slots::Entry;
use super::super::slots::tests::{new, place};
use super::*;

/// Length of the queues.
const QUEUE: u32 = 2;

fn far() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

/// Waits for any of the deployments, whose positions are those in the list.
async fn wait(all: &[&Arc<Slots>], until: Instant) -> Told {
    let wanted = all.iter().enumerate().map(|(at, slots)| Wanted { at, slots, queue: QUEUE });
    wait_for_any(wanted, until, |_| true).await
}

fn waits(mut waiting: Pin<&mut impl Future<Output = Told>>) -> bool {
    waiting.as_mut().now_or_never().is_none()
}

#[tokio::test]
async fn a_freed_place_goes_to_the_first_that_waits() {
    let slots = new(1);
    let taken = place(&slots);
    let all = [&slots];
    let (mut first, mut second) = (pin!(wait(&all, far())), pin!(wait(&all, far())));
    assert!(waits(first.as_mut()) && waits(second.as_mut()));
    assert_eq!(slots.waiting(), 2);
    assert_eq!(wait(&all, far()).await.err(), Some(Busy::Full));
    drop(taken);
    assert!(waits(second.as_mut()));
    assert!(matches!(slots.try_enter(Instant::now()), Entry::Full), "those who wait come first");
    let (at, place) = first.await.expect("a place");
    assert_eq!((at, slots.waiting()), (0, 1));
    drop(place);
    assert!(second.await.is_ok());
}

#[tokio::test]
async fn any_of_several_deployments_will_do() {
    let (one, two) = (new(1), new(1));
    let (first, second) = (place(&one), place(&two));
    let both = [&one, &two];
    let mut waiting = pin!(wait(&both, far()));
    assert!(waits(waiting.as_mut()));
    let only = [&two];
    let mut other = pin!(wait(&only, far()));
    assert!(waits(other.as_mut()));
    drop(second);
    let (at, _second) = waiting.await.expect("a place");
    assert_eq!((at, one.waiting(), two.waiting()), (1, 0, 1));
    drop(first);
    assert!(waits(other.as_mut()), "that place does not fit it");
    assert!(matches!(one.try_enter(Instant::now()), Entry::Place(_)));
}

#[tokio::test]
async fn one_request_takes_one_place() {
    let (one, two) = (new(1), new(1));
    let (first, second) = (place(&one), place(&two));
    let both = [&one, &two];
    let mut waiting = pin!(wait(&both, far()));
    assert!(waits(waiting.as_mut()));
    drop((first, second));
    let (at, _place) = waiting.await.expect("a place");
    assert_eq!((at, one.taken(), two.taken()), (0, 1, 0));
}

#[tokio::test]
async fn waiting_ends_with_its_time_and_its_request() {
    let slots = new(1);
    let _taken = place(&slots);
    let all = [&slots];
    let soon = Instant::now() + Duration::from_millis(1);
    assert_eq!(wait(&all, soon).await.err(), Some(Busy::Waited));
    assert_eq!(wait(&all, Instant::now()).await.err(), Some(Busy::Waited));
    // A request whose client goes away leaves the line.
    assert!(wait(&all, far()).now_or_never().is_none());
    assert_eq!(slots.waiting(), 0);
}

#[tokio::test]
async fn a_place_for_a_request_that_left_goes_to_the_next() {
    let slots = new(1);
    let taken = place(&slots);
    let all = [&slots];
    let mut first = Box::pin(wait(&all, far()));
    let mut second = pin!(wait(&all, far()));
    assert!(waits(first.as_mut()) && waits(second.as_mut()));
    drop(taken);
    // It was handed the place, and never looked.
    drop(first);
    assert!(second.await.is_ok());
}

#[tokio::test]
async fn a_deployment_out_of_use_keeps_nobody() {
    let (one, two) = (new(1), new(1));
    let (_first, second) = (place(&one), place(&two));
    let (only, both) = ([&one], [&one, &two]);
    let (mut waiting, mut other) = (pin!(wait(&only, far())), pin!(wait(&both, far())));
    assert!(waits(waiting.as_mut()) && waits(other.as_mut()));
    one.disperse();
    assert_eq!(waiting.await.err(), Some(Busy::Dispersed));
    assert!(waits(other.as_mut()), "it waits for the other one");
    drop(second);
    assert!(other.await.is_ok());
}

#[tokio::test]
async fn a_deployment_that_goes_just_before_the_wait_keeps_nobody() {
    let slots = new(1);
    let _taken = place(&slots);
    let wanted = || std::iter::once(Wanted { at: 0, slots: &slots, queue: QUEUE });
    let told = wait_for_any(wanted(), far(), |_| false).await;
    assert_eq!(told.err(), Some(Busy::Dispersed));
    let goes = |_| {
        slots.disperse();
        true
    };
    assert_eq!(wait_for_any(wanted(), far(), goes).await.err(), Some(Busy::Dispersed));
    assert_eq!(slots.waiting(), 0);
}

#[tokio::test]
async fn the_end_of_a_pause_wakes_the_first() {
    let slots = new(5);
    let only = place(&slots);
    slots.refuse(1, Instant::now(), Instant::now());
    drop(only);
    let all = [&slots];
    let (mut first, mut second) = (pin!(wait(&all, far())), pin!(wait(&all, far())));
    assert!(waits(first.as_mut()) && waits(second.as_mut()));
    let (_, place) = first.await.expect("the pause ends");
    assert!(waits(second.as_mut()), "one trial at a time");
    let now = Instant::now();
    slots.answer(now, now);
    drop(place);
    assert!(second.await.is_ok());
}

#[tokio::test]
async fn a_pause_that_begins_meanwhile_is_waited_out() {
    let slots = new(5);
    let only = place(&slots);
    slots.refuse(1, Instant::now(), Instant::now());
    drop(only);
    let all = [&slots];
    let mut first = pin!(wait(&all, far()));
    assert!(waits(first.as_mut()));
    let (_, trial) = first.await.expect("the pause ends");
    // These wait for the end of the trial, which begins another pause.
    let (mut second, mut third) = (pin!(wait(&all, far())), pin!(wait(&all, far())));
    assert!(waits(second.as_mut()) && waits(third.as_mut()));
    slots.refuse(1, Instant::now(), Instant::now());
    drop(trial);
    let (_, trial) = second.await.expect("the pause ends");
    slots.refuse(1, Instant::now(), Instant::now());
    drop(trial);
    assert!(third.await.is_ok());
}

#[tokio::test]
async fn more_places_wake_as_many() {
    let slots = new(1);
    let _taken = place(&slots);
    let all = [&slots];
    let (mut first, mut second) = (pin!(wait(&all, far())), pin!(wait(&all, far())));
    assert!(waits(first.as_mut()) && waits(second.as_mut()));
    slots.resize(3);
    let (first, second) = (first.await, second.await);
    assert!(first.is_ok() && second.is_ok());
    assert_eq!(slots.taken(), 3);
}
