//! How many bytes of requests and answers the gateway holds, and the bound on it.
//!
//! Large bodies are counted from their first byte until the last reader lets them go. What every request needs anyway
//! (buffers, tasks, a small body) is a fixed charge on each request in flight, so that a usual request writes nothing
//! here. Requests are refused first: a part of the bound is kept for the answers of those that were let in.

use std::sync::Arc;

use bytes::Bytes;

use crate::telemetry::metrics::Metrics;

/// What a request in flight is taken to need besides large bodies, in bytes. A stream takes 44 KiB, one whose client reads
/// slowly 140 KiB (measured).
const PER_REQUEST: usize = 128 * 1024;
/// A body up to this size is covered by [`PER_REQUEST`].
const SMALL: usize = 16 * 1024;
/// A body is counted twice: as it came, and as it goes on with another model's name or mended.
const COPIES: usize = 2;

/// The bound, and how much of it is taken.
pub struct Memory {
    limit: usize,
    /// Where the count is kept, because it is shown.
    metrics: Arc<Metrics>,
}

/// The bound is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// A share of the memory, given back when dropped.
pub struct Held {
    memory: Arc<Memory>,
    limit: usize,
    charged: usize,
}

impl Memory {
    /// Returns an empty memory of `limit` bytes.
    pub fn new(limit: usize, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { limit, metrics })
    }

    /// Returns room for a request, not yet counted in as in flight, whose body has so many bytes as far as is known.
    pub fn for_request(self: &Arc<Self>, body: usize) -> Result<Held, Full> {
        let mut held = Held { memory: self.clone(), limit: self.limit - self.limit / 4, charged: 0 };
        let taken = self.taken();
        if taken > 0 && taken.saturating_add(PER_REQUEST) > held.limit {
            self.metrics.shed();
            return Err(Full);
        }
        held.cover(body)?;
        Ok(held)
    }

    /// Returns room for an answer.
    pub fn for_answer(self: &Arc<Self>) -> Held {
        Held { memory: self.clone(), limit: self.limit, charged: 0 }
    }

    fn taken(&self) -> usize {
        let requests = usize::try_from(self.metrics.in_flight()).unwrap_or(usize::MAX);
        let bodies = usize::try_from(self.metrics.bodies_held.get()).unwrap_or(0);
        requests.saturating_mul(PER_REQUEST).saturating_add(bodies)
    }
}

impl Held {
    /// Makes room for a body of so many bytes; more than that is taken at once, so that a body in pieces asks seldom.
    /// What nobody else shares the memory with is always let in, however large.
    pub fn cover(&mut self, body: usize) -> Result<(), Full> {
        let needed = body.saturating_mul(COPIES);
        if body <= SMALL || needed <= self.charged {
            return Ok(());
        }
        let more = needed.max(self.charged.saturating_mul(2)) - self.charged;
        let metrics = &self.memory.metrics;
        metrics.bodies_held.add(more as i64);
        self.charged += more;
        let taken = self.memory.taken();
        // The request that an answer belongs to is in flight itself.
        let alone = taken.saturating_sub(self.charged) <= PER_REQUEST;
        if taken > self.limit && !alone {
            metrics.shed();
            return Err(Full);
        }
        Ok(())
    }

    /// Returns the body, counted until the last of its bytes is let go.
    pub fn keep(self, body: Bytes) -> Bytes {
        if self.charged == 0 { body } else { Bytes::from_owner(Kept { body, _held: self }) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.charged > 0 {
            self.memory.metrics.bodies_held.sub(self.charged as i64);
        }
    }
}

struct Kept {
    body: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const KIB: usize = 1024;

    fn memory(limit: usize) -> (Arc<Memory>, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::new());
        (Memory::new(limit, metrics.clone()), metrics)
    }

    #[test]
    fn a_body_counts_twice_until_its_last_slice_is_gone() {
        let (memory, metrics) = memory(1024 * KIB);

        let held = memory.for_request(100 * KIB).unwrap();
        let body = held.keep(Bytes::from(vec![7; 100 * KIB]));
        let slice = body.slice(10..20);
        drop(body);
        assert_eq!(metrics.bodies_held.get(), 200 * 1024);
        drop(slice);

        assert_eq!(metrics.bodies_held.get(), 0);
    }

    #[test]
    fn a_quarter_is_kept_for_answers() {
        let (memory, _metrics) = memory(1024 * KIB);
        let _first = memory.for_request(150 * KIB).unwrap();
        let _second = memory.for_request(150 * KIB).unwrap();

        assert!(memory.for_request(150 * KIB).is_err());
        assert!(memory.for_answer().cover(150 * KIB).is_ok());
        assert!(memory.for_answer().cover(250 * KIB).is_err());
    }

    #[test]
    fn what_was_refused_is_given_back() {
        let (memory, metrics) = memory(1024 * KIB);
        let first = memory.for_request(300 * KIB).unwrap();
        assert!(memory.for_request(300 * KIB).is_err());

        drop(first);

        assert_eq!(metrics.bodies_held.get(), 0);
        assert!(memory.for_request(300 * KIB).is_ok());
    }

    #[test]
    fn a_body_larger_than_all_is_let_in_where_nobody_else_is() {
        let (memory, _metrics) = memory(1024 * KIB);

        let alone = memory.for_request(10_000 * KIB);

        assert!(alone.is_ok());
        assert!(memory.for_request(KIB).is_err());
    }

    #[test]
    fn requests_in_flight_are_charged_without_a_body() {
        let (memory, metrics) = memory(1024 * KIB);
        for _ in 0..6 {
            assert!(memory.for_request(KIB).is_ok());
            metrics.admit();
        }

        assert!(memory.for_request(KIB).is_err());
    }

    #[test]
    fn a_growing_body_asks_seldom() {
        let (memory, metrics) = memory(1024 * KIB);
        let mut held = memory.for_request(0).unwrap();
        assert!(held.cover(16 * KIB).is_ok());
        assert_eq!(metrics.bodies_held.get(), 0);

        assert!(held.cover(17 * KIB).is_ok());
        assert!(held.cover(18 * KIB).is_ok());

        assert_eq!(metrics.bodies_held.get(), 68 * 1024);
        drop(held);
        assert_eq!(metrics.bodies_held.get(), 0);
    }
}
