//! `[budgets]`: what is done without a price, how many may wait, who is told.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bursar_actors::Secret;

use super::one;
use crate::config::budgets::{BudgetPolicy, Deed, SECRET_PREFIX, Unpriced, Webhook};
use crate::config::catalog::Rates;
use crate::config::check::Checker;
use crate::config::fault::Fault;
use crate::config::layer::{child, item};
use crate::config::raw::{Amount, RawBudgets, RawUnpriced, RawWebhook};
use crate::config::units;

/// Requests that wait at once. Each holds its body, so `server.memory_limit` bounds them, too.
const QUEUE_MAX: u32 = 1_000;
/// The shortest secret that is not a guess away.
const SHORTEST_SECRET: usize = 16;

/// Checks `[budgets]`, but for the budgets in it.
pub fn policy(checker: &mut Checker<'_>, raw: &RawBudgets) -> BudgetPolicy {
    let zone = raw.timezone.as_deref().map(|name| one::zone(checker, "budgets.timezone", name)).unwrap_or_default();
    let webhooks = raw.webhooks.iter().enumerate();
    let webhooks =
        webhooks.filter_map(|(index, raw)| webhook(checker, &item("budgets.webhooks", index), raw)).collect();
    let queue_max = checker.at_least_one("budgets", "queue_max", raw.queue_max, QUEUE_MAX);
    BudgetPolicy { zone, unpriced: unpriced(checker, raw), queue_max, webhooks }
}

fn unpriced(checker: &mut Checker<'_>, raw: &RawBudgets) -> Unpriced {
    let path = "budgets.unpriced_price";
    let word = raw.unpriced.unwrap_or(RawUnpriced::Block);
    let Some(price) = &raw.unpriced_price else {
        if word == RawUnpriced::Estimate {
            let help = "{ input = 5, output = 25 }, dollars per million tokens";
            checker.missing("budgets", "unpriced_price", help);
        }
        return if word == RawUnpriced::Flag { Unpriced::Flag } else { Unpriced::Block };
    };
    let mut rate = |key: &str, amount: &Option<Amount>| {
        let here = child(path, key);
        match amount {
            Some(amount) => {
                units::dollars(&amount.0).map_err(|why| checker.fault(&here, format!("{here}: {why}"))).ok()
            }
            None => {
                checker.missing(path, key, "dollars per million tokens");
                None
            }
        }
    };
    let rates = Rates { input: rate("input", &price.input), output: rate("output", &price.output), ..Rates::default() };
    match word {
        RawUnpriced::Estimate => Unpriced::Estimate(rates),
        other => {
            checker.fault(path, format!("{path} belongs to unpriced = \"estimate\", which budgets.unpriced is not"));
            if other == RawUnpriced::Flag { Unpriced::Flag } else { Unpriced::Block }
        }
    }
}

fn webhook(checker: &mut Checker<'_>, path: &str, raw: &RawWebhook) -> Option<Webhook> {
    let secret = raw.secret.as_ref().map(|secret| {
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
    });
    let events = raw.events.clone().unwrap_or_else(|| Deed::ALL.to_vec());
    if events.is_empty() {
        let here = child(path, "events");
        let fault = Fault::error(format!("{here} is empty, so that it would be told nothing"));
        checker.report(&here, fault.help("leave events out for all of them"));
    }
    let Some(url) = &raw.url else {
        checker.missing(path, "url", "where it is, such as \"https://hooks.example.com/budgets\"");
        return None;
    };
    let here = child(path, "url");
    match address(url.trim()) {
        Ok(()) => Some(Webhook { url: Secret::new(url.trim().to_owned()), secret, events }),
        Err(why) => {
            checker.fault(&here, format!("{here} {why}"));
            None
        }
    }
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
