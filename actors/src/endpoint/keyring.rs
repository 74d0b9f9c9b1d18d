//! The API keys of one endpoint: whose turn it is, who rests, who is out.
//!
//! A key rests for a model after a 429, rests as a whole when its quota is spent, is out for good after a 401 (until
//! its value changes or it is woken), and is skipped while what the provider said is left would not carry the request. A key
//! that fails far more than its neighbours has a breaker of its own, but never more than half of the keys at once.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::clock::Chance;
use crate::endpoint::allowance::Allowance;
use crate::endpoint::breaker::{BreakerPolicy, BreakerState, CircuitBreaker, Pass};
use crate::ids::{KeyId, ModelName, Secret, TeamId};
use crate::outcome::{ErrorClass, KeyEffect, LearnedLimits, Outcome, ReplyForm};
use crate::pool::POOL_MAX;
use crate::routing::{Load, Pulse, Strategy, choose};

/// Longest rest a provider can ask for.
const REST_MAX: Duration = Duration::from_secs(3600);
/// First rest after a 429 that names no time; doubles with each further one.
const REST_BASE: Duration = Duration::from_secs(2);
/// Cap of that doubling.
const REST_DOUBLED_MAX: Duration = Duration::from_secs(60);
/// Rest of a key for a model it may not use.
const DENIED_FOR: Duration = Duration::from_secs(600);
/// Rest after a refusal that concerns a key, where the upstream asks for none: nobody can exchange a key that is not
/// there, so it is simply tried again.
const KEYLESS_REST: Duration = Duration::from_secs(10);
/// Shortest rest of all keys when a provider asks the account to slow down.
const RAMP_MIN: Duration = Duration::from_secs(30);

/// What must be left in a key's window for picks ahead of need: several pools' worth of calls.
const PLENTY_REQUESTS: u64 = 4 * POOL_MAX as u64;
/// See [`PLENTY_REQUESTS`]; a pool's worth of the largest calls that are foreseen (32,768 tokens each).
const PLENTY_TOKENS: u64 = 32_768 * POOL_MAX as u64;

/// One API key as the configuration describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct KeySpec {
    /// Its name in lists and logs.
    pub id: KeyId,
    /// The key; `None` for upstreams that ask for none.
    pub secret: Option<Secret>,
    /// Share of traffic among healthy keys, at least 1.
    pub weight: u32,
    /// Requests per minute, where the operator said so.
    pub rpm: Option<u64>,
    /// Tokens per minute, where the operator said so.
    pub tpm: Option<u64>,
    /// Models it may call; `*` means all.
    pub models: Vec<String>,
    /// Models it may not call.
    pub deny: Vec<String>,
    /// Teams that may use it; empty means all.
    pub teams: Vec<TeamId>,
}

/// How keys are chosen and rested.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyPolicy {
    /// How one of the usable keys is chosen.
    pub strategy: Strategy,
    /// Share of a known limit after which a key gets no more requests, 0 < headroom ≤ 1.
    pub headroom: f64,
    /// Rest of a key whose quota is spent, when the provider names no time.
    pub quota_rest: Duration,
    /// The breaker of a single key.
    pub breaker: BreakerPolicy,
}

/// What a request needs of a key.
#[derive(Debug, Clone)]
pub struct KeyNeed<'a> {
    /// The upstream model.
    pub model: &'a ModelName,
    /// Who asks.
    pub team: Option<&'a TeamId>,
    /// Estimated tokens, prompt and answer.
    pub tokens: u64,
    /// Whole or streamed.
    pub form: ReplyForm,
    /// Keys this request has already tried in vain.
    pub tried: &'a [KeyId],
}

/// A key picked for one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picked {
    /// Its place in the ring when it was picked; a renewed ring may have it elsewhere.
    pub index: usize,
    /// Its number, which no other key of this ring ever has.
    pub serial: u64,
    /// How the key's own breaker let it through.
    pub pass: Pass,
}

/// Why no key could be picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoKey {
    /// No key of the ring may serve this model for this team.
    #[error("no provider key is allowed for this model and team")]
    NotAllowed,
    /// Every key that might serve has been retired after a 401.
    #[error("the provider refused every key; check them")]
    Retired,
    /// All usable keys were tried by this request.
    #[error("every key was tried")]
    Tried,
    /// Keys rest or have no quota left; the soonest is back at `until`.
    #[error("no key is ready: they rest after rate limits, refusals or errors")]
    Resting {
        /// When the soonest is back.
        until: Instant,
    },
}

/// State of a key for lists and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// Ready.
    Up,
    /// Rests for at least one model, or has no quota left in its window.
    Resting,
    /// Its quota or credit is spent.
    Exhausted,
    /// Its own breaker is open.
    Suspended,
    /// Refused with 401; out until its value changes or it is woken.
    Retired,
}

/// One key as lists show it.
#[derive(Debug, Clone)]
pub struct KeyView {
    /// Its name.
    pub id: KeyId,
    /// Its state.
    pub state: KeyState,
    /// Time until it is back, where it has one.
    pub back_in: Option<Duration>,
    /// Calls in flight.
    pub in_flight: u32,
    /// Calls that ended well and badly since start.
    pub served: u64,
    /// See `served`.
    pub failed: u64,
    /// Requests and tokens left in the provider's window, where known.
    pub requests_left: Option<u64>,
    /// See `requests_left`.
    pub tokens_left: Option<u64>,
    /// Class of the last failure.
    pub last_error: Option<ErrorClass>,
}

#[derive(Debug)]
struct Key {
    spec: KeySpec,
    serial: u64,
    pulse: Pulse,
    retired: bool,
    exhausted_until: Option<Instant>,
    /// Set by the operator.
    paused_until: Option<Instant>,
    rests: HashMap<ModelName, Rest>,
    breaker: CircuitBreaker,
    requests: Allowance,
    tokens: Allowance,
    served: u64,
    failed: u64,
    last_error: Option<ErrorClass>,
    /// When a probe last went out with it.
    probed_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Rest {
    until: Instant,
    in_a_row: u32,
}

/// The ring.
#[derive(Debug)]
pub struct KeyRing {
    keys: Vec<Key>,
    policy: KeyPolicy,
    turn: u64,
    next_serial: u64,
}

impl KeyRing {
    /// Returns a ring in which every key is ready.
    pub fn new(specs: Vec<KeySpec>, policy: KeyPolicy, now: Instant) -> Self {
        let mut ring = Self { keys: Vec::with_capacity(specs.len()), policy: policy.clone(), turn: 0, next_serial: 0 };
        ring.renew(specs, policy, now);
        ring
    }

    /// Returns the specification of the picked key, if it is still in the ring.
    pub fn spec(&self, picked: Picked) -> Option<&KeySpec> {
        self.place(picked).map(|index| &self.keys[index].spec)
    }

    /// Returns where the picked key is now: usually where it was, elsewhere or nowhere after the ring was renewed.
    fn place(&self, picked: Picked) -> Option<usize> {
        let same = |key: &Key| key.serial == picked.serial;
        if self.keys.get(picked.index).is_some_and(same) {
            return Some(picked.index);
        }
        self.keys.iter().position(same)
    }

    /// Picks the key for one call and counts it as in flight.
    pub fn pick(&mut self, need: &KeyNeed<'_>, now: Instant, chance: &mut Chance) -> Result<Picked, NoKey> {
        let headroom = self.policy.headroom;
        let load = |index: usize| {
            let key = &self.keys[index];
            let usable = key.allows(need)
                && !need.tried.contains(&key.spec.id)
                && key.out_until(need, headroom, now).is_none()
                && !key.retired;
            usable.then(|| Load {
                headroom: key.requests.share_left(now).min(key.tokens.share_left(now)),
                ..key.pulse.load(key.spec.weight, index as u32, need.form, now)
            })
        };
        let Some(index) = choose(self.policy.strategy, self.keys.len(), load, self.turn, chance) else {
            return Err(self.why_none(need, now));
        };
        self.turn += 1;
        let key = &mut self.keys[index];
        let pass = key.breaker.pass(now).unwrap_or(Pass::Plain);
        key.pulse.in_flight += 1;
        key.pulse.recent.pick(now);
        key.requests.take(1, now);
        key.tokens.take(need.tokens, now);
        Ok(Picked { index, serial: key.serial, pass })
    }

    /// Says why no key can be picked, and when that ends.
    fn why_none(&self, need: &KeyNeed<'_>, now: Instant) -> NoKey {
        let allowed = || self.keys.iter().filter(|key| key.allows(need));
        let alive = || allowed().filter(|key| !key.retired);
        if allowed().next().is_none() {
            return NoKey::NotAllowed;
        }
        if alive().next().is_none() {
            return NoKey::Retired;
        }
        let resting = alive().filter_map(|key| key.out_until(need, self.policy.headroom, now));
        match resting.min() {
            Some(until) => NoKey::Resting { until },
            None => NoKey::Tried,
        }
    }

    /// Returns whether keys may be picked ahead of need for `model`: none that may serve it is kept for certain teams,
    /// suspended, or so near a limit that the calls of a whole pool would matter.
    pub fn has_plenty(&self, model: &ModelName, now: Instant) -> bool {
        let headroom = self.policy.headroom;
        let need = KeyNeed { model, team: None, tokens: 0, form: ReplyForm::Whole, tried: &[] };
        let calm = |key: &Key| {
            key.spec.teams.is_empty()
                && key.breaker.state() == BreakerState::Closed
                && key.requests.spares(PLENTY_REQUESTS, headroom, now)
                && key.tokens.spares(PLENTY_TOKENS, headroom, now)
        };
        let mut alive =
            self.keys.iter().filter(|key| !key.retired && (!key.spec.teams.is_empty() || key.allows(&need)));
        alive.all(calm)
    }

    /// Counts a pick as made ahead of need: its call has not begun.
    pub fn on_ahead(&mut self, picked: Picked) {
        if let Some(index) = self.place(picked) {
            let pulse = &mut self.keys[index].pulse;
            pulse.in_flight -= 1;
            pulse.ahead += 1;
        }
    }

    /// Begins the call of a key that was picked ahead of need.
    pub fn on_taken(&mut self, picked: Picked, tokens: u64, now: Instant) {
        if let Some(index) = self.place(picked) {
            let key = &mut self.keys[index];
            key.pulse.ahead = key.pulse.ahead.saturating_sub(1);
            key.pulse.in_flight += 1;
            key.tokens.take(tokens, now);
        }
    }

    /// Takes back a key that was picked ahead and not needed.
    pub fn on_returned(&mut self, picked: Picked) {
        if let Some(index) = self.place(picked) {
            let key = &mut self.keys[index];
            key.pulse.ahead = key.pulse.ahead.saturating_sub(1);
            key.breaker.on_void(picked.pass);
            key.requests.give_back(1);
        }
    }

    /// Takes the time to the first token of a stream, or to the whole of a whole reply.
    pub fn on_latency(&mut self, picked: Picked, form: ReplyForm, after: Duration, now: Instant) {
        if let Some(index) = self.place(picked) {
            self.keys[index].pulse.latency_of(form).observe(after, now);
        }
    }

    /// Takes in how the call ended. `draw` in [0, 1) spreads the breaker's time. Returns the effect it had on the key;
    /// none on one that has left the ring, because what holds for an old key says nothing of a new one.
    pub fn on_outcome(
        &mut self,
        picked: Picked,
        model: &ModelName,
        outcome: &Outcome,
        limits: &LearnedLimits,
        now: Instant,
        draw: f64,
    ) -> KeyEffect {
        let Some(index) = self.place(picked) else { return KeyEffect::None };
        let suspended = self.keys.iter().filter(|key| key.breaker.state() != BreakerState::Closed).count();
        let half = self.keys.len() / 2;
        let key = &mut self.keys[index];
        key.pulse.in_flight = key.pulse.in_flight.saturating_sub(1);
        key.requests.learn(limits.requests, now);
        key.tokens.learn(limits.tokens, now);
        let Outcome::Failed { class, retry_after } = outcome else {
            if *outcome == Outcome::Served {
                key.on_served(picked.pass, model, now);
            } else {
                key.breaker.on_void(picked.pass);
            }
            return KeyEffect::None;
        };
        key.failed += 1;
        key.last_error = Some(*class);
        let effect = class.key_effect();
        key.pulse.errors.observe(effect == KeyEffect::Suspect, now);
        match effect {
            KeyEffect::Suspect if suspended < half || key.breaker.state() != BreakerState::Closed => {
                key.breaker.on_failure(picked.pass, now, draw);
            }
            _ => key.breaker.on_void(picked.pass),
        }
        self.apply(effect, index, model, *retry_after, now);
        effect
    }

    fn apply(&mut self, effect: KeyEffect, index: usize, model: &ModelName, asked: Option<Duration>, now: Instant) {
        let asked = asked.map(|asked| asked.min(REST_MAX));
        let key = &mut self.keys[index];
        match effect {
            KeyEffect::None | KeyEffect::Suspect => {}
            KeyEffect::Retire | KeyEffect::Exhaust | KeyEffect::DenyModel if key.spec.secret.is_none() => {
                key.rest(model, asked.unwrap_or(KEYLESS_REST).min(KEYLESS_REST), now);
            }
            KeyEffect::Retire => key.retired = true,
            KeyEffect::Exhaust => key.exhausted_until = Some(now + asked.unwrap_or(self.policy.quota_rest)),
            KeyEffect::DenyModel => key.rest(model, asked.unwrap_or(DENIED_FOR), now),
            KeyEffect::RestModel => {
                let in_a_row = key.rests.get(model).map_or(0, |rest| rest.in_a_row);
                let doubled = REST_BASE.saturating_mul(1 << in_a_row.min(10)).min(REST_DOUBLED_MAX);
                key.rest(model, asked.unwrap_or(doubled), now);
            }
            KeyEffect::RestAll => {
                let until = now + asked.unwrap_or(RAMP_MIN).max(RAMP_MIN);
                for key in &mut self.keys {
                    key.exhausted_until = key.exhausted_until.max(Some(until));
                }
            }
        }
    }

    /// Lets the key called `id` rest until then, or with `None` wakes it from every rest, retirement included. Returns
    /// whether there is such a key.
    pub fn steer(&mut self, id: &KeyId, until: Option<Instant>, now: Instant) -> bool {
        let Some(key) = self.keys.iter_mut().find(|key| key.spec.id == *id) else { return false };
        key.paused_until = until;
        if until.is_none() {
            key.retired = false;
            key.exhausted_until = None;
            key.rests.clear();
            key.breaker = CircuitBreaker::closed(self.policy.breaker.clone(), now);
        }
        true
    }

    /// Wakes every key.
    pub fn wake_all(&mut self, now: Instant) {
        let ids: Vec<KeyId> = self.keys.iter().map(|key| key.spec.id.clone()).collect();
        ids.iter().for_each(|id| _ = self.steer(id, None, now));
    }

    /// Returns every key as lists show it.
    pub fn views(&self, now: Instant) -> Vec<KeyView> {
        self.keys.iter().map(|key| key.view(now)).collect()
    }
}

impl Key {
    fn allows(&self, need: &KeyNeed<'_>) -> bool {
        let spec = &self.spec;
        let model = need.model.as_str();
        let team = |team: &TeamId| Some(team) == need.team;
        spec.models.iter().any(|allowed| allowed == "*" || allowed == model)
            && !spec.deny.iter().any(|denied| denied == model)
            && (spec.teams.is_empty() || spec.teams.iter().any(team))
    }

    /// Returns until when the key cannot serve `need`; `None` means it can.
    fn out_until(&self, need: &KeyNeed<'_>, headroom: f64, now: Instant) -> Option<Instant> {
        let breaker = match self.breaker.state() {
            BreakerState::Open { until } => Some(until),
            // The probe's answer decides; a second is a fair guess for a retry hint.
            BreakerState::HalfOpen { probing: true } => Some(now + Duration::from_secs(1)),
            _ => None,
        };
        let rest = self.rests.get(need.model).map(|rest| rest.until);
        let requests = self.requests.out_until(1, headroom, now);
        let tokens = self.tokens.out_until(need.tokens, headroom, now);
        let rest = rest.max(self.paused_until);
        let latest = breaker.max(rest).max(self.exhausted_until).max(requests).max(tokens);
        latest.filter(|&until| until > now)
    }

    fn rest(&mut self, model: &ModelName, time: Duration, now: Instant) {
        // Names that clients invent must not pile up here.
        self.rests.retain(|other, rest| other == model || rest.until + REST_DOUBLED_MAX > now);
        let rest = self.rests.entry(model.clone()).or_insert(Rest { until: now, in_a_row: 0 });
        rest.until = rest.until.max(now + time);
        rest.in_a_row += 1;
    }

    fn on_served(&mut self, pass: Pass, model: &ModelName, now: Instant) {
        self.served += 1;
        self.pulse.errors.observe(false, now);
        self.breaker.on_success(pass, now);
        // A late success from before the rest began must not end the rest.
        if self.rests.get(model).is_some_and(|rest| rest.until <= now) {
            self.rests.remove(model);
        }
    }

    fn view(&self, now: Instant) -> KeyView {
        let after = |until: Instant| (until > now).then(|| until - now);
        let rest = self.rests.values().map(|rest| rest.until).chain(self.paused_until).filter_map(after).max();
        let out = self.requests.out_until(1, 1.0, now).max(self.tokens.out_until(1, 1.0, now)).and_then(after);
        let exhausted = self.exhausted_until.and_then(after);
        let (state, back_in) = match self.breaker.state() {
            _ if self.retired => (KeyState::Retired, None),
            _ if exhausted.is_some() => (KeyState::Exhausted, exhausted),
            BreakerState::Open { until } if until > now => (KeyState::Suspended, after(until)),
            _ if rest.max(out).is_some() => (KeyState::Resting, rest.max(out)),
            _ => (KeyState::Up, None),
        };
        KeyView {
            id: self.spec.id.clone(),
            state,
            back_in,
            in_flight: self.pulse.in_flight,
            served: self.served,
            failed: self.failed,
            requests_left: self.requests.left(now),
            tokens_left: self.tokens.left(now),
            last_error: self.last_error,
        }
    }
}

mod probe;
mod renew;
#[cfg(test)]
mod tests;
