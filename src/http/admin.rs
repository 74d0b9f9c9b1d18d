//! The admin API: what the running gateway tells its operator, by socket or with the admin token.

use std::sync::Arc;
use std::time::Instant;

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use bursar_actors::{BreakerState, EndpointStatus, KeyView, Views};
use serde_json::{Value, json};

use super::auth::presented;
use super::error::respond;
use super::reload::{Refused, shown};
use super::{Local, Worker, request_id};
use crate::error::GatewayError;

/// `GET /admin/api/status`.
pub async fn status(request: HttpRequest, worker: Data<Worker>) -> HttpResponse {
    if let Err(error) = authorize(&request, &worker) {
        return respond(&error, &request_id(&request));
    }
    let gateway = &worker.gateway;
    let board = &gateway.actors.board;
    let config = gateway.config.load();
    HttpResponse::Ok().json(json!({
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
        "models": gateway.routes.load().public_models().len(),
        "sources": config.sources,
        "warnings": config.warnings,
        "config_error": gateway.config_fault().as_deref(),
    }))
}

/// `GET /admin/api/providers`: every endpoint with its keys.
pub async fn providers(request: HttpRequest, worker: Data<Worker>) -> HttpResponse {
    if let Err(error) = authorize(&request, &worker) {
        return respond(&error, &request_id(&request));
    }
    match worker.gateway.actors.supervisor.send(Views).await {
        Ok(endpoints) => HttpResponse::Ok().json(endpoints.iter().map(endpoint).collect::<Vec<_>>()),
        Err(_) => respond(&GatewayError::ShuttingDown, &request_id(&request)),
    }
}

/// `POST /admin/api/reload`: reads the configuration again and says what changed. 422 with all faults where it has any.
pub async fn reload(request: HttpRequest, worker: Data<Worker>) -> HttpResponse {
    if let Err(error) = authorize(&request, &worker) {
        return respond(&error, &request_id(&request));
    }
    match Arc::clone(&worker.gateway).reload_from_sources("admin API").await {
        Ok(changes) => {
            let warnings = &worker.gateway.config.load().warnings;
            HttpResponse::Ok().json(json!({ "changes": shown(&changes), "warnings": warnings }))
        }
        Err(refused) => refusal(&request, &refused),
    }
}

/// `GET /admin/api/config/diff`: what a reload would change.
pub async fn config_diff(request: HttpRequest, worker: Data<Worker>) -> HttpResponse {
    if let Err(error) = authorize(&request, &worker) {
        return respond(&error, &request_id(&request));
    }
    match worker.gateway.preview().await {
        Ok((changes, warnings)) => HttpResponse::Ok().json(json!({ "changes": shown(&changes), "warnings": warnings })),
        Err(refused) => refusal(&request, &refused),
    }
}

fn refusal(request: &HttpRequest, refused: &Refused) -> HttpResponse {
    let faults: Vec<String> = match refused {
        Refused::Faults(faults) => faults.iter().map(ToString::to_string).collect(),
        Refused::NoSources => vec!["this gateway was not started from files; there is nothing to read again".into()],
        Refused::Stopping => return respond(&GatewayError::ShuttingDown, &request_id(request)),
    };
    HttpResponse::UnprocessableEntity().json(json!({ "faults": faults }))
}

fn endpoint(status: &EndpointStatus) -> Value {
    let now = Instant::now();
    let view = &status.view;
    let open_s = match view.breaker {
        BreakerState::Open { until } => Some(until.saturating_duration_since(now).as_secs()),
        _ => None,
    };
    let millis = |at: usize| view.pulse.latency[at].last_us().map(|us| us / 1e3);
    json!({
        "endpoint": status.id,
        "breaker": if view.quarantined { "quarantined" } else { view.breaker.as_str() },
        "breaker_open_s": open_s,
        "in_flight": view.pulse.in_flight,
        "in_flight_max": view.in_flight_max,
        "error_ratio": view.pulse.errors.share(now),
        "first_token_ms": millis(0),
        "whole_reply_ms": millis(1),
        "restarts": status.restarts,
        "keys": status.keys.iter().map(key).collect::<Vec<_>>(),
    })
}

fn key(view: &KeyView) -> Value {
    json!({
        "key": view.id,
        "state": view.state,
        "back_in_s": view.back_in.map(|back_in| back_in.as_secs_f64()),
        "in_flight": view.in_flight,
        "served": view.served,
        "failed": view.failed,
        "requests_left": view.requests_left,
        "tokens_left": view.tokens_left,
        "last_error": view.last_error,
    })
}

/// Lets in whoever came through the socket in the data directory, or brings the admin token.
fn authorize(request: &HttpRequest, worker: &Worker) -> Result<(), GatewayError> {
    if request.conn_data::<Local>().is_some() {
        return Ok(());
    }
    let token = presented(request).map(|token| blake3::hash(token.as_bytes()));
    // `blake3::Hash` compares in constant time.
    if token.is_some() && token == worker.gateway.admin_token {
        return Ok(());
    }
    Err(GatewayError::InvalidApiKey)
}
