#![allow(clippy::unwrap_used)]

use config::{Budget, Coverage, OnceSpent, Period, Reserve, TimeZone};

use super::*;

fn rule(amount: u64, per: Period) -> Rule {
    aged(amount, per, 1)
}

/// A rule of a later configuration.
fn aged(amount: u64, per: Period, age: u64) -> Rule {
    Rule::of(&budget(amount, per), age)
}

fn budget(amount: u64, per: Period) -> Budget {
    Budget {
        name: "b".to_owned(),
        amount: Picodollars::new(amount),
        per,
        time_zone: TimeZone::default(),
        of: Coverage::default(),
        each: None,
        then: OnceSpent::Next,
        reserve: Reserve::Maximum,
        warn_at: 0.8,
    }
}

fn pico(amount: u64) -> Picodollars {
    Picodollars::new(amount)
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Reserves without a store.
fn reserve(account: &Account, rule: &Rule, amount: u64, now: i64) -> Answer {
    account.reserve(rule, pico(amount), true, at(now))
}

fn is_reserved(answer: Answer) -> bool {
    matches!(answer, Answer::Reserved { .. })
}

#[test]
fn spent_and_reserved_never_pass_the_amount() {
    let (account, rule) = (Account::default(), rule(100, Period::Seconds(60)));
    assert!(is_reserved(reserve(&account, &rule, 60, 0)));
    // It would fit once the other has cost less.
    assert_eq!(reserve(&account, &rule, 41, 0), Answer::Taken);
    account.settle(&rule, pico(60), pico(10), at(1));
    assert!(is_reserved(reserve(&account, &rule, 90, 1)));
    account.settle(&rule, pico(90), pico(90), at(2));
    assert_eq!(reserve(&account, &rule, 1, 2), Answer::Spent { until: at(60) });
    assert!(is_reserved(reserve(&account, &rule, 0, 2)));
    // A new window, new money.
    assert!(is_reserved(reserve(&account, &rule, 100, 60)));
    let overflow = account.reserve(&rule, Picodollars::MAX, true, at(60));
    assert_eq!(overflow, Answer::Spent { until: at(120) });
}

#[test]
fn what_is_reserved_goes_on_into_the_next_window() {
    let (account, rule) = (Account::default(), rule(100, Period::Seconds(60)));
    assert!(is_reserved(reserve(&account, &rule, 70, 59)));
    assert_eq!(reserve(&account, &rule, 40, 61), Answer::Taken);
    account.settle(&rule, pico(70), pico(70), at(62));
    let Balance { spent, reserved, window } = account.balance(&rule, at(62));
    assert_eq!((spent, reserved, window.start), (pico(70), pico(0), at(60)));
}

#[test]
fn a_clock_that_is_set_back_brings_no_money_back() {
    let (account, rule) = (Account::default(), rule(100, Period::Seconds(60)));
    assert!(is_reserved(reserve(&account, &rule, 100, 3_600)));
    account.settle(&rule, pico(100), pico(100), at(3_600));
    assert_eq!(reserve(&account, &rule, 1, 10), Answer::Spent { until: at(3_660) });
    assert!(is_reserved(reserve(&account, &rule, 1, 3_660)));
}

#[test]
fn nothing_is_reserved_beyond_the_lease() {
    let (account, rule) = (Account::default(), rule(1_000, Period::Hour));
    let reserve = |amount| account.reserve(&rule, pico(amount), false, at(7_200));
    assert_eq!([reserve(5), reserve(5)], [Answer::Unleased; 2]);
    let entry = account.wanted().unwrap();
    // A hundredth, or four of the largest reservation, beside all that wait.
    assert_eq!(entry, Entry { start: 7_200, end: 10_800, lease: pico(35) });
    account.written(entry);
    for _ in 0..5 {
        assert_eq!(reserve(5), Answer::Reserved { low: false });
    }
    // Less than half of a step is left: more is asked for before it is needed.
    assert_eq!([reserve(5), reserve(5)], [Answer::Reserved { low: true }; 2]);
    assert_eq!(account.wanted().unwrap().lease, pico(50));
    assert_eq!(reserve(5), Answer::Unleased);
    // What costs less frees the lease for others.
    account.settle(&rule, pico(5), pico(1), at(7_201));
    assert_eq!(reserve(4), Answer::Reserved { low: true });
    assert_eq!(account.last().unwrap().lease, pico(35));
}

#[test]
fn a_lease_counts_as_spent_after_a_crash_until_its_window_ends() {
    let rule = rule(100, Period::Seconds(60));
    let kept = |start| Account::kept(Entry { start, end: start + 60, lease: pico(90) });
    let account = kept(60);
    assert_eq!(reserve(&account, &rule, 11, 61), Answer::Spent { until: at(120) });
    assert!(is_reserved(reserve(&account, &rule, 10, 61)));
    // Of an earlier window.
    assert!(is_reserved(reserve(&kept(0), &rule, 100, 61)));
    // Of a later one: the clock was set back.
    assert_eq!(reserve(&kept(600), &rule, 11, 61), Answer::Spent { until: at(660) });
}

#[test]
fn a_month_goes_on_over_a_change_of_clocks() {
    let second = |time: &str| time.parse::<Timestamp>().unwrap().as_second();
    let berlin = TimeZone::named("Europe/Berlin").unwrap();
    let rule = Rule::of(&Budget { time_zone: berlin, ..budget(100, Period::Month) }, 1);
    let account = Account::default();
    // Summer time ends on 25 October, an hour before the same time of day.
    let end = at(second("2026-10-31T23:00:00Z"));
    let spend = |amount, time: &str| {
        let now = second(time);
        let answer = reserve(&account, &rule, amount, now);
        if is_reserved(answer) {
            account.settle(&rule, pico(amount), pico(amount), at(now));
        }
        answer
    };
    assert!(is_reserved(spend(60, "2026-09-30T22:00:00Z")), "midnight in Berlin");
    assert!(is_reserved(spend(39, "2026-10-25T00:59:59Z")));
    assert_eq!(spend(2, "2026-10-25T01:00:00Z"), Answer::Spent { until: end });
    assert_eq!(spend(2, "2026-10-31T22:59:59Z"), Answer::Spent { until: end });
    assert!(is_reserved(spend(100, "2026-10-31T23:00:00Z")));
}

#[test]
fn a_window_in_the_future_is_told_once() {
    let rule = rule(100, Period::Seconds(60));
    let account = Account::kept(Entry { start: 600, end: 660, lease: pico(90) });
    assert!(!account.tells_ahead(at(61)), "before its first use");
    assert!(is_reserved(reserve(&account, &rule, 10, 61)));
    assert_eq!([account.tells_ahead(at(61)), account.tells_ahead(at(62))], [true, false]);
    assert!(is_reserved(reserve(&account, &rule, 90, 660)));
    // A correction of a minute is none.
    assert_eq!([account.tells_ahead(at(600)), account.tells_ahead(at(599))], [false, true]);
}

#[test]
fn another_period_keeps_what_was_spent() {
    let (account, minute, day) =
        (Account::default(), rule(100, Period::Seconds(60)), aged(150, Period::Day, 2));
    assert!(is_reserved(reserve(&account, &minute, 100, 30)));
    account.settle(&minute, pico(100), pico(100), at(30));
    assert_eq!(reserve(&account, &day, 51, 31), Answer::Spent { until: at(86_400) });
    assert!(is_reserved(reserve(&account, &day, 50, 31)));
}

#[test]
fn it_is_told_once_in_a_window_that_most_is_spent() {
    let (account, rule) = (Account::default(), rule(100, Period::Seconds(60)));
    let settle = |cost, now| {
        assert!(is_reserved(reserve(&account, &rule, 0, now)));
        account.settle(&rule, pico(0), pico(cost), at(now))
    };
    assert_eq!([settle(79, 0), settle(1, 1), settle(1, 2)], [false, true, false]);
    assert_eq!([settle(79, 60), settle(5, 61)], [false, true]);
}

#[test]
fn a_request_from_before_a_reload_does_not_bring_old_windows_back() {
    let (account, minute, day) =
        (Account::default(), rule(100, Period::Seconds(60)), aged(100, Period::Day, 2));
    assert!(is_reserved(reserve(&account, &minute, 10, 0)));
    assert!(is_reserved(reserve(&account, &day, 50, 1)));
    account.settle(&day, pico(50), pico(50), at(2));
    assert!(is_reserved(reserve(&account, &minute, 10, 300)));
    account.settle(&minute, pico(10), pico(10), at(300));
    account.settle(&minute, pico(10), pico(0), at(301));
    // With the old windows, the minutes since would have brought the money back.
    let Balance { spent, window, .. } = account.balance(&day, at(4_000));
    assert_eq!((spent, window.end), (pico(60), at(86_400)));
}

#[test]
fn another_period_after_a_restart_keeps_what_was_spent() {
    let month = Entry { start: 0, end: 2_678_400, lease: pico(90) };
    let account = Account::kept(month);
    let day = rule(100, Period::Day);
    assert_eq!(reserve(&account, &day, 11, 1_000_000), Answer::Spent { until: at(1_036_800) });
    assert!(is_reserved(reserve(&account, &day, 100, 1_036_800)));
}
