//! Acquire → send → judge, and again: another key, another endpoint, then the fallback aliases, then what failed once
//! more, until one answers or attempts, retry budget or deadline are spent.

mod paying;

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bursar_actors::budget::Exceeded;
use bursar_actors::{
    Acquire, ErrorClass, LearnedLimits, Lease, Outcome, Refill, Refusal, Repeat, ReplyForm, Taken, Tried, Unavailable,
    passed_over,
};
use rand::RngExt;

use super::Pipeline;
use super::admission;
use super::along::Along;
use super::fitness::Demand;
use super::leg::{Leg, describe, target, unasked};
use super::memory::Full;
use super::preamble::Preamble;
use super::route::{Route, Routes};
use super::settlement::{Provenance, Settlement};
use super::stream::{Opened, open};
use super::translation::Thoughts;
use super::way::{self, Aim, Asked, Prepared, Way, Whole};
use crate::call::Call;
use crate::config::budgets::Unpriced;
use crate::error::{Failure, GatewayError};
use crate::providers::announced::Announced;
use crate::upstream::{Destination, Reply};

/// Largest whole reply that is read, in bytes; embeddings of large batches come to tens of megabytes.
const REPLY_MAX: usize = 64 * 1024 * 1024;

/// What a client is told whose answer finds no room.
const FULL: &str = "requests and answers fill the memory set aside for them (server.memory_limit)";

/// What ends an attempt whose request is not in the books; the pipeline says why.
const UNRECORDED: &str = "the request could not be written down";

/// Most output tokens that a request is taken to need of a key's allowance: what a client merely allows must not keep a
/// key from everybody else.
const OUTPUT_TOKENS_MAX: u64 = 32_768;

/// An upstream's answer, begun.
pub enum Begun {
    /// All of it.
    Whole(Whole),
    /// Its first events, and the rest to come.
    Stream(Box<Opened>),
}

/// The state of one request's attempts.
struct Attempts<'a> {
    pipeline: &'a Pipeline,
    call: &'a Call,
    routes: &'a Routes,
    books: &'a mut Settlement,
    preamble: &'a Preamble,
    along: &'a Along,
    asked: Asked,
    /// Refuse what would be lost: what was promised of the name that was asked for holds for its fallbacks, too.
    strict: bool,
    /// What the upstream did not get of the request, by the last call.
    warnings: RefCell<Vec<String>>,
    made: u32,
    /// Retries taken from the budget.
    paid: u32,
    upstream: Duration,
    /// Time spent waiting for a key.
    queued: Duration,
    last: Option<Failure>,
    /// Who refused, in words, and when the soonest is back.
    refused: Option<(String, Option<Duration>)>,
    /// Which budget had no room for a fallback, a model or a key.
    denied: Option<Box<Exceeded>>,
}

/// Returns the first good answer, its lease still out where the answer is a stream, and what served it.
pub async fn run(
    pipeline: &Pipeline,
    call: &Call,
    routes: &Routes,
    route: &Arc<Route>,
    books: &mut Settlement,
    (preamble, along): (&Preamble, &Along),
) -> Result<(Begun, Provenance), GatewayError> {
    let mut attempts = Attempts {
        pipeline,
        call,
        routes,
        books,
        preamble,
        along,
        asked: Asked::default(),
        strict: route.strict || call.wishes.strict,
        warnings: RefCell::default(),
        made: 0,
        paid: 0,
        upstream: Duration::ZERO,
        queued: Duration::ZERO,
        last: None,
        refused: None,
        denied: None,
    };
    route.retry_budget.on_request(call.received);
    if let Some(page) = attempts.books.page() {
        page.rule(format!("{}: {}", route.label, route.strategy.as_str()));
    }
    let fallbacks: &[String] = if call.wishes.no_fallback { &[] } else { &route.fallback };
    let fallbacks = fallbacks.iter().filter(|name| call.caller.may_use(name));
    let fallbacks = fallbacks.filter_map(|name| Some((&**routes.alias(name)?, Some(name))));
    let fallbacks = fallbacks.filter(|(route, _)| route.serves(&call.caller) && route.may_see(call));
    // Who may not cost more than that with one model may not with another.
    let cost_max = attempts.books.cost_max();
    let fallbacks =
        fallbacks.filter(|(route, _)| cost_max.is_none_or(|most| admission::affords(&call.head, route, most)));
    let legs = std::iter::once((&**route, None)).chain(fallbacks);
    let demand = Demand::of(&call.head);
    let mut legs: Vec<_> = legs.map(|(route, fallback)| Leg::new(route, fallback, &demand, call)).collect();
    if attempts.books.spending().counts() && routes.unpriced == Unpriced::Block {
        legs.iter_mut().for_each(Leg::leave_out_unpriced);
    }
    // What failed may fail again, so a fallback goes first.
    let rounds: &[Repeat] = if legs.len() > 1 { &[Repeat::Never, Repeat::LastResort] } else { &[Repeat::LastResort] };
    loop {
        for &repeat in rounds {
            for leg in &mut legs {
                if let Some(answer) = attempts.on_leg(leg, repeat).await? {
                    return Ok(answer);
                }
            }
        }
        if !attempts.queued_for_the_soonest().await {
            return Err(attempts.exhausted(&legs[0]));
        }
        // A key that this request met in its rest may serve it now.
        legs.iter_mut().for_each(|leg| leg.tried.retain(|tried| !tried.class.passes_with_time()));
    }
}

impl Attempts<'_> {
    /// Tries what the leg's route offers; `None` when nothing of it is left to try.
    async fn on_leg(&mut self, leg: &mut Leg<'_>, repeat: Repeat) -> Result<Option<(Begun, Provenance)>, GatewayError> {
        let route = leg.route;
        if !self.affords(leg) {
            return Ok(None);
        }
        self.note_left_out(leg);
        while self.may_try(route) {
            let asked = Instant::now();
            let mut lease = match self.acquire(leg, repeat).await? {
                Ok(lease) => lease,
                Err(unavailable) => {
                    self.note_refusals(&unavailable.refusals, route);
                    let earlier = self.refused.take().and_then(|(_, soonest)| soonest);
                    let soonest = earlier.into_iter().chain(unavailable.soonest).min();
                    self.refused = Some((describe(&unavailable, leg), soonest));
                    return Ok(None);
                }
            };
            let acquired = asked.elapsed();
            self.note_passed_over(&lease, route);
            if lease.again {
                tokio::time::sleep_until((Instant::now() + self.backoff()).min(self.call.deadline).into()).await;
            }
            let candidate = lease.candidate;
            let destination = &route.destinations[candidate];
            if let Err(denied) = self.join(route, &lease) {
                self.rest(leg, lease, denied);
                continue;
            }
            let prepared = match self.prepare(route, candidate, destination) {
                Ok(prepared) => prepared,
                Err(failure) => {
                    self.unsaid(leg, lease, failure)?;
                    continue;
                }
            };
            self.made += 1;
            let sent = Instant::now();
            self.dispatched(route, &lease, acquired);
            let may_repeat = self.asked.thoughts == Thoughts::Own && prepared.way.may_leave_thoughts_out();
            let mut called = self.call_upstream(prepared, leg, destination, &mut lease, sent).await;
            if may_repeat && called.as_ref().is_err_and(|failure| failure.class == ErrorClass::SignatureRefused) {
                // Quality is lost with the thoughts, but the conversation goes on.
                self.asked.thoughts = Thoughts::None;
                if let Ok(prepared) = self.prepare(route, candidate, destination) {
                    self.books.attempted(lease.endpoint(), ErrorClass::SignatureRefused.as_str());
                    self.dispatched(route, &lease, Duration::ZERO);
                    called = self.call_upstream(prepared, leg, destination, &mut lease, sent).await;
                }
            }
            self.upstream += sent.elapsed();
            let failure = match called {
                Ok(begun) => return Ok(Some(self.answered(begun, lease, leg, destination))),
                Err(failure) => failure,
            };
            leg.tried.push(Tried { candidate, key: lease.key_id.clone(), class: failure.class });
            self.give_back(lease, &failure, destination)?;
            let retry = failure.class.retry();
            let final_answer = !retry.other_key && !retry.other_endpoint && retry.same_endpoint == 0;
            if final_answer {
                return Err(GatewayError::Upstream { failure, attempts: self.made });
            }
            self.last = Some(failure);
        }
        Ok(None)
    }

    /// Nothing was sent, so nobody upstream is to blame, and another may know how to say it.
    fn unsaid(&mut self, leg: &mut Leg<'_>, lease: Lease, failure: Failure) -> Result<(), GatewayError> {
        self.note_rejected(leg.route, lease.candidate, &failure.message);
        leg.tried.push(Tried { candidate: lease.candidate, key: lease.key_id.clone(), class: failure.class });
        lease.report(Outcome::Cancelled);
        if !failure.class.retry().other_endpoint {
            return Err(GatewayError::Upstream { failure, attempts: self.made });
        }
        self.last.get_or_insert(failure);
        Ok(())
    }

    /// Writes down that a call goes out now, by a permission that took `acquired` to come by.
    fn dispatched(&mut self, route: &Route, lease: &Lease, acquired: Duration) {
        let (to, model) = (&route.destinations[lease.candidate], &route.candidates[lease.candidate].model);
        self.books.calling(&to.provider, model, &lease.key_id, &route.prices[lease.candidate]);
        let Some(page) = self.books.page() else { return };
        let (endpoint, key) = (lease.endpoint().to_string(), lease.key_id.to_string());
        page.dispatched(target(route, lease.candidate), endpoint, key, acquired);
    }

    fn note_rejected(&mut self, route: &Route, candidate: usize, why: &str) {
        if let Some(page) = self.books.page() {
            page.rejected(target(route, candidate), why.to_owned());
        }
    }

    fn note_left_out(&mut self, leg: &Leg<'_>) {
        leg.left_out.iter().for_each(|(candidate, why)| self.note_rejected(leg.route, *candidate, why));
    }

    fn note_refusals(&mut self, refusals: &[(usize, Refusal)], route: &Route) {
        let Some(page) = self.books.page() else { return };
        for (candidate, refusal) in refusals {
            page.rejected(target(route, *candidate), refusal.to_string());
        }
    }

    /// Notes why the others were not chosen. Of a lease granted ahead nobody was asked, so the board tells who is out.
    fn note_passed_over(&mut self, lease: &Lease, route: &Route) {
        if !lease.passed_over.is_empty() {
            self.note_refusals(&lease.passed_over, route);
        } else if route.candidates.len() > 1 && self.books.page().is_some() {
            let mut out = passed_over(&route.candidates, &self.pipeline.actors.board, Instant::now());
            out.retain(|(candidate, _)| *candidate != lease.candidate);
            self.note_refusals(&out, route);
        }
    }

    /// Waits until the soonest key is expected back, if that is within what a request may wait and within its deadline.
    async fn queued_for_the_soonest(&mut self) -> bool {
        if !self.has_attempts_left() {
            return false;
        }
        let Some(soonest) = self.refused.as_ref().and_then(|(_, soonest)| *soonest) else { return false };
        // A little late rather than a little early, which would only be refused again.
        let wait = soonest.saturating_add(Duration::from_millis(1));
        let in_time = Instant::now().checked_add(wait).is_some_and(|until| until < self.call.deadline);
        if !in_time || self.queued.saturating_add(wait) > self.routes.max_wait {
            return false;
        }
        self.refused = None;
        self.queued += wait;
        tokio::time::sleep(wait).await;
        true
    }

    fn has_attempts_left(&self) -> bool {
        let wished = self.call.wishes.retries.map_or(u32::MAX, |retries| retries.saturating_add(1));
        self.made < self.routes.retry.max_attempts.min(wished)
    }

    /// Returns whether another call may be made; a retry has to be paid for.
    fn may_try(&mut self, route: &Route) -> bool {
        let now = Instant::now();
        if !self.has_attempts_left() || now >= self.call.deadline {
            return false;
        }
        // A retry that was paid for and got no lease is still good for the next leg.
        if self.paid < self.made && route.retry_budget.take(now) {
            self.paid = self.made;
        }
        self.paid >= self.made
    }

    async fn acquire(&self, leg: &Leg<'_>, repeat: Repeat) -> Result<Result<Lease, Unavailable>, GatewayError> {
        let head = &self.call.head;
        let route = leg.route;
        let tokens_out = head.max_output_tokens.unwrap_or(0).saturating_mul(head.choices).min(OUTPUT_TOKENS_MAX);
        let tokens = head.tokens_in_estimate.saturating_add(tokens_out);
        let form = if head.stream { ReplyForm::Streamed } else { ReplyForm::Whole };
        let supervisor = &self.pipeline.actors.supervisor;
        // What was granted ahead is for requests that any candidate may serve.
        let plain = leg.tried.is_empty() && leg.left_out.is_empty();
        let Taken { lease, refill } =
            if plain { route.pool(form).take(tokens) } else { Taken { lease: None, refill: false } };
        let asked = lease.is_none().then(|| {
            supervisor.send(Acquire {
                candidates: route.candidates.clone(),
                left_out: leg.left_out.iter().map(|(candidate, _)| *candidate).collect(),
                strategy: route.strategy,
                team: self.call.caller.team().cloned(),
                tokens,
                form,
                tried: leg.tried.clone(),
                repeat,
            })
        });
        if refill {
            // Behind the question, if there is one. A full mailbox has more urgent things to answer.
            let pool = route.pool(form);
            if supervisor.try_send(Refill { pool: pool.clone() }).is_err() {
                pool.refill_failed();
            }
        }
        let Some(asked) = asked else { return Ok(lease.ok_or_else(Unavailable::default)) };
        match asked.await {
            Ok(Err(unavailable)) if unavailable.poisoned => Err(GatewayError::Internal),
            Ok(answer) => Ok(answer),
            // The supervisor is gone; the process is about to end.
            Err(_) => Err(GatewayError::ShuttingDown),
        }
    }

    /// Full jitter over base × 2ⁿ ("Exponential Backoff and Jitter", AWS Architecture Blog, 2015).
    fn backoff(&self) -> Duration {
        let retry = &self.routes.retry;
        let cap = retry.backoff_base.saturating_mul(1 << self.made.saturating_sub(1).min(16)).min(retry.backoff_max);
        cap.mul_f64(rand::rng().random::<f64>())
    }

    fn prepare(&self, route: &Route, candidate: usize, to: &Destination) -> Result<Prepared, Failure> {
        let (model, facts) = (route.candidates[candidate].model.as_str(), &route.facts[candidate]);
        let signatures = &self.pipeline.signatures;
        let (strict, kept) = (self.strict || route.strict, self.along.keeping.is_some());
        way::prepare(self.call, &self.asked, &Aim { to, model, facts, strict, kept, signatures })
    }

    async fn call_upstream(
        &mut self,
        prepared: Prepared,
        leg: &Leg<'_>,
        destination: &Destination,
        lease: &mut Lease,
        sent: Instant,
    ) -> Result<Begun, Failure> {
        let head = &self.call.head;
        let Prepared { outgoing, way, warnings } = prepared;
        self.warnings.replace(warnings);
        let patience = self.patience(destination);
        let wished = self.call.wishes.first_token_timeout.unwrap_or(patience);
        let begin_by = self.call.deadline.min(sent + patience.min(wished));
        let secret = lease.secret.clone();
        let reply = self.pipeline.upstream.send(destination, outgoing, secret.as_ref(), begin_by).await?;
        if let Some(page) = self.books.page() {
            page.headed(reply.connect, sent.elapsed());
        }
        lease.learn(reply.limits);
        // Not even a preamble goes out before the request is in the books.
        self.books.recorded().await.map_err(|_| Failure::plain(ErrorClass::GatewayOverloaded, UNRECORDED))?;
        let idle = destination.timeouts.idle;
        if head.stream {
            let provenance = || self.provenance(leg, lease, destination, self.upstream + sent.elapsed());
            let flow = way.flow(head, self.preamble.sent().map(|sent| Announced::read(&sent)));
            let flow = self.along.through(flow);
            let opened = open(reply, flow, idle, begin_by, self.preamble, provenance).await?;
            lease.first_token(sent.elapsed());
            return Ok(Begun::Stream(Box::new(opened)));
        }
        let begun = self.read_whole(reply, &way, idle).await?;
        lease.first_token(sent.elapsed());
        Ok(begun)
    }

    /// Returns how long the upstream may take to begin by the operator's word.
    fn patience(&self, destination: &Destination) -> Duration {
        if self.call.head.stream { destination.timeouts.first_token } else { destination.timeouts.reply }
    }

    async fn read_whole(&self, mut reply: Reply, way: &Way, idle: Duration) -> Result<Begun, Failure> {
        let mut held = self.pipeline.memory.for_answer();
        let room = |bytes| held.cover(bytes).map_err(|Full| Failure::plain(ErrorClass::GatewayOverloaded, FULL));
        let body = tokio::time::timeout_at(self.call.deadline.into(), reply.read_whole(REPLY_MAX, idle, room)).await;
        let late = |_| Failure::plain(ErrorClass::FirstByteTimeout, "the request's deadline passed within the answer");
        let whole = way.whole(&self.call.head, body.map_err(late)??)?;
        Ok(Begun::Whole(Whole { body: held.keep(whole.body), ..whole }))
    }

    /// Reports a failed call. A call cut short by the caller's own deadline or haste says nothing about the upstream:
    /// otherwise one hasty client could open its breaker for everybody.
    fn give_back(&mut self, mut lease: Lease, failure: &Failure, to: &Destination) -> Result<(), GatewayError> {
        let out_of_time = failure.class == ErrorClass::FirstByteTimeout && Instant::now() >= self.call.deadline;
        if out_of_time {
            self.books.attempted(lease.endpoint(), "cancelled");
            lease.report(Outcome::Cancelled);
            return Err(self.too_late());
        }
        self.books.attempted(lease.endpoint(), failure.class.as_str());
        let hasty = self.call.wishes.first_token_timeout.is_some_and(|wished| wished < self.patience(to));
        if failure.class == ErrorClass::FirstByteTimeout && hasty {
            lease.report(Outcome::Cancelled);
            return Ok(());
        }
        if failure.limits != LearnedLimits::default() {
            lease.learn(failure.limits);
        }
        lease.report(Outcome::Failed { class: failure.class, retry_after: failure.retry_after });
        Ok(())
    }

    fn answered(
        &mut self,
        begun: Begun,
        lease: Lease,
        leg: &Leg<'_>,
        destination: &Destination,
    ) -> (Begun, Provenance) {
        let provenance = self.provenance(leg, &lease, destination, self.upstream);
        match begun {
            Begun::Whole(_) => {
                self.books.attempted(lease.endpoint(), "served");
                lease.report(Outcome::Served);
                (begun, provenance)
            }
            Begun::Stream(mut opened) => {
                opened.lease = Some(lease);
                (Begun::Stream(opened), provenance)
            }
        }
    }

    fn provenance(&self, leg: &Leg<'_>, lease: &Lease, destination: &Destination, upstream: Duration) -> Provenance {
        let spending = self.books.spending_so_far();
        Provenance {
            provider: destination.provider.clone(),
            endpoint: destination.endpoint.clone(),
            region: destination.region.clone(),
            model: leg.route.candidates[lease.candidate].model.clone(),
            key: lease.key_id.clone(),
            alias: leg.route.asked.clone(),
            attempts: self.made,
            fallback: leg.fallback.cloned(),
            upstream,
            queued: self.queued + spending.waited,
            downgraded_from: spending.downgraded_from.clone(),
            tightest: spending.tightest.clone(),
            guardrails: self.books.guardrails(),
            warnings: self.warnings.borrow().iter().chain(&spending.bounded).cloned().collect(),
            began: self.call.received.elapsed(),
            price: leg.route.prices[lease.candidate].clone(),
        }
    }

    fn too_late(&self) -> GatewayError {
        GatewayError::DeadlineExceeded { after: self.call.deadline.saturating_duration_since(self.call.received) }
    }

    /// Says why nothing is left: the last failure if calls were made, else who refused.
    fn exhausted(self, leg: &Leg<'_>) -> GatewayError {
        let route = leg.route;
        let (why, soonest) = self.refused.unwrap_or_default();
        if let Some(mut failure) = self.last {
            // Without an alias it is the client that named a model which does not exist.
            if failure.class == ErrorClass::ConfigMissing && route.direct_name.is_some() {
                return self.routes.not_found(Some(&route.asked), &self.call.caller);
            }
            if failure.class.passes_with_time() {
                failure.retry_after = soonest.or(failure.retry_after);
            }
            if !leg.left_out.is_empty() {
                failure.message = format!("{}; {}", failure.message, unasked(leg));
            }
            return GatewayError::Upstream { failure, attempts: self.made };
        }
        if Instant::now() >= self.call.deadline {
            let after = self.call.deadline.saturating_duration_since(self.call.received);
            return GatewayError::DeadlineExceeded { after };
        }
        if let Some(exceeded) = self.denied {
            return GatewayError::BudgetExceeded(exceeded);
        }
        GatewayError::NoHealthyTarget { retry_after: soonest, why }
    }
}
