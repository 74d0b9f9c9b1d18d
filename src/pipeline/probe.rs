//! Asks upstreams that nobody uses for their list of models, so that a dead one or a wrong key is known before a request
//! meets it and `GET /v1/models` has something to list.
//!
//! The endpoints' actors decide who is probed and with which key; here the question is asked and the answer read. One
//! task on the main thread does it for the whole gateway, so that a thousand workers would not ask more often.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bursar_actors::{ErrorClass, Handles, KeyEffect, ProbeLease, Probed, ProbesDue};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::catalog::Catalog;
use super::drain::Drain;
use super::route::Routes;
use crate::error::Failure;
use crate::providers::openai::model_names;
use crate::telemetry::metrics::Metrics;
use crate::upstream::{Destination, Upstream};

/// Longest time for one probe, its answer included.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Largest list that is read, in bytes; OpenRouter's has about a megabyte.
const LIST_MAX: usize = 8 * 1024 * 1024;
/// Most probes at the same time.
const AT_ONCE: usize = 16;
/// How often the endpoints are asked whether a probe is due; what a reload brings waits no longer, either.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What the task works with.
pub struct Prober {
    pub routes: Arc<ArcSwap<Routes>>,
    pub actors: Handles,
    pub catalog: Arc<Catalog>,
    pub metrics: Arc<Metrics>,
    pub drain: Arc<Drain>,
    pub upstream: Upstream,
}

impl Prober {
    /// Probes until the gateway drains; what is out then is given up.
    pub async fn run(self) {
        let mut out = FuturesUnordered::new();
        let mut look_at = Instant::now();
        let mut turn = 0;
        while !self.drain.started() {
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(look_at.into()) => {
                    look_at = Instant::now() + LOOK_EVERY;
                    let Some(due) = self.due(turn, AT_ONCE.saturating_sub(out.len())).await else { return };
                    out.extend(due.into_iter().map(|lease| self.probe(lease)));
                    turn += 1;
                }
                Some(()) = out.next() => {}
            }
        }
    }

    /// Returns what is to be probed now, at most so many; `None` when there is nobody left to say so.
    async fn due(&self, turn: usize, most: usize) -> Option<Vec<ProbeLease>> {
        // Let go before anything is awaited: a reload waits until nobody uses the old routes.
        let (mut endpoints, every) = {
            let routes = self.routes.load();
            let endpoints: Vec<_> = routes.probed().map(|to| (to.endpoint.clone(), to.home)).collect();
            (endpoints, routes.probe_every)
        };
        self.catalog.keep_only(&endpoints);
        if every.is_zero() || endpoints.is_empty() || most == 0 {
            return Some(vec![]);
        }
        // Each begins once, so that slow ones at the front do not starve those behind.
        let first = turn % endpoints.len();
        endpoints.rotate_left(first);
        self.actors.supervisor.send(ProbesDue { endpoints, every, most }).await.ok()
    }

    async fn probe(&self, lease: ProbeLease) {
        let destination = self.routes.load().probed().find(|to| to.endpoint == lease.endpoint).cloned();
        let Some(destination) = destination.filter(|to| to.home == lease.home) else { return };
        let probed = match tokio::time::timeout(TIMEOUT, self.ask(&destination, &lease)).await {
            Ok(Ok(probed)) => probed,
            Ok(Err(failure)) => judged(failure),
            Err(_) => judged(Failure::plain(ErrorClass::FirstByteTimeout, "its list of models did not come in time")),
        };
        self.metrics.probe(lease.endpoint.as_str(), probed.as_str());
        lease.report(probed);
    }

    async fn ask(&self, destination: &Destination, lease: &ProbeLease) -> Result<Probed, Failure> {
        let head_by = Instant::now() + TIMEOUT;
        let mut reply = self.upstream.list_models(destination, lease.secret.as_ref(), head_by).await?;
        if self.catalog.is_fresh(&lease.endpoint, lease.home, Instant::now()) {
            reply.drain();
            return Ok(Probed::Ok);
        }
        let body = match reply.read_whole(LIST_MAX, TIMEOUT, |_| Ok(())).await {
            Ok(body) => body,
            // It answers well, only too much.
            Err(failure) if failure.class == ErrorClass::ServerError => {
                return Ok(Probed::NoList { why: failure.message });
            }
            Err(failure) => return Err(failure),
        };
        let Some(names) = model_names(&body) else {
            return Ok(Probed::NoList { why: "what it answers is no list of models".into() });
        };
        self.catalog.learn(&lease.endpoint, lease.home, names, Instant::now());
        Ok(Probed::Ok)
    }
}

/// Returns what a failure to list models says of the upstream. Many serve chats and have no such list, or keep it from
/// keys that may do everything else.
fn judged(failure: Failure) -> Probed {
    let Failure { class, retry_after, status, message: why, .. } = failure;
    let concerns_all = class.trips_breaker()
        || class.passes_with_time()
        || matches!(class.key_effect(), KeyEffect::Retire | KeyEffect::Exhaust | KeyEffect::RestAll);
    let no_list = match status {
        Some(403 | 404 | 405 | 410 | 501) => true,
        // OpenAI's words for a key that is good and restricted.
        Some(401) => ["scope", "insufficient permission"].iter().any(|word| why.to_lowercase().contains(word)),
        _ => !concerns_all,
    };
    if no_list { Probed::NoList { why } } else { Probed::Failed { class, retry_after, why } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::judge::judge_status;
    use std::time::SystemTime;

    fn of(status: u16, message: &str) -> &'static str {
        let body = serde_json::json!({ "error": { "message": message } }).to_string();
        judged(judge_status(status, &|_| None, body.as_bytes(), SystemTime::UNIX_EPOCH)).as_str()
    }

    #[test]
    fn an_upstream_without_a_list_has_not_failed() {
        for status in [400, 403, 404, 405, 410, 422, 501] {
            assert_eq!(of(status, "not here"), "no_model_list", "{status}");
        }
    }

    #[test]
    fn a_key_that_may_only_not_list_models_is_no_wrong_key() {
        assert_eq!(of(401, "You have insufficient permissions. Missing scopes: api.model.read."), "no_model_list");
        assert_eq!(of(401, "Incorrect API key provided"), "auth_invalid");
    }

    #[test]
    fn what_would_fail_any_call_is_a_failure() {
        for (status, outcome) in [
            (400, "auth_invalid"),
            (402, "quota_exhausted"),
            (429, "rate_limited"),
            (500, "server_error"),
            (503, "overloaded"),
        ] {
            assert_eq!(of(status, if status == 400 { "API key not valid" } else { "x" }), outcome, "{status}");
        }
        assert_eq!(judged(Failure::plain(ErrorClass::ConnectFailed, "refused")).as_str(), "connect_failed");
    }
}
