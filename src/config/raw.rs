//! The shapes that files, environment and command line may fill: every key optional, nothing checked but its type.
//!
//! These structs are the only list of keys: `schema` reads it off them, so an unknown key can be reported with its
//! place and a suggestion. `flatten` and `untagged` stay out, because both hide which keys exist. None of them
//! implements `Debug`: some hold secrets.

mod budgets;
mod limits;
mod privacy;

use std::collections::BTreeMap;

use bursar_actors::Strategy;
use serde::Deserialize;

use super::audit::{Commit, Kept};
use super::catalog::Ability;
use super::one_or_many::OneOrMany;
use super::responses::StoreWhen;
use super::word_or::WordOr;
use super::{ProviderKind, Speaks};
use crate::schema::chat::Effort;

pub use budgets::{RawBudget, RawBudgets, RawStep, RawUnpriced, RawWebhook};
pub use limits::{RawLimitTables, RawLimits};
pub use privacy::{
    RawClassSigns, RawCompliance, RawCustom, RawDataClass, RawGuardrails, RawPii, RawPrompt, RawReviewer, RawRule,
    RawRuleAction, RawStageActions, RawStructured, RawTeamPii,
};

/// The whole file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawConfig {
    pub version: Option<u32>,
    pub server: RawServer,
    pub storage: RawStorage,
    pub providers: BTreeMap<String, RawProvider>,
    pub balancing: RawBalancing,
    pub probes: RawProbes,
    pub models: RawModels,
    pub catalog: RawCatalog,
    pub orgs: BTreeMap<String, RawOrg>,
    pub teams: BTreeMap<String, RawTeam>,
    pub client_keys: Vec<RawClientKey>,
    pub auth: RawAuth,
    pub responses: RawResponses,
    pub limits: RawLimitTables,
    pub budgets: RawBudgets,
    pub compliance: RawCompliance,
    pub data_classes: BTreeMap<String, RawDataClass>,
    pub prompts: Vec<RawPrompt>,
    pub guardrails: RawGuardrails,
    pub audit: RawAudit,
    pub telemetry: RawTelemetry,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawServer {
    pub listen: Option<String>,
    pub workers: Option<u32>,
    pub max_body: Option<String>,
    pub memory_limit: Option<String>,
    pub request_timeout: Option<String>,
    pub client_timeout: Option<String>,
    pub unread_timeout: Option<String>,
    pub shutdown_grace: Option<String>,
    pub sse_keepalive: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawStorage {
    pub path: Option<String>,
    pub retention: RawRetention,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawRetention {
    pub audit: Option<String>,
    pub content: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawResponses {
    pub store: Option<StoreWhen>,
    pub retention: Option<String>,
    pub storage: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawAudit {
    pub enabled: Option<bool>,
    pub content: Option<Kept>,
    pub content_max: Option<String>,
    pub users_max: Option<u32>,
    pub commit: Option<Commit>,
    pub keys_path: Option<String>,
    pub signing_key: Option<String>,
    pub master_key: Option<String>,
    pub checkpoint_every: Option<String>,
    pub witness: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawProvider {
    pub kind: Option<ProviderKind>,
    pub base_url: Option<String>,
    pub resource: Option<String>,
    pub project: Option<String>,
    pub api_version: Option<String>,
    pub endpoints: Vec<RawEndpoint>,
    pub keys: Vec<RawKey>,
    pub key_pool: Option<RawKeyPool>,
    pub region: Option<String>,
    pub self_hosted: Option<bool>,
    pub connect_timeout: Option<String>,
    pub first_token_timeout: Option<String>,
    pub reply_timeout: Option<String>,
    pub idle_timeout: Option<String>,
    pub max_concurrency: Option<u32>,
    pub probe: Option<bool>,
    pub headers: BTreeMap<String, String>,
    pub proxy: Option<String>,
    pub ca_file: Option<String>,
    pub client_cert: Option<String>,
    pub client_key: Option<String>,
    pub allow_private: Option<bool>,
    pub tags: Vec<String>,
    pub speaks: Option<Speaks>,
    pub latency: Option<RawLatency>,
    pub error_rate: Option<f64>,
    pub seed: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawEndpoint {
    pub id: Option<String>,
    pub base_url: Option<String>,
    pub weight: Option<u32>,
    pub region: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawKey {
    pub id: Option<String>,
    pub value: Option<String>,
    pub google: Option<WordOr<RawGoogle>>,
    pub entra: Option<WordOr<RawEntra>>,
    pub aws: Option<WordOr<RawAws>>,
    pub optional: Option<bool>,
    pub weight: Option<u32>,
    pub rpm: Option<u64>,
    pub tpm: Option<u64>,
    pub models: Option<Vec<String>>,
    pub deny: Vec<String>,
    pub teams: Vec<String>,
    pub monthly_budget: Option<Amount>,
    pub budget: OneOrMany<RawBudget>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawGoogle {
    pub service_account: Option<String>,
    pub credentials: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawEntra {
    pub tenant: Option<String>,
    pub client_id: Option<String>,
    pub client_secret: Option<String>,
    pub scope: Option<String>,
    pub authority: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawAws {
    pub access_key_id: Option<String>,
    pub secret_access_key: Option<String>,
    pub session_token: Option<String>,
    pub role_arn: Option<String>,
    pub source: Option<String>,
    pub external_id: Option<String>,
    pub session_name: Option<String>,
    pub web_identity_token_file: Option<String>,
    pub region: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawKeyPool {
    pub id: Option<String>,
    pub value: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawLatency {
    pub first_token: Option<String>,
    pub per_token: Option<String>,
    pub jitter: Option<f64>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawBalancing {
    pub strategy: Option<Strategy>,
    pub headroom: Option<f64>,
    pub max_wait: Option<String>,
    pub retry: RawRetry,
    pub breaker: RawBreaker,
    pub rest: RawRest,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawRetry {
    pub max_attempts: Option<u32>,
    pub backoff: RawBackoff,
    pub budget: RawRetryBudget,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawBackoff {
    pub base: Option<String>,
    pub max: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawRetryBudget {
    pub share: Option<f64>,
    pub per_second: Option<f64>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawBreaker {
    pub open_after: Option<u32>,
    pub window: Option<String>,
    pub min_requests: Option<u32>,
    pub open_for: Option<String>,
    pub open_for_max: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawRest {
    pub quota_spent: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawProbes {
    pub every: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawModels {
    pub allow_direct: Option<bool>,
    pub default: Option<String>,
    pub strict: Option<bool>,
    pub alias: BTreeMap<String, RawAlias>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawAlias {
    pub description: Option<String>,
    pub strategy: Option<Strategy>,
    pub targets: Vec<RawTarget>,
    pub fallback: Vec<String>,
    pub strict: Option<bool>,
    pub needs: RawNeeds,
    pub limits: RawLimits,
    pub budget: OneOrMany<RawBudget>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawNeeds {
    pub context_window: Option<u64>,
    pub capabilities: Vec<Ability>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawTarget {
    pub provider: Option<String>,
    pub model: Option<String>,
    pub weight: Option<u32>,
}

/// An amount of money as it was written, in quotes or not.
#[derive(Default, Deserialize)]
pub struct Amount(pub String);

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawCatalog {
    pub models: BTreeMap<String, RawCatalogModel>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawCatalogModel {
    pub context: Option<u64>,
    pub max_output: Option<u64>,
    pub price: Option<RawPrice>,
    pub long_price: Vec<RawLongPrice>,
    pub batch_price: Option<RawPrice>,
    pub flex_price: Option<RawPrice>,
    pub priority_price: Option<RawPrice>,
    pub request_price: Option<Amount>,
    pub search_price: Option<Amount>,
    pub can: Vec<Ability>,
    pub cannot: Vec<Ability>,
    pub efforts: Vec<RawEffort>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawPrice {
    pub input: Option<Amount>,
    pub output: Option<Amount>,
    pub cached: Option<Amount>,
    pub cache_write: Option<Amount>,
    pub cache_write_long: Option<Amount>,
    pub reasoning: Option<Amount>,
    pub audio_input: Option<Amount>,
    pub audio_output: Option<Amount>,
    pub image_input: Option<Amount>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawLongPrice {
    pub above: Option<u64>,
    pub price: RawPrice,
}

/// The values of `efforts`.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RawEffort {
    None,
    Minimal,
    Low,
    Medium,
    High,
    XHigh,
    Max,
}

impl From<RawEffort> for Effort {
    fn from(raw: RawEffort) -> Self {
        match raw {
            RawEffort::None => Self::None,
            RawEffort::Minimal => Self::Minimal,
            RawEffort::Low => Self::Low,
            RawEffort::Medium => Self::Medium,
            RawEffort::High => Self::High,
            RawEffort::XHigh => Self::XHigh,
            RawEffort::Max => Self::Max,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawOrg {
    pub name: Option<String>,
    pub models: Option<Vec<String>>,
    pub providers: Option<Vec<String>>,
    pub regions: Option<Vec<String>>,
    pub endpoints: Option<Vec<String>>,
    pub networks: Option<Vec<String>>,
    pub limits: RawLimits,
    pub budget: OneOrMany<RawBudget>,
    pub tags: BTreeMap<String, String>,
    pub metadata: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawTeam {
    pub name: Option<String>,
    pub org: Option<String>,
    pub models: Option<Vec<String>>,
    pub providers: Option<Vec<String>>,
    pub regions: Option<Vec<String>>,
    pub endpoints: Option<Vec<String>>,
    pub networks: Option<Vec<String>>,
    pub limits: RawLimits,
    pub user_limits: RawLimits,
    pub budget: OneOrMany<RawBudget>,
    pub members_budget: OneOrMany<RawBudget>,
    pub tags: BTreeMap<String, String>,
    pub metadata: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawClientKey {
    pub id: Option<String>,
    pub team: Option<String>,
    pub name: Option<String>,
    pub value: Option<String>,
    pub hash: Option<String>,
    pub optional: Option<bool>,
    pub expires: Option<String>,
    pub models: Option<Vec<String>>,
    pub providers: Option<Vec<String>>,
    pub regions: Option<Vec<String>>,
    pub endpoints: Option<Vec<String>>,
    pub networks: Option<Vec<String>>,
    pub limits: RawLimits,
    pub budget: OneOrMany<RawBudget>,
    pub tags: BTreeMap<String, String>,
    pub metadata: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawAuth {
    pub require_key: Option<bool>,
    pub accept: Option<Vec<String>>,
    pub end_user: Option<Vec<String>>,
    pub session: Option<Vec<String>>,
    pub oidc: Vec<RawIssuer>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawIssuer {
    pub issuer: Option<String>,
    pub audience: Vec<String>,
    pub jwks: Option<String>,
    pub algorithms: Option<Vec<String>>,
    pub team_claim: Option<String>,
    pub team_map: BTreeMap<String, String>,
    pub role_claim: Option<String>,
    pub role_map: BTreeMap<String, String>,
    pub user_claim: Option<String>,
    pub leeway: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawTelemetry {
    pub logs: RawLogs,
}

/// The values of `telemetry.logs.format`.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawLogFormat {
    Auto,
    Pretty,
    Json,
}

/// The values of `telemetry.logs.level`.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawLogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawLogs {
    pub format: Option<RawLogFormat>,
    pub level: Option<RawLogLevel>,
    pub access_log: Option<bool>,
}
