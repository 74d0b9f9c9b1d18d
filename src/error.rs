//! Every way a request can fail, as the pipeline knows it. Which status a client sees is `http::error`'s matter.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bursar_actors::budget::Exceeded;
use bursar_actors::limits::Denied;
use bursar_actors::{ErrorClass, LearnedLimits};

use crate::schema::IntakeError;

/// The code of an answer that has not the form that was asked for.
pub const SCHEMA_MISMATCH: &str = "schema_mismatch";
/// The code of what a guardrail refuses.
pub const GUARDRAIL_BLOCKED: &str = "guardrail_blocked";

/// Why a request was not served.
#[derive(Debug, Clone)]
pub enum GatewayError {
    /// The body or a header is at fault.
    Invalid(IntakeError),
    /// The body is longer than `limit` bytes.
    BodyTooLarge {
        /// In bytes.
        limit: usize,
    },
    /// The body stopped coming, or came too slowly.
    BodyTimeout {
        /// Longest pause.
        patience: Duration,
        /// Slowest rate in bytes per second, but for one such pause.
        rate: u64,
    },
    /// The body is compressed.
    BodyEncoded,
    /// The gateway has no room for the request now.
    Overloaded,
    /// The books cannot take the request's record, so it is not served.
    NotRecorded {
        /// In words for a person.
        why: String,
    },
    /// No client key, or one that is unknown, expired, disabled or revoked. All are answered alike.
    InvalidApiKey,
    /// The name is no alias and no `provider/model`.
    ModelNotFound {
        /// What was asked for.
        asked: String,
        /// Names that are close to it, or hints.
        near: Vec<String>,
    },
    /// A web page of another site asks a gateway that asks for no key.
    ForeignOrigin,
    /// The client key, or its team, may not use this model.
    ModelNotAllowed {
        /// What was asked for.
        asked: String,
    },
    /// The client key, or its team, may use nothing that serves this model: not its providers, regions or endpoints.
    TargetNotAllowed {
        /// What was asked for.
        asked: String,
    },
    /// The client key may not be used from where the client is.
    NetworkNotAllowed {
        /// Where that is, as the gateway sees it.
        address: Option<IpAddr>,
    },
    /// A limit of the caller or the model is in the way.
    RateLimited(Box<Denied>),
    /// The request might cost more than one request may.
    TooDear(Box<CostLimit>),
    /// A budget above the request, or of what would serve it, has no room for it.
    BudgetExceeded(Box<Exceeded>),
    /// Nobody knows what the request would cost, and it counts against a budget.
    Unpriced {
        /// What was asked for.
        asked: String,
    },
    /// A guardrail refuses the request or its answer.
    Guardrail {
        /// What is wrong and what to do next; never what was found.
        message: String,
    },
    /// The answer does not have the form that was asked for, and may not be given as it is.
    SchemaMismatch {
        /// Where, and what was expected there; nothing of the answer.
        faults: Vec<String>,
    },
    /// A guardrail that has to be asked gave no answer.
    GuardrailUnavailable {
        /// Its name.
        name: Arc<str>,
    },
    /// The request holds data of a class that nothing which serves the model may see.
    Confined {
        /// The class.
        class: Arc<str>,
        /// What was asked for.
        asked: String,
    },
    /// No endpoint and key can take the call now.
    NoHealthyTarget {
        /// Time until the soonest is expected back.
        retry_after: Option<Duration>,
        /// Who refused and why, without secrets.
        why: String,
    },
    /// Upstream calls were made and the last one failed.
    Upstream {
        /// The failure that ended it.
        failure: Failure,
        /// Calls made.
        attempts: u32,
    },
    /// The deadline passed.
    DeadlineExceeded {
        /// The bound, in whole seconds.
        after: Duration,
    },
    /// The gateway is stopping.
    ShuttingDown,
    /// No such route.
    NoRoute {
        /// What was asked for.
        path: String,
    },
    /// The route exists, the method does not.
    NoMethod {
        /// Methods that do, as the `allow` header wants them.
        allow: Arc<str>,
    },
    /// An admin's order cannot be carried out.
    Refused {
        /// What kind of reason.
        cause: Cause,
        /// What is wrong and what to do next, in words.
        faults: Vec<String>,
    },
    /// The idempotency key stands for something else, or for what cannot be answered again.
    IdempotencyKey(KeyTaken),
    /// The caller's team has no stored Response of this id.
    ResponseNotFound {
        id: String,
        /// The field that named it, where it was not the path.
        param: Option<&'static str>,
    },
    /// What is kept for clients cannot be read or written.
    StoreUnavailable {
        /// In words for a person.
        why: String,
    },
    /// Nobody is signed in by this.
    SignIn(SignInFault),
    /// The decision failed on this very request.
    Internal,
}

/// Why a request is not served under its idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyTaken {
    /// The first request under it is still being served.
    InFlight,
    /// The first request under it was another.
    OtherRequest,
    /// The first request under it was cut off when the process ended.
    CutOff,
    /// The first request under it was answered by more than is kept.
    Unkept,
}

/// Why nobody is signed in, or not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignInFault {
    /// No such user, another password, a link that is over: answered alike.
    Wrong,
    /// Too many wrong passwords.
    Locked {
        /// How long it lasts.
        after: Duration,
    },
    /// A browser's change without the token of its session, or from another site's page.
    Forged,
}

/// Why an order to the admin API is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It was given wrongly.
    Invalid,
    /// Whoever gives it may not.
    Beyond,
    /// What it names does not exist, or not for whoever gives it.
    Missing,
    /// What it names was, and is no more.
    Gone,
    /// Something that is there stands against it.
    Conflict,
    /// It went wrong behind us.
    Failed,
}

/// What a request might cost, and may. Figures in nano-dollars.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CostLimit {
    /// Whose limit it is, in words.
    pub holder: String,
    /// The most that one request may cost.
    pub most: u64,
    /// What this one may cost at worst.
    pub cost: u64,
    /// With which model.
    pub model: String,
    /// The bound with which it would pass, where there is one.
    pub max_tokens: Option<u64>,
}

/// What a failed upstream call means, with texts that are safe to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub class: ErrorClass,
    /// The provider's own figure, at most an hour.
    pub retry_after: Option<Duration>,
    /// The upstream's status, where it answered.
    pub status: Option<u16>,
    /// The upstream's words without keys and ids, or ours.
    pub message: String,
    /// The upstream's `error.type`.
    pub kind: Option<String>,
    /// The upstream's `error.code`.
    pub code: Option<String>,
    /// The upstream's `error.param`.
    pub param: Option<String>,
    /// What its headers said is left.
    pub limits: LearnedLimits,
}

impl Failure {
    /// Returns a failure that has nothing but a class and our own words for it.
    pub fn plain(class: ErrorClass, message: impl Into<String>) -> Self {
        Self {
            class,
            retry_after: None,
            status: None,
            message: message.into(),
            kind: None,
            code: None,
            param: None,
            limits: LearnedLimits::default(),
        }
    }
}

impl GatewayError {
    /// Returns the code that clients, metrics and logs know the error by.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid_request",
            Self::BodyTooLarge { .. } => "request_too_large",
            Self::BodyTimeout { .. } => "request_timeout",
            Self::BodyEncoded => "unsupported_content_encoding",
            Self::Overloaded => ErrorClass::GatewayOverloaded.as_str(),
            Self::NotRecorded { .. } => "audit_unavailable",
            Self::InvalidApiKey => "invalid_api_key",
            Self::ForeignOrigin => "foreign_origin",
            Self::ModelNotFound { .. } => "model_not_found",
            Self::ModelNotAllowed { .. } => "model_not_allowed",
            Self::TargetNotAllowed { .. } => "target_not_allowed",
            Self::NetworkNotAllowed { .. } => "network_not_allowed",
            Self::RateLimited(_) => "rate_limit_exceeded",
            Self::TooDear(_) => "cost_limit",
            Self::BudgetExceeded(_) => "budget_exceeded",
            Self::Unpriced { .. } => "model_unpriced",
            Self::Guardrail { .. } => GUARDRAIL_BLOCKED,
            Self::SchemaMismatch { .. } => SCHEMA_MISMATCH,
            Self::GuardrailUnavailable { .. } => "guardrail_unavailable",
            Self::Confined { .. } => "data_class_not_allowed",
            Self::NoHealthyTarget { .. } => "no_healthy_target",
            Self::Upstream { failure, .. } => failure.class.as_str(),
            Self::DeadlineExceeded { .. } => "deadline_exceeded",
            Self::ShuttingDown => "shutting_down",
            Self::NoRoute { .. } => "unknown_url",
            Self::NoMethod { .. } => "method_not_allowed",
            Self::IdempotencyKey(KeyTaken::InFlight) => "idempotency_key_in_use",
            Self::IdempotencyKey(KeyTaken::OtherRequest) => "idempotency_key_reused",
            Self::IdempotencyKey(KeyTaken::CutOff) => "idempotency_outcome_unknown",
            Self::IdempotencyKey(KeyTaken::Unkept) => "idempotency_answer_too_large",
            Self::ResponseNotFound { param: None, .. } => "response_not_found",
            Self::ResponseNotFound { .. } => "previous_response_not_found",
            Self::StoreUnavailable { .. } => "store_unavailable",
            Self::Refused { cause, .. } => match cause {
                Cause::Invalid => "invalid_request",
                Cause::Beyond => "permission_denied",
                Cause::Missing => "not_found",
                Cause::Gone => "gone",
                Cause::Conflict => "conflict",
                Cause::Failed => "internal_error",
            },
            Self::SignIn(SignInFault::Wrong) => "invalid_credentials",
            Self::SignIn(SignInFault::Locked { .. }) => "sign_in_locked",
            Self::SignIn(SignInFault::Forged) => "forged_request",
            Self::Internal => "internal_error",
        }
    }
}
