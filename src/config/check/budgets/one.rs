//! One budget and its steps.

use std::time::Duration;

use bursar_actors::access::Scope;
use bursar_actors::budget::{Act, BudgetSpec, Period, QUARTER_S, Step, WHOLE_PPM, Zone};
use bursar_actors::limits::Holder;

use super::Whose;
use crate::config::budgets::Deed;
use crate::config::check::Checker;
use crate::config::fault::{Fault, nearest};
use crate::config::layer::{child, item};
use crate::config::raw::{Amount, RawBudget, RawStep};
use crate::config::{Alias, Models, units};

/// The words for a period, and what they stand for.
const CALENDAR: [(&str, Period); 5] = [
    ("day", Period::Day),
    ("week", Period::Week),
    ("month", Period::Month),
    ("quarter", Period::Quarter),
    ("year", Period::Year),
];
/// The shortest and the longest rolling window.
const ROLLING_S: std::ops::RangeInclusive<u64> = 3_600..=366 * 86_400;

/// What stands around a budget.
pub struct Ground<'g> {
    /// Where the budget names none.
    pub zone: &'g Zone,
    pub models: &'g Models,
    /// Of a holder in a file.
    pub whose: Option<&'g Whose>,
    /// What its holder may use; `None` where that is no question, or somebody else's.
    pub scope: Option<&'g Scope>,
}

/// Checks the budget at `path`; `None` where it has no amount or no period.
pub fn budget(checker: &mut Checker<'_>, path: &str, raw: RawBudget, ground: &Ground<'_>) -> Option<BudgetSpec> {
    let period = match &raw.period {
        Some(text) => period(checker, &child(path, "period"), text),
        None => {
            checker.missing(path, "period", "day, week, month, quarter, year, or for example \"30d\" for any 30 days");
            None
        }
    };
    let amount_nano = match &raw.amount {
        Some(text) => amount(checker, &child(path, "amount"), text),
        None => {
            checker.missing(path, "amount", "dollars for each window, such as amount = 200");
            None
        }
    };
    let zone = raw.timezone.as_deref().map(|name| zone(checker, &child(path, "timezone"), name));
    let rollover_ppm = raw.rollover.as_ref().map_or(0, |text| share(checker, &child(path, "rollover"), text));
    if rollover_ppm > 0 && matches!(period, Some(Period::Rolling { .. })) {
        let here = child(path, "rollover");
        checker.fault(&here, format!("{here}: a rolling window has none before it whose rest could move on"));
    }
    let steps = steps(checker, path, raw.steps, ground);
    let soft = raw.soft.unwrap_or(false);
    if soft && steps.iter().any(|step| step.act == Act::Block) {
        let fault = Fault::error(format!("{path} is soft, but has a step that blocks"));
        checker.report(&child(path, "soft"), fault.help("take out `soft`, or that step"));
    }
    if let Some(id) = &raw.id {
        checker.is_id(&child(path, "id"), id);
    }
    let (period, amount_nano) = (period?, amount_nano?);
    let id = raw.id.unwrap_or_else(|| period.to_string());
    let zone = zone.unwrap_or_else(|| ground.zone.clone());
    Some(BudgetSpec { id, amount_nano, period, zone, rollover_ppm, soft, steps })
}

/// Returns the nano-dollars at `path`.
pub fn amount(checker: &mut Checker<'_>, path: &str, amount: &Amount) -> Option<u64> {
    match units::dollars(&amount.0) {
        Ok(0) => {
            let fault = Fault::error(format!("{path} is 0, so that nothing could pass"));
            checker.report(path, fault.help("leave the budget out for none"));
            None
        }
        Ok(nanos) => Some(nanos),
        Err(why) => {
            checker.fault(path, format!("{path}: {why}"));
            None
        }
    }
}

fn period(checker: &mut Checker<'_>, path: &str, text: &str) -> Option<Period> {
    if let Some((_, period)) = CALENDAR.iter().find(|(word, _)| *word == text) {
        return Some(*period);
    }
    let Ok(length) = units::duration(text) else {
        let words = CALENDAR.map(|(word, _)| word);
        let fault = Fault::error(format!("{path} is `{text}`, which is no period")).near(text, words);
        let words = words.join(", ");
        checker.report(path, fault.help(format!("one of {words}, or for example \"30d\" for any 30 days")));
        return None;
    };
    let seconds = length.as_secs();
    if !ROLLING_S.contains(&seconds) || seconds % QUARTER_S.unsigned_abs() != 0 || length.subsec_nanos() > 0 {
        let rule = "a rolling window has 1h to 366d, by the quarter of an hour";
        checker.fault(path, format!("{path} is `{text}`; {rule}"));
        return None;
    }
    Some(Period::Rolling { seconds })
}

/// Returns the time zone named at `path`; UTC where there is no such zone.
pub fn zone(checker: &mut Checker<'_>, path: &str, name: &str) -> Zone {
    Zone::of_name(name).unwrap_or_else(|| {
        let names: Vec<String> = Zone::names().collect();
        let place = name.replace(' ', "_");
        let is_it = |zone: &&String| zone.rsplit('/').next().is_some_and(|end| end.eq_ignore_ascii_case(&place));
        let near = names.iter().find(is_it).map(String::as_str);
        let mut fault = Fault::error(format!("{path}: there is no time zone `{name}`"));
        fault.near = near.or_else(|| nearest(name, names.iter().map(String::as_str))).map(str::to_owned);
        checker.report(path, fault.help("write UTC or a name of the IANA database, such as Europe/Berlin"));
        Zone::default()
    })
}

/// Returns the share at `path` in millionths; 0 where it is none.
fn share(checker: &mut Checker<'_>, path: &str, text: &Amount) -> u32 {
    let share = units::decimal(&text.0, 6).and_then(|share| u32::try_from(share).ok());
    share.filter(|share| *share <= WHOLE_PPM).unwrap_or_else(|| {
        let message = format!("{path} is {}; it is a share, from 0 to 1 with at most six decimals", text.0);
        checker.report(path, Fault::error(message).help("85 % is 0.85"));
        0
    })
}

fn steps(checker: &mut Checker<'_>, path: &str, raw: Vec<RawStep>, ground: &Ground<'_>) -> Vec<Step> {
    let list = child(path, "steps");
    let mut steps: Vec<Step> = Vec::with_capacity(raw.len());
    let mut blocked = None;
    for (index, raw) in raw.into_iter().enumerate() {
        let here = item(&list, index);
        let place = child(&here, "at");
        let before = checker.faults.errors();
        let at_ppm = match &raw.at {
            Some(text) => share(checker, &place, text),
            None => {
                checker.missing(&here, "at", "the share of the limit from which on it counts, such as at = 0.8");
                0
            }
        };
        let fine = checker.faults.errors() == before;
        if fine && raw.at.is_some() && at_ppm == 0 {
            checker.fault(&place, format!("{place} is 0; a step is above it"));
        }
        let last = steps.last().map_or(0, |step| step.at_ppm);
        if fine && at_ppm > 0 && at_ppm <= last {
            let (at, last) = (units::share_text(at_ppm), units::share_text(last));
            checker.fault(&place, format!("{place} is {at}, but the step before is at {last}; steps rise"));
        }
        if let Some(blocked) = blocked {
            let blocked = units::share_text(blocked);
            checker.warn(&here, format!("{here} is out of reach: a step before it blocks from {blocked} on"));
        }
        let Some(act) = act(checker, &here, raw, ground) else { continue };
        if act == Act::Block {
            blocked = blocked.or(Some(at_ppm));
        }
        steps.push(Step { at_ppm, act });
    }
    steps
}

/// Returns what the step at `path` does; `None` where it does not say so.
fn act(checker: &mut Checker<'_>, path: &str, raw: RawStep, ground: &Ground<'_>) -> Option<Act> {
    let Some(deed) = raw.deed else {
        let words = Deed::ALL.map(Deed::as_str).join(", ");
        checker.missing(path, "do", &format!("one of {words}"));
        return None;
    };
    let belongs = [
        ("to", raw.to.is_some(), Deed::Downgrade),
        ("rpm", raw.rpm.is_some(), Deed::Throttle),
        ("max_wait", raw.max_wait.is_some(), Deed::Queue),
        ("priority", raw.priority.is_some(), Deed::Queue),
    ];
    for (key, _, owner) in belongs.into_iter().filter(|(_, there, owner)| *there && *owner != deed) {
        let here = child(path, key);
        checker.fault(&here, format!("{here} belongs to do = \"{}\", not to \"{}\"", owner.as_str(), deed.as_str()));
    }
    let of_key = matches!(ground.whose, Some(Whose::Holder(Holder::ProviderKey(..))));
    if of_key && !matches!(deed, Deed::Notify | Deed::Block) {
        let here = child(path, "do");
        let fault = Fault::error(format!("{here} is \"{}\", which a provider's key cannot do", deed.as_str()));
        checker.report(&here, fault.help("its steps notify and block: it rests then, and other keys serve"));
    }
    Some(match deed {
        Deed::Notify => Act::Notify,
        Deed::Block => Act::Block,
        Deed::Downgrade => {
            if let Some(to) = &raw.to {
                downgrade(checker, &child(path, "to"), to, ground);
            }
            Act::Downgrade { to: raw.to }
        }
        Deed::Throttle => {
            match raw.rpm {
                None => checker.missing(path, "rpm", "requests in any minute, such as rpm = 10"),
                Some(0) => {
                    let here = child(path, "rpm");
                    checker.report(&here, Fault::error(format!("{here} is 0")).help("that is do = \"block\""));
                }
                Some(_) => {}
            }
            Act::Throttle { rpm: raw.rpm.unwrap_or(1) }
        }
        Deed::Queue => {
            if raw.max_wait.is_none() {
                checker.missing(path, "max_wait", "how long a request may wait, such as max_wait = \"60s\"");
            }
            let max_wait = checker.duration(path, "max_wait", raw.max_wait.as_ref(), Duration::from_secs(60));
            Act::Queue { max_wait, priority: raw.priority.unwrap_or_default() }
        }
    })
}

/// Checks that requests of the holder may go to the alias `to`.
fn downgrade(checker: &mut Checker<'_>, path: &str, to: &str, ground: &Ground<'_>) {
    let aliases = &ground.models.aliases;
    let Some(alias) = aliases.get(to) else {
        let message = format!("{path} names alias `{to}`, which is not defined");
        checker.unknown(path, message, to, aliases.keys().map(String::as_str));
        return;
    };
    let (Some(scope), Some(whose)) = (ground.scope, ground.whose) else { return };
    let reaches = |alias: &Alias| alias.targets.iter().any(|target| scope.providers.allow(&target.provider));
    if scope.models.allow(to) && (alias.targets.is_empty() || reaches(alias)) {
        return;
    }
    let holder = match whose {
        Whose::Holder(holder) => holder.to_string(),
        Whose::Members(team) => format!("team `{team}`"),
    };
    let may: Vec<&str> = aliases
        .values()
        .filter(|alias| scope.models.allow(&alias.name) && reaches(alias))
        .map(|alias| &*alias.name)
        .collect();
    let may = if may.is_empty() { "none".to_owned() } else { may.join(", ") };
    let fault = Fault::error(format!("{path} names alias `{to}`, which {holder} may not use"));
    checker.report(path, fault.help(format!("it may use: {may}")));
}
