//! `[providers.<id>]`: endpoints, keys, headers and waits.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use actix_http::header::{HeaderName, HeaderValue};
use bursar_actors::{EndpointId, KeyId, Secret, TeamId};

use super::address;
use super::credentials::{has_credential, minted_key};
use super::dial::dial;
use super::{Checker, Taken};
use crate::config::fault::Fault;
use crate::config::layer::{child, item};
use crate::config::raw::{RawEndpoint, RawKey, RawProvider};
use crate::config::{DemoSettings, Provider, ProviderEndpoint, ProviderKey, ProviderKind, Team, units};

/// Headers that the gateway writes itself.
const OWN_HEADERS: [&str; 8] =
    ["authorization", "connection", "content-length", "content-type", "expect", "host", "transfer-encoding", "upgrade"];

/// Checks all providers. The second value holds those that are left out, because every key they have is optional and
/// not there.
pub fn providers(
    checker: &mut Checker<'_>,
    raw: BTreeMap<String, RawProvider>,
    teams: &BTreeMap<TeamId, Team>,
) -> (BTreeMap<String, Provider>, BTreeSet<String>) {
    let (mut providers, mut skipped) = (BTreeMap::new(), BTreeSet::new());
    let mut endpoint_ids = Taken::default();
    for (id, raw) in raw {
        let path = child("providers", &id);
        checker.is_id(&path, &id);
        let Some(kind) = kind(checker, &path, &raw) else {
            skipped.insert(id);
            continue;
        };
        let had_keys = !raw.keys.is_empty() || raw.key_pool.is_some();
        let before = checker.faults.errors();
        let spoiled = keys_are_spoiled(checker, &path, raw.keys.len());
        let keys = keys(checker, &path, &raw, teams);
        let only_empty = keys.is_empty() && !spoiled && checker.faults.errors() == before;
        if only_empty && had_keys {
            checker.warn(&path, format!("provider `{id}` is left out: none of its keys is set"));
            skipped.insert(id);
            continue;
        }
        if only_empty && kind.needs_key() {
            let help = "add [[providers.<id>.keys]], or use kind = \"openai_compatible\" where no key is needed";
            checker.missing(&path, "keys", help);
        }
        let provider = provider(checker, &path, id.clone(), kind, raw, keys, &mut endpoint_ids);
        providers.insert(id, provider);
    }
    (providers, skipped)
}

/// Returns whether something in the provider's keys was reported before, so that a missing key is no news.
fn keys_are_spoiled(checker: &Checker<'_>, path: &str, keys: usize) -> bool {
    let (list, pool) = (child(path, "keys"), child(path, "key_pool"));
    let of_keys = (0..keys).any(|index| checker.origins.is_spoiled(&item(&list, index)));
    of_keys || checker.origins.is_spoiled(path) || checker.origins.is_spoiled(&pool)
}

fn kind(checker: &mut Checker<'_>, path: &str, raw: &RawProvider) -> Option<ProviderKind> {
    if raw.kind.is_none() {
        let all: Vec<_> = ProviderKind::ALL.iter().map(|kind| kind.as_str()).collect();
        checker.missing(path, "kind", &format!("one of: {}", all.join(", ")));
    }
    raw.kind
}

fn provider(
    checker: &mut Checker<'_>,
    path: &str,
    id: String,
    kind: ProviderKind,
    raw: RawProvider,
    keys: Vec<ProviderKey>,
    endpoint_ids: &mut Taken,
) -> Provider {
    let secs = Duration::from_secs;
    let endpoints = endpoints(checker, path, &id, kind, &raw, endpoint_ids);
    let public = endpoints.iter().find(|endpoint| is_public(&endpoint.base_url));
    if let Some(public) = public.filter(|_| raw.self_hosted.is_none() && kind.is_self_hosted()) {
        let url = &public.base_url;
        let message = format!("{path} counts as self-hosted for its kind, but {url} looks like a public address");
        let help = "say self_hosted = true if the machine is yours, else self_hosted = false: data classes go by it";
        checker.report(path, Fault::warning(message).help(help));
    }
    Provider {
        endpoints,
        connect_timeout: checker.duration(path, "connect_timeout", raw.connect_timeout.as_ref(), secs(3)),
        first_token_timeout: checker.duration(path, "first_token_timeout", raw.first_token_timeout.as_ref(), secs(60)),
        reply_timeout: checker.duration(path, "reply_timeout", raw.reply_timeout.as_ref(), secs(300)),
        idle_timeout: checker.duration(path, "idle_timeout", raw.idle_timeout.as_ref(), secs(60)),
        max_concurrency: checker.at_least_one(path, "max_concurrency", raw.max_concurrency, 400),
        probe: raw.probe.unwrap_or(true),
        headers: headers(checker, path, kind, &raw.headers),
        dial: dial(checker, path, kind, &raw),
        demo: demo(checker, path, kind, &raw),
        id,
        kind,
        keys,
        region: raw.region,
        api_version: raw.api_version,
        self_hosted: raw.self_hosted.unwrap_or(kind.is_self_hosted()),
        tags: raw.tags,
    }
}

/// Returns whether an address is one that everybody can reach, as far as its name tells.
fn is_public(url: &str) -> bool {
    const OWN: [&str; 9] = ["localhost", "local", "internal", "lan", "home", "corp", "intranet", "arpa", "svc"];
    let host =
        url.parse::<actix_http::Uri>().ok().and_then(|uri| uri.host().map(str::to_lowercase)).unwrap_or_default();
    match host.trim_matches(['[', ']']).parse() {
        Ok(IpAddr::V4(ip)) => !(ip.is_loopback() || ip.is_private() || ip.is_link_local()),
        Ok(IpAddr::V6(ip)) => !(ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()),
        Err(_) => host.rsplit_once('.').is_some_and(|(_, last)| !OWN.contains(&last)),
    }
}

fn endpoints(
    checker: &mut Checker<'_>,
    path: &str,
    provider: &str,
    kind: ProviderKind,
    raw: &RawProvider,
    taken: &mut Taken,
) -> Vec<ProviderEndpoint> {
    let given = raw.base_url.is_some() || !raw.endpoints.is_empty();
    if kind == ProviderKind::Demo {
        if given {
            checker.fault(path, format!("{path} is a demo provider; it has no base_url and no endpoints"));
        }
        return Vec::new();
    }
    address::unused(checker, path, kind, raw);
    if raw.base_url.is_some() && !raw.endpoints.is_empty() {
        let message = format!("{path} has base_url and endpoints; keep one of them");
        checker.fault(&child(path, "base_url"), message);
    }
    if raw.endpoints.is_empty() {
        let base_url = match &raw.base_url {
            Some(text) => base_url(checker, &child(path, "base_url"), text),
            None => address::of_kind(checker, path, kind, raw),
        };
        take_endpoint(checker, taken, provider, path);
        let id = EndpointId::from(provider);
        return vec![ProviderEndpoint { id, base_url, weight: 1, region: raw.region.clone() }];
    }
    let several = raw.endpoints.len() > 1;
    let list = child(path, "endpoints");
    let each = raw.endpoints.iter().enumerate();
    each.map(|(index, endpoint)| {
        let default = if several { format!("{provider}_{}", index + 1) } else { provider.to_owned() };
        let mut checked = one_endpoint(checker, &item(&list, index), endpoint, default, taken);
        checked.region = checked.region.or_else(|| raw.region.clone());
        checked
    })
    .collect()
}

fn one_endpoint(
    checker: &mut Checker<'_>,
    path: &str,
    raw: &RawEndpoint,
    default_id: String,
    taken: &mut Taken,
) -> ProviderEndpoint {
    if let Some(id) = &raw.id {
        checker.is_id(&child(path, "id"), id);
    }
    let id = raw.id.clone().unwrap_or(default_id);
    take_endpoint(checker, taken, &id, path);
    let base_url = match &raw.base_url {
        Some(text) => base_url(checker, &child(path, "base_url"), text),
        None => {
            checker.missing(path, "base_url", "where it answers, such as \"http://10.0.0.5:8000/v1\"");
            String::new()
        }
    };
    let weight = checker.at_least_one(path, "weight", raw.weight, 1);
    ProviderEndpoint { id: EndpointId::from(id), base_url, weight, region: raw.region.clone() }
}

fn take_endpoint(checker: &mut Checker<'_>, taken: &mut Taken, id: &str, path: &str) {
    if let Some(first) = taken.take(id, path) {
        let first = checker.placed(&first);
        checker.fault(path, format!("endpoint id `{id}` is taken by {first}"));
    }
}

fn base_url(checker: &mut Checker<'_>, path: &str, text: &str) -> String {
    units::base_url(text).unwrap_or_else(|why| {
        checker.fault(path, format!("{path} {why}"));
        String::new()
    })
}

/// Returns the provider's keys, those of the pool last. Optional keys without a value are left out.
fn keys(checker: &mut Checker<'_>, path: &str, raw: &RawProvider, teams: &BTreeMap<TeamId, Team>) -> Vec<ProviderKey> {
    if raw.kind == Some(ProviderKind::Demo) {
        if !raw.keys.is_empty() || raw.key_pool.is_some() {
            checker.fault(path, format!("{path} is a demo provider; it has no keys"));
        }
        return Vec::new();
    }
    let mut keys: Vec<ProviderKey> = Vec::new();
    let mut taken = Taken::default();
    let list = child(path, "keys");
    for (index, key) in raw.keys.iter().enumerate() {
        let here = item(&list, index);
        if let Some(key) = one_key(checker, &here, key, raw, teams) {
            add_key(checker, &mut keys, &mut taken, key, &here);
        }
    }
    if let Some(pool) = &raw.key_pool {
        let here = child(path, "key_pool");
        let id = pool.id.as_deref().unwrap_or("pool");
        checker.is_id(&child(&here, "id"), id);
        let Some(value) = &pool.value else {
            checker.missing(&here, "value", "a comma list of keys, or one on each line; usually \"${OPENAI_KEYS:-}\"");
            return keys;
        };
        let values = value.split([',', '\n', '\r']).map(str::trim).filter(|value| !value.is_empty());
        for (index, value) in values.enumerate() {
            let id = format!("{id}_{:02}", index + 1);
            if is_key(checker, &child(&here, "value"), &id, value) {
                add_key(checker, &mut keys, &mut taken, plain_key(&id, value), &here);
            }
        }
    }
    keys
}

fn one_key(
    checker: &mut Checker<'_>,
    path: &str,
    raw: &RawKey,
    provider: &RawProvider,
    teams: &BTreeMap<TeamId, Team>,
) -> Option<ProviderKey> {
    let id = raw.id.as_deref();
    match id {
        Some(id) => _ = checker.is_id(&child(path, "id"), id),
        None => checker.missing(path, "id", "a name for messages and the dashboard, such as id = \"main\""),
    }
    let id = id.unwrap_or("unnamed");
    let weight = checker.at_least_one(path, "weight", raw.weight, 1);
    for (index, team) in raw.teams.iter().enumerate() {
        if !teams.contains_key(&TeamId::from(team.as_str())) {
            let known = teams.keys().map(TeamId::as_str);
            let message = format!("{path} names team `{team}`, which is not defined");
            checker.unknown(&item(&child(path, "teams"), index), message, team, known);
        }
    }
    for (key, limit) in [("rpm", raw.rpm), ("tpm", raw.tpm)] {
        if limit == Some(0) {
            let here = child(path, key);
            checker.report(&here, Fault::error(format!("{here} is 0")).help("leave it out where it is not known"));
        }
    }
    let limited = |key: ProviderKey| ProviderKey {
        weight,
        rpm: raw.rpm,
        tpm: raw.tpm,
        models: raw.models.clone().unwrap_or_else(|| vec!["*".to_owned()]),
        deny: raw.deny.clone(),
        teams: raw.teams.iter().map(|team| TeamId::from(team.as_str())).collect(),
        ..key
    };
    if has_credential(raw) {
        return minted_key(checker, path, id, raw, provider).map(limited);
    }
    let value = raw.value.as_deref().map(str::trim).unwrap_or_default();
    match (&raw.value, value.is_empty()) {
        (None, _) if raw.optional != Some(true) => {
            checker.missing(path, "value", "usually a reference, such as value = \"${OPENAI_API_KEY}\"");
            return None;
        }
        (_, true) if raw.optional == Some(true) => {
            checker.warn(path, format!("key `{id}` is skipped: it is optional and has no value"));
            return None;
        }
        (_, true) => {
            let fault = Fault::error(format!("{path}.value is empty"));
            checker.report(&child(path, "value"), fault.help("`optional = true` skips a key without a value"));
            return None;
        }
        _ => {}
    }
    is_key(checker, &child(path, "value"), id, value).then(|| limited(plain_key(id, value)))
}

/// Returns a key without limits of its own.
pub(super) fn plain_key(id: &str, value: &str) -> ProviderKey {
    ProviderKey {
        id: KeyId::from(id),
        value: Secret::new(value.to_owned()),
        credential: None,
        weight: 1,
        rpm: None,
        tpm: None,
        models: vec!["*".to_owned()],
        deny: Vec::new(),
        teams: Vec::new(),
    }
}

/// Returns whether `value` can be sent in a header, and reports it if not, without showing it.
fn is_key(checker: &mut Checker<'_>, path: &str, id: &str, value: &str) -> bool {
    let fine = value.bytes().all(|b| b.is_ascii_graphic());
    if !fine {
        checker.fault(path, format!("key `{id}` has spaces or other characters that no API key has"));
    }
    fine
}

fn add_key(checker: &mut Checker<'_>, keys: &mut Vec<ProviderKey>, taken: &mut Taken, key: ProviderKey, path: &str) {
    if let Some(first) = taken.take(key.id.as_str(), path) {
        let first = checker.placed(&first);
        checker.fault(&child(path, "id"), format!("key id `{}` is taken by {first}", key.id));
    }
    // Two entries for one key would each be given the whole of its rate limit.
    if let Some(same) = keys.iter().find(|other| other.value == key.value) {
        checker.warn(path, format!("key `{}` is skipped: it is the same as `{}`", key.id, same.id));
        return;
    }
    keys.push(key);
}

fn headers(
    checker: &mut Checker<'_>,
    path: &str,
    kind: ProviderKind,
    raw: &BTreeMap<String, String>,
) -> Vec<(String, String)> {
    let table = child(path, "headers");
    let mut headers = Vec::with_capacity(raw.len());
    for (name, value) in raw {
        let here = child(&table, name);
        let lower = name.to_ascii_lowercase();
        if HeaderName::try_from(lower.as_str()).is_err() {
            checker.fault(&here, format!("`{name}` is not the name of a header"));
        } else if OWN_HEADERS.contains(&lower.as_str()) {
            checker.fault(&here, format!("header `{lower}` is written by the gateway itself"));
        } else if HeaderValue::from_str(value).is_err() {
            checker.fault(&here, format!("header `{lower}` has characters that no header can have"));
        } else {
            headers.push((lower, value.clone()));
        }
    }
    for (name, value) in kind.headers() {
        if !headers.iter().any(|(given, _)| given == name) {
            headers.push(((*name).to_owned(), (*value).to_owned()));
        }
    }
    headers
}

fn demo(checker: &mut Checker<'_>, path: &str, kind: ProviderKind, raw: &RawProvider) -> Option<DemoSettings> {
    if kind != ProviderKind::Demo {
        let given = [("latency", raw.latency.is_some()), ("error_rate", raw.error_rate.is_some())];
        let more = [("seed", raw.seed.is_some()), ("speaks", raw.speaks.is_some())];
        for (key, _) in given.into_iter().chain(more).filter(|(_, given)| *given) {
            let here = child(path, key);
            checker.fault(&here, format!("{here} is only for kind = \"demo\""));
        }
        return None;
    }
    let table = child(path, "latency");
    let latency = raw.latency.as_ref();
    let mut wait = |key: &str, text: Option<&String>, default_ms| {
        checker.any_duration(&child(&table, key), text, Duration::from_millis(default_ms))
    };
    let first_token = wait("first_token", latency.and_then(|latency| latency.first_token.as_ref()), 180);
    let per_token = wait("per_token", latency.and_then(|latency| latency.per_token.as_ref()), 12);
    Some(DemoSettings {
        speaks: raw.speaks.unwrap_or_default(),
        seed: raw.seed.unwrap_or(7),
        first_token,
        per_token,
        jitter: checker.share(&table, "jitter", latency.and_then(|latency| latency.jitter), 0.3),
        error_rate: checker.share(path, "error_rate", raw.error_rate, 0.0),
    })
}
