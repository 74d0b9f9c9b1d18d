//! The meters of all holders: made when somebody asks for one, dropped when nothing is counted in it any more.
//!
//! Names of users come from clients, so their number is bounded: beyond `USERS_MAX` at a time, the further ones of a team
//! share one meter, and so what one of them may use. With a limit per minute and one per day a holder takes 1.3 KiB, that
//! many users 130 MiB; a user who has asked for nothing within the longest of his limits takes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use dashmap::DashMap;

use super::meter::Meter;
use super::{Holder, Limited, Limits};

/// Most end users that have a meter of their own at a time.
pub const USERS_MAX: usize = 100_000;

/// The meters of all holders.
#[derive(Debug, Default)]
pub struct Meters {
    meters: DashMap<Holder, Arc<Meter>>,
    /// How many of them are users'.
    users: AtomicUsize,
}

impl Meters {
    /// Returns `holder` with its limits and its meter; the same meter for as long as anything is counted in it.
    pub fn limited(&self, holder: Holder, limits: Limits) -> Limited {
        if let Some(meter) = self.meters.get(&holder) {
            let meter = meter.clone();
            return Limited { holder, limits, meter };
        }
        let holder = match holder {
            Holder::User(team, _) if self.users.load(Ordering::Relaxed) >= USERS_MAX => Holder::FurtherUsers(team),
            holder => holder,
        };
        let entry = self.meters.entry(holder.clone());
        let meter = entry.or_insert_with(|| {
            if matches!(holder, Holder::User(..)) {
                self.users.fetch_add(1, Ordering::Relaxed);
            }
            Arc::default()
        });
        let meter = meter.clone();
        Limited { holder, limits, meter }
    }

    /// Drops the meters that nobody uses and in which nothing is counted any more; to be called every minute or so.
    pub fn sweep(&self, now: Instant) {
        self.meters.retain(|holder, meter| {
            // Whoever else holds it has it from here, and nobody gets it from here while this is decided.
            let kept = !meter.rest(now) || Arc::strong_count(meter) > 1;
            if !kept && matches!(holder, Holder::User(..)) {
                self.users.fetch_sub(1, Ordering::Relaxed);
            }
            kept
        });
    }

    /// Returns how many holders have a meter.
    pub fn len(&self) -> usize {
        self.meters.len()
    }

    /// Returns whether nobody has one.
    pub fn is_empty(&self) -> bool {
        self.meters.is_empty()
    }
}
