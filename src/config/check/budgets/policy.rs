//! `[budgets]`: what is done without a price, how many may wait, who is told.

use super::one;
use crate::config::budgets::{BudgetPolicy, Deed, Unpriced, Webhook};
use crate::config::catalog::Rates;
use crate::config::check::{Checker, webhook};
use crate::config::fault::Fault;
use crate::config::layer::{child, item};
use crate::config::raw::{Amount, RawBudgets, RawUnpriced, RawWebhook};
use crate::config::units;

/// Requests that wait at once. Each holds its body, so `server.memory_limit` bounds them, too.
const QUEUE_MAX: u32 = 1_000;

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
    let secret = webhook::secret(checker, path, raw.secret.as_ref());
    let events = raw.events.clone().unwrap_or_else(|| Deed::ALL.to_vec());
    if events.is_empty() {
        let here = child(path, "events");
        let fault = Fault::error(format!("{here} is empty, so that it would be told nothing"));
        checker.report(&here, fault.help("leave events out for all of them"));
    }
    let url = webhook::url(checker, path, raw.url.as_ref(), "https://hooks.example.com/budgets")?;
    Some(Webhook { url, secret, events })
}
