//! The admin API: what the running gateway tells its operator, and how it is steered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::HttpResponse;
use bursar_actors::audit::record::{Phase, Record};
use bursar_actors::{BreakerState, Command, EndpointStatus, KeyView, NoSuch, Steering, Views};
use serde::Deserialize;
use serde_json::{Value, json};

use super::authorize::{Asked, invalid};
use super::reload::{Refused, shown};
use crate::call::Caller;
use crate::error::{Cause, GatewayError};
use crate::oidc;
use crate::pipeline::witness::Standing;

/// How long a rest by hand is when the operator names no time.
const REST_FOR: &str = "10m";
/// A time that far away stands for "until woken".
const FOREVER: Duration = Duration::from_secs(365 * 86_400);

/// `GET /admin/api/status`.
pub async fn status(asked: Asked) -> Result<HttpResponse, GatewayError> {
    let gateway = &asked.worker.gateway;
    let board = &gateway.actors.board;
    let config = gateway.config.load();
    Ok(HttpResponse::Ok().json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "listen": gateway.listen.to_string(),
        "uptime_s": gateway.metrics.uptime().as_secs(),
        "stopping": gateway.drain.started(),
        "requests_admitted": gateway.metrics.admitted(),
        "requests_in_flight": gateway.metrics.in_flight(),
        "leases_granted": board.leases_granted(),
        "leases_reported": board.leases_reported(),
        "endpoint_restarts": board.restarts(),
        "client_keys": gateway.clients.load().count(),
        "models": gateway.catalog.models_of(&gateway.routes.load(), &Caller::default()).len(),
        "sources": config.sources,
        "warnings": config.warnings,
        "config_error": gateway.config_fault().as_deref(),
        "issuers": gateway.issuers.load().standings().iter().map(issuer).collect::<Vec<_>>(),
        "witnesses": gateway.witnesses.standings().iter().map(witness).collect::<Vec<_>>(),
    })))
}

/// `GET /admin/api/providers`: every endpoint with its keys.
pub async fn providers(asked: Asked) -> Result<HttpResponse, GatewayError> {
    let gateway = &asked.worker.gateway;
    let endpoints = gateway.actors.supervisor.send(Views).await.map_err(|_| GatewayError::ShuttingDown)?;
    let shown = endpoints.iter().map(|status| endpoint(status, gateway.catalog.count(&status.id)));
    Ok(HttpResponse::Ok().json(shown.collect::<Vec<_>>()))
}

/// Query of [`steer`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SteerQuery {
    key: Option<String>,
    #[serde(rename = "for")]
    time: Option<String>,
}

/// `POST /admin/api/providers/{endpoint}/{rest|drain|wake}`, with `?key=` for one key and `?for=10m` for a rest. 422 where
/// there is no such endpoint, key or action.
pub async fn steer(asked: Asked) -> Result<HttpResponse, GatewayError> {
    let query: SteerQuery = asked.query()?;
    let (endpoint, action) = (asked.part("endpoint"), asked.part("action"));
    let steering = match (action, query.time.as_deref().unwrap_or(REST_FOR)) {
        ("rest", time) => match humantime::parse_duration(time) {
            Ok(time) => Steering::Rest(time),
            Err(_) => return Err(invalid(format!("`{time}` is no duration; write `30s` or `10m`"))),
        },
        ("drain", _) => Steering::Drain,
        ("wake", _) => Steering::Wake,
        (other, _) => {
            return Err(invalid(format!("`{other}` is nothing that can be done; known: rest, drain, wake")));
        }
    };
    let key = query.key.clone().map(Into::into);
    let command = Command { endpoint: endpoint.into(), key, steering };
    let actors = &asked.worker.gateway.actors;
    let steered = actors.supervisor.send(command).await;
    note_steering(&asked, endpoint, action, &query, matches!(steered, Ok(Ok(()))));
    match steered.map_err(|_| GatewayError::ShuttingDown)? {
        Ok(()) => Ok(HttpResponse::Ok().json(json!({ "endpoint": endpoint, "key": query.key, "done": action }))),
        Err(NoSuch::Endpoint) => {
            let known = actors.board.views();
            let known = known.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>().join(", ");
            Err(invalid(format!("there is no endpoint `{endpoint}`; known: {known}")))
        }
        Err(NoSuch::Key) => {
            let key = query.key.unwrap_or_default();
            Err(invalid(format!("endpoint `{endpoint}` has no key `{key}`; `bursar providers list` shows them")))
        }
    }
}

/// Writes down what was done to an endpoint or key. Nobody waits for it: in an emergency a full disk must not keep an
/// operator from taking an endpoint out.
fn note_steering(asked: &Asked, endpoint: &str, action: &str, query: &SteerQuery, is_done: bool) {
    let Some(books) = &asked.worker.gateway.books else { return };
    let time = query.time.as_deref().map(|time| format!("for {time}"));
    let record = books.by_hand(Phase::Admin, &asked.admin.id, action);
    books.tell(Record {
        endpoint: Some(endpoint.into()),
        key: query.key.as_deref().map(Into::into),
        outcome: Some(if is_done { "done" } else { "failed" }.into()),
        note: time.map(Into::into),
        ..record
    });
}

/// `POST /admin/api/reload`: reads the configuration again and says what changed. 422 with all faults where it has any.
pub async fn reload(asked: Asked) -> Result<HttpResponse, GatewayError> {
    let gateway = &asked.worker.gateway;
    let changes = Arc::clone(gateway).reload_from_sources("admin API").await.map_err(refusal)?;
    let warnings = &gateway.config.load().warnings;
    Ok(HttpResponse::Ok().json(json!({ "changes": shown(&changes), "warnings": warnings })))
}

/// `GET /admin/api/config/diff`: what a reload would change.
pub async fn config_diff(asked: Asked) -> Result<HttpResponse, GatewayError> {
    let gateway = &asked.worker.gateway;
    if let Some(books) = &gateway.books {
        let noted = books.note(books.by_hand(Phase::Review, &asked.admin.id, "config.diff")).await;
        noted.map_err(|why| GatewayError::NotRecorded { why: why.to_string() })?;
    }
    let (changes, warnings) = gateway.preview().await.map_err(refusal)?;
    Ok(HttpResponse::Ok().json(json!({ "changes": shown(&changes), "warnings": warnings })))
}

fn refusal(refused: Refused) -> GatewayError {
    let faults: Vec<String> = match refused {
        Refused::Faults(faults) => faults.iter().map(ToString::to_string).collect(),
        Refused::NoSources => vec!["this gateway was not started from files; there is nothing to read again".into()],
        Refused::Stopping => return GatewayError::ShuttingDown,
    };
    GatewayError::Refused { cause: Cause::Invalid, faults }
}

fn witness(standing: &Standing) -> Value {
    let Standing { witness, told, fault } = standing;
    json!({ "witness": witness, "told_size": told, "fault": fault.as_deref() })
}

fn issuer(standing: &oidc::Standing) -> Value {
    let oidc::Standing { issuer, source, keys, fault } = standing;
    json!({ "issuer": issuer, "source": source, "keys": keys, "fault": fault })
}

fn endpoint(status: &EndpointStatus, models: Option<usize>) -> Value {
    let now = Instant::now();
    let view = &status.view;
    let open_s = match view.breaker {
        BreakerState::Open { until } => Some(until.saturating_duration_since(now).as_secs()),
        _ => None,
    };
    let paused_for = view.paused_until.map(|until| until.saturating_duration_since(now)).filter(|rest| !rest.is_zero());
    let paused = paused_for.map(|rest| if rest < FOREVER { "resting" } else { "drained" });
    let millis = |at: usize| view.pulse.latency[at].last_us().map(|us| us / 1e3);
    json!({
        "endpoint": status.id,
        "breaker": if view.quarantined { "quarantined" } else { view.breaker.as_str() },
        "paused": paused,
        "paused_s": paused_for.filter(|rest| *rest < FOREVER).map(|rest| rest.as_secs()),
        "breaker_open_s": open_s,
        "in_flight": view.pulse.in_flight,
        "in_flight_max": view.in_flight_max,
        "error_ratio": view.pulse.errors.share(now),
        "first_token_ms": millis(0),
        "whole_reply_ms": millis(1),
        "restarts": status.restarts,
        "models": models,
        "probe": status.probe.as_ref().map(|probe| probe.probed.as_str()),
        "probe_ago_s": status.probe.as_ref().map(|probe| now.saturating_duration_since(probe.at).as_secs()),
        "probe_key": status.probe.as_ref().map(|probe| &probe.key),
        "probe_error": status.probe.as_ref().and_then(|probe| probe.probed.why()),
        "keys": status.keys.iter().map(key).collect::<Vec<_>>(),
    })
}

fn key(view: &KeyView) -> Value {
    json!({
        "key": view.id,
        "state": view.state,
        "back_in_s": view.back_in.filter(|back_in| *back_in < FOREVER).map(|back_in| back_in.as_secs_f64()),
        "in_flight": view.in_flight,
        "served": view.served,
        "failed": view.failed,
        "requests_left": view.requests_left,
        "tokens_left": view.tokens_left,
        "last_error": view.last_error,
    })
}
