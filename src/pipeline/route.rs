//! The names clients may send, resolved to what may serve them: a snapshot made from the configuration.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bursar_actors::access::Place;
use bursar_actors::limits::{Holder, Limits};
use bursar_actors::{Candidate, LeasePool, ReplyForm, RetryBudget, Strategy};
use dashmap::DashMap;
use tokio::sync::watch;

use super::fitness::{Fitness, fitting};
use super::guards::Guards;
use super::pricing::{ModelPrice, guess};
use crate::call::{Call, Caller};
use crate::config::budgets::Unpriced;
use crate::config::{Config, LimitTables, Provider, ProviderEndpoint, ProviderKind, Retry, Target};
use crate::error::GatewayError;
use crate::providers::catalog::{Catalog, Entry, Price, is_regional};
use crate::providers::dialect::ModelFacts;
use crate::schema::Operation;
use crate::upstream::dial::DialSettings;
use crate::upstream::format::Format;
use crate::upstream::{Destination, Timeouts};

/// How many near names a 404 lists.
const NEAR_MAX: usize = 5;
/// Name of all routes without an alias in metrics: what clients send must not become a label.
const DIRECT: &str = "direct";

/// Most names without an alias that are remembered.
const DIRECT_MAX: usize = 1_024;

/// What may serve one name.
#[derive(Debug)]
pub struct Route {
    /// As the client sent it.
    pub asked: String,
    /// The alias, or `direct`.
    pub label: String,
    /// `provider/model` where no alias stands between.
    pub direct_name: Option<String>,
    pub candidates: Arc<[Candidate]>,
    /// Where each candidate's calls go, by the same index.
    pub destinations: Vec<Arc<Destination>>,
    /// What is known of each candidate's model.
    pub facts: Vec<ModelFacts>,
    /// For which requests they are enough.
    pub fitness: Fitness,
    /// Whether all of their models are known to hold conversations.
    pub chats: bool,
    /// What each candidate's model costs.
    pub prices: Vec<Arc<ModelPrice>>,
    pub strategy: Strategy,
    /// Whether a request is refused rather than sent without a part of it.
    pub strict: bool,
    /// Leases granted ahead, for streams and for whole replies.
    pools: [Arc<LeasePool>; 2],
    /// Aliases to try when no candidate is left.
    pub fallback: Vec<String>,
    pub retry_budget: Arc<RetryBudget>,
    /// Of all requests for this name together.
    limits: Option<(Holder, Limits)>,
}

/// A model as `GET /v1/models` lists it.
#[derive(Debug, Clone)]
pub struct PublicModel {
    pub id: String,
    pub owned_by: String,
}

#[derive(Debug)]
struct ProviderRoutes {
    kind: ProviderKind,
    config: Provider,
    endpoints: Vec<(Arc<Destination>, u32)>,
    probe: bool,
    retry_budget: Arc<RetryBudget>,
}

/// What the catalog says of a route's candidates.
struct Known {
    facts: Vec<ModelFacts>,
    fitness: Fitness,
    chats: bool,
    prices: Vec<Arc<ModelPrice>>,
}

/// Every name there is.
#[derive(Debug)]
pub struct Routes {
    aliases: BTreeMap<String, Arc<Route>>,
    providers: BTreeMap<String, ProviderRoutes>,
    /// Those without an alias, as they were asked for.
    direct: DashMap<(String, Operation), Arc<Route>>,
    catalog: Catalog,
    /// Of the catalog, for records: 32 hexadecimal digits.
    catalog_hash: Arc<str>,
    allow_direct: bool,
    default: Option<String>,
    strategy: Strategy,
    strict: bool,
    limits: LimitTables,
    /// What becomes of models without a price, where budgets count.
    pub unpriced: Unpriced,
    /// Requests that may wait for a budget at once.
    pub queue_max: u32,
    pub retry: Retry,
    /// Longest time a request waits for the soonest key.
    pub max_wait: Duration,
    pub request_timeout: Duration,
    pub sse_keepalive: Duration,
    pub max_body: usize,
    /// What requests go through before they leave.
    pub guards: Guards,
    /// How long an endpoint is quiet before it is probed; zero for never.
    pub probe_every: Duration,
    /// Closes when the last request that uses this snapshot lets go of it.
    in_use: watch::Sender<()>,
}

/// Ends when nobody uses a snapshot any more.
pub struct Unused(watch::Receiver<()>);

impl Unused {
    /// Waits for it; nothing is ever sent, only the sender's end counts.
    pub async fn wait(mut self) {
        while self.0.changed().await.is_ok() {}
    }
}

impl Route {
    /// Returns the leases granted ahead for replies of this form.
    pub fn pool(&self, form: ReplyForm) -> &Arc<LeasePool> {
        &self.pools[usize::from(form == ReplyForm::Whole)]
    }

    /// Says whether `caller` may use it, by the name that was asked for or by its full one, and something that serves it.
    pub fn admit(&self, caller: &Caller) -> Result<(), GatewayError> {
        if !(caller.may_use(&self.asked) || self.direct_name.as_ref().is_some_and(|name| caller.may_use(name))) {
            return Err(GatewayError::ModelNotAllowed { asked: self.asked.clone() });
        }
        if self.serves(caller) { Ok(()) } else { Err(GatewayError::TargetNotAllowed { asked: self.asked.clone() }) }
    }

    /// Returns whether any candidate is one that `caller` may use.
    pub fn serves(&self, caller: &Caller) -> bool {
        // Where nothing serves at all, that is not the caller's fault.
        self.candidates.is_empty() || self.barred(caller).len() < self.candidates.len()
    }

    /// Returns the candidates, by index, of whose models nobody knows what they cost.
    pub fn unpriced(&self) -> impl Iterator<Item = usize> {
        self.prices.iter().enumerate().filter(|(_, price)| price.counted().is_none()).map(|(index, _)| index)
    }

    /// Returns the candidates, by index, that `caller` may not use.
    pub fn barred(&self, caller: &Caller) -> Vec<usize> {
        let Some(scope) = caller.scope().filter(|scope| !scope.reaches_all()) else { return vec![] };
        let outside = |(index, to): (usize, &Arc<Destination>)| (!scope.reaches(&place(to))).then_some(index);
        self.destinations.iter().enumerate().filter_map(outside).collect()
    }
}

impl Routes {
    /// Builds the snapshot; `config` has been checked, so every name in it resolves.
    pub fn new(config: &Config) -> Self {
        let now = Instant::now();
        let retry = &config.balancing.retry;
        let budget = || Arc::new(RetryBudget::new(retry.budget_share, retry.budget_per_second, now));
        let providers = config.providers.values().map(|provider| {
            let endpoints = provider.endpoints.iter();
            let endpoints = endpoints.map(|endpoint| (Arc::new(destination(provider, endpoint)), endpoint.weight));
            let (kind, probe) = (provider.kind, provider.probe);
            let config = provider.clone();
            let endpoints = endpoints.collect();
            let routes = ProviderRoutes { kind, config, endpoints, probe, retry_budget: budget() };
            (provider.id.clone(), routes)
        });
        let catalog = Catalog::builtin().with_overrides(config);
        let mut routes = Self {
            aliases: BTreeMap::new(),
            providers: providers.collect(),
            direct: DashMap::new(),
            catalog_hash: blake3::Hash::from_bytes(catalog.hash()).to_hex()[..32].into(),
            catalog,
            allow_direct: config.models.allow_direct,
            default: config.models.default.clone(),
            strategy: config.balancing.strategy,
            strict: config.models.strict,
            limits: config.limits.clone(),
            unpriced: config.budget_policy.unpriced,
            queue_max: config.budget_policy.queue_max,
            retry: retry.clone(),
            max_wait: config.balancing.max_wait,
            request_timeout: config.server.request_timeout,
            sse_keepalive: config.server.sse_keepalive,
            max_body: config.server.max_body,
            guards: Guards::new(config),
            probe_every: config.probes.every,
            in_use: watch::Sender::new(()),
        };
        for alias in config.models.aliases.values() {
            let (targets, _) = fitting(alias, &config.providers, &routes.catalog);
            let (candidates, destinations) = routes.spread(&targets);
            let Known { facts, fitness, chats, prices } = routes.known(&candidates, &destinations);
            let route = Route {
                asked: alias.name.clone(),
                label: alias.name.clone(),
                direct_name: None,
                pools: pools(&candidates, alias.strategy),
                candidates,
                destinations,
                facts,
                fitness,
                chats,
                prices,
                strategy: alias.strategy,
                strict: alias.strict,
                fallback: alias.fallback.clone(),
                retry_budget: budget(),
                limits: limits_of(&alias.name, Some(&alias.limits)),
            };
            routes.aliases.insert(alias.name.clone(), Arc::new(route));
        }
        routes
    }

    /// Returns what may serve `asked`, or the default model where the client named none.
    pub fn resolve(&self, asked: Option<&str>, operation: Operation) -> Option<Arc<Route>> {
        let asked = asked.or(self.default.as_deref()).unwrap_or_default();
        if let Some(route) = self.aliases.get(asked) {
            return Some(route.clone());
        }
        if !self.allow_direct {
            return None;
        }
        let key = (asked.to_owned(), operation);
        if let Some(route) = self.direct.get(&key) {
            return Some(route.clone());
        }
        let route = Arc::new(self.direct(asked, operation)?);
        // Names come from clients: when there are too many, the busy ones are soon back.
        if self.direct.len() >= DIRECT_MAX {
            self.direct.clear();
        }
        self.direct.insert(key, route.clone());
        Some(route)
    }

    /// Returns everybody with limits that a request for `route` counts against.
    pub fn above(&self, route: &Route, call: &Call) -> Vec<(Holder, Limits)> {
        let Some(identity) = call.caller.identity() else { return route.limits.iter().cloned().collect() };
        let mut above = identity.limits.to_vec();
        if !identity.user_limits.is_empty() {
            let name = call.head.user.as_deref().unwrap_or_default();
            above.push((Holder::User(identity.team.clone(), name.into()), identity.user_limits));
        }
        let tags = self.limits.tags.iter().filter(|((name, value), _)| identity.tags.get(name) == Some(value));
        above.extend(tags.map(|((name, value), limits)| (Holder::Tag(format!("{name}={value}").into()), *limits)));
        above.extend(route.limits.clone());
        above
    }

    /// Returns the error for a name that does not resolve, with near ones that the caller may use.
    pub fn not_found(&self, asked: Option<&str>, caller: &Caller) -> GatewayError {
        let asked = asked.or(self.default.as_deref()).unwrap_or_default();
        let wanted = asked.to_lowercase();
        let distance = |name: &str| strsim::damerau_levenshtein(&wanted, &name.to_lowercase());
        let names = self.public_models(caller).into_iter();
        let mut names: Vec<_> = names.map(|model| (distance(&model.id), model.id)).collect();
        names.sort();
        let near = names.into_iter().take(NEAR_MAX).map(|(_, name)| name).collect();
        GatewayError::ModelNotFound { asked: asked.into(), near }
    }

    /// Returns what ends once this snapshot is dropped.
    pub fn unused(&self) -> Unused {
        Unused(self.in_use.subscribe())
    }

    /// Returns the routes of all aliases.
    pub fn aliases(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.aliases.values()
    }

    /// Returns the route of the alias `name`.
    pub fn alias(&self, name: &str) -> Option<&Arc<Route>> {
        self.aliases.get(name)
    }

    /// Returns whether `provider/model` may be asked for without an alias.
    pub fn allows_direct(&self) -> bool {
        self.allow_direct
    }

    /// Returns every endpoint that may be probed, by provider.
    pub fn probed(&self) -> impl Iterator<Item = &Arc<Destination>> {
        let providers = self.providers.values().filter(|provider| provider.probe);
        providers.flat_map(|provider| &provider.endpoints).map(|(destination, _)| destination)
    }

    /// Returns the names that the configuration knows and `caller` may use, aliases first.
    pub fn public_models(&self, caller: &Caller) -> Vec<PublicModel> {
        let alias = |name: &String| PublicModel { id: name.clone(), owned_by: "bursar".into() };
        let open = self.aliases.iter().filter(|(name, route)| caller.may_use(name) && route.serves(caller));
        let mut models: Vec<_> = open.map(|(name, _)| alias(name)).collect();
        let mut targets: Vec<_> = self.aliases.values().flat_map(|route| named_targets(route)).collect();
        targets.sort();
        targets.dedup();
        if self.allow_direct {
            let direct = |(provider, model): (String, String)| PublicModel {
                id: format!("{provider}/{model}"),
                owned_by: provider,
            };
            let direct = targets.into_iter().filter(|(provider, _)| self.reaches(provider, caller)).map(direct);
            models.extend(direct.filter(|model| caller.may_use(&model.id)));
        }
        models
    }

    /// Returns whether `caller` may use an endpoint of `provider`.
    pub fn reaches(&self, provider: &str, caller: &Caller) -> bool {
        let Some(scope) = caller.scope().filter(|scope| !scope.reaches_all()) else { return true };
        let endpoints = self.providers.get(provider).map(|routes| routes.endpoints.iter());
        endpoints.is_some_and(|mut endpoints| endpoints.any(|(to, _)| scope.reaches(&place(to))))
    }

    /// Spreads targets over their providers' endpoints. Weights multiply; the rank is the target's place.
    fn spread(&self, targets: &[&Target]) -> (Arc<[Candidate]>, Vec<Arc<Destination>>) {
        let mut candidates = Vec::new();
        let mut destinations = Vec::new();
        for (rank, target) in targets.iter().enumerate() {
            let Some(provider) = self.providers.get(&target.provider) else { continue };
            for (destination, weight) in &provider.endpoints {
                candidates.push(Candidate {
                    endpoint: destination.endpoint.clone(),
                    home: destination.home,
                    model: target.model.as_str().into(),
                    weight: target.weight * weight,
                    rank: rank as u32,
                });
                destinations.push(destination.clone());
            }
        }
        (candidates.into(), destinations)
    }

    /// Looks up what the catalog knows of each candidate, and what it costs.
    fn known(&self, candidates: &[Candidate], destinations: &[Arc<Destination>]) -> Known {
        let of = |(candidate, destination): (&Candidate, &Arc<Destination>)| {
            let provider = self.config_of(&destination.provider)?;
            self.catalog.of(provider, candidate.model.as_str())
        };
        let entries: Vec<_> = candidates.iter().zip(destinations).map(of).collect();
        let facts = entries.iter().map(|entry| entry.as_ref().map(Entry::facts).unwrap_or_default()).collect();
        let fitness = Fitness::new(entries.iter().map(Option::as_ref));
        let price = |(entry, destination): (Option<Entry>, &Arc<Destination>)| {
            let price = entry.and_then(|entry| entry.price).filter(Price::is_known);
            let (guess, snapshot) = (guess(&self.unpriced), self.catalog_hash.clone());
            Arc::new(ModelPrice { price, guess, regional: is_regional(&destination.base_url), snapshot })
        };
        let chats = |entry: &Option<Entry>| entry.as_ref().is_some_and(|entry| entry.mode.chats());
        let chats = !entries.is_empty() && entries.iter().all(chats);
        Known { facts, fitness, chats, prices: entries.into_iter().zip(destinations).map(price).collect() }
    }

    fn config_of(&self, provider: &str) -> Option<&Provider> {
        self.providers.get(provider).map(|routes| &routes.config)
    }

    /// Resolves `provider/model`, or a bare upstream name where it is clear whose it is.
    fn direct(&self, asked: &str, operation: Operation) -> Option<Route> {
        let (provider, model) = match asked.split_once('/') {
            Some((provider, model)) if self.providers.contains_key(provider) && !model.is_empty() => (provider, model),
            _ => (self.owner_of(asked)?, asked),
        };
        let routes = self.providers.get(provider)?;
        let model = if routes.kind == ProviderKind::Demo { demo_model(model, operation)? } else { model };
        let target = Target { provider: provider.into(), model: model.into(), weight: 1 };
        let (candidates, destinations) = self.spread(&[&target]);
        let Known { facts, fitness, chats, prices } = self.known(&candidates, &destinations);
        let name = format!("{provider}/{model}");
        Some(Route {
            asked: asked.into(),
            label: DIRECT.into(),
            limits: limits_of(&name, self.limits.models.get(&name)),
            direct_name: Some(name),
            pools: pools(&candidates, self.strategy),
            facts,
            fitness,
            chats,
            prices,
            candidates,
            destinations,
            strategy: self.strategy,
            strict: self.strict,
            fallback: vec![],
            retry_budget: routes.retry_budget.clone(),
        })
    }

    /// Returns the provider that a bare model name belongs to: the only one there is, or the only one whose own name it is.
    fn owner_of(&self, model: &str) -> Option<&str> {
        let mut names = self.providers.keys();
        if let (Some(only), None) = (names.next(), names.next()) {
            return (!model.is_empty()).then_some(only.as_str());
        }
        let kind = maker(model)?;
        let mut makers = self.providers.iter().filter(|(_, routes)| routes.kind == kind);
        let (name, _) = makers.next()?;
        makers.next().is_none().then_some(name.as_str())
    }
}

fn place(to: &Destination) -> Place<'_> {
    Place { provider: &to.provider, endpoint: to.endpoint.as_str(), region: to.region.as_deref() }
}

fn limits_of(name: &str, limits: Option<&Limits>) -> Option<(Holder, Limits)> {
    let limits = limits.filter(|limits| !limits.is_empty())?;
    Some((Holder::Model(name.into()), *limits))
}

fn pools(candidates: &Arc<[Candidate]>, strategy: Strategy) -> [Arc<LeasePool>; 2] {
    [ReplyForm::Streamed, ReplyForm::Whole].map(|form| Arc::new(LeasePool::new(candidates.clone(), strategy, form)))
}

fn named_targets(route: &Route) -> Vec<(String, String)> {
    let pairs = route.candidates.iter().zip(&route.destinations);
    pairs.map(|(candidate, destination)| (destination.provider.clone(), candidate.model.to_string())).collect()
}

/// Returns whose model it is beyond doubt, by how its name begins.
fn maker(model: &str) -> Option<ProviderKind> {
    use ProviderKind as Kind;
    const PREFIXES: [(&str, Kind); 18] = [
        ("gpt-", Kind::OpenAi),
        ("chatgpt-", Kind::OpenAi),
        ("o1", Kind::OpenAi),
        ("o3", Kind::OpenAi),
        ("o4", Kind::OpenAi),
        ("text-embedding-", Kind::OpenAi),
        ("ft:", Kind::OpenAi),
        ("claude-", Kind::Anthropic),
        ("gemini-", Kind::Gemini),
        ("mistral-", Kind::Mistral),
        ("ministral-", Kind::Mistral),
        ("magistral-", Kind::Mistral),
        ("codestral-", Kind::Mistral),
        ("command-", Kind::Cohere),
        ("deepseek-", Kind::DeepSeek),
        ("grok-", Kind::XAi),
        ("kimi-", Kind::Moonshot),
        ("glm-", Kind::Zai),
    ];
    PREFIXES.iter().find(|(prefix, _)| model.starts_with(prefix)).map(|(_, kind)| *kind)
}

/// Returns the demo model that stands in for `model`: itself, or one for the well-known names that existing programs
/// ask for, so that pointing such a program at a gateway without keys gives an answer and not a 404.
fn demo_model(model: &str, operation: Operation) -> Option<&str> {
    if model.starts_with("demo-") {
        return Some(model);
    }
    let known = maker(model).is_some() || model.starts_with("llama");
    known.then_some(if operation.embeds() { "demo-embed" } else { "demo-small" })
}

fn destination(provider: &Provider, endpoint: &ProviderEndpoint) -> Destination {
    let timeouts = Timeouts {
        first_token: provider.first_token_timeout,
        reply: provider.reply_timeout,
        idle: provider.idle_timeout,
    };
    let dial = DialSettings::of(provider.connect_timeout, &provider.dial);
    let (format, headers) = (Format::of(provider), &provider.headers);
    let mut destination =
        Destination::of(endpoint.id.clone(), &provider.id, &endpoint.base_url, format, headers, timeouts, dial)
            .expect("config::check accepts only URLs and headers that parse");
    destination.region = endpoint.region.clone();
    destination.self_hosted = provider.self_hosted;
    destination
}
