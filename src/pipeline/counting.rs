//! Asks the upstream that would serve a request how many tokens it has. An estimate is at hand, so nothing here is tried
//! twice or waited for.

use std::rc::Rc;
use std::time::{Duration, Instant};

use bursar_actors::limits::{Grant, Standing};
use bursar_actors::{Acquire, ErrorClass, KeyEffect, Lease, Outcome, Repeat, ReplyForm};

use super::route::{Route, Routes};
use super::translation::unusable;
use super::way::{self, Aim};
use super::{Pipeline, admission};
use crate::books::{Closing, Page};
use crate::call::Call;
use crate::error::{Failure, GatewayError};
use crate::schema::chat::ChatRequest;

/// Longest time for the question and its answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest answer that is read, in bytes; it is one number.
const ANSWER_MAX: usize = 64 * 1024;

impl Pipeline {
    /// Counts the question that `call` asks as one request against all limits above it, for as long as the permission is held;
    /// `None` where nothing is limited. `standing` is told how the limits stand then.
    pub fn let_count_in(
        &self,
        routes: &Routes,
        route: &Route,
        call: &Call,
        standing: impl FnOnce(Standing),
    ) -> Result<Option<Grant>, GatewayError> {
        admission::let_count_in(&self.meters, routes.above(route, call), standing)
    }

    /// Returns how many tokens `request`, which `call` came with, has by the count of the upstream that `route` would send it
    /// to now; `None` where that one cannot count, fails, or nobody is ready.
    ///
    /// What is asked leaves the house, so it goes into the books, by `page`; if it cannot, it does not leave.
    pub async fn count(&self, call: &Call, route: &Route, request: ChatRequest, page: Option<Page>) -> Option<u64> {
        if !route.destinations.iter().any(|to| to.format.upstream.counting().is_some()) {
            return None;
        }
        let by = call.deadline.min(Instant::now() + PATIENCE);
        // A lease that is dropped reports itself as cancelled.
        tokio::time::timeout_at(by.into(), self.count_by(call, route, request, page, by)).await.ok().flatten()
    }

    async fn count_by(
        &self,
        call: &Call,
        route: &Route,
        request: ChatRequest,
        mut page: Option<Page>,
        by: Instant,
    ) -> Option<u64> {
        let asked = Acquire {
            candidates: route.candidates.clone(),
            strategy: route.strategy,
            team: call.caller.team().cloned(),
            // Nothing is generated, and what is read is not billed.
            tokens: 0,
            form: ReplyForm::Whole,
            left_out: [route.barred(&call.caller), route.walled(call)].concat(),
            tried: vec![],
            repeat: Repeat::Never,
        };
        let began = Instant::now();
        let lease = self.actors.supervisor.send(asked).await.ok()?.ok()?;
        let to = &route.destinations[lease.candidate];
        let model = route.candidates[lease.candidate].model.as_str();
        if let Some(page) = &mut page {
            page.admit(&route.label, &call.body, None).ok()?;
            page.durable().await.ok()?;
            let (endpoint, key) = (lease.endpoint().to_string(), lease.key_id.to_string());
            page.dispatched(format!("{}/{model}", to.provider), endpoint, key, began.elapsed());
        }
        let answered = self.ask(&lease, call, route, request, by).await;
        let failure = answered.as_ref().err();
        if let Some(mut page) = page {
            page.attempted(failure.map_or("served", |failure| failure.class.as_str()));
            page.close(&Closing {
                outcome: if failure.is_none() { "served" } else { "failed" },
                error: failure.map(|failure| failure.class.as_str()),
                alias: &route.label,
                provider: Some(&to.provider),
                model: Some(model),
                endpoint: Some(lease.endpoint().as_str()),
                region: to.region.as_deref(),
                key: Some(lease.key_id.as_str()),
                ..Closing::default()
            });
        }
        if let Some(failure) = failure {
            lease.report(outcome(failure));
        }
        answered.ok()
    }

    async fn ask(
        &self,
        lease: &Lease,
        call: &Call,
        route: &Route,
        request: ChatRequest,
        by: Instant,
    ) -> Result<u64, Failure> {
        let to = &route.destinations[lease.candidate];
        let (model, facts) = (route.candidates[lease.candidate].model.as_str(), &route.facts[lease.candidate]);
        let aim = Aim { to, model, facts, strict: false, kept: false, signatures: &self.signatures };
        let (outgoing, upstream) = way::question(call, Rc::new(request), &aim)?;
        let mut reply = self.upstream.send(to, outgoing, lease.secret.as_ref(), by).await?;
        let body = reply.read_whole(ANSWER_MAX, PATIENCE, |_| Ok(())).await?;
        upstream.answer(&body).map_err(|nonsense| unusable(&nonsense))
    }
}

/// Returns what a failed count says of who was asked: only what would fail any call. Counts have limits and capacities of
/// their own, so neither their refusals nor their answers tell anything of the calls that matter.
fn outcome(failure: &Failure) -> Outcome {
    let Failure { class, retry_after, .. } = *failure;
    let fails_any =
        class == ErrorClass::ConnectFailed || matches!(class.key_effect(), KeyEffect::Retire | KeyEffect::Exhaust);
    if fails_any { Outcome::Failed { class, retry_after } } else { Outcome::Cancelled }
}
