//! Stored Responses: a request that is kept or goes on from one that was, and the routes that show, list and delete.
//!
//! They belong to the team of the client key; to any other there are none (404). What is shown or deleted is written into the
//! books.

use std::rc::Rc;

use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::{Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use bursar_actors::audit::journal::Durability;
use bursar_actors::audit::record::Phase;
use bursar_actors::stored::{Lack, TURNS_MAX};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::respond;
use super::inference::{invalid, network, refused};
use super::{Worker, request_id};
use crate::call::{Call, Caller};
use crate::config::responses::StoreWhen;
use crate::error::GatewayError;
use crate::pipeline::keeping::Keeping;
use crate::providers::responses::{Marks, Page, Turn, input_items, item_list, with_conversation};
use crate::schema::{self, Operation};
use crate::stored::{Owner, Store};

/// Items on a page, unless a client asks for another number, and at most.
const PAGE: usize = 20;
const PAGE_MAX: usize = 100;

/// Returns `call` with the conversation that it goes on from, and what is to be done about its answer; nothing where it is
/// neither kept nor goes on from anything.
pub(super) async fn prepare(call: &Call, worker: &Worker) -> Result<Option<(Call, Rc<Keeping>)>, GatewayError> {
    if call.head.operation != Operation::Responses {
        return Ok(None);
    }
    let wish = &call.head.storing;
    let keeps = match worker.gateway.config.load().responses.store {
        StoreWhen::Never => false,
        StoreWhen::OnRequest => wish.store == Some(true),
        StoreWhen::Always => wish.store != Some(false),
    };
    if !keeps && wish.previous.is_none() {
        return Ok(None);
    }
    let store = worker.gateway.store()?;
    let owner = Owner { team: team(&call.caller), user: call.head.user.clone() };
    let longest = worker.gateway.routes.load().max_body;
    let before = match &wish.previous {
        Some(id) => conversation(&store, &owner.team, id, longest).await?,
        None => vec![],
    };
    let input = if keeps { input_items(&call.body).map_err(GatewayError::Invalid)? } else { vec![] };
    let body = with_conversation(&call.body, &before).map_err(GatewayError::Invalid)?;
    if body.len() > longest {
        return Err(too_long(longest));
    }
    let held = worker.pipeline.memory.for_request(body.len()).map_err(|_| GatewayError::Overloaded)?;
    let head = schema::read(Operation::Responses, &body).map_err(GatewayError::Invalid)?;
    let marks = Marks { store: keeps, previous: wish.previous.clone() };
    let head = schema::RequestHead { user: call.head.user.clone(), ..head };
    let call = Call { head, body: held.keep(body), ..call.clone() };
    Ok(Some((call, Rc::new(Keeping { store, owner, marks, input }))))
}

fn team(caller: &Caller) -> String {
    caller.team().map_or_else(String::new, ToString::to_string)
}

/// Returns all turns up to the Response `id`, the earliest first.
async fn conversation(store: &Store, team: &str, id: &str, bytes: usize) -> Result<Vec<Turn>, GatewayError> {
    let found = store.conversation(team, id, TURNS_MAX, bytes).await?;
    if found.turns.is_empty() && found.lacks == Some(Lack::Gone) {
        return Err(GatewayError::ResponseNotFound { id: id.to_owned(), param: Some("previous_response_id") });
    }
    match found.lacks {
        None => found.turns.iter().map(|turn| read(turn)).collect(),
        Some(Lack::TooLong) => Err(too_long(bytes)),
        Some(Lack::Gone) => {
            let message =
                "the beginning of this conversation was deleted, or its time is over; send all of it in `input`";
            Err(invalid(message, Some("previous_response_id")))
        }
    }
}

fn read(turn: &[u8]) -> Result<Turn, GatewayError> {
    serde_json::from_slice(turn)
        .map_err(|_| GatewayError::StoreUnavailable { why: "a stored Response is damaged".into() })
}

fn too_long(bytes: usize) -> GatewayError {
    let message = format!(
        "the conversation comes to more than {bytes} bytes (server.max_body) or {TURNS_MAX} answers; begin a new one with \
         what matters of it"
    );
    invalid(message, Some("previous_response_id"))
}

/// Query of [`show`].
#[derive(Deserialize)]
pub(super) struct ShowQuery {
    #[serde(default)]
    stream: bool,
}

/// `GET /v1/responses/{id}`.
pub(super) async fn show(request: HttpRequest, id: Path<String>, worker: Data<Worker>) -> HttpResponse {
    let shown = async {
        let caller = worker.gateway.clients.load().authenticate(&request)?;
        let query = query::<ShowQuery>(&request)?;
        if query.stream {
            return Err(invalid("a stored answer is not streamed again; leave out `stream`", Some("stream")));
        }
        let turn = latest(&worker, &caller, &id, 1).await?.pop().unwrap_or_default();
        note(&worker, &request, &caller, Phase::Review, "response_show")?;
        Ok(Value::Object(turn.response))
    };
    answer(&worker, &request, shown.await)
}

/// `DELETE /v1/responses/{id}`.
pub(super) async fn delete(request: HttpRequest, id: Path<String>, worker: Data<Worker>) -> HttpResponse {
    let deleted = async {
        let caller = worker.gateway.clients.load().authenticate(&request)?;
        note(&worker, &request, &caller, Phase::Erase, "response_delete")?;
        match worker.gateway.store()?.remove_response(&team(&caller), &id).await? {
            true => Ok(json!({ "id": *id, "object": "response", "deleted": true })),
            false => Err(GatewayError::ResponseNotFound { id: id.to_string(), param: None }),
        }
    };
    answer(&worker, &request, deleted.await)
}

/// Query of [`items`]; what a client wants included of the items is there or was never known.
#[derive(Deserialize)]
pub(super) struct ItemsQuery {
    limit: Option<usize>,
    order: Option<Order>,
    after: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Order {
    Asc,
    Desc,
}

/// `GET /v1/responses/{id}/input_items`: all that was put before the model, by pages, the latest first.
pub(super) async fn items(request: HttpRequest, id: Path<String>, worker: Data<Worker>) -> HttpResponse {
    let listed = async {
        let caller = worker.gateway.clients.load().authenticate(&request)?;
        let ItemsQuery { limit, order, after } = query(&request)?;
        let limit = limit.unwrap_or(PAGE);
        if !(1..=PAGE_MAX).contains(&limit) {
            return Err(invalid("`limit` must be from 1 to 100", Some("limit")));
        }
        let turns = latest(&worker, &caller, &id, TURNS_MAX).await?;
        let descending = order != Some(Order::Asc);
        let list = item_list(&turns, &Page { limit, descending, after: after.as_deref() });
        note(&worker, &request, &caller, Phase::Review, "response_input")?;
        list.map_err(GatewayError::Invalid)
    };
    answer(&worker, &request, listed.await)
}

/// Returns the last `turns` up to the Response `id` of the caller's team, as far as they are kept, the earliest first.
async fn latest(worker: &Worker, caller: &Caller, id: &str, turns: usize) -> Result<Vec<Turn>, GatewayError> {
    let bytes = worker.gateway.routes.load().max_body;
    // One alone is shown however long it is.
    let bytes = if turns == 1 { usize::MAX } else { bytes };
    let found = worker.gateway.store()?.conversation(&team(caller), id, turns, bytes).await?;
    match found.turns.as_slice() {
        [] => Err(GatewayError::ResponseNotFound { id: id.to_owned(), param: None }),
        turns => turns.iter().map(|turn| read(turn)).collect(),
    }
}

fn query<T: serde::de::DeserializeOwned>(request: &HttpRequest) -> Result<T, GatewayError> {
    let query = Query::<T>::from_query(request.query_string());
    query.map(Query::into_inner).map_err(|error| invalid(format!("the query cannot be understood: {error}"), None))
}

/// Writes down who looks at what is kept, or deletes it. Refused where that cannot be written.
fn note(
    worker: &Worker,
    request: &HttpRequest,
    caller: &Caller,
    phase: Phase,
    action: &'static str,
) -> Result<(), GatewayError> {
    let Some(books) = &worker.gateway.books else { return Ok(()) };
    let why = |why: bursar_actors::audit::journal::Refused| GatewayError::NotRecorded { why: why.to_string() };
    books.journal().admits(Durability::Lazy).map_err(why)?;
    let mut record = books.by_hand(phase, caller.key_id().map_or("", |id| id), action);
    let id = request_id(request);
    record.request = Some(id.as_str().into());
    record.team = caller.team().map(|team| team.as_str().into());
    record.network = request.peer_addr().map(|peer| network(peer.ip()).into());
    record.note = request.match_info().get("id").map(|id| id.chars().take(100).collect::<String>().into());
    books.tell(record);
    Ok(())
}

fn answer(worker: &Worker, request: &HttpRequest, answered: Result<Value, GatewayError>) -> HttpResponse {
    let id = request_id(request);
    match answered {
        Ok(answer) => HttpResponse::Ok()
            .insert_header((CACHE_CONTROL, "no-store"))
            .insert_header(("x-request-id", id.as_str()))
            .insert_header(("x-bursar-request-id", id.as_str()))
            .json(answer),
        Err(error) => {
            refused(worker, request, &id, &error);
            respond(&error, &id)
        }
    }
}
