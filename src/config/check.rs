//! From what was written to what can be used: fills in defaults, resolves names, and reports every fault at once.
//!
//! The parts share a [`Checker`], which knows where each value was written. A rule that fails reports and goes on with
//! a harmless value; the result counts only if no error was reported.

mod access;
mod address;
mod audit;
mod budgets;
mod callers;
mod catalog;
mod circles;
mod credentials;
mod dial;
mod issuers;
mod limits;
mod models;
mod privacy;
mod providers;
mod responses;
mod webhook;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::fault::{Fault, Faults, nearest};
use super::layer::{Origins, child};
use super::raw::{RawBalancing, RawConfig, RawLogFormat, RawLogLevel, RawLogs, RawProbes, RawServer};
use super::{Balancing, Breaker, Config, LogFormat, Logs, Probes, Rest, Retry, Server, Storage, machine, units};

pub use budgets::by_hand as budgets_by_hand;

/// The format of the file that this version reads.
const VERSION: u32 = 1;

/// The longest time that any setting may name. More is a slip of the unit.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// Providers would take more for an attack.
const PROBES_APART: Duration = Duration::from_secs(1);
/// What requests and answers may take up where the system does not say how much memory there is.
const MEMORY_UNKNOWN: usize = 1 << 30;

/// Checks `raw`. Gives a result even where faults are reported, so that all of them are; it is for use only if none
/// is an error.
pub fn check(mut raw: RawConfig, origins: Origins, sources: Vec<String>, faults: &mut Faults) -> Option<Config> {
    let mut checker = Checker { origins, faults };
    if let Some(version) = raw.version
        && version != VERSION
    {
        checker.fault("version", format!("version {version} is not known; this program reads version {VERSION}"));
    }
    let server = server(&mut checker, &raw.server);
    let budgets = budgets::written(&mut raw);
    let named = raw.providers.keys().cloned().collect();
    let names = access::Known { aliases: raw.models.alias.keys().cloned().collect(), providers: named };
    let orgs = access::orgs(&mut checker, raw.orgs, &names);
    let teams = access::teams(&mut checker, raw.teams, &raw.client_keys, &orgs, &names);
    let (providers, skipped) = providers::providers(&mut checker, raw.providers, &teams);
    let balancing = balancing(&mut checker, &raw.balancing);
    let probes = probes(&mut checker, &raw.probes);
    let models = models::models(&mut checker, raw.models, &balancing, &providers, &skipped);
    let catalog = catalog::catalog(&mut checker, raw.catalog, &providers, &skipped);
    let client_keys = access::client_keys(&mut checker, raw.client_keys, &teams, &orgs, &names);
    access::endpoints(&mut checker, &orgs, &teams, &client_keys, &providers);
    let limits = limits::tables(&mut checker, raw.limits, &providers, &skipped);
    let known = budgets::Known {
        providers: &providers,
        skipped: &skipped,
        models: &models,
        orgs: &orgs,
        teams: &teams,
        keys: &client_keys,
    };
    let (budgets, budget_policy) = budgets::budgets(&mut checker, budgets, raw.budgets, &known);
    let auth = access::auth(&mut checker, &raw.auth, &server, &client_keys, &teams);
    let path = raw.storage.path.clone().unwrap_or_else(|| "./data".to_owned());
    if path.is_empty() {
        checker.fault("storage.path", "storage.path is empty".to_owned());
    }
    let path = PathBuf::from(path);
    let law = raw.compliance.profile;
    let (prompts, compliance, data_classes) = (raw.prompts, raw.compliance, raw.data_classes);
    let raw_privacy = privacy::Raw { compliance, data_classes, prompts, guardrails: raw.guardrails };
    let known = privacy::Known { orgs: &orgs, teams: &teams, aliases: &names.aliases, providers: &providers };
    let privacy = privacy::privacy(&mut checker, raw_privacy, &known);
    let audit = audit::audit(&mut checker, &raw.audit, &path, &raw.storage.retention, law);
    budgets::need_books(&mut checker, &budgets, audit.enabled);
    let responses = responses::responses(&mut checker, &raw.responses);
    Some(Config {
        server,
        storage: Storage { path },
        providers,
        balancing,
        probes,
        models,
        catalog,
        orgs,
        teams,
        client_keys,
        auth,
        responses,
        limits,
        budgets,
        budget_policy,
        privacy,
        audit,
        logs: logs(&raw.telemetry.logs),
        sources,
        warnings: Vec::new(),
        origins: BTreeMap::new(),
        files: Vec::new(),
    })
}

/// What every rule needs: where values were written, and somewhere to report.
pub(super) struct Checker<'c> {
    origins: Origins,
    faults: &'c mut Faults,
}

impl Checker<'_> {
    /// Reports an error about the value at `path`.
    fn fault(&mut self, path: &str, message: String) {
        self.report(path, Fault::error(message));
    }

    /// Reports something about the value at `path` that stops nothing.
    fn warn(&mut self, path: &str, message: String) {
        self.report(path, Fault::warning(message));
    }

    fn report(&mut self, path: &str, fault: Fault) {
        self.faults.push(fault.at(self.origins.find(path).cloned()));
    }

    /// Reports that `key` is missing in the table at `path`, unless a fault there has been reported already: then the
    /// key is probably the one that was misspelt.
    fn missing(&mut self, path: &str, key: &str, what: &str) {
        if !self.origins.is_spoiled(path) {
            self.report(path, Fault::error(format!("{path} has no `{key}`")).help(what));
        }
    }

    /// Reports that `name` in the value at `path` is none of `known`.
    fn unknown<'k>(&mut self, path: &str, message: String, name: &str, known: impl Iterator<Item = &'k str> + Clone) {
        let near = nearest(name, known.clone());
        let mut help = format!("defined: {}", listed(known));
        if let Some(near) = near {
            help.push_str(&format!(" (did you mean `{near}`?)"));
        }
        self.report(path, Fault::error(message).help(help));
    }

    /// Returns `path` with the place where it was written, for a message about another place.
    fn placed(&self, path: &str) -> String {
        match self.origins.find(path) {
            Some(origin) => format!("{path} ({})", origin.label()),
            None => path.to_owned(),
        }
    }

    /// Returns whether `id` is an identifier, and reports it if not.
    fn is_id(&mut self, path: &str, id: &str) -> bool {
        let fine = units::is_id(id);
        if !fine {
            let help = "ids start with a-z and go on with a-z, 0-9 and single _";
            self.report(path, Fault::error(format!("`{id}` is not an id")).help(help));
        }
        fine
    }

    /// Returns the duration written at `key` in `table`, or the default; it must be above zero.
    fn duration(&mut self, table: &str, key: &str, text: Option<&String>, default: Duration) -> Duration {
        let path = child(table, key);
        let read = self.any_duration(&path, text, default);
        if read.is_zero() {
            self.fault(&path, format!("{path} is zero; it has to be longer"));
            return default;
        }
        read
    }

    fn any_duration(&mut self, path: &str, text: Option<&String>, default: Duration) -> Duration {
        let Some(text) = text else { return default };
        match units::duration(text) {
            Ok(read) if read <= LONGEST => read,
            Ok(_) => {
                self.fault(path, format!("{path} is longer than a year"));
                default
            }
            Err(why) => {
                self.fault(path, format!("{path}: {why}"));
                default
            }
        }
    }

    /// Returns the number at `key` in `table`, or the default; it must be at least 1.
    fn at_least_one(&mut self, table: &str, key: &str, number: Option<u32>, default: u32) -> u32 {
        let number = number.unwrap_or(default);
        if number == 0 {
            let path = child(table, key);
            self.fault(&path, format!("{path} is 0; it has to be at least 1"));
        }
        number.max(1)
    }

    /// Returns the share at `key` in `table`, or the default; it must be from 0 to 1.
    fn share(&mut self, table: &str, key: &str, number: Option<f64>, default: f64) -> f64 {
        let number = number.unwrap_or(default);
        if (0.0..=1.0).contains(&number) {
            return number;
        }
        let path = child(table, key);
        self.fault(&path, format!("{path} is {number}; it is a share, from 0 to 1"));
        default
    }
}

/// Returns names as messages list them.
fn listed<'k>(names: impl Iterator<Item = &'k str>) -> String {
    let names: Vec<&str> = names.collect();
    match names.len() {
        0 => "none".to_owned(),
        1..=20 => names.join(", "),
        all => format!("{} and {} more", names[..20].join(", "), all - 20),
    }
}

fn server(checker: &mut Checker<'_>, raw: &RawServer) -> Server {
    let secs = Duration::from_secs;
    let workers = match raw.workers {
        None | Some(0) => std::thread::available_parallelism().map_or(1, usize::from),
        Some(workers) => workers as usize,
    };
    let max_body = raw.max_body.as_ref().map_or(Ok(20_000_000), |text| units::size(text)).and_then(|size| match size {
        0 => Err("it is 0; no request would fit".to_owned()),
        size => Ok(size),
    });
    let max_body = max_body.unwrap_or_else(|why| {
        checker.fault("server.max_body", format!("server.max_body: {why}"));
        1
    });
    let memory_limit = match raw.memory_limit.as_ref().map_or(Ok(0), |text| units::size(text)) {
        Ok(0) => machine::memory().map_or(MEMORY_UNKNOWN, |bytes| bytes / 2),
        Ok(size) => size,
        Err(why) => {
            checker.fault("server.memory_limit", format!("server.memory_limit: {why}"));
            MEMORY_UNKNOWN
        }
    };
    Server {
        listen: listen(checker, raw.listen.as_deref()),
        workers,
        max_body,
        memory_limit,
        request_timeout: checker.duration("server", "request_timeout", raw.request_timeout.as_ref(), secs(900)),
        client_timeout: checker.duration("server", "client_timeout", raw.client_timeout.as_ref(), secs(5)),
        unread_timeout: checker.duration("server", "unread_timeout", raw.unread_timeout.as_ref(), secs(60)),
        shutdown_grace: checker.any_duration("server.shutdown_grace", raw.shutdown_grace.as_ref(), secs(30)),
        sse_keepalive: checker.duration("server", "sse_keepalive", raw.sse_keepalive.as_ref(), secs(15)),
    }
}

fn listen(checker: &mut Checker<'_>, text: Option<&str>) -> SocketAddr {
    let default = SocketAddr::from(([127, 0, 0, 1], 8080));
    let Some(text) = text else { return default };
    units::address(text).unwrap_or_else(|why| {
        checker.fault("server.listen", format!("server.listen: {why}"));
        default
    })
}

fn balancing(checker: &mut Checker<'_>, raw: &RawBalancing) -> Balancing {
    let headroom = raw.headroom.unwrap_or(0.9);
    if !(headroom > 0.0 && headroom <= 1.0) {
        let message = format!("balancing.headroom is {headroom}; it is a share, above 0 and at most 1");
        checker.fault("balancing.headroom", message);
    }
    let quota_spent = raw.rest.quota_spent.as_ref();
    Balancing {
        strategy: raw.strategy.unwrap_or_default(),
        headroom,
        max_wait: checker.any_duration("balancing.max_wait", raw.max_wait.as_ref(), Duration::ZERO),
        retry: retry(checker, raw),
        breaker: breaker(checker, raw),
        rest: Rest {
            quota_spent: checker.duration("balancing.rest", "quota_spent", quota_spent, Duration::from_secs(3600)),
        },
    }
}

fn retry(checker: &mut Checker<'_>, raw: &RawBalancing) -> Retry {
    let (raw, table) = (&raw.retry, "balancing.retry");
    let backoff = "balancing.retry.backoff";
    let base = checker.duration(backoff, "base", raw.backoff.base.as_ref(), Duration::from_millis(250));
    let max = checker.duration(backoff, "max", raw.backoff.max.as_ref(), Duration::from_secs(8));
    if max < base {
        checker.fault(&child(backoff, "max"), format!("{backoff}.max is shorter than {backoff}.base"));
    }
    let per_second = raw.budget.per_second.unwrap_or(3.0);
    if per_second < 0.0 {
        let path = "balancing.retry.budget.per_second";
        checker.fault(path, format!("{path} is {per_second}; it has to be 0 or more"));
    }
    Retry {
        max_attempts: checker.at_least_one(table, "max_attempts", raw.max_attempts, 3),
        backoff_base: base,
        backoff_max: max,
        budget_share: checker.share("balancing.retry.budget", "share", raw.budget.share, 0.2),
        budget_per_second: per_second,
    }
}

fn breaker(checker: &mut Checker<'_>, raw: &RawBalancing) -> Breaker {
    let (raw, table) = (&raw.breaker, "balancing.breaker");
    let secs = Duration::from_secs;
    let open_for = checker.duration(table, "open_for", raw.open_for.as_ref(), secs(10));
    let open_for_max = checker.duration(table, "open_for_max", raw.open_for_max.as_ref(), secs(300).max(open_for));
    if open_for_max < open_for {
        checker.fault(&child(table, "open_for_max"), format!("{table}.open_for_max is shorter than {table}.open_for"));
    }
    Breaker {
        open_after: checker.at_least_one(table, "open_after", raw.open_after, 5),
        window: checker.duration(table, "window", raw.window.as_ref(), secs(30)),
        min_requests: checker.at_least_one(table, "min_requests", raw.min_requests, 10),
        open_for,
        open_for_max,
    }
}

fn probes(checker: &mut Checker<'_>, raw: &RawProbes) -> Probes {
    let every = checker.any_duration("probes.every", raw.every.as_ref(), Duration::from_secs(30));
    if !every.is_zero() && every < PROBES_APART {
        let every = humantime::format_duration(every);
        checker
            .fault("probes.every", format!("probes.every is {every}; it has to be at least 1s, or 0s for no probes"));
    }
    Probes { every }
}

fn logs(raw: &RawLogs) -> Logs {
    Logs {
        format: match raw.format {
            None | Some(RawLogFormat::Auto) => LogFormat::Auto,
            Some(RawLogFormat::Pretty) => LogFormat::Pretty,
            Some(RawLogFormat::Json) => LogFormat::Json,
        },
        level: match raw.level {
            Some(RawLogLevel::Error) => tracing::Level::ERROR,
            Some(RawLogLevel::Warn) => tracing::Level::WARN,
            None | Some(RawLogLevel::Info) => tracing::Level::INFO,
            Some(RawLogLevel::Debug) => tracing::Level::DEBUG,
            Some(RawLogLevel::Trace) => tracing::Level::TRACE,
        },
        access_log: raw.access_log.unwrap_or(true),
    }
}

/// Where an id was written first, to report the second place.
#[derive(Default)]
struct Taken {
    paths: BTreeMap<String, String>,
}

impl Taken {
    /// Notes that `path` uses `id`; returns the path that had it already.
    fn take(&mut self, id: &str, path: &str) -> Option<String> {
        if let Some(first) = self.paths.get(id) {
            return Some(first.clone());
        }
        self.paths.insert(id.to_owned(), path.to_owned());
        None
    }
}
