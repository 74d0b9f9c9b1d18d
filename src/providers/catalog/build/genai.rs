//! Reads the export of genai-prices: providers with models, prices as text (`$3/input MTok, $15/output MTok`), some by date.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::super::entry::{Entry, Mode, Source};
use super::super::price::Price;
use super::figure::figure;
use super::litellm::Read;
use super::{Entries, Report, Skip, differences, put};
use crate::config::catalog::{Rates, Tariff, Tier};

/// Providers, with the catalog's word. Those of Hugging Face all begin with `huggingface_`.
const PROVIDERS: &[(&str, &str)] = &[
    ("anthropic", "anthropic"),
    ("aws", "bedrock"),
    ("azure", "azure"),
    ("cerebras", "cerebras"),
    ("cohere", "cohere"),
    ("deepseek", "deepseek"),
    ("fireworks", "fireworks"),
    ("google", "gemini"),
    ("groq", "groq"),
    ("mistral", "mistral"),
    ("moonshotai", "moonshot"),
    ("novita", "novita"),
    ("openai", "openai"),
    ("openrouter", "openrouter"),
    ("perplexity", "perplexity"),
    ("together", "together"),
    ("x-ai", "xai"),
    ("zai", "zai"),
];

/// Whose price OpenRouter passes on, by the first part of its names.
const PASSED_ON: &[(&str, &str)] =
    &[("anthropic", "anthropic"), ("google", "gemini"), ("openai", "openai"), ("x-ai", "xai")];

/// Parts of names of models that make no text.
const OTHER_MODES: &[&str] = &[
    "image",
    "whisper",
    "tts",
    "transcri",
    "realtime",
    "-live",
    "voice",
    "orpheus",
    "playai",
    "ocr",
    "rerank",
    "moderation",
    "guard",
    "veo",
    "sora",
    "imagen",
    "lyria",
    "video",
    "sonic",
    "voxtral",
];

#[derive(Deserialize)]
struct Vendor {
    id: String,
    models: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    id: String,
    #[serde(rename = "match")]
    matched: Value,
    prices: Prices,
    context_window: Option<u64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Prices {
    One(String),
    ByDate(Vec<Dated>),
}

#[derive(Deserialize)]
struct Dated {
    #[serde(default)]
    constraint: BTreeMap<String, String>,
    prices: String,
}

/// What a text says.
enum Told {
    Tokens { rates: Rates, search: Option<u64>, request: Option<u64>, brackets: bool },
    Nothing,
    OtherUnit,
}

/// Reads every provider. `known` is what LiteLLM said: it tells which names are no chat, and lends brackets to OpenRouter.
pub(super) fn read(text: &str, day: &str, known: &Read, report: &mut Report) -> Result<Entries, String> {
    let vendors: Vec<Vendor> =
        serde_json::from_str(text).map_err(|error| format!("the file of genai-prices is not its list: {error}"))?;
    let mut entries = Entries::new();
    for vendor in vendors {
        let host = vendor.id.strip_prefix("huggingface_");
        let word = PROVIDERS.iter().find(|(id, _)| *id == vendor.id).map(|(_, word)| *word);
        let Some(word) = word.or(host.map(|_| "huggingface")) else {
            vendor.models.iter().for_each(|model| _ = report.skip(Skip::OtherProvider, &model.id));
            continue;
        };
        for model in &vendor.models {
            for name in names(model) {
                let behind = host.map(|host| format!(":{host}")).unwrap_or_default();
                let name = format!("{word}/{name}{behind}");
                if let Some(entry) = entry(name, model, day, known, report) {
                    compare(&entry, known, report);
                    put(&mut entries, entry, report);
                }
            }
        }
    }
    Ok(entries)
}

/// Returns the id and the other names that are the same model word for word.
fn names(model: &Model) -> Vec<&str> {
    let any = model.matched.get("or_").and_then(Value::as_array);
    let clauses = any.map_or(std::slice::from_ref(&model.matched), Vec::as_slice);
    let equals = clauses.iter().filter_map(|clause| clause.get("equals")?.as_str());
    let mut names = vec![model.id.as_str()];
    for name in equals {
        if !names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            names.push(name);
        }
    }
    names
}

fn entry(name: String, model: &Model, day: &str, known: &Read, report: &mut Report) -> Option<Entry> {
    let key = name.to_ascii_lowercase();
    if known.other_modes.contains(&key) || OTHER_MODES.iter().any(|part| key.contains(part)) {
        report.skip(Skip::OtherMode, &name);
        return None;
    }
    if !name.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'*')) {
        report.skip(Skip::BadName, &name);
        return None;
    }
    let mode = match known.entries.get(&key) {
        Some(entry) => entry.mode,
        None if key.contains("embed") => Mode::Embedding,
        None => Mode::Chat,
    };
    let mut entry =
        Entry { name, mode, context: model.context_window, source: Source::GenaiPrices, ..Entry::default() };
    let told = text_of(&model.prices, day).ok_or(Skip::TimeOfDay);
    match told.and_then(|text| price(&entry, model, text, known, report)) {
        Ok(price) => entry.price = Some(price),
        // Where the other source has a price, this one is not missed.
        Err(why) if known.entries.get(&key).is_none_or(|other| other.price.is_none()) => {
            report.skip(why, &entry.name);
        }
        Err(_) => {}
    }
    Some(entry)
}

/// Returns the text in force on `day`; `None` where the time of day decides.
fn text_of<'p>(prices: &'p Prices, day: &str) -> Option<&'p str> {
    match prices {
        Prices::One(text) => Some(text),
        Prices::ByDate(list) => {
            let known = |dated: &Dated| dated.constraint.keys().all(|key| key == "start_date");
            let begun = |dated: &&Dated| dated.constraint.get("start_date").is_none_or(|start| start.as_str() <= day);
            list.iter().all(known).then(|| list.iter().rfind(begun))?.map(|dated| dated.prices.as_str())
        }
    }
}

fn price(entry: &Entry, model: &Model, text: &str, known: &Read, report: &mut Report) -> Result<Price, Skip> {
    let free = entry.name.starts_with("openrouter/") && entry.name.ends_with(":free");
    let (rates, search, request, brackets) = match told(text, &mut report.rounded) {
        Told::Tokens { rates, search, request, brackets } => (rates, search, request, brackets),
        Told::Nothing if free => {
            let rates = Rates { input: Some(0), output: Some(0), ..Rates::default() };
            return Ok(Price { tariff: Tariff::from([((Tier::Standard, 0), rates)]), ..Price::default() });
        }
        Told::Nothing => return Err(Skip::ZeroPrice),
        Told::OtherUnit => return Err(Skip::OtherUnit),
    };
    if rates.input.is_none() || (rates.output.is_none() && entry.mode != Mode::Embedding) {
        return Err(Skip::HalfPrice);
    }
    let mut tariff = Tariff::from([((Tier::Standard, 0), rates)]);
    if brackets {
        tariff.extend(lent(entry, model, &rates, known).ok_or(Skip::HiddenBrackets)?);
    }
    Ok(Price { tariff, request, search: search.map(|each| [each; 3]), regional: None })
}

/// Returns the brackets of the model whose price OpenRouter passes on, if the usual prices are the same.
fn lent(entry: &Entry, model: &Model, rates: &Rates, known: &Read) -> Option<Tariff> {
    let (maker, model) = model.id.split_once('/').filter(|_| entry.name.starts_with("openrouter/"))?;
    let (model, tier) = model.strip_suffix(":batch").map_or((model, Tier::Standard), |model| (model, Tier::Batch));
    let (_, vendor) = PASSED_ON.iter().find(|(word, _)| *word == maker)?;
    let names = [format!("{vendor}/{model}"), format!("{vendor}/{}", model.replace('.', "-"))];
    let price = names.iter().find_map(|name| known.entries.get(&name.to_ascii_lowercase())?.price.as_ref())?;
    let theirs = price.tariff.get(&(tier, 0))?;
    let same = (theirs.input, theirs.output) == (rates.input, rates.output)
        && (rates.cached.is_none() || rates.cached == theirs.cached);
    let long = price.tariff.range((tier, 1)..=(tier, u64::MAX));
    let long = || long.map(|((_, above), rates)| ((Tier::Standard, *above), *rates)).collect::<Tariff>();
    same.then(long).filter(|long| !long.is_empty())
}

/// Reads `$3/input MTok, $15/output MTok (+tiers), …`.
fn told(text: &str, rounded: &mut usize) -> Told {
    if text.is_empty() {
        return Told::Nothing;
    }
    let (mut rates, mut search, mut request, mut brackets) = (Rates::default(), None, None, false);
    for part in text.split(", ") {
        let Some((amount, unit)) = part.strip_prefix('$').and_then(|part| part.split_once('/')) else {
            return Told::OtherUnit;
        };
        let Some(nanos) = figure(amount, 9, rounded) else { return Told::OtherUnit };
        let unit = unit.trim().strip_suffix(" (+tiers)").map_or(unit.trim(), |unit| {
            brackets = true;
            unit
        });
        let slot = match unit {
            "input MTok" => &mut rates.input,
            "output MTok" => &mut rates.output,
            "input cache read MTok" => &mut rates.cached,
            "input cache write MTok" => &mut rates.cache_write,
            "input 1h cache write MTok" => &mut rates.cache_write_long,
            "output reasoning MTok" => &mut rates.reasoning,
            "input audio MTok" => &mut rates.audio_input,
            "output audio MTok" => &mut rates.audio_output,
            "input image MTok" => &mut rates.image_input,
            "web searches K" | "K requests" => {
                let each = (nanos % 1000 == 0).then_some(nanos / 1000);
                *(if unit == "K requests" { &mut request } else { &mut search }) = each;
                continue;
            }
            // Of what a call to chat does not use up, or what is not counted apart.
            "storage searches K"
            | "input image cache read MTok"
            | "input audio cache read MTok"
            | "input video MTok"
            | "output citation MTok" => continue,
            _ => return Told::OtherUnit,
        };
        *slot = Some(nanos).filter(|nanos| *nanos > 0);
    }
    Told::Tokens { rates, search, request, brackets }
}

/// Counts a model that both sources price, and notes a difference.
fn compare(entry: &Entry, known: &Read, report: &mut Report) {
    let Some(other) = known.entries.get(&entry.name.to_ascii_lowercase()) else { return };
    if entry.price.is_some() && other.price.is_some() {
        report.compared += 1;
        report.disagree.extend(differences(other, entry));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_to_the_nano_dollar() {
        let Told::Tokens { rates, search, request, brackets } = told(
            "$0.36975/input MTok (+tiers), $1/output MTok, $0.00306/input cache read MTok, $10/web searches K",
            &mut 0,
        ) else {
            panic!("it has prices");
        };

        assert_eq!(
            (rates.input, rates.output, rates.cached),
            (Some(369_750_000), Some(1_000_000_000), Some(3_060_000))
        );
        assert_eq!((search, request, brackets), (Some(10_000_000), None, true));
        assert!(matches!(told("$0.111/audio Hour", &mut 0), Told::OtherUnit));
        assert!(matches!(told("", &mut 0), Told::Nothing));
    }

    #[test]
    fn the_price_of_a_day_is_the_last_that_has_begun() {
        let dated = |start: &str, prices: &str| {
            let constraint = if start.is_empty() { None } else { Some(("start_date".to_owned(), start.to_owned())) };
            Dated { constraint: constraint.into_iter().collect(), prices: prices.to_owned() }
        };
        let prices = Prices::ByDate(vec![dated("", "old"), dated("2026-08-01", "new"), dated("2027-01-01", "later")]);

        assert_eq!(text_of(&prices, "2026-07-31"), Some("old"));
        assert_eq!(text_of(&prices, "2026-08-01"), Some("new"));
        let by_hour = Dated { constraint: [("start_time".into(), "01:00".into())].into(), prices: "x".into() };
        assert_eq!(text_of(&Prices::ByDate(vec![by_hour]), "2026-08-01"), None);
    }
}
