//! How an upstream call ended, and what each ending does to the key, the endpoint and the request.
//!
//! One table for all providers: `upstream::judge` maps a provider's status, headers and body to an [`ErrorClass`];
//! everything that follows (rest, breaker, retry) is read from here.

use std::time::Duration;

use serde::Serialize;

/// Why an upstream call failed, as far as it decides what happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// The request itself is at fault; every upstream would refuse it.
    ClientInvalid,
    /// The upstream does not take a thought's or call's signature for its own; without signatures it may serve.
    SignatureRefused,
    /// The request cannot be put into this upstream's words; no call was made.
    Inexpressible,
    /// The prompt is longer than the model's context window.
    ContextLength,
    /// The provider's content policy refused prompt or answer.
    ContentPolicy,
    /// The body is larger than this provider accepts.
    RequestTooLarge,
    /// The key is wrong, revoked or suspended.
    AuthInvalid,
    /// The key's credential expires and is being minted: it is not there yet, or the provider refused the one that was.
    CredentialPending,
    /// The key may not use this model or region.
    PermissionModel,
    /// The model or deployment does not exist upstream.
    ConfigMissing,
    /// Too many requests or tokens for this key and model.
    RateLimited,
    /// Billing, spend cap or daily cap: waiting a little does not help.
    QuotaExhausted,
    /// The provider asks the whole account to slow down.
    Ramp,
    /// The provider has no capacity.
    Overloaded,
    /// The provider failed (5xx, or an answer that is no answer).
    ServerError,
    /// No connection: refused, DNS, TLS, connect timeout.
    ConnectFailed,
    /// Connected, sent, but no first byte in time.
    FirstByteTimeout,
    /// The answer broke off before anything was passed on.
    StreamBroken,
    /// The answer broke off after the client had begun to read.
    StreamBrokenAfterOutput,
    /// The model's own output is unusable (broken tool call).
    ModelMalformed,
    /// The gateway itself lacks what the call needs: descriptors or memory. Says nothing about key or endpoint.
    GatewayOverloaded,
}

/// Which further calls may help after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Calls to the very same endpoint that make sense, after a backoff and when nothing else is left.
    pub same_endpoint: u8,
    /// Another key of the same endpoint may succeed at once.
    pub other_key: bool,
    /// Another endpoint (or a fallback alias) may succeed at once.
    pub other_endpoint: bool,
}

/// What a failure means for the key that was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyEffect {
    /// Nothing; the key is fine.
    None,
    /// The key rests for this model until the provider's own time, else 2 s × 2ⁿ.
    RestModel,
    /// The key rests for this model for ten minutes.
    DenyModel,
    /// The key rests for every model until the provider's own time, else the configured quota rest.
    Exhaust,
    /// Every key of the endpoint rests, at least 30 s.
    RestAll,
    /// The key is out until its value changes or the operator wakes it.
    Retire,
    /// The call failed for reasons the key may share: counts in the key's own error rate.
    Suspect,
}

impl ErrorClass {
    /// Returns the class's name in logs, metrics and error bodies.
    pub fn as_str(self) -> &'static str {
        self.row().0
    }

    /// Returns which further calls may help.
    pub fn retry(self) -> Retry {
        let (_, same_endpoint, other_key, other_endpoint, _, _) = self.row();
        Retry { same_endpoint, other_key, other_endpoint }
    }

    /// Returns what becomes of the key.
    pub fn key_effect(self) -> KeyEffect {
        self.row().4
    }

    /// Returns whether the failure concerns one model, so that another model of the same endpoint may still serve.
    pub fn concerns_model(self) -> bool {
        matches!(
            self,
            Self::RateLimited
                | Self::CredentialPending
                | Self::PermissionModel
                | Self::ConfigMissing
                | Self::Inexpressible
        )
    }

    /// Returns whether the very same key may serve once it has rested.
    pub fn passes_with_time(self) -> bool {
        self.key_effect() == KeyEffect::RestModel
    }

    /// Returns whether the endpoint's circuit breaker counts this as a failure.
    pub fn trips_breaker(self) -> bool {
        self.row().5
    }

    /// The table: name, same endpoint, other key, other endpoint, key effect, breaker.
    #[rustfmt::skip]
    fn row(self) -> (&'static str, u8, bool, bool, KeyEffect, bool) {
        use KeyEffect as K;
        match self {
            //                                                         same key    endpoint  key effect    breaker
            Self::ClientInvalid           => ("client_invalid",             0, false, false, K::None,      false),
            Self::SignatureRefused        => ("signature_refused",          0, false, false, K::None,      false),
            Self::Inexpressible           => ("inexpressible",              0, false, true,  K::None,      false),
            Self::ContextLength           => ("context_length",             0, false, false, K::None,      false),
            Self::ContentPolicy           => ("content_policy",             0, false, false, K::None,      false),
            Self::RequestTooLarge         => ("request_too_large",          0, false, true,  K::None,      false),
            Self::AuthInvalid             => ("auth_invalid",               0, true,  true,  K::Retire,    false),
            Self::CredentialPending       => ("credential_pending",         0, true,  true,  K::RestModel, false),
            Self::PermissionModel         => ("permission_model",           0, true,  true,  K::DenyModel, false),
            Self::ConfigMissing           => ("config_missing",             0, false, true,  K::None,      false),
            Self::RateLimited             => ("rate_limited",               0, true,  true,  K::RestModel, false),
            Self::QuotaExhausted          => ("quota_exhausted",            0, true,  true,  K::Exhaust,   false),
            Self::Ramp                    => ("ramp",                       0, false, true,  K::RestAll,   false),
            Self::Overloaded              => ("overloaded",                 2, false, true,  K::None,      true),
            Self::ServerError             => ("server_error",               1, false, true,  K::Suspect,   true),
            Self::ConnectFailed           => ("connect_failed",             1, false, true,  K::None,      true),
            Self::FirstByteTimeout        => ("first_byte_timeout",         0, false, true,  K::Suspect,   true),
            Self::StreamBroken            => ("stream_broken",              1, false, true,  K::Suspect,   true),
            Self::StreamBrokenAfterOutput => ("stream_broken_after_output", 0, false, false, K::Suspect,   true),
            Self::ModelMalformed          => ("model_malformed",            1, false, true,  K::None,      false),
            Self::GatewayOverloaded       => ("gateway_overloaded",         0, false, false, K::None,      false),
        }
    }
}

/// How one leased call ended, as its lease reports it to the endpoint.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The provider answered as it should.
    Served,
    /// It failed.
    Failed {
        /// Why.
        class: ErrorClass,
        /// The provider's own figure, where it gave one.
        retry_after: Option<Duration>,
    },
    /// It ended without a verdict: the client went away, or the worker dropped the lease. Says nothing about the endpoint.
    Cancelled,
}

/// Whether the client waits for the whole reply or reads it as it is made; their latencies are no measure of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplyForm {
    /// One body at the end.
    Whole,
    /// Server-sent events.
    Streamed,
}

/// Remaining requests and tokens of a key, as the provider's headers told it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LearnedLimits {
    /// Requests: the window's limit, what is left of it, and the time until it is full again.
    pub requests: Option<Learned>,
    /// Tokens, likewise.
    pub tokens: Option<Learned>,
}

/// One learned limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Learned {
    /// The most per window, where the provider says it.
    pub limit: Option<u64>,
    /// What is left now.
    pub remaining: u64,
    /// Until the window is full again, where the provider says it.
    pub reset: Option<Duration>,
}
