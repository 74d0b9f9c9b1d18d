//! Leases granted ahead of need, so that a request on a busy route waits for no other thread.
//!
//! An awaited message costs two wake-ups between threads: the dearest thing on the way of a short request. A pool keeps a
//! few leases ready that the actors have granted by the same rules as any other; who takes one asks, without waiting, for
//! more. It is filled only in plain weather: every endpoint that may serve is closed or out for a while, no key of it is
//! near a limit, suspended or kept for certain teams, and there is room for many more calls. Otherwise it stays empty
//! and each request asks as if there were no pool. Any failure, steering, renewal or death at an endpoint voids at once
//! what it has granted ahead.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::acquire::Candidate;
use crate::endpoint::lease::Lease;
use crate::outcome::ReplyForm;
use crate::routing::Strategy;

/// Most leases that a pool holds. What its requests choose by is at most this many choices old.
pub(crate) const POOL_MAX: usize = 32;
/// A lease that nobody took for so long is given back: latencies have changed since it was granted.
const KEPT_FOR: Duration = Duration::from_secs(5);

/// The leases granted ahead for one route and one form of reply.
pub struct LeasePool {
    /// What may serve.
    pub candidates: Arc<[Candidate]>,
    /// How one is chosen.
    pub strategy: Strategy,
    /// Whole or streamed.
    pub form: ReplyForm,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    leases: VecDeque<Lease>,
    demand: Demand,
}

/// How many leases are worth keeping ready.
#[derive(Debug, Default)]
struct Demand {
    /// See [`Demand::target`].
    learned: usize,
    /// Requests since the last sweep.
    asked: usize,
    /// More are on their way, or were refused a moment ago.
    refilling: bool,
    /// Somebody has asked before. A name that is used once needs no pool.
    known: bool,
}

impl Demand {
    /// Returns how many leases the pool wants: at least one, so that a lone request need not wait either.
    fn target(&self) -> usize {
        self.learned.clamp(1, POOL_MAX)
    }

    /// Counts a request that leaves `left` leases; returns whether it shall ask for more.
    fn on_request(&mut self, left: usize) -> bool {
        self.asked += 1;
        std::mem::replace(&mut self.known, true)
            && left * 2 < self.target() + 1
            && !std::mem::replace(&mut self.refilling, true)
    }

    /// Learns from how much was asked since the last time.
    fn on_sweep(&mut self) {
        self.refilling = false;
        let asked = std::mem::take(&mut self.asked);
        self.learned = match self.target() {
            target if asked > target => (target * 2).min(POOL_MAX),
            target if asked * 2 < target => target / 2,
            target => target,
        };
    }
}

/// What a pool had for a request.
pub struct Taken {
    /// A lease, its call not yet begun.
    pub lease: Option<Lease>,
    /// The pool runs low: send the supervisor a [`crate::Refill`].
    pub refill: bool,
}

impl LeasePool {
    /// Returns an empty pool.
    pub fn new(candidates: Arc<[Candidate]>, strategy: Strategy, form: ReplyForm) -> Self {
        Self { candidates, strategy, form, state: Mutex::default() }
    }

    /// Takes a lease for a request of about `tokens`, if one is ready.
    pub fn take(&self, tokens: u64) -> Taken {
        let mut void = Vec::new();
        let mut state = self.state();
        let lease = loop {
            match state.leases.pop_front() {
                Some(lease) if lease.is_void() => void.push(lease),
                other => break other,
            }
        };
        let left = state.leases.len();
        let refill = state.demand.on_request(left);
        // Given back outside of the lock.
        drop(state);
        drop(void);
        Taken { lease: lease.map(|lease| lease.taken(tokens)), refill }
    }

    /// Takes note that nobody could be asked for more.
    pub fn refill_failed(&self) {
        self.state().demand.refilling = false;
    }

    /// Returns how many leases are wanted.
    pub(crate) fn missing(&self) -> usize {
        let state = self.state();
        state.demand.target().saturating_sub(state.leases.len())
    }

    /// Puts leases in; gives back what is more than enough. None at all is a refusal, which stands until the next sweep.
    pub(crate) fn put(&self, mut leases: Vec<Lease>) {
        if leases.is_empty() {
            return;
        }
        let mut state = self.state();
        state.demand.refilling = false;
        let room = POOL_MAX.saturating_sub(state.leases.len()).min(leases.len());
        state.leases.extend(leases.drain(..room));
        // What is left goes back outside of the lock.
        drop(state);
    }

    /// Gives back what is void, old or more than wanted. Returns whether any is left.
    pub(crate) fn sweep(&self, now: Instant) -> bool {
        let mut state = self.state();
        state.demand.on_sweep();
        let (mut kept, mut returned) = (VecDeque::new(), Vec::new());
        for lease in std::mem::take(&mut state.leases) {
            let old = now.saturating_duration_since(lease.granted_at()) > KEPT_FOR;
            if old || lease.is_void() || kept.len() >= state.demand.target() {
                returned.push(lease);
            } else {
                kept.push_back(lease);
            }
        }
        state.leases = kept;
        let left = !state.leases.is_empty();
        drop(state);
        drop(returned);
        left
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for LeasePool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeasePool").field("form", &self.form).field("demand", &self.state().demand).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_follows_the_demand_up_and_down() {
        let mut demand = Demand::default();
        let mut targets = vec![];
        for asked in [0, 5, 5, 40, 40, 40, 40, 3, 0, 0, 0, 0, 0] {
            for _ in 0..asked {
                demand.on_request(0);
            }
            demand.on_sweep();
            targets.push(demand.target());
        }

        assert_eq!(targets, [1, 2, 4, 8, 16, 32, 32, 16, 8, 4, 2, 1, 1]);
    }

    #[test]
    fn one_request_asks_for_more_until_more_came_or_a_sweep_passed() {
        let mut demand = Demand { learned: 8, ..Demand::default() };

        assert!(!demand.on_request(0), "the first of all");
        assert!(!demand.on_request(5));
        assert!(demand.on_request(4));
        assert!(!demand.on_request(3));
        demand.on_sweep();
        assert!(demand.on_request(0));
    }
}
