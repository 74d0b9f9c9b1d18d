//! Who administrates: every admin route passes here before its handler runs.

use std::sync::Arc;
use std::time::Instant;

use actix_web::http::Method;
use actix_web::http::header::{CACHE_CONTROL, HeaderValue};
use actix_web::web::{Data, Payload, Query};
use actix_web::{HttpRequest, HttpResponse};
use bursar_actors::admins::{Right, Role, User};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use serde::de::DeserializeOwned;

use super::auth::presented;
use super::body::{self, Bounds};
use super::error::respond;
use super::inference::network;
use super::session::signed_in;
use super::unread::closing;
use super::{Local, Worker, request_id};
use crate::call::unix_s;
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
    /// Whether it is a browser's cookie that says so.
    pub by_cookie: bool,
}

impl Admin {
    /// Returns somebody with a role.
    pub fn new(id: &str, role: Role) -> Self {
        Self { id: id.into(), role, by_cookie: false }
    }

    /// Returns a user.
    pub fn of(user: &User) -> Self {
        Self::new(&user.id, user.role())
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

/// Returns who asks. Nobody unknown is let in, and somebody without the right gets words instead.
fn authorize(request: &HttpRequest, worker: &Worker, right: Right) -> Result<Admin, GatewayError> {
    let Some(admin) = identify(request, worker)? else {
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

/// Returns whoever came through the socket in the data directory, brings the first token, a user's, or one of an issuer that
/// gives a role, or is signed in. A token that is sent and wrong is not made good by a cookie.
fn identify(request: &HttpRequest, worker: &Worker) -> Result<Option<Admin>, GatewayError> {
    if request.conn_data::<Local>().is_some() {
        return Ok(Some(Admin::new(SOCKET, Role::Admin)));
    }
    let gateway = &worker.gateway;
    let Some(token) = presented(request) else {
        let admin = signed_in(request, &gateway.doors)?;
        return Ok(admin.map(|admin| Admin { by_cookie: true, ..admin }));
    };
    // `blake3::Hash` compares in constant time.
    if Some(blake3::hash(token.as_bytes())) == gateway.admin_token {
        return Ok(Some(Admin::new(TOKEN, Role::Admin)));
    }
    if let Some(user) = gateway.doors.staff.load().holder_of(token) {
        return Ok(Some(Admin::of(user)));
    }
    let bearer = gateway.issuers.load().verify(token, unix_s().unsigned_abs());
    Ok(bearer.and_then(|bearer| Some(Admin::new(&bearer.key, bearer.role.clone()?))))
}
