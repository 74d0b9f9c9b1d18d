//! The accounts of all holders, shared by workers, who hold, and the `Budget` actor, who posts.
//!
//! A request takes from all accounts above it or from none: their locks are taken together, in the order of their numbers, so
//! that nobody is refused for what somebody else takes and gives back a moment later. A lock is held for some tens of
//! nanoseconds.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use dashmap::DashMap;

use super::account::{Account, Override, Short, Standing};
use super::hold::Hold;
use super::queue::{Queue, Turn};
use super::{Act, BudgetSpec, Period, Posting, Step, Table, WHOLE_PPM, Window, Zone};
use crate::ids::TeamId;
use crate::limits::Holder;

/// How many requests at their worst have to fit, so that each holds only what is likely.
const PLENTY: u64 = 20;

/// Tells what the ledger has of a holder in a window: nano-dollars by the quarter of an hour that begins then, in seconds since
/// 1970.
pub type Seed<'a> = dyn FnMut(&Holder, Window) -> Vec<(i64, u64)> + 'a;

/// One budget of one holder.
#[derive(Debug)]
pub struct Cell {
    /// Which of all; locks are taken in this order.
    number: u64,
    holder: Holder,
    account: Mutex<Account>,
    /// Who waits for room in it.
    pub(super) queue: Queue,
}

impl Cell {
    /// Returns the place in the order in which locks are taken.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Returns how far the holder is from a request: its own key is the nearest.
    fn distance(&self) -> u8 {
        match self.holder {
            Holder::Key(_) => 0,
            Holder::User(..) | Holder::FurtherUsers(_) => 1,
            Holder::Team(_) => 2,
            Holder::Org(_) => 3,
            Holder::Tag(_) | Holder::Model(_) | Holder::ProviderKey(..) => 4,
        }
    }

    /// Returns the steps that what is posted has reached since this was last asked.
    fn newly_reached(&self, account: &mut Account, now_s: i64) -> impl Iterator<Item = Reached> + use<> {
        let (holder, standing) = (self.holder.clone(), account.standing(now_s));
        let (budget, period) = (account.spec.id.clone(), account.spec.period);
        let steps = account.newly_reached(now_s).into_iter();
        steps.map(move |step| Reached { holder: holder.clone(), budget: budget.clone(), period, standing, step })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a request may cost, in nano-dollars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quote {
    /// In all likelihood.
    pub expected: u64,
    /// At worst.
    pub worst: u64,
}

impl Quote {
    /// Returns the quote of something whose price is known.
    pub fn exact(nano: u64) -> Self {
        Self { expected: nano, worst: nano }
    }

    /// Returns what to hold where so much is left to spend; `None` is no bound. While there is plenty, what is likely: holding
    /// the worst would keep most of it from use.
    fn amount(self, headroom: Option<u64>) -> u64 {
        let plenty = headroom.is_none_or(|left| left / PLENTY >= self.worst);
        if plenty { self.expected.min(self.worst) } else { self.worst }
    }
}

/// What was held in one account: in which of its windows.
pub(super) type Held = (Arc<Cell>, Window);

/// Which budget is in the way of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exceeded {
    /// Whose.
    pub holder: Holder,
    /// Which of its budgets.
    pub budget: String,
    /// How long its windows are, and by whose calendar.
    pub period: Period,
    /// See [`Zone`].
    pub zone: Zone,
    /// Nano-dollars that the request might cost.
    pub asked_nano: u64,
    /// How much there is, what is used, when that ends, and whether the request may wait.
    pub short: Short,
}

impl Exceeded {
    fn of(cell: &Cell, account: &Account, asked_nano: u64, short: Short) -> Self {
        let BudgetSpec { id, period, zone, .. } = &account.spec;
        let (holder, budget) = (cell.holder.clone(), id.clone());
        Self { holder, budget, period: *period, zone: zone.clone(), asked_nano, short }
    }
}

/// A request does not fit.
#[derive(Debug)]
pub struct Denied {
    /// Why.
    pub exceeded: Box<Exceeded>,
    /// Where it may wait.
    pub(super) cell: Arc<Cell>,
}

/// How a budget stands, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Whose.
    pub holder: Holder,
    /// Which.
    pub budget: BudgetSpec,
    /// In figures.
    pub standing: Standing,
    /// What was added by hand.
    pub raised: Option<Override>,
    /// The highest step that is in force.
    pub step: Option<Step>,
    /// How many requests wait for room.
    pub waiting: usize,
}

/// A step that what is posted has reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// Whose budget.
    pub holder: Holder,
    /// Which of its budgets.
    pub budget: String,
    /// How long its windows are.
    pub period: Period,
    /// In which window, and how it stands.
    pub standing: Standing,
    /// Which step.
    pub step: Step,
}

/// What the budgets above a request ask of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InForce {
    /// To be served by a cheaper model: an alias, or whichever is enough.
    pub downgrade: Option<Option<String>>,
    /// Requests per minute of these holders.
    pub throttles: Vec<(Holder, u64)>,
    /// The budget of which the highest share is used, where a step of it is in force.
    pub tightest: Option<Tightest>,
}

/// The budget that is the nearest to its limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tightest {
    /// Whose.
    pub holder: Holder,
    /// How it stands.
    pub standing: Standing,
    /// The highest step that is in force.
    pub step: Step,
}

/// All accounts.
#[derive(Debug, Default)]
pub struct Accounts {
    table: ArcSwap<Table>,
    cells: DashMap<Holder, Arc<[Arc<Cell>]>>,
    /// What is spent and not in the ledger yet, by the request's number.
    unposted: DashMap<u64, (Vec<Held>, u64)>,
    numbers: AtomicU64,
    /// Whether tags have budgets, so that requests need not name theirs in vain.
    has_tags: AtomicBool,
}

impl Accounts {
    /// Returns the budgets in force.
    pub fn table(&self) -> Arc<Table> {
        self.table.load_full()
    }

    /// Returns whether nobody has a budget.
    pub fn is_empty(&self) -> bool {
        self.table.load().is_empty()
    }

    /// Returns whether each end user of `team` has a budget.
    pub fn has_members(&self, team: &TeamId) -> bool {
        self.table.load().members.contains_key(team)
    }

    /// Returns whether any tag has a budget.
    pub fn has_tags(&self) -> bool {
        self.has_tags.load(Ordering::Relaxed)
    }

    /// Holds what `quote` says in every account of `holders` for the request `call`, or says which is in the way.
    ///
    /// Who has waited passes his `turn`; others wait behind those who do, where a budget has them wait.
    pub fn reserve(
        self: &Arc<Self>,
        holders: &[Holder],
        call: u64,
        quote: Quote,
        now_s: i64,
        turn: Option<&Turn>,
    ) -> Result<Hold, Denied> {
        let cells = self.above(holders, now_s);
        let (held, amount) = take(&cells, quote, now_s, true, turn)?;
        Ok(Hold::new(self.clone(), call, held, amount))
    }

    /// Returns the accounts of `holders`, in their order.
    pub(super) fn above(&self, holders: &[Holder], now_s: i64) -> Vec<Arc<Cell>> {
        let table = self.table.load();
        let of = holders.iter().filter_map(|holder| Some((holder, table.of(holder)?)));
        let mut cells: Vec<_> = of.flat_map(|(holder, specs)| self.cells_of(holder, specs, now_s).to_vec()).collect();
        cells.sort_unstable_by_key(|cell| cell.number);
        cells.dedup_by_key(|cell| cell.number);
        cells
    }

    fn cells_of(&self, holder: &Holder, specs: &[BudgetSpec], now_s: i64) -> Arc<[Arc<Cell>]> {
        if let Some(cells) = self.cells.get(holder) {
            return cells.clone();
        }
        let entry = self.cells.entry(holder.clone());
        entry
            .or_insert_with(|| specs.iter().map(|spec| self.cell(holder, Account::new(spec.clone(), now_s))).collect())
            .clone()
    }

    fn cell(&self, holder: &Holder, account: Account) -> Arc<Cell> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        Arc::new(Cell { number, holder: holder.clone(), account: Mutex::new(account), queue: Queue::default() })
    }

    /// Returns what the budgets of `holders` ask of a request.
    pub fn in_force(&self, holders: &[Holder], now_s: i64) -> InForce {
        let mut force = InForce::default();
        let mut cells = self.above(holders, now_s);
        cells.sort_by_key(|cell| cell.distance());
        let mut most = 0;
        for cell in cells {
            let mut account = cell.lock();
            account.turn(now_s);
            for step in account.steps_in_force(now_s) {
                match &step.act {
                    // The nearest that names an alias is heard; an alias goes before "whichever".
                    Act::Downgrade { to } if force.downgrade.as_ref().is_none_or(Option::is_none) => {
                        force.downgrade = Some(to.clone());
                    }
                    Act::Throttle { rpm } => force.throttles.push((cell.holder.clone(), *rpm)),
                    _ => {}
                }
            }
            let standing = account.standing(now_s);
            let used =
                u128::from(standing.used_nano()) * u128::from(WHOLE_PPM) / u128::from(standing.limit_nano.max(1));
            if let Some(step) = account.steps_in_force(now_s).next_back().filter(|_| used >= most) {
                most = used;
                force.tightest = Some(Tightest { holder: cell.holder.clone(), standing, step: step.clone() });
            }
        }
        force
    }

    /// Puts `cost` on the books of the request `call`, which held it in `held`: it counts until the ledger has it.
    pub(super) fn spent(&self, call: u64, held: Vec<Held>, cost: u64) {
        self.unposted.insert(call, (held, cost));
    }

    /// Posts what the ledger has taken; returns the steps that were reached by it. For the `Budget` actor only.
    ///
    /// `own`: the request was of this run of the process, so that it may have held something.
    pub fn apply(&self, posting: &Posting, own: bool, now_s: i64) -> Vec<Reached> {
        let holders: Vec<Holder> = posting.holders().collect();
        let cells = self.above(&holders, now_s);
        let held = posting.call.filter(|_| own).and_then(|call| self.unposted.remove(&call));
        let (held, cost) = held.map_or_else(Default::default, |(_, held)| held);
        let mut reached = Vec::new();
        for cell in &cells {
            let mut account = cell.lock();
            account.turn(now_s);
            account.post(posting.began_s, posting.cost_nano);
            // In the same breath, so that nobody sees it twice or not at all.
            if let Some((_, window)) = held.iter().find(|(other, _)| Arc::ptr_eq(other, cell)) {
                account.change(*window, cost, 0);
            }
            reached.extend(cell.newly_reached(&mut account, now_s));
        }
        for (cell, window) in held {
            if !cells.iter().any(|other| Arc::ptr_eq(other, &cell)) {
                cell.lock().change(window, cost, 0);
            }
            cell.queue.wake();
        }
        reached
    }

    /// Puts `table` in force. What each account begins with is what `seed` says that the ledger has: nano-dollars by quarters
    /// of an hour. `users` are the end users that it knows. For the `Budget` actor only, which posts nothing meanwhile.
    ///
    /// Returns the steps that are reached.
    pub fn configure(&self, table: Table, users: &[Holder], now_s: i64, seed: &mut Seed<'_>) -> Vec<Reached> {
        let table = Arc::new(table);
        // First, so that every request from here on finds the accounts of its holders, and none is made behind our back.
        let members = users.iter().filter(|user| table.of(user).is_some());
        let known: Vec<Holder> = table.holders.keys().chain(members).cloned().collect();
        let mut open: Vec<Holder> = self.cells.iter().map(|entry| entry.key().clone()).collect();
        open.retain(|holder| table.of(holder).is_some());
        open.extend(known);
        open.sort_unstable_by_key(ToString::to_string);
        self.cells.retain(|holder, _| table.of(holder).is_some());
        self.has_tags.store(table.holders.keys().any(|holder| matches!(holder, Holder::Tag(_))), Ordering::Relaxed);
        self.table.store(table.clone());
        let mut reached = Vec::new();
        let mut done = std::collections::HashSet::new();
        for holder in open.into_iter().filter(|holder| done.insert(holder.clone())) {
            let Some(specs) = table.of(&holder) else { continue };
            reached.extend(self.renew(&holder, specs, now_s, seed));
        }
        reached
    }

    fn renew(&self, holder: &Holder, specs: &[BudgetSpec], now_s: i64, seed: &mut Seed<'_>) -> Vec<Reached> {
        let mut old: HashMap<String, Arc<Cell>> = HashMap::new();
        if let Some(cells) = self.cells.get(holder) {
            old.extend(cells.iter().map(|cell| (cell.lock().spec.id.clone(), cell.clone())));
        }
        let cells: Arc<[Arc<Cell>]> = specs
            .iter()
            .map(|spec| {
                let cell = old.remove(&spec.id);
                let cell = cell.unwrap_or_else(|| self.cell(holder, Account::new(spec.clone(), now_s)));
                cell.lock().renew(spec.clone(), now_s, &mut |window| seed(holder, window));
                cell
            })
            .collect();
        self.cells.insert(holder.clone(), cells.clone());
        old.values().chain(cells.iter()).for_each(|cell| cell.queue.wake_all());
        let mut reached = Vec::new();
        for cell in &*cells {
            let mut account = cell.lock();
            reached.extend(cell.newly_reached(&mut account, now_s));
        }
        reached
    }

    /// Gives a budget more to spend for a time, or takes that back; `false`: there is no such budget. For the `Budget` actor
    /// only, which keeps it.
    pub fn raise(&self, holder: &Holder, budget: &str, raised: Option<Override>, now_s: i64) -> bool {
        let cells = self.above(std::slice::from_ref(holder), now_s);
        let cell = cells.iter().find(|cell| cell.lock().spec.id == budget);
        if let Some(cell) = cell {
            cell.lock().raise(raised);
            cell.queue.wake_all();
        }
        cell.is_some()
    }

    /// Returns how every budget stands; of end users only those that have spent.
    pub fn statements(&self, now_s: i64) -> Vec<Statement> {
        let table = self.table.load_full();
        for (holder, specs) in &table.holders {
            self.cells_of(holder, specs, now_s);
        }
        let cells: Vec<_> = self.cells.iter().map(|entry| entry.value().clone()).collect();
        let cells = cells.iter().flat_map(|cells| cells.iter());
        let statement = |cell: &Arc<Cell>| {
            let mut account = cell.lock();
            account.turn(now_s);
            Statement {
                holder: cell.holder.clone(),
                budget: account.spec.clone(),
                standing: account.standing(now_s),
                raised: account.raised(now_s).cloned(),
                step: account.steps_in_force(now_s).next_back().cloned(),
                waiting: cell.queue.len(),
            }
        };
        let mut statements: Vec<_> = cells.map(statement).collect();
        statements.sort_by_cached_key(|statement| (statement.holder.kind(), statement.holder.to_string()));
        statements
    }
}

/// Holds what is asked in every cell, or in none; returns how much that is. Cells come in the order of their numbers.
pub(super) fn take(
    cells: &[Arc<Cell>],
    quote: Quote,
    now_s: i64,
    waits: bool,
    turn: Option<&Turn>,
) -> Result<(Vec<Held>, u64), Denied> {
    let mut accounts: Vec<_> = cells.iter().map(|cell| cell.lock()).collect();
    accounts.iter_mut().for_each(|account| account.turn(now_s));
    let amount = quote.amount(accounts.iter().filter_map(|account| account.headroom_nano(now_s)).min());
    // The nearest says how urgent a request is.
    let queues = cells.iter().zip(&accounts).filter_map(|(cell, account)| Some((cell.distance(), account.queues()?.2)));
    let priority = queues.min_by_key(|(distance, _)| *distance).map(|(_, priority)| priority).filter(|_| waits);
    let mut short: Option<(usize, Short)> = None;
    for (at, account) in accounts.iter().enumerate() {
        let waiting = || priority.is_some_and(|priority| amount > 0 && cells[at].queue.goes_before(turn, priority));
        let found = match account.fits(amount, now_s, waits) {
            Err(found) => Some(found),
            Ok(()) => account.behind_others(now_s).filter(|_| waiting()),
        };
        // Who may not wait for one of them has no use of waiting for another.
        let stricter =
            |found: &Short| short.is_none_or(|(_, before)| before.queued.is_some() && found.queued.is_none());
        if let Some(found) = found.filter(stricter) {
            let queued = found.queued.zip(priority).map(|((max_wait, _), priority)| (max_wait, priority));
            short = Some((at, Short { queued, ..found }));
        }
    }
    let Some((at, short)) = short else {
        let held = cells.iter().zip(&mut accounts).map(|(cell, account)| (cell.clone(), account.hold(amount)));
        return Ok((held.collect(), amount));
    };
    let cell = cells[at].clone();
    let exceeded = Exceeded::of(&cell, &accounts[at], amount, short);
    drop(accounts);
    Err(Denied { exceeded: Box::new(exceeded), cell })
}

/// Holds `more` on top of what is held, each in its own window, or nothing. Windows that have ended refuse nobody.
pub(super) fn extend(held: &[&Held], more: u64, now_s: i64) -> Result<(), Denied> {
    let mut accounts: Vec<_> = held.iter().map(|(cell, _)| cell.lock()).collect();
    for ((cell, window), account) in held.iter().zip(&mut accounts) {
        account.turn(now_s);
        if let Err(short) = account.fits(more, now_s, false)
            && account.window() == *window
        {
            let exceeded = Exceeded::of(cell, account, more, short);
            return Err(Denied { exceeded: Box::new(exceeded), cell: cell.clone() });
        }
    }
    held.iter().zip(&mut accounts).for_each(|((_, window), account)| account.change(*window, 0, more));
    Ok(())
}

#[cfg(test)]
#[path = "accounts_tests.rs"]
mod tests;
