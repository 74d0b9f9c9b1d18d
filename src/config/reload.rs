//! What a new configuration changes in a running gateway, and what of it has to wait for a restart.
//!
//! A restart is needed where something was bound or started once: the port, the threads, the data directory, the log
//! lines, and demo providers. Such settings stay as they were, and everything else goes by the new configuration.

use std::collections::{BTreeMap, BTreeSet};

use super::Config;
use super::settings::{DEFAULT, Setting, settings};

/// One setting that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub path: String,
    /// `None` where it was not there; `…` for a secret.
    pub before: Option<String>,
    /// `None` where it is no longer there.
    pub after: Option<String>,
    pub needs_restart: bool,
}

/// Returns what differs between what is in force and what is wanted, sorted by path.
///
/// Of what comes or goes as a whole only those settings are named that somebody wrote.
pub fn changes(running: &Config, wanted: &Config) -> Vec<Change> {
    let (before, then, after) = (by_path(running), by_path(&in_force(running, wanted)), by_path(wanted));
    let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let change = |path: &String| {
        let (before, then, after) = (before.get(path), then.get(path), after.get(path));
        let one_sided = before.xor(after).is_some_and(|one| one.origin == DEFAULT);
        if one_sided || same(before, after) {
            return None;
        }
        let text = |setting: Option<&Setting>| setting.map(|setting| setting.value.clone());
        let needs_restart = !same(then, after);
        Some(Change { path: path.clone(), before: text(before), after: text(after), needs_restart })
    };
    paths.into_iter().filter_map(change).collect()
}

fn by_path(config: &Config) -> BTreeMap<String, Setting> {
    settings(config).into_iter().map(|setting| (setting.path.clone(), setting)).collect()
}

fn same(one: Option<&Setting>, other: Option<&Setting>) -> bool {
    let content = |setting: Option<&Setting>| setting.map(|setting| (setting.value.clone(), setting.fingerprint));
    content(one) == content(other)
}

/// Returns the demo providers that are wanted and were not started.
fn new_demos(running: &Config, wanted: &Config) -> BTreeSet<String> {
    let started = |id: &String| running.providers.get(id).is_some_and(|provider| provider.demo.is_some());
    let demos = wanted.providers.values().filter(|provider| provider.demo.is_some());
    demos.map(|provider| provider.id.clone()).filter(|id| !started(id)).collect()
}

/// Returns what can be in force without a restart: `wanted`, but for the settings that have to stay as they are.
///
/// A demo provider that was not started is left out, with the targets that name it and the aliases it leaves empty.
pub fn in_force(running: &Config, wanted: &Config) -> Config {
    let mut config = wanted.clone();
    config.server.listen = running.server.listen;
    config.server.workers = running.server.workers;
    config.server.shutdown_grace = running.server.shutdown_grace;
    config.server.memory_limit = running.server.memory_limit;
    config.server.client_timeout = running.server.client_timeout;
    config.server.unread_timeout = running.server.unread_timeout;
    config.storage = running.storage.clone();
    config.audit = running.audit.clone();
    // Without books nothing could count, whatever the file says about the books after a restart.
    if !config.audit.enabled {
        config.budgets = running.budgets.clone();
    }
    config.responses.retention = running.responses.retention;
    config.responses.storage = running.responses.storage;
    // The new rules were checked against the address that is wanted, but the old one goes on listening: a port that
    // others reach must not lose its keys because the file says loopback.
    if !config.server.listen.ip().is_loopback() {
        config.auth.require_key = true;
    }
    config.logs = running.logs.clone();
    for id in new_demos(running, wanted) {
        config.providers.remove(&id);
        for alias in config.models.aliases.values_mut() {
            alias.targets.retain(|target| target.provider != id);
        }
    }
    config.models.aliases.retain(|_, alias| !alias.targets.is_empty());
    let aliases: BTreeSet<String> = config.models.aliases.keys().cloned().collect();
    for alias in config.models.aliases.values_mut() {
        alias.fallback.retain(|name| aliases.contains(name));
    }
    for provider in config.providers.values_mut().filter(|provider| provider.demo.is_some()) {
        if let Some(started) = running.providers.get(&provider.id) {
            provider.demo = started.demo.clone();
            provider.endpoints = started.endpoints.clone();
        }
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::{Sources, load};

    fn configured(set: &[&str]) -> Config {
        let set = set.iter().map(ToString::to_string).collect();
        let folder = tempfile::tempdir().unwrap();
        let sources = Sources {
            set,
            working_dir: folder.path().to_owned(),
            system_file: folder.path().join("none.toml"),
            ..Sources::default()
        };
        load(&sources).unwrap_or_else(|faults| panic!("{faults}"))
    }

    #[test]
    fn a_port_that_others_reach_never_loses_its_keys_by_a_reload() {
        let mut running = configured(&[]);
        running.server.listen = ([0, 0, 0, 0], 8080).into();
        let wanted = configured(&["auth.require_key=false"]);
        assert!(!wanted.auth.require_key, "on the loopback address that the file names it may");

        let config = in_force(&running, &wanted);

        assert_eq!(config.server.listen, running.server.listen);
        assert!(config.auth.require_key);
    }
}
