//! `[[auth.oidc]]`: issuers whose bearer tokens are taken.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bursar_actors::TeamId;
use bursar_actors::access::Team;
use bursar_actors::admins::Role;

use super::Checker;
use crate::config::fault::Fault;
use crate::config::layer::{child, item};
use crate::config::oidc::{Algorithm, Issuer, Mapping, Source, is_trustworthy};
use crate::config::raw::RawIssuer;

/// What is taken unless somebody says otherwise: what issuers use.
const ALGORITHMS: [Algorithm; 3] = [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa];
/// Clocks that are further apart are wrong.
const LEEWAY_MAX: Duration = Duration::from_secs(300);

/// Checks the issuers.
pub(super) fn issuers(checker: &mut Checker<'_>, raw: &[RawIssuer], teams: &BTreeMap<TeamId, Team>) -> Vec<Issuer> {
    let mut taken = BTreeSet::new();
    let mut issuers = Vec::new();
    for (index, raw) in raw.iter().enumerate() {
        let path = item("auth.oidc", index);
        let Some(name) = raw.issuer.as_deref().filter(|issuer| !issuer.is_empty()) else {
            checker.missing(&path, "issuer", "exactly what the tokens say in `iss`");
            continue;
        };
        if !taken.insert(name) {
            let message = format!("{path}: issuer `{name}` stands here twice; write all audiences in one list");
            checker.fault(&child(&path, "issuer"), message);
        }
        if raw.audience.iter().all(String::is_empty) {
            checker.missing(
                &path,
                "audience",
                "audience = [\"bursar\"]: what the tokens for this gateway say in `aud`",
            );
        }
        let source = source(checker, &path, raw, name);
        let (team, role) = (team(checker, &path, raw, teams), role(checker, &path, raw));
        if team.is_none() && role.is_none() {
            let what =
                "the claim that says of which team somebody is, for example \"groups\"; or role_claim, for admins";
            checker.missing(&path, "team_claim", what);
        }
        let leeway = checker.any_duration(&child(&path, "leeway"), raw.leeway.as_ref(), Duration::from_secs(60));
        if leeway > LEEWAY_MAX {
            let here = child(&path, "leeway");
            checker.fault(&here, format!("{here} is more than 5m: a token that is over has to be refused"));
        }
        issuers.extend(source.map(|source| Issuer {
            issuer: name.to_owned(),
            audiences: raw.audience.clone(),
            algorithms: algorithms(checker, &path, raw.algorithms.as_deref()),
            source,
            team,
            role,
            user_claim: raw.user_claim.clone().unwrap_or_else(|| "sub".to_owned()),
            leeway,
        }));
    }
    issuers
}

fn source(checker: &mut Checker<'_>, path: &str, raw: &RawIssuer, issuer: &str) -> Option<Source> {
    let Some(jwks) = raw.jwks.as_deref() else {
        let described = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        if !is_trustworthy(&described) {
            let fault = Fault::error(format!("{path} has no `jwks`, and issuer `{issuer}` is no https:// address"));
            checker.report(&child(path, "issuer"), fault.help("add jwks = \"https://…\" or \"file:…\": its keys"));
            return None;
        }
        return Some(Source::Discovery(described));
    };
    if let Some(file) = jwks.strip_prefix("file:").filter(|file| !file.is_empty()) {
        return Some(Source::File(file.into()));
    }
    if !is_trustworthy(jwks) {
        let here = child(path, "jwks");
        let fault =
            Fault::error(format!("{here}: `{jwks}` is no place for keys: whoever changes them lets anybody in"));
        checker.report(&here, fault.help("write an https:// address, one of this machine, or file:/path/to/jwks.json"));
        return None;
    }
    Some(Source::Url(jwks.to_owned()))
}

fn team(checker: &mut Checker<'_>, path: &str, raw: &RawIssuer, teams: &BTreeMap<TeamId, Team>) -> Option<Mapping> {
    for (value, team) in &raw.team_map {
        if !teams.contains_key(&TeamId::from(team.as_str())) {
            let here = child(&child(path, "team_map"), value);
            let message = format!(
                "{here} names team `{team}`, which no file defines: whoever has it is refused until it is made"
            );
            let fault = Fault::warning(message).near(team, teams.keys().map(TeamId::as_str));
            checker.report(&here, fault);
        }
    }
    let claim = raw.team_claim.clone().filter(|claim| !claim.is_empty())?;
    Some(Mapping { claim, map: raw.team_map.clone() })
}

/// A role comes of a map alone: whoever names groups at the issuer must not name an admin here by chance.
fn role(checker: &mut Checker<'_>, path: &str, raw: &RawIssuer) -> Option<Mapping> {
    for (value, role) in &raw.role_map {
        if !Role::NAMES.contains(&role.as_str()) {
            let here = child(&child(path, "role_map"), value);
            let message = format!("{here}: `{role}` is no role");
            checker.unknown(&here, message, role, Role::NAMES.into_iter());
        }
    }
    let claim = raw.role_claim.clone().filter(|claim| !claim.is_empty())?;
    if raw.role_map.is_empty() {
        checker.missing(
            path,
            "role_map",
            "which values of the claim mean which role: { \"bursar-admins\" = \"admin\" }",
        );
    }
    Some(Mapping { claim, map: raw.role_map.clone() })
}

fn algorithms(checker: &mut Checker<'_>, path: &str, named: Option<&[String]>) -> Vec<Algorithm> {
    let path = child(path, "algorithms");
    let mut read = |(index, name): (usize, &String)| {
        let known = Algorithm::of_name(name);
        if known.is_none() {
            let here = item(&path, index);
            let message = format!("{here}: `{name}` is no algorithm that tokens may be signed by");
            let names = Algorithm::ALL.map(|(name, _)| name);
            let fault = Fault::error(message).near(name, names);
            checker.report(&here, fault.help(format!("known: {}; never none or a shared secret", names.join(", "))));
        }
        known
    };
    match named {
        None => ALGORITHMS.to_vec(),
        Some(names) => names.iter().enumerate().filter_map(&mut read).collect(),
    }
}
