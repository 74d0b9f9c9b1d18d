//! Which endpoint serves, and which of its keys: pure choices over what is known of each.
//!
//! The same [`choose`] serves both levels. What may not be chosen (an open breaker, a resting key, one that this
//! request has tried) has no [`Load`]; among the rest the strategy decides.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::clock::Chance;
use crate::endpoint::health::{ErrorRate, PeakEwma, Recent};
use crate::outcome::ReplyForm;

/// How one of several healthy candidates is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Power of two choices: of two drawn by chance, the one with the lower score (see [`Load`]).
    #[default]
    P2cEwma,
    /// By chance, in proportion to the weights.
    Weighted,
    /// The one with the fewest calls in flight per weight.
    LeastInflight,
    /// One after the other.
    RoundRobin,
    /// The first that is healthy, in the order written.
    Ordered,
}

impl Strategy {
    /// Returns its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::P2cEwma => "p2c_ewma",
            Self::Weighted => "weighted",
            Self::LeastInflight => "least_inflight",
            Self::RoundRobin => "round_robin",
            Self::Ordered => "ordered",
        }
    }
}

/// Picks that still count as load when nothing is in flight; more would drown the calls in flight.
const RECENT_MAX: f64 = 8.0;

/// Latencies that differ by less than this factor count as the same: peaks make equals differ by that much for seconds,
/// and the calls in flight show soon enough who is really slower.
const ALIKE: f64 = 2.0;

/// What is known of one candidate when the choice is made.
///
/// Score = expected time to the first token × (in flight + recent picks + 1) / (weight × share of quota left). Recent picks (at most 8, fading
/// within a second) make the weights hold when hardly anything is in flight; by calls in flight alone, an idle gateway
/// would send everything to the heavier key.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Share of traffic, at least 1.
    pub weight: u32,
    /// Calls in flight.
    pub in_flight: u32,
    /// Decayed picks of the last second.
    pub recent: f64,
    /// Expected µs to the first token per success; `None` before the first sample.
    pub latency_us: Option<f64>,
    /// Share of the known quota that is left, 0 < headroom ≤ 1; 1 where none is known.
    pub headroom: f64,
    /// Position in the written order, for [`Strategy::Ordered`].
    pub rank: u32,
}

impl Load {
    fn score(&self, latency_us: f64) -> f64 {
        let queued = f64::from(self.in_flight) + self.recent.min(RECENT_MAX) + 1.0;
        latency_us * queued / (f64::from(self.weight) * self.headroom)
    }

    fn in_flight_share(&self) -> f64 {
        (f64::from(self.in_flight) + self.recent.min(RECENT_MAX) / RECENT_MAX) / f64::from(self.weight)
    }
}

/// What endpoints and keys remember of their calls, in one place because both are chosen by it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pulse {
    /// Calls in flight.
    pub in_flight: u32,
    /// Leases granted ahead that nobody has taken yet; load like calls in flight.
    pub ahead: u32,
    /// Picks of the last second.
    pub recent: Recent,
    /// Time to the first token of streams, and to the whole of whole replies.
    pub latency: [PeakEwma; 2],
    /// Share of calls that failed.
    pub errors: ErrorRate,
}

impl Pulse {
    /// Returns the load as [`choose`] wants it. Failures raise the expected latency: 1 / (1 − share) calls per success.
    pub fn load(&self, weight: u32, rank: u32, form: ReplyForm, now: Instant) -> Load {
        let [streamed, whole] = &self.latency;
        let (first, second) = if form == ReplyForm::Streamed { (streamed, whole) } else { (whole, streamed) };
        let latency_us = first.estimate_us(now).or_else(|| second.estimate_us(now));
        let calls_per_success = 1.0 / (1.0 - self.errors.share(now)).max(0.05);
        Load {
            weight,
            in_flight: self.in_flight + self.ahead,
            recent: self.recent.count(now),
            latency_us: latency_us.map(|latency_us| latency_us.max(1.0) * calls_per_success),
            headroom: 1.0,
            rank,
        }
    }

    /// Returns the latency history that `form` belongs to.
    pub fn latency_of(&mut self, form: ReplyForm) -> &mut PeakEwma {
        &mut self.latency[usize::from(form == ReplyForm::Whole)]
    }
}

/// Returns which of `count` candidates serves; `None` when none has a load. `turn` counts the calls of this chooser.
pub fn choose(
    strategy: Strategy,
    count: usize,
    load: impl Fn(usize) -> Option<Load>,
    turn: u64,
    chance: &mut Chance,
) -> Option<usize> {
    match strategy {
        Strategy::P2cEwma => power_of_two(count, &load, chance),
        Strategy::Weighted => weighted(count, &load, chance),
        Strategy::LeastInflight => {
            // Equal shares go in turn; otherwise the first of the list would take every call of an idle gateway.
            let start = (turn % count.max(1) as u64) as usize;
            let in_turn = (0..count).map(|step| (start + step) % count);
            least(in_turn.filter_map(|index| Some((index, load(index)?.in_flight_share()))))
        }
        Strategy::RoundRobin => {
            let start = (turn % count.max(1) as u64) as usize;
            (0..count).map(|step| (start + step) % count).find(|&index| load(index).is_some())
        }
        Strategy::Ordered => {
            let first = (0..count).filter_map(|index| Some(load(index)?.rank)).min()?;
            power_of_two(count, &|index| load(index).filter(|load| load.rank == first), chance)
        }
    }
}

fn least(shares: impl Iterator<Item = (usize, f64)>) -> Option<usize> {
    shares.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(index, _)| index)
}

/// Draws until two usable ones are found; a long run of unusable ones ends in a scan.
fn power_of_two(count: usize, load: &impl Fn(usize) -> Option<Load>, chance: &mut Chance) -> Option<usize> {
    const DRAWS: usize = 6;
    let mut first: Option<(usize, Load)> = None;
    if count > 2 {
        for _ in 0..DRAWS {
            let index = chance.below(count);
            let Some(drawn) = load(index) else { continue };
            match first {
                None => first = Some((index, drawn)),
                Some((other, _)) if other == index => {}
                Some(other) => return Some(cheaper(other, (index, drawn), chance)),
            }
        }
    }
    let usable: Vec<(usize, Load)> = (0..count).filter_map(|index| Some((index, load(index)?))).collect();
    match usable.as_slice() {
        [] => None,
        [(only, _)] => Some(*only),
        several => {
            let a = chance.below(several.len());
            let b = (a + 1 + chance.below(several.len() - 1)) % several.len();
            Some(cheaper(several[a], several[b], chance))
        }
    }
}

fn cheaper(a: (usize, Load), b: (usize, Load), chance: &mut Chance) -> usize {
    let known = a.1.latency_us.or(b.1.latency_us).unwrap_or(1.0);
    let (mut latency_a, mut latency_b) = (a.1.latency_us.unwrap_or(known), b.1.latency_us.unwrap_or(known));
    if latency_a.max(latency_b) < latency_a.min(latency_b) * ALIKE {
        (latency_a, latency_b) = (1.0, 1.0);
    }
    let (score_a, score_b) = (a.1.score(latency_a), b.1.score(latency_b));
    if score_a == score_b {
        return if chance.draw() < 0.5 { a.0 } else { b.0 };
    }
    if score_a < score_b { a.0 } else { b.0 }
}

fn weighted(count: usize, load: &impl Fn(usize) -> Option<Load>, chance: &mut Chance) -> Option<usize> {
    let total: u64 = (0..count).filter_map(load).map(|load| u64::from(load.weight)).sum();
    let mut left = chance.draw() * total as f64;
    let mut last = None;
    for index in 0..count {
        let Some(load) = load(index) else { continue };
        last = Some(index);
        left -= f64::from(load.weight);
        if left < 0.0 {
            break;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop, prop_assert, proptest};

    fn load(weight: u32, in_flight: u32, latency_us: f64) -> Load {
        Load { weight, in_flight, recent: 0.0, latency_us: Some(latency_us), headroom: 1.0, rank: 0 }
    }

    /// Plays `calls` picks one after the other, each answered at once, and counts who got them.
    fn shares(strategy: Strategy, latency_us: &[f64], weights: &[u32], calls: u64) -> Vec<f64> {
        let start = Instant::now();
        let mut chance = Chance::seeded(7);
        let mut recent = vec![Recent::default(); weights.len()];
        let mut picks = vec![0.0; weights.len()];
        for call in 0..calls {
            let now = start + std::time::Duration::from_millis(call * 100);
            let known = |index: usize| {
                let count = recent[index].count(now);
                Some(Load { recent: count, ..load(weights[index], 0, latency_us[index]) })
            };
            let picked = choose(strategy, weights.len(), known, call, &mut chance).expect("all are usable");
            recent[picked].pick(now);
            picks[picked] += 1.0 / calls as f64;
        }
        picks
    }

    #[test]
    fn of_two_keys_the_ten_times_slower_gets_a_tenth_at_most() {
        let shares = shares(Strategy::P2cEwma, &[10_000.0, 100_000.0], &[1, 1], 2_000);

        assert!(shares[1] <= 0.1, "{shares:?}");
    }

    #[test]
    fn weights_hold_when_hardly_anything_is_in_flight() {
        for strategy in [Strategy::P2cEwma, Strategy::Weighted] {
            let shares = shares(strategy, &[1_000.0, 1_000.0], &[3, 1], 4_000);

            assert!((0.70..0.80).contains(&shares[0]), "{strategy:?} {shares:?}");
        }
    }

    #[test]
    fn equal_keys_share_within_a_tenth_of_fair() {
        for strategy in [Strategy::P2cEwma, Strategy::LeastInflight, Strategy::RoundRobin] {
            let shares = shares(strategy, &[1_000.0; 10], &[1; 10], 20_000);

            assert!(shares.iter().all(|share| (0.09..0.11).contains(share)), "{strategy:?} {shares:?}");
        }
    }

    #[test]
    fn ordered_takes_the_first_that_is_usable() {
        let mut chance = Chance::seeded(1);
        let rank = |index: usize| (index != 0).then(|| Load { rank: index as u32, ..load(1, 50, 9_000.0) });

        assert_eq!(choose(Strategy::Ordered, 3, rank, 0, &mut chance), Some(1));
    }

    proptest! {
        #[test]
        fn nobody_unusable_is_ever_chosen(usable in prop::collection::vec(any::<bool>(), 0..12), seed: u64, turn: u64) {
            use Strategy::{LeastInflight, Ordered, P2cEwma, RoundRobin, Weighted};
            for strategy in [P2cEwma, Weighted, LeastInflight, RoundRobin, Ordered] {
                let mut chance = Chance::seeded(seed);
                let known = |index: usize| usable[index].then(|| load(1, index as u32, 5.0));

                match choose(strategy, usable.len(), known, turn, &mut chance) {
                    Some(index) => prop_assert!(usable[index]),
                    None => prop_assert!(!usable.contains(&true)),
                }
            }
        }
    }
}
