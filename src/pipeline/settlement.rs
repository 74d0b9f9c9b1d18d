//! Closes the books of one request exactly once, on every way out: served, failed, or the client gone.
//!
//! The settlement travels with the request and learns on the way. Its `Drop` writes metrics and the access line; a
//! request that nobody settled was cancelled.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bursar_actors::audit::journal::Refused;
use bursar_actors::budget::{Exceeded, Tightest};
use bursar_actors::{EndpointId, KeyId, ModelName, Usage};
use tracing::info;

use super::admission::Admission;
use super::pricing::{Evidence, ModelPrice, Priced, Unpriced};
use super::spending::Spending;
use crate::books::{Books, Closing, Page};
use crate::call::{Call, RequestId};
use crate::config::privacy::Stage;
use crate::config::settings::dollars;
use crate::error::GatewayError;
use crate::privacy::{Policy, Report, Screening};
use crate::schema::Operation;
use crate::telemetry::metrics::{Ending, Finished, Metrics};

/// What served a request, for headers and records.
#[derive(Debug, Clone)]
pub struct Provenance {
    pub provider: String,
    pub endpoint: EndpointId,
    pub region: Option<String>,
    pub model: ModelName,
    pub key: KeyId,
    pub alias: String,
    /// Upstream calls made, the good one included.
    pub attempts: u32,
    /// The fallback alias that served, where the asked one could not.
    pub fallback: Option<String>,
    /// Time spent waiting for upstreams before the answer began.
    pub upstream: Duration,
    /// Time spent waiting for a key to be ready.
    pub queued: Duration,
    /// What the upstream did not get of the request, for the client.
    pub warnings: Vec<String>,
    /// Time from the request to the beginning of the answer.
    pub began: Duration,
    /// What the model costs.
    pub price: Arc<ModelPrice>,
    /// What was asked for, where a budget near its limit had something cheaper serve.
    pub downgraded_from: Option<String>,
    /// The budget that is the nearest to its limit, where a step of it is in force.
    pub tightest: Option<Tightest>,
    /// What guardrails found before the answer began, and what they did.
    pub guardrails: Option<String>,
}

impl Provenance {
    /// Returns what the gateway itself added before the answer began.
    pub fn overhead(&self) -> Duration {
        self.began.saturating_sub(self.upstream + self.queued)
    }
}

/// Who is called. A client that does not wait for the answer has had its prompt read all the same.
struct Calling {
    provider: String,
    model: ModelName,
    key: KeyId,
    price: Arc<ModelPrice>,
}

/// The books of one request.
pub struct Settlement {
    metrics: Arc<Metrics>,
    access_log: bool,
    id: RequestId,
    key_id: Option<Arc<str>>,
    team: String,
    operation: &'static str,
    streamed: bool,
    received: Instant,
    alias: String,
    provenance: Option<Provenance>,
    /// Upstream calls made, and where the last one went.
    attempts: u32,
    endpoint: Option<EndpointId>,
    first_token: Option<Duration>,
    evidence: Evidence,
    /// Why the answer's first choice ended.
    finish: Option<&'static str>,
    ending: Ending,
    error_code: Option<&'static str>,
    /// Where the request is written down; none where no books are kept.
    page: Option<Page>,
    /// What the request was let in with.
    admission: Admission,
    /// What it holds of budgets.
    spending: Spending,
    /// What is called, until it answers.
    calling: Option<Calling>,
    /// Bytes counted for what is kept of the answer until then.
    kept: i64,
    watch: Option<Watch>,
    /// What guardrails found: how much, by rule and action.
    guarded: BTreeMap<(Arc<str>, &'static str), u32>,
    /// Where what they find in a stream stands until its end.
    along: Option<Rc<RefCell<Screening>>>,
}

/// Tells somebody else on the same thread how the request ended, once it has.
#[derive(Debug, Clone, Default)]
pub struct Watch(Rc<Cell<Option<Ending>>>);

impl Watch {
    /// Returns how the request ended; none as long as it has not.
    pub fn ending(&self) -> Option<Ending> {
        self.0.get()
    }
}

impl Settlement {
    /// Tells `watch` how the request ends.
    pub fn tell(&mut self, watch: Watch) {
        self.watch = Some(watch);
    }

    /// Counts the request in.
    pub fn open(metrics: Arc<Metrics>, books: Option<&Arc<Books>>, call: &Call, access_log: bool) -> Self {
        metrics.admit();
        Self {
            metrics,
            access_log,
            id: call.id.clone(),
            key_id: call.caller.key_id().cloned(),
            team: call.caller.team_label().into(),
            operation: operation_name(call.head.operation),
            streamed: call.head.stream,
            received: call.received,
            alias: "none".into(),
            provenance: None,
            attempts: 0,
            endpoint: None,
            first_token: None,
            evidence: Evidence { prompt_estimate: call.head.tokens_in_estimate, ..Evidence::default() },
            finish: None,
            ending: Ending::Cancelled,
            error_code: None,
            page: books.map(|books| Page::open(books, call, operation_name(call.head.operation))),
            admission: Admission::default(),
            spending: Spending::default(),
            calling: None,
            kept: 0,
            watch: None,
            guarded: BTreeMap::new(),
            along: None,
        }
    }

    /// What is found in a stream is asked of `screening` once it has ended.
    pub fn screened_by(&mut self, screening: Option<Rc<RefCell<Screening>>>) {
        self.along = screening;
    }

    /// Notes the alias that was asked for.
    pub fn routed(&mut self, label: &str) {
        self.alias = label.into();
    }

    /// Notes what the request was let in with, to be settled by what it uses.
    pub fn let_in(&mut self, admission: Admission) {
        self.admission = admission;
    }

    /// Returns the most that it may cost, in nano-dollars; `None` is no limit.
    pub fn cost_max(&self) -> Option<u64> {
        self.admission.cost_max
    }

    /// Returns what the request holds of budgets.
    pub fn spending(&mut self) -> &mut Spending {
        &mut self.spending
    }

    /// Returns the same for reading.
    pub fn spending_so_far(&self) -> &Spending {
        &self.spending
    }

    /// Notes who is called now.
    pub fn calling(&mut self, provider: &str, model: &ModelName, key: &KeyId, price: &Arc<ModelPrice>) {
        let (provider, model, key, price) = (provider.to_owned(), model.clone(), key.clone(), price.clone());
        self.calling = Some(Calling { provider, model, key, price });
    }

    /// Notes how one upstream call ended.
    pub fn attempted(&mut self, endpoint: &EndpointId, outcome: &str) {
        if outcome != "cancelled" {
            self.calling = None;
        }
        self.attempts += 1;
        self.endpoint = Some(endpoint.clone());
        self.metrics.attempt(endpoint.as_str(), outcome);
        if let Some(page) = &mut self.page {
            page.attempted(outcome);
        }
    }

    /// Notes what guardrails found in the request or its answer.
    pub fn guarded(&mut self, report: &Report, stage: Stage) {
        for ((rule, entity, action), count) in &report.counts {
            self.metrics.guarded(rule, stage.as_str(), action.as_str(), *count);
            if let Some(page) = &mut self.page {
                page.guarded(rule, entity.as_str(), action.as_str(), *count);
            }
            *self.guarded.entry((rule.clone(), action.as_str())).or_default() += count;
        }
    }

    /// Notes what was found in an answer, and how it was before values were put back into it.
    pub fn screened(&mut self, screening: &mut Screening) {
        self.guarded(screening.report(), Stage::Output);
        if let Some(page) = self.page.as_mut().filter(|page| page.keeps_unrestored() > 0) {
            page.unrestored(screening.take_came());
        }
    }

    /// Returns how much is to be kept of the answer before values are put back, and notes what is masked in it by `policy`.
    pub fn redacted_by(&mut self, policy: Option<&Arc<Policy>>) -> usize {
        let (Some(page), Some(policy)) = (&mut self.page, policy) else { return 0 };
        page.redacted_by(policy.clone());
        page.keeps_unrestored()
    }

    /// Returns what guardrails have found so far, as a header says it: `pii:3 mask, secrets:1 flag`; none of nothing.
    pub fn guardrails(&self) -> Option<String> {
        let told = self.guarded.iter().map(|((rule, action), count)| format!("{rule}:{count} {action}"));
        let told = told.collect::<Vec<_>>().join(", ");
        (!told.is_empty()).then_some(told)
    }

    /// Notes a rule that narrowed who may serve the request.
    pub fn note(&mut self, rule: String) {
        if let Some(page) = &mut self.page {
            page.rule(rule);
        }
    }

    /// Writes down that the request `asked` is let in, of which `call` leaves; where the settings or its data class say so,
    /// nothing leaves before that is durable.
    pub async fn admitted(&mut self, asked: &Call, call: &Call) -> Result<(), GatewayError> {
        let Some(page) = &mut self.page else { return Ok(()) };
        page.downgraded(self.spending.downgraded_from.clone());
        page.admit(&self.alias, &asked.body, self.spending.held()).map_err(not_recorded)?;
        if page.waits_before_dispatch() || call.confined.is_some() {
            page.durable().await.map_err(not_recorded)
        } else {
            Ok(())
        }
    }

    /// Returns once the admission is durable: nothing of an answer goes out before.
    pub async fn recorded(&mut self) -> Result<(), GatewayError> {
        let Some(page) = &mut self.page else { return Ok(()) };
        page.durable().await.map_err(not_recorded)
    }

    /// Returns the page, for what only the books want to know.
    pub fn page(&mut self) -> Option<&mut Page> {
        self.page.as_mut()
    }

    /// Notes bytes of a stream that go out.
    pub fn sent(&mut self, bytes: &[u8]) {
        let kept = self.page.as_mut().map_or(0, |page| page.sent(bytes));
        self.keep(kept);
    }

    /// Notes an answer that goes out as a whole.
    pub fn sent_whole(&mut self, body: &[u8]) {
        let kept = self.page.as_mut().map_or(0, |page| page.sent_whole(body));
        self.keep(kept);
    }

    fn keep(&mut self, kept: usize) {
        if kept > 0 {
            // Twice, because it is sealed in the end.
            self.kept += 2 * kept as i64;
            self.metrics.bodies_held.add(2 * kept as i64);
        }
    }

    /// Notes what answers.
    pub fn answered(&mut self, provenance: Provenance) {
        if self.streamed {
            self.first_token = Some(provenance.began);
        }
        self.provenance = Some(provenance);
    }

    /// Notes the tokens, as the upstream reports them, why the first choice ended, and how many bytes the model wrote.
    pub fn used(&mut self, usage: Option<Usage>, finish: Option<&'static str>, output_bytes: u64) {
        self.evidence.told = usage.or(self.evidence.told);
        self.finish = finish.or(self.finish);
        self.evidence.output_bytes = output_bytes;
    }

    /// Closes the books: the client got everything. Returns what it cost, if that is known.
    pub fn served(mut self) -> Option<Priced> {
        self.ending = Ending::Served;
        self.evidence.complete = true;
        self.cost()?.ok()
    }

    /// Returns what the request cost, or why nobody knows; `None` where nothing answered, nor is it known to be at work.
    fn cost(&self) -> Option<Result<Priced, Unpriced>> {
        let price = match (&self.provenance, &self.calling) {
            (Some(served), _) => &served.price,
            (None, Some(calling)) if self.is_unawaited() => &calling.price,
            _ => return None,
        };
        Some(price.of(&self.evidence))
    }

    /// Returns whether nobody waited for who was called.
    fn is_unawaited(&self) -> bool {
        self.ending == Ending::Cancelled || self.error_code == Some("deadline_exceeded")
    }

    /// Returns whether an answer of that many bytes may cost more than is held for it.
    pub fn is_outgrown(&self, output_bytes: u64) -> bool {
        self.spending.is_outgrown(output_bytes)
    }

    /// Holds more for an answer that goes on, or says which budget has no room for it.
    pub fn extend(&mut self) -> Result<(), Box<Exceeded>> {
        let cost = self.cost().and_then(Result::ok).map_or(0, |cost| cost.nano);
        self.spending.extend(self.evidence.output_bytes, cost)
    }

    /// Closes the books: the client got an error.
    pub fn failed(mut self, error: &GatewayError) {
        self.ending = Ending::Failed;
        self.error_code = Some(error.code());
        if let GatewayError::RateLimited(denied) = error {
            self.metrics.limited(denied.which.key(), denied.holder.kind());
        }
    }

    /// Puts what was used in place of what was taken of the limits. Of an answer that was called for and not waited for, the
    /// prompt was read all the same; a call that failed used nothing.
    fn settle_limits(&mut self) {
        let Some(mut grant) = self.admission.grant.take() else { return };
        grant.used(match (&self.provenance, self.ending) {
            (Some(_), _) => self.evidence.usage().0.total,
            (None, Ending::Cancelled) if self.attempts > 0 => self.evidence.prompt_estimate,
            (None, _) => 0,
        });
    }

    /// Closes the books: a stream ended in an error of class `code`.
    pub fn broke(mut self, code: &'static str) {
        self.ending = Ending::Failed;
        self.error_code = Some(code);
    }

    fn close_page(&mut self, cost: Option<Priced>, unpriced: bool) {
        let Some(mut page) = self.page.take() else { return };
        let held_nano = self.spending.held().map(|(_, nano)| nano);
        let mut overrun_nano = 0;
        if page.is_admitted() {
            overrun_nano = self.spending.settle(cost.map_or(0, |cost| cost.nano));
        } else {
            self.spending.release();
        }
        let provenance = self.provenance.as_ref();
        let calling = self.calling.as_ref().filter(|_| provenance.is_none() && cost.is_some());
        page.close(&Closing {
            held_nano,
            overrun_nano,
            unpriced,
            outcome: self.ending.as_str(),
            error: self.error_code,
            finish: self.finish,
            alias: &self.alias,
            provider: provenance.map(|served| &served.provider).or(calling.map(|to| &to.provider)).map(String::as_str),
            model: provenance.map(|served| &served.model).or(calling.map(|to| &to.model)).map(ModelName::as_str),
            endpoint: self.endpoint.as_ref().map(EndpointId::as_str),
            region: provenance.and_then(|served| served.region.as_deref()),
            key: provenance.map(|served| &served.key).or(calling.map(|to| &to.key)).map(KeyId::as_str),
            usage: (provenance.is_some() || calling.is_some()).then(|| self.evidence.usage().0),
            cost_nano: cost.map(|cost| cost.nano),
            estimated: cost.map_or_else(|| provenance.is_some_and(|_| self.evidence.usage().1), |cost| cost.estimated),
            price: cost
                .and(provenance.map(|to| &to.price).or(calling.map(|to| &to.price)))
                .map(|price| &*price.snapshot),
            overhead: provenance.map(Provenance::overhead),
            queued: provenance.map(|served| served.queued).unwrap_or_default(),
            first_token: self.first_token,
        });
    }

    fn log(&self, took: Duration, cost: Option<Priced>) {
        let provenance = self.provenance.as_ref();
        let model = provenance.map(|served| format!("{}/{}", served.provider, served.model));
        let usage = self.evidence.told.unwrap_or_default();
        info!(
            request_id = %self.id,
            key = self.key_id.as_deref(),
            team = self.team,
            alias = self.alias,
            model,
            endpoint = self.endpoint.as_ref().map(EndpointId::as_str),
            provider_key = provenance.map(|served| served.key.as_str()),
            attempts = self.attempts,
            outcome = self.ending.as_str(),
            error = self.error_code,
            finish = self.finish,
            took_ms = took.as_millis() as u64,
            first_token_ms = self.first_token.map(|first_token| first_token.as_millis() as u64),
            overhead_us = provenance.map(|served| served.overhead().as_micros() as u64),
            prompt_tokens = usage.prompt,
            completion_tokens = usage.completion,
            cost_usd = cost.map(|cost| dollars(cost.nano)),
            cost_estimated = cost.map(|cost| cost.estimated).filter(|estimated| *estimated),
            "{} {}",
            self.operation,
            self.ending.as_str(),
        );
    }
}

impl Drop for Settlement {
    fn drop(&mut self) {
        let took = self.received.elapsed();
        let cost = self.cost();
        let priced = cost.and_then(Result::ok);
        let unpriced = cost.and_then(|cost| cost.map_or_else(Some, |priced| priced.guessed));
        if let Some(screening) = self.along.take() {
            self.screened(&mut screening.borrow_mut());
        }
        // First, so that nothing in flight means that nothing is left to write.
        self.close_page(priced, unpriced.is_some());
        self.settle_limits();
        if let Some(Watch(ending)) = &self.watch {
            ending.set(Some(self.ending));
        }
        self.metrics.bodies_held.sub(self.kept);
        self.metrics.finish(&Finished {
            alias: &self.alias,
            team: &self.team,
            operation: self.operation,
            ending: self.ending,
            error_code: self.error_code,
            took,
            first_token: self.first_token,
            overhead: self.provenance.as_ref().map(Provenance::overhead),
            usage: self.evidence.told,
            cost_nano: priced.map(|priced| priced.nano),
            unpriced: unpriced.map(Unpriced::as_str),
        });
        if self.access_log {
            self.log(took, priced);
        }
    }
}

fn not_recorded(why: Refused) -> GatewayError {
    GatewayError::NotRecorded { why: why.to_string() }
}

fn operation_name(operation: Operation) -> &'static str {
    match operation {
        Operation::ChatCompletions => "chat",
        Operation::Completions => "completion",
        Operation::Embeddings => "embedding",
        Operation::Responses => "response",
        Operation::Messages => "message",
        Operation::GenerateContent => "generate_content",
        Operation::EmbedContent | Operation::BatchEmbedContents => "embed_content",
    }
}
