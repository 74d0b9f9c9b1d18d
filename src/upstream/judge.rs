//! What an upstream's failure means: status, headers and body in, one [`ErrorClass`] out.
//!
//! One set of rules serves every provider of the OpenAI dialect; the texts and codes they differ by are tables. A
//! body is data from a stranger: it is never trusted to be JSON, and its message is scrubbed before anyone sees it.

mod patterns;
mod report;
mod scrub;

use std::time::{Duration, SystemTime};

use bursar_actors::{ErrorClass, LearnedLimits};

use crate::error::Failure;
use crate::providers::limits::{Header, retry_after};
use patterns as p;
use report::Report;

/// Returns `message`, which a stranger wrote, without keys and within bounds.
pub fn scrubbed(message: &str) -> String {
    scrub::scrub(message)
}

/// Judges an answer whose status is not a success.
pub fn judge_status(status: u16, header: Header<'_, '_>, body: &[u8], now: SystemTime) -> Failure {
    let mut report = Report::read(body);
    if let Some(name) = header("x-amzn-errortype") {
        report.named(name);
    }
    let class = by_status(status, &report);
    let waits = !(400..500).contains(&status) || matches!(status, 402 | 408 | 409 | 413 | 425 | 429);
    let retry_after = if waits { retry_after(header, body, now) } else { None };
    failure(class, retry_after, Some(status), report)
}

/// Judges an error that came with status 200: a whole body, or the payload of one event.
pub fn judge_error_value(payload: &[u8]) -> Failure {
    let report = Report::read(payload);
    let class = in_stream(&report);
    let never = |_: &str| None;
    let wait = retry_after(&never, payload, SystemTime::UNIX_EPOCH);
    let status = report.status;
    failure(class, wait, status, report)
}

fn failure(class: ErrorClass, retry_after: Option<Duration>, status: Option<u16>, report: Report) -> Failure {
    let scrubbed = scrub::scrub(&report.message);
    let message = if report.html {
        "the provider answered with a web page".to_owned()
    } else if scrubbed.is_empty() {
        status.map_or_else(
            || "the provider gave no reason".to_owned(),
            |status| format!("the provider answered {status} without a reason"),
        )
    } else {
        scrubbed
    };
    let short = |text: String| Some(scrub::scrub(&text)).filter(|text| !text.is_empty());
    Failure {
        class,
        retry_after,
        status,
        message,
        kind: report.kind.and_then(short),
        code: report.code.and_then(short),
        param: report.param.and_then(short),
        limits: LearnedLimits::default(),
    }
}

/// An error without a status of its own: by its numeric code if that is one, else by its words.
fn in_stream(report: &Report) -> ErrorClass {
    if let Some(status) = report.status {
        return by_status(status, report);
    }
    let class = by_status(400, report);
    if class != ErrorClass::ClientInvalid {
        return class;
    }
    match () {
        () if report.has(p::QUOTA) => ErrorClass::QuotaExhausted,
        () if report.has(p::RAMP) => ErrorClass::Ramp,
        () if report.has(p::RATE) => ErrorClass::RateLimited,
        () if report.has(p::OVERLOADED) => ErrorClass::Overloaded,
        () if report.has(p::AUTH) => ErrorClass::AuthInvalid,
        () if report.has(p::INVALID_REQUEST) => ErrorClass::ClientInvalid,
        () => ErrorClass::ServerError,
    }
}

fn by_status(status: u16, report: &Report) -> ErrorClass {
    use ErrorClass as E;
    if report.html {
        return match status {
            401 => E::AuthInvalid,
            404 | 405 => E::ConfigMissing,
            413 => E::RequestTooLarge,
            429 => E::RateLimited,
            _ => E::ServerError,
        };
    }
    if matches!(status, 400 | 413 | 422) && context_length(report) {
        return E::ContextLength;
    }
    if matches!(status, 400 | 403 | 422) && (report.has(p::POLICY) || report.moderated) {
        return E::ContentPolicy;
    }
    match status {
        400 | 422 => bad_request(report),
        401 if report.has(p::QUOTA) => E::QuotaExhausted,
        401 => E::AuthInvalid,
        402 if report.limit_source.as_deref() == Some("openrouter_in_flight_budget") => E::RateLimited,
        402 => E::QuotaExhausted,
        403 => forbidden(report),
        404 | 405 | 410 => E::ConfigMissing,
        412 if report.has(p::QUOTA) => E::QuotaExhausted,
        413 => E::RequestTooLarge,
        429 => throttled(report),
        498 if report.has(p::OVERLOADED) => E::Overloaded,
        498 => E::AuthInvalid,
        503 | 529 => E::Overloaded,
        408 | 409 | 424 | 425 | 499 => E::ServerError,
        400..=499 => E::ClientInvalid,
        _ => E::ServerError,
    }
}

fn context_length(report: &Report) -> bool {
    let other = report.code_is("string_above_max_length") || report.param.as_deref() == Some("user");
    !other && (report.has(p::CONTEXT) || p::measured_context(&report.lower))
}

fn bad_request(report: &Report) -> ErrorClass {
    match () {
        // xAI and Gemini answer a wrong key with 400.
        () if report.has(p::AUTH) => ErrorClass::AuthInvalid,
        () if report.has(p::QUOTA) => ErrorClass::QuotaExhausted,
        () if report.has(p::SIGNATURE) => ErrorClass::SignatureRefused,
        () if report.has(p::MODEL_MALFORMED) => ErrorClass::ModelMalformed,
        () if report.has(p::TOO_LARGE) => ErrorClass::RequestTooLarge,
        () if report.has(p::MODEL_MISSING) => ErrorClass::ConfigMissing,
        () if report.has(p::PRECONDITION) => ErrorClass::PermissionModel,
        () => ErrorClass::ClientInvalid,
    }
}

fn forbidden(report: &Report) -> ErrorClass {
    match () {
        () if report.has(p::QUOTA) => ErrorClass::QuotaExhausted,
        () if report.has(p::AUTH) || report.code_is("401") || report.has(p::AZURE_DENIED) => ErrorClass::AuthInvalid,
        () => ErrorClass::PermissionModel,
    }
}

fn throttled(report: &Report) -> ErrorClass {
    match () {
        () if report.has(p::RAMP) => ErrorClass::Ramp,
        () if report.has(p::EXHAUSTED) && !report.has(p::EXHAUSTED_FOR_LONG) => ErrorClass::RateLimited,
        () if report.has(p::QUOTA) => ErrorClass::QuotaExhausted,
        () if report.has(p::TOO_LARGE) => ErrorClass::RequestTooLarge,
        () if report.has(p::RATE) => ErrorClass::RateLimited,
        () if report.has(p::OVERLOADED) => ErrorClass::Overloaded,
        () => ErrorClass::RateLimited,
    }
}
