//! Requests with an idempotency key: each is served once, and whoever repeats it gets the same answer again.
//!
//! Such a request runs in a task of its own and goes on though its client hangs up: who sends a key means to come again, and
//! is then answered by what was paid for already. Only what lasts is kept (`error::is_lasting`, and streams that came to
//! their end); after anything else the key is free. A process that ends in the midst leaves the key taken: nobody knows what
//! was paid for, and not to pay twice is what the key is for.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;

use actix_web::body::{BodyStream, BoxBody, MessageBody};
use actix_web::http::header::{HeaderMap, HeaderName};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use bursar_actors::stored::{Begun, Turn};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use tokio::sync::{mpsc, oneshot};

use super::Worker;
use super::error::{again, is_lasting};
use super::inference::{answer, id_headers, invalid};
use crate::call::Call;
use crate::error::{GatewayError, KeyTaken};
use crate::pipeline::memory::Held;
use crate::pipeline::settlement::{Settlement, Watch};
use crate::stored::{ANSWER_MAX, Answered, Owner, Store};
use crate::telemetry::metrics::Ending;

/// Headers that carry a key; the gateway's own comes first.
const HEADERS: [&str; 2] = ["x-bursar-idempotency-key", "idempotency-key"];
/// Longest key, in bytes.
const KEY_MAX: usize = 255;
const X_BURSAR_IDEMPOTENT_REPLAY: HeaderName = HeaderName::from_static("x-bursar-idempotent-replay");
const X_BURSAR_IDEMPOTENT_REQUEST: HeaderName = HeaderName::from_static("x-bursar-idempotent-request");
/// Headers that are answered again with an answer; the others are of one exchange.
const REPLAYED: [&str; 8] = [
    "content-type",
    "cache-control",
    "x-accel-buffering",
    "x-bursar-model",
    "x-bursar-alias",
    "x-bursar-fallback",
    "x-bursar-warning",
    "x-should-retry",
];
/// Pieces of a stream that may wait for its client.
const PIECES_WAITING: usize = 4;

/// Returns the request's idempotency key, if it has one.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<String>, GatewayError> {
    let Some((name, value)) = HEADERS.iter().find_map(|name| Some((name, headers.get(*name)?))) else {
        return Ok(None);
    };
    let key = value.to_str().ok().map(str::trim).filter(|key| !key.is_empty() && key.len() <= KEY_MAX);
    match key {
        Some(key) => Ok(Some(key.to_owned())),
        None => {
            let message = format!("header `{name}` must be 1 to {KEY_MAX} printable ASCII characters, such as a UUID");
            Err(invalid(message, Some(name)))
        }
    }
}

/// Serves `call` under its `key`, or answers what the first request under it was answered.
pub(super) async fn serve(
    key: &str,
    call: Call,
    request: &HttpRequest,
    worker: &Data<Worker>,
) -> Result<HttpResponse, GatewayError> {
    let store = worker.gateway.store()?;
    // The path says what is asked for; Google's clients say there, too, which model and whether it is streamed.
    let parts = [request.path().as_bytes(), &call.body];
    match store.begin(&call.caller, key, &parts).await? {
        Begun::First(turn) => {
            let (client, answered) = oneshot::channel();
            actix_web::rt::spawn(serve_first(First::new(turn, &call, store), call, worker.clone(), client));
            answered.await.map_err(|_| GatewayError::Internal)
        }
        Begun::Answered { key, sealed } => replay(store.open_answer(&key, &sealed)?, &call, worker).await,
        Begun::InFlight => Err(GatewayError::IdempotencyKey(KeyTaken::InFlight)),
        Begun::OtherRequest => Err(GatewayError::IdempotencyKey(KeyTaken::OtherRequest)),
        Begun::CutOff => Err(GatewayError::IdempotencyKey(KeyTaken::CutOff)),
        Begun::Unkept => Err(GatewayError::IdempotencyKey(KeyTaken::Unkept)),
    }
}

/// What it takes to keep the answer of the first request under a key.
struct First {
    turn: Turn,
    store: Arc<Store>,
    owner: Owner,
    request: String,
    /// Tells whether a stream came to its end.
    watch: Watch,
}

impl First {
    fn new(turn: Turn, call: &Call, store: Arc<Store>) -> Self {
        let team = call.caller.team().map_or_else(String::new, ToString::to_string);
        let owner = Owner { team, user: call.head.user.clone() };
        Self { turn, store, owner, request: call.id.to_string(), watch: Watch::default() }
    }

    /// Keeps what lasts, and frees the key of what may pass.
    fn end(self, head: &HttpResponse<()>, body: Option<Bytes>) {
        let lasts = match self.watch.ending() {
            Some(Ending::Served) => true,
            Some(Ending::Failed) => !head.status().is_success() && is_lasting(head.status()),
            // Cut off because nobody hears it and too much came to be kept; it has to be paid for all the same.
            Some(Ending::Cancelled) => body.is_none(),
            None => false,
        };
        match body.filter(|_| lasts) {
            Some(body) => {
                let (status, headers) = (head.status().as_u16(), replayed(head.headers()));
                let answered = Answered { request: self.request, status, headers, body };
                self.store.keep_answer(self.turn, &self.owner, &answered);
            }
            None if lasts => self.turn.unkept(),
            None => drop(self.turn),
        }
    }
}

/// Serves the first request under a key, whether its client stays or not.
async fn serve_first(first: First, call: Call, worker: Data<Worker>, client: oneshot::Sender<HttpResponse>) {
    let (head, body) = answer(call, &worker, Some(first.watch.clone())).await.into_parts();
    let body = match body.try_into_bytes() {
        Ok(whole) => {
            // Before it goes out, so that whoever has it finds it kept.
            first.end(&head, Some(whole.clone()).filter(|whole| whole.len() <= ANSWER_MAX));
            let _ = client.send(head.set_body(BoxBody::new(whole)));
            return;
        }
        Err(stream) => stream,
    };
    let (pieces, waiting) = mpsc::channel(PIECES_WAITING);
    let live = stream::unfold(waiting, |mut waiting| async {
        let piece = waiting.recv().await?;
        Some((Ok::<Bytes, Infallible>(piece), waiting))
    });
    let mut told = HttpResponse::new(head.status());
    *told.headers_mut() = head.headers().clone();
    let _ = client.send(told.set_body(BoxBody::new(BodyStream::new(Box::pin(live)))));
    let mut recording = Recording { bytes: Some(BytesMut::new()), held: worker.pipeline.memory.for_answer() };
    record(body, pieces, &mut recording).await;
    first.end(&head, recording.bytes.map(BytesMut::freeze));
}

/// A streamed answer, as far as it may be kept.
struct Recording {
    /// None once there is more than may be kept.
    bytes: Option<BytesMut>,
    held: Held,
}

impl Recording {
    fn add(&mut self, piece: &[u8]) {
        let Some(bytes) = &mut self.bytes else { return };
        let length = bytes.len() + piece.len();
        if length > ANSWER_MAX || self.held.cover(length).is_err() {
            self.bytes = None;
        } else {
            bytes.extend_from_slice(piece);
        }
    }
}

/// Passes a stream on and records it. It goes on though nobody hears it, as long as it can be kept.
async fn record(body: BoxBody, pieces: mpsc::Sender<Bytes>, recording: &mut Recording) {
    let (mut body, mut is_heard) = (pin!(body), true);
    while let Some(Ok(piece)) = poll_fn(|context| body.as_mut().poll_next(context)).await {
        recording.add(&piece);
        is_heard = is_heard && pieces.send(piece).await.is_ok();
        if !is_heard && recording.bytes.is_none() {
            return;
        }
    }
}

/// Answers again what was answered before. Nothing is called and nothing paid; the books have a record of it.
async fn replay(answered: Answered, call: &Call, worker: &Worker) -> Result<HttpResponse, GatewayError> {
    let gateway = &worker.gateway;
    let mut books = Settlement::open(gateway.metrics.clone(), gateway.books.as_ref(), call, gateway.access_log);
    if let Some(page) = books.page() {
        page.rule(format!("idempotent replay of request {}", answered.request));
    }
    let recorded = match books.admitted(call, call).await {
        Ok(()) => books.recorded().await,
        refused => refused,
    };
    if let Err(unrecorded) = recorded {
        books.failed(&unrecorded);
        return Err(unrecorded);
    }
    let Answered { request, status, headers, body } = answered;
    books.sent(&body);
    if status < 400 {
        books.served();
    } else {
        books.broke("invalid_request");
    }
    let mut head = again(status);
    for (name, value) in headers {
        head.insert_header((name, value));
    }
    id_headers(&mut head, call.head.operation, &call.id);
    head.insert_header((X_BURSAR_IDEMPOTENT_REPLAY, "true"));
    head.insert_header((X_BURSAR_IDEMPOTENT_REQUEST, request));
    Ok(head.body(body))
}

/// Returns the headers that are answered again.
fn replayed(headers: &HeaderMap) -> Vec<(String, String)> {
    let kept = REPLAYED.iter().filter_map(|name| Some((*name, headers.get(*name)?.to_str().ok()?)));
    kept.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
