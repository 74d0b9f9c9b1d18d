//! What counts against one budget: plain data, every decision a method with the time passed in.
//!
//! `posted` comes from the ledger and from nowhere else; `pending` is what holds keep, and what has been spent and is not in the
//! ledger yet. A request is let in only if both together, with what it may cost, stay within the limit.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Act, BudgetSpec, Period, Priority, QUARTER_S, Step, WHOLE_PPM, Window};

/// More to spend for a time, by somebody's order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// Nano-dollars on top of the limit.
    pub extra_nano: u64,
    /// Until when, in seconds since 1970.
    pub until_s: i64,
    /// Why.
    pub reason: String,
    /// Who ordered it.
    pub by: String,
}

impl Override {
    /// Returns whether it raises anything at this moment.
    pub fn is_in_force(&self, now_s: i64) -> bool {
        self.extra_nano > 0 && now_s < self.until_s
    }
}

/// One budget of one holder, as it stands.
#[derive(Debug, Clone)]
pub struct Account {
    pub(super) spec: BudgetSpec,
    window: Window,
    now: Spent,
    /// Of a rolling window, what was posted by quarters of an hour, the earliest first.
    quarters: VecDeque<(i64, u64)>,
    /// Of the window before, for what of it rolls over; none of a rolling one.
    before: Option<(Window, Spent)>,
    raised: Option<Override>,
    /// How many steps `posted` has reached.
    reached: usize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Spent {
    posted: u64,
    pending: u64,
}

impl Spent {
    fn total(self) -> u64 {
        self.posted.saturating_add(self.pending)
    }
}

/// Why a request does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Short {
    /// Nano-dollars that may be spent, as far as this request is concerned.
    pub limit_nano: u64,
    /// Of these, posted and pending.
    pub used_nano: u64,
    /// When the window ends; `None`: the request is more than a whole window has.
    pub resets_s: Option<i64>,
    /// It may wait until it fits, at most so long.
    pub queued: Option<(Duration, Priority)>,
}

/// How a budget stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The window under way.
    pub window: Window,
    /// Nano-dollars that may be spent in it, with what rolled over and what was added by hand.
    pub limit_nano: u64,
    /// What is in the ledger.
    pub posted_nano: u64,
    /// What is held, or spent and not in the ledger yet.
    pub pending_nano: u64,
}

impl Standing {
    /// Returns what is used of the limit.
    pub fn used_nano(&self) -> u64 {
        self.posted_nano.saturating_add(self.pending_nano)
    }
}

impl Account {
    /// Returns an account in which nothing was spent.
    pub fn new(spec: BudgetSpec, now_s: i64) -> Self {
        let window = spec.period.window_at(now_s, &spec.zone);
        let (now, quarters) = Default::default();
        Self { spec, window, now, quarters, before: None, raised: None, reached: 0 }
    }

    fn is_rolling(&self) -> bool {
        matches!(self.spec.period, Period::Rolling { .. })
    }

    /// Turns to the window of `now_s`. The clock may go back; windows do not.
    pub fn turn(&mut self, now_s: i64) {
        if now_s < self.window.end_s {
            return;
        }
        let window = self.spec.period.window_at(now_s, &self.spec.zone);
        if self.is_rolling() {
            self.window = window;
            let gone = self.quarters.partition_point(|(quarter, _)| *quarter < window.start_s);
            self.now.posted -= self.quarters.drain(..gone).map(|(_, posted)| posted).sum::<u64>();
            // What was left behind may be reached again.
            self.reached = self.reached.min(self.count_reached(now_s));
            return;
        }
        let adjacent = window.start_s == self.window.end_s;
        self.before = adjacent.then_some((self.window, self.now));
        (self.window, self.now, self.reached) = (window, Spent::default(), 0);
    }

    /// Returns the budget of the window before, whose end is where this one begins.
    pub fn window_before(&self) -> Option<Window> {
        let turned = !self.is_rolling() && self.spec.rollover_ppm > 0 && self.window.start_s > i64::MIN;
        turned.then(|| self.spec.period.window_at(self.window.start_s - 1, &self.spec.zone))
    }

    /// Returns what may be spent in the window, in nano-dollars.
    ///
    /// What rolls over is a share of what the window before left of its own amount: it does not pile up.
    pub fn limit_nano(&self, now_s: i64) -> u64 {
        let left = self.before.map_or(0, |(_, before)| self.spec.amount_nano.saturating_sub(before.total()));
        let extra = self.raised(now_s).map_or(0, |raised| raised.extra_nano);
        self.spec.amount_nano.saturating_add(share(left, self.spec.rollover_ppm)).saturating_add(extra)
    }

    /// Returns how it stands.
    pub fn standing(&self, now_s: i64) -> Standing {
        let Spent { posted, pending } = self.now;
        let limit_nano = self.limit_nano(now_s);
        Standing { window: self.window, limit_nano, posted_nano: posted, pending_nano: pending }
    }

    /// Returns how much still may be spent before requests are refused; `None`: they never are.
    pub fn headroom_nano(&self, now_s: i64) -> Option<u64> {
        Some(self.bound_nano(now_s)?.saturating_sub(self.now.total()))
    }

    /// Returns how much more is used than may be.
    pub fn overrun_nano(&self, now_s: i64) -> u64 {
        self.bound_nano(now_s).map_or(0, |bound| self.now.total().saturating_sub(bound))
    }

    fn bound_nano(&self, now_s: i64) -> Option<u64> {
        Some(share(self.limit_nano(now_s), self.spec.blocks_at_ppm()?))
    }

    /// Returns from which share on requests wait, how long at most, and how urgent they are; `None`: they never do.
    pub fn queues(&self) -> Option<(u32, Duration, Priority)> {
        self.spec.steps.iter().find_map(|step| match step.act {
            Act::Queue { max_wait, priority } => Some((step.at_ppm, max_wait, priority)),
            _ => None,
        })
    }

    /// Returns whether `more` nano-dollars fit on top of what is used, or why not. What costs nothing fits always. Who does not
    /// wait is not held up by what others would wait for.
    pub fn fits(&self, more: u64, now_s: i64, waits: bool) -> Result<(), Short> {
        let used_nano = self.now.total();
        let passes = |bound: u64| more == 0 || used_nano.saturating_add(more) <= bound;
        let resets_s = |bound: u64| (more <= bound).then(|| self.has_room_at(bound - more));
        if let Some(bound) = self.bound_nano(now_s).filter(|bound| !passes(*bound)) {
            return Err(Short { limit_nano: bound, used_nano, resets_s: resets_s(bound), queued: None });
        }
        let Some((at_ppm, max_wait, priority)) = self.queues().filter(|_| waits) else { return Ok(()) };
        let bound = share(self.limit_nano(now_s), at_ppm);
        if passes(bound) {
            return Ok(());
        }
        let resets_s = resets_s(bound);
        Err(Short { limit_nano: bound, used_nano, resets_s, queued: resets_s.map(|_| (max_wait, priority)) })
    }

    /// Returns when no more than `most` is used any longer, as far as time alone brings that about.
    fn has_room_at(&self, most: u64) -> i64 {
        let Period::Rolling { seconds } = self.spec.period else { return self.window.end_s };
        let mut used = self.now.total();
        let gone = self.quarters.iter().find(|(_, posted)| {
            used = used.saturating_sub(*posted);
            used <= most
        });
        gone.map_or(self.window.end_s, |(quarter, _)| quarter.saturating_add_unsigned(seconds))
    }

    /// Returns how a request stands that fits and has to wait for others, who came before it.
    pub fn behind_others(&self, now_s: i64) -> Option<Short> {
        let (at_ppm, max_wait, priority) = self.queues()?;
        let limit_nano = share(self.limit_nano(now_s), at_ppm);
        let (used_nano, resets_s) = (self.now.total(), Some(self.window.end_s));
        Some(Short { limit_nano, used_nano, resets_s, queued: Some((max_wait, priority)) })
    }

    /// Returns the window under way.
    pub fn window(&self) -> Window {
        self.window
    }

    /// Holds `amount`. Returns the window that it belongs to.
    pub fn hold(&mut self, amount: u64) -> Window {
        self.now.pending = self.now.pending.saturating_add(amount);
        self.window
    }

    /// Holds `to` in the place of `from`, which was held in `window`.
    pub fn change(&mut self, window: Window, from: u64, to: u64) {
        let rolling = self.is_rolling();
        let spent = match &mut self.before {
            _ if rolling || window == self.window => &mut self.now,
            Some((before, spent)) if *before == window => spent,
            _ => return,
        };
        spent.pending = spent.pending.saturating_sub(from).saturating_add(to);
    }

    /// Adds `cost` to what the ledger has of the window that `began_s` lies in.
    pub fn post(&mut self, began_s: i64, cost: u64) {
        if self.is_rolling() {
            if began_s >= self.window.start_s {
                self.now.posted = self.now.posted.saturating_add(cost);
                self.post_quarter(began_s.div_euclid(QUARTER_S) * QUARTER_S, cost);
            }
        } else if self.window.holds(began_s) {
            self.now.posted = self.now.posted.saturating_add(cost);
        } else if let Some((window, spent)) = &mut self.before
            && window.holds(began_s)
        {
            spent.posted = spent.posted.saturating_add(cost);
        }
    }

    fn post_quarter(&mut self, quarter: i64, cost: u64) {
        // Nearly always the last; requests that took long come a little late.
        let at = self.quarters.iter().rposition(|(other, _)| *other <= quarter).map_or(0, |at| at + 1);
        match at.checked_sub(1).and_then(|at| self.quarters.get_mut(at)).filter(|(other, _)| *other == quarter) {
            Some((_, posted)) => *posted += cost,
            None => self.quarters.insert(at, (quarter, cost)),
        }
    }

    /// Takes another spec of the same budget, and forgets what was posted: `seed` tells what the ledger has from one moment to
    /// another, by quarters of an hour. What is held stays held, where the window is the same.
    pub fn renew(&mut self, spec: BudgetSpec, now_s: i64, seed: &mut dyn FnMut(Window) -> Vec<(i64, u64)>) {
        let held = (self.window, self.now.pending, self.is_rolling());
        let raised = self.raised.take();
        *self = Self { raised, ..Self::new(spec, now_s) };
        if held.0 == self.window || (held.2 && self.is_rolling()) {
            self.now.pending = held.1;
        }
        if let Some(before) = self.window_before() {
            self.before = Some((before, Spent::default()));
            seed(before).into_iter().for_each(|(quarter, cost)| self.post(quarter, cost));
        }
        seed(self.window).into_iter().for_each(|(quarter, cost)| self.post(quarter, cost));
    }

    /// Gives more to spend for a time, or takes that back.
    pub fn raise(&mut self, raised: Option<Override>) {
        self.raised = raised;
    }

    /// Returns what was added by hand and still holds.
    pub fn raised(&self, now_s: i64) -> Option<&Override> {
        self.raised.as_ref().filter(|raised| raised.is_in_force(now_s))
    }

    /// Returns the steps that `used` has reached, from low to high.
    pub fn steps_in_force(&self, now_s: i64) -> impl DoubleEndedIterator<Item = &Step> {
        let (limit, used) = (self.limit_nano(now_s), self.now.total());
        self.spec.steps.iter().filter(move |step| used >= share(limit, step.at_ppm).max(1))
    }

    /// Returns the steps that what is posted has reached since this was last asked in this window.
    pub fn newly_reached(&mut self, now_s: i64) -> Vec<Step> {
        let reached = self.count_reached(now_s);
        let new = self.spec.steps.get(self.reached..reached).unwrap_or_default().to_vec();
        self.reached = self.reached.max(reached);
        new
    }

    fn count_reached(&self, now_s: i64) -> usize {
        let limit = self.limit_nano(now_s);
        self.spec.steps.iter().take_while(|step| self.now.posted >= share(limit, step.at_ppm).max(1)).count()
    }
}

/// Returns `ppm` millionths of `whole`, rounded down.
fn share(whole: u64, ppm: u32) -> u64 {
    let part = u128::from(whole) * u128::from(ppm) / u128::from(WHOLE_PPM);
    u64::try_from(part).unwrap_or(u64::MAX)
}
