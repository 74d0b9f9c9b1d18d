//! `bursar models`: what is known of models, from the configuration and the catalog, without a running gateway.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::{Map, Value, json};

use super::list::{self, Column};
use super::{Output, complain};
use crate::config::catalog::{Ability, Tier};
use crate::config::load::{Sources, load};
use crate::config::settings::dollars;
use crate::config::{Alias, Config};
use crate::providers::catalog::{Catalog, Entry, Price, vendor, vendor_of};

const COLUMNS: [Column; 9] = [
    ("MODEL", "model"),
    ("MODE", "mode"),
    ("CONTEXT", "context"),
    ("MAX OUTPUT", "max_output"),
    ("INPUT ($/1M)", "input"),
    ("CACHED ($/1M)", "cached"),
    ("OUTPUT ($/1M)", "output"),
    ("DEPRECATED", "deprecated"),
    ("TARGETS", "targets"),
];
const DETAILS: [Column; 2] = [("WHAT", "what"), ("VALUE", "value")];

/// Which models are listed.
pub enum Which {
    /// Aliases, and the models of the providers that are configured.
    Configured,
    /// Those of one provider, by its id or by the catalog's word for it.
    Of(String),
    /// Every model of the catalog.
    All,
}

/// Prints a row for each model; JSON has all that is known.
pub fn list(sources: &Sources, which: &Which, form: Output, output: &mut dyn Write) -> io::Result<ExitCode> {
    let config = match load(sources) {
        Ok(config) => config,
        Err(faults) => return Ok(complain(format!("the configuration has faults\n{faults}"))),
    };
    let catalog = Catalog::builtin().with_overrides(&config);
    let mut rows = Vec::new();
    match which {
        Which::Configured => {
            rows.extend(config.models.aliases.values().map(alias_row));
            config.providers.keys().for_each(|id| rows.extend(of_provider(&catalog, &config, id)));
        }
        Which::Of(id) if config.providers.contains_key(id) => rows.extend(of_provider(&catalog, &config, id)),
        Which::Of(word) => {
            rows.extend(of_vendor(&catalog, &vendor(word)).map(|entry| row(&entry.name, Some(&entry))));
            if rows.is_empty() {
                let known: BTreeSet<String> = catalog.entries().map(|entry| vendor_word(&entry)).collect();
                let known = known.into_iter().chain(config.providers.keys().cloned()).collect::<Vec<_>>().join(", ");
                return Ok(complain(format!("no provider `{word}` in configuration or catalog; known: {known}")));
            }
        }
        Which::All => rows.extend(catalog.entries().map(|entry| row(&entry.name, Some(&entry)))),
    }
    list::write(&rows, &COLUMNS, form, output)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints all that is known of what `name` means: an alias with its targets, `provider/model`, or a model's name alone.
pub fn info(sources: &Sources, name: &str, form: Output, output: &mut dyn Write) -> io::Result<ExitCode> {
    let config = match load(sources) {
        Ok(config) => config,
        Err(faults) => return Ok(complain(format!("the configuration has faults\n{faults}"))),
    };
    let catalog = Catalog::builtin().with_overrides(&config);
    let found = meanings(&catalog, &config, name);
    if found.is_empty() {
        let help = "write an alias, provider/model, or a name as `bursar models list --all` shows it";
        return Ok(complain(format!("nothing is known of `{name}`; {help}")));
    }
    let about: Vec<Value> = found.iter().map(|(model, entry)| row(model, entry.as_ref())).collect();
    let alias = config.models.aliases.get(name);
    if form == Output::Json {
        let whole = match alias {
            Some(alias) => {
                json!({ "alias": name, "description": alias.description, "fallback": alias.fallback, "targets": about })
            }
            None => json!({ "models": about }),
        };
        writeln!(output, "{whole:#}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows = Vec::new();
    if let Some(alias) = alias {
        detail(&mut rows, "alias", name);
        alias.description.iter().for_each(|text| detail(&mut rows, "description", text));
        if !alias.fallback.is_empty() {
            detail(&mut rows, "fallback", &alias.fallback.join(", "));
        }
    }
    found.iter().for_each(|(model, entry)| details(&mut rows, model, entry.as_ref()));
    list::write(&rows, &DETAILS, form, output)?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the models that `name` stands for, with what is known of each.
fn meanings(catalog: &Catalog, config: &Config, name: &str) -> Vec<(String, Option<Entry>)> {
    let of =
        |provider: &str, model: &str| config.providers.get(provider).and_then(|provider| catalog.of(provider, model));
    if let Some(alias) = config.models.aliases.get(name) {
        let targets = alias.targets.iter();
        return targets.map(|t| (format!("{}/{}", t.provider, t.model), of(&t.provider, &t.model))).collect();
    }
    if let Some((provider, model)) = name.split_once('/') {
        let found = of(provider, model).or_else(|| catalog.find(provider, model));
        if found.is_some() || config.providers.contains_key(provider) {
            return vec![(name.to_owned(), found)];
        }
    }
    let configured = config.providers.keys().filter_map(|id| Some((format!("{id}/{name}"), Some(of(id, name)?))));
    let configured: Vec<_> = configured.collect();
    if !configured.is_empty() {
        return configured;
    }
    let same = |entry: &Entry| entry.name.split_once('/').is_some_and(|(_, model)| model.eq_ignore_ascii_case(name));
    catalog.entries().filter(same).map(|entry| (entry.name.clone(), Some(entry))).collect()
}

/// Returns the rows of a configured provider: what the operator named, and what the catalog has of it.
fn of_provider(catalog: &Catalog, config: &Config, id: &str) -> Vec<Value> {
    let Some(provider) = config.providers.get(id) else { return Vec::new() };
    let mut models: BTreeSet<String> = BTreeSet::new();
    let targets = config.models.aliases.values().flat_map(|alias| &alias.targets);
    models.extend(targets.filter(|target| target.provider == id).map(|target| target.model.clone()));
    let named = catalog.overridden().filter_map(|name| name.split_once('/'));
    models.extend(named.filter(|(provider, _)| *provider == id).map(|(_, model)| model.to_owned()));
    if let Some(vendor) = vendor_of(provider) {
        let shipped = of_vendor(catalog, vendor);
        models.extend(shipped.filter_map(|entry| Some(entry.name.split_once('/')?.1.to_owned())));
    }
    models.iter().map(|model| row(&format!("{id}/{model}"), catalog.of(provider, model).as_ref())).collect()
}

fn of_vendor<'c>(catalog: &'c Catalog, vendor: &str) -> impl Iterator<Item = Entry> + use<'c> {
    let prefix = format!("{vendor}/");
    catalog.entries().filter(move |entry| entry.name.starts_with(&prefix))
}

fn vendor_word(entry: &Entry) -> String {
    entry.name.split('/').next().unwrap_or_default().to_owned()
}

fn alias_row(alias: &Alias) -> Value {
    let targets = alias.targets.iter().map(|target| format!("{}/{}", target.provider, target.model));
    json!({ "model": alias.name, "mode": "alias", "targets": targets.collect::<Vec<_>>().join(", ") })
}

/// Returns everything known of `model`; prices are dollars as text, so that nobody reads them as floats.
fn row(model: &str, entry: Option<&Entry>) -> Value {
    let Some(entry) = entry else { return json!({ "model": model, "priced": false }) };
    let usual = entry.price.as_ref().and_then(|price| price.tariff.get(&(Tier::Standard, 0)));
    let usual = usual.copied().unwrap_or_default();
    let words = |abilities: &BTreeSet<Ability>| abilities.iter().map(|ability| ability.word()).collect::<Vec<_>>();
    json!({
        "model": model,
        "mode": entry.mode.word(),
        "context": entry.context,
        "max_output": entry.max_output,
        "dimensions": entry.dimensions,
        "prompt_cache_min": entry.cache_min,
        "priced": entry.price.is_some(),
        "input": usual.input.map(dollars),
        "cached": usual.cached.map(dollars),
        "output": usual.output.map(dollars),
        "usd_per_million_tokens": entry.price.as_ref().map(tariff),
        "regional_thousandths": entry.price.as_ref().and_then(|price| price.regional),
        "usd_per_request": entry.price.as_ref().and_then(|price| price.request).map(dollars),
        "usd_per_search": entry.price.as_ref().and_then(|price| price.search).map(|sizes| sizes.map(dollars)),
        "can": words(&entry.can),
        "cannot": words(&entry.cannot),
        "efforts": entry.efforts.iter().map(|effort| effort.as_str()).collect::<Vec<_>>(),
        "deprecated": entry.deprecated,
        "catalog_name": entry.name,
        "source": entry.source.word(),
    })
}

fn tariff(price: &Price) -> Value {
    let rates = price.tariff.iter().map(|((tier, above), rates)| {
        let rates = rates.named().into_iter().filter_map(|(kind, rate)| Some((kind.to_owned(), dollars(rate?).into())));
        let mut rates: Map<String, Value> = rates.collect();
        rates.insert("tier".to_owned(), tier.word().into());
        rates.insert("prompt_above".to_owned(), (*above).into());
        Value::Object(rates)
    });
    rates.collect()
}

fn detail(rows: &mut Vec<Value>, what: &str, value: &str) {
    rows.push(json!({ "what": what, "value": value }));
}

/// Adds what is known of one model, a line for each thing.
fn details(rows: &mut Vec<Value>, model: &str, entry: Option<&Entry>) {
    let mut say = |what: &str, value: &str| detail(rows, what, value);
    say("model", model);
    let Some(entry) = entry else { return say("price", "unpriced; say it in [catalog.models] of the configuration") };
    say("known as", &format!("{} ({})", entry.name, entry.source.word()));
    say("mode", entry.mode.word());
    let tokens = [("context", entry.context), ("max output", entry.max_output), ("prompt cache from", entry.cache_min)];
    tokens.into_iter().for_each(|(what, tokens)| tokens.iter().for_each(|n| say(what, &format!("{n} tokens"))));
    entry.dimensions.iter().for_each(|length| say("dimensions", &length.to_string()));
    match &entry.price {
        None => say("price", "unpriced; say it in [catalog.models] of the configuration"),
        Some(price) => prices(price, &mut say),
    }
    for (what, abilities) in [("can", &entry.can), ("cannot", &entry.cannot)] {
        if !abilities.is_empty() {
            say(what, &abilities.iter().map(|ability| ability.word()).collect::<Vec<_>>().join(", "));
        }
    }
    if !entry.efforts.is_empty() {
        say("efforts", &entry.efforts.iter().map(|effort| effort.as_str()).collect::<Vec<_>>().join(", "));
    }
    entry.deprecated.iter().for_each(|day| say("deprecated", day));
}

fn prices(price: &Price, say: &mut dyn FnMut(&str, &str)) {
    for ((tier, above), rates) in &price.tariff {
        let long = if *above > 0 { format!(", prompts above {above} tokens") } else { String::new() };
        let rates: Vec<String> = rates
            .named()
            .into_iter()
            .filter_map(|(kind, rate)| Some(format!("{} {}", kind.replace('_', " "), dollars(rate?))))
            .collect();
        say(&format!("$ per 1M tokens, {}{long}", tier.word()), &rates.join(", "));
    }
    price.regional.iter().for_each(|times| say("kept in a region", &format!("x {}.{:03}", times / 1000, times % 1000)));
    price.request.iter().for_each(|each| say("$ per request", &dollars(*each)));
    if let Some([low, medium, high]) = price.search {
        let text = if low == high && low == medium {
            dollars(low)
        } else {
            format!("{} low, {} medium, {} high context", dollars(low), dollars(medium), dollars(high))
        };
        say("$ per search", &text);
    }
}
