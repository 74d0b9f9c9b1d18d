//! What every webhook has: `url` and `secret`.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bursar_actors::Secret;

use super::Checker;
use crate::config::fault::Fault;
use crate::config::layer::child;
use crate::config::webhook::SECRET_PREFIX;

/// Fewest characters of a secret that messages are signed with.
const SHORTEST_SECRET: usize = 16;

/// Returns where the webhook at `path` is, if it says so and may be there; `such_as` is how that looks.
pub(super) fn url(checker: &mut Checker<'_>, path: &str, raw: Option<&String>, such_as: &str) -> Option<Secret> {
    let Some(url) = raw else {
        checker.missing(path, "url", &format!("where it is, such as \"{such_as}\""));
        return None;
    };
    let here = child(path, "url");
    match address(url.trim()) {
        Ok(()) => Some(Secret::new(url.trim().to_owned())),
        Err(why) => {
            checker.fault(&here, format!("{here} {why}"));
            None
        }
    }
}

/// Returns what its messages are signed with.
pub(super) fn secret(checker: &mut Checker<'_>, path: &str, raw: Option<&String>) -> Option<Secret> {
    raw.map(|secret| {
        let here = child(path, "secret");
        if secret.len() < SHORTEST_SECRET {
            let fault = Fault::error(format!("{here} has to be {SHORTEST_SECRET} characters at least"));
            checker.report(&here, fault.help("openssl rand -hex 24 makes a good one"));
        }
        if secret.strip_prefix(SECRET_PREFIX).is_some_and(|key| STANDARD.decode(key).is_err()) {
            let fault = Fault::error(format!("{here} begins with {SECRET_PREFIX}, but what follows is no Base64"));
            checker.report(&here, fault.help("copy it whole, or take another without that beginning"));
        }
        Secret::new(secret.clone())
    })
}

/// Says why `url` is no address of a webhook. The reason does not repeat it, because a password may stand in it.
fn address(url: &str) -> Result<(), &'static str> {
    let uri: actix_http::Uri = url.parse().map_err(|_| "is not a URL")?;
    let authority = uri.authority().ok_or("is not a whole URL; it starts with https://")?;
    if authority.as_str().contains('@') {
        return Err("holds a user or password; messages are signed with `secret`");
    }
    if url.contains('#') {
        return Err("has a fragment, which is not sent");
    }
    let host = authority.host();
    let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    let here = host.eq_ignore_ascii_case("localhost") || address.is_some_and(|address| address.is_loopback());
    match uri.scheme_str() {
        _ if host.is_empty() => Err("has no host"),
        Some("https") => Ok(()),
        Some("http") if here => Ok(()),
        Some("http") => Err("has to start with https://; http:// is for this machine only"),
        _ => Err("has to start with https://"),
    }
}
