//! `[catalog.models."provider/model"]`: prices and abilities that the operator knows better.

use std::collections::{BTreeMap, BTreeSet};

use super::Checker;
use crate::config::catalog::{Ability, Override, Rates, Tariff, Tier};
use crate::config::fault::Fault;
use crate::config::layer::{child, item};
use crate::config::raw::{Amount, RawCatalog, RawCatalogModel, RawPrice};
use crate::config::{Provider, units};
use crate::schema::chat::Effort;

/// Checks the models named by `provider/model`, whose providers have to exist; `skipped` are written but left out.
pub fn catalog(
    checker: &mut Checker<'_>,
    raw: RawCatalog,
    providers: &BTreeMap<String, Provider>,
    skipped: &BTreeSet<String>,
) -> BTreeMap<String, Override> {
    let mut models = BTreeMap::new();
    for (name, raw) in raw.models {
        let path = child("catalog.models", &name);
        match name.split_once('/').filter(|(provider, model)| !provider.is_empty() && !model.is_empty()) {
            None => {
                let fault = Fault::error(format!("`{name}` does not say whose model it is"));
                checker.report(&path, fault.help("write [catalog.models.\"provider/model\"]"));
            }
            Some((provider, _)) if !providers.contains_key(provider) && !skipped.contains(provider) => {
                let message = format!("{path} names provider `{provider}`, which is not defined");
                checker.unknown(&path, message, provider, providers.keys().map(String::as_str));
            }
            Some(_) => {}
        }
        let model = model(checker, &path, raw);
        models.insert(name, model);
    }
    models
}

fn model(checker: &mut Checker<'_>, path: &str, raw: RawCatalogModel) -> Override {
    for (key, number) in [("context", raw.context), ("max_output", raw.max_output)] {
        if number == Some(0) {
            let path = child(path, key);
            checker.fault(&path, format!("{path} is 0; it is a number of tokens"));
        }
    }
    let tariff = tariff(checker, path, &raw);
    let can: BTreeSet<Ability> = raw.can.into_iter().collect();
    let cannot: BTreeSet<Ability> = raw.cannot.into_iter().collect();
    for ability in can.intersection(&cannot) {
        let path = child(path, "cannot");
        checker.fault(&path, format!("{path} names `{ability}`, and so does `can`"));
    }
    let mut efforts: Vec<Effort> = raw.efforts.into_iter().map(Effort::from).collect();
    efforts.sort_unstable();
    efforts.dedup();
    Override {
        context: raw.context,
        max_output: raw.max_output,
        tariff,
        request_price: amount(checker, path, "request_price", raw.request_price.as_ref()),
        search_price: amount(checker, path, "search_price", raw.search_price.as_ref()),
        can,
        cannot,
        efforts,
    }
}

fn tariff(checker: &mut Checker<'_>, path: &str, raw: &RawCatalogModel) -> Tariff {
    let mut tariff = Tariff::new();
    let tiers = [
        ("price", Tier::Standard, &raw.price),
        ("batch_price", Tier::Batch, &raw.batch_price),
        ("flex_price", Tier::Flex, &raw.flex_price),
        ("priority_price", Tier::Priority, &raw.priority_price),
    ];
    for (key, tier, price) in &tiers {
        if let Some(price) = price {
            tariff.insert((*tier, 0), rates(checker, &child(path, key), price));
        }
    }
    let list = child(path, "long_price");
    for (index, long) in raw.long_price.iter().enumerate() {
        let here = item(&list, index);
        match long.above {
            None => checker.missing(&here, "above", "tokens of the prompt above which it holds, such as 200_000"),
            Some(0) => checker.fault(&child(&here, "above"), format!("{here}.above is 0; that is what `price` is for")),
            Some(above) => {
                let rates = rates(checker, &child(&here, "price"), &long.price);
                if tariff.insert((Tier::Standard, above), rates).is_some() {
                    checker.fault(&child(&here, "above"), format!("{here}.above repeats {above}"));
                }
            }
        }
    }
    let others = tiers.iter().any(|(_, _, price)| price.is_some()) || !raw.long_price.is_empty();
    if others && raw.price.is_none() {
        checker.missing(path, "price", "the usual price, on which the others build");
    }
    tariff
}

fn rates(checker: &mut Checker<'_>, path: &str, raw: &RawPrice) -> Rates {
    let mut read = |key: &str, text: &Option<Amount>| amount(checker, path, key, text.as_ref());
    let rates = Rates {
        input: read("input", &raw.input),
        output: read("output", &raw.output),
        cached: read("cached", &raw.cached),
        cache_write: read("cache_write", &raw.cache_write),
        cache_write_long: read("cache_write_long", &raw.cache_write_long),
        reasoning: read("reasoning", &raw.reasoning),
        audio_input: read("audio_input", &raw.audio_input),
        audio_output: read("audio_output", &raw.audio_output),
        image_input: read("image_input", &raw.image_input),
    };
    if raw.input.is_none() {
        checker.missing(path, "input", "dollars per million tokens read");
    }
    rates
}

fn amount(checker: &mut Checker<'_>, path: &str, key: &str, text: Option<&Amount>) -> Option<u64> {
    let path = child(path, key);
    units::dollars(&text?.0).map_err(|why| checker.fault(&path, format!("{path}: {why}"))).ok()
}
