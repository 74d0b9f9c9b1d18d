//! What a provider lets one key do within its window: requests or tokens per minute.
//!
//! Starts from the operator's figure, if any, and follows the provider's own headers as soon as they come. Between two
//! headers it counts down by what was sent, so that a burst does not have to be refused to be noticed.

use std::time::{Duration, Instant};

use crate::outcome::Learned;

/// Window of a figure that names none.
const WINDOW: Duration = Duration::from_secs(60);

/// One window of one kind (requests or tokens). Unknown until configured or learned, and then unlimited.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    limit: Option<u64>,
    left: Option<u64>,
    full_at: Instant,
}

impl Allowance {
    /// Returns a full window of `limit` per minute; `None` knows no bound yet.
    pub fn configured(limit: Option<u64>, now: Instant) -> Self {
        Self { limit, left: limit, full_at: now + WINDOW }
    }

    /// Takes in what the provider's headers said.
    pub fn learn(&mut self, learned: Option<Learned>, now: Instant) {
        let Some(learned) = learned else { return };
        self.limit = learned.limit.or(self.limit);
        self.left = Some(learned.remaining);
        self.full_at = now + learned.reset.unwrap_or(WINDOW);
    }

    /// Counts `amount` as used.
    pub fn take(&mut self, amount: u64, now: Instant) {
        if now >= self.full_at {
            self.left = self.limit;
            self.full_at = now + WINDOW;
        }
        self.left = self.left.map(|left| left.saturating_sub(amount));
    }

    /// Takes back `amount` that was counted and not used.
    pub fn give_back(&mut self, amount: u64) {
        let limit = self.limit.unwrap_or(u64::MAX);
        self.left = self.left.map(|left| left.saturating_add(amount).min(limit));
    }

    /// Returns whether `amount` more would fit under `headroom` × limit.
    pub fn spares(&self, amount: u64, headroom: f64, now: Instant) -> bool {
        self.left(now).is_none_or(|left| left >= amount.saturating_add(self.kept_back(headroom)))
    }

    fn kept_back(&self, headroom: f64) -> u64 {
        self.limit.map_or(0, |limit| limit.saturating_sub((limit as f64 * headroom) as u64))
    }

    /// Returns until when `amount` does not fit under `headroom` × limit; `None` means it fits.
    pub fn out_until(&self, amount: u64, headroom: f64, now: Instant) -> Option<Instant> {
        if now >= self.full_at {
            return None;
        }
        let left = self.left?;
        let kept_back = self.kept_back(headroom);
        // A single request larger than the whole window is for the provider to refuse: resting would never help it.
        let fits = left >= amount.saturating_add(kept_back) || self.limit.is_some_and(|limit| left == limit);
        (!fits).then_some(self.full_at)
    }

    /// Returns the share of the window that is left, 0.01 to 1; 1 where limit or rest are unknown.
    pub fn share_left(&self, now: Instant) -> f64 {
        match (self.limit, self.left) {
            (Some(limit), Some(left)) if now < self.full_at && limit > 0 => {
                (left as f64 / limit as f64).clamp(0.01, 1.0)
            }
            _ => 1.0,
        }
    }

    /// Returns what is left, where it is known.
    pub fn left(&self, now: Instant) -> Option<u64> {
        if now >= self.full_at { self.limit } else { self.left }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_counts_down_and_fills_again() {
        let now = Instant::now();
        let mut allowance = Allowance::configured(Some(10), now);

        for _ in 0..9 {
            assert_eq!(allowance.out_until(1, 0.9, now), None);
            allowance.take(1, now);
        }

        assert_eq!(allowance.out_until(1, 0.9, now), Some(now + WINDOW));
        assert_eq!(allowance.out_until(1, 0.9, now + WINDOW), None);
        assert_eq!(allowance.left(now + WINDOW), Some(10));
    }

    #[test]
    fn the_providers_own_figure_wins() {
        let now = Instant::now();
        let mut allowance = Allowance::configured(None, now);
        let reset = Duration::from_millis(1750);

        allowance.learn(Some(Learned { limit: Some(500), remaining: 0, reset: Some(reset) }), now);

        assert_eq!(allowance.out_until(1, 1.0, now), Some(now + reset));
        assert_eq!(allowance.out_until(1, 1.0, now + reset), None);
    }

    #[test]
    fn a_request_larger_than_the_whole_window_is_let_through() {
        let now = Instant::now();
        let allowance = Allowance::configured(Some(1_000), now);

        assert_eq!(allowance.out_until(5_000, 0.9, now), None);
    }
}
