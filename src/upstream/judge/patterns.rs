//! The words by which providers tell their errors apart; all lower case, matched in code, type and message.

/// The prompt does not fit.
pub(super) const CONTEXT: &[&str] = &[
    "context_length_exceeded",
    "maximum context length",
    "context window",
    "prompt is too long",
    "prompt too long; exceeded max context",
    "input is too long",
    "input tokens exceeded",
    "exceeds the maximum number of tokens allowed",
    "too many tokens",
    "too many input tokens",
    "too_many_tokens",
    "too_many_prompt_tokens",
    "total length of all messages is too long",
    "exceed context limit",
    "is longer than the model's context length",
    "exceeds the available context size",
    "exceed_context_size_error",
    "`inputs` tokens + `max_new_tokens` must be",
    "reduce the length of the input",
    "reduce the length of the messages",
    "greater than the context length",
];

/// The provider will not answer this.
pub(super) const POLICY: &[&str] = &[
    "content_filter",
    "responsibleaipolicyviolation",
    "content_policy_violation",
    "invalid_prompt",
    "violating our usage policy",
    "rejected as a result of our safety system",
    "rejected as a result of the safety system",
    "content filtering policy",
    "response was blocked",
    "content management policy",
    "bio_policy",
    "misalignment_policy_violation",
    "content violates usage guidelines",
];

/// The key is no good.
pub(super) const AUTH: &[&str] = &[
    "invalid_api_key",
    "incorrect api key",
    "invalid api key",
    "api key not valid",
    "api key expired",
    "api_key_invalid",
    "authentication_error",
    "authentication fails",
    "account_deactivated",
    "unauthorized",
    "unrecognizedclientexception",
    "expiredtokenexception",
    "invalidsignatureexception",
];

/// Azure's word for a key of another resource.
pub(super) const AZURE_DENIED: &[&str] = &["permissiondenied"];

/// There is no money left, or no more may be spent.
pub(super) const QUOTA: &[&str] = &[
    "insufficient_quota",
    "credit_balance_exhausted",
    "organization_spend_limit_exceeded",
    "project_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
    "enforced_spend_limit_reached",
    "contract_spend_limit_reached",
    "billing_hard_limit_reached",
    "billing_error",
    "exceeded your current quota",
    "insufficient balance",
    "insufficient credit",
    "insufficient funds",
    "credit balance is too low",
    "run out of credits",
    "used all available credits",
    "spending limit",
    "spend limit",
    "specified api usage limits",
    "servicequotaexceeded",
    "calls / month",
    "perday",
];

/// Google's word for every 429, with a text about the plan and billing even where a minute's wait helps.
pub(super) const EXHAUSTED: &[&str] = &["resource_exhausted"];

/// What of it no wait helps against.
pub(super) const EXHAUSTED_FOR_LONG: &[&str] = &["perday", "spend"];

/// Google refuses the place or the account that asks, not the request.
pub(super) const PRECONDITION: &[&str] = &["failed_precondition"];

/// The account must grow its traffic more slowly.
pub(super) const RAMP: &[&str] = &["slow_down", "ramp_limit_exceeded"];

/// Too much at once.
pub(super) const RATE: &[&str] = &["rate_limit", "rate limit", "too many requests", "ratelimit"];

/// No capacity.
pub(super) const OVERLOADED: &[&str] = &[
    "server_is_overloaded",
    "overloaded",
    "capacity_exceeded",
    "capacity exceeded",
    "over capacity",
    "at capacity",
    "no capacity",
    "service_unavailable",
    "unavailable_error",
    "loading model",
    "modelnotreadyexception",
];

/// One request alone is above what may be sent in a minute, or in bytes.
pub(super) const TOO_LARGE: &[&str] =
    &["request too large", "request payload size exceeds", "request_too_large", "payload too large"];

/// The model's tool call could not be read.
pub(super) const MODEL_MALFORMED: &[&str] =
    &["tool_use_failed", "malformed_function_call", "failed to call a function"];

/// What a client sent back of the model's thinking is not as its vendor made it, or not for this account.
pub(super) const SIGNATURE: &[&str] = &[
    "`signature` in `thinking`",
    "`data` in `redacted_thinking`",
    "blocks in the latest assistant message cannot be modified",
    "thought signature",
    "thought_signature",
    "invalid_encrypted_content",
];

/// The upstream does not know the model.
pub(super) const MODEL_MISSING: &[&str] = &[
    "model_not_found",
    "deploymentnotfound",
    "is not a valid model",
    "invalid_model",
    "invalid model",
    "model not exist",
    "model identifier is invalid",
];

/// The request is at fault.
pub(super) const INVALID_REQUEST: &[&str] = &["invalid_request", "badrequest", "bad request", "validation"];

/// Recognises the texts that give their figures in the middle: `maximum input length of 4096 tokens` and
/// `current length is 9000 while limit is 8192`.
pub(super) fn measured_context(text: &str) -> bool {
    let figures = |lead: &str, tail: &str| {
        text.match_indices(lead).any(|(at, _)| {
            let rest = &text[at + lead.len()..];
            let number = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            number.len() < rest.len() && number.starts_with(tail)
        })
    };
    ["max input length is ", "max input length of ", "maximum input length is ", "maximum input length of "]
        .iter()
        .any(|lead| figures(lead, " tokens"))
        || figures("current length is ", " while limit is ")
}
