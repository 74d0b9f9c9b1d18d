//! Reads LiteLLM's map: one object for each model, prices in dollars per token, one key for each kind, tier and bracket.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::entry::{Entry, Mode, Source};
use super::super::price::Price;
use super::figure::figure;
use super::{Entries, Report, Skip, put};
use crate::config::catalog::{Ability, Rates, Tariff, Tier};
use crate::config::units::decimal;
use crate::schema::chat::Effort;

/// Providers whose models can be served, as the source calls them, with the catalog's word. Those of Vertex AI all begin
/// with `vertex_ai`.
const PROVIDERS: &[(&str, &str)] = &[
    ("openai", "openai"),
    ("text-completion-openai", "openai"),
    ("azure", "azure"),
    ("azure_text", "azure"),
    ("azure_ai", "azure_ai"),
    ("anthropic", "anthropic"),
    ("gemini", "gemini"),
    ("bedrock", "bedrock"),
    ("bedrock_converse", "bedrock"),
    ("bedrock_mantle", "bedrock_mantle"),
    ("mistral", "mistral"),
    ("codestral", "codestral"),
    ("cohere", "cohere"),
    ("cohere_chat", "cohere"),
    ("groq", "groq"),
    ("deepseek", "deepseek"),
    ("xai", "xai"),
    ("together_ai", "together"),
    ("fireworks_ai", "fireworks"),
    ("fireworks_ai-embedding-models", "fireworks"),
    ("perplexity", "perplexity"),
    ("cerebras", "cerebras"),
    ("moonshot", "moonshot"),
    ("zai", "zai"),
    ("nvidia_nim", "nvidia"),
    ("huggingface", "huggingface"),
    ("openrouter", "openrouter"),
    ("sambanova", "sambanova"),
    ("deepinfra", "deepinfra"),
    ("nebius", "nebius"),
    ("novita", "novita"),
    ("hyperbolic", "hyperbolic"),
];

/// Keys of prices, those first that begin like a shorter one, and what they are.
type Slot = fn(&mut Rates) -> &mut Option<u64>;
const PRICES: &[(&str, Slot)] = &[
    ("cache_creation_input_token_cost_above_12hr", |rates| &mut rates.cache_write_long),
    ("cache_creation_input_token_cost_above_1hr", |rates| &mut rates.cache_write_long),
    ("cache_creation_input_token_cost", |rates| &mut rates.cache_write),
    ("input_cost_per_token_cache_hit", |rates| &mut rates.cached),
    ("cache_read_input_token_cost", |rates| &mut rates.cached),
    ("input_cost_per_token", |rates| &mut rates.input),
    ("output_cost_per_token", |rates| &mut rates.output),
    ("output_cost_per_reasoning_token", |rates| &mut rates.reasoning),
    ("input_cost_per_audio_token", |rates| &mut rates.audio_input),
    ("output_cost_per_audio_token", |rates| &mut rates.audio_output),
    ("input_cost_per_image_token", |rates| &mut rates.image_input),
];

/// Prices by what is no token.
const OTHER_UNITS: &[&str] = &[
    "input_cost_per_second",
    "input_cost_per_character",
    "input_cost_per_query",
    "input_cost_per_image",
    "input_cost_per_video_per_second",
    "output_cost_per_character",
    "output_cost_per_image",
];

/// Flags and the abilities they are. `supports_response_schema` is handled apart.
const FLAGS: &[(&str, Ability)] = &[
    ("supports_function_calling", Ability::Tools),
    ("supports_tool_choice", Ability::ToolChoice),
    ("supports_forced_tool_use", Ability::ForcedTools),
    ("supports_parallel_function_calling", Ability::ParallelTools),
    ("supports_vision", Ability::Vision),
    ("supports_embedding_image_input", Ability::Vision),
    ("supports_pdf_input", Ability::Pdf),
    ("supports_audio_input", Ability::AudioInput),
    ("supports_audio_output", Ability::AudioOutput),
    ("supports_video_input", Ability::VideoInput),
    ("supports_reasoning", Ability::Reasoning),
    ("supports_adaptive_thinking", Ability::AdaptiveThinking),
    ("thinking_always_on", Ability::AlwaysThinks),
    ("supports_sampling_params", Ability::Sampling),
    ("supports_assistant_prefill", Ability::Prefill),
    ("supports_system_messages", Ability::SystemMessages),
    ("supports_mid_conversation_system", Ability::MidConversationSystem),
    ("supports_prompt_caching", Ability::PromptCaching),
    ("supports_prompt_cache_breakpoint", Ability::CacheBreakpoints),
    ("supports_web_search", Ability::WebSearch),
    ("supports_computer_use", Ability::ComputerUse),
];

/// What the map holds for us.
pub(super) struct Read {
    pub(super) entries: Entries,
    /// Names, in small letters, of models that are neither chat nor embedding.
    pub(super) other_modes: BTreeSet<String>,
}

/// One model of the map, its values as they were written, so that no price passes through a float.
struct Fields<'f> {
    fields: &'f BTreeMap<String, Box<RawValue>>,
    rounded: usize,
}

/// Reads the whole map.
pub(super) fn read(text: &str, report: &mut Report) -> Result<Read, String> {
    let map: BTreeMap<String, BTreeMap<String, Box<RawValue>>> =
        serde_json::from_str(text).map_err(|error| format!("LiteLLM's file is not the map of models: {error}"))?;
    let mut read = Read { entries: Entries::new(), other_modes: BTreeSet::new() };
    for (key, fields) in &map {
        let mut fields = Fields { fields, rounded: 0 };
        let Some(vendor) = vendor(&fields.text("litellm_provider").unwrap_or_default()) else {
            report.skip(Skip::OtherProvider, key);
            continue;
        };
        let name = format!("{vendor}/{}", bare_name(vendor, key));
        let Some(mode) = fields.mode() else {
            report.skip(Skip::OtherMode, key);
            read.other_modes.insert(name.to_ascii_lowercase());
            continue;
        };
        match unfit(&name) {
            Some(why) => _ = report.skip(why, key),
            None => {
                let entry = fields.entry(name, mode, report);
                report.rounded += fields.rounded;
                put(&mut read.entries, entry, report);
            }
        }
    }
    Ok(read)
}

fn vendor(provider: &str) -> Option<&'static str> {
    if provider.starts_with("vertex_ai") {
        return Some("vertex");
    }
    PROVIDERS.iter().find(|(known, _)| *known == provider).map(|(_, vendor)| *vendor)
}

/// Returns the provider's own name of a model, without the word that the source puts in front.
fn bare_name<'k>(vendor: &str, key: &'k str) -> &'k str {
    let ours = |head: &str| head == vendor || self::vendor(head) == Some(vendor);
    key.split_once('/').filter(|(head, _)| ours(head)).map_or(key, |(_, rest)| rest)
}

fn unfit(name: &str) -> Option<Skip> {
    let model = name.split_once('/').map_or(name, |(_, model)| model);
    if model.contains("-commitment/") {
        return Some(Skip::Commitment);
    }
    let class = ["together-ai-", "fireworks-ai-"].iter().any(|prefix| model.starts_with(prefix));
    if class || model == "container" {
        return Some(Skip::NoModel);
    }
    let fits = name.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'*'));
    (!fits || model.is_empty()).then_some(Skip::BadName)
}

impl Fields<'_> {
    fn value<'v, T: Deserialize<'v>>(&'v self, key: &str) -> Option<T> {
        self.fields.get(key).and_then(|raw| serde_json::from_str(raw.get()).ok())
    }

    fn text(&self, key: &str) -> Option<String> {
        self.value(key)
    }

    fn tokens(&self, key: &str) -> Option<u64> {
        decimal(self.fields.get(key)?.get(), 0).filter(|tokens| *tokens > 0)
    }

    fn mode(&self) -> Option<Mode> {
        let endpoints: Vec<String> = self.value("supported_endpoints").unwrap_or_default();
        let has = |part: &str| endpoints.iter().any(|endpoint| endpoint.contains(part));
        match self.text("mode")?.as_str() {
            "chat" if has("/responses") && !has("/chat/completions") && !has("/messages") => Some(Mode::Responses),
            "chat" => Some(Mode::Chat),
            "responses" => Some(Mode::Responses),
            "completion" => Some(Mode::Completion),
            "embedding" => Some(Mode::Embedding),
            _ => None,
        }
    }

    fn entry(&mut self, name: String, mode: Mode, report: &mut Report) -> Entry {
        let price = self.price(&name, mode, report);
        let (can, cannot) = self.abilities(&name);
        let dimensions = if mode == Mode::Embedding { self.tokens("output_vector_size") } else { None };
        let output = if mode == Mode::Embedding { None } else { self.tokens("max_output_tokens") };
        let reasons = can.contains(&Ability::Reasoning);
        Entry {
            mode,
            context: self.tokens("max_input_tokens"),
            max_output: output,
            dimensions,
            cache_min: self.tokens("prompt_cache_min_tokens"),
            price,
            can,
            cannot,
            efforts: if reasons { self.efforts() } else { Vec::new() },
            deprecated: self.text("deprecation_date").filter(|day| day.len() == 10),
            source: Source::Litellm,
            name,
        }
    }

    fn price(&mut self, name: &str, mode: Mode, report: &mut Report) -> Option<Price> {
        let mut tariff = Tariff::new();
        let mut zero = false;
        for (key, raw) in self.fields {
            let Some((slot, at)) = place(key) else { continue };
            let Some(amount) = figure(raw.get(), 15, &mut self.rounded) else { continue };
            zero |= amount == 0;
            let slot = slot(tariff.entry(at).or_default());
            // Two keys can mean the same; the one that sorts first holds.
            if amount > 0 && slot.is_none() {
                *slot = Some(amount);
            }
        }
        tariff.retain(|_, rates| *rates != Rates::default());
        let usual = tariff.get(&(Tier::Standard, 0)).copied().unwrap_or_default();
        if usual.input.is_none() || (usual.output.is_none() && mode != Mode::Embedding) {
            if OTHER_UNITS.iter().any(|unit| self.fields.contains_key(*unit)) {
                report.skip(Skip::OtherUnit, name);
            } else if usual.input.is_some() || usual.output.is_some() {
                report.skip(Skip::HalfPrice, name);
            } else if zero {
                report.skip(Skip::ZeroPrice, name);
            }
            return None;
        }
        self.add_fast(&mut tariff);
        let request = self.fields.get("input_cost_per_request").and_then(|raw| decimal(raw.get(), 9));
        let request = request.filter(|each| *each > 0);
        Some(Price { tariff, request, search: self.search(), regional: self.regional() })
    }

    /// Adds the tier that is given as a multiple of the usual price.
    fn add_fast(&self, tariff: &mut Tariff) {
        let special: BTreeMap<String, Box<RawValue>> = self.value("provider_specific_entry").unwrap_or_default();
        let Some(times) = special.get("fast").and_then(|raw| decimal(raw.get(), 0)) else { return };
        let standard: Vec<_> = tariff.range((Tier::Standard, 0)..=(Tier::Standard, u64::MAX)).collect();
        let more = |rate: Option<u64>| rate.and_then(|rate| rate.checked_mul(times));
        let fast: Vec<_> = standard.into_iter().map(|((_, above), rates)| (*above, rates.map(more))).collect();
        tariff.extend(fast.into_iter().map(|(above, rates)| ((Tier::Fast, above), rates)));
    }

    /// Returns by what a region multiplies the price, in thousandths: one figure for regional endpoints, one for each region
    /// that a request may ask for. Where they differ the dearest holds.
    fn regional(&self) -> Option<u64> {
        const KEYS: [&str; 3] = [
            "regional_endpoint_uplift_multiplier",
            "regional_processing_uplift_multiplier_us",
            "regional_processing_uplift_multiplier_eu",
        ];
        let special: BTreeMap<String, Box<RawValue>> = self.value("provider_specific_entry").unwrap_or_default();
        let told = KEYS.iter().filter_map(|key| self.fields.get(*key)).chain(special.get("us"));
        told.filter_map(|raw| decimal(raw.get(), 3)).filter(|times| *times > 1000).max()
    }

    fn search(&self) -> Option<[u64; 3]> {
        let sizes: BTreeMap<String, Box<RawValue>> = self.value("search_context_cost_per_query")?;
        let size = |word: &str| decimal(sizes.get(&format!("search_context_size_{word}"))?.get(), 9);
        let [low, medium, high] = ["low", "medium", "high"].map(size);
        let medium = medium.or(high).or(low).filter(|each| *each > 0)?;
        Some([low.unwrap_or(medium), medium, high.unwrap_or(medium)])
    }

    fn abilities(&self, name: &str) -> (BTreeSet<Ability>, BTreeSet<Ability>) {
        let (mut can, mut cannot) = (BTreeSet::new(), BTreeSet::new());
        let flags = FLAGS.iter().map(|(flag, ability)| (*ability, self.value::<bool>(flag)));
        // The source counts what it mends itself, by a tool that takes the schema, as support.
        let native = ["supports_native_structured_output", "supports_bedrock_native_structured_output"];
        let native = native.iter().any(|flag| self.value(flag) == Some(true));
        let schema =
            self.value("supports_response_schema").map(|schema: bool| schema && (native || !name.contains("claude")));
        for (ability, flag) in flags.chain([(Ability::JsonSchema, schema.or(native.then_some(true)))]) {
            match flag {
                Some(true) => _ = can.insert(ability),
                Some(false) => _ = cannot.insert(ability),
                None => {}
            }
        }
        cannot.retain(|ability| !can.contains(ability));
        (can, cannot)
    }

    /// Returns the efforts it takes: a list, or what flags add to and take from low, medium and high.
    fn efforts(&self) -> Vec<Effort> {
        if let Some(words) = self.value::<Vec<String>>("reasoning_effort_levels") {
            let mut efforts: Vec<Effort> = words.iter().filter_map(|word| Effort::from_word(word)).collect();
            efforts.sort_unstable();
            return efforts;
        }
        let all =
            [Effort::None, Effort::Minimal, Effort::Low, Effort::Medium, Effort::High, Effort::XHigh, Effort::Max];
        let flag = |effort: &Effort| self.value::<bool>(&format!("supports_{}_reasoning_effort", effort.as_str()));
        let ceiling = self.text("bedrock_output_config_effort_ceiling").and_then(|word| Effort::from_word(&word));
        let told = all.iter().any(|effort| flag(effort).is_some()) || ceiling.is_some();
        if !told {
            return Vec::new();
        }
        let usual = |effort: &Effort| matches!(effort, Effort::Low | Effort::Medium | Effort::High);
        let below = |effort: &Effort| ceiling.is_none_or(|ceiling| *effort <= ceiling);
        all.into_iter().filter(|effort| flag(effort).unwrap_or(usual(effort)) && below(effort)).collect()
    }
}

/// Returns which price `key` is, of which tier and above which size of prompt.
fn place(key: &str) -> Option<(Slot, (Tier, u64))> {
    let (base, slot) = PRICES.iter().find(|(base, _)| key.starts_with(base))?;
    let mut rest = &key[base.len()..];
    let mut above = 0;
    if let Some((digits, behind)) = rest.strip_prefix("_above_").and_then(|rest| rest.split_once("k_tokens")) {
        above = digits.parse::<u64>().ok()?.checked_mul(1000)?;
        rest = behind;
    }
    let tier = match rest {
        "" => Tier::Standard,
        "_batches" => Tier::Batch,
        "_flex" => Tier::Flex,
        "_priority" => Tier::Priority,
        "_ultrafast" => Tier::Ultrafast,
        _ => return None,
    };
    Some((*slot, (tier, above)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_says_kind_tier_and_bracket() {
        let at = |key: &str| {
            let (slot, at) = place(key)?;
            let mut rates = Rates::default();
            *slot(&mut rates) = Some(1);
            let kind = rates.named().into_iter().find(|(_, rate)| rate.is_some())?.0;
            Some((kind, at.0, at.1))
        };

        assert_eq!(at("input_cost_per_token"), Some(("input", Tier::Standard, 0)));
        assert_eq!(at("input_cost_per_token_above_272k_tokens_priority"), Some(("input", Tier::Priority, 272_000)));
        assert_eq!(
            at("cache_creation_input_token_cost_above_1hr_above_200k_tokens"),
            Some(("cache_write_long", Tier::Standard, 200_000))
        );
        assert_eq!(at("cache_read_input_token_cost_batches"), Some(("cached", Tier::Batch, 0)));
        assert_eq!(at("input_cost_per_token_balanced"), None);
        assert_eq!(at("input_cost_per_character"), None);
    }
}
