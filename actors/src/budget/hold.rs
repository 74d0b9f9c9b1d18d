//! What one request holds of the budgets above it, until it is known what it cost.

use std::sync::Arc;

use super::accounts::{Accounts, Denied, Exceeded, Held, Quote, extend, take};
use super::queue::Turn;
use crate::limits::Holder;

/// The permission to spend what is held. Who drops it has spent nothing.
#[derive(Debug)]
pub struct Hold {
    accounts: Arc<Accounts>,
    call: u64,
    /// Of key, team and whoever else is known when the request comes.
    held: Vec<Held>,
    /// Of the model and the provider's key that are called; another attempt has others.
    joined: Vec<Held>,
    amount: u64,
}

impl Hold {
    pub(super) fn new(accounts: Arc<Accounts>, call: u64, held: Vec<Held>, amount: u64) -> Self {
        Self { accounts, call, held, joined: Vec::new(), amount }
    }

    /// Returns what is held, in nano-dollars.
    pub fn amount_nano(&self) -> u64 {
        self.amount
    }

    /// Holds `amount` from now on; a smaller one always fits.
    pub fn change(&mut self, amount: u64, now_s: i64) -> Result<(), Denied> {
        if amount > self.amount {
            let mut held: Vec<&Held> = self.all().collect();
            held.sort_unstable_by_key(|(cell, _)| cell.number());
            extend(&held, amount - self.amount, now_s)?;
        } else {
            self.all().for_each(|(cell, window)| cell.lock().change(*window, self.amount, amount));
            self.wake();
        }
        self.amount = amount;
        Ok(())
    }

    /// Holds the same of `holders`, too, in the place of those of the attempt before.
    pub fn join(&mut self, holders: &[Holder], now_s: i64) -> Result<(), Denied> {
        self.part();
        let mut cells = self.accounts.above(holders, now_s);
        cells.retain(|cell| !self.held.iter().any(|(other, _)| Arc::ptr_eq(other, cell)));
        (self.joined, _) = take(&cells, Quote::exact(self.amount), now_s, false, None)?;
        Ok(())
    }

    fn part(&mut self) {
        for (cell, window) in self.joined.drain(..) {
            cell.lock().change(window, self.amount, 0);
            cell.queue.wake();
        }
    }

    /// Puts `cost`, in nano-dollars, in the place of what was held: it counts from here on, and is posted when the ledger has
    /// the request's record. To be called before that record is written.
    ///
    /// Returns how much of it no budget had room for.
    pub fn settle(mut self, cost: u64, now_s: i64) -> u64 {
        let from = std::mem::replace(&mut self.amount, 0);
        let mut overrun = 0;
        for (cell, window) in self.held.iter().chain(&self.joined) {
            let mut account = cell.lock();
            account.change(*window, from, cost);
            overrun = overrun.max(account.overrun_nano(now_s).min(cost.saturating_sub(from)));
        }
        self.wake();
        let held: Vec<Held> = self.held.drain(..).chain(self.joined.drain(..)).collect();
        if cost > 0 && !held.is_empty() {
            self.accounts.spent(self.call, held, cost);
        }
        overrun
    }

    fn all(&self) -> impl Iterator<Item = &Held> {
        self.held.iter().chain(&self.joined)
    }

    fn wake(&self) {
        self.all().for_each(|(cell, _)| cell.queue.wake());
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.part();
        for (cell, window) in self.held.drain(..) {
            cell.lock().change(window, self.amount, 0);
            cell.queue.wake();
        }
    }
}

impl Denied {
    /// Returns which budget is in the way.
    pub fn exceeded(&self) -> &Exceeded {
        &self.exceeded
    }

    /// Takes a place among those that wait, or keeps `turn` if that is one of the same budget; `None` where nobody may wait.
    ///
    /// Teams take turns; `holders` say which one this is.
    pub fn wait(&self, turn: Option<Turn>, holders: &[Holder]) -> Option<Turn> {
        let (_, priority) = self.exceeded.short.queued?;
        if let Some(turn) = turn.filter(|turn| turn.is_at(&self.cell)) {
            return Some(turn);
        }
        let team = holders.iter().find(|holder| matches!(holder, Holder::Team(_))).cloned();
        Some(Turn::take(self.cell.clone(), priority, team))
    }
}
