//! The routes that call a model: chats in every dialect, legacy completions, embeddings.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use tracing::info;

use super::error::respond_in;
use super::sse::{Beginning, LateStream, Serving, begin};
use super::unread::closing;
use super::{Worker, body, callers, idempotency, limits, request_id, responses};
use crate::call::{Call, Caller, RequestId, Session, Wishes, unix_s};
use crate::config::callers::Callers;
use crate::config::settings::dollars;
use crate::error::GatewayError;
use crate::pipeline::guards::Guards;
use crate::pipeline::preamble::Preamble;
use crate::pipeline::pricing::Priced;
use crate::pipeline::settlement::{Provenance, Settlement, Watch};
use crate::pipeline::stream::KEEP_ALIVE;
use crate::pipeline::{Answer, Body};
use crate::schema::chat::Dialect;
use crate::schema::{self, IntakeError, Operation, RequestHead};

const ANTHROPIC_BETA: HeaderName = HeaderName::from_static("anthropic-beta");
const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
const X_BURSAR_ALIAS: HeaderName = HeaderName::from_static("x-bursar-alias");
const X_BURSAR_ATTEMPTS: HeaderName = HeaderName::from_static("x-bursar-attempts");
const X_BURSAR_BUDGET: HeaderName = HeaderName::from_static("x-bursar-budget");
const X_BURSAR_COST_ESTIMATED: HeaderName = HeaderName::from_static("x-bursar-cost-estimated");
const X_BURSAR_COST_USD: HeaderName = HeaderName::from_static("x-bursar-cost-usd");
const X_BURSAR_DOWNGRADED_FROM: HeaderName = HeaderName::from_static("x-bursar-downgraded-from");
const X_BURSAR_FALLBACK: HeaderName = HeaderName::from_static("x-bursar-fallback");
const X_BURSAR_GUARDRAILS: HeaderName = HeaderName::from_static("x-bursar-guardrails");
const X_BURSAR_MODEL: HeaderName = HeaderName::from_static("x-bursar-model");
const X_BURSAR_OVERHEAD_MS: HeaderName = HeaderName::from_static("x-bursar-overhead-ms");
const X_BURSAR_QUEUED_MS: HeaderName = HeaderName::from_static("x-bursar-queued-ms");
const X_BURSAR_REQUEST_ID: HeaderName = HeaderName::from_static("x-bursar-request-id");
const X_BURSAR_WARNING: HeaderName = HeaderName::from_static("x-bursar-warning");
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Serves a request for `operation`.
pub async fn serve(
    operation: Operation,
    request: HttpRequest,
    mut payload: Payload,
    worker: Data<Worker>,
) -> HttpResponse {
    let id = request_id(&request);
    let read = read(operation, &id, &request, &mut payload, &worker).await;
    let keyed = read.and_then(|call| Ok((call, idempotency::key(request.headers())?)));
    let answered = match keyed {
        Ok((call, None)) => Ok(answer(call, &worker, None).await),
        Ok((call, Some(key))) => idempotency::serve(&key, call, &request, &worker).await,
        Err(error) => Err(error),
    };
    answered.unwrap_or_else(|error| {
        refused(&worker, &request, &id, &error);
        closing(respond_in(operation.dialect(), &error, &id), payload)
    })
}

/// Answers a request that was understood. Who has a `watch` learns how it ended.
pub(super) async fn answer(call: Call, worker: &Worker, watch: Option<Watch>) -> HttpResponse {
    let (operation, id) = (call.head.operation, call.id.clone());
    let gateway = &worker.gateway;
    let prepared = responses::prepare(&call, worker).await;
    let (call, keeping, refused) = match prepared {
        Ok(None) => (call, None, None),
        Ok(Some((call, keeping))) => (call, Some(keeping), None),
        Err(error) => (call, None, Some(error)),
    };
    let mut books = Settlement::open(gateway.metrics.clone(), gateway.books.as_ref(), &call, gateway.access_log);
    watch.into_iter().for_each(|watch| books.tell(watch));
    if let Some(error) = refused {
        books.failed(&error);
        return respond_in(operation.dialect(), &error, &id);
    }
    let streamed = call.head.stream;
    let preamble = Rc::new(Preamble::default());
    let serving = Rc::clone(&worker.pipeline).serve(call, books, preamble.clone(), keeping);
    let mut answer = if streamed {
        let keepalive = gateway.routes.load().sse_keepalive;
        streaming(operation, Box::pin(serving), &preamble, keepalive, &id).await
    } else {
        finished(operation, serving.await, &id)
    };
    limits::tell(answer.headers_mut(), operation.dialect(), preamble.standing.get());
    answer
}

/// Returns the beginning of a stream, as soon as there is anything to send.
async fn streaming(
    operation: Operation,
    mut serving: Serving,
    preamble: &Rc<Preamble>,
    keepalive: Duration,
    id: &RequestId,
) -> HttpResponse {
    match begin(&mut serving, preamble, keepalive).await {
        Beginning::Answer(served) => finished(operation, served, id),
        Beginning::Preamble(bytes, provenance) => {
            let mut head = stream_head(operation, id);
            provenance_headers(&mut head, &provenance);
            head.streaming(LateStream::new(operation, bytes, serving, preamble.clone(), keepalive))
        }
        // Nothing yet: the head goes out with a comment, lest an intermediary cuts the connection; attempts go on.
        Beginning::Silence => {
            let late = LateStream::new(operation, KEEP_ALIVE, serving, preamble.clone(), keepalive);
            stream_head(operation, id).streaming(late)
        }
    }
}

/// Notes a request that was turned away before it was admitted.
pub(super) fn refused(worker: &Worker, request: &HttpRequest, id: &RequestId, error: &GatewayError) {
    worker.gateway.metrics.refuse(error.code());
    if let GatewayError::RateLimited(denied) = error {
        worker.gateway.metrics.limited(denied.which.key(), denied.holder.kind());
    }
    if let Some(books) = &worker.gateway.books {
        let network = request.peer_addr().map(|peer| network(peer.ip()));
        match worker.gateway.clients.load().authenticate(request) {
            Ok(caller) => books.turned_away(&caller, network.as_deref(), id, request.path(), error.code()),
            Err(stranger) => books.strangers.count(stranger.code(), network.as_deref()),
        }
    }
    if worker.gateway.access_log {
        info!(request_id = %id, error = error.code(), path = request.path(), "refused");
    }
}

/// Turns a request into a call, or says what is wrong with it.
pub(super) async fn read(
    operation: Operation,
    id: &RequestId,
    request: &HttpRequest,
    payload: &mut Payload,
    worker: &Worker,
) -> Result<Call, GatewayError> {
    let received = Instant::now();
    let gateway = &worker.gateway;
    if gateway.drain.started() {
        return Err(GatewayError::ShuttingDown);
    }
    let (longest, max_body) = {
        let routes = gateway.routes.load();
        (routes.request_timeout, routes.max_body)
    };
    let caller = gateway.clients.load().authenticate(request)?;
    let wishes = wishes(request.headers())?;
    let bounds = body::Bounds { size: max_body, until: received + longest };
    let body = body::read(request, payload, bounds, worker).await?;
    let read = Instant::now();
    let mut head = schema::read(operation, &body).map_err(GatewayError::Invalid)?;
    let session = name(&mut head, &caller, request.headers(), gateway.clients.load().callers());
    if operation.has_model_in_path() {
        // Google's clients say in the path what others say in the body.
        let model = request.match_info().get("model").unwrap_or_default();
        head.model = Some(schema::model_name(model.into()).map_err(GatewayError::Invalid)?);
        head.stream = request.match_info().get("method") == Some("streamGenerateContent");
        if head.stream && !request.query_string().split('&').any(|pair| pair == "alt=sse") {
            return Err(invalid("this gateway streams server-sent events only; ask with `?alt=sse`", Some("alt")));
        }
    }
    let forwarded = if operation == Operation::Messages { forwarded(request.headers()) } else { vec![] };
    let deadline = received + wishes.timeout.unwrap_or(longest).min(longest);
    let network = request.peer_addr().map(|peer| network(peer.ip()));
    let received_unix_s = unix_s();
    Ok(Call {
        id: id.clone(),
        caller,
        head,
        body,
        wishes,
        forwarded,
        network,
        session,
        classes: classes(request.headers(), &gateway.routes.load().guards),
        confined: None,
        received,
        read,
        received_unix_s,
        deadline,
    })
}

/// Returns the classes of data that the client says the request is of, by headers that the operator named.
fn classes(headers: &HeaderMap, guards: &Guards) -> Vec<Arc<str>> {
    let names = |(header, class): &(&HeaderName, &Arc<str>)| {
        let mut told = headers.get_all((*header).clone()).filter_map(|value| value.to_str().ok());
        told.any(|told| told.split(',').any(|told| told.trim().eq_ignore_ascii_case(class)))
    };
    guards.class_headers().filter(names).map(|(_, class)| class.clone()).collect()
}

/// Puts the end user into `head` and returns the session. Who was vouched for goes before what the request says.
fn name(head: &mut RequestHead, caller: &Caller, headers: &HeaderMap, places: &Callers) -> Option<Session> {
    head.user = match caller.user() {
        Some(user) => Some(user.to_owned()),
        None => callers::end_user(&places.end_user, headers, &mut head.names),
    };
    callers::session(&places.session, headers, &mut head.names)
}

/// Returns the network that an address is in: its first 24 bits, 48 of an IPv6 address.
pub(super) fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(address) => {
            let [a, b, c, ..] = address.segments();
            format!("{}/48", Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
        }
    }
}

fn finished(operation: Operation, served: Result<Answer, GatewayError>, id: &RequestId) -> HttpResponse {
    match served {
        Err(error) => respond_in(operation.dialect(), &error, id),
        Ok(Answer { provenance, cost, body: Body::Whole(body) }) => {
            let mut head = HttpResponse::Ok();
            head.insert_header((CONTENT_TYPE, "application/json"));
            id_headers(&mut head, operation, id);
            provenance_headers(&mut head, &provenance);
            cost_headers(&mut head, cost);
            head.body(body)
        }
        Ok(Answer { provenance, body: Body::Stream(stream), .. }) => {
            let mut head = stream_head(operation, id);
            provenance_headers(&mut head, &provenance);
            head.streaming(stream)
        }
    }
}

fn stream_head(operation: Operation, id: &RequestId) -> HttpResponseBuilder {
    let mut head = HttpResponse::Ok();
    head.insert_header((CONTENT_TYPE, "text/event-stream; charset=utf-8"));
    head.insert_header((CACHE_CONTROL, "no-cache"));
    head.insert_header((X_ACCEL_BUFFERING, "no"));
    id_headers(&mut head, operation, id);
    head
}

/// Says what the request is called; Anthropic's SDKs read a header of their own.
pub(super) fn id_headers(head: &mut HttpResponseBuilder, operation: Operation, id: &RequestId) {
    if operation.dialect() == Dialect::Anthropic {
        head.insert_header((REQUEST_ID, id.as_str()));
    }
    head.insert_header((X_REQUEST_ID, id.as_str()));
    head.insert_header((X_BURSAR_REQUEST_ID, id.as_str()));
}

/// Says what served the request and what it cost in time; `server-timing` is drawn by browsers' developer tools.
fn provenance_headers(head: &mut HttpResponseBuilder, provenance: &Provenance) {
    let (overhead_ms, upstream_ms) = (Millis(provenance.overhead()), Millis(provenance.upstream));
    let served = format!("{}/{}", provenance.provider, provenance.model);
    head.insert_header((X_BURSAR_MODEL, &*in_header(&served)));
    head.insert_header((X_BURSAR_ALIAS, &*in_header(&provenance.alias)));
    head.insert_header((X_BURSAR_ATTEMPTS, provenance.attempts));
    head.insert_header((X_BURSAR_OVERHEAD_MS, overhead_ms.to_string()));
    head.insert_header((SERVER_TIMING, format!("gw;dur={overhead_ms}, up;dur={upstream_ms}")));
    if !provenance.queued.is_zero() {
        head.insert_header((X_BURSAR_QUEUED_MS, provenance.queued.as_millis().to_string()));
    }
    if let Some(asked) = &provenance.downgraded_from {
        head.insert_header((X_BURSAR_DOWNGRADED_FROM, &*in_header(asked)));
    }
    if let Some(tightest) = &provenance.tightest {
        head.insert_header((X_BURSAR_BUDGET, &*in_header(&limits::budget_header(tightest))));
    }
    if let Some(found) = &provenance.guardrails {
        head.insert_header((X_BURSAR_GUARDRAILS, &*in_header(found)));
    }
    if !provenance.warnings.is_empty() {
        head.insert_header((X_BURSAR_WARNING, &*in_header(&in_short(&provenance.warnings))));
    }
    if let Some(fallback) = &provenance.fallback {
        head.insert_header((X_BURSAR_FALLBACK, &*in_header(fallback)));
    }
}

/// Says what the answer cost, where that is known, and whether the figure is an estimate.
fn cost_headers(head: &mut HttpResponseBuilder, cost: Option<Priced>) {
    let Some(cost) = cost else { return };
    head.insert_header((X_BURSAR_COST_USD, dollars(cost.nano)));
    if cost.estimated {
        head.insert_header((X_BURSAR_COST_ESTIMATED, "true"));
    }
}

/// Returns as many warnings as a header may hold that clients and proxies still accept.
fn in_short(warnings: &[String]) -> String {
    const LENGTH_MAX: usize = 2_000;
    let mut told = String::new();
    for (index, warning) in warnings.iter().enumerate() {
        if told.len() + warning.len() > LENGTH_MAX {
            return format!("{told}{} more", warnings.len() - index);
        }
        told.push_str(warning);
        told.push_str(if index + 1 < warnings.len() { "; " } else { "" });
    }
    told
}

/// A time in milliseconds with three decimals, by whole numbers: floats are dear to print.
struct Millis(Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        write!(f, "{}.{:03}", micros / 1_000, micros % 1_000)
    }
}

/// Returns a name as a header can carry it: bytes beyond printable ASCII, and `%`, as `%XX`.
fn in_header(name: &str) -> Cow<'_, str> {
    let plain = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'%';
    if name.bytes().all(plain) {
        return name.into();
    }
    let escaped =
        name.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") });
    Cow::Owned(escaped.collect())
}

pub(super) fn invalid(message: impl Into<String>, param: Option<&str>) -> GatewayError {
    GatewayError::Invalid(IntakeError { message: message.into(), param: param.map(Into::into), code: None })
}

/// Reads the `x-bursar-*` headers that narrow what the gateway would do by itself.
fn wishes(headers: &HeaderMap) -> Result<Wishes, GatewayError> {
    let mut wishes = Wishes::default();
    for (name, value) in headers {
        let Some(wish) = name.as_str().strip_prefix("x-bursar-") else { continue };
        let text = value.to_str().unwrap_or_default();
        let refused = |expected: &str| invalid(format!("header `{name}` must be {expected}"), Some(name.as_str()));
        let duration = || {
            // A bare number means seconds, as in `retry-after`.
            let seconds = text.parse().ok().map(Duration::from_secs);
            let duration = seconds.or_else(|| humantime::parse_duration(text).ok()).filter(|wait| !wait.is_zero());
            duration.ok_or_else(|| refused("a positive duration such as `30s` or `250ms`"))
        };
        match wish {
            "timeout" => wishes.timeout = Some(duration()?),
            "first-token-timeout" => wishes.first_token_timeout = Some(duration()?),
            "retries" => {
                let retries = text.parse().map_err(|_| refused("a whole number of further attempts"))?;
                wishes.retries = Some(retries);
            }
            "fallback" if text == "off" => wishes.no_fallback = true,
            "fallback" => return Err(refused("`off`")),
            // `false` says no more than silence: what the operator wants strict stays so.
            "strict" => wishes.strict = text.parse().map_err(|_| refused("`true` or `false`"))?,
            _ => {}
        }
    }
    Ok(wishes)
}

/// Returns the headers that choose how Anthropic itself reads a request. Its API asks for a version; who names none means
/// the one that all clients know.
fn forwarded(headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let version = headers.get(&ANTHROPIC_VERSION).cloned().unwrap_or(HeaderValue::from_static("2023-06-01"));
    let betas: Vec<_> = headers.get_all(&ANTHROPIC_BETA).filter_map(|value| value.to_str().ok()).collect();
    let betas = HeaderValue::from_str(&betas.join(",")).ok().filter(|betas| !betas.is_empty());
    betas.map(|betas| (ANTHROPIC_BETA, betas)).into_iter().chain([(ANTHROPIC_VERSION, version)]).collect()
}
