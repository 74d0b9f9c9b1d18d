//! `GET /v1/models` and `/v1/models/{id}`: what the caller may ask for.

use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use super::error::respond_in;
use super::{Worker, request_id};
use crate::pipeline::route::PublicModel;
use crate::providers::{anthropic, gemini};
use crate::schema::Operation;
use crate::schema::chat::Dialect;

/// Lists aliases first, then `provider/model` of every target, then what upstreams say they have: in Anthropic's shape to
/// its clients, who name a version of its API, else in OpenAI's.
pub async fn list(request: HttpRequest, worker: Data<Worker>) -> HttpResponse {
    list_in(asked_in(&request), &request, &worker)
}

/// The same in Google's shape.
pub async fn list_gemini(request: HttpRequest, worker: Data<Worker>) -> HttpResponse {
    list_in(Dialect::Gemini, &request, &worker)
}

/// Returns the dialect of whoever asks outside the routes that belong to one.
pub(super) fn asked_in(request: &HttpRequest) -> Dialect {
    let sends = |header: &str| request.headers().contains_key(header);
    if sends("anthropic-version") {
        Dialect::Anthropic
    } else if sends("x-goog-api-key") || sends("x-goog-api-client") {
        // Google's SDKs ask under /v1, too.
        Dialect::Gemini
    } else {
        Dialect::OpenAi
    }
}

fn list_in(dialect: Dialect, request: &HttpRequest, worker: &Worker) -> HttpResponse {
    let id = request_id(request);
    let caller = match worker.gateway.clients.load().authenticate(request) {
        Ok(caller) => caller,
        Err(error) => return respond_in(dialect, &error, &id),
    };
    let models = worker.gateway.catalog.models_of(&worker.gateway.routes.load(), &caller);
    let mut head = HttpResponse::Ok();
    head.insert_header(("x-request-id", id.as_str()));
    let pairs: Vec<_> = models.iter().map(|model| (model.id.clone(), model.owned_by.clone())).collect();
    let body = match dialect {
        Dialect::Anthropic => anthropic::write_models(&pairs),
        Dialect::Gemini => gemini::write_models(&pairs),
        _ => {
            let data: Vec<Value> = models.iter().map(shape).collect();
            return head.json(json!({ "object": "list", "data": data }));
        }
    };
    head.insert_header((CONTENT_TYPE, "application/json")).body(body)
}

/// Shows one model; the id may contain slashes. A direct name works here as it does in a request.
pub async fn show(request: HttpRequest, asked: Path<String>, worker: Data<Worker>) -> HttpResponse {
    show_in(asked_in(&request), &request, &asked, &worker)
}

/// The same in Google's shape.
pub async fn show_gemini(request: HttpRequest, asked: Path<String>, worker: Data<Worker>) -> HttpResponse {
    show_in(Dialect::Gemini, &request, &asked, &worker)
}

fn show_in(dialect: Dialect, request: &HttpRequest, asked: &str, worker: &Worker) -> HttpResponse {
    let id = request_id(request);
    let found = worker.gateway.clients.load().authenticate(request).and_then(|caller| {
        let routes = worker.gateway.routes.load();
        let route = routes.resolve(Some(asked), Operation::ChatCompletions);
        // What the caller may not use does not exist for it.
        let Some(route) = route.filter(|route| route.admit(&caller).is_ok()) else {
            return Err(routes.not_found(Some(asked), &caller));
        };
        let owner = if routes.alias(asked).is_some() { "bursar" } else { route.destinations[0].provider.as_str() };
        Ok(PublicModel { id: asked.to_string(), owned_by: owner.into() })
    });
    let model = match found {
        Err(error) => return respond_in(dialect, &error, &id),
        Ok(model) => model,
    };
    let mut head = HttpResponse::Ok();
    head.insert_header(("x-request-id", id.as_str()));
    let body = match dialect {
        Dialect::Anthropic => anthropic::write_model(&model.id, &model.owned_by),
        Dialect::Gemini => gemini::write_model(&model.id, &model.owned_by),
        _ => return head.json(shape(&model)),
    };
    head.insert_header((CONTENT_TYPE, "application/json")).body(body)
}

fn shape(model: &PublicModel) -> Value {
    // Clients want a time; nobody knows when an alias was "created", so it is a constant rather than a changing lie.
    json!({ "id": model.id, "object": "model", "created": 1_767_225_600, "owned_by": model.owned_by })
}
