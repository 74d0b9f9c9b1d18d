//! One model of the catalog: what it costs, how much it takes, what it can do; and the line that holds it in the file.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::price::Price;
use crate::config::catalog::{Ability, Override, Rates, Tariff, Tier};
use crate::providers::dialect::ModelFacts;
use crate::schema::chat::Effort;

/// What a model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    #[default]
    Chat,
    /// Chat, but only by OpenAI's Responses API.
    Responses,
    /// Legacy completions only.
    Completion,
    Embedding,
}

impl Mode {
    /// Returns whether it holds conversations.
    pub fn chats(self) -> bool {
        matches!(self, Self::Chat | Self::Responses)
    }

    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Responses => "responses",
            Self::Completion => "completion",
            Self::Embedding => "embedding",
        }
    }
}

/// Who says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Litellm,
    GenaiPrices,
    /// The operator.
    #[default]
    Configuration,
}

impl Source {
    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Litellm => "litellm",
            Self::GenaiPrices => "genai_prices",
            Self::Configuration => "configuration",
        }
    }
}

/// What is known of one model.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// `vendor/name`, as in the catalog, or `provider/model`, as in the configuration.
    pub name: String,
    pub mode: Mode,
    /// The context window in tokens, or what it reads at most, whichever a source gives; the larger of the two.
    pub context: Option<u64>,
    pub max_output: Option<u64>,
    /// Length of the vector of an embedding.
    pub dimensions: Option<u64>,
    /// Fewest tokens that its prompt cache keeps.
    pub cache_min: Option<u64>,
    /// `None` is unpriced, never free.
    pub price: Option<Price>,
    pub can: BTreeSet<Ability>,
    pub cannot: BTreeSet<Ability>,
    /// Efforts of reasoning it takes, in rising order; empty where nobody knows.
    pub efforts: Vec<Effort>,
    /// The day it is, or was, taken out of service, as `YYYY-MM-DD`.
    pub deprecated: Option<String>,
    pub source: Source,
}

impl Entry {
    /// Returns whether the model has `ability`; `None` where nobody knows.
    pub fn can(&self, ability: Ability) -> Option<bool> {
        if self.can.contains(&ability) {
            return Some(true);
        }
        self.cannot.contains(&ability).then_some(false)
    }

    /// Returns the facts that dialects go by.
    pub fn facts(&self) -> ModelFacts {
        ModelFacts {
            context: self.context,
            max_output: self.max_output,
            sampling: self.can(Ability::Sampling),
            tools: self.can(Ability::Tools),
            forced_tools: self.can(Ability::ForcedTools),
            vision: self.can(Ability::Vision),
            json_schema: self.can(Ability::JsonSchema),
            prefill: self.can(Ability::Prefill),
            efforts: self.efforts.clone(),
            reasoning: self.can(Ability::Reasoning),
        }
    }

    /// Takes over what the operator knows better.
    pub fn overridden(mut self, better: &Override) -> Self {
        self.context = better.context.or(self.context);
        self.max_output = better.max_output.or(self.max_output);
        if !better.tariff.is_empty() {
            let tariff = better.tariff.clone();
            self.price = Some(Price {
                tariff,
                request: better.request_price,
                search: better.search_price.map(|each| [each; 3]),
                regional: None,
            });
            self.source = Source::Configuration;
        } else if let Some(price) = &mut self.price {
            price.request = better.request_price.or(price.request);
            price.search = better.search_price.map(|each| [each; 3]).or(price.search);
        }
        for ability in &better.can {
            self.can.insert(*ability);
            self.cannot.remove(ability);
        }
        for ability in &better.cannot {
            self.cannot.insert(*ability);
            self.can.remove(ability);
        }
        if !better.efforts.is_empty() {
            self.efforts.clone_from(&better.efforts);
        }
        self
    }
}

/// One line of the catalog's file. The name stands first: the search for a line reads nothing else.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    pub(super) model: String,
    mode: Mode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    context: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    output: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dimensions: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cache_min: Option<u64>,
    /// By tier, or `tier>tokens` for prompts of more tokens.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    prices: BTreeMap<String, Rates>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    search: Option<[u64; 3]>,
    /// See [`Price::regional`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    regional: Option<u64>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    can: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    cannot: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    efforts: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deprecated: Option<String>,
    source: Source,
}

impl From<&Entry> for Line {
    fn from(entry: &Entry) -> Self {
        let words = |abilities: &BTreeSet<Ability>| abilities.iter().map(|a| a.word()).collect::<Vec<_>>().join(" ");
        let price = entry.price.clone().unwrap_or_default();
        let key = |(tier, above): (Tier, u64)| match above {
            0 => tier.word().to_owned(),
            above => format!("{}>{above}", tier.word()),
        };
        Self {
            model: entry.name.clone(),
            mode: entry.mode,
            context: entry.context,
            output: entry.max_output,
            dimensions: entry.dimensions,
            cache_min: entry.cache_min,
            prices: price.tariff.into_iter().map(|(at, rates)| (key(at), rates)).collect(),
            request: price.request,
            search: price.search,
            regional: price.regional,
            can: words(&entry.can),
            cannot: words(&entry.cannot),
            efforts: entry.efforts.iter().map(|effort| effort.as_str()).collect::<Vec<_>>().join(" "),
            deprecated: entry.deprecated.clone(),
            source: entry.source,
        }
    }
}

impl TryFrom<Line> for Entry {
    type Error = String;

    fn try_from(line: Line) -> Result<Self, String> {
        let mut tariff = Tariff::new();
        for (key, rates) in line.prices {
            let (word, above) = key.split_once('>').unwrap_or((&key, "0"));
            let tier = Tier::of_word(word).ok_or_else(|| format!("no tier `{word}`"))?;
            tariff.insert((tier, above.parse().map_err(|_| format!("no bracket `{key}`"))?), rates);
        }
        let words = |text: &str| -> Result<BTreeSet<Ability>, String> {
            text.split_whitespace()
                .map(|word| Ability::of_word(word).ok_or_else(|| format!("no ability `{word}`")))
                .collect()
        };
        let effort = |word: &str| Effort::from_word(word).ok_or_else(|| format!("no effort `{word}`"));
        let price = Price { tariff, request: line.request, search: line.search, regional: line.regional };
        Ok(Self {
            name: line.model,
            mode: line.mode,
            context: line.context,
            max_output: line.output,
            dimensions: line.dimensions,
            cache_min: line.cache_min,
            price: price.is_known().then_some(price),
            can: words(&line.can)?,
            cannot: words(&line.cannot)?,
            efforts: line.efforts.split_whitespace().map(effort).collect::<Result<_, _>>()?,
            deprecated: line.deprecated,
            source: line.source,
        })
    }
}
