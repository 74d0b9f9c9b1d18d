//! Whether the budgets above a request have room for it, and what is done near their limits: a cheaper model, fewer requests
//! in a minute, a wait for room.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bursar_actors::budget::{Accounts, Exceeded, InForce, Turn};
use bursar_actors::limits::{Holder, Limits};

use super::bounding::{bounded, longest_answer};
use super::fitness::Demand;
use super::quote::quote;
use super::route::{Route, Routes};
use super::settlement::Settlement;
use crate::call::{Call, unix_s, unix_us};
use crate::config::budgets::Unpriced;
use crate::error::GatewayError;

/// What the workers share of budgets.
#[derive(Debug, Default)]
pub struct Budgets {
    pub accounts: Arc<Accounts>,
    /// Requests that wait for room.
    waiting: AtomicU32,
}

/// Everybody above a request who may have a budget, but for its model.
pub struct Spender<'a> {
    budgets: &'a Budgets,
    holders: Vec<Holder>,
    /// The request's number in the books.
    number: u64,
}

/// A place among those that wait, counted as long as it is kept.
struct Place<'a>(&'a AtomicU32);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Budgets {
    /// Returns budgets over `accounts`.
    pub fn over(accounts: Arc<Accounts>) -> Self {
        Self { accounts, waiting: AtomicU32::new(0) }
    }

    /// Returns how many requests wait for room.
    pub fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }

    fn place(&self, most: u32) -> Option<Place<'_>> {
        let taken =
            self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| (now < most).then_some(now + 1));
        taken.is_ok().then_some(Place(&self.waiting))
    }

    /// Returns who spends with `call`; `None` where nobody has a budget, or no books are kept by which to count.
    pub fn spender(&self, call: &Call, books: &mut Settlement) -> Option<Spender<'_>> {
        if self.accounts.is_empty() {
            return None;
        }
        let page = books.page()?;
        let mut holders = Vec::with_capacity(8);
        if let Some(identity) = call.caller.identity() {
            holders.push(Holder::Key(identity.key.clone()));
            if self.accounts.has_members(&identity.team) {
                let user = page.pseudonym().unwrap_or_default();
                holders.push(Holder::User(identity.team.clone(), user.into()));
            }
            holders.push(Holder::Team(identity.team.clone()));
            holders.extend(identity.org.clone().map(Holder::Org));
            if self.accounts.has_tags() {
                let tags = identity.tags.iter();
                holders.extend(tags.map(|(name, value)| Holder::Tag(format!("{name}={value}").into())));
            }
        }
        Some(Spender { budgets: self, holders, number: page.number() })
    }
}

impl Spender<'_> {
    fn asking(&self, route: &Route) -> Vec<Holder> {
        let model = Holder::Model(route.direct_name.as_deref().unwrap_or(&route.label).into());
        self.holders.iter().cloned().chain([model]).collect()
    }

    /// Returns what serves `call` in the place of `route`, where budgets near their limits say so, and the limits that they
    /// put on their holders meanwhile.
    pub fn steer(
        &self,
        routes: &Routes,
        route: Arc<Route>,
        call: &Call,
        books: &mut Settlement,
    ) -> (Arc<Route>, Vec<(Holder, u64)>) {
        let InForce { downgrade, throttles, tightest } = self.budgets.accounts.in_force(&self.asking(&route), unix_s());
        books.spending().tightest = tightest;
        let cheaper = downgrade.and_then(|to| cheaper(routes, &route, call, to.as_deref()));
        let Some(cheaper) = cheaper else { return (route, throttles) };
        books.spending().downgraded_from = Some(route.asked.clone());
        books.routed(&cheaper.label);
        (cheaper, throttles)
    }

    /// Holds what `call` may cost of everything above it, and waits for room where a budget has requests wait.
    ///
    /// Returns the request with a bound on its answer, where there is room for a short one only.
    pub async fn hold(
        &self,
        routes: &Routes,
        route: &Route,
        call: &Call,
        books: &mut Settlement,
    ) -> Result<Option<Call>, GatewayError> {
        let left_out = left_out(routes, route, call)?;
        let (holders, quote) = (self.asking(route), quote(&call.head, route, &left_out));
        let began = Instant::now();
        let (mut turn, mut place): (Option<Turn>, _) = (None, None);
        loop {
            let now_us = unix_us();
            let now_s = (now_us / 1_000_000).cast_signed();
            let denied = match self.budgets.accounts.reserve(&holders, self.number, quote, now_s, turn.as_ref()) {
                Err(denied) => denied,
                Ok(hold) => {
                    turn.into_iter().for_each(Turn::served);
                    books.spending().waited = place.map_or(Duration::ZERO, |_| began.elapsed());
                    books.spending().holds(hold, quote, call.head.choices, now_us);
                    return Ok(None);
                }
            };
            let exceeded = denied.exceeded();
            if let Some(shorter) = self.hold_shorter(route, call, &left_out, exceeded, now_us, books) {
                return Ok(Some(shorter));
            }
            let until = exceeded.short.queued.map(|(max_wait, _)| (began + max_wait).min(call.deadline));
            let resets = exceeded.short.resets_s.map_or(u64::MAX, |at| at.saturating_sub(now_s).max(1).unsigned_abs());
            place = place.or_else(|| self.budgets.place(routes.queue_max));
            let may_wait = until.filter(|until| place.is_some() && Instant::now() < *until);
            turn = if may_wait.is_some() { denied.wait(turn.take(), &holders) } else { None };
            let (Some(until), Some(turn)) = (may_wait, &turn) else {
                return Err(GatewayError::BudgetExceeded(denied.exceeded));
            };
            let window = Instant::now().checked_add(Duration::from_secs(resets)).unwrap_or(until);
            tokio::select! {
                () = turn.called() => {}
                () = tokio::time::sleep_until(until.min(window).into()) => {}
            }
        }
    }
}

impl Spender<'_> {
    /// Holds what `call` costs with a short answer, where the budget that was in the way has room for that.
    fn hold_shorter(
        &self,
        route: &Route,
        call: &Call,
        left_out: &[usize],
        exceeded: &Exceeded,
        now_us: u64,
        books: &mut Settlement,
    ) -> Option<Call> {
        let room = exceeded.short.limit_nano.saturating_sub(exceeded.short.used_nano);
        let tokens = longest_answer(call, route, left_out, room)?;
        let shorter = bounded(call, tokens)?;
        let (now_s, quote) = ((now_us / 1_000_000).cast_signed(), quote(&shorter.head, route, left_out));
        let hold = self.budgets.accounts.reserve(&self.asking(route), self.number, quote, now_s, None).ok()?;
        let spending = books.spending();
        let Exceeded { budget, holder, .. } = exceeded;
        spending.bounded = Some(format!(
            "the answer has at most {tokens} tokens, since the budget `{budget}` of {holder} has room for no more"
        ));
        spending.holds(hold, quote, shorter.head.choices, now_us);
        Some(shorter)
    }
}

/// Returns the candidates of `route` that `call` is not sent to: barred, not enough, or without a price where one is needed.
fn left_out(routes: &Routes, route: &Route, call: &Call) -> Result<Vec<usize>, GatewayError> {
    let mut left_out = route.barred(&call.caller);
    left_out.extend(route.walled(call));
    left_out.extend(route.fitness.left_out(&Demand::of(&call.head), &left_out).into_iter().map(|(index, _)| index));
    if routes.unpriced == Unpriced::Block {
        left_out.extend(route.unpriced());
        let all = (0..route.candidates.len()).all(|index| left_out.contains(&index));
        if all && !route.candidates.is_empty() {
            return Err(GatewayError::Unpriced { asked: route.asked.clone() });
        }
    }
    Ok(left_out)
}

/// Returns the alias that serves `call` for less than `route`: the one called `to`, or the cheapest that is known to be enough.
fn cheaper(routes: &Routes, route: &Arc<Route>, call: &Call, to: Option<&str>) -> Option<Arc<Route>> {
    if call.head.operation.embeds() {
        return None;
    }
    let cost = |route: &Route| {
        let left_out = left_out(routes, route, call).ok()?;
        let quote = quote(&call.head, route, &left_out);
        Some((quote.expected, quote.worst))
    };
    // What has no price is dearer than anything.
    let now = cost(route).filter(|_| route.unpriced().next().is_none()).unwrap_or((u64::MAX, u64::MAX));
    let demand = Demand::of(&call.head);
    let suits = |other: &&Arc<Route>| {
        !Arc::ptr_eq(other, route)
            && other.admit(&call.caller).is_ok()
            && other.may_see(call)
            && other.unpriced().next().is_none()
            && other.fitness.suffices(&demand, &other.barred(&call.caller))
    };
    let (_, found) = match to {
        Some(name) => routes.alias(name).filter(suits).and_then(|other| Some((cost(other)?, other))),
        None => {
            let chatting = routes.aliases().filter(|other| other.chats).filter(suits);
            chatting.filter_map(|other| Some((cost(other)?, other))).min_by_key(|(cost, _)| *cost)
        }
    }
    .filter(|(cost, _)| *cost < now)?;
    Some(found.clone())
}

/// Returns the limits above a request, with those that budgets put on their holders.
pub fn throttled(mut above: Vec<(Holder, Limits)>, throttles: Vec<(Holder, u64)>) -> Vec<(Holder, Limits)> {
    for (holder, rpm) in throttles {
        match above.iter_mut().find(|(other, _)| *other == holder) {
            Some((_, limits)) => limits.rpm = Some(limits.rpm.map_or(rpm, |now| now.min(rpm))),
            None => above.push((holder, Limits { rpm: Some(rpm), ..Limits::default() })),
        }
    }
    above
}
