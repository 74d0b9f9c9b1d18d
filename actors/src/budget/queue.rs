//! Who waits for room in a budget, and whose turn it is: the highest priority, then the team that was served the longest ago,
//! then who came first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Priority;
use super::accounts::Cell;
use crate::limits::Holder;

/// Those who wait for room in one account.
#[derive(Debug, Default)]
pub(super) struct Queue(Mutex<Waiting>);

/// Plain data: who waits, and when each group was served.
#[derive(Debug, Default)]
struct Waiting {
    waiters: Vec<Waiter>,
    /// By a count of turns; groups of which nobody waits are forgotten once nobody at all does.
    served: HashMap<Option<Holder>, u64>,
    tickets: u64,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    priority: Priority,
    group: Option<Holder>,
    called: Arc<Notify>,
}

impl Waiting {
    /// Returns whose turn it is.
    fn next(&self) -> Option<&Waiter> {
        let rank = |waiter: &&Waiter| {
            let served = self.served.get(&waiter.group).copied().unwrap_or_default();
            (std::cmp::Reverse(waiter.priority), served, waiter.ticket)
        };
        self.waiters.iter().min_by_key(rank)
    }

    fn join(&mut self, priority: Priority, group: Option<Holder>) -> (u64, Arc<Notify>) {
        self.tickets += 1;
        let called = Arc::<Notify>::default();
        self.waiters.push(Waiter { ticket: self.tickets, priority, group, called: called.clone() });
        (self.tickets, called)
    }

    fn leave(&mut self, ticket: u64, served: bool) {
        let Some(at) = self.waiters.iter().position(|waiter| waiter.ticket == ticket) else { return };
        let waiter = self.waiters.remove(at);
        if served {
            self.tickets += 1;
            self.served.insert(waiter.group, self.tickets);
        }
        if self.waiters.is_empty() {
            self.served.clear();
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how many wait.
    pub fn len(&self) -> usize {
        self.lock().waiters.len()
    }

    /// Returns whether somebody goes before a request of this priority that holds `turn`, if any.
    pub fn goes_before(&self, turn: Option<&Turn>, priority: Priority) -> bool {
        let waiting = self.lock();
        let Some(next) = waiting.next() else { return false };
        match turn.filter(|turn| std::ptr::eq(&raw const turn.cell.queue, self)) {
            Some(turn) => next.ticket != turn.ticket,
            None => next.priority >= priority,
        }
    }

    /// Calls whose turn it is, because there may be room.
    pub fn wake(&self) {
        if let Some(next) = self.lock().next() {
            next.called.notify_one();
        }
    }

    /// Calls everybody, because much has changed.
    pub fn wake_all(&self) {
        self.lock().waiters.iter().for_each(|waiter| waiter.called.notify_one());
    }
}

/// A place among those that wait; dropping it gives it up, and calls the next.
#[derive(Debug)]
pub struct Turn {
    cell: Arc<Cell>,
    ticket: u64,
    called: Arc<Notify>,
    served: bool,
}

impl Turn {
    pub(super) fn take(cell: Arc<Cell>, priority: Priority, group: Option<Holder>) -> Self {
        let (ticket, called) = cell.queue.lock().join(priority, group);
        Self { cell, ticket, called, served: false }
    }

    pub(super) fn is_at(&self, cell: &Arc<Cell>) -> bool {
        Arc::ptr_eq(&self.cell, cell)
    }

    /// Returns when there may be room.
    pub async fn called(&self) {
        self.called.notified().await;
    }

    /// Notes that the turn was used.
    pub fn served(mut self) {
        self.served = true;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.cell.queue.lock().leave(self.ticket, self.served);
        self.cell.queue.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TeamId;

    fn group(team: &str) -> Option<Holder> {
        Some(Holder::Team(TeamId::from(team)))
    }

    /// Returns the order in which those who `came` are served.
    fn served(came: &[(&str, Priority)]) -> String {
        let mut waiting = Waiting::default();
        let names: HashMap<u64, &str> =
            came.iter().map(|(name, priority)| (waiting.join(*priority, group(&name[..1])).0, *name)).collect();
        let mut order = Vec::new();
        while let Some(ticket) = waiting.next().map(|waiter| waiter.ticket) {
            order.push(names[&ticket]);
            waiting.leave(ticket, true);
        }
        order.join(" ")
    }

    #[test]
    fn teams_take_turns_and_the_urgent_go_first() {
        use Priority::{High, Low, Normal};

        let came =
            [("a1", Normal), ("a2", Normal), ("a3", Normal), ("b1", Normal), ("c1", Low), ("b2", Normal), ("a4", High)];

        assert_eq!(served(&came), "a4 b1 a1 b2 a2 a3 c1");
    }

    #[test]
    fn who_gives_up_does_not_cost_the_team_its_turn() {
        let mut waiting = Waiting::default();
        let [first, second, other] = ["a", "a", "b"].map(|team| waiting.join(Priority::Normal, group(team)).0);

        waiting.leave(first, false);

        assert_eq!(waiting.next().map(|waiter| waiter.ticket), Some(second));
        waiting.leave(second, true);
        assert_eq!(waiting.next().map(|waiter| waiter.ticket), Some(other));
    }
}
