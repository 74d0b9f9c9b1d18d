//! What was used within one minute, hour or day, whatever its position.
//!
//! The span is cut into 64 parts, and the sum over the current part and the 64 before it never passes the limit. A window
//! of the span's length touches at most 65 parts in a row, so none of any position does, either. The price is that up
//! to a 65th of the limit stays unused under saturation.

use std::time::{Duration, Instant};

use super::Span;

/// Parts of a span.
const PARTS: u64 = 64;
/// Parts that are remembered: those of a span, and the current one.
const KEPT: u64 = PARTS + 1;

/// One window. What it takes is counted in the part that is current then.
#[derive(Debug)]
pub struct Window {
    began: Instant,
    /// Length of a part in nanoseconds: 64-bit figures, because dividing longer ones costs more than all the rest.
    part_ns: u64,
    /// Number of the current part since `began`.
    current: u64,
    total: u64,
    /// What was taken in each part, by its number modulo `KEPT`.
    parts: [u64; KEPT as usize],
}

/// When a window was taken from, so that it can be settled there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark(u64);

impl Window {
    /// Returns an empty window.
    pub fn new(span: Span, now: Instant) -> Self {
        let part_ns = span.length().as_secs() * 1_000_000_000 / PARTS;
        Self { began: now, part_ns, current: 0, total: 0, parts: [0; KEPT as usize] }
    }

    /// Moves on to `now`. A clock that is read before another thread's may be a little behind and moves nothing.
    pub fn advance(&mut self, now: Instant) {
        let current = self.age_ns(now) / self.part_ns;
        if current <= self.current {
            return;
        }
        let oldest_new = current - (current - self.current).min(KEPT) + 1;
        for number in oldest_new..=current {
            let part = &mut self.parts[(number % KEPT) as usize];
            self.total -= std::mem::take(part);
        }
        self.current = current;
    }

    /// Returns what is counted, as of the last `advance`.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Returns whether `amount` more stays within `limit`.
    pub fn spares(&self, amount: u64, limit: u64) -> bool {
        self.total.saturating_add(amount) <= limit
    }

    /// Counts `amount` in the current part.
    pub fn take(&mut self, amount: u64) -> Mark {
        self.post(self.current, amount);
        Mark(self.current)
    }

    fn post(&mut self, number: u64, amount: u64) {
        let part = &mut self.parts[(number % KEPT) as usize];
        // Never more than the sum can hold, so that it stays the sum of its parts.
        let amount = amount.min(u64::MAX - self.total);
        *part += amount;
        self.total += amount;
    }

    /// Puts what was really used in place of what was taken at `mark`. More than was taken counts in full, even if that
    /// passes the limit; if that part is over, it counts in the current one, because it was used until now.
    pub fn settle(&mut self, mark: Mark, taken: u64, used: u64) {
        let kept = mark.0 + KEPT > self.current;
        if used >= taken {
            self.post(if kept { mark.0 } else { self.current }, used - taken);
        } else if kept {
            let part = &mut self.parts[(mark.0 % KEPT) as usize];
            let back = (taken - used).min(*part);
            *part -= back;
            self.total -= back;
        }
    }

    /// Returns how long it takes until `amount` stays within `limit` if nobody takes anything meanwhile; `None` if it
    /// never will, because it is more than the limit.
    pub fn wait(&self, amount: u64, limit: u64, now: Instant) -> Option<Duration> {
        let room = limit.checked_sub(amount)?;
        let mut left = self.total;
        if left <= room {
            return Some(Duration::ZERO);
        }
        for number in self.current.saturating_sub(PARTS)..=self.current {
            left -= self.parts[(number % KEPT) as usize];
            if left <= room {
                return Some(self.over(number, now));
            }
        }
        None
    }

    /// Returns how long it takes until the window is empty if nobody takes anything meanwhile.
    pub fn reset(&self, now: Instant) -> Duration {
        let oldest = self.current.saturating_sub(PARTS);
        let newest = (oldest..=self.current).rev().find(|number| self.parts[(number % KEPT) as usize] > 0);
        newest.map_or(Duration::ZERO, |number| self.over(number, now))
    }

    /// Returns how long the part `number` still counts.
    fn over(&self, number: u64, now: Instant) -> Duration {
        let until = self.part_ns.saturating_mul(number + KEPT);
        Duration::from_nanos(until.saturating_sub(self.age_ns(now)))
    }

    /// Returns the nanoseconds since the window began; it would take 500 years to be too many.
    fn age_ns(&self, now: Instant) -> u64 {
        let age = now.saturating_duration_since(self.began);
        age.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(age.subsec_nanos()))
    }
}
