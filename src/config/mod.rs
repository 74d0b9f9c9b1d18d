//! The configuration as the rest of the gateway sees it: checked, complete, free of strings that need parsing.
//!
//! `load` reads the layers (built-in defaults, files, environment, `--set`) into `raw`, `check` turns the raw shape
//! into [`Config`] or into all the faults it found. A `Config` exists only if every name in it resolves.

pub mod audit;
pub mod budgets;
pub mod callers;
pub mod catalog;
pub mod check;
pub mod credential;
pub mod dial;
pub mod discover;
pub mod expand;
pub mod fault;
pub mod files;
pub mod json_schema;
pub mod kind;
pub mod layer;
pub mod layout;
pub mod load;
pub mod machine;
pub mod oidc;
pub mod one_or_many;
pub mod overrides;
pub mod privacy;
pub mod raw;
pub mod reload;
pub mod responses;
pub mod schema;
pub mod settings;
pub mod units;
pub mod webhook;
pub mod word_or;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bursar_actors::access::{ClientKey, Org, Team};
use bursar_actors::budget::Table;
use bursar_actors::limits::Limits;
use bursar_actors::{EndpointId, KeyId, OrgId, Secret, Strategy, TeamId};
use serde::Deserialize;

pub use kind::ProviderKind;

/// Everything the operator decided, or the default where nothing was said.
#[derive(Debug, Clone)]
pub struct Config {
    pub server: Server,
    pub storage: Storage,
    /// By provider id, in the order of the ids.
    pub providers: BTreeMap<String, Provider>,
    pub balancing: Balancing,
    pub probes: Probes,
    pub models: Models,
    /// `[catalog.models]`: what the operator knows better of models, by `provider/model`.
    pub catalog: BTreeMap<String, catalog::Override>,
    /// `[orgs.<id>]`.
    pub orgs: BTreeMap<OrgId, Org>,
    /// `[teams.<id>]`. The organisation of each is among them.
    pub teams: BTreeMap<TeamId, Team>,
    /// `[[client_keys]]`: what applications present, kept as its hash only. The team of each is among them.
    pub client_keys: Vec<ClientKey>,
    pub auth: Auth,
    pub responses: responses::Responses,
    pub limits: LimitTables,
    /// What holders may spend. Every alias that a step names exists, and its holder may use it.
    pub budgets: Table,
    pub budget_policy: budgets::BudgetPolicy,
    /// What must not leave, and what is said to models besides. Every alias that it names exists.
    pub privacy: privacy::Privacy,
    pub audit: audit::Audit,
    pub logs: Logs,
    /// Where the settings came from, for the banner: file paths, `N from environment`, `N from the command line`.
    pub sources: Vec<String>,
    /// What the operator should know although it stops nothing.
    pub warnings: Vec<String>,
    /// Where each value that somebody wrote came from, by the path that [`settings::settings`] gives it.
    pub origins: BTreeMap<String, String>,
    /// Every file whose change may change the configuration, there or not, and each `conf.d`.
    pub files: Vec<PathBuf>,
}

/// `[server]`: the one port and its bounds.
#[derive(Debug, Clone)]
pub struct Server {
    pub listen: SocketAddr,
    /// Worker threads; at least 1 (0 in the file means one per CPU core).
    pub workers: usize,
    /// Largest accepted request body in bytes; larger is a 413.
    pub max_body: usize,
    /// Most bytes of requests and answers held at once; beyond it new requests get a 503.
    pub memory_limit: usize,
    /// The whole request, all attempts.
    pub request_timeout: Duration,
    /// How long a client may take for a request's head, and pause within its body.
    pub client_timeout: Duration,
    /// How long a client may take nothing of an answer that waits for it.
    pub unread_timeout: Duration,
    /// How long running requests may finish after SIGTERM.
    pub shutdown_grace: Duration,
    /// Silence after which a waiting stream gets a comment line.
    pub sse_keepalive: Duration,
}

/// `[storage]`: where the gateway keeps what must survive it.
#[derive(Debug, Clone)]
pub struct Storage {
    pub path: PathBuf,
}

/// `[providers.<id>]`: endpoints that share keys, timeouts and a wire format.
#[derive(Debug, Clone)]
pub struct Provider {
    pub id: String,
    pub kind: ProviderKind,
    /// Of Azure's dated API; none means its v1, which needs none.
    pub api_version: Option<String>,
    /// At least one. Empty only for `demo`, whose address is known once it has started.
    pub endpoints: Vec<ProviderEndpoint>,
    pub keys: Vec<ProviderKey>,
    pub region: Option<String>,
    pub self_hosted: bool,
    pub connect_timeout: Duration,
    pub first_token_timeout: Duration,
    /// From the request to the head of a reply that is not streamed.
    pub reply_timeout: Duration,
    pub idle_timeout: Duration,
    /// Calls in flight per endpoint, all keys together.
    pub max_concurrency: u32,
    /// Whether its endpoints are probed while they are quiet.
    pub probe: bool,
    pub dial: dial::Dial,
    /// Extra request headers the operator wants sent, lower-case names.
    pub headers: Vec<(String, String)>,
    pub tags: Vec<String>,
    /// Only for `kind = "demo"`.
    pub demo: Option<DemoSettings>,
}

/// One base URL of a provider.
#[derive(Debug, Clone)]
pub struct ProviderEndpoint {
    pub id: EndpointId,
    /// Without a trailing slash, usually ending in `/v1`.
    pub base_url: String,
    /// Share of traffic among the provider's endpoints, at least 1.
    pub weight: u32,
    /// The endpoint's own region, or the provider's.
    pub region: Option<String>,
}

/// One API key of a provider.
#[derive(Debug, Clone)]
pub struct ProviderKey {
    pub id: KeyId,
    /// The key itself; the placeholder of [`ProviderKey::credential`] where there is one.
    pub value: Secret,
    /// How its tokens are come by, where it has no value of its own.
    pub credential: Option<credential::Credential>,
    /// Share of traffic among healthy keys, at least 1.
    pub weight: u32,
    /// Requests per minute the provider allows this key, where known.
    pub rpm: Option<u64>,
    /// Tokens per minute the provider allows this key, where known.
    pub tpm: Option<u64>,
    /// Models this key may call; `*` alone means all.
    pub models: Vec<String>,
    /// Models this key may not call.
    pub deny: Vec<String>,
    /// Teams that may use this key; empty means all.
    pub teams: Vec<TeamId>,
}

/// Which wire format the demo provider is spoken to in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Speaks {
    #[default]
    Openai,
    Responses,
    Anthropic,
    Gemini,
}

impl Speaks {
    /// Returns its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Openai => "openai",
            Self::Responses => "responses",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
        }
    }
}

/// How the built-in demo provider behaves.
#[derive(Debug, Clone)]
pub struct DemoSettings {
    pub speaks: Speaks,
    pub seed: u64,
    pub first_token: Duration,
    pub per_token: Duration,
    /// Share by which the two waits vary, 0 to 1.
    pub jitter: f64,
    /// Share of requests to fail, 0 to 1.
    pub error_rate: f64,
}

/// `[balancing]`: how endpoints and keys are chosen, retried and rested.
#[derive(Debug, Clone)]
pub struct Balancing {
    pub strategy: Strategy,
    /// Share of a key's known rpm or tpm after which it gets no more requests, 0 < headroom ≤ 1.
    pub headroom: f64,
    /// Longest time a request waits for the soonest key when none is ready; zero answers at once.
    pub max_wait: Duration,
    pub retry: Retry,
    pub breaker: Breaker,
    pub rest: Rest,
}

/// `[balancing.retry]`.
#[derive(Debug, Clone)]
pub struct Retry {
    /// Calls per request, across keys and endpoints, at least 1.
    pub max_attempts: u32,
    pub backoff_base: Duration,
    pub backoff_max: Duration,
    /// Retries as a share of requests ...
    pub budget_share: f64,
    /// ... plus this many a second.
    pub budget_per_second: f64,
}

/// `[balancing.breaker]`, one per endpoint.
#[derive(Debug, Clone)]
pub struct Breaker {
    pub open_after: u32,
    pub window: Duration,
    pub min_requests: u32,
    pub open_for: Duration,
    pub open_for_max: Duration,
}

/// `[balancing.rest]`, per key.
#[derive(Debug, Clone)]
pub struct Rest {
    /// How long a key rests whose quota is spent, when the provider names no time.
    pub quota_spent: Duration,
}

/// `[probes]`: how endpoints are watched while nobody uses them.
#[derive(Debug, Clone)]
pub struct Probes {
    /// How long an endpoint is quiet before it is asked for its models; zero for never.
    pub every: Duration,
}

/// `[models]`: the names clients send.
#[derive(Debug, Clone)]
pub struct Models {
    /// Whether `provider/model` works without an alias.
    pub allow_direct: bool,
    /// What a request without a model gets.
    pub default: Option<String>,
    /// Whether a request is refused rather than sent without a part of it, where no alias says otherwise.
    pub strict: bool,
    pub aliases: BTreeMap<String, Alias>,
}

/// `[models.alias.<name>]`: one public name and what may serve it.
#[derive(Debug, Clone)]
pub struct Alias {
    pub name: String,
    pub description: Option<String>,
    /// The alias's own strategy, or the one of `[balancing]`.
    pub strategy: Strategy,
    /// At least one; each names a provider that exists.
    pub targets: Vec<Target>,
    /// Aliases that exist, tried in order when every target failed. Free of cycles.
    pub fallback: Vec<String>,
    /// The alias's own word, or the one of `[models]`.
    pub strict: bool,
    pub needs: AliasNeeds,
    /// Of all requests for it together.
    pub limits: Limits,
}

/// `[models.alias.<name>.needs]`: what every target has to offer; one that is known to lack some of it is left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AliasNeeds {
    /// In tokens.
    pub context_window: Option<u64>,
    pub capabilities: BTreeSet<catalog::Ability>,
}

/// One provider and model that may serve an alias.
#[derive(Debug, Clone)]
pub struct Target {
    pub provider: String,
    pub model: String,
    /// At least 1.
    pub weight: u32,
}

/// `[limits]`: those of holders that have no table of their own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LimitTables {
    /// Of all requests that ask for `provider/model` by that name, or by the model's own.
    pub models: BTreeMap<String, Limits>,
    /// Of all requests with a tag, by its name and value.
    pub tags: BTreeMap<(String, String), Limits>,
}

/// `[auth]`.
#[derive(Debug, Clone)]
pub struct Auth {
    /// Whether a request without a valid client key is refused. False only on loopback.
    pub require_key: bool,
    /// Whether it is refused anyway once there is a key, wherever that was made: the operator has not said.
    pub unless_keyless: bool,
    /// Where callers say who they are.
    pub callers: callers::Callers,
    /// Who else may say who somebody is.
    pub oidc: Vec<oidc::Issuer>,
}

/// `[telemetry.logs]`.
#[derive(Debug, Clone)]
pub struct Logs {
    pub format: LogFormat,
    pub level: tracing::Level,
    /// One line for every request served.
    pub access_log: bool,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Pretty on a terminal, JSON otherwise.
    Auto,
    Pretty,
    Json,
}
