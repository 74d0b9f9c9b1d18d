//! Errors as OpenAI's clients know them; the only place that chooses a status code.
//!
//! Source of status, type and code: OpenAI's API reference, "Error codes"; of `x-should-retry` and `retry-after`: the
//! official SDKs, which retry 408, 409, 429 and 5xx twice unless told otherwise. The gateway has retried already, so
//! it says `true` only where waiting helps.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCEPT_ENCODING, ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use actix_web::{HttpResponse, HttpResponseBuilder};
use bursar_actors::ErrorClass;
use bursar_actors::budget::Exceeded;
use bursar_actors::limits::Denied;
use bytes::Bytes;
use serde_json::json;

use super::limits;
use crate::call::{RequestId, unix_s};
use crate::error::{Cause, CostLimit, Failure, GUARDRAIL_BLOCKED, GatewayError, KeyTaken, SignInFault};
use crate::pipeline::structured;
use crate::providers::dialect::StreamFailure;
use crate::providers::{anthropic, clients, gemini};
use crate::schema::Operation;
use crate::schema::chat::Dialect;

/// Longest wait that official SDKs accept from `retry-after`.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(120);

/// What a client is told to wait when the gateway is short of memory or descriptors.
const OVERLOADED_FOR: Duration = Duration::from_secs(1);

/// What a client is told to wait while the books cannot be written.
const NOT_RECORDED_FOR: Duration = Duration::from_secs(5);

/// What a client is told to wait while its first request under an idempotency key is being served: long enough that the
/// two tries of official SDKs outlast most answers, short enough for those that are nearly there.
const IN_FLIGHT_FOR: Duration = Duration::from_secs(5);

const INVALID: &str = "invalid_request_error";
const UNAVAILABLE: &str = "service_unavailable_error";

/// How an error looks from outside.
struct Face {
    status: StatusCode,
    kind: String,
    code: String,
    message: String,
    param: Option<String>,
    retry: bool,
    retry_after: Option<Duration>,
}

impl Face {
    fn new(status: StatusCode, kind: &str, code: &str, message: impl Into<String>) -> Self {
        let (kind, code, message) = (kind.into(), code.into(), message.into());
        Self { status, kind, code, message, param: None, retry: false, retry_after: None }
    }

    fn about(self, param: &str) -> Self {
        Self { param: Some(param.into()), ..self }
    }

    /// A wait that clients accept is worth waiting; one that nobody knows is worth it only if `blind`.
    fn after(self, retry_after: Option<Duration>, blind: bool) -> Self {
        Self { retry: retry_after.map_or(blind, |after| after <= RETRY_AFTER_MAX), retry_after, ..self }
    }
}

/// Returns the answer, in OpenAI's dialect, to a request that failed.
pub fn respond(error: &GatewayError, id: &RequestId) -> HttpResponse {
    respond_in(Dialect::OpenAi, error, id)
}

/// Returns the answer to a request that failed, in the dialect of whoever asked.
pub fn respond_in(dialect: Dialect, error: &GatewayError, id: &RequestId) -> HttpResponse {
    let face = face(error);
    let mut answer = HttpResponse::build(face.status);
    answer.insert_header(("x-request-id", id.as_str()));
    answer.insert_header(("x-bursar-request-id", id.as_str()));
    answer.insert_header(("x-should-retry", if face.retry { "true" } else { "false" }));
    if let Some(after) = face.retry_after {
        // Whole seconds rounded up, because a client that comes early is only refused again.
        answer.insert_header((RETRY_AFTER, after.as_millis().div_ceil(1000).to_string()));
        answer.insert_header((HeaderName::from_static("retry-after-ms"), after.as_millis().to_string()));
    }
    match error {
        GatewayError::InvalidApiKey => {
            answer.insert_header((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
        }
        GatewayError::NoMethod { allow } => {
            answer.insert_header((ALLOW, &**allow));
        }
        GatewayError::BodyEncoded => {
            // RFC 9110, 15.5.16: which codings would do.
            answer.insert_header((ACCEPT_ENCODING, HeaderValue::from_static("identity")));
        }
        GatewayError::BodyTooLarge { .. }
        | GatewayError::BodyTimeout { .. }
        | GatewayError::Overloaded
        | GatewayError::ShuttingDown => {
            answer.force_close();
        }
        _ => {}
    }
    let attempts = match error {
        GatewayError::Upstream { attempts, .. } => Some(*attempts),
        _ => None,
    };
    match dialect {
        Dialect::Anthropic => {
            // What Anthropic's SDKs call the request by.
            answer.insert_header((HeaderName::from_static("request-id"), id.as_str()));
            answer.insert_header((CONTENT_TYPE, "application/json"));
            return answer.body(anthropic::error_body(face.status.as_u16(), &face.code, &face.message, id.as_str()));
        }
        Dialect::Gemini => {
            answer.insert_header((CONTENT_TYPE, "application/json"));
            return answer.body(gemini::error_body(face.status.as_u16(), &face.message));
        }
        _ => {}
    }
    let mut body = json!({ "error": {
        "message": face.message, "type": face.kind, "param": face.param, "code": face.code,
        "bursar": { "request_id": id.as_str(), "attempts": attempts },
    }});
    if let GatewayError::Refused { faults, .. } = error {
        body["faults"] = json!(faults);
    }
    answer.json(body)
}

/// Returns the event that ends a stream whose headers are already out.
pub fn event(operation: Operation, error: &GatewayError) -> Bytes {
    let face = face(error);
    let Face { message, kind, code, param, .. } = &face;
    let failure = StreamFailure { message, kind, code: Some(code), param: param.as_deref() };
    clients::error_event(operation, face.status.as_u16(), &failure)
}

fn face(error: &GatewayError) -> Face {
    let code = error.code();
    match error {
        GatewayError::Invalid(fault) => {
            let face = Face::new(StatusCode::BAD_REQUEST, INVALID, fault.code.unwrap_or(code), &fault.message);
            Face { param: fault.param.clone(), ..face }
        }
        GatewayError::BodyTooLarge { limit } => {
            let message = format!("the request body is larger than {limit} bytes (server.max_body); send less");
            Face::new(StatusCode::PAYLOAD_TOO_LARGE, INVALID, code, message)
        }
        GatewayError::BodyTimeout { patience, rate } => body_timeout(*patience, *rate, code),
        GatewayError::BodyEncoded => {
            let message = "compressed request bodies are not supported; send it without content-encoding";
            Face::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, INVALID, code, message)
        }
        GatewayError::Overloaded => {
            overloaded("requests and answers fill the memory set aside for them (server.memory_limit)")
        }
        GatewayError::NotRecorded { why } => not_recorded(why, code),
        GatewayError::InvalidApiKey => {
            let message = "no valid client key; send yours as `authorization: Bearer <key>`";
            Face::new(StatusCode::UNAUTHORIZED, INVALID, code, message)
        }
        GatewayError::ForeignOrigin
        | GatewayError::ModelNotAllowed { .. }
        | GatewayError::TargetNotAllowed { .. }
        | GatewayError::NetworkNotAllowed { .. } => forbidden(error, code),
        GatewayError::ModelNotFound { asked, near } => {
            Face::new(StatusCode::NOT_FOUND, INVALID, code, model_not_found(asked, near)).about("model")
        }
        GatewayError::RateLimited(denied) => rate_limited(denied, code),
        GatewayError::TooDear(refused) => too_dear(refused, code),
        GatewayError::BudgetExceeded(exceeded) => budget_exceeded(exceeded, code),
        GatewayError::Unpriced { asked } => unpriced(asked, code),
        GatewayError::Guardrail { .. } | GatewayError::Confined { .. } => guarded(error, code),
        GatewayError::SchemaMismatch { .. } | GatewayError::GuardrailUnavailable { .. } => unguarded(error, code),
        GatewayError::NoHealthyTarget { retry_after, why } => {
            let message = format!("no upstream can take this request now: {why}");
            Face::new(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, code, message).after(*retry_after, false)
        }
        GatewayError::Upstream { failure, attempts } => upstream(failure, *attempts),
        GatewayError::DeadlineExceeded { after } => {
            let message = format!("no answer within {} s", after.as_secs_f64());
            Face::new(StatusCode::GATEWAY_TIMEOUT, "timeout_error", code, message)
        }
        GatewayError::ShuttingDown => {
            let face = Face::new(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, code, "the gateway is stopping");
            face.after(Some(Duration::from_secs(1)), true)
        }
        GatewayError::NoRoute { path } => {
            let message = format!("no route `{path}`; the API is under /v1, for example POST /v1/chat/completions");
            Face::new(StatusCode::NOT_FOUND, INVALID, code, message)
        }
        GatewayError::NoMethod { allow } => {
            let message = format!("this route takes {allow} only");
            Face::new(StatusCode::METHOD_NOT_ALLOWED, INVALID, code, message)
        }
        GatewayError::IdempotencyKey(taken) => key_taken(*taken, code),
        GatewayError::ResponseNotFound { id, param } => response_not_found(id, *param, code),
        GatewayError::StoreUnavailable { why } => store_unavailable(why, code),
        GatewayError::SignIn(fault) => not_signed_in(*fault, code),
        GatewayError::Refused { cause, faults } => order_refused(*cause, faults, code),
        GatewayError::Internal => {
            let message = "this request could not be handled; its id is in the gateway's log";
            Face::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", code, message)
        }
    }
}

/// What a request holds is in the way.
fn guarded(error: &GatewayError, code: &str) -> Face {
    match error {
        GatewayError::Confined { class, asked } => {
            let message = format!(
                "this request is of the data class `{class}`, which self-hosted providers only may see, and none serves \
                 `{asked}`; ask a model that runs in house"
            );
            Face::new(StatusCode::FORBIDDEN, "permission_error", code, message).about("model")
        }
        GatewayError::Guardrail { message } => {
            Face::new(StatusCode::BAD_REQUEST, INVALID, code, format!("a guardrail refuses this: {message}"))
        }
        _ => Face::new(StatusCode::BAD_REQUEST, INVALID, code, "a guardrail refuses this"),
    }
}

/// What a guardrail needs is not to be had.
fn unguarded(error: &GatewayError, code: &str) -> Face {
    match error {
        GatewayError::GuardrailUnavailable { name } => {
            let message =
                format!("the guardrail `{name}` gives no answer, and nothing passes without it; try again later");
            Face::new(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, code, message)
        }
        GatewayError::SchemaMismatch { faults } => {
            Face::new(StatusCode::BAD_GATEWAY, "server_error", code, structured::mismatch(faults))
        }
        _ => Face::new(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, code, "a guardrail has no answer"),
    }
}

fn body_timeout(patience: Duration, rate: u64, code: &str) -> Face {
    let message = format!(
        "the request body comes too slowly: at most {patience:?} may pass without a byte, and on the whole it has to come \
         at {rate} bytes a second (server.client_timeout)"
    );
    Face { retry: true, ..Face::new(StatusCode::REQUEST_TIMEOUT, INVALID, code, message) }
}

/// A caller that is known and may not do this.
fn forbidden(error: &GatewayError, code: &str) -> Face {
    let face = |message: String| Face::new(StatusCode::FORBIDDEN, "permission_error", code, message);
    match error {
        GatewayError::ModelNotAllowed { asked } => {
            face(format!("this client key may not use the model `{asked}`; GET /v1/models lists what it may"))
                .about("model")
        }
        GatewayError::TargetNotAllowed { asked } => face(format!(
            "this client key may use no provider, region or endpoint that serves the model `{asked}`; GET /v1/models \
             lists what it may"
        ))
        .about("model"),
        GatewayError::NetworkNotAllowed { address } => {
            let address = address.map_or_else(|| "a local socket".to_owned(), |at| at.to_canonical().to_string());
            face(format!("this client key may not be used from {address}; its operator has named other networks"))
        }
        _ => {
            face("a gateway without client keys serves no web page of another host; define [[client_keys]]".to_owned())
        }
    }
}

/// A limit is in the way, which passes unless the request alone is more than all of it.
fn rate_limited(denied: &Denied, code: &str) -> Face {
    let face = Face::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", code, limits::in_words(denied));
    face.after(denied.retry_after, false)
}

fn unpriced(asked: &str, code: &str) -> Face {
    let message = format!(
        "nobody knows what `{asked}` costs, and requests that count against a budget need a price; ask the operator for one \
         ([catalog], or budgets.unpriced), or ask another model"
    );
    Face::new(StatusCode::BAD_REQUEST, INVALID, code, message).about("model")
}

/// A budget has no room. SDKs that try again soon would only be refused again, so they are told not to, and when it may help.
fn budget_exceeded(exceeded: &Exceeded, code: &str) -> Face {
    let face = Face::new(StatusCode::TOO_MANY_REQUESTS, "budget_exceeded", code, limits::budget_in_words(exceeded));
    let resets = exceeded.short.resets_s.map(|at| at.saturating_sub(unix_s()).max(1).unsigned_abs());
    Face { retry: false, retry_after: resets.map(Duration::from_secs), ..face }
}

fn too_dear(refused: &CostLimit, code: &str) -> Face {
    Face::new(StatusCode::BAD_REQUEST, INVALID, code, limits::too_dear(refused)).about("max_tokens")
}

/// The books cannot be written, which passes once the disk has room, or an operator has looked.
fn not_recorded(why: &str, code: &str) -> Face {
    let message = format!("this gateway serves only what it can write down, and it cannot now: {why}");
    Face::new(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, code, message).after(Some(NOT_RECORDED_FOR), true)
}

fn key_taken(taken: KeyTaken, code: &str) -> Face {
    let conflict = |message| Face::new(StatusCode::CONFLICT, INVALID, code, message);
    match taken {
        // Waiting helps: the answer will be there.
        KeyTaken::InFlight => conflict("the first request with this idempotency key is still being served; come again")
            .after(Some(IN_FLIGHT_FOR), true),
        KeyTaken::OtherRequest => {
            let message = "this idempotency key came with another request before; use a new key for each request";
            Face::new(StatusCode::UNPROCESSABLE_ENTITY, INVALID, code, message)
        }
        KeyTaken::CutOff => conflict(
            "the first request with this idempotency key was cut off when the gateway ended, and a provider may have been \
             paid for it; send it again with a new key if it is to be made again",
        ),
        KeyTaken::Unkept => conflict(
            "the first request with this idempotency key was answered, but its answer is not kept (more than 4 MiB, or not to \
             be sealed); send it again with a new key if it is to be made again",
        ),
    }
}

/// OpenAI answers 400 where a request goes on from what is not there, and 404 where it is asked for.
fn response_not_found(id: &str, param: Option<&str>, code: &str) -> Face {
    let id: String = id.chars().take(100).collect();
    let message = format!(
        "no response `{id}` is stored for this team: it was made without `store: true`, was deleted, or its time is over"
    );
    let status = if param.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::NOT_FOUND };
    Face { param: param.map(Into::into), ..Face::new(status, INVALID, code, message) }
}

/// What is kept for clients cannot be used, which passes or is mended by an operator. Nothing was called.
fn store_unavailable(why: &str, code: &str) -> Face {
    let message = format!("this needs what the gateway keeps for its clients, which cannot be used now: {why}");
    Face::new(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, code, message).after(Some(NOT_RECORDED_FOR), true)
}

/// Returns whether an answer with this status says the same whenever it is asked for: success, or a fault of the request
/// itself. What rights, settings, limits and providers refuse may pass.
pub fn is_lasting(status: StatusCode) -> bool {
    status.is_success()
        || matches!(status, StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY)
}

/// Returns the beginning of an answer that was given before with this status.
pub fn again(status: u16) -> HttpResponseBuilder {
    HttpResponse::build(StatusCode::from_u16(status).unwrap_or(StatusCode::OK))
}

/// Somebody who wants to be an admin, or a page that pretends to be one's.
fn not_signed_in(fault: SignInFault, code: &str) -> Face {
    match fault {
        SignInFault::Wrong => {
            let message = "user or password is wrong, or the link was used or is older than 15 minutes";
            Face::new(StatusCode::UNAUTHORIZED, INVALID, code, message)
        }
        SignInFault::Locked { after } => {
            let message = format!("too many wrong passwords; try again in {} s", after.as_secs() + 1);
            Face::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", code, message).after(Some(after), true)
        }
        SignInFault::Forged => {
            let message = "a change by a browser needs its session's `x-csrf-token` and an `origin` that is this host";
            Face::new(StatusCode::FORBIDDEN, "permission_error", code, message)
        }
    }
}

/// What an admin ordered and does not get.
fn order_refused(cause: Cause, faults: &[String], code: &str) -> Face {
    let (status, kind) = match cause {
        Cause::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, INVALID),
        Cause::Beyond => (StatusCode::FORBIDDEN, "permission_error"),
        Cause::Missing => (StatusCode::NOT_FOUND, INVALID),
        Cause::Gone => (StatusCode::GONE, INVALID),
        Cause::Conflict => (StatusCode::CONFLICT, INVALID),
        Cause::Failed => (StatusCode::INTERNAL_SERVER_ERROR, "server_error"),
    };
    Face::new(status, kind, code, faults.join("\n"))
}

/// The gateway's own shortage, which passes.
fn overloaded(why: &str) -> Face {
    let (code, message) = (ErrorClass::GatewayOverloaded.as_str(), format!("the gateway is overloaded: {why}"));
    Face::new(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, code, message).after(Some(OVERLOADED_FOR), true)
}

fn model_not_found(asked: &str, near: &[String]) -> String {
    // What the client sent is cut: it may be a prompt in the wrong place.
    let asked: String = asked.chars().take(100).collect();
    if near.is_empty() {
        return format!("the model `{asked}` does not exist; GET /v1/models lists those that do");
    }
    format!("the model `{asked}` does not exist; near names: {}", near.join(", "))
}

/// The client's own faults keep the upstream's words, type and code; what went wrong behind us gets ours.
fn upstream(failure: &Failure, attempts: u32) -> Face {
    use ErrorClass as Class;
    let calls = if attempts == 1 { "1 attempt".into() } else { format!("{attempts} attempts") };
    let ours = |status, kind: &str, code: &str| {
        Face::new(status, kind, code, format!("upstream failed after {calls}: {}", failure.message))
    };
    let theirs = |status, code: Option<&str>| {
        let kind = failure.kind.as_deref().unwrap_or(INVALID);
        let code = code.or(failure.code.as_deref()).unwrap_or("invalid_request");
        Face { param: failure.param.clone(), ..Face::new(status, kind, code, &failure.message) }
    };
    match failure.class {
        Class::ClientInvalid if failure.status == Some(422) => theirs(StatusCode::UNPROCESSABLE_ENTITY, None),
        Class::ClientInvalid | Class::SignatureRefused | Class::Inexpressible => theirs(StatusCode::BAD_REQUEST, None),
        Class::ContextLength => theirs(StatusCode::BAD_REQUEST, Some("context_length_exceeded")),
        // The answer was refused here, not there.
        Class::ContentPolicy if failure.code.as_deref() == Some(GUARDRAIL_BLOCKED) => {
            theirs(StatusCode::BAD_REQUEST, None)
        }
        Class::ContentPolicy => theirs(StatusCode::BAD_REQUEST, Some("content_filter")),
        Class::RequestTooLarge => theirs(StatusCode::PAYLOAD_TOO_LARGE, Some("request_too_large")),
        Class::AuthInvalid => {
            // The upstream's words may quote its key, and a 401 would tell the client that its own key is bad.
            let message = format!("the upstream refused the gateway's own key ({calls}); the operator has to mend it");
            Face::new(StatusCode::BAD_GATEWAY, "server_error", "upstream_auth", message)
        }
        Class::CredentialPending => {
            let face = ours(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, "upstream_credential");
            face.after(failure.retry_after, true)
        }
        Class::PermissionModel => ours(StatusCode::BAD_GATEWAY, "server_error", "upstream_permission"),
        Class::ConfigMissing => ours(StatusCode::BAD_GATEWAY, "server_error", "upstream_model_not_found"),
        Class::RateLimited | Class::Ramp => {
            let face = ours(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", "rate_limit_exceeded");
            face.after(failure.retry_after, true)
        }
        Class::QuotaExhausted => ours(StatusCode::TOO_MANY_REQUESTS, "insufficient_quota", "insufficient_quota"),
        Class::Overloaded => ours(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, "server_is_overloaded"),
        Class::GatewayOverloaded => overloaded(&failure.message),
        Class::FirstByteTimeout => ours(StatusCode::GATEWAY_TIMEOUT, "timeout_error", "upstream_timeout"),
        Class::ConnectFailed => ours(StatusCode::BAD_GATEWAY, "server_error", "upstream_unreachable"),
        Class::ServerError | Class::StreamBroken | Class::StreamBrokenAfterOutput | Class::ModelMalformed => {
            ours(StatusCode::BAD_GATEWAY, "server_error", "upstream_failed")
        }
    }
}
