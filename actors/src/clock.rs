//! Time and chance, handed to every decision from outside.
//!
//! Production reads the monotonic clock and a seeded generator; tests turn the hands themselves, so a cool-down of
//! thirty seconds takes no time and a draw is what the test says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// Tells the current instant: the system's monotonic clock, or a hand that a test turns.
#[derive(Clone, Debug)]
pub struct Clock {
    started: Instant,
    turned_ms: Option<Arc<AtomicU64>>,
}

impl Clock {
    /// Returns the monotonic clock of the system.
    pub fn system() -> Self {
        Self { started: Instant::now(), turned_ms: None }
    }

    /// Returns a clock that stands still until [`Clock::advance`] turns it; its clones turn with it.
    pub fn manual() -> Self {
        Self { started: Instant::now(), turned_ms: Some(Arc::default()) }
    }

    /// Returns the current instant.
    pub fn now(&self) -> Instant {
        match &self.turned_ms {
            None => Instant::now(),
            Some(turned_ms) => self.started + Duration::from_millis(turned_ms.load(Ordering::SeqCst)),
        }
    }

    /// Turns a manual clock forward by `by`, in whole milliseconds; does nothing to the system's clock.
    pub fn advance(&self, by: Duration) {
        if let Some(turned_ms) = &self.turned_ms {
            turned_ms.fetch_add(by.as_millis() as u64, Ordering::SeqCst);
        }
    }
}

/// Draws numbers in [0, 1): seeded, or from a closure that a test supplies.
pub struct Chance(Box<dyn FnMut() -> f64 + Send>);

impl Chance {
    /// Returns draws that repeat for the same `seed`.
    pub fn seeded(seed: u64) -> Self {
        let mut generator = SmallRng::seed_from_u64(seed);
        Self(Box::new(move || generator.random::<f64>()))
    }

    /// Returns draws made by `draw`, each expected in [0, 1).
    pub fn from_fn(draw: impl FnMut() -> f64 + Send + 'static) -> Self {
        Self(Box::new(draw))
    }

    /// Draws the next number in [0, 1).
    pub fn draw(&mut self) -> f64 {
        (self.0)()
    }

    /// Draws a whole number below `bound`, which must not be 0.
    pub fn below(&mut self, bound: usize) -> usize {
        ((self.draw() * bound as f64) as usize).min(bound - 1)
    }
}
