//! When a credential is minted: at once, well before it expires, and again after a failure. Pure; time and chance come in.

use std::time::{Duration, Instant};

/// A credential is renewed at the latest so long before it expires, where its life allows.
const AHEAD: Duration = Duration::from_secs(300);
/// Share of its life after which it is renewed at the latest.
const SHARE: f64 = 0.8;
/// Largest share of that time by which a renewal is early, so that many gateways do not renew at once.
const JITTER: f64 = 0.1;
/// No credential is renewed sooner than this after the last time.
const APART: Duration = Duration::from_secs(1);
/// Wait after the first failure in a row; doubles with each further one.
const BACKOFF_BASE: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// What was refused so soon after it was minted would be refused again; a new one waits so long.
pub const FRESH_FOR: Duration = Duration::from_secs(30);

/// Returns how long after its minting a credential of that `life` is renewed: after 80 % of it or 5 minutes before its
/// end, whichever is earlier, but not before half of it; up to a tenth of that sooner, by `draw` in [0, 1).
pub fn renew_after(life: Duration, draw: f64) -> Duration {
    let earlier = life.mul_f64(SHARE).min(life.saturating_sub(AHEAD));
    let latest = earlier.max(life / 2);
    latest.mul_f64(1.0 - JITTER * draw).max(APART)
}

/// The state of one credential's renewal.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// When it is to be minted next; `None` for one that never changes.
    pub due: Option<Instant>,
    failures: u32,
}

impl Schedule {
    /// Returns the schedule of a credential that is needed now.
    pub fn new(now: Instant) -> Self {
        Self { due: Some(now), failures: 0 }
    }

    /// Takes in that it was minted: the next time is `renew` later, or never.
    pub fn minted(&mut self, renew: Option<Duration>, now: Instant) {
        *self = Self { due: renew.map(|renew| now + renew), failures: 0 };
    }

    /// Takes in that it could not be minted. `draw` in [0, 1) shortens the wait by up to a half.
    pub fn failed(&mut self, now: Instant, draw: f64) {
        let cap = BACKOFF_BASE.saturating_mul(1 << self.failures.min(10)).min(BACKOFF_MAX);
        self.failures += 1;
        self.due = Some(now + cap.mul_f64(1.0 - draw / 2.0));
    }

    /// Takes in that a provider refused what was minted at `minted_at`: it is renewed now, or, if it was fresh, when it
    /// no longer is. A failing renewal keeps its pace.
    pub fn refused(&mut self, minted_at: Instant, now: Instant) {
        if self.failures > 0 {
            return;
        }
        let at = if now.saturating_duration_since(minted_at) < FRESH_FOR { minted_at + 2 * FRESH_FOR } else { now };
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// Returns whether it is to be minted now.
    pub fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SEC: Duration = Duration::from_secs(1);

    #[test]
    fn a_credential_is_renewed_well_before_its_end() {
        for (life, after) in [(3600, 2880), (86_400, 69_120), (1500, 1200), (900, 600), (400, 200), (60, 30), (0, 1)] {
            assert_eq!(renew_after(SEC * life, 0.0), SEC * after, "{life}");
        }
        assert_eq!(renew_after(SEC * 1000, 0.5), SEC * 665);
    }

    #[test]
    fn failures_are_tried_again_ever_later_and_a_success_forgets_them() {
        let now = Instant::now();
        let mut schedule = Schedule::new(now);
        assert!(schedule.is_due(now));

        let waits = [0; 8].map(|_| {
            schedule.failed(now, 0.0);
            (schedule.due.unwrap_or(now) - now).as_secs()
        });

        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        schedule.minted(Some(SEC * 100), now);
        assert_eq!(schedule.due, Some(now + SEC * 100));
        schedule.failed(now, 0.999);
        assert!(schedule.due.is_some_and(|due| due > now && due < now + SEC));
    }

    #[test]
    fn what_is_refused_is_renewed_at_once_unless_it_is_fresh() {
        let now = Instant::now();
        let mut schedule = Schedule::new(now);
        schedule.minted(Some(SEC * 3000), now);

        schedule.refused(now, now + SEC * 10);
        assert_eq!(schedule.due, Some(now + SEC * 60));
        schedule.refused(now, now + SEC * 31);
        assert_eq!(schedule.due, Some(now + SEC * 31));

        schedule.failed(now + SEC * 31, 0.0);
        schedule.refused(now, now + SEC * 31);
        assert_eq!(schedule.due, Some(now + SEC * 32), "a failing renewal keeps its pace");
    }

    proptest! {
        #[test]
        fn a_renewal_is_never_late_and_never_in_a_rush(life in 2u64..1_000_000, draw in 0.0..1.0f64) {
            let after = renew_after(SEC * life as u32, draw);

            prop_assert!(after >= SEC && after < SEC * life as u32);
        }
    }
}
