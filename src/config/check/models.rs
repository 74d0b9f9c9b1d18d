//! `[models]`: the public names, what serves them, and what comes after.

use std::collections::{BTreeMap, BTreeSet};

use super::circles::{circles, walk};
use super::limits::limits;
use super::{Balancing, Checker};
use crate::config::fault::Fault;
use crate::config::layer::{child, item};
use crate::config::raw::{RawAlias, RawModels};
use crate::config::{Alias, AliasNeeds, Models, Provider, Target};

/// Checks the aliases against the providers that exist. `skipped` are providers that are written but left out.
pub fn models(
    checker: &mut Checker<'_>,
    raw: RawModels,
    balancing: &Balancing,
    providers: &BTreeMap<String, Provider>,
    skipped: &BTreeSet<String>,
) -> Models {
    let names: BTreeSet<String> = raw.alias.keys().cloned().collect();
    let strict = raw.strict.unwrap_or(false);
    let mut aliases = BTreeMap::new();
    for (name, raw) in raw.alias {
        let path = child("models.alias", &name);
        if name.is_empty() || name.len() > 200 || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
            checker.fault(&path, format!("`{name}` is not a model name: 1 to 200 characters without spaces"));
        }
        let targets = targets(checker, &path, &raw, providers, skipped);
        fallbacks(checker, &path, &name, &raw, &names);
        let strategy = raw.strategy.unwrap_or(balancing.strategy);
        let context_window = raw.needs.context_window;
        if context_window == Some(0) {
            let path = child(&child(&path, "needs"), "context_window");
            checker.fault(&path, format!("{path} is 0; it is a number of tokens"));
        }
        let limits = limits(checker, &child(&path, "limits"), &raw.limits);
        let needs = AliasNeeds { context_window, capabilities: raw.needs.capabilities.into_iter().collect() };
        let alias = Alias {
            name: name.clone(),
            description: raw.description,
            strategy,
            targets,
            fallback: raw.fallback,
            strict: raw.strict.unwrap_or(strict),
            needs,
            limits,
        };
        aliases.insert(name, alias);
    }
    let fallbacks = aliases.iter().map(|(name, alias)| (name.clone(), alias.fallback.clone()));
    for circle in circles(&fallbacks.collect()) {
        let path = child(&child("models.alias", &circle[0]), "fallback");
        checker.fault(&path, format!("the fallbacks go in a circle: {}", walk(&circle)));
    }
    if let Some(default) = &raw.default
        && !names.contains(default)
        && !is_direct(default, providers)
    {
        let message = format!("models.default names alias `{default}`, which is not defined");
        checker.unknown("models.default", message, default, names.iter().map(String::as_str));
    }
    Models { allow_direct: raw.allow_direct.unwrap_or(true), default: raw.default, strict, aliases }
}

/// Returns whether `name` is `provider/model` of a provider that exists.
fn is_direct(name: &str, providers: &BTreeMap<String, Provider>) -> bool {
    name.split_once('/').is_some_and(|(provider, model)| providers.contains_key(provider) && !model.is_empty())
}

fn targets(
    checker: &mut Checker<'_>,
    path: &str,
    raw: &RawAlias,
    providers: &BTreeMap<String, Provider>,
    skipped: &BTreeSet<String>,
) -> Vec<Target> {
    let list = child(path, "targets");
    if raw.targets.is_empty() {
        checker.missing(path, "targets", "at least one, such as { provider = \"openai\", model = \"gpt-5.4-mini\" }");
    }
    let before = checker.faults.errors();
    let mut targets = Vec::with_capacity(raw.targets.len());
    for (index, target) in raw.targets.iter().enumerate() {
        let here = item(&list, index);
        let weight = checker.at_least_one(&here, "weight", target.weight, 1);
        let model = target.model.clone().filter(|model| !model.is_empty());
        if model.is_none() {
            checker.missing(&here, "model", "the model's name at the provider");
        }
        let Some(provider) = &target.provider else {
            checker.missing(&here, "provider", "the id of a provider");
            continue;
        };
        if skipped.contains(provider) {
            checker.warn(&child(&here, "provider"), format!("{here} is left out, as its provider `{provider}` is"));
        } else if !providers.contains_key(provider) {
            let message = format!("{here} names provider `{provider}`, which is not defined");
            checker.unknown(&child(&here, "provider"), message, provider, providers.keys().map(String::as_str));
        } else if let Some(model) = model {
            targets.push(Target { provider: provider.clone(), model, weight });
        }
    }
    if targets.is_empty() && !raw.targets.is_empty() && checker.faults.errors() == before {
        let fault = Fault::error(format!("{path} has no target left: the providers of all of them are left out"));
        checker.report(&list, fault.help("set a key of one of them, or add a target"));
    }
    targets
}

fn fallbacks(checker: &mut Checker<'_>, path: &str, name: &str, raw: &RawAlias, names: &BTreeSet<String>) {
    let list = child(path, "fallback");
    let mut seen = BTreeSet::new();
    for (index, fallback) in raw.fallback.iter().enumerate() {
        let here = item(&list, index);
        if !names.contains(fallback) {
            let message = format!("{here} names alias `{fallback}`, which is not defined");
            let others = names.iter().map(String::as_str).filter(|other| *other != name);
            checker.unknown(&here, message, fallback, others);
        }
        if !seen.insert(fallback) {
            checker.warn(&here, format!("{here} repeats `{fallback}`"));
        }
    }
}
