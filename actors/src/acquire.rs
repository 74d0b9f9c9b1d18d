//! The question each request asks, and the order in which endpoints are asked for it.
//!
//! `order` is pure: what this request has tried in vain is left out or kept for last, the strategy picks the first of
//! the rest, the others follow likewise in case the first refuses. `acquire_from` walks that order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::Message;

use crate::board::{EndpointBoard, EndpointView};
use crate::clock::{Chance, Clock};
use crate::endpoint::breaker::BreakerState;
use crate::endpoint::keyring::NoKey;
use crate::endpoint::lease::Lease;
use crate::endpoint::{Admit, Refusal};
use crate::ids::{EndpointId, KeyId, ModelName, TeamId};
use crate::outcome::{ErrorClass, ReplyForm};
use crate::pool::LeasePool;
use crate::routing::{Load, Strategy, choose};

/// One endpoint and model that may serve a request.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Where.
    pub endpoint: EndpointId,
    /// The address it is meant to have, as in the endpoint's specification.
    pub home: u64,
    /// Which model, by the upstream's name.
    pub model: ModelName,
    /// Share of traffic, at least 1.
    pub weight: u32,
    /// Position of its target in the alias, for [`Strategy::Ordered`].
    pub rank: u32,
}

/// A call of this request that failed.
#[derive(Debug, Clone)]
pub struct Tried {
    /// Index of the candidate.
    pub candidate: usize,
    /// Which key.
    pub key: KeyId,
    /// Why.
    pub class: ErrorClass,
}

/// Asks for permission for one upstream call.
#[derive(Message, Debug, Clone)]
#[rtype(result = "Result<Lease, Unavailable>")]
pub struct Acquire {
    /// What may serve.
    pub candidates: Arc<[Candidate]>,
    /// Those of them, by index, that this request has no use for: they are not asked.
    pub left_out: Vec<usize>,
    /// How one is chosen.
    pub strategy: Strategy,
    /// Who asks.
    pub team: Option<TeamId>,
    /// Estimated tokens, prompt and answer.
    pub tokens: u64,
    /// Whole or streamed.
    pub form: ReplyForm,
    /// Calls of this request that failed already.
    pub tried: Vec<Tried>,
    /// Whether an endpoint that failed may be asked again.
    pub repeat: Repeat,
}

/// What to do with an endpoint that failed this very request in a way that may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Leave it out: something else is still to be tried, such as a fallback alias.
    Never,
    /// Ask it again once nothing else is left.
    LastResort,
}

/// No lease: who refused and why, and when the soonest may be back.
#[derive(Debug, Clone, Default)]
pub struct Unavailable {
    /// By index of the candidate.
    pub refusals: Vec<(usize, Refusal)>,
    /// Time until the soonest is expected back, where any is.
    pub soonest: Option<Duration>,
    /// The decision failed on this request; no other try may follow.
    pub poisoned: bool,
}

impl Unavailable {
    pub(crate) fn poisoned() -> Self {
        Self { poisoned: true, ..Self::default() }
    }
}

/// A candidate in the order it shall be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Next {
    candidate: usize,
    again: bool,
}

/// The order of candidates, and those that are left out with the reason.
#[derive(Debug, Default)]
pub(crate) struct Order {
    next: Vec<Next>,
    refusals: Vec<(usize, Refusal)>,
}

/// What earlier tries of this request leave of a candidate.
#[derive(PartialEq)]
enum Standing {
    Fresh,
    LastResort,
    Out,
}

fn standing(acquire: &Acquire, candidate: usize) -> Standing {
    let endpoint = &acquire.candidates[candidate].endpoint;
    let here = acquire.tried.iter().filter(|tried| {
        let same_endpoint = acquire.candidates[tried.candidate].endpoint == *endpoint;
        if tried.class.concerns_model() { tried.candidate == candidate } else { same_endpoint }
    });
    let mut standing = Standing::Fresh;
    let of_endpoint = here.map(|tried| tried.class.retry()).filter(|retry| !retry.other_key);
    for (failures, retry) in of_endpoint.enumerate() {
        if failures >= usize::from(retry.same_endpoint) {
            return Standing::Out;
        }
        standing = Standing::LastResort;
    }
    standing
}

fn refusal_of(view: Option<EndpointView>, now: Instant) -> Option<Refusal> {
    let Some(view) = view else { return Some(Refusal::Restarting) };
    if view.admits(now) {
        return None;
    }
    Some(match view.breaker {
        _ if view.quarantined => Refusal::Quarantined,
        _ if view.paused_until.is_some_and(|until| until > now) => {
            Refusal::Paused { until: view.paused_until.unwrap_or(now) }
        }
        BreakerState::Open { until } if until > now => Refusal::BreakerOpen { until: Some(until) },
        BreakerState::HalfOpen { probing: true } => Refusal::BreakerOpen { until: None },
        _ => Refusal::Busy,
    })
}

/// Returns the order in which to ask. Pure but for the board it reads.
pub(crate) fn order(acquire: &Acquire, board: &EndpointBoard, turn: u64, now: Instant, chance: &mut Chance) -> Order {
    let mut order = Order::default();
    let mut fresh: Vec<(usize, Load)> = Vec::with_capacity(acquire.candidates.len());
    let mut last_resort = Vec::new();
    for (index, candidate) in acquire.candidates.iter().enumerate() {
        if acquire.left_out.contains(&index) {
            continue;
        }
        let view = board.view(&candidate.endpoint);
        if let Some(refusal) = refusal_of(view, now) {
            // A call that has ended since may have made room: the endpoint reads its word before it decides.
            let outdated = matches!(refusal, Refusal::Busy | Refusal::BreakerOpen { until: None });
            if !(outdated && board.has_word(&candidate.endpoint)) {
                order.refusals.push((index, refusal));
                continue;
            }
        }
        let load = view.map(|view| view.pulse.load(candidate.weight, candidate.rank, acquire.form, now));
        match (standing(acquire, index), load) {
            (Standing::Fresh, Some(load)) => fresh.push((index, load)),
            (Standing::LastResort, _) if acquire.repeat == Repeat::LastResort => {
                last_resort.push(Next { candidate: index, again: true })
            }
            _ => order.refusals.push((index, Refusal::Tried)),
        }
    }
    while let Some(at) = choose(acquire.strategy, fresh.len(), |at| Some(fresh[at].1), turn, chance) {
        let (candidate, _) = fresh.remove(at);
        order.next.push(Next { candidate, again: false });
    }
    order.next.append(&mut last_resort);
    order
}

/// Returns how many of the leases that `pool` misses each candidate shall grant; none at all where a call may be needed to
/// find out whether an endpoint has healed, because such calls are granted one by one.
pub(crate) fn in_plain_weather(
    pool: &LeasePool,
    board: &EndpointBoard,
    turn: u64,
    now: Instant,
    chance: &mut Chance,
) -> Vec<(usize, u32)> {
    let mut loads: Vec<(usize, Load)> = Vec::with_capacity(pool.candidates.len());
    for (index, candidate) in pool.candidates.iter().enumerate() {
        let Some(view) = board.view(&candidate.endpoint) else { return vec![] };
        if !view.admits(now) {
            continue;
        }
        if view.breaker != BreakerState::Closed {
            return vec![];
        }
        loads.push((index, view.pulse.load(candidate.weight, candidate.rank, pool.form, now)));
    }
    let mut shares: Vec<(usize, u32)> = loads.iter().map(|(index, _)| (*index, 0)).collect();
    for step in 0..pool.missing() as u64 {
        let known = |at: usize| Some(loads[at].1);
        let Some(at) = choose(pool.strategy, loads.len(), known, turn + step, chance) else { break };
        loads[at].1.in_flight += 1;
        shares[at].1 += 1;
    }
    shares.retain(|(_, count)| *count > 0);
    shares
}

/// Asks one endpoint after the other until one grants a lease.
pub(crate) async fn acquire_from(
    acquire: Acquire,
    order: Order,
    board: Arc<EndpointBoard>,
    clock: Clock,
) -> Result<Lease, Unavailable> {
    let mut refusals = order.refusals;
    let mut died = 0;
    for Next { candidate, again } in order.next {
        let refusal = match admit(&acquire, candidate, &board).await {
            Ok(mut lease) => {
                lease.candidate = candidate;
                lease.again = again;
                return Ok(lease);
            }
            Err(refusal) => refusal,
        };
        refusals.push((candidate, refusal));
        died += u32::from(refusal == Refusal::Restarting);
        // Two actors that die over one request: it is the request.
        if refusal == Refusal::Panicked || died > 1 {
            return Err(Unavailable { refusals, soonest: None, poisoned: true });
        }
    }
    let now = clock.now();
    let soonest = refusals.iter().filter_map(|(_, refusal)| back_at(*refusal, now)).min();
    let soonest = soonest.map(|at| at.saturating_duration_since(now));
    Err(Unavailable { refusals, soonest, poisoned: false })
}

async fn admit(acquire: &Acquire, candidate: usize, board: &EndpointBoard) -> Result<Lease, Refusal> {
    let Candidate { endpoint, home, model, .. } = &acquire.candidates[candidate];
    let address = board.address(endpoint).ok_or(Refusal::Restarting)?;
    let same_endpoint = |tried: &&Tried| acquire.candidates[tried.candidate].endpoint == *endpoint;
    let keys_tried = acquire.tried.iter().filter(same_endpoint).filter(|tried| tried.class.retry().other_key);
    let admit = Admit {
        home: *home,
        model: model.clone(),
        team: acquire.team.clone(),
        tokens: acquire.tokens,
        form: acquire.form,
        keys_tried: keys_tried.map(|tried| tried.key.clone()).collect(),
    };
    address.send(admit).await.unwrap_or(Err(Refusal::Restarting))
}

/// Returns when a refusal may be over; `None` where waiting does not help.
fn back_at(refusal: Refusal, now: Instant) -> Option<Instant> {
    match refusal {
        Refusal::BreakerOpen { until } => Some(until.unwrap_or(now + Duration::from_secs(1))),
        Refusal::NoKey(NoKey::Resting { until }) | Refusal::Paused { until } => Some(until),
        Refusal::Busy | Refusal::Restarting => Some(now + Duration::from_secs(1)),
        Refusal::NoKey(_) | Refusal::Moved | Refusal::Quarantined | Refusal::Panicked | Refusal::Tried => None,
    }
}
