//! The gateway's routes and its server.
//!
//! One server listens on the configured address and on a socket in the data directory. Who comes through the socket
//! is the operator (its folder is closed to others) and needs no token.

mod admin;
mod audit;
pub mod auth;
mod authorize;
mod body;
mod budgets;
mod callers;
mod counting;
pub mod descriptors;
mod directory;
pub mod error;
mod gateway;
mod health;
mod idempotency;
mod inference;
mod limits;
mod models;
mod openapi;
mod reload;
mod responses;
mod session;
mod sse;
mod table;
mod unread;
mod users;

use std::any::Any;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Extensions;
pub use actix_web::dev::{Server, ServerHandle};
#[cfg(target_os = "linux")]
use actix_web::rt::net::TcpStream;
use actix_web::rt::net::UnixStream;
use actix_web::web::{Data, Payload};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};

#[cfg(target_os = "linux")]
use socket2::SockRef;

use crate::call::RequestId;
use crate::error::GatewayError;
use crate::pipeline::Pipeline;
use crate::schema::chat::Dialect;
use crate::upstream::Upstream;
pub use gateway::{Gateway, Opening};
pub use openapi::document as openapi_document;
pub use reload::Refused;

/// How long an idle client connection is kept; longer than usual load balancers keep theirs (60 s), so that they close
/// first and no request meets a closing connection.
const IDLE_KEPT: Duration = Duration::from_secs(75);
/// Most bytes of an answer that the kernel takes before the client's window opens. By itself it would take megabytes for
/// each client that reads slowly.
#[cfg(target_os = "linux")]
const UNSENT_MAX: u32 = 64 * 1024;
/// What the server waits beyond `server.shutdown_grace`, in which ending streams say so.
const STOP_MARGIN: Duration = Duration::from_secs(2);

/// One worker thread's share of the gateway.
pub struct Worker {
    pub gateway: Arc<Gateway>,
    pub pipeline: Rc<Pipeline>,
}

/// Marks a connection that came through the socket in the data directory.
pub struct Local;

/// Starts serving on both listeners. The returned server runs until it is stopped by its handle.
pub fn serve(gateway: Arc<Gateway>, tcp: TcpListener, socket: Option<UnixListener>) -> std::io::Result<Server> {
    let (workers, grace) = (gateway.workers, gateway.shutdown_grace);
    let (client_timeout, unread_timeout) = (gateway.client_timeout, gateway.unread_timeout);
    let factory = move || {
        let pipeline = Rc::new(Pipeline {
            routes: gateway.routes.clone(),
            actors: gateway.actors.clone(),
            drain: gateway.drain.clone(),
            memory: gateway.memory.clone(),
            meters: gateway.meters.clone(),
            budgets: gateway.budgets.clone(),
            signatures: gateway.signatures.clone(),
            metrics: gateway.metrics.clone(),
            books: gateway.books.clone(),
            access_log: gateway.access_log,
            upstream: Upstream::default().with_credentials(gateway.credentials.clone()),
        });
        App::new().app_data(Data::new(Worker { gateway: gateway.clone(), pipeline })).configure(table::register)
    };
    let mut server = HttpServer::new(factory)
        .workers(workers)
        .max_connections(descriptors::connections_per_worker(workers))
        // Without it a chunk waits for the delayed ACK of the one before.
        .tcp_nodelay(true)
        // Without it a client that hangs up while the upstream is quiet goes unnoticed, and its call runs on.
        .h1_allow_half_closed(false)
        .client_request_timeout(client_timeout)
        .keep_alive(IDLE_KEPT)
        .shutdown_timeout((grace + STOP_MARGIN).as_secs())
        .on_connect(move |connection, data| on_connect(connection, data, unread_timeout))
        .disable_signals()
        .listen(tcp)?;
    if let Some(socket) = socket {
        server = server.listen_uds(socket)?;
    }
    Ok(server.run())
}

/// Marks what came through the socket; bounds how long a client may leave its answer unread.
fn on_connect(connection: &dyn Any, data: &mut Extensions, unread_timeout: Duration) {
    if connection.is::<UnixStream>() {
        data.insert(Local);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = unread_timeout;
    #[cfg(target_os = "linux")]
    if let Some(stream) = connection.downcast_ref::<TcpStream>() {
        // Best effort: without it a client that reads nothing holds its upstream call until the request's deadline. The
        // kernel counts a closed window too and resets the connection, which ends the upstream call.
        let _ = SockRef::from(stream).set_tcp_user_timeout(Some(unread_timeout));
        let _ = SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_MAX);
    }
}

async fn no_route(request: HttpRequest, payload: Payload) -> HttpResponse {
    let path = request.path().chars().take(200).collect();
    let dialect = if request.path().starts_with("/v1beta/") || request.path().starts_with("/gemini/") {
        Dialect::Gemini
    } else {
        models::asked_in(&request)
    };
    unread::closing(error::respond_in(dialect, &GatewayError::NoRoute { path }, &request_id(&request)), payload)
}

/// Returns the client's own request id if it sent a harmless one, else a new one.
fn request_id(request: &HttpRequest) -> RequestId {
    let sent = request.headers().get("x-bursar-request-id").and_then(|value| value.to_str().ok());
    sent.and_then(RequestId::from_client).unwrap_or_else(RequestId::generate)
}
