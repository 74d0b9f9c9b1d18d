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
        is_model_name(checker, "limits", &name, providers, skipped);
        let limits = limits(checker, &child("limits.models", &name), &raw);
        tables.models.insert(name, limits);
    }
    for (name, raw) in raw.tags {
        let limits = limits(checker, &child("limits.tags", &name), &raw);
        if let Some(tag) = tag(checker, "limits", &name) {
            tables.tags.insert(tag, limits);
        }
    }
    tables
}

/// Checks that a key of `[<table>.models]` is `provider/model`, and its provider one that exists.
pub fn is_model_name(
    checker: &mut Checker<'_>,
    table: &str,
    name: &str,
    providers: &BTreeMap<String, Provider>,
    skipped: &BTreeSet<String>,
) {
    let path = child(&child(table, "models"), name);
    match name.split_once('/').filter(|(_, model)| !model.is_empty()) {
        None => {
            let fault = Fault::error(format!("`{name}` does not say whose model it is"));
            let own = if table == "budgets" { "budget" } else { table };
            let help = format!("write [{table}.models.\"provider/model\"]; an alias has [models.alias.<name>.{own}]");
            checker.report(&path, fault.help(help));
        }
        Some((provider, _)) if !providers.contains_key(provider) && !skipped.contains(provider) => {
            let message = format!("{path} names provider `{provider}`, which is not defined");
            checker.unknown(&path, message, provider, providers.keys().map(String::as_str));
        }
        Some(_) => {}
    }
}

/// Returns the name and the value of a tag, which is a key of `[<table>.tags]`.
pub fn tag(checker: &mut Checker<'_>, table: &str, tag: &str) -> Option<(String, String)> {
    if let Some((name, value)) = tag.split_once('=').filter(|(name, _)| !name.is_empty()) {
        return Some((name.into(), value.into()));
    }
    let fault = Fault::error(format!("`{tag}` is no tag with its value"));
    let help = format!("write [{table}.tags.\"cost_center=4711\"]");
    checker.report(&child(&child(table, "tags"), tag), fault.help(help));
    None
}

#[cfg(test)]
mod tests {
    use crate::config::load::{Sources, load};

    /// Returns the faults of a file with one provider, one team and this text, each as `line:column: words`.
    fn faults(text: &str) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a folder");
        let provider = "[providers.p]\nkind = 'openai_compatible'\nbase_url = 'http://a/v1'\nkeys = []\n";
        std::fs::write(folder.path().join("bursar.toml"), format!("{provider}{text}")).expect("a file");
        let (working_dir, system_file) = (folder.path().to_owned(), folder.path().join("none.toml"));
        let faults = load(&Sources { working_dir, system_file, ..Sources::default() }).err();
        let lines = faults.iter().flat_map(|faults| faults.iter()).map(|fault| fault.one_line());
        lines.map(|line| line.trim_start_matches("bursar.toml:").to_owned()).collect()
    }

    #[test]
    fn a_limit_of_nothing_is_refused_wherever_it_stands() {
        for (text, expected) in [
            ("[teams.t]\nlimits = { rpm = 0 }\n", "6:18: teams.t.limits.rpm is 0, so that nothing could pass"),
            ("[teams.t]\nuser_limits.concurrency = 0\n", "6:27: teams.t.user_limits.concurrency is 0"),
            ("[orgs.o.limits]\ntpd = 0\n", "6:7: orgs.o.limits.tpd is 0"),
            ("[limits.models.\"p/m\"]\nrph = 0\n", "6:7: limits.models.\"p/m\".rph is 0"),
            ("[limits.tags.\"env=ci\"]\ntph = 0\n", "6:7: limits.tags.\"env=ci\".tph is 0"),
        ] {
            let found = faults(text);
            assert!(found.len() == 1 && found[0].starts_with(expected), "{text}: {found:?}");
            assert!(found[0].contains("for no limit"), "{found:?}");
        }
    }

    #[test]
    fn figures_of_another_kind_are_refused_with_the_kind_that_is_meant() {
        for (text, expected, words) in [
            ("[teams.t.limits]\ncost_per_request = \"much\"\n", "6:20: teams.t.limits.cost_per_request", "2.5"),
            ("[teams.t.limits]\nrpm = -1\n", "6:7: teams.t.limits.rpm", "not between 0"),
            ("[teams.t.limits]\ntpm = \"many\"\n", "6:7: teams.t.limits.tpm", "takes a whole number"),
            ("[teams.t.limits]\nrpx = 1\n", "6:1: unknown key `rpx` in teams.t.limits", "did you mean"),
        ] {
            let found = faults(text);
            assert!(found.len() == 1 && found[0].starts_with(expected), "{text}: {found:?}");
            assert!(found[0].contains(words), "{found:?}");
        }
    }

    #[test]
    fn models_without_a_provider_and_tags_without_a_value_limit_nobody() {
        for (text, expected) in [
            ("[limits.models.m]\nrpm = 1\n", "5:16: `m` does not say whose model it is"),
            (
                "[limits.models.\"q/m\"]\nrpm = 1\n",
                "5:16: limits.models.\"q/m\" names provider `q`, which is not defined",
            ),
            ("[limits.tags.env]\nrpm = 1\n", "5:14: `env` is no tag with its value"),
        ] {
            let found = faults(text);
            assert!(found.len() == 1 && found[0].starts_with(expected), "{text}: {found:?}");
        }
    }
}
