//! What one call used up, in one arithmetic for all providers.

use serde::{Deserialize, Serialize};

/// Tokens of one reply, and what else is paid for.
///
/// `cached + cache_write + audio_prompt + image_prompt ≤ prompt`, `cache_write_long ≤ cache_write`, `tool_prompt ≤ prompt`,
/// `reasoning + audio_completion + image_completion ≤ completion`, `total = prompt + completion`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Everything read, cached parts included.
    pub prompt: u64,
    /// Everything written, reasoning included.
    pub completion: u64,
    /// Both together.
    pub total: u64,
    /// Read from the provider's prompt cache.
    #[serde(skip_serializing_if = "is_usual")]
    pub cached: u64,
    /// Written to the provider's prompt cache.
    #[serde(skip_serializing_if = "is_usual")]
    pub cache_write: u64,
    /// The part of `cache_write` that the provider keeps for an hour and bills higher.
    #[serde(skip_serializing_if = "is_usual")]
    pub cache_write_long: u64,
    /// Written but not shown.
    #[serde(skip_serializing_if = "is_usual")]
    pub reasoning: u64,
    /// Audio that was read, and not from the cache.
    #[serde(skip_serializing_if = "is_usual")]
    pub audio_prompt: u64,
    /// Images that were read, and not from the cache.
    #[serde(skip_serializing_if = "is_usual")]
    pub image_prompt: u64,
    /// Audio that was written.
    #[serde(skip_serializing_if = "is_usual")]
    pub audio_completion: u64,
    /// Images that were written.
    #[serde(skip_serializing_if = "is_usual")]
    pub image_completion: u64,
    /// The part of the prompt that tools put there which the provider ran itself.
    #[serde(skip_serializing_if = "is_usual")]
    pub tool_prompt: u64,
    /// Searches that the provider made.
    #[serde(skip_serializing_if = "is_usual")]
    pub searches: u64,
    /// How much of what it found each search gave to the model.
    #[serde(skip_serializing_if = "is_usual")]
    pub search_size: SearchSize,
    /// How the call was served.
    #[serde(skip_serializing_if = "is_usual")]
    pub tier: Tier,
    /// The provider kept the call in a region of the world, as it was asked to, and may charge more for that.
    #[serde(skip_serializing_if = "is_usual")]
    pub regional: bool,
    /// A figure was negative, absurd or impossible and has been bent into shape; estimate rather than trust it.
    #[serde(skip_serializing_if = "is_usual")]
    pub suspect: bool,
}

fn is_usual<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// How fast, or how patiently, a provider serves a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// The usual one, and what is meant where a reply names none.
    #[default]
    Standard,
    /// Within a day.
    Batch,
    /// Cheaper, and slower or refused when the provider is busy.
    Flex,
    /// Ahead of others.
    Priority,
    /// A faster form of the same model.
    Fast,
    /// The fastest form of the same model.
    Ultrafast,
    /// Capacity that was paid for beforehand, or a tier nobody here has heard of: what a call costs then is not known.
    Other,
}

impl Tier {
    /// Those that have prices, the usual one first.
    pub const ALL: [Self; 6] = [Self::Standard, Self::Batch, Self::Flex, Self::Priority, Self::Fast, Self::Ultrafast];

    /// Returns the word for it in the catalog.
    pub fn word(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Batch => "batch",
            Self::Flex => "flex",
            Self::Priority => "priority",
            Self::Fast => "fast",
            Self::Ultrafast => "ultrafast",
            Self::Other => "other",
        }
    }

    /// Returns the tier that has prices under this word, `None` for any other word.
    pub fn of_word(word: &str) -> Option<Self> {
        match word {
            "auto" | "default" | "on_demand" => Some(Self::Standard),
            word => Self::ALL.into_iter().find(|tier| tier.word() == word),
        }
    }

    /// Returns the tier that a reply says has served it.
    pub fn served(word: &str) -> Self {
        if word.is_empty() { Self::Standard } else { Self::of_word(word).unwrap_or(Self::Other) }
    }

    /// Returns whether it is sold to save money, so that the standard price is never too low for it.
    pub fn is_discount(self) -> bool {
        matches!(self, Self::Standard | Self::Batch | Self::Flex)
    }
}

/// How much of what it found a search gives to the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SearchSize {
    /// Little.
    Low,
    /// What providers do where nobody says otherwise.
    #[default]
    Medium,
    /// Much.
    High,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_that_nobody_knows_is_not_taken_for_the_usual_one() {
        for tier in Tier::ALL {
            assert_eq!(Tier::of_word(tier.word()), Some(tier));
        }
        assert_eq!((Tier::served("default"), Tier::served("")), (Tier::Standard, Tier::Standard));
        assert_eq!((Tier::served("scale"), Tier::served("reserved")), (Tier::Other, Tier::Other));
    }
}
