//! The circuit breaker: stops calls to what keeps failing, and lets one live call through to see if it heals.
//!
//! Opens after `open_after` failures in a row, or when half of at least `min_requests` calls within `window` failed.
//! Open lasts `open_for × 2ⁿ` up to `open_for_max`, ± 20 % by chance so that many breakers do not knock together;
//! n grows when it trips again soon after it closed. Half open admits a single call; its outcome decides.

use std::time::{Duration, Instant};

/// Share of failed calls in the window that opens the breaker.
const FAILED_SHARE: f64 = 0.5;
/// How many buckets the window is cut into.
const BUCKETS: usize = 10;

/// The numbers of a breaker; defaults as in `config/bursar.toml`.
#[derive(Debug, Clone, PartialEq)]
pub struct BreakerPolicy {
    /// Failures in a row that open it.
    pub open_after: u32,
    /// What the failed share is measured over.
    pub window: Duration,
    /// Fewer calls than this within the window never open it by share.
    pub min_requests: u32,
    /// First time it stays open.
    pub open_for: Duration,
    /// Longest time it stays open.
    pub open_for_max: Duration,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self {
            open_after: 5,
            window: Duration::from_secs(30),
            min_requests: 10,
            open_for: Duration::from_secs(10),
            open_for_max: Duration::from_secs(300),
        }
    }
}

/// What the breaker lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Everything.
    Closed,
    /// Nothing before `until`.
    Open {
        /// When it becomes half open.
        until: Instant,
    },
    /// One call at a time; `probing` says that it is out.
    HalfOpen {
        /// Whether the one call is out.
        probing: bool,
    },
}

impl BreakerState {
    /// Returns whether a call may go now.
    pub fn admits(self, now: Instant) -> bool {
        match self {
            Self::Closed => true,
            Self::Open { until } => now >= until,
            Self::HalfOpen { probing } => !probing,
        }
    }

    /// Returns the state's name in metrics and lists.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open { .. } => "open",
            Self::HalfOpen { .. } => "half_open",
        }
    }
}

/// A call that the breaker let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// An ordinary call.
    Plain,
    /// The one call of the half-open state; its outcome closes or opens the breaker.
    Probe,
}

/// One breaker.
#[derive(Debug, Clone)]
pub struct CircuitBreaker {
    policy: BreakerPolicy,
    state: BreakerState,
    failures_in_a_row: u32,
    /// How many of these were probes.
    of_probes: u32,
    buckets: [(u32, u32); BUCKETS],
    bucket_started: Instant,
    bucket: usize,
    trips: u32,
    closed_at: Option<Instant>,
}

impl CircuitBreaker {
    /// Returns a closed breaker.
    pub fn closed(policy: BreakerPolicy, now: Instant) -> Self {
        Self {
            policy,
            state: BreakerState::Closed,
            failures_in_a_row: 0,
            of_probes: 0,
            buckets: [(0, 0); BUCKETS],
            bucket_started: now,
            bucket: 0,
            trips: 0,
            closed_at: None,
        }
    }

    /// Returns a breaker that lets a single call through first, as after a restart of its actor.
    pub fn half_open(policy: BreakerPolicy, now: Instant) -> Self {
        Self { state: BreakerState::HalfOpen { probing: false }, ..Self::closed(policy, now) }
    }

    /// Goes by other numbers from now on; state and counts stay, and a break that runs ends when it was to end.
    pub fn renew(&mut self, policy: BreakerPolicy) {
        self.policy = policy;
    }

    /// Returns the current state.
    pub fn state(&self) -> BreakerState {
        self.state
    }

    /// Lets a call through, or says until when not (`None` while the probe is out).
    pub fn pass(&mut self, now: Instant) -> Result<Pass, Option<Instant>> {
        match self.state {
            BreakerState::Closed => Ok(Pass::Plain),
            BreakerState::Open { until } if now < until => Err(Some(until)),
            BreakerState::HalfOpen { probing: true } => Err(None),
            BreakerState::Open { .. } | BreakerState::HalfOpen { probing: false } => {
                self.state = BreakerState::HalfOpen { probing: true };
                Ok(Pass::Probe)
            }
        }
    }

    /// Takes in a call that went well.
    pub fn on_success(&mut self, pass: Pass, now: Instant) {
        match (self.state, pass) {
            (BreakerState::Closed, _) => {
                (self.failures_in_a_row, self.of_probes) = (0, 0);
                self.count(false, now);
            }
            (BreakerState::HalfOpen { .. }, Pass::Probe) => self.close(now),
            // A late answer from before the trip says nothing about now.
            _ => {}
        }
    }

    /// Takes in a call that failed; `draw` in [0, 1) spreads the time it stays open. Returns whether it tripped.
    pub fn on_failure(&mut self, pass: Pass, now: Instant, draw: f64) -> bool {
        match (self.state, pass) {
            (BreakerState::Closed, _) => {
                self.failures_in_a_row += 1;
                let (all, failed) = self.count(true, now);
                let by_share = all >= self.policy.min_requests && f64::from(failed) >= FAILED_SHARE * f64::from(all);
                if self.failures_in_a_row < self.policy.open_after && !by_share {
                    return false;
                }
                self.open(now, draw);
                true
            }
            (BreakerState::HalfOpen { .. }, Pass::Probe) => {
                self.open(now, draw);
                true
            }
            _ => false,
        }
    }

    /// Takes in a probe of the list of models that failed: counts like a call while closed, and says nothing of a breaker
    /// that live calls have to close. Returns whether it tripped.
    pub fn on_probe_failure(&mut self, now: Instant, draw: f64) -> bool {
        if self.state != BreakerState::Closed {
            return false;
        }
        self.of_probes += 1;
        self.on_failure(Pass::Plain, now, draw)
    }

    /// Takes in a probe that was answered: takes back what earlier probes counted, and nothing that live calls did, because
    /// an upstream may list its models and yet serve none.
    pub fn on_probe_success(&mut self) {
        self.failures_in_a_row = self.failures_in_a_row.saturating_sub(std::mem::take(&mut self.of_probes));
    }

    /// Takes back a probe whose call ended without a verdict (the client went away).
    pub fn on_void(&mut self, pass: Pass) {
        if pass == Pass::Probe && self.state == (BreakerState::HalfOpen { probing: true }) {
            self.state = BreakerState::HalfOpen { probing: false };
        }
    }

    /// Ends an open time early: the next call is the probe.
    pub fn wake(&mut self) {
        if matches!(self.state, BreakerState::Open { .. }) {
            self.state = BreakerState::HalfOpen { probing: false };
        }
    }

    fn close(&mut self, now: Instant) {
        self.state = BreakerState::Closed;
        (self.failures_in_a_row, self.of_probes) = (0, 0);
        self.buckets = [(0, 0); BUCKETS];
        self.closed_at = Some(now);
    }

    fn open(&mut self, now: Instant, draw: f64) {
        let healthy_for = self.closed_at.map(|at| now.saturating_duration_since(at));
        let relapsed = self.state != BreakerState::Closed
            || healthy_for.is_some_and(|healthy_for| healthy_for < 2 * self.open_time());
        self.trips = if relapsed { self.trips + 1 } else { 1 };
        let spread = 0.8 + 0.4 * draw;
        self.state = BreakerState::Open { until: now + self.open_time().mul_f64(spread) };
    }

    /// Returns `open_for × 2ⁿ⁻¹` for the n-th trip in a row, at most `open_for_max`.
    fn open_time(&self) -> Duration {
        let doublings = self.trips.saturating_sub(1).min(16);
        self.policy.open_for.saturating_mul(1 << doublings).min(self.policy.open_for_max)
    }

    /// Counts a call into the window and returns its sums: all, failed.
    fn count(&mut self, failed: bool, now: Instant) -> (u32, u32) {
        let width = self.policy.window / BUCKETS as u32;
        let mut steps = 0;
        while now.saturating_duration_since(self.bucket_started) >= width && steps < BUCKETS {
            self.bucket = (self.bucket + 1) % BUCKETS;
            self.buckets[self.bucket] = (0, 0);
            self.bucket_started += width;
            steps += 1;
        }
        if steps == BUCKETS {
            self.bucket_started = now;
        }
        let (all, bad) = &mut self.buckets[self.bucket];
        *all += 1;
        *bad += u32::from(failed);
        self.buckets.iter().fold((0, 0), |sum, bucket| (sum.0 + bucket.0, sum.1 + bucket.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn breaker() -> (CircuitBreaker, Instant) {
        let now = Instant::now();
        (CircuitBreaker::closed(BreakerPolicy::default(), now), now)
    }

    fn trip(breaker: &mut CircuitBreaker, now: Instant) {
        for _ in 0..5 {
            breaker.on_failure(Pass::Plain, now, 0.5);
        }
    }

    #[test]
    fn five_failures_in_a_row_open_it() {
        let (mut breaker, now) = breaker();

        trip(&mut breaker, now);

        assert_eq!(breaker.pass(now), Err(Some(now + 10 * SECOND)));
    }

    #[test]
    fn half_of_ten_calls_within_the_window_open_it() {
        let (mut breaker, now) = breaker();

        for call in 0..5 {
            breaker.on_success(Pass::Plain, now + call * SECOND);
            breaker.on_failure(Pass::Plain, now + call * SECOND, 0.5);
        }

        assert!(matches!(breaker.state(), BreakerState::Open { .. }));
    }

    #[test]
    fn failures_older_than_the_window_are_forgotten() {
        let (mut breaker, now) = breaker();

        for call in 0..20 {
            breaker.on_success(Pass::Plain, now + call * 20 * SECOND);
            breaker.on_failure(Pass::Plain, now + call * 20 * SECOND, 0.5);
        }

        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[test]
    fn an_open_breaker_admits_one_probe_after_the_cool_down() {
        let (mut breaker, now) = breaker();
        trip(&mut breaker, now);
        let later = now + 10 * SECOND;

        assert_eq!(breaker.pass(later), Ok(Pass::Probe));
        assert_eq!(breaker.pass(later), Err(None));

        breaker.on_success(Pass::Probe, later);
        assert_eq!(breaker.pass(later), Ok(Pass::Plain));
    }

    #[test]
    fn a_failed_probe_doubles_the_time_up_to_the_cap() {
        let (mut breaker, mut now) = breaker();
        trip(&mut breaker, now);

        let mut open_s = Vec::new();
        for _ in 0..6 {
            let BreakerState::Open { until } = breaker.state() else { panic!("open after a failed probe") };
            open_s.push((until - now).as_secs());
            now = until;
            assert_eq!(breaker.pass(now), Ok(Pass::Probe));
            breaker.on_failure(Pass::Probe, now, 0.5);
        }

        assert_eq!(open_s, [10, 20, 40, 80, 160, 300]);
    }

    #[test]
    fn a_probe_without_a_verdict_frees_its_place() {
        let (mut breaker, now) = breaker();
        trip(&mut breaker, now);
        let later = now + 10 * SECOND;
        assert_eq!(breaker.pass(later), Ok(Pass::Probe));

        breaker.on_void(Pass::Probe);

        assert_eq!(breaker.pass(later), Ok(Pass::Probe));
    }

    #[test]
    fn late_answers_from_before_the_trip_change_nothing() {
        let (mut breaker, now) = breaker();
        trip(&mut breaker, now);

        breaker.on_success(Pass::Plain, now + SECOND);

        assert!(matches!(breaker.state(), BreakerState::Open { .. }));
    }

    #[test]
    fn probes_that_fail_open_a_closed_breaker_and_one_that_is_answered_takes_them_back() {
        let (mut breaker, now) = breaker();

        (0..4).for_each(|_| assert!(!breaker.on_probe_failure(now, 0.5)));
        breaker.on_probe_success();
        (0..4).for_each(|_| assert!(!breaker.on_probe_failure(now, 0.5)));

        assert!(breaker.on_probe_failure(now, 0.5));
    }

    #[test]
    fn an_answered_probe_takes_back_no_failure_of_a_call() {
        let (mut breaker, now) = breaker();
        (0..3).for_each(|_| _ = breaker.on_failure(Pass::Plain, now, 0.5));
        breaker.on_probe_failure(now, 0.5);

        breaker.on_probe_success();

        assert!(!breaker.on_failure(Pass::Plain, now, 0.5));
        assert!(breaker.on_failure(Pass::Plain, now, 0.5), "the fifth of a call");
    }

    #[test]
    fn an_open_breaker_heeds_no_probe() {
        let (mut breaker, now) = breaker();
        trip(&mut breaker, now);
        let opened = breaker.state();

        breaker.on_probe_success();
        assert!(!breaker.on_probe_failure(now + 60 * SECOND, 0.5));

        assert_eq!(breaker.state(), opened);
    }
}
