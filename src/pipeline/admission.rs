//! Whether the limits above a request let it in: of its key, its user, its team and organisation, its tags, its model.
//!
//! Requests and tokens are taken from the meters of all of them or of none, by a bound that is cheap to tell: the estimate of
//! the prompt, and what the client lets the model write. The settlement puts what was really used in its place. What
//! one request may cost is compared with what it would cost at worst, and nothing is taken.

use std::time::Instant;

use bursar_actors::limits::{Denied, Grant, Holder, Limits, Meters, Standing, admit};

use super::quote::{ANSWER_USUAL, Extent};
use super::route::Route;
use crate::call::Call;
use crate::error::{CostLimit, GatewayError};
use crate::schema::{Needs, RequestHead};

/// Most tokens that are taken for a prompt with documents, audio or video, whose bytes say nothing about tokens.
const OPAQUE_MAX: u64 = 16_384;

/// What a request was let in with.
#[derive(Debug, Default)]
pub struct Admission {
    /// What was taken; nothing where nothing is limited.
    pub grant: Option<Grant>,
    /// The most it may cost, in nano-dollars.
    pub cost_max: Option<u64>,
}

/// Lets the request `call` in, which `above` are to answer for, or says which limit is in the way. `standing` is told how the
/// limits stand then.
pub fn let_in(
    meters: &Meters,
    above: Vec<(Holder, Limits)>,
    call: &Call,
    route: &Route,
    standing: impl FnOnce(Standing),
) -> Result<Admission, GatewayError> {
    let cost_max = above.iter().filter_map(|(_, limits)| limits.cost_per_request).min();
    if let Some(refused) = cost_max.and_then(|most| too_dear(&call.head, route, most)) {
        let holder = above.into_iter().find(|(_, limits)| limits.cost_per_request == cost_max);
        let holder = holder.map(|(holder, _)| holder.to_string()).unwrap_or_default();
        return Err(GatewayError::TooDear(Box::new(CostLimit { holder, ..refused })));
    }
    let grant = take(meters, above, tokens(&call.head), standing)?;
    Ok(Admission { grant, cost_max })
}

/// Lets a question for the number of tokens in, or says which limit of requests is in the way. It generates nothing, so limits of
/// tokens neither count nor refuse it: who has none left may still ask how to send less.
pub fn let_count_in(
    meters: &Meters,
    above: Vec<(Holder, Limits)>,
    standing: impl FnOnce(Standing),
) -> Result<Option<Grant>, GatewayError> {
    let of_requests = |limits: Limits| Limits { tpm: None, tph: None, tpd: None, ..limits };
    let above = above.into_iter().map(|(holder, limits)| (holder, of_requests(limits))).collect();
    take(meters, above, 0, standing)
}

/// Takes a request of `tokens` from the meters of all in `above`; `None` where nothing is limited.
fn take(
    meters: &Meters,
    above: Vec<(Holder, Limits)>,
    tokens: u64,
    standing: impl FnOnce(Standing),
) -> Result<Option<Grant>, GatewayError> {
    let above = above.into_iter().filter(|(_, limits)| limits.is_metered());
    let mut above = above.map(|(holder, limits)| meters.limited(holder, limits)).peekable();
    if above.peek().is_none() {
        return Ok(None);
    }
    match admit(above, tokens, Instant::now()) {
        Ok(grant) => {
            standing(grant.standing);
            Ok(Some(grant))
        }
        Err(denied) => {
            let Denied { standing: now, .. } = denied;
            standing(now);
            Err(GatewayError::RateLimited(Box::new(denied)))
        }
    }
}

/// Returns the tokens that are taken for the request before anybody knows what it uses.
fn tokens(head: &RequestHead) -> u64 {
    let opaque = head.needs.has_any(Needs::DOCUMENTS.with(Needs::AUDIO).with(Needs::VIDEO));
    let prompt = if opaque { head.tokens_in_estimate.min(OPAQUE_MAX) } else { head.tokens_in_estimate };
    let answer = if head.operation.embeds() { 0 } else { head.max_output_tokens.unwrap_or(ANSWER_USUAL) };
    prompt.saturating_add(answer.saturating_mul(head.choices))
}

/// Returns whether no candidate of `route` can make the request cost more than `most` nano-dollars.
pub fn affords(head: &RequestHead, route: &Route, most: u64) -> bool {
    too_dear(head, route, most).is_none()
}

/// Tokens that a bound on the answer adds to a request.
const BOUND: u64 = 8;

/// Returns what the request costs at worst with the dearest candidate, where that is more than `most` nano-dollars. Nobody
/// knows what a model without a price costs, so it is none of them.
fn too_dear(head: &RequestHead, route: &Route, most: u64) -> Option<CostLimit> {
    let candidates = route.prices.iter().zip(&route.facts).zip(&route.candidates[..]);
    let quotes = candidates.filter_map(|((price, facts), candidate)| {
        let extent = Extent::of(head, facts);
        Some((extent.cost(price, extent.answer)?, extent, price, candidate))
    });
    let (cost, extent, price, candidate) = quotes.max_by_key(|(cost, ..)| *cost).filter(|(cost, ..)| *cost > most)?;
    let max_tokens =
        extent.with(BOUND).longest(price, most).map(|answer| answer / head.choices.max(1)).filter(|bound| *bound > 0);
    Some(CostLimit { holder: String::new(), most, cost, model: candidate.model.to_string(), max_tokens })
}
