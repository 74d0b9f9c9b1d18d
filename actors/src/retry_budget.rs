//! Keeps retries from becoming a storm: they may be a share of the requests plus a few per second, and no more.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long unused allowance is kept.
const WINDOW: Duration = Duration::from_secs(10);

/// One budget per alias, shared by all workers. With `share` 0.2 and 3 per second, total failure of an upstream at
/// 1,000 requests/s costs it at most 1,203 calls/s.
#[derive(Debug)]
pub struct RetryBudget {
    share: f64,
    per_second: f64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    earned: f64,
    free: f64,
    at: Instant,
}

impl RetryBudget {
    /// Returns a budget of `share` × requests + `per_second`, the latter's window full.
    pub fn new(share: f64, per_second: f64, now: Instant) -> Self {
        let free = per_second * WINDOW.as_secs_f64();
        Self { share, per_second, state: Mutex::new(State { earned: 0.0, free, at: now }) }
    }

    /// Counts one request, which earns its share of a retry.
    pub fn on_request(&self, now: Instant) {
        let mut state = self.refilled(now);
        state.earned += self.share;
    }

    /// Takes one retry if the budget has it.
    pub fn take(&self, now: Instant) -> bool {
        let state = &mut *self.refilled(now);
        let pot = if state.earned >= 1.0 { &mut state.earned } else { &mut state.free };
        if *pot < 1.0 {
            return false;
        }
        *pot -= 1.0;
        true
    }

    fn refilled(&self, now: Instant) -> std::sync::MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let elapsed = now.saturating_duration_since(state.at).as_secs_f64();
        // What was earned fades over the window, so that a quiet hour saves nothing up for a storm.
        state.earned *= (-elapsed / WINDOW.as_secs_f64()).exp();
        state.free = (state.free + elapsed * self.per_second).min(self.per_second * WINDOW.as_secs_f64());
        state.at = now;
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn under_total_failure_retries_stay_below_a_fifth_and_three_a_second() {
        let start = Instant::now();
        let budget = RetryBudget::new(0.2, 3.0, start);

        let mut retries = 0;
        for call in 0..60_000u64 {
            let now = start + Duration::from_millis(call);
            budget.on_request(now);
            retries += u64::from(budget.take(now));
        }

        // The full free window of 30 at the start comes on top of the steady rate.
        assert!(retries <= 60_000 / 5 + 60 * 3 + 30, "{retries}");
        assert!(retries >= 10_000, "{retries}");
    }

    #[test]
    fn a_lone_request_may_retry() {
        let start = Instant::now();
        let budget = RetryBudget::new(0.2, 3.0, start);

        budget.on_request(start);

        assert!(budget.take(start) && budget.take(start));
    }
}
