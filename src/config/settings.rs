//! A configuration as a flat list of settings, each with where it came from: for people to read and for comparing two.
//!
//! The list is made from the checked configuration, so it has defaults too and `15m` equals `900s`. Elements of lists go
//! by their id or name (`providers.openai.keys.team_a.weight`), so that a key that moved in its file is still the same. Secrets
//! are shown as `…`; a hash of each stays beside it, or a rotated key would look unchanged.

mod access;
mod budgets;
mod limits;
mod privacy;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use toml::{Table, Value};

use super::audit::Witness;
use super::catalog::Tier;
use super::credential::{Aws, Credential, Entra, Google, WebIdentity};
use super::layer::{Origins, child, item};
use super::{Balancing, Config, LogFormat, Models, Provider, ProviderEndpoint, Target};

/// What a secret looks like.
const MASK: &str = "…";
/// Origin of what nobody wrote.
pub const DEFAULT: &str = "default";

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    pub path: String,
    /// As a person would write it; `…` for a secret.
    pub value: String,
    /// `bursar.toml:12:9`, `env BURSAR__…`, `--set …` or `default`.
    pub origin: String,
    /// Of a secret, to compare it.
    pub fingerprint: Option<[u8; 32]>,
}

/// Returns where each value of the merged `table` came from, by the path that [`settings`] gives it.
pub fn labels(table: &Table, origins: &Origins) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    label_table(table, "", "", origins, &mut labels);
    labels
}

fn label_table(table: &Table, raw: &str, shown: &str, origins: &Origins, labels: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        label(value, &child(raw, key), &child(shown, key), origins, labels);
    }
}

fn label(value: &Value, raw: &str, shown: &str, origins: &Origins, labels: &mut BTreeMap<String, String>) {
    let origin = origins.find(raw).map_or_else(|| "built-in".to_owned(), |origin| origin.label());
    labels.insert(shown.to_owned(), origin);
    match value {
        Value::Table(table) => label_table(table, raw, shown, origins, labels),
        Value::Array(list) => {
            for (index, element) in list.iter().enumerate() {
                let word = |key: &str| element.get(key).and_then(Value::as_str);
                let shown = match word("id").or_else(|| word("name")) {
                    Some(id) => child(shown, id),
                    None => item(shown, index),
                };
                label(element, &item(raw, index), &shown, origins, labels);
            }
        }
        _ => {}
    }
}

/// Returns every setting of `config`, sorted by path.
pub fn settings(config: &Config) -> Vec<Setting> {
    let mut list = List { origins: &config.origins, settings: Vec::new() };
    list.server(config);
    for provider in config.providers.values() {
        list.provider(provider);
    }
    list.balancing(&config.balancing);
    list.time("probes", "every", config.probes.every);
    list.models(&config.models);
    list.catalog(config);
    list.access(config);
    let responses = &config.responses;
    list.put("responses.store", responses.store.as_str());
    list.time("responses", "retention", responses.retention);
    list.put("responses.storage", size(responses.storage));
    list.limit_tables(&config.limits);
    list.budgets(config);
    list.privacy(&config.privacy);
    list.audit(config);
    let mut settings = list.settings;
    settings.sort_by(|a, b| a.path.cmp(&b.path));
    settings
}

/// Returns a hash over every setting, by which records say what was in force. Secrets go in by their own hashes.
pub fn hash(config: &Config) -> String {
    let mut hasher = blake3::Hasher::new();
    for Setting { path, value, fingerprint, .. } in settings(config) {
        hasher.update(format!("{path} = {value}\n").as_bytes());
        hasher.update(&fingerprint.unwrap_or_default());
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

struct List<'c> {
    origins: &'c BTreeMap<String, String>,
    settings: Vec<Setting>,
}

impl List<'_> {
    fn origin(&self, path: &str) -> String {
        self.origins.get(path).cloned().unwrap_or_else(|| DEFAULT.to_owned())
    }

    fn put(&mut self, path: &str, value: impl Display) {
        let (path, origin) = (path.to_owned(), self.origin(path));
        let value = value.to_string();
        self.settings.push(Setting { path, value, origin, fingerprint: None });
    }

    fn time(&mut self, table: &str, key: &str, value: Duration) {
        self.put(&child(table, key), humantime::format_duration(value));
    }

    fn words<T: Display>(&mut self, path: &str, words: &[T]) {
        let words: Vec<String> = words.iter().map(|word| format!("{:?}", word.to_string())).collect();
        self.put(path, format!("[{}]", words.join(", ")));
    }

    fn optional(&mut self, path: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.put(path, value);
        }
    }

    /// Adds a value that was `written` elsewhere.
    fn put_of(&mut self, path: &str, written: &str, value: impl Display) {
        self.put(path, value);
        let origin = self.origin(written);
        if let Some(setting) = self.settings.last_mut() {
            setting.origin = origin;
        }
    }

    /// Adds the value of the first of `paths`, which came from the first of them that somebody wrote.
    fn put_of_first(&mut self, paths: &[&str], value: impl Display) {
        let Some(path) = paths.first() else { return };
        let written = paths.iter().find(|path| self.origins.contains_key(**path)).unwrap_or(path);
        self.put_of(path, written, value);
    }

    /// Adds a secret whose value was `written` elsewhere, as that of a pool.
    fn secret(&mut self, path: &str, written: &str, value: &[u8]) {
        let fingerprint = Some(*blake3::hash(value).as_bytes());
        let (path, origin) = (path.to_owned(), self.origin(written));
        self.settings.push(Setting { path, value: MASK.to_owned(), origin, fingerprint });
    }

    fn server(&mut self, config: &Config) {
        let server = &config.server;
        self.put("server.listen", server.listen);
        self.put("server.workers", server.workers);
        self.time("server", "shutdown_grace", server.shutdown_grace);
        self.put("server.max_body", size(server.max_body));
        self.put("server.memory_limit", size(server.memory_limit));
        self.time("server", "request_timeout", server.request_timeout);
        self.time("server", "client_timeout", server.client_timeout);
        self.time("server", "unread_timeout", server.unread_timeout);
        self.time("server", "sse_keepalive", server.sse_keepalive);
        self.put("storage.path", config.storage.path.display());
        let format = match config.logs.format {
            LogFormat::Auto => "auto",
            LogFormat::Pretty => "pretty",
            LogFormat::Json => "json",
        };
        self.put("telemetry.logs.format", format);
        self.put("telemetry.logs.level", config.logs.level.as_str().to_ascii_lowercase());
        self.put("telemetry.logs.access_log", config.logs.access_log);
    }

    fn audit(&mut self, config: &Config) {
        let audit = &config.audit;
        self.put("audit.enabled", audit.enabled);
        self.put_of_first(&["audit.content", "compliance.profile"], audit.content.as_str());
        self.put("audit.content_max", size(audit.content_max));
        self.put("audit.users_max", audit.users_max);
        self.put("audit.commit", audit.commit.as_str());
        self.put("audit.keys_path", audit.keys_path.display());
        for (path, key) in [("audit.signing_key", &audit.signing_key), ("audit.master_key", &audit.master_key)] {
            if let Some(key) = key {
                self.secret(path, path, key.expose().as_bytes());
            }
        }
        self.time("audit", "checkpoint_every", audit.checkpoint_every);
        let witnesses: Vec<String> = audit.witnesses.iter().map(Witness::label).collect();
        self.words("audit.witness", &witnesses);
        self.time("storage.retention", "audit", audit.retention.audit);
        self.time("storage.retention", "content", audit.retention.content);
    }

    fn provider(&mut self, provider: &Provider) {
        let path = child("providers", &provider.id);
        let at = |key: &str| child(&path, key);
        self.put(&at("kind"), provider.kind.as_str());
        if let Some(version) = &provider.api_version {
            self.put(&at("api_version"), version);
        }
        self.optional(&at("region"), provider.region.as_ref());
        self.put(&at("self_hosted"), provider.self_hosted);
        self.time(&path, "connect_timeout", provider.connect_timeout);
        self.time(&path, "first_token_timeout", provider.first_token_timeout);
        self.time(&path, "reply_timeout", provider.reply_timeout);
        self.time(&path, "idle_timeout", provider.idle_timeout);
        self.put(&at("max_concurrency"), provider.max_concurrency);
        self.put(&at("probe"), provider.probe);
        if !provider.tags.is_empty() {
            self.words(&at("tags"), &provider.tags);
        }
        for (name, value) in &provider.headers {
            let header = child(&at("headers"), name);
            self.secret(&header, &header, value.as_bytes());
        }
        self.endpoints(&path, &provider.endpoints, provider.demo.is_some());
        for key in &provider.keys {
            self.key(&path, key);
        }
        let Some(demo) = &provider.demo else { return };
        self.put(&at("seed"), demo.seed);
        self.put(&at("error_rate"), demo.error_rate);
        self.put(&at("speaks"), demo.speaks.as_str());
        let latency = at("latency");
        self.time(&latency, "first_token", demo.first_token);
        self.time(&latency, "per_token", demo.per_token);
        self.put(&child(&latency, "jitter"), demo.jitter);
    }

    /// A demo provider's address is made up at each start, so it is no setting.
    fn endpoints(&mut self, path: &str, endpoints: &[ProviderEndpoint], demo: bool) {
        if demo {
            return;
        }
        let list = child(path, "endpoints");
        if !self.origins.contains_key(&list)
            && let [only] = endpoints
        {
            self.put(&child(path, "base_url"), &only.base_url);
            return;
        }
        for (index, endpoint) in endpoints.iter().enumerate() {
            let named = child(&list, endpoint.id.as_str());
            // One without an id of its own stands in the file by its number.
            let here = if self.origins.contains_key(&named) { named } else { item(&list, index) };
            self.put(&child(&here, "base_url"), &endpoint.base_url);
            self.put(&child(&here, "weight"), endpoint.weight);
            self.optional(&child(&here, "region"), endpoint.region.as_ref());
        }
    }

    fn key(&mut self, provider: &str, key: &super::ProviderKey) {
        let path = child(&child(provider, "keys"), key.id.as_str());
        let value = child(&path, "value");
        let of_pool = !self.origins.contains_key(&path);
        let written = if of_pool { child(provider, "key_pool") } else { value.clone() };
        match &key.credential {
            Some(credential) => self.credential(&path, credential),
            None => self.secret(&value, &written, key.value.expose().as_bytes()),
        }
        self.put(&child(&path, "weight"), key.weight);
        self.optional(&child(&path, "rpm"), key.rpm);
        self.optional(&child(&path, "tpm"), key.tpm);
        self.words(&child(&path, "models"), &key.models);
        if !key.deny.is_empty() {
            self.words(&child(&path, "deny"), &key.deny);
        }
        if !key.teams.is_empty() {
            self.words(&child(&path, "teams"), &key.teams);
        }
    }

    fn credential(&mut self, key: &str, credential: &Credential) {
        let entra = child(key, "entra");
        match credential {
            Credential::Google(google) => self.google(&child(key, "google"), google),
            Credential::Aws(aws) => self.aws(&child(key, "aws"), aws),
            Credential::Entra(Entra::Managed) => self.put(&entra, "managed"),
            Credential::Entra(Entra::Client { tenant, client_id, client_secret, scope, authority }) => {
                let secret = child(&entra, "client_secret");
                self.secret(&secret, &secret, client_secret.expose().as_bytes());
                for (name, value) in
                    [("tenant", tenant), ("client_id", client_id), ("scope", scope), ("authority", authority)]
                {
                    self.put(&child(&entra, name), value);
                }
            }
        }
    }

    fn google(&mut self, path: &str, google: &Google) {
        let (key, file, secret) = match google {
            Google::Metadata => return self.put(path, "metadata"),
            Google::ServiceAccount(account) => ("service_account", &account.file, &account.key),
            Google::AuthorizedUser(user) => ("credentials", &user.file, &user.refresh_token),
            Google::ExternalAccount(account) => return self.put(&child(path, "credentials"), &account.file),
        };
        // A service account may have been given by either key.
        let given = ["service_account", "credentials"].map(|key| child(path, key));
        let path = given.into_iter().find(|path| self.origins.contains_key(path)).unwrap_or_else(|| child(path, key));
        self.secret(&path, &path, secret.expose().as_bytes());
        if let Some(setting) = self.settings.last_mut() {
            setting.value.clone_from(file);
        }
    }

    fn aws(&mut self, path: &str, aws: &Aws) {
        match aws {
            Aws::Static { access_key_id, secret_access_key, session_token } => {
                let mut secret = |name: &str, value: &str| {
                    let path = child(path, name);
                    self.secret(&path, &path, value.as_bytes());
                };
                secret("access_key_id", access_key_id);
                secret("secret_access_key", secret_access_key.expose());
                if let Some(token) = session_token {
                    secret("session_token", token.expose());
                }
            }
            Aws::WebIdentity(WebIdentity { role_arn: None, token_file: None, .. }) => self.put(path, "web_identity"),
            Aws::WebIdentity(WebIdentity { role_arn, token_file, session_name, region }) => {
                self.optional(&child(path, "role_arn"), role_arn.as_ref());
                self.optional(&child(path, "web_identity_token_file"), token_file.as_ref());
                self.optional(&child(path, "session_name"), session_name.as_ref());
                self.optional(&child(path, "region"), region.as_ref());
            }
            Aws::Role(role) => {
                self.put(&child(path, "role_arn"), &role.arn);
                self.optional(&child(path, "external_id"), role.external_id.as_ref());
                self.optional(&child(path, "session_name"), role.session_name.as_ref());
                self.optional(&child(path, "region"), role.region.as_ref());
                match &role.source {
                    keys @ Aws::Static { .. } => self.aws(path, keys),
                    source => self.aws(&child(path, "source"), source),
                }
            }
            Aws::Environment => self.put(path, "environment"),
            Aws::Profile(name) => self.put(path, format!("profile:{name}")),
            Aws::Container => self.put(path, "container"),
            Aws::Instance => self.put(path, "instance"),
        }
    }

    fn balancing(&mut self, balancing: &Balancing) {
        let Balancing { retry, breaker, rest, .. } = balancing;
        self.put("balancing.strategy", balancing.strategy.as_str());
        self.put("balancing.headroom", balancing.headroom);
        self.time("balancing", "max_wait", balancing.max_wait);
        self.put("balancing.retry.max_attempts", retry.max_attempts);
        self.time("balancing.retry.backoff", "base", retry.backoff_base);
        self.time("balancing.retry.backoff", "max", retry.backoff_max);
        self.put("balancing.retry.budget.share", retry.budget_share);
        self.put("balancing.retry.budget.per_second", retry.budget_per_second);
        self.put("balancing.breaker.open_after", breaker.open_after);
        self.time("balancing.breaker", "window", breaker.window);
        self.put("balancing.breaker.min_requests", breaker.min_requests);
        self.time("balancing.breaker", "open_for", breaker.open_for);
        self.time("balancing.breaker", "open_for_max", breaker.open_for_max);
        self.time("balancing.rest", "quota_spent", rest.quota_spent);
    }

    fn models(&mut self, models: &Models) {
        self.put("models.allow_direct", models.allow_direct);
        self.optional("models.default", models.default.as_ref());
        self.put("models.strict", models.strict);
        for alias in models.aliases.values() {
            let path = child("models.alias", &alias.name);
            self.optional(&child(&path, "description"), alias.description.as_ref());
            self.put(&child(&path, "strategy"), alias.strategy.as_str());
            for (index, Target { provider, model, weight }) in alias.targets.iter().enumerate() {
                let here = item(&child(&path, "targets"), index);
                self.put(&child(&here, "provider"), provider);
                self.put(&child(&here, "model"), model);
                self.put(&child(&here, "weight"), weight);
            }
            if !alias.fallback.is_empty() {
                self.words(&child(&path, "fallback"), &alias.fallback);
            }
            self.put(&child(&path, "strict"), alias.strict);
            let needs = child(&path, "needs");
            self.optional(&child(&needs, "context_window"), alias.needs.context_window);
            if !alias.needs.capabilities.is_empty() {
                let words: Vec<_> = alias.needs.capabilities.iter().collect();
                self.words(&child(&needs, "capabilities"), &words);
            }
            self.limits(&child(&path, "limits"), &alias.limits);
        }
    }

    fn catalog(&mut self, config: &Config) {
        for (name, model) in &config.catalog {
            let path = child("catalog.models", name);
            self.optional(&child(&path, "context"), model.context);
            self.optional(&child(&path, "max_output"), model.max_output);
            self.optional(&child(&path, "request_price"), model.request_price.map(dollars));
            self.optional(&child(&path, "search_price"), model.search_price.map(dollars));
            let mut long = 0;
            for ((tier, above), rates) in &model.tariff {
                let here = match (tier, above) {
                    (Tier::Standard, 0) => child(&path, "price"),
                    (Tier::Standard, above) => {
                        let here = item(&child(&path, "long_price"), long);
                        long += 1;
                        self.put(&child(&here, "above"), above);
                        child(&here, "price")
                    }
                    (tier, _) => child(&path, &format!("{}_price", tier.word())),
                };
                for (key, rate) in rates.named() {
                    self.optional(&child(&here, key), rate.map(dollars));
                }
            }
            for (key, words) in [("can", &model.can), ("cannot", &model.cannot)] {
                if !words.is_empty() {
                    self.words(&child(&path, key), &words.iter().collect::<Vec<_>>());
                }
            }
            if !model.efforts.is_empty() {
                let words: Vec<_> = model.efforts.iter().map(|effort| effort.as_str()).collect();
                self.words(&child(&path, "efforts"), &words);
            }
        }
    }
}

/// Returns nano-dollars (per million tokens, or each) as dollars, without zeros at the end.
pub fn dollars(nanos: u64) -> String {
    let text = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn size(bytes: usize) -> String {
    match bytes {
        bytes if bytes % 1_000_000 == 0 => format!("{}MB", bytes / 1_000_000),
        bytes if bytes % (1 << 20) == 0 => format!("{}MiB", bytes >> 20),
        bytes => bytes.to_string(),
    }
}
