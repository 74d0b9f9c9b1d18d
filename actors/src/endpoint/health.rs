//! How well an endpoint or a key does: latency that remembers peaks, error rate, and how much it was used of late.
//!
//! All three decay by the time that passed, so that a bad minute is forgotten and a slow key is tried again.

use std::time::{Duration, Instant};

/// Time constant of the latency: after it, 63 % of a peak is forgotten.
const LATENCY_TAU: Duration = Duration::from_secs(10);
/// Time constant of the error rate.
const ERROR_TAU: Duration = Duration::from_secs(30);
/// Time constant of the count of recent picks.
const RECENT_TAU: Duration = Duration::from_secs(1);

/// Returns the share of an old value that is left after `elapsed`.
fn left_after(elapsed: Duration, tau: Duration) -> f64 {
    (-elapsed.as_secs_f64() / tau.as_secs_f64()).exp()
}

/// Latency that jumps to every peak and forgets it slowly ("peak EWMA", as Finagle's load balancer has it).
#[derive(Debug, Clone, Copy, Default)]
pub struct PeakEwma {
    last: Option<(f64, Instant)>,
}

impl PeakEwma {
    /// Takes in one measured latency.
    pub fn observe(&mut self, latency: Duration, now: Instant) {
        let sample_us = latency.as_secs_f64() * 1e6;
        let value_us = match self.last {
            Some((value_us, at)) if sample_us < value_us => {
                let left = left_after(now.saturating_duration_since(at), LATENCY_TAU);
                value_us * left + sample_us * (1.0 - left)
            }
            _ => sample_us,
        };
        self.last = Some((value_us, now));
    }

    /// Returns the latency in µs, decayed to `now`; `None` before the first sample.
    pub fn estimate_us(&self, now: Instant) -> Option<f64> {
        self.last.map(|(value_us, at)| value_us * left_after(now.saturating_duration_since(at), LATENCY_TAU))
    }

    /// Returns the last value in µs as it was when measured, for display.
    pub fn last_us(&self) -> Option<f64> {
        self.last.map(|(value_us, _)| value_us)
    }
}

/// Share of calls that failed, weighted towards the last half minute.
#[derive(Debug, Clone, Copy, Default)]
pub struct ErrorRate {
    failed: f64,
    all: f64,
    at: Option<Instant>,
}

impl ErrorRate {
    /// Takes in one call.
    pub fn observe(&mut self, failed: bool, now: Instant) {
        let left = self.at.map_or(0.0, |at| left_after(now.saturating_duration_since(at), ERROR_TAU));
        self.failed = self.failed * left + f64::from(u8::from(failed));
        self.all = self.all * left + 1.0;
        self.at = Some(now);
    }

    /// Returns the share of failed calls, 0 to 1. Few calls count for less: one failure alone is no rate of 100 %.
    pub fn share(&self, now: Instant) -> f64 {
        let left = self.at.map_or(0.0, |at| left_after(now.saturating_duration_since(at), ERROR_TAU));
        // Two imagined good calls keep a single early failure from looking like a dead endpoint.
        self.failed * left / (self.all * left + 2.0)
    }
}

/// How often something was picked within about the last second.
#[derive(Debug, Clone, Copy, Default)]
pub struct Recent {
    count: f64,
    at: Option<Instant>,
}

impl Recent {
    /// Counts one pick.
    pub fn pick(&mut self, now: Instant) {
        self.count = self.count(now) + 1.0;
        self.at = Some(now);
    }

    /// Returns the decayed number of picks.
    pub fn count(&self, now: Instant) -> f64 {
        self.at.map_or(0.0, |at| self.count * left_after(now.saturating_duration_since(at), RECENT_TAU))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_jumps_to_a_peak_and_forgets_it_slowly() {
        let start = Instant::now();
        let mut latency = PeakEwma::default();

        latency.observe(Duration::from_millis(10), start);
        latency.observe(Duration::from_millis(100), start);

        assert_eq!(latency.estimate_us(start), Some(100_000.0));
        let later = latency.estimate_us(start + LATENCY_TAU).expect("two samples were taken");
        assert!((36_000.0..38_000.0).contains(&later), "{later}");
    }

    #[test]
    fn one_early_failure_is_no_rate_of_a_hundred_percent() {
        let now = Instant::now();
        let mut rate = ErrorRate::default();

        rate.observe(true, now);
        assert!(rate.share(now) < 0.5);

        for _ in 0..50 {
            rate.observe(true, now);
        }
        assert!(rate.share(now) > 0.9);
    }

    #[test]
    fn recent_picks_fade_within_seconds() {
        let now = Instant::now();
        let mut recent = Recent::default();

        recent.pick(now);
        recent.pick(now);

        assert_eq!(recent.count(now), 2.0);
        assert!(recent.count(now + Duration::from_secs(5)) < 0.1);
    }
}
