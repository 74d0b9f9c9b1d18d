//! The admin API of the books: `/admin/api/audit/…`, by socket or with the admin token.
//!
//! Everything is answered by `books::desk`, which writes down what is asked before it shows anything: 503 where it cannot.
//! Folders for exports and backups are named by the operator, so these two are for the socket only: whoever holds no more
//! than the token must not choose where this process writes.

use std::sync::Arc;
use std::time::Instant;

use actix_web::http::Method;
use actix_web::web::{self, Data, Payload, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, guard};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::admin::{actor, authorize};
use super::body::{self, Bounds};
use super::error::respond;
use super::{Local, Worker, no_method, options, post, read_only, request_id};
use crate::books::desk::{self, Ask, DeskError, Reply};
use crate::error::GatewayError;

/// Most bytes of an order.
const ORDER_MAX: usize = 64 * 1024;

/// Adds the routes.
pub fn routes(config: &mut ServiceConfig) {
    let at = |path: &str| format!("/admin/api/audit/{path}");
    config.service(read_only(&at("status"), web::to(read)));
    config.service(read_only(&at("records"), web::to(read)));
    config.service(read_only(&at("records/{index}"), web::to(read)));
    config.service(read_only(&at("records/{index}/{body:body}"), web::to(read)));
    config.service(read_only(&at("proof/inclusion"), web::to(read)));
    config.service(read_only(&at("proof/consistency"), web::to(read)));
    for act in ["checkpoint", "rebuild", "export", "backup", "erase"] {
        config.service(post(&at(act), web::to(order)));
    }
    const ALLOW: &str = "GET, HEAD, POST, DELETE, OPTIONS";
    let reads = guard::Any(guard::Get()).or(guard::Head());
    let changes = guard::Any(guard::Post()).or(guard::Delete());
    let holds = web::resource(at("holds"))
        .route(web::route().guard(reads).to(read))
        .route(web::route().guard(changes).to(order))
        .route(options(ALLOW))
        .default_service(web::to(no_method(ALLOW)));
    config.service(holds);
}

/// Everything that is read.
async fn read(request: HttpRequest, worker: Data<Worker>) -> HttpResponse {
    if let Err(error) = authorize(&request, &worker) {
        return respond(&error, &request_id(&request));
    }
    match question(&request) {
        Ok(ask) => answer(&request, &worker, ask).await,
        Err(error) => refusal(&request, &error),
    }
}

/// Everything that is done.
async fn order(request: HttpRequest, worker: Data<Worker>, mut payload: Payload) -> HttpResponse {
    if let Err(error) = authorize(&request, &worker) {
        return super::unread::closing(respond(&error, &request_id(&request)), payload);
    }
    let until = Instant::now() + worker.gateway.client_timeout;
    let bounds = Bounds { size: ORDER_MAX, until };
    let body = match body::read(&request, &mut payload, bounds, &worker).await {
        Ok(body) => body,
        Err(error) => return super::unread::closing(respond(&error, &request_id(&request)), payload),
    };
    match instruction(&request, &body) {
        Ok(ask) => answer(&request, &worker, ask).await,
        Err(error) => refusal(&request, &error),
    }
}

/// Returns the last part of the path that names what is asked: `records`, `proof/inclusion`, `holds`.
fn subject(request: &HttpRequest) -> &str {
    request.path().strip_prefix("/admin/api/audit/").unwrap_or_default()
}

fn question(request: &HttpRequest) -> Result<Ask, DeskError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inclusion {
        index: u64,
        size: Option<u64>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Consistency {
        old: u64,
        size: Option<u64>,
    }
    if let Some(text) = request.match_info().get("index") {
        let index = text.parse().map_err(|_| DeskError::Invalid(format!("`{text}` is no index of a record")))?;
        return Ok(if request.match_info().get("body").is_some() { Ask::Body(index) } else { Ask::Show(index) });
    }
    Ok(match subject(request) {
        "status" => Ask::Status,
        "records" => Ask::Search(parameters(request)?),
        "holds" => Ask::Holds,
        "proof/inclusion" => {
            let Inclusion { index, size } = parameters(request)?;
            Ask::Inclusion { index, size }
        }
        _ => {
            let Consistency { old, size } = parameters(request)?;
            Ask::Consistency { old, size }
        }
    })
}

fn instruction(request: &HttpRequest, body: &[u8]) -> Result<Ask, DeskError> {
    let is_local = request.conn_data::<Local>().is_some();
    let what = subject(request);
    if matches!(what, "export" | "backup") && !is_local {
        return Err(DeskError::Invalid(format!(
            "an {what} goes to a folder of this machine and is ordered there: `bursar audit export`, `bursar backup`"
        )));
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Backup {
        folder: std::path::PathBuf,
    }
    Ok(match what {
        "checkpoint" => Ask::Checkpoint,
        "rebuild" => Ask::Rebuild,
        "export" => Ask::Export(fields(body)?),
        "backup" => {
            let Backup { folder } = fields(body)?;
            Ask::Backup { folder }
        }
        "erase" => Ask::Erase(fields(body)?),
        _ if request.method() == Method::DELETE => Ask::Release(fields(body)?),
        _ => Ask::Hold(fields(body)?),
    })
}

fn parameters<T: DeserializeOwned>(request: &HttpRequest) -> Result<T, DeskError> {
    let query = Query::<T>::from_query(request.query_string());
    query.map(Query::into_inner).map_err(|error| DeskError::Invalid(format!("the query cannot be understood: {error}")))
}

fn fields<T: DeserializeOwned>(body: &[u8]) -> Result<T, DeskError> {
    // The words of serde name fields, never their values, but for a value of a wrong kind; names of users stay out of logs.
    serde_json::from_slice(body).map_err(|error| DeskError::Invalid(format!("the body cannot be understood: {error}")))
}

async fn answer(request: &HttpRequest, worker: &Worker, ask: Ask) -> HttpResponse {
    let Some(books) = worker.gateway.books.clone() else {
        let off = "no books are kept: audit.enabled = false".to_owned();
        return refusal(request, &DeskError::Missing(off));
    };
    let actor = actor(request);
    // In a task of its own: what was begun is finished and written down, though the client hangs up.
    let answered = actix_web::rt::spawn(async move { desk::answer(&Arc::clone(&books), actor, ask).await }).await;
    match answered {
        Ok(Ok(Reply::Json(answer))) => kept_from_caches(HttpResponse::Ok()).json(answer),
        Ok(Ok(Reply::Content { part, bytes })) => kept_from_caches(HttpResponse::Ok())
            .insert_header(("content-type", "application/octet-stream"))
            .insert_header(("x-content-type-options", "nosniff"))
            .insert_header(("x-bursar-part", part))
            .body(bytes),
        Ok(Err(error)) => refusal(request, &error),
        Err(_) => respond(&GatewayError::Internal, &request_id(request)),
    }
}

fn kept_from_caches(mut answer: HttpResponseBuilder) -> HttpResponseBuilder {
    answer.insert_header(("cache-control", "no-store"));
    answer
}

fn refusal(request: &HttpRequest, error: &DeskError) -> HttpResponse {
    let answer = match error {
        DeskError::NotRecorded(why) => {
            return respond(&GatewayError::NotRecorded { why: why.to_string() }, &request_id(request));
        }
        DeskError::Invalid(_) => HttpResponse::UnprocessableEntity(),
        DeskError::Missing(_) => HttpResponse::NotFound(),
        DeskError::Gone(_) => HttpResponse::Gone(),
        DeskError::Held(_) => HttpResponse::Conflict(),
        DeskError::Failed(_) => HttpResponse::InternalServerError(),
    };
    kept_from_caches(answer).json(json!({ "faults": [error.to_string()] }))
}
