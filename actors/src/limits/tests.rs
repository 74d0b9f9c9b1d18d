//! What holds for windows, meters and grants together, held against plain models of them.

#![allow(clippy::unwrap_used)]
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

const NONE: Limits = Limits {
    rpm: None,
    rph: None,
    rpd: None,
    tpm: None,
    tph: None,
    tpd: None,
    concurrency: None,
    cost_per_request: None,
};

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn key(meters: &Meters, limits: Limits) -> Limited {
    meters.limited(Holder::Key("ci".into()), limits)
}

fn team(meters: &Meters, limits: Limits) -> Limited {
    meters.limited(Holder::Team("research".into()), limits)
}

#[derive(Debug, Clone)]
enum Step {
    Wait { ms: u64 },
    Ask { tokens: u64, used_percent: u64 },
    EndFirst,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..40_000_u64).prop_map(|ms| Step::Wait { ms }),
        6 => (0..60_u64, 0..=100_u64).prop_map(|(tokens, used_percent)| Step::Ask { tokens, used_percent }),
        2 => Just(Step::EndFirst),
    ]
}

proptest! {
    /// The model is the list of all that was admitted, summed up over every window of the span's length.
    #[test]
    fn no_window_of_any_position_holds_more_than_the_limit(
        steps in prop::collection::vec(step(), 1..300),
        (rpm, tpm, concurrency) in (1..20_u64, 60..200_u64, 1..6_u32),
    ) {
        let (meters, began) = (Meters::default(), Instant::now());
        let limits = Limits { rpm: Some(rpm), tpm: Some(tpm), concurrency: Some(concurrency), ..NONE };
        let mut now = began;
        let mut open: Vec<(Grant, u64)> = Vec::new();
        let mut admitted: Vec<(Instant, u64)> = Vec::new();

        for step in steps {
            match step {
                Step::Wait { ms } => now += Duration::from_millis(ms),
                Step::Ask { tokens, used_percent } => match admit([key(&meters, limits)], tokens, now) {
                    Ok(grant) => {
                        let used = tokens * used_percent / 100;
                        admitted.push((now, used));
                        open.push((grant, used));
                        prop_assert!(open.len() <= concurrency as usize);
                    }
                    Err(denied) if denied.which == Which::Concurrency => {
                        prop_assert_eq!(open.len(), concurrency as usize);
                    }
                    Err(denied) => prop_assert!(denied.retry_after.is_some()),
                },
                Step::EndFirst if open.is_empty() => {}
                Step::EndFirst => {
                    let (mut grant, used) = open.remove(0);
                    grant.used(used);
                }
            }
        }
        for (from, _) in &admitted {
            let window: Vec<_> = admitted.iter().filter(|(at, _)| (*from..*from + secs(60)).contains(at)).collect();
            prop_assert!(window.len() as u64 <= rpm);
            prop_assert!(window.iter().map(|(_, used)| used).sum::<u64>() <= tpm);
        }
    }

    #[test]
    fn who_comes_when_he_is_told_finds_room(asked in prop::collection::vec((1..100_u64, 0..20_000_u64), 1..60)) {
        let (meters, mut now) = (Meters::default(), Instant::now());
        let limits = Limits { rpm: Some(5), tpm: Some(200), tph: Some(600), ..NONE };

        for (tokens, wait_ms) in asked {
            now += Duration::from_millis(wait_ms);
            if let Err(denied) = admit([key(&meters, limits)], tokens, now) {
                let wait = denied.retry_after.unwrap();
                prop_assert!(admit([key(&meters, limits)], tokens, now + wait - Duration::from_millis(1)).is_err());
                now += wait;
                prop_assert!(admit([key(&meters, limits)], tokens, now).is_ok());
            }
        }
    }

    #[test]
    fn what_was_taken_can_be_taken_back_whatever_happens_between(
        (first, second, wait_ms) in (0..100_u64, 0..100_u64, 0..130_000_u64),
    ) {
        let (meters, now) = (Meters::default(), Instant::now());
        let limits = Limits { tpm: Some(100), ..NONE };

        let mut grant = admit([key(&meters, limits)], first, now).unwrap();
        let later = now + Duration::from_millis(wait_ms);
        let other = admit([key(&meters, limits)], second, later);
        grant.used(0);
        drop((grant, other));

        prop_assert!(admit([key(&meters, limits)], 100, later + secs(61)).is_ok());
        prop_assert!(key(&meters, limits).meter.rest(later + secs(130)));
    }
}

/// Returns how many of 64 threads' requests pass in each of 332 steps, which last four minutes and what a limit wastes of
/// them. All ask at the same moments, by a clock that stands still while they ask.
fn saturate(limit: u64) -> Vec<u64> {
    const CALLERS: usize = 64;
    let (meters, began) = (Arc::new(Meters::default()), Instant::now());
    let (barrier, admitted) = (Arc::new(Barrier::new(CALLERS)), Arc::new(Mutex::new(vec![0; STEPS as usize])));
    let limits = Limits { rpm: Some(limit), ..NONE };
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (meters, barrier, admitted) = (meters.clone(), barrier.clone(), admitted.clone());
            std::thread::spawn(move || {
                for step in 0..STEPS {
                    barrier.wait();
                    let now = began + STEP * step;
                    let passed = (0..4).filter(|_| admit([key(&meters, limits)], 0, now).is_ok()).count();
                    admitted.lock().unwrap()[step as usize] += passed as u64;
                }
            })
        })
        .collect();
    callers.into_iter().for_each(|caller| caller.join().unwrap());
    let admitted = admitted.lock().unwrap();
    admitted.clone()
}

/// A minute and its 64th, in 83 steps; and the steps of four of them.
const STEP: Duration = Duration::from_nanos(60_937_500_000_u64.div_ceil(83));
const STEPS: u32 = 4 * 83;

#[test]
fn sixty_four_callers_never_pass_the_limit_and_leave_less_than_a_twentieth_unused() {
    for limit in [100, 1_000, 5_000] {
        let admitted = saturate(limit);

        let steps_of_a_minute = 60_000_u128.div_ceil(STEP.as_millis()) as usize;
        for window in admitted.windows(steps_of_a_minute) {
            assert!(window.iter().sum::<u64>() <= limit, "{window:?} of {limit}");
        }
        let minutes = (STEP * STEPS).as_secs_f64() / 60.0;
        let share = admitted.iter().sum::<u64>() as f64 / (limit as f64 * minutes);
        assert!((0.95..=1.0).contains(&share), "{share} of {limit}");
    }
}

#[test]
fn sixty_four_callers_never_have_more_in_flight_than_is_allowed() {
    let (meters, now) = (Arc::new(Meters::default()), Instant::now());
    let (in_flight, most) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let limits = Limits { concurrency: Some(7), ..NONE };

    let callers: Vec<_> = (0..64)
        .map(|_| {
            let (meters, in_flight, most) = (meters.clone(), in_flight.clone(), most.clone());
            std::thread::spawn(move || {
                for _ in 0..500 {
                    let Ok(grant) = admit([key(&meters, limits), team(&meters, limits)], 0, now) else { continue };
                    most.fetch_max(in_flight.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::yield_now();
                    in_flight.fetch_sub(1, Ordering::SeqCst);
                    drop(grant);
                }
            })
        })
        .collect();
    callers.into_iter().for_each(|caller| caller.join().unwrap());

    assert!((1..=7).contains(&most.load(Ordering::SeqCst)));
    assert!(key(&meters, limits).meter.rest(now) && team(&meters, limits).meter.rest(now));
}

#[test]
fn a_refusal_takes_nothing_from_anybody() {
    let (meters, now) = (Meters::default(), Instant::now());
    let wide = Limits { rpm: Some(10), tpm: Some(1_000), concurrency: Some(10), ..NONE };
    let narrow = Limits { rpm: Some(1), ..NONE };
    let ask = || admit([key(&meters, wide), team(&meters, narrow)], 100, now);

    let first = ask().unwrap();
    let denied = ask().unwrap_err();

    assert_eq!(
        (denied.holder, denied.which),
        (Holder::Team("research".into()), Which::Window(Amount::Requests, Span::Minute))
    );
    assert!(denied.retry_after.unwrap() <= secs(61));
    drop(first);
    let mut alone = admit([key(&meters, wide)], 800, now).unwrap();
    assert_eq!(alone.standing.requests.unwrap().remaining, 8);
    assert_eq!(alone.standing.tokens.unwrap().remaining, 100);
    alone.used(0);
}

#[test]
fn more_than_was_reserved_counts_in_full_and_keeps_out_what_follows() {
    let (meters, now) = (Meters::default(), Instant::now());
    let limits = Limits { tpm: Some(1_000), ..NONE };

    let mut grant = admit([key(&meters, limits)], 100, now).unwrap();
    grant.used(5_000);
    drop(grant);

    let denied = admit([key(&meters, limits)], 1, now).unwrap_err();
    let Rate { limit, remaining, .. } = denied.standing.tokens.unwrap();
    assert_eq!((limit, remaining), (1_000, 0));
    assert!(admit([key(&meters, limits)], 1, now + denied.retry_after.unwrap()).is_ok());
}

#[test]
fn what_is_used_after_its_window_counts_when_it_ends() {
    let (meters, now) = (Meters::default(), Instant::now());
    let limits = Limits { tpm: Some(1_000), ..NONE };

    let mut long = admit([key(&meters, limits)], 100, now).unwrap();
    drop(admit([key(&meters, limits)], 0, now + secs(120)));
    long.used(1_050);
    drop(long);

    assert!(admit([key(&meters, limits)], 51, now + secs(120)).is_err());
    assert!(admit([key(&meters, limits)], 50, now + secs(120)).is_ok());
}

#[test]
fn a_request_beyond_the_whole_limit_is_told_that_it_never_passes() {
    let (meters, now) = (Meters::default(), Instant::now());
    let limits = Limits { rpm: Some(1), tpm: Some(1_000), ..NONE };

    drop(admit([key(&meters, limits)], 10, now));
    let denied = admit([key(&meters, limits)], 1_001, now).unwrap_err();

    assert_eq!((denied.retry_after, denied.asked, denied.limit), (None, 1_001, 1_000));
}

#[test]
fn of_several_limits_in_the_way_the_longest_wait_is_told() {
    let (meters, now) = (Meters::default(), Instant::now());
    let limits = Limits { rpm: Some(1), rph: Some(1), ..NONE };

    drop(admit([key(&meters, limits)], 0, now));
    let denied = admit([key(&meters, limits)], 0, now).unwrap_err();

    assert_eq!(denied.which, Which::Window(Amount::Requests, Span::Hour));
    assert!(denied.retry_after.unwrap() > secs(3_500));
}

#[test]
fn the_tightest_minute_is_shown_before_longer_spans() {
    let (meters, now) = (Meters::default(), Instant::now());
    let of_key = Limits { rpm: Some(50), rpd: Some(2), ..NONE };
    let of_team = Limits { rpm: Some(20), tpd: Some(500), ..NONE };

    let grant = admit([key(&meters, of_key), team(&meters, of_team)], 100, now).unwrap();

    let (requests, tokens) = (grant.standing.requests.unwrap(), grant.standing.tokens.unwrap());
    assert_eq!((requests.span, requests.limit, requests.remaining), (Span::Minute, 20, 19));
    assert_eq!((tokens.span, tokens.limit, tokens.remaining), (Span::Day, 500, 400));
    assert!(requests.reset > secs(59) && requests.reset <= secs(61));
}

#[test]
fn a_new_limit_counts_what_was_used_under_the_old_one() {
    let (meters, now) = (Meters::default(), Instant::now());

    let kept = admit([key(&meters, Limits { rpm: Some(100), ..NONE })], 0, now).unwrap();

    assert!(admit([key(&meters, Limits { rpm: Some(1), ..NONE })], 0, now).is_err());
    assert!(admit([key(&meters, Limits { concurrency: Some(1), ..NONE })], 0, now).is_err());
    drop(kept);
    assert!(admit([key(&meters, Limits { concurrency: Some(1), ..NONE })], 0, now).is_ok());
}

#[test]
fn idle_meters_are_dropped_and_busy_ones_stay() {
    let (meters, now) = (Meters::default(), Instant::now());
    let limits = Limits { rpm: Some(10), ..NONE };
    let user = |name: &str| meters.limited(Holder::User("research".into(), name.into()), limits);

    let busy = admit([key(&meters, limits)], 0, now).unwrap();
    drop(admit([user("ann")], 0, now));
    meters.sweep(now + secs(59));
    assert_eq!(meters.len(), 2);
    meters.sweep(now + secs(62));
    assert_eq!(meters.len(), 1);
    drop(busy);
    meters.sweep(now + secs(62));

    assert!(meters.is_empty());
}

#[test]
fn users_beyond_the_bound_share_one_meter() {
    let (meters, now) = (Meters::default(), Instant::now());
    let limits = Limits { rpm: Some(1), ..NONE };
    let user = |name: usize| meters.limited(Holder::User("research".into(), name.to_string().into()), limits);
    (0..USERS_MAX).for_each(|name| drop(user(name)));

    let one = admit([user(USERS_MAX)], 0, now).unwrap();
    let other = admit([user(USERS_MAX + 1)], 0, now).unwrap_err();

    assert_eq!(other.holder, Holder::FurtherUsers("research".into()));
    assert!(admit([user(0)], 0, now).is_ok());
    drop(one);
    meters.sweep(now + secs(70));
    assert_eq!(user(USERS_MAX).holder, Holder::User("research".into(), USERS_MAX.to_string().into()));
}
