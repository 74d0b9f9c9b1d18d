//! Who administrates: every admin route passes here before its handler runs.

use std::sync::Arc;
use std::time::Instant;

use actix_web::http::Method;
use actix_web::http::header::{CACHE_CONTROL, HeaderValue};
use actix_web::web::{Data, Payload, Query};
use actix_web::{HttpRequest, HttpResponse};
use bursar_actors::admins::{Right, Role};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use serde::de::DeserializeOwned;

use super::auth::presented;
use super::body::{self, Bounds};
use super::error::respond;
use super::inference::network;
use super::unread::closing;
use super::{Local, Worker, request_id};
use crate::error::{Cause, GatewayError};

/// Most bytes of an order to the admin API.
const ORDER_MAX: usize = 64 * 1024;

/// How records call whoever comes through the socket in the data directory.
pub const SOCKET: &str = "socket";
/// How records call whoever brings the token that the first start made.
pub const TOKEN: &str = "admin";

/// Who acts.
#[derive(Debug, Clone)]
pub struct Admin {
    /// As the books call it.
    pub id: Arc<str>,
    pub role: Role,
}

impl Admin {
    fn of_everything(id: &str) -> Self {
        Self { id: id.into(), role: Role::Admin }
    }
}

/// A request to an admin route from somebody who may make it.
pub struct Asked {
    pub admin: Admin,
    pub request: HttpRequest,
    pub worker: Data<Worker>,
    /// Empty for reads.
    pub body: Bytes,
}

/// What answers an admin route.
pub type Handler = fn(Asked) -> LocalBoxFuture<'static, Result<HttpResponse, GatewayError>>;

impl Asked {
    /// Returns whether the request came through the socket in the data directory.
    pub fn is_local(&self) -> bool {
        self.request.conn_data::<Local>().is_some()
    }

    /// Returns a variable of the path, empty where the route has none of that name.
    pub fn part(&self, name: &str) -> &str {
        self.request.match_info().get(name).unwrap_or_default()
    }

    /// Returns the query; 422 with what is wrong.
    pub fn query<T: DeserializeOwned>(&self) -> Result<T, GatewayError> {
        let query = Query::<T>::from_query(self.request.query_string());
        query.map(Query::into_inner).map_err(|error| invalid(format!("the query cannot be understood: {error}")))
    }

    /// Returns the body; 422 with what is wrong.
    pub fn fields<T: DeserializeOwned>(&self) -> Result<T, GatewayError> {
        // serde would take a list for the fields in their order.
        if !self.body.trim_ascii_start().starts_with(b"{") {
            return Err(invalid("the body has to be a JSON object".to_owned()));
        }
        // The words of serde name fields, never their values, but for a value of a wrong kind; names of users stay out of logs.
        serde_json::from_slice(&self.body).map_err(|error| invalid(format!("the body cannot be understood: {error}")))
    }
}

/// Returns the refusal of an order that was given wrongly.
pub fn invalid(fault: String) -> GatewayError {
    GatewayError::Refused { cause: Cause::Invalid, faults: vec![fault] }
}

/// Answers an admin route by `handler`, if whoever asks has the right.
pub async fn administrate(
    right: Right,
    handler: Handler,
    request: HttpRequest,
    mut payload: Payload,
    worker: Data<Worker>,
) -> HttpResponse {
    let id = request_id(&request);
    let read = async {
        let admin = authorize(&request, &worker, right)?;
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            return Ok((admin, Bytes::new()));
        }
        let until = Instant::now() + worker.gateway.client_timeout;
        let bounds = Bounds { size: ORDER_MAX, until };
        Ok((admin, body::read(&request, &mut payload, bounds, &worker).await?))
    };
    let mut answer = match read.await {
        Err(error) => closing(respond(&error, &id), payload),
        Ok((admin, body)) => {
            handler(Asked { admin, request, worker, body }).await.unwrap_or_else(|error| respond(&error, &id))
        }
    };
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// Returns who asks: whoever came through the socket in the data directory, or brings the admin token. Nobody else is let in,
/// and somebody without the right gets words instead.
fn authorize(request: &HttpRequest, worker: &Worker, right: Right) -> Result<Admin, GatewayError> {
    let Some(admin) = identify(request, worker) else {
        let error = GatewayError::InvalidApiKey;
        if let Some(books) = &worker.gateway.books {
            books.strangers.count(error.code(), request.peer_addr().map(|peer| network(peer.ip())).as_deref());
        }
        return Err(error);
    };
    if !admin.role.may(right) {
        let fault = format!("`{}` is {} and may not {}; ask an admin", admin.id, admin.role, right.as_words());
        return Err(GatewayError::Refused { cause: Cause::Beyond, faults: vec![fault] });
    }
    Ok(admin)
}

fn identify(request: &HttpRequest, worker: &Worker) -> Option<Admin> {
    if request.conn_data::<Local>().is_some() {
        return Some(Admin::of_everything(SOCKET));
    }
    let token = presented(request).map(|token| blake3::hash(token.as_bytes()))?;
    // `blake3::Hash` compares in constant time.
    (Some(token) == worker.gateway.admin_token).then(|| Admin::of_everything(TOKEN))
}
