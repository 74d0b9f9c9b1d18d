//! The routes that count the tokens of a request without asking a model: by the upstream's own count where it has one, else
//! by an estimate, and the answer says so.

use std::cell::Cell;

use actix_web::http::header::{CONTENT_TYPE, HeaderName};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use bursar_actors::limits::Standing;

use super::error::respond_in;
use super::inference::{id_headers, read, refused};
use super::unread::closing;
use super::{Worker, limits, request_id, responses};
use crate::books::Page;
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
    let standing = Cell::new(None);
    let mut answer = match answer(operation, &id, &request, &mut payload, &worker, &standing).await {
        Err(error) => {
            refused(&worker, &request, &id, &error);
            closing(respond_in(operation.dialect(), &error, &id), payload)
        }
        Ok((tokens, exact)) => {
            let mut head = HttpResponse::Ok();
            head.insert_header((CONTENT_TYPE, "application/json"));
            if exact == Exact::No {
                head.insert_header((X_BURSAR_ESTIMATE, "by size"));
            }
            id_headers(&mut head, operation, &id);
            head.body(clients::counted(operation, tokens))
        }
    };
    limits::tell(answer.headers_mut(), operation.dialect(), standing.get());
    answer
}

/// Whether it is the upstream's own count.
#[derive(PartialEq)]
enum Exact {
    Yes,
    No,
}

async fn answer(
    operation: Operation,
    id: &RequestId,
    request: &HttpRequest,
    payload: &mut Payload,
    worker: &Worker,
    standing: &Cell<Option<Standing>>,
) -> Result<(u64, Exact), GatewayError> {
    let call = read(operation, id, request, payload, worker).await?;
    let call = responses::prepare(&call, worker).await?.map_or(call, |(call, _)| call);
    let routes = worker.gateway.routes.load_full();
    let asked = call.head.model.as_deref();
    let Some(route) = routes.resolve(asked, operation) else { return Err(routes.not_found(asked, &call.caller)) };
    route.admit(&call.caller)?;
    // Held until the number is known, since the question is in flight for as long.
    let _grant = worker.pipeline.let_count_in(&routes, &route, &call, |now| standing.set(Some(now)))?;
    let page = worker.gateway.books.as_ref().map(|books| Page::open(books, &call, "count_tokens"));
    // What is counted elsewhere leaves the house like what is answered there.
    let (_, guarded) = worker.pipeline.guard(&routes.guards, &call, &route.label, 0).await;
    let call = guarded?.call.unwrap_or(call);
    let request = clients::read_to_count(operation, &call.body).map_err(GatewayError::Invalid)?;
    let estimate = estimate_tokens(&request);
    let counted = worker.pipeline.count(&call, &route, request, page).await;
    Ok(counted.map_or((estimate, Exact::No), |tokens| (tokens, Exact::Yes)))
}
