//! Everything the workers share, built from one checked configuration.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use actix::Addr;
use arc_swap::ArcSwap;
use bursar_actors::access::{self, Directory, Holders, Roster};
use bursar_actors::admins::Users;
use bursar_actors::budget::Table;
use bursar_actors::budget::keeper::Configure;
use bursar_actors::limits::Meters;
use bursar_actors::vault::Vault;
use bursar_actors::{
    BreakerPolicy, Clock, EndpointSpec, Handles, KeyId, KeyPolicy, KeySpec, SystemOptions, start as start_actors,
};

use tokio::sync::Mutex;
use tracing::{error, warn};

use super::auth::ClientKeys;
use super::reload::Reloads;
use super::session::Doors;
use crate::books::{Books, Opened, retention};
use crate::config::{Balancing, Config, Provider, ProviderEndpoint};
use crate::error::{Cause, GatewayError};
use crate::oidc::{Issuers, Keeper, Namer};
use crate::pipeline::budgets::Budgets;
use crate::pipeline::catalog::Catalog;
use crate::pipeline::drain::Drain;
use crate::pipeline::memory::Memory;
use crate::pipeline::probe::Prober;
use crate::pipeline::route::Routes;
use crate::pipeline::webhooks::Webhooks;
use crate::pipeline::witness::Witnesses;
use crate::providers::signatures::Signatures;
use crate::stored::Store;
use crate::telemetry::metrics::Metrics;
use crate::upstream::Upstream;
use crate::upstream::credentials::{Credentials, Refresher, Surroundings, wanted};

/// Name of the one key of an upstream that asks for none.
const KEYLESS: &str = "none";

/// How often meters that nobody uses are looked for.
const SWEPT_EVERY: Duration = Duration::from_secs(60);

/// What the workers share.
pub struct Gateway {
    pub listen: SocketAddr,
    pub workers: usize,
    pub shutdown_grace: Duration,
    pub client_timeout: Duration,
    pub unread_timeout: Duration,
    pub access_log: bool,
    pub routes: Arc<ArcSwap<Routes>>,
    pub clients: ArcSwap<ClientKeys>,
    /// The one writer of organisations, teams and client keys, and who is let in by it.
    pub directory: Addr<Directory>,
    pub roster: Arc<Roster>,
    /// Whose bearer tokens are taken in the place of client keys.
    pub issuers: Arc<ArcSwap<Issuers>>,
    /// How admins come in.
    pub doors: Doors,
    pub actors: Handles,
    /// What upstreams say they serve, by their probes.
    pub catalog: Arc<Catalog>,
    /// Those of keys whose credentials expire.
    pub credentials: Arc<Credentials>,
    pub metrics: Arc<Metrics>,
    /// Where every request is written down; none with `audit.enabled = false`.
    pub books: Option<Arc<Books>>,
    /// What is kept for clients; nothing without a vault.
    pub stored: Option<Arc<Store>>,
    /// Who is told of the books' checkpoints besides.
    pub witnesses: Arc<Witnesses>,
    /// Who is told of the steps that budgets reach.
    pub webhooks: Arc<Webhooks>,
    pub drain: Arc<Drain>,
    pub memory: Arc<Memory>,
    /// What every holder of a limit uses.
    pub meters: Arc<Meters>,
    /// What every holder of a budget may still spend.
    pub budgets: Arc<Budgets>,
    pub signatures: Arc<Signatures>,
    /// BLAKE3 of the admin token; without one, only the socket lets anybody in.
    pub admin_token: Option<blake3::Hash>,
    /// What is in force: the last configuration without faults, but for what needs a restart.
    pub config: ArcSwap<Config>,
    pub(super) reloads: Reloads,
    /// Held from asking which budgets there are until they are in force, or an older answer could win over a newer one.
    pub(super) budgets_turn: Mutex<()>,
}

/// What a gateway is opened with besides its configuration.
pub struct Opening {
    /// The address that was really bound.
    pub listen: SocketAddr,
    pub admin_token: Option<blake3::Hash>,
    /// The books, open; none where none are kept.
    pub books: Option<Opened>,
    /// What seals where no books are kept, which have a vault of their own.
    pub vault: Option<Arc<Vault>>,
    /// Organisations, teams and client keys that were made while a gateway ran.
    pub directory: Directory,
    /// Users of the admin API.
    pub users: Users,
    pub clock: Clock,
    /// Seeds every choice made by chance.
    pub seed: u64,
}

impl Gateway {
    /// Starts the actors, the probes and the minting of credentials and builds the snapshots. Needs a running actix system.
    pub fn open(config: &Config, mut opening: Opening) -> Arc<Self> {
        for warning in opening.directory.take_files(holders(config)) {
            warn!("{warning}");
        }
        let roster = opening.directory.roster().clone();
        let endpoints = endpoint_specs(config);
        let credentials = Arc::new(Credentials::new(opening.clock.clone()));
        credentials.want(wanted(config));
        let options =
            SystemOptions { endpoints: endpoints.clone(), clock: opening.clock, seed: opening.seed, chance_for: None };
        let metrics = Arc::new(Metrics::new());
        let told = if opening.books.is_some() { config.audit.witnesses.as_slice() } else { &[] };
        let webhooks = Arc::new(Webhooks::new(&config.budget_policy.webhooks, &metrics));
        if let Some(books) = &mut opening.books {
            let told = webhooks.clone();
            books.budget().tell_to(Box::new(move |notice| told.tell(notice)));
            let table = with_files(opening.directory.budgets(), config);
            if let Err(why) = books.budget().put_in_force(table) {
                error!("budgets do not count what was spent before: {why}");
            }
        }
        let books = opening.books.map(Opened::start);
        let vault = books.as_ref().map(|books| books.vault.clone()).or(opening.vault);
        let issuers = Arc::new(Issuers::new(&config.auth.oidc, namer(vault.clone())));
        let gateway = Self {
            listen: opening.listen,
            workers: config.server.workers,
            shutdown_grace: config.server.shutdown_grace,
            client_timeout: config.server.client_timeout,
            unread_timeout: config.server.unread_timeout,
            access_log: config.logs.access_log,
            routes: Arc::new(ArcSwap::from_pointee(Routes::new(config))),
            clients: ArcSwap::from_pointee(ClientKeys::new(roster.clone(), issuers.clone(), config)),
            issuers: Arc::new(ArcSwap::new(issuers)),
            directory: opening.directory.start(),
            roster,
            doors: Doors::open(opening.users),
            actors: start_actors(options),
            catalog: Arc::default(),
            credentials,
            memory: Memory::new(config.server.memory_limit, metrics.clone()),
            meters: Arc::default(),
            budgets: Arc::new(Budgets::over(books.as_ref().map(|books| books.accounts.clone()).unwrap_or_default())),
            witnesses: Arc::new(Witnesses::new(told, &metrics)),
            webhooks,
            metrics,
            books,
            stored: vault.map(|vault| Arc::new(Store::start(&config.storage.path, &config.responses, vault))),
            signatures: Arc::default(),
            drain: Arc::new(Drain::new(config.server.shutdown_grace)),
            admin_token: opening.admin_token,
            config: ArcSwap::from_pointee(config.clone()),
            reloads: Reloads::new(endpoints),
            budgets_turn: Mutex::new(()),
        };
        actix_web::rt::spawn(gateway.prober().run());
        actix_web::rt::spawn(Keeper::new(gateway.issuers.clone(), Upstream::default()).run());
        actix_web::rt::spawn(gateway.webhooks.clone().run(Upstream::default()));
        actix_web::rt::spawn(keep_sweeping(Arc::downgrade(&gateway.meters)));
        if let Some(books) = &gateway.books {
            actix_web::rt::spawn(Books::keep_flushing(Arc::downgrade(books)));
            actix_web::rt::spawn(retention::keep(Arc::downgrade(books)));
            actix_web::rt::spawn(gateway.witnesses.clone().run(books.view.clone(), Upstream::default()));
        }
        let refresher = Refresher::new(gateway.credentials.clone(), Upstream::default(), Surroundings::of_process());
        let drain = gateway.drain.clone();
        actix_web::rt::spawn(refresher.run(move || drain.started()));
        Arc::new(gateway)
    }

    /// Returns what is kept for clients.
    pub fn store(&self) -> Result<Arc<Store>, GatewayError> {
        let nothing = || GatewayError::StoreUnavailable { why: "this gateway keeps nothing".into() };
        self.stored.clone().ok_or_else(nothing)
    }

    /// Puts the budgets in force that files and the admin API state by now.
    pub(super) async fn renew_budgets(&self) -> Result<(), GatewayError> {
        let _turn = self.budgets_turn.lock().await;
        self.put_budgets_in_force(&self.config.load_full()).await
    }

    /// Puts the budgets of `config` and of what the admin API made in force. Whoever calls it holds `budgets_turn` until `config`
    /// is the one that others read.
    pub(super) async fn put_budgets_in_force(&self, config: &Config) -> Result<(), GatewayError> {
        let Some(books) = &self.books else { return Ok(()) };
        let made = self.directory.send(access::Budgets).await.map_err(|_| GatewayError::ShuttingDown)?;
        let put =
            books.budget.send(Configure(with_files(made, config))).await.map_err(|_| GatewayError::ShuttingDown)?;
        put.map_err(|why| GatewayError::Refused {
            cause: Cause::Failed,
            faults: vec![format!(
                "the budgets are stored and not in force: {why}; the log has more, a restart tries again"
            )],
        })
    }

    fn prober(&self) -> Prober {
        Prober {
            routes: self.routes.clone(),
            actors: self.actors.clone(),
            catalog: self.catalog.clone(),
            metrics: self.metrics.clone(),
            drain: self.drain.clone(),
            upstream: Upstream::default().with_credentials(self.credentials.clone()),
        }
    }
}

/// Lets go of meters in which nothing is counted any more, until nobody has them.
async fn keep_sweeping(meters: Weak<Meters>) {
    let mut turns = actix_web::rt::time::interval(SWEPT_EVERY);
    loop {
        turns.tick().await;
        let Some(meters) = meters.upgrade() else { return };
        // Some ten milliseconds where there are very many, so not on this thread.
        let swept = tokio::task::spawn_blocking(move || meters.sweep(Instant::now()));
        if let Err(error) = swept.await {
            tracing::error!(%error, "meters of limits could not be swept: {error}");
        }
    }
}

/// Returns the budgets of files with those that the admin API `made` of other holders.
fn with_files(made: Table, config: &Config) -> Table {
    let mut table = config.budgets.clone();
    for (holder, budgets) in made.holders {
        table.holders.entry(holder).or_insert(budgets);
    }
    for (team, budgets) in made.members {
        table.members.entry(team).or_insert(budgets);
    }
    table
}

/// Returns the organisations, teams and client keys that files define.
pub(super) fn holders(config: &Config) -> Holders {
    Holders {
        orgs: config.orgs.clone(),
        teams: config.teams.clone(),
        keys: config.client_keys.iter().map(|key| (key.id.clone(), key.clone())).collect(),
    }
}

/// Returns what names whom the tokens of issuers are about: the vault, as it names users; without one a secret of this run of
/// the process.
fn namer(vault: Option<Arc<Vault>>) -> Namer {
    if let Some(vault) = vault {
        return Arc::new(move |issuer, subject| vault.pseudonym(issuer, subject));
    }
    let secret: [u8; 32] = rand::random();
    Arc::new(move |issuer, subject| {
        let mut hasher = blake3::Hasher::new_keyed(&secret);
        hasher.update(issuer.as_bytes()).update(&[0]).update(subject.as_bytes());
        format!("u_{}", &hasher.finalize().to_hex()[..20])
    })
}

/// Returns what the actors have to know of every endpoint.
pub(super) fn endpoint_specs(config: &Config) -> Vec<EndpointSpec> {
    let of_provider = |provider: &Provider| -> Vec<EndpointSpec> {
        provider.endpoints.iter().map(|endpoint| endpoint_spec(provider, endpoint, &config.balancing)).collect()
    };
    config.providers.values().flat_map(of_provider).collect()
}

fn endpoint_spec(provider: &Provider, endpoint: &ProviderEndpoint, balancing: &Balancing) -> EndpointSpec {
    let breaker = BreakerPolicy {
        open_after: balancing.breaker.open_after,
        window: balancing.breaker.window,
        min_requests: balancing.breaker.min_requests,
        open_for: balancing.breaker.open_for,
        open_for_max: balancing.breaker.open_for_max,
    };
    EndpointSpec {
        id: endpoint.id.clone(),
        home: crate::upstream::home(&endpoint.base_url),
        keys: key_specs(provider),
        in_flight_max: provider.max_concurrency,
        breaker: breaker.clone(),
        key_policy: KeyPolicy {
            strategy: balancing.strategy,
            headroom: balancing.headroom,
            quota_rest: balancing.rest.quota_spent,
            breaker,
        },
    }
}

fn key_specs(provider: &Provider) -> Vec<KeySpec> {
    if provider.keys.is_empty() {
        return vec![KeySpec {
            id: KeyId::from(KEYLESS),
            secret: None,
            weight: 1,
            rpm: None,
            tpm: None,
            models: vec!["*".into()],
            deny: vec![],
            teams: vec![],
        }];
    }
    let spec = |key: &crate::config::ProviderKey| KeySpec {
        id: key.id.clone(),
        secret: Some(key.value.clone()),
        weight: key.weight,
        rpm: key.rpm,
        tpm: key.tpm,
        models: key.models.clone(),
        deny: key.deny.clone(),
        teams: key.teams.clone(),
    };
    provider.keys.iter().map(spec).collect()
}
