//! Liveness, readiness and metrics, for whoever watches the process.

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde_json::json;

use super::Worker;
use crate::call::unix_s;
use crate::telemetry::budgets::BudgetFigures;

/// `GET /healthz`: the process answers.
pub async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

/// `GET /readyz`: new requests are welcome; 503 once the gateway is stopping.
pub async fn ready(worker: Data<Worker>) -> HttpResponse {
    if worker.gateway.drain.started() {
        return HttpResponse::ServiceUnavailable().json(json!({ "status": "stopping" }));
    }
    HttpResponse::Ok().json(json!({ "status": "ready" }))
}

/// `GET /metrics`: Prometheus' text format.
pub async fn metrics(worker: Data<Worker>) -> HttpResponse {
    let gateway = &worker.gateway;
    let books = gateway.books.as_ref().map(|books| books.figures());
    let mut text = gateway.metrics.render(&gateway.actors.board, books.as_ref());
    let statements = gateway.budgets.accounts.statements(unix_s());
    let ledger = gateway.books.as_ref().map(|books| (&*books.budget_view, books.journal().durable()));
    BudgetFigures { statements: &statements, waiting: gateway.budgets.waiting(), ledger }.render(&mut text);
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text)
}

/// `GET /`: says what this is, for people and for clients that probe the base URL.
pub async fn root() -> HttpResponse {
    let version = env!("CARGO_PKG_VERSION");
    HttpResponse::Ok().json(json!({ "name": "bursar", "version": version, "api": "/v1", "metrics": "/metrics" }))
}

/// `GET /openapi.json`: this API, for programs that read about it.
pub async fn openapi() -> HttpResponse {
    HttpResponse::Ok().json(super::openapi::document())
}
