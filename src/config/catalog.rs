//! `[catalog]`: what the operator knows better about models than the catalog that is shipped. Also the vocabulary of both.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

pub use bursar_actors::Tier;
use serde::{Deserialize, Serialize};

use crate::schema::chat::Effort;

/// Prices per kind of token, each in nano-dollars per million tokens: 1 is 10⁻¹⁵ dollars a token, and $2.50 per million
/// tokens are 2,500,000,000. Every price of every source is a whole number in this unit. `None` is unknown, never free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rates {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<u64>,
    /// Read from the prompt cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached: Option<u64>,
    /// Written to the prompt cache, which keeps it for five minutes or as long as it likes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<u64>,
    /// Written to the prompt cache, which keeps it for an hour or longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write_long: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio_input: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio_output: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_input: Option<u64>,
}

impl Rates {
    /// Returns each rate as `change` makes it.
    pub fn map(&self, change: impl Fn(Option<u64>) -> Option<u64>) -> Self {
        Self {
            input: change(self.input),
            output: change(self.output),
            cached: change(self.cached),
            cache_write: change(self.cache_write),
            cache_write_long: change(self.cache_write_long),
            reasoning: change(self.reasoning),
            audio_input: change(self.audio_input),
            audio_output: change(self.audio_output),
            image_input: change(self.image_input),
        }
    }

    /// Returns every kind of token with its key in catalog and configuration.
    pub fn named(&self) -> [(&'static str, Option<u64>); 9] {
        [
            ("input", self.input),
            ("output", self.output),
            ("cached", self.cached),
            ("cache_write", self.cache_write),
            ("cache_write_long", self.cache_write_long),
            ("reasoning", self.reasoning),
            ("audio_input", self.audio_input),
            ("audio_output", self.audio_output),
            ("image_input", self.image_input),
        ]
    }
}

/// Prices by tier and by the size of the prompt: each entry holds for prompts of more tokens than its second key.
pub type Tariff = BTreeMap<(Tier, u64), Rates>;

/// Something a model can do or takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ability {
    Tools,
    ToolChoice,
    ForcedTools,
    ParallelTools,
    Vision,
    Pdf,
    AudioInput,
    AudioOutput,
    VideoInput,
    JsonSchema,
    Reasoning,
    AdaptiveThinking,
    AlwaysThinks,
    Sampling,
    Prefill,
    SystemMessages,
    MidConversationSystem,
    PromptCaching,
    CacheBreakpoints,
    WebSearch,
    ComputerUse,
}

impl Ability {
    /// Every ability with the word for it in catalog and configuration.
    pub const ALL: [(Self, &'static str); 21] = [
        (Self::Tools, "tools"),
        (Self::ToolChoice, "tool_choice"),
        (Self::ForcedTools, "forced_tools"),
        (Self::ParallelTools, "parallel_tools"),
        (Self::Vision, "vision"),
        (Self::Pdf, "pdf"),
        (Self::AudioInput, "audio_input"),
        (Self::AudioOutput, "audio_output"),
        (Self::VideoInput, "video_input"),
        (Self::JsonSchema, "json_schema"),
        (Self::Reasoning, "reasoning"),
        (Self::AdaptiveThinking, "adaptive_thinking"),
        (Self::AlwaysThinks, "always_thinks"),
        (Self::Sampling, "sampling"),
        (Self::Prefill, "prefill"),
        (Self::SystemMessages, "system_messages"),
        (Self::MidConversationSystem, "mid_conversation_system"),
        (Self::PromptCaching, "prompt_caching"),
        (Self::CacheBreakpoints, "cache_breakpoints"),
        (Self::WebSearch, "web_search"),
        (Self::ComputerUse, "computer_use"),
    ];

    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(ability, _)| *ability == self).map_or("", |(_, word)| word)
    }

    /// Returns the ability that `word` stands for.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == word).map(|(ability, _)| *ability)
    }
}

impl fmt::Display for Ability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What the configuration says of one model; what it leaves out stays as the shipped catalog has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Override {
    pub context: Option<u64>,
    pub max_output: Option<u64>,
    /// Replaces every price of the shipped catalog, those of other tiers and long prompts too; empty leaves them.
    pub tariff: Tariff,
    /// In nano-dollars.
    pub request_price: Option<u64>,
    /// In nano-dollars.
    pub search_price: Option<u64>,
    pub can: BTreeSet<Ability>,
    pub cannot: BTreeSet<Ability>,
    /// In rising order; empty leaves them.
    pub efforts: Vec<Effort>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_an_ability_leads_back_to_it() {
        for (ability, word) in Ability::ALL {
            assert_eq!((Ability::of_word(word), ability.word()), (Some(ability), word));
            assert_eq!(serde_json::to_string(&ability).unwrap(), format!("\"{word}\""));
        }
    }
}
