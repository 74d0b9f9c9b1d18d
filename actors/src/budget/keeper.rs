//! The `Budget` actor: follows the journal into the ledger, posts to the accounts what is booked, tells each step once, and is the
//! one that changes budgets.
//!
//! Workers hold; only this actor posts. A ledger that fails is made again from the journal, and until it is, what was spent
//! stays pending in the accounts: nothing is let in twice meanwhile.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actix::{Actor, AsyncContext, Context, Handler, Message, ResponseFuture};
use arc_swap::ArcSwapOption;
use tracing::{error, info, warn};

use super::accounts::{Accounts, Reached, Statement};
use super::forecast::Forecast;
use super::ledger::{Entry, FollowError, Ledger, LedgerError, UsageAsked, UsageRow};
use super::mark::{Mark, Notice};
use super::posting::Booked;
use super::{Override, Table, Window};
use crate::audit::journal::{self, Durability, Journal, Refused};
use crate::audit::log::Wall;
use crate::limits::Holder;

/// How long the actor waits for more, once a record is durable: many at once are one batch.
const GATHER: Duration = Duration::from_millis(20);
/// How long it waits before it tries again after a failure.
const AFTER_FAULT: Duration = Duration::from_secs(1);
/// How long a ledger that failed is left alone after it was made again: what breaks it twice is its disk.
const REBUILD_REST: Duration = Duration::from_secs(30);

/// What the actor needs besides its journal.
pub struct BudgetOptions {
    /// What it posts to.
    pub accounts: Arc<Accounts>,
    /// Index of the first record of this run: what comes from there on may be held in the accounts.
    pub run_from: u64,
    /// The calendar's time, in microseconds since 1970.
    pub wall: Wall,
}

/// Told of each step, once.
pub type OnNotice = Box<dyn Fn(&Notice) + Send>;

/// What of the ledger can be read without a message.
#[derive(Default)]
pub struct BudgetView {
    /// Records in the ledger.
    pub applied: AtomicU64,
    /// How often it was made again since the start.
    pub rebuilds: AtomicU64,
    /// Notices since the start.
    pub notices: AtomicU64,
    /// Why it does not follow, if it does not.
    pub fault: ArcSwapOption<String>,
}

/// The actor. Runs on a thread of its own, since it reads and writes the disk.
pub struct Budget {
    journal: Journal,
    ledger: Ledger,
    options: BudgetOptions,
    on_notice: OnNotice,
    /// Steps that were told, as long as it may matter.
    told: Vec<Notice>,
    /// Budgets that are raised, by holder and id.
    raised: Vec<(Holder, Arc<str>, Override)>,
    /// Records of which the accounts know.
    posted_to: u64,
    /// When the ledger was last made again because it failed.
    mended: Option<Instant>,
    /// The journal has called, and is not answered yet.
    is_called: Arc<AtomicBool>,
    view: Arc<BudgetView>,
}

impl Budget {
    /// Opens the ledger, and makes it again if it cannot be used. `progress` is told `(done, total)` now and then. Nobody has a
    /// budget yet.
    pub fn open(
        journal: Journal,
        options: BudgetOptions,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Self, FollowError> {
        let view = Arc::new(BudgetView::default());
        let ledger = match caught(|| caught_up(Ledger::open(&journal)?, &journal, progress)) {
            Err(FollowError::Ledger(why)) => {
                warn!("{why}; it is made again from the journal");
                view.rebuilds.store(1, Ordering::Relaxed);
                caught(|| caught_up(Ledger::anew(&journal)?, &journal, progress))?
            }
            opened => opened?,
        };
        let posted_to = ledger.applied();
        let (told, raised) = (Vec::new(), Vec::new());
        let (on_notice, is_called): (OnNotice, _) = (Box::new(|_| {}), Arc::default());
        let mut budget =
            Self { journal, ledger, options, on_notice, told, raised, posted_to, mended: None, is_called, view };
        for record in budget.ledger.spending().marks()? {
            if let Some(mark) = Mark::of(&record) {
                budget.note(mark);
            }
        }
        if let Some(since_s) = budget.ledger.spending().complete_since()? {
            let since = super::Zone::default().clock_at(since_s);
            warn!("the ledger of budgets begins with {since}: what was spent before was retired from the books");
        }
        budget.publish();
        Ok(budget)
    }

    /// Says who is told of steps from now on.
    pub fn tell_to(&mut self, on_notice: OnNotice) {
        self.on_notice = on_notice;
    }

    /// Returns what it posts to.
    pub fn accounts(&self) -> Arc<Accounts> {
        self.options.accounts.clone()
    }

    /// Returns what can be read without a message.
    pub fn view(&self) -> Arc<BudgetView> {
        self.view.clone()
    }

    fn now_s(&self) -> i64 {
        ((self.options.wall)() / 1_000_000).cast_signed()
    }

    fn publish(&self) {
        self.view.applied.store(self.ledger.applied(), Ordering::Relaxed);
    }

    /// Puts `table` in force, each account with what the ledger has. A ledger that fails is made again.
    pub fn put_in_force(&mut self, table: Table) -> Result<(), FollowError> {
        self.catch_up()?;
        match caught(|| Ok(self.configure(table.clone())?)) {
            Err(FollowError::Ledger(why)) => self.rebuild(&why.to_string())?,
            done => return done,
        }
        caught(|| Ok(self.configure(table)?))
    }

    fn configure(&mut self, table: Table) -> Result<(), LedgerError> {
        let (now_s, spending) = (self.now_s(), self.ledger.spending());
        let users = if table.members.is_empty() { vec![] } else { spending.users()? };
        let mut fault = None;
        let reached = self.options.accounts.configure(table, &users, now_s, &mut |holder, window| {
            spending.of(holder, window).unwrap_or_else(|why| {
                fault = Some(why);
                vec![]
            })
        });
        for (holder, budget, by) in self.raised.iter().filter(|(.., by)| by.is_in_force(now_s)) {
            self.options.accounts.raise(holder, budget, Some(by.clone()), now_s);
        }
        self.tell(reached);
        fault.map_or(Ok(()), Err)
    }

    /// Takes in what is durable by now, and posts it. A ledger that fails is made again.
    fn catch_up(&mut self) -> Result<(), FollowError> {
        let durable = self.journal.durable();
        let followed = caught(|| {
            while let Some(entries) = self.ledger.follow(durable)? {
                self.post(entries);
            }
            Ok(())
        });
        let Err(FollowError::Ledger(why)) = followed else { return followed };
        let rested = self.mended.is_none_or(|before| before.elapsed() >= REBUILD_REST);
        if !rested {
            return Err(why.into());
        }
        self.rebuild(&why.to_string())
    }

    fn rebuild(&mut self, why: &str) -> Result<(), FollowError> {
        error!("{why}; the ledger of budgets is made again from the journal");
        self.mended = Some(Instant::now());
        self.view.rebuilds.fetch_add(1, Ordering::Relaxed);
        let durable = self.journal.durable();
        caught(|| {
            self.ledger = Ledger::anew(&self.journal)?;
            while let Some(entries) = self.ledger.follow(durable)? {
                self.post(entries);
            }
            Ok(())
        })
    }

    /// Posts to the accounts what they do not know yet.
    fn post(&mut self, entries: Vec<Entry>) {
        let now_s = self.now_s();
        for Entry { index, booked } in entries {
            if index < self.posted_to {
                continue;
            }
            match booked {
                Booked::Posting(posting) => {
                    let own = index >= self.options.run_from;
                    let reached = self.options.accounts.apply(&posting, own, now_s);
                    self.tell(reached);
                }
                Booked::Mark(mark) => self.note(*mark),
                Booked::Nothing => {}
            }
        }
        self.posted_to = self.posted_to.max(self.ledger.applied());
    }

    /// Remembers what a record says of a budget.
    fn note(&mut self, mark: Mark) {
        match mark {
            Mark::Told(notice) if !self.told.contains(&notice) => self.told.push(notice),
            Mark::Told(_) => {}
            Mark::Raised { holder, budget, by } => {
                self.raised.retain(|(other, id, _)| (other, id) != (&holder, &budget));
                self.raised.push((holder, budget, by));
            }
        }
    }

    /// Tells of steps that were reached, each once in a window: the record of it is the mark.
    fn tell(&mut self, reached: Vec<Reached>) {
        for Reached { holder, budget, period, standing, step } in reached {
            let notice = Notice {
                holder,
                budget: budget.into(),
                period: period.to_string().into(),
                window: standing.window,
                at_ppm: step.at_ppm,
                act: step.act.word().into(),
                limit_nano: standing.limit_nano,
                posted_nano: standing.posted_nano,
            };
            if self.told.iter().any(|told| notice.is_told_by(told)) {
                continue;
            }
            info!(
                budget = &*notice.budget,
                step = &*notice.act,
                at_ppm = notice.at_ppm,
                "{} has reached a step of its budget",
                notice.holder
            );
            let tail = Mark::Told(notice.clone()).to_record((self.options.wall)()).to_tail();
            // Durable before anybody hears of it, or a kill would have it told again.
            if let Err(why) = self.journal.append(journal::Entry { tail, body: None }, Durability::Strict).wait_beside()
            {
                error!("the books do not take that a step was told, so a restart may tell it again: {why}");
            }
            self.view.notices.fetch_add(1, Ordering::Relaxed);
            (self.on_notice)(&notice);
            // Windows that are over are not reached again.
            let now_s = self.now_s();
            self.told.retain(|told| told.window.end_s > now_s.saturating_sub(TOLD_KEPT_S));
            self.told.push(notice);
        }
    }

    /// Takes in what has come; returns whether that worked.
    fn tick(&mut self) -> bool {
        self.is_called.store(false, Ordering::Release);
        let fault = self.catch_up().err().map(|why| Arc::new(why.to_string()));
        if let (Some(why), None) = (&fault, self.view.fault.load().as_ref()) {
            error!("{why}");
        }
        let worked = fault.is_none();
        self.view.fault.store(fault);
        self.publish();
        worked
    }
}

/// How long a window is remembered that is over, in seconds: clocks may be set back by a day.
const TOLD_KEPT_S: i64 = 2 * 86_400;

/// Follows the journal to its end.
fn caught_up(mut ledger: Ledger, journal: &Journal, progress: &mut dyn FnMut(u64, u64)) -> Result<Ledger, FollowError> {
    let durable = journal.durable();
    while ledger.follow(durable)?.is_some() {
        progress(ledger.applied(), durable);
    }
    Ok(ledger)
}

/// Does `work` and takes a panic for a ledger that cannot be used, since that is what sled does about some damage.
fn caught<T>(work: impl FnOnce() -> Result<T, FollowError>) -> Result<T, FollowError> {
    let panicked = |_| Err(LedgerError::Unusable("sled panicked".into()).into());
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(panicked)
}

impl Actor for Budget {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        // Weak, or the journal and its follower would keep each other alive.
        let (addr, is_called) = (context.address().downgrade(), self.is_called.clone());
        self.journal.on_durable(move |_| {
            let Some(addr) = addr.upgrade().filter(|_| !is_called.swap(true, Ordering::AcqRel)) else { return };
            if addr.try_send(Follow(GATHER)).is_err() {
                is_called.store(false, Ordering::Release);
            }
        });
        // What has become durable before.
        context.notify(Follow(Duration::ZERO));
    }
}

/// Takes in what is durable so much later.
#[derive(Message)]
#[rtype(result = "()")]
struct Follow(Duration);

impl Handler<Follow> for Budget {
    type Result = ();

    fn handle(&mut self, Follow(after): Follow, context: &mut Context<Self>) {
        context.run_later(after, |budget, context| {
            if !budget.tick() {
                context.notify(Follow(AFTER_FAULT));
            }
        });
    }
}

/// Puts these budgets in force.
#[derive(Message)]
#[rtype(result = "Result<(), FollowError>")]
pub struct Configure(pub Table);

impl Handler<Configure> for Budget {
    type Result = Result<(), FollowError>;

    fn handle(&mut self, Configure(table): Configure, _: &mut Context<Self>) -> Self::Result {
        self.put_in_force(table)
    }
}

/// Asks how every budget stands, and where it is bound for.
#[derive(Message)]
#[rtype(result = "Result<Vec<(Statement, Forecast)>, FollowError>")]
pub struct Statements;

impl Handler<Statements> for Budget {
    type Result = Result<Vec<(Statement, Forecast)>, FollowError>;

    fn handle(&mut self, _: Statements, _: &mut Context<Self>) -> Self::Result {
        self.catch_up()?;
        let (now_s, spending) = (self.now_s(), self.ledger.spending());
        let spent = |holder: &Holder, seconds: i64| -> Result<u64, LedgerError> {
            let window = Window { start_s: now_s.saturating_sub(seconds), end_s: now_s.saturating_add(1) };
            Ok(spending.of(holder, window)?.iter().fold(0, |sum: u64, (_, cost)| sum.saturating_add(*cost)))
        };
        let with_forecast = |statement: Statement| {
            let rates =
                [super::forecast::WEEK_S, super::forecast::DAY_S].map(|seconds| spent(&statement.holder, seconds));
            let [week, day] = rates;
            let forecast = Forecast::of(&statement.standing, week?, day?, now_s);
            Ok((statement, forecast))
        };
        self.options.accounts.statements(now_s).into_iter().map(with_forecast).collect()
    }
}

/// Asks what was spent.
#[derive(Message)]
#[rtype(result = "Result<Vec<UsageRow>, FollowError>")]
pub struct UsageOf(pub UsageAsked);

impl Handler<UsageOf> for Budget {
    type Result = ResponseFuture<Result<Vec<UsageRow>, FollowError>>;

    fn handle(&mut self, UsageOf(asked): UsageOf, _: &mut Context<Self>) -> Self::Result {
        let up_to_date = self.catch_up();
        let spending = self.ledger.spending();
        Box::pin(async move {
            up_to_date?;
            // A year of rows takes a while, and posting must not wait for it.
            let read = tokio::task::spawn_blocking(move || caught(|| Ok(spending.usage(&asked)?))).await;
            read.unwrap_or_else(|_| Err(LedgerError::Unusable("the question failed".into()).into()))
        })
    }
}

/// Why a budget is not raised.
#[derive(Debug, thiserror::Error)]
pub enum RaiseError {
    /// There is no such budget.
    #[error("{holder} has no budget `{budget}`; the list of budgets names those that there are")]
    NoSuch {
        /// Whose.
        holder: Holder,
        /// Which.
        budget: String,
    },
    /// The books do not take it.
    #[error("the books do not take it: {0}")]
    Refused(#[from] Refused),
}

/// Gives a budget more to spend for a while; nothing takes an earlier order back. Returns once it is durable.
#[derive(Message)]
#[rtype(result = "Result<(), RaiseError>")]
pub struct Raise {
    /// Whose.
    pub holder: Holder,
    /// Which.
    pub budget: String,
    /// By how much, until when, why, by whose order.
    pub by: Override,
}

impl Handler<Raise> for Budget {
    type Result = Result<(), RaiseError>;

    fn handle(&mut self, Raise { holder, budget, by }: Raise, _: &mut Context<Self>) -> Self::Result {
        let table = self.options.accounts.table();
        if !table.of(&holder).is_some_and(|specs| specs.iter().any(|spec| spec.id == budget)) {
            return Err(RaiseError::NoSuch { holder, budget });
        }
        let mark = Mark::Raised { holder: holder.clone(), budget: budget.as_str().into(), by: by.clone() };
        let tail = mark.to_record((self.options.wall)()).to_tail();
        self.journal.append(journal::Entry { tail, body: None }, Durability::Strict).wait_beside()?;
        self.note(mark);
        let now_s = self.now_s();
        self.options.accounts.raise(&holder, &budget, by.is_in_force(now_s).then_some(by), now_s);
        Ok(())
    }
}

/// Returns once everything is posted that is durable now.
#[derive(Message)]
#[rtype(result = "Result<(), FollowError>")]
pub struct CatchUp;

impl Handler<CatchUp> for Budget {
    type Result = Result<(), FollowError>;

    fn handle(&mut self, _: CatchUp, _: &mut Context<Self>) -> Self::Result {
        let caught_up = self.catch_up();
        self.publish();
        caught_up
    }
}

/// Asks for the ledger to be made again from the journal; returns how many records are in it.
#[derive(Message)]
#[rtype(result = "Result<u64, FollowError>")]
pub struct Rebuild;

impl Handler<Rebuild> for Budget {
    type Result = Result<u64, FollowError>;

    fn handle(&mut self, _: Rebuild, _: &mut Context<Self>) -> Self::Result {
        self.rebuild("a rebuild was asked for")?;
        self.publish();
        Ok(self.ledger.applied())
    }
}

#[cfg(test)]
#[path = "keeper_tests.rs"]
mod tests;
