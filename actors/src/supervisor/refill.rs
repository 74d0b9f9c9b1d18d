//! Keeps the pools of leases filled while routes are busy.

use std::sync::{Arc, Weak};
use std::time::Duration;

use actix::{AsyncContext, Context, Handler, Message};
use tracing::error;

use super::Supervisor;
use crate::acquire::in_plain_weather;
use crate::endpoint::GrantAhead;
use crate::pool::LeasePool;

/// How often pools are looked through when no call is out.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Asks for leases ahead of need. Sent without waiting, by who took one of the last.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Refill {
    /// Where to put them.
    pub pool: Arc<LeasePool>,
}

impl Handler<Refill> for Supervisor {
    type Result = ();

    fn handle(&mut self, Refill { pool }: Refill, context: &mut Context<Self>) {
        self.collect_later(context);
        if !self.pools.iter().any(|known| known.as_ptr() == Arc::as_ptr(&pool)) {
            self.pools.push(Arc::downgrade(&pool));
        }
        let now = self.clock.now();
        for (candidate, count) in self.shares(&pool, now) {
            let endpoint = &pool.candidates[candidate].endpoint;
            if let Some(child) = self.children.get(endpoint) {
                // A full mailbox is no time for granting ahead.
                let _ = child.address.try_send(GrantAhead { pool: pool.clone(), candidate, count });
            }
        }
    }
}

impl Supervisor {
    /// Returns how many leases each candidate shall grant ahead.
    fn shares(&mut self, pool: &LeasePool, now: std::time::Instant) -> Vec<(usize, u32)> {
        use std::panic::{AssertUnwindSafe, catch_unwind};
        self.turn += 1;
        let (board, chance, turn) = (&self.board, &mut self.chance, self.turn);
        let shares = catch_unwind(AssertUnwindSafe(|| in_plain_weather(pool, board, turn, now, chance)));
        shares.unwrap_or_else(|_| {
            error!("the choice of endpoints ahead of need panicked; requests go on asking one by one");
            vec![]
        })
    }

    /// Gives back leases that nobody wants any more. Returns whether any pool holds some.
    pub(super) fn sweep_pools(&mut self) -> bool {
        let now = self.clock.now();
        self.pools.retain(|pool| pool.strong_count() > 0);
        let pools: Vec<_> = self.pools.iter().filter_map(Weak::upgrade).collect();
        // Every pool is to be swept, so no short cut.
        pools.iter().filter(|pool| pool.sweep(now)).count() > 0
    }

    /// Looks through the pools now and then until all are empty.
    pub(super) fn sweep_later(&mut self, context: &mut Context<Self>) {
        if !std::mem::replace(&mut self.sweeping, true) {
            context.run_later(SWEEP_EVERY, |supervisor, context| {
                supervisor.sweeping = false;
                if supervisor.sweep_pools() {
                    supervisor.sweep_later(context);
                }
                // What was given back is word that waits.
                supervisor.collect_later(context);
            });
        }
    }
}
