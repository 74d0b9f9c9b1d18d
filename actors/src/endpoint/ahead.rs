//! Leases granted ahead of need; see [`crate::LeasePool`].

use std::sync::Arc;

use actix::{Handler, Message};

use super::breaker::BreakerState;
use super::lease::Receipt;
use super::{Admit, Endpoint};
use crate::pool::{LeasePool, POOL_MAX};

/// Room that an endpoint keeps for calls nobody has foreseen, in calls in flight.
const ROOM: u32 = 4 * POOL_MAX as u32;

/// Asks for `count` leases to be put into `pool`.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct GrantAhead {
    pub pool: Arc<LeasePool>,
    /// Which of the pool's candidates this endpoint is.
    pub candidate: usize,
    pub count: u32,
}

impl Handler<GrantAhead> for Endpoint {
    type Result = ();

    fn handle(&mut self, wanted: GrantAhead, _: &mut Self::Context) {
        self.collect();
        let granted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.grant_ahead(&wanted)));
        if granted.is_err() {
            tracing::error!(endpoint = %self.id, "the choice of a key ahead of need panicked");
        }
        self.publish();
    }
}

impl Endpoint {
    fn grant_ahead(&mut self, wanted: &GrantAhead) {
        let candidate = &wanted.pool.candidates[wanted.candidate];
        let spare = self.in_flight_max.saturating_sub(self.pulse.in_flight + self.pulse.ahead);
        let now = self.clock.now();
        if self.breaker.state() != BreakerState::Closed || spare < ROOM || !self.ring.has_plenty(&candidate.model, now)
        {
            return;
        }
        let admit = Admit {
            home: candidate.home,
            model: candidate.model.clone(),
            team: None,
            // Counted when it is taken.
            tokens: 0,
            form: wanted.pool.form,
            keys_tried: vec![],
        };
        let mut leases = Vec::with_capacity(wanted.count as usize);
        while leases.len() < wanted.count as usize {
            let Ok(mut lease) = self.admit(&admit) else { break };
            lease.candidate = wanted.candidate;
            self.pulse.in_flight -= 1;
            self.pulse.ahead += 1;
            self.ring.on_ahead(lease.picked());
            leases.push(lease);
        }
        wanted.pool.put(leases);
    }

    /// The call of a lease granted ahead begins.
    pub(super) fn on_taken(&mut self, receipt: &Receipt, tokens: u64) {
        self.pulse.ahead = self.pulse.ahead.saturating_sub(1);
        self.pulse.in_flight += 1;
        self.ring.on_taken(receipt.picked, tokens, self.clock.now());
    }

    /// A lease granted ahead was not needed.
    pub(super) fn on_returned(&mut self, receipt: &Receipt) {
        self.pulse.ahead = self.pulse.ahead.saturating_sub(1);
        self.breaker.on_void(receipt.pass);
        self.ring.on_returned(receipt.picked);
    }
}
