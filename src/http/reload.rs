//! Takes over a new configuration while requests run: all of it, or nothing where it has faults.
//!
//! A request keeps the routes that it began with. New endpoints are therefore started before the routes change, and old
//! ones are let go when the last request that knows them has its answer.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use bursar_actors::access::TakeFiles;
use bursar_actors::audit::record::{Phase, Record};
use bursar_actors::{EndpointSpec, Reconfigure};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tracing::{error, info, warn};

use super::auth::ClientKeys;
use super::gateway::{Gateway, endpoint_specs, holders};
use crate::config::Config;
use crate::config::fault::Faults;
use crate::config::load::{Sources, load};
use crate::config::reload::{Change, changes, in_force};
use crate::config::settings;
use crate::pipeline::fitness;
use crate::pipeline::route::{Routes, Unused};
use crate::upstream::credentials::wanted as wanted_credentials;

/// What reloads need to know of each other.
pub(super) struct Reloads {
    sources: OnceLock<Sources>,
    /// Held from reading the files until they are in force.
    turn: Mutex<()>,
    tenants: Mutex<Tenants>,
    /// What is wrong with the configuration as it is written now.
    fault: ArcSwapOption<String>,
}

/// Whose endpoints are running.
struct Tenants {
    current: Vec<EndpointSpec>,
    /// Of earlier routes that requests still use, by the round that replaced them.
    leaving: Vec<(u64, Vec<EndpointSpec>)>,
    rounds: u64,
}

impl Tenants {
    /// Returns all, the current ones first: of two with the same id the first counts.
    fn all(&self) -> Vec<EndpointSpec> {
        let leaving = self.leaving.iter().rev().flat_map(|(_, specs)| specs);
        self.current.iter().chain(leaving).cloned().collect()
    }
}

/// Why nothing was changed.
pub enum Refused {
    Faults(Faults),
    /// This gateway was not started from files.
    NoSources,
    /// The process is about to end.
    Stopping,
}

impl Reloads {
    pub fn new(current: Vec<EndpointSpec>) -> Self {
        Self {
            sources: OnceLock::new(),
            turn: Mutex::new(()),
            tenants: Mutex::new(Tenants { current, leaving: Vec::new(), rounds: 0 }),
            fault: ArcSwapOption::empty(),
        }
    }
}

impl Gateway {
    /// Says where later configurations are read from.
    pub fn read_from(&self, sources: Sources) {
        // Only the first counts: a process has one command line.
        let _ = self.reloads.sources.set(sources);
    }

    /// Returns what is wrong with the configuration as it is written now, if it could not be taken over.
    pub fn config_fault(&self) -> Option<Arc<String>> {
        self.reloads.fault.load_full()
    }

    /// Reads the configuration again and takes it over. `cause` is for the log.
    pub async fn reload_from_sources(self: Arc<Self>, cause: &'static str) -> Result<Vec<Change>, Refused> {
        // In a task of its own, because a client that hangs up must not leave half of it undone.
        let done = actix_web::rt::spawn(async move {
            // One at a time from the first byte read, so that an older file never wins over a newer one.
            let _turn = self.reloads.turn.lock().await;
            let wanted = match self.wanted().await {
                Ok(wanted) => wanted,
                Err(refused) => {
                    self.refuse(&refused, cause);
                    self.record_reload(cause, Err(&refused));
                    return Err(refused);
                }
            };
            let changes = self.reload(&wanted).await?;
            self.metrics.reloaded(true);
            self.reloads.fault.store(None);
            tell(&wanted, &changes, cause);
            self.record_reload(cause, Ok(&changes));
            Ok(changes)
        });
        done.await.unwrap_or(Err(Refused::Stopping))
    }

    /// Returns what a reload would change, and changes nothing.
    pub async fn preview(&self) -> Result<(Vec<Change>, Vec<String>), Refused> {
        let wanted = self.wanted().await?;
        Ok((changes(&self.config.load(), &wanted), wanted.warnings))
    }

    async fn wanted(&self) -> Result<Config, Refused> {
        let sources = self.reloads.sources.get().cloned().ok_or(Refused::NoSources)?;
        let loaded = tokio::task::spawn_blocking(move || load(&sources)).await;
        let mut wanted = loaded.map_err(|_| Refused::Stopping)?.map_err(Refused::Faults)?;
        wanted.warnings.extend(fitness::warnings(&wanted));
        Ok(wanted)
    }

    fn refuse(&self, refused: &Refused, cause: &'static str) {
        let Refused::Faults(faults) = refused else { return };
        self.metrics.reloaded(false);
        let lines: Vec<String> = faults.iter().map(|fault| fault.one_line()).collect();
        for line in &lines {
            error!(cause, "configuration: {line}");
        }
        error!(cause, errors = faults.errors(), "the configuration has faults; everything stays as it is");
        self.reloads.fault.store(Some(Arc::new(lines.join("\n"))));
    }

    /// Writes down what a reload changed, by path, or that it was refused. The values stay out: some are secrets.
    fn record_reload(&self, cause: &str, reloaded: Result<&[Change], &Refused>) {
        let Some(books) = &self.books else { return };
        let (outcome, error, what, count) = match reloaded {
            Ok(changes) => {
                let waits = |change: &Change| if change.needs_restart { " (after a restart)" } else { "" };
                let paths = changes.iter().map(|change| format!("{}{}", change.path, waits(change)));
                ("done", None, format!("changed: {}", paths.collect::<Vec<_>>().join(", ")), changes.len())
            }
            Err(Refused::Faults(faults)) => {
                let what = format!("{} faults; the configuration in force stays", faults.errors());
                ("failed", Some("configuration_faulty".into()), what, faults.errors())
            }
            Err(Refused::NoSources | Refused::Stopping) => return,
        };
        let record = books.by_hand(Phase::Config, cause, "reload");
        books.tell(Record {
            outcome: Some(outcome.into()),
            error,
            note: Some(what.into()),
            count: Some(count as u64),
            ..record
        });
    }

    /// Takes over `wanted`, except for what needs a restart. Requests that run finish as they began.
    pub async fn reload(self: &Arc<Self>, wanted: &Config) -> Result<Vec<Change>, Refused> {
        let mut tenants = self.reloads.tenants.lock().await;
        let running = self.config.load_full();
        let changes = changes(&running, wanted);
        let config = in_force(&running, wanted);
        let before = std::mem::replace(&mut tenants.current, endpoint_specs(&config));
        tenants.rounds += 1;
        let round = tenants.rounds;
        tenants.leaving.push((round, before));
        let endpoints = tenants.all();
        self.actors.supervisor.send(Reconfigure { endpoints }).await.map_err(|_| Refused::Stopping)?;
        // Requests that run may still need what the old keys stand for.
        self.credentials.want_also(wanted_credentials(&config));

        if let Some(books) = &self.books {
            books.set_config(settings::hash(&config));
        }
        self.directory.send(TakeFiles(holders(&config))).await.map_err(|_| Refused::Stopping)?;
        let turn = self.budgets_turn.lock().await;
        if let Err(why) = self.put_budgets_in_force(&config).await {
            error!(code = why.code(), "the budgets of the new configuration are not in force; the log says why");
        }
        let issuers = Arc::new(self.issuers.load().renewed(&config.auth.oidc));
        self.issuers.store(issuers.clone());
        self.webhooks.reload(&config.budget_policy.webhooks);
        self.clients.store(Arc::new(ClientKeys::new(self.roster.clone(), issuers, &config)));
        let replaced = self.routes.swap(Arc::new(Routes::new(&config)));
        self.config.store(Arc::new(config));
        drop(turn);
        let unused = replaced.unused();
        drop((replaced, tenants));
        actix_web::rt::spawn(self.clone().let_go(round, unused));
        Ok(changes)
    }

    /// Stops what only the routes replaced in `round` knew, once nobody uses them.
    async fn let_go(self: Arc<Self>, round: u64, unused: Unused) {
        unused.wait().await;
        let mut tenants = self.reloads.tenants.lock().await;
        tenants.leaving.retain(|(other, _)| *other != round);
        if tenants.leaving.is_empty() {
            self.credentials.want(wanted_credentials(&self.config.load()));
        }
        let endpoints = tenants.all();
        // A supervisor that is gone ends the process; there is nothing to stop then.
        let _ = self.actors.supervisor.send(Reconfigure { endpoints }).await;
    }
}

fn tell(wanted: &Config, changes: &[Change], cause: &'static str) {
    for warning in &wanted.warnings {
        warn!(cause, "configuration: {warning}");
    }
    for waiting in changes.iter().filter(|change| change.needs_restart) {
        warn!(cause, setting = %waiting.path, "{} has changed, which counts after a restart", waiting.path);
    }
    let count = changes.iter().filter(|change| !change.needs_restart).count();
    info!(cause, changes = count, "configuration reloaded: {count} settings changed");
}

/// Returns the changes as the admin API shows them.
pub fn shown(changes: &[Change]) -> Value {
    let each = |change: &Change| {
        json!({
            "path": change.path,
            "before": change.before,
            "after": change.after,
            "needs_restart": change.needs_restart,
        })
    };
    changes.iter().map(each).collect()
}
