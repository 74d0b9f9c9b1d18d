//! A route that a request tries, what became of it so far, and the words for both.

use bursar_actors::{Tried, Unavailable};

use super::fitness::{Demand, LeftOut};
use super::route::Route;
use crate::call::Call;

/// Why a candidate is not asked that the caller may not use.
const BARRED: &str = "the client key may not use it";

/// Why a candidate is not asked that may not see what the request holds.
const WALLED: &str = "it is not self-hosted, and the request's data class asks for that";

/// Why a candidate is not asked whose price nobody knows.
const UNPRICED: &str = "its model has no price, and the request counts against a budget";

/// A route to try, and what became of it so far.
pub struct Leg<'a> {
    pub route: &'a Route,
    /// The fallback alias it belongs to; none for what the client asked for.
    pub fallback: Option<&'a String>,
    /// Candidates that the caller may not use, and those whose models are known not to be enough for this request.
    pub left_out: Vec<LeftOut>,
    pub tried: Vec<Tried>,
}

impl<'a> Leg<'a> {
    pub fn new(route: &'a Route, fallback: Option<&'a String>, demand: &Demand, call: &Call) -> Self {
        let mut barred = route.barred(&call.caller);
        let walled: Vec<usize> = route.walled(call).into_iter().filter(|at| !barred.contains(at)).collect();
        let named = barred.iter().map(|at| (*at, BARRED)).chain(walled.iter().map(|at| (*at, WALLED)));
        let named: Vec<LeftOut> = named.collect();
        barred.extend(walled);
        let mut left_out = route.fitness.left_out(demand, &barred);
        left_out.extend(named);
        Self { route, fallback, left_out, tried: Vec::new() }
    }

    /// Leaves out whose price nobody knows.
    pub fn leave_out_unpriced(&mut self) {
        let known = |candidate: &usize| !self.left_out.iter().any(|(other, _)| other == candidate);
        let unpriced: Vec<usize> = self.route.unpriced().filter(known).collect();
        self.left_out.extend(unpriced.into_iter().map(|candidate| (candidate, UNPRICED)));
    }
}

/// Returns the candidate as people write it.
pub fn target(route: &Route, candidate: usize) -> String {
    format!("{}/{}", route.destinations[candidate].provider, route.candidates[candidate].model)
}

/// Says in words who refused and why, and who was not asked.
pub fn describe(unavailable: &Unavailable, leg: &Leg<'_>) -> String {
    let refusals = unavailable.refusals.iter().map(|(candidate, refusal)| (*candidate, refusal.to_string()));
    let words = [by_endpoint(leg.route, refusals), unasked(leg)];
    words.iter().filter(|words| !words.is_empty()).map(String::as_str).collect::<Vec<_>>().join("; ")
}

/// Says in words who was not asked and why; empty where everybody was.
pub fn unasked(leg: &Leg<'_>) -> String {
    by_endpoint(leg.route, leg.left_out.iter().map(|(candidate, why)| (*candidate, format!("not asked, {why}"))))
}

/// Joins what is said of candidates; at most three different things.
fn by_endpoint(route: &Route, said: impl Iterator<Item = (usize, String)>) -> String {
    let mut words: Vec<String> = Vec::new();
    for (candidate, what) in said {
        let word = format!("`{}`: {what}", route.candidates[candidate].endpoint);
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words.truncate(3);
    words.join("; ")
}
