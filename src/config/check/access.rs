//! Who may call: `[orgs.<id>]`, `[teams.<id>]`, `[[client_keys]]` and `[auth]`.

use std::collections::{BTreeMap, BTreeSet};

use bursar_actors::access::{ClientKey, KeySecret, Names, Network, Org, Owner, Scope, Team};
use bursar_actors::{OrgId, TeamId};

use super::callers::callers;
use super::issuers::issuers;
use super::limits::limits;
use super::{Checker, Taken};
use crate::config::fault::{Fault, nearest};
use crate::config::layer::{child, item};
use crate::config::raw::{RawAuth, RawClientKey, RawOrg, RawTeam};
use crate::config::{Auth, Provider, Server, units};

/// The team of client keys that name none. It is there whenever such a key is.
const DEFAULT_TEAM: &str = "default";

/// The shortest client key that is not a guess away.
const SHORTEST_KEY: usize = 16;

/// Names that scopes may use.
pub struct Known {
    pub aliases: BTreeSet<String>,
    pub providers: BTreeSet<String>,
}

/// What a table says of a scope, list by list.
struct RawScope {
    models: Option<Vec<String>>,
    providers: Option<Vec<String>>,
    regions: Option<Vec<String>>,
    endpoints: Option<Vec<String>>,
    networks: Option<Vec<String>>,
}

macro_rules! scope_of {
    ($raw:expr) => {
        RawScope {
            models: $raw.models,
            providers: $raw.providers,
            regions: $raw.regions,
            endpoints: $raw.endpoints,
            networks: $raw.networks,
        }
    };
}

/// Checks the organisations.
pub fn orgs(checker: &mut Checker<'_>, raw: BTreeMap<String, RawOrg>, known: &Known) -> BTreeMap<OrgId, Org> {
    let mut orgs = BTreeMap::new();
    for (id, raw) in raw {
        let path = child("orgs", &id);
        checker.is_id(&path, &id);
        let scope = scope(checker, &path, scope_of!(raw), known);
        let (name, id) = (raw.name.unwrap_or_else(|| id.clone()), OrgId::from(id));
        let owner = owner(checker, &path);
        let limits = limits(checker, &child(&path, "limits"), &raw.limits);
        let (tags, metadata, budgets) = (raw.tags, raw.metadata, Vec::new());
        orgs.insert(id.clone(), Org { id, name, scope, limits, budgets, tags, metadata, owner });
    }
    orgs
}

/// Checks the teams.
pub fn teams(
    checker: &mut Checker<'_>,
    raw: BTreeMap<String, RawTeam>,
    keys: &[RawClientKey],
    orgs: &BTreeMap<OrgId, Org>,
    known: &Known,
) -> BTreeMap<TeamId, Team> {
    let mut teams = BTreeMap::new();
    for (id, raw) in raw {
        let path = child("teams", &id);
        checker.is_id(&path, &id);
        let scope = scope(checker, &path, scope_of!(raw), known);
        let org = raw.org.map(OrgId::from);
        match org.as_ref().map(|org| (org, orgs.get(org))) {
            Some((_, Some(org))) => {
                warn_of_excess(checker, &path, &scope, &org.scope, &format!("organisation `{}`", org.id))
            }
            Some((org, None)) => {
                let message = format!("{path} names organisation `{org}`, which is not defined");
                checker.unknown(&child(&path, "org"), message, org.as_str(), orgs.keys().map(OrgId::as_str));
            }
            None => {}
        }
        let (name, id) = (raw.name.unwrap_or_else(|| id.clone()), TeamId::from(id));
        let owner = owner(checker, &path);
        let user_limits = limits(checker, &child(&path, "user_limits"), &raw.user_limits);
        let limits = limits(checker, &child(&path, "limits"), &raw.limits);
        let (tags, metadata) = (raw.tags, raw.metadata);
        let team = Team { org, scope, limits, user_limits, tags, metadata, owner, ..Team::new(id.clone(), &name) };
        teams.insert(id, team);
    }
    let default = TeamId::from(DEFAULT_TEAM);
    let first = keys.iter().position(|key| key.team.is_none());
    if let Some(first) = first.filter(|_| !teams.contains_key(&default)) {
        let owner = owner(checker, &item("client_keys", first));
        let team = Team { owner, ..Team::new(default.clone(), "Default") };
        teams.insert(default, team);
    }
    teams
}

/// Returns where the table at `path` stands.
fn owner(checker: &Checker<'_>, path: &str) -> Owner {
    Owner::File(checker.origins.find(path).map_or_else(|| path.to_owned(), |origin| origin.label()))
}

/// Checks what a holder may use.
fn scope(checker: &mut Checker<'_>, path: &str, raw: RawScope, known: &Known) -> Scope {
    for (index, name) in raw.providers.iter().flatten().enumerate() {
        if !name.ends_with('*') && !known.providers.contains(name) {
            let here = item(&child(path, "providers"), index);
            let message = format!("{here} names provider `{name}`, which is not defined");
            checker.unknown(&here, message, name, known.providers.iter().map(String::as_str));
        }
    }
    warn_of_misspelt_models(checker, &child(path, "models"), raw.models.as_deref().unwrap_or_default(), known);
    let networks = raw.networks.map(|list| networks(checker, &child(path, "networks"), &list));
    let mut names = |key: &str, list: Option<Vec<String>>| {
        if list.as_ref().is_some_and(Vec::is_empty) {
            let here = child(path, key);
            let fault = Fault::error(format!("{here} is empty, so that nothing could be used"));
            checker.report(&here, fault.help(format!("leave {key} out, or write {key} = [\"*\"], for all")));
        }
        list.map_or(Names::ALL, Names::of)
    };
    Scope {
        models: names("models", raw.models),
        providers: names("providers", raw.providers),
        regions: names("regions", raw.regions),
        endpoints: names("endpoints", raw.endpoints),
        networks,
    }
}

fn networks(checker: &mut Checker<'_>, path: &str, list: &[String]) -> Vec<Network> {
    if list.is_empty() {
        let fault = Fault::error(format!("{path} is empty, so that nobody could come in"));
        checker.report(path, fault.help("leave networks out, or name some, for example [\"10.0.0.0/8\"]"));
    }
    let mut read = |(index, text): (usize, &String)| {
        let here = item(path, index);
        text.parse().map_err(|why| checker.fault(&here, format!("{here}: {why}"))).ok()
    };
    list.iter().enumerate().filter_map(&mut read).collect()
}

/// A child never has more than its parent, whatever it says; who wrote more may not know.
fn warn_of_excess(checker: &mut Checker<'_>, path: &str, scope: &Scope, parent: &Scope, whose: &str) {
    if let Some(excess) = scope.exceeds(parent) {
        checker.warn(path, format!("{path} has more than its {whose}, which does not count ({excess})"));
    }
}

/// A model list may name upstream models that nobody here knows, so only a near miss of an alias is worth a word.
fn warn_of_misspelt_models(checker: &mut Checker<'_>, path: &str, models: &[String], known: &Known) {
    let aliases = || known.aliases.iter().map(String::as_str);
    for (index, model) in models.iter().enumerate() {
        let is_alias = known.aliases.contains(model);
        // Upstream names may hold a slash too, so here as well only a near miss counts.
        let names = || known.providers.iter().map(String::as_str);
        let misspelt = model.split_once('/').filter(|(provider, _)| {
            !is_alias && !known.providers.contains(*provider) && nearest(provider, names()).is_some()
        });
        if let Some((provider, _)) = misspelt {
            let here = item(path, index);
            let warning = Fault::warning(format!("{here} names provider `{provider}`, which is not defined"));
            checker.report(&here, warning.near(provider, names()));
            continue;
        }
        if is_alias || model.contains(['/', '*']) || nearest(model, aliases()).is_none() {
            continue;
        }
        let here = item(path, index);
        let warning = Fault::warning(format!("{here} names `{model}`, which is no alias"));
        checker.report(&here, warning.near(model, aliases()));
    }
}

/// Checks the client keys. Those that are optional and have no value are left out.
pub fn client_keys(
    checker: &mut Checker<'_>,
    raw: Vec<RawClientKey>,
    teams: &BTreeMap<TeamId, Team>,
    orgs: &BTreeMap<OrgId, Org>,
    known: &Known,
) -> Vec<ClientKey> {
    let mut keys = Vec::new();
    let (mut ids, mut hashes) = (Taken::default(), Taken::default());
    for (index, raw) in raw.into_iter().enumerate() {
        let path = item("client_keys", index);
        match &raw.id {
            None => checker.missing(&path, "id", "id = \"ci\""),
            Some(id) => {
                checker.is_id(&child(&path, "id"), id);
                if let Some(first) = ids.take(id, &path) {
                    let first = checker.placed(&first);
                    checker.fault(&child(&path, "id"), format!("client key id `{id}` is taken by {first}"));
                }
            }
        }
        let team = TeamId::from(raw.team.as_deref().unwrap_or(DEFAULT_TEAM));
        let hash = hash(checker, &path, &raw);
        let expires = raw.expires.as_deref().and_then(|text| {
            let here = child(&path, "expires");
            units::time(text).map_err(|why| checker.fault(&here, format!("{here}: {why}"))).ok()
        });
        let scope = scope(checker, &path, scope_of!(raw), known);
        match teams.get(&team) {
            Some(found) => {
                let org = found.org.as_ref().and_then(|org| orgs.get(org));
                let parent = org.map_or_else(|| found.scope.clone(), |org| found.scope.within(&org.scope));
                warn_of_excess(checker, &path, &scope, &parent, &format!("team `{team}`"));
            }
            None => {
                let message = format!("{path} names team `{team}`, which is not defined");
                checker.unknown(&child(&path, "team"), message, team.as_str(), teams.keys().map(TeamId::as_str));
            }
        }
        let Some(hash) = hash else { continue };
        if let Some(first) = hashes.take(&blake3::Hash::from_bytes(hash).to_hex(), &path) {
            let first = checker.placed(&first);
            checker.fault(&path, format!("{path} is the same key as {first}"));
        }
        let id = raw.id.unwrap_or_default();
        let limits = limits(checker, &child(&path, "limits"), &raw.limits);
        keys.push(ClientKey {
            team,
            name: raw.name.unwrap_or_else(|| id.clone()),
            public: String::new(),
            secrets: vec![KeySecret { hash, until: None }],
            scope,
            limits,
            budgets: Vec::new(),
            expires,
            disabled: false,
            revoked: false,
            created: 0,
            tags: raw.tags,
            metadata: raw.metadata,
            owner: owner(checker, &path),
            id,
        });
    }
    keys
}

/// Warns of endpoints in scopes that no provider has: who is bound to them could use nothing.
pub fn endpoints(
    checker: &mut Checker<'_>,
    orgs: &BTreeMap<OrgId, Org>,
    teams: &BTreeMap<TeamId, Team>,
    keys: &[ClientKey],
    providers: &BTreeMap<String, Provider>,
) {
    let known: Vec<&str> =
        providers.values().flat_map(|provider| &provider.endpoints).map(|endpoint| endpoint.id.as_str()).collect();
    let orgs = orgs.values().map(|org| (child("orgs", org.id.as_str()), &org.scope));
    let teams = teams.values().map(|team| (child("teams", team.id.as_str()), &team.scope));
    let keys = keys.iter().map(|key| (child("client_keys", &key.id), &key.scope));
    for (path, scope) in orgs.chain(teams).chain(keys) {
        for name in scope.endpoints.list().unwrap_or_default() {
            // A demo provider has its endpoint only once it has started.
            let is_demo = providers.get(name).is_some_and(|provider| provider.demo.is_some());
            if !name.ends_with('*') && !is_demo && !known.contains(&name.as_str()) {
                let here = child(&path, "endpoints");
                let warning = Fault::warning(format!("{here} names endpoint `{name}`, which no provider has"));
                checker.report(&here, warning.near(name, known.iter().copied()));
            }
        }
    }
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

/// Decides whether a key is asked for. An open port is never without.
pub fn auth(
    checker: &mut Checker<'_>,
    raw: &RawAuth,
    server: &Server,
    keys: &[ClientKey],
    teams: &BTreeMap<TeamId, Team>,
) -> Auth {
    let callers = callers(checker, raw);
    let oidc = issuers(checker, &raw.oidc, teams);
    let nobody = keys.is_empty() && oidc.is_empty();
    let loopback = server.listen.ip().is_loopback();
    let listen = server.listen;
    match (raw.require_key, loopback) {
        (Some(false), false) => {
            let message = format!("auth.require_key is false while {listen} is open to others");
            let help = "listen on 127.0.0.1, or set auth.require_key = true and make a client key";
            checker.report("auth.require_key", Fault::error(message).help(help));
        }
        (_, false) if nobody => {
            let fault = Fault::warning(format!(
                "{listen} is open to others, and no file has a client key: every request is refused that brings none of \
                 `bursar keys create`"
            ));
            checker.report("server.listen", fault);
        }
        (Some(true), true) if nobody => {
            let message = "auth.require_key is true, but no file has a client key: every request is refused that brings \
                           none of `bursar keys create`";
            checker.warn("auth.require_key", message.to_owned());
        }
        _ => {}
    }
    Auth {
        require_key: raw.require_key.unwrap_or(!loopback || !nobody),
        unless_keyless: raw.require_key.is_none(),
        callers,
        oidc,
    }
}
