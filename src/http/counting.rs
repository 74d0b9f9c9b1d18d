//! The routes that count the tokens of a request without asking a model: an estimate by size, and the answer says so.

use actix_web::http::header::{CONTENT_TYPE, HeaderName};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;

use super::error::respond_in;
use super::inference::{read, refused};
use super::unread::closing;
use super::{Worker, request_id};
use crate::call::RequestId;
use crate::error::GatewayError;
use crate::providers::anthropic::estimate_tokens;
use crate::providers::clients;
use crate::schema::Operation;

const X_BURSAR_ESTIMATE: HeaderName = HeaderName::from_static("x-bursar-estimate");

/// Counts the tokens that a request for `operation` would send.
pub async fn count(
    operation: Operation,
    request: HttpRequest,
    mut payload: Payload,
    worker: Data<Worker>,
) -> HttpResponse {
    let id = request_id(&request);
    match estimate(operation, &id, &request, &mut payload, &worker).await {
        Err(error) => {
            refused(&worker, &request, &id, &error);
            closing(respond_in(operation.dialect(), &error, &id), payload)
        }
        Ok(answer) => {
            let mut head = HttpResponse::Ok();
            head.insert_header((CONTENT_TYPE, "application/json"));
            head.insert_header((X_BURSAR_ESTIMATE, "by size"));
            head.insert_header(("x-request-id", id.as_str()));
            head.body(answer)
        }
    }
}

async fn estimate(
    operation: Operation,
    id: &RequestId,
    request: &HttpRequest,
    payload: &mut Payload,
    worker: &Worker,
) -> Result<Bytes, GatewayError> {
    let call = read(operation, id, request, payload, worker).await?;
    let routes = worker.gateway.routes.load();
    let asked = call.head.model.as_deref();
    match routes.resolve(asked, operation) {
        Some(route) if route.allows(&call.caller) => {}
        Some(route) => return Err(GatewayError::ModelNotAllowed { asked: route.asked.clone() }),
        None => return Err(routes.not_found(asked, &call.caller)),
    }
    let request = clients::read_to_count(operation, &call.body).map_err(GatewayError::Invalid)?;
    Ok(clients::counted(operation, estimate_tokens(&request)))
}
