//! Who may call: `[teams.<id>]`, `[[client_keys]]` and `[auth]`.

use std::collections::{BTreeMap, BTreeSet};

use bursar_actors::TeamId;

use super::{Checker, Taken};
use crate::config::fault::{Fault, nearest};
use crate::config::layer::{child, item};
use crate::config::raw::{RawAuth, RawClientKey, RawModels, RawTeam};
use crate::config::{Auth, ClientKey, Models, Server, Team};

/// The team of client keys that name none. It is there whenever such a key is.
const DEFAULT_TEAM: &str = "default";

/// The shortest client key that is not a guess away.
const SHORTEST_KEY: usize = 16;

/// Checks the teams.
pub fn teams(
    checker: &mut Checker<'_>,
    raw: BTreeMap<String, RawTeam>,
    models: &RawModels,
    keys: &[RawClientKey],
    providers: &BTreeSet<String>,
) -> BTreeMap<TeamId, Team> {
    let mut teams = BTreeMap::new();
    for (id, raw) in raw {
        let path = child("teams", &id);
        checker.is_id(&path, &id);
        let allowed = raw.models.unwrap_or_else(|| vec!["*".to_owned()]);
        let aliases = models.alias.keys().map(String::as_str);
        warn_of_misspelt_models(checker, &child(&path, "models"), &allowed, aliases, providers);
        let name = raw.name.unwrap_or_else(|| id.clone());
        let id = TeamId::from(id);
        teams.insert(id.clone(), Team { id, name, models: allowed });
    }
    let default = TeamId::from(DEFAULT_TEAM);
    if keys.iter().any(|key| key.team.is_none()) && !teams.contains_key(&default) {
        let team = Team { id: default.clone(), name: "Default".to_owned(), models: vec!["*".to_owned()] };
        teams.insert(default, team);
    }
    teams
}

/// A model list may name upstream models that nobody here knows, so only a near miss of an alias is worth a word.
fn warn_of_misspelt_models<'a>(
    checker: &mut Checker<'_>,
    path: &str,
    models: &[String],
    aliases: impl Iterator<Item = &'a str> + Clone,
    providers: &BTreeSet<String>,
) {
    for (index, model) in models.iter().enumerate() {
        let is_alias = aliases.clone().any(|alias| alias == model);
        // Upstream names may hold a slash too, so here as well only a near miss counts.
        let names = || providers.iter().map(String::as_str);
        let misspelt = model.split_once('/').filter(|(provider, _)| {
            !is_alias && !providers.contains(*provider) && nearest(provider, names()).is_some()
        });
        if let Some((provider, _)) = misspelt {
            let here = item(path, index);
            let warning = Fault::warning(format!("{here} names provider `{provider}`, which is not defined"));
            checker.report(&here, warning.near(provider, names()));
            continue;
        }
        if is_alias || model.contains(['/', '*']) || nearest(model, aliases.clone()).is_none() {
            continue;
        }
        let here = item(path, index);
        let warning = Fault::warning(format!("{here} names `{model}`, which is no alias"));
        checker.report(&here, warning.near(model, aliases.clone()));
    }
}

/// Checks the client keys. Optional ones without a value are left out.
pub fn client_keys(
    checker: &mut Checker<'_>,
    raw: Vec<RawClientKey>,
    teams: &BTreeMap<TeamId, Team>,
    models: &Models,
    providers: &BTreeSet<String>,
) -> Vec<ClientKey> {
    let (mut ids, mut hashes) = (Taken::default(), Taken::default());
    let mut keys = Vec::with_capacity(raw.len());
    for (index, raw) in raw.into_iter().enumerate() {
        let path = item("client_keys", index);
        match &raw.id {
            None => checker.missing(&path, "id", "a name for logs and the dashboard, such as id = \"ci\""),
            Some(id) => {
                checker.is_id(&child(&path, "id"), id);
                if let Some(first) = ids.take(id, &path) {
                    let first = checker.placed(&first);
                    checker.fault(&child(&path, "id"), format!("client key id `{id}` is taken by {first}"));
                }
            }
        }
        let team = TeamId::from(raw.team.as_deref().unwrap_or(DEFAULT_TEAM));
        if !teams.contains_key(&team) {
            let message = format!("{path} names team `{team}`, which is not defined");
            checker.unknown(&child(&path, "team"), message, team.as_str(), teams.keys().map(TeamId::as_str));
        }
        let aliases = models.aliases.keys().map(String::as_str);
        warn_of_misspelt_models(checker, &child(&path, "models"), &raw.models, aliases, providers);
        let Some(hash) = hash(checker, &path, &raw) else { continue };
        if let Some(first) = hashes.take(&blake3::Hash::from_bytes(hash).to_hex(), &path) {
            let first = checker.placed(&first);
            checker.fault(&path, format!("{path} is the same key as {first}"));
        }
        keys.push(ClientKey { id: raw.id.unwrap_or_default(), team, hash, models: raw.models });
    }
    keys
}

/// Returns the key's hash, from the key or as written. `None` where a fault is reported or the key is skipped.
fn hash(checker: &mut Checker<'_>, path: &str, raw: &RawClientKey) -> Option<[u8; 32]> {
    let (value_path, hash_path) = (child(path, "value"), child(path, "hash"));
    match (&raw.value, &raw.hash) {
        (Some(_), Some(_)) => {
            checker.fault(&hash_path, format!("{path} has value and hash; keep one of them"));
            None
        }
        (Some(value), None) if value.is_empty() && raw.optional == Some(true) => {
            checker.warn(path, format!("{path} is skipped: it is optional and has no value"));
            None
        }
        (Some(value), None) if value.len() < SHORTEST_KEY || !value.bytes().all(|b| b.is_ascii_graphic()) => {
            let rule = format!("{value_path} has to be {SHORTEST_KEY} characters at least, without spaces");
            checker.report(&value_path, Fault::error(rule).help("openssl rand -hex 24 makes a good one"));
            None
        }
        (Some(value), None) => Some(*blake3::hash(value.as_bytes()).as_bytes()),
        (None, Some(text)) => {
            let digits = text.strip_prefix("blake3:").unwrap_or_default();
            let hash = blake3::Hash::from_hex(digits.as_bytes()).ok();
            if hash.is_none() {
                checker.fault(&hash_path, format!("{hash_path} is not of the form blake3:<64 hex digits>"));
            }
            hash.map(|hash| *hash.as_bytes())
        }
        (None, None) if raw.optional == Some(true) => {
            checker.warn(path, format!("{path} is skipped: it is optional and has no value"));
            None
        }
        (None, None) => {
            checker.missing(path, "value", "value = \"${BURSAR_CI_KEY}\", or hash = \"blake3:...\"");
            None
        }
    }
}

/// Decides whether a key is asked for. An open port without one is refused.
pub fn auth(checker: &mut Checker<'_>, raw: &RawAuth, server: &Server, keys: &[ClientKey]) -> Auth {
    let loopback = server.listen.ip().is_loopback();
    let listen = server.listen;
    match (raw.require_key, loopback) {
        (Some(false), false) => {
            let message = format!("auth.require_key is false while {listen} is open to others");
            let help = "listen on 127.0.0.1, or set auth.require_key = true and add a client key";
            checker.report("auth.require_key", Fault::error(message).help(help));
        }
        (_, false) if keys.is_empty() => {
            let fault = Fault::error(format!("{listen} is open to others, and there is no client key"));
            let help = "add [[client_keys]] with id and value = \"${BURSAR_KEY}\", or listen on 127.0.0.1";
            checker.report("server.listen", fault.help(help));
        }
        (Some(true), true) if keys.is_empty() => {
            let message = "auth.require_key is true, but there is no client key: every request will be refused";
            checker.warn("auth.require_key", message.to_owned());
        }
        _ => {}
    }
    Auth { require_key: raw.require_key.unwrap_or(!loopback || !keys.is_empty()) }
}
