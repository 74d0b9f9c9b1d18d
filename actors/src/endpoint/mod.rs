//! One upstream endpoint: its health, its circuit breaker and its key ring.
//!
//! | message      | reply                    | sent by            |
//! |--------------|--------------------------|--------------------|
//! | `Admit`      | `Result<Lease, Refusal>` | `Supervisor`       |
//! | `GrantAhead` | –, fills a `LeasePool`   | `Supervisor`       |
//! | `Collect`    | –                        | `Supervisor`       |
//! | `Inspect`    | `EndpointStatus`         | lists, metrics     |
//! | `Probe`      | `Option<ProbeLease>`     | `Supervisor`       |
//! | `ProbeEnded` | –                        | `ProbeLease`, once |
//! | `Renew`      | –                        | `Supervisor`       |
//! | `Steer`      | whether there is the key | `Supervisor`       |
//!
//! Leases leave their reports on the board; the endpoint collects them before each of these. A message per report would
//! wake this thread twice per request instead of once.
//!
//! The actor decides; it never touches a socket. Bytes stay on the worker that serves the client.

mod ahead;
pub(crate) mod allowance;
pub(crate) mod breaker;
pub(crate) mod health;
pub(crate) mod keyring;
pub(crate) mod lease;
pub(crate) mod probe;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use actix::{Actor, Context, Handler, Message, MessageResult, Recipient};
use tracing::{error, info, warn};

use crate::board::{EndpointBoard, EndpointView};
use crate::clock::{Chance, Clock};
use crate::ids::{EndpointId, KeyId, ModelName, TeamId};
use crate::outcome::{ErrorClass, KeyEffect, Outcome, ReplyForm};
use crate::routing::Pulse;
use crate::supervisor::Exited;
pub(crate) use ahead::GrantAhead;
use breaker::{BreakerPolicy, BreakerState, CircuitBreaker, Pass};
use keyring::{KeyNeed, KeyPolicy, KeyRing, KeySpec, KeyView, NoKey, Picked};
use lease::{Epoch, Lease, Receipt, Report, Told};
use probe::{ProbeView, Probing};

/// Messages an endpoint's mailbox holds before `try_send` refuses.
const MAILBOX: usize = 8_192;

/// An endpoint as the configuration describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointSpec {
    /// Its id.
    pub id: EndpointId,
    /// Tells one upstream address from another; a key is granted only for the address it belongs to.
    pub home: u64,
    /// At least one; an upstream that asks for no key has one without a secret.
    pub keys: Vec<KeySpec>,
    /// Most calls in flight, all keys together.
    pub in_flight_max: u32,
    /// Of the endpoint as a whole.
    pub breaker: BreakerPolicy,
    /// How its keys are chosen and rested.
    pub key_policy: KeyPolicy,
}

/// Why an endpoint does not take a call now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The breaker is open until then, or its one probe is out.
    #[error("its circuit breaker is open after failures")]
    BreakerOpen {
        /// When it lets a call through again, where known.
        until: Option<Instant>,
    },
    /// The operator has taken it out.
    #[error("the operator has taken it out")]
    Paused {
        /// Until then.
        until: Instant,
    },
    /// As many calls in flight as it may have.
    #[error("it has as many calls in flight as it may")]
    Busy,
    /// No key can serve.
    #[error("{0}")]
    NoKey(NoKey),
    /// Its actor was restarted too often.
    #[error("it is quarantined")]
    Quarantined,
    /// Its actor has died and is about to be restarted.
    #[error("it is being restarted")]
    Restarting,
    /// The decision itself failed on this request.
    #[error("the choice of a key failed")]
    Panicked,
    /// Its address changed with the configuration; the request still knows the old one.
    #[error("its address has changed")]
    Moved,
    /// This request has failed there in a way that another try cannot mend.
    #[error("it was tried")]
    Tried,
}

/// Asks for permission for one call.
#[derive(Message)]
#[rtype(result = "Result<Lease, Refusal>")]
pub(crate) struct Admit {
    pub home: u64,
    pub model: ModelName,
    pub team: Option<TeamId>,
    pub tokens: u64,
    pub form: ReplyForm,
    pub keys_tried: Vec<KeyId>,
}

/// The operator takes the endpoint or one of its keys out until then, or brings it back with `None`.
#[derive(Message, Clone)]
#[rtype(result = "bool")]
pub(crate) struct Steer {
    pub key: Option<KeyId>,
    pub until: Option<Instant>,
}

/// Asks it to collect what leases have told, because nobody else has asked it anything of late.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Collect;

/// Asks for the endpoint's state, for lists and metrics.
#[derive(Message)]
#[rtype(result = "EndpointStatus")]
pub(crate) struct Inspect;

/// Tells the endpoint what the configuration says of it now.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Renew {
    pub spec: EndpointSpec,
    /// Of two that overtake each other the greater counts.
    pub generation: u64,
}

/// An endpoint and its keys as lists show them.
#[derive(Debug, Clone)]
pub struct EndpointStatus {
    /// Its id.
    pub id: EndpointId,
    /// As routing sees it.
    pub view: EndpointView,
    /// Its keys, in the order of the configuration.
    pub keys: Vec<KeyView>,
    /// How often its actor was restarted.
    pub restarts: u64,
    /// Its last probe, if there was one.
    pub probe: Option<ProbeView>,
}

/// Tells the supervisor when the actor is gone, whichever way it went.
pub(crate) struct ExitNotice {
    pub endpoint: EndpointId,
    pub incarnation: u64,
    pub supervisor: Recipient<Exited>,
    pub epoch: Epoch,
}

impl Drop for ExitNotice {
    fn drop(&mut self) {
        self.epoch.end();
        #[allow(clippy::disallowed_methods)]
        self.supervisor.do_send(Exited { endpoint: self.endpoint.clone(), incarnation: self.incarnation });
    }
}

/// What a freshly started endpoint begins with.
pub(crate) struct Birth {
    pub paused_until: Option<Instant>,
    pub spec: EndpointSpec,
    pub board: Arc<EndpointBoard>,
    pub clock: Clock,
    pub chance: Chance,
    pub notice: ExitNotice,
    /// How often the actor died before.
    pub restarts: u64,
    /// Of the configuration that `spec` is from.
    pub generation: u64,
}

/// The actor.
pub struct Endpoint {
    id: EndpointId,
    incarnation: u64,
    restarts: u64,
    generation: u64,
    home: u64,
    in_flight_max: u32,
    breaker: CircuitBreaker,
    ring: KeyRing,
    pulse: Pulse,
    board: Arc<EndpointBoard>,
    clock: Clock,
    chance: Chance,
    paused_until: Option<Instant>,
    /// Empty between two collections; kept for its memory.
    told: Vec<Told>,
    probing: Probing,
    notice: ExitNotice,
    /// The epoch up to which `collect` has read.
    epoch_read: u64,
}

impl Endpoint {
    pub(crate) fn new(birth: Birth) -> Self {
        let now = birth.clock.now();
        let restarts = birth.restarts;
        let policy = birth.spec.breaker;
        // After a death nothing is known of the upstream: one call goes first.
        let breaker =
            if restarts == 0 { CircuitBreaker::closed(policy, now) } else { CircuitBreaker::half_open(policy, now) };
        Self {
            id: birth.spec.id,
            incarnation: birth.notice.incarnation,
            restarts,
            generation: birth.generation,
            home: birth.spec.home,
            in_flight_max: birth.spec.in_flight_max,
            breaker,
            ring: KeyRing::new(birth.spec.keys, birth.spec.key_policy, now),
            pulse: Pulse::default(),
            board: birth.board,
            clock: birth.clock,
            chance: birth.chance,
            paused_until: birth.paused_until,
            told: vec![],
            probing: Probing::default(),
            notice: birth.notice,
            epoch_read: 0,
        }
    }

    /// Returns what routing may know.
    pub(crate) fn view(&self) -> EndpointView {
        EndpointView {
            breaker: self.breaker.state(),
            quarantined: false,
            paused_until: self.paused_until,
            in_flight_max: self.in_flight_max,
            pulse: self.pulse,
        }
    }

    fn publish(&self) {
        self.board.update(&self.id, self.incarnation, |view| *view = self.view());
    }

    fn admit(&mut self, admit: &Admit) -> Result<Lease, Refusal> {
        let now = self.clock.now();
        if admit.home != self.home {
            return Err(Refusal::Moved);
        }
        if let Some(until) = self.paused_until.filter(|&until| until > now) {
            return Err(Refusal::Paused { until });
        }
        if self.pulse.in_flight + self.pulse.ahead >= self.in_flight_max {
            // What was granted ahead is needed here; what of it is taken at this very moment goes beyond by that much.
            self.notice.epoch.end();
        }
        if self.pulse.in_flight >= self.in_flight_max {
            return Err(Refusal::Busy);
        }
        if !self.breaker.state().admits(now) {
            let until = self.breaker.pass(now).err().flatten();
            return Err(Refusal::BreakerOpen { until });
        }
        let need = KeyNeed {
            model: &admit.model,
            team: admit.team.as_ref(),
            tokens: admit.tokens,
            form: admit.form,
            tried: &admit.keys_tried,
        };
        let picked = self.ring.pick(&need, now, &mut self.chance).map_err(Refusal::NoKey)?;
        let pass = self.breaker.pass(now).map_err(|until| Refusal::BreakerOpen { until })?;
        self.pulse.in_flight += 1;
        self.pulse.recent.pick(now);
        let receipt = Receipt {
            endpoint: self.id.clone(),
            incarnation: self.incarnation,
            picked,
            pass,
            model: admit.model.clone(),
            form: admit.form,
            granted_at: now,
        };
        let key = self.ring.spec(picked).expect("the key was picked from this very ring");
        let (key_id, secret) = (key.id.clone(), key.secret.clone());
        let epoch = (self.notice.epoch.clone(), self.epoch_read);
        Ok(Lease::ahead(key_id, secret, receipt, epoch, self.board.clone()))
    }

    /// Takes in what leases have told since the last time.
    fn collect(&mut self) {
        // Before the reading: a failure told from now on voids what is granted by what was read.
        self.epoch_read = self.notice.epoch.number();
        let mut told = std::mem::take(&mut self.told);
        self.board.collect(&self.id, &mut told);
        for word in told.drain(..) {
            match word {
                // A lease of an earlier incarnation: its call was never counted here, and its probe is not ours.
                Told::Taken { receipt, .. }
                | Told::Returned { receipt }
                | Told::FirstToken { receipt, .. }
                | Told::Report(Report { receipt, .. })
                    if receipt.incarnation != self.incarnation => {}
                Told::Taken { receipt, tokens } => self.on_taken(&receipt, tokens),
                Told::Returned { receipt } => self.on_returned(&receipt),
                Told::FirstToken { receipt, after } => {
                    self.on_latency(receipt.picked, ReplyForm::Streamed, after, self.clock.now());
                }
                Told::Report(report) => self.on_report(&report),
            }
        }
        self.told = told;
    }

    fn on_report(&mut self, report: &Report) {
        let Receipt { picked, pass, ref model, .. } = report.receipt;
        let now = self.clock.now();
        let draw = self.chance.draw();
        self.pulse.in_flight = self.pulse.in_flight.saturating_sub(1);
        if report.outcome == Outcome::Served {
            self.probing.on_traffic(now);
        }
        if let Some(after) = report.whole_after {
            self.on_latency(picked, ReplyForm::Whole, after, now);
        }
        // What the gateway itself lacked is no verdict on anybody; a credential that is still to come is none on the endpoint.
        let failed =
            |these: &[ErrorClass]| matches!(&report.outcome, Outcome::Failed { class, .. } if these.contains(class));
        let ours = failed(&[ErrorClass::GatewayOverloaded, ErrorClass::Inexpressible]);
        let outcome = if ours { &Outcome::Cancelled } else { &report.outcome };
        let pending = failed(&[ErrorClass::CredentialPending]);
        self.judge_endpoint(pass, if pending { &Outcome::Cancelled } else { outcome }, now, draw);
        let effect = self.ring.on_outcome(picked, model, outcome, &report.limits, now, draw);
        self.log_key(effect, picked, outcome);
    }

    /// Goes on with what the configuration says now. Breaker, latencies and calls in flight stay as they are, unless it is
    /// another upstream now, of which nothing is known.
    fn renew(&mut self, renew: Renew) {
        if renew.generation <= self.generation {
            return;
        }
        self.generation = renew.generation;
        self.in_flight_max = renew.spec.in_flight_max;
        let now = self.clock.now();
        self.probing.on_news();
        if std::mem::replace(&mut self.home, renew.spec.home) != renew.spec.home {
            self.breaker = CircuitBreaker::closed(renew.spec.breaker.clone(), now);
            let Pulse { in_flight, ahead, .. } = self.pulse;
            self.pulse = Pulse { in_flight, ahead, ..Pulse::default() };
            self.ring.renew(vec![], renew.spec.key_policy.clone(), now);
            self.probing = Probing::default();
        }
        self.breaker.renew(renew.spec.breaker);
        self.ring.renew(renew.spec.keys, renew.spec.key_policy, now);
    }

    fn judge_endpoint(&mut self, pass: Pass, outcome: &Outcome, now: Instant, draw: f64) {
        match outcome {
            Outcome::Cancelled => self.breaker.on_void(pass),
            Outcome::Failed { class, .. } if class.trips_breaker() => {
                self.pulse.errors.observe(true, now);
                if self.breaker.on_failure(pass, now, draw) {
                    self.log_trip(*class, now);
                }
            }
            // An upstream that refuses a request with reason is in good health.
            Outcome::Served | Outcome::Failed { .. } => {
                self.pulse.errors.observe(false, now);
                let was_open = self.breaker.state() != BreakerState::Closed;
                self.breaker.on_success(pass, now);
                if was_open && self.breaker.state() == BreakerState::Closed {
                    info!(endpoint = %self.id, "breaker of `{}` closes: the probe was served", self.id);
                }
            }
        }
    }

    fn log_trip(&self, class: ErrorClass, now: Instant) {
        let BreakerState::Open { until } = self.breaker.state() else { return };
        let open_s = until.saturating_duration_since(now).as_secs();
        let class = class.as_str();
        warn!(endpoint = %self.id, class, open_s, "breaker of `{}` opens for {open_s} s: {class}", self.id);
    }

    fn on_latency(&mut self, key: Picked, form: ReplyForm, after: std::time::Duration, now: Instant) {
        self.probing.on_traffic(now);
        self.pulse.latency_of(form).observe(after, now);
        self.ring.on_latency(key, form, after, now);
    }

    fn log_key(&self, effect: KeyEffect, picked: Picked, outcome: &Outcome) {
        let Outcome::Failed { class, retry_after } = outcome else { return };
        let Some(KeySpec { id: key, .. }) = self.ring.spec(picked) else { return };
        let class = class.as_str();
        match effect {
            KeyEffect::Retire => {
                error!(endpoint = %self.id, key = %key, class, "key `{key}` of `{}` was refused and is out until its value changes or it is woken", self.id);
            }
            KeyEffect::Exhaust | KeyEffect::RestAll => {
                let rest_s = retry_after.map(|after| after.as_secs());
                warn!(endpoint = %self.id, key = %key, class, rest_s, "key `{key}` of `{}` rests: {class}", self.id);
            }
            _ => {}
        }
    }
}

impl Actor for Endpoint {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(MAILBOX);
    }
}

impl Handler<Admit> for Endpoint {
    type Result = Result<Lease, Refusal>;

    fn handle(&mut self, admit: Admit, _: &mut Self::Context) -> Self::Result {
        self.collect();
        // A request whose mere choice panics fails alone; the others in the mailbox are served.
        let admitted = catch_unwind(AssertUnwindSafe(|| self.admit(&admit))).unwrap_or(Err(Refusal::Panicked));
        self.publish();
        admitted.map(Lease::begun)
    }
}

impl Handler<Collect> for Endpoint {
    type Result = ();

    fn handle(&mut self, _: Collect, _: &mut Self::Context) {
        self.collect();
        self.publish();
    }
}

impl Handler<Inspect> for Endpoint {
    type Result = MessageResult<Inspect>;

    fn handle(&mut self, _: Inspect, _: &mut Self::Context) -> Self::Result {
        self.collect();
        self.publish();
        MessageResult(EndpointStatus {
            id: self.id.clone(),
            view: self.view(),
            keys: self.ring.views(self.clock.now()),
            restarts: self.restarts,
            probe: self.probing.last().cloned(),
        })
    }
}

impl Handler<Renew> for Endpoint {
    type Result = ();

    fn handle(&mut self, renew: Renew, _: &mut Self::Context) {
        self.collect();
        self.renew(renew);
        self.notice.epoch.end();
        self.publish();
    }
}

impl Handler<Steer> for Endpoint {
    type Result = bool;

    fn handle(&mut self, steer: Steer, _: &mut Self::Context) -> bool {
        self.collect();
        let now = self.clock.now();
        if steer.until.is_none() {
            self.probing.on_news();
        }
        let done = match &steer.key {
            Some(key) => self.ring.steer(key, steer.until, now),
            None => {
                self.paused_until = steer.until;
                if steer.until.is_none() {
                    // Awake, but not trusted: one call goes first where it had been failing.
                    self.breaker.wake();
                    self.ring.wake_all(now);
                }
                true
            }
        };
        self.notice.epoch.end();
        self.publish();
        done
    }
}
