//! What holders may use: `limits` of every holder that has a table of its own, and `[limits]` for the others.

use std::collections::{BTreeMap, BTreeSet};

use bursar_actors::limits::Limits;

use super::Checker;
use crate::config::fault::Fault;
use crate::config::layer::child;
use crate::config::raw::{RawLimitTables, RawLimits};
use crate::config::{LimitTables, Provider, units};

/// Checks the limits at `path`.
pub fn limits(checker: &mut Checker<'_>, path: &str, raw: &RawLimits) -> Limits {
    let windows =
        [("rpm", raw.rpm), ("rph", raw.rph), ("rpd", raw.rpd), ("tpm", raw.tpm), ("tph", raw.tph), ("tpd", raw.tpd)];
    let concurrency = ("concurrency", raw.concurrency.map(u64::from));
    for (key, _) in windows.into_iter().chain([concurrency]).filter(|(_, limit)| *limit == Some(0)) {
        let here = child(path, key);
        let fault = Fault::error(format!("{here} is 0, so that nothing could pass"));
        checker.report(&here, fault.help(format!("leave {key} out for no limit")));
    }
    let cost_per_request = raw.cost_per_request.as_ref().and_then(|amount| {
        let here = child(path, "cost_per_request");
        units::dollars(&amount.0).map_err(|why| checker.fault(&here, format!("{here}: {why}"))).ok()
    });
    Limits {
        rpm: raw.rpm,
        rph: raw.rph,
        rpd: raw.rpd,
        tpm: raw.tpm,
        tph: raw.tph,
        tpd: raw.tpd,
        concurrency: raw.concurrency,
        cost_per_request,
    }
}

/// Checks `[limits]`. The providers it names have to exist; `skipped` are written but left out.
pub fn tables(
    checker: &mut Checker<'_>,
    raw: RawLimitTables,
    providers: &BTreeMap<String, Provider>,
    skipped: &BTreeSet<String>,
) -> LimitTables {
    let mut tables = LimitTables::default();
    for (name, raw) in raw.models {
        let path = child("limits.models", &name);
        match name.split_once('/').filter(|(_, model)| !model.is_empty()) {
            None => {
                let fault = Fault::error(format!("`{name}` does not say whose model it is"));
                let help = "write [limits.models.\"provider/model\"]; an alias has [models.alias.<name>.limits]";
                checker.report(&path, fault.help(help));
            }
            Some((provider, _)) if !providers.contains_key(provider) && !skipped.contains(provider) => {
                let message = format!("{path} names provider `{provider}`, which is not defined");
                checker.unknown(&path, message, provider, providers.keys().map(String::as_str));
            }
            Some(_) => {}
        }
        let limits = limits(checker, &path, &raw);
        tables.models.insert(name, limits);
    }
    for (tag, raw) in raw.tags {
        let path = child("limits.tags", &tag);
        let limits = limits(checker, &path, &raw);
        match tag.split_once('=').filter(|(name, _)| !name.is_empty()) {
            Some((name, value)) => {
                tables.tags.insert((name.into(), value.into()), limits);
            }
            None => {
                let fault = Fault::error(format!("`{tag}` is no tag with its value"));
                checker.report(&path, fault.help("write [limits.tags.\"cost_center=4711\"]"));
            }
        }
    }
    tables
}
