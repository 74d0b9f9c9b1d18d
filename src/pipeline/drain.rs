//! The end of the process as running requests see it: new ones are refused, others may finish until a set moment.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Not draining.
const NEVER: u64 = u64::MAX;

/// Read by every worker without a lock.
#[derive(Debug)]
pub struct Drain {
    grace: Duration,
    born: Instant,
    cut_ms: AtomicU64,
}

impl Drain {
    /// Returns a drain that has not begun; running requests get `grace` once it has.
    pub fn new(grace: Duration) -> Self {
        Self { grace, born: Instant::now(), cut_ms: AtomicU64::new(NEVER) }
    }

    /// Begins: from now on [`Drain::started`].
    pub fn start(&self) {
        let cut = self.born.elapsed() + self.grace;
        self.cut_ms.store(cut.as_millis() as u64, Ordering::Release);
    }

    /// Returns whether new requests are refused.
    pub fn started(&self) -> bool {
        self.cut_ms.load(Ordering::Acquire) != NEVER
    }

    /// Returns when requests that still run are ended, once that is set.
    pub fn cut(&self) -> Option<Instant> {
        let cut_ms = self.cut_ms.load(Ordering::Acquire);
        (cut_ms != NEVER).then(|| self.born + Duration::from_millis(cut_ms))
    }

    /// Returns once requests that still run are to be ended.
    pub async fn over(&self) {
        loop {
            let now = Instant::now();
            match self.cut() {
                Some(cut) if now >= cut => return,
                cut => tokio::time::sleep_until(cut.unwrap_or(now + self.pulse()).into()).await,
            }
        }
    }

    /// Returns how often a request has to look, so that none misses its end.
    pub fn pulse(&self) -> Duration {
        (self.grace / 2).max(Duration::from_millis(50))
    }
}
