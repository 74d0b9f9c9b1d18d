//! What a reply says it used, bent into the one shape of [`Usage`] for all providers.

use bursar_actors::{SearchSize, Tier, Usage};

/// More than any model reads or writes in one call.
const TOKENS_MAX: u64 = 100_000_000;

/// The figures as a provider sent them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RawUsage {
    pub(crate) prompt: Option<i128>,
    pub(crate) completion: Option<i128>,
    pub(crate) total: Option<i128>,
    pub(crate) cached: Option<i128>,
    pub(crate) cache_write: Option<i128>,
    /// The part of `cache_write` that is kept for an hour.
    pub(crate) cache_write_long: Option<i128>,
    pub(crate) reasoning: Option<i128>,
    /// Audio and images, in either direction; what of them came from the cache may be in it.
    pub(crate) audio_prompt: Option<i128>,
    pub(crate) image_prompt: Option<i128>,
    pub(crate) audio_completion: Option<i128>,
    pub(crate) image_completion: Option<i128>,
    pub(crate) tool_prompt: Option<i128>,
    pub(crate) searches: Option<i128>,
    pub(crate) search_size: SearchSize,
    pub(crate) tier: Tier,
    pub(crate) regional: bool,
}

impl RawUsage {
    /// Returns the figures in order, or `None` if there is nothing to count.
    pub(crate) fn normalise(self) -> Option<Usage> {
        if self.prompt.is_none() && self.completion.is_none() && self.total.is_none() {
            return None;
        }
        let mut suspect = false;
        let mut figure = |raw: Option<i128>| {
            let raw = raw.unwrap_or(0);
            let kept = raw.clamp(0, i128::from(TOKENS_MAX));
            suspect |= kept != raw;
            u64::try_from(kept).unwrap_or(TOKENS_MAX)
        };
        let (mut prompt, mut completion) = (figure(self.prompt), figure(self.completion));
        let (total, reasoning) = (figure(self.total), figure(self.reasoning));
        let (cached, cache_write) = (figure(self.cached), figure(self.cache_write));
        let cache_write_long = figure(self.cache_write_long);
        let [audio_prompt, image_prompt] = [self.audio_prompt, self.image_prompt].map(&mut figure);
        let [audio_completion, image_completion] = [self.audio_completion, self.image_completion].map(&mut figure);
        let [tool_prompt, searches] = [self.tool_prompt, self.searches].map(&mut figure);
        if self.prompt.is_none() {
            prompt = total.saturating_sub(completion);
        }
        let excess = total.saturating_sub(prompt + completion);
        // xAI, and Gemini's own OpenAI surface, count reasoning in the total but not in the completion.
        if (excess > 0 && (excess == reasoning || reasoning == 0)) || (total == 0 && reasoning > completion) {
            completion += if total == 0 { reasoning } else { excess };
        }
        suspect |= cached + cache_write > prompt || cache_write_long > cache_write || reasoning > completion;
        suspect |= audio_prompt + image_prompt > prompt || tool_prompt > prompt;
        suspect |= audio_completion + image_completion > completion;
        let cached = cached.min(prompt);
        let cache_write = cache_write.min(prompt - cached);
        let reasoning = reasoning.min(completion);
        // What came from the cache is counted as that: audio and images may overlap with it, and are paid for once.
        let [audio_prompt, image_prompt] = parts_of(prompt - cached - cache_write, [audio_prompt, image_prompt]);
        let [audio_completion, image_completion] =
            parts_of(completion - reasoning, [audio_completion, image_completion]);
        Some(Usage {
            prompt,
            completion,
            total: prompt + completion,
            cached,
            cache_write,
            cache_write_long: cache_write_long.min(cache_write),
            reasoning,
            audio_prompt,
            image_prompt,
            audio_completion,
            image_completion,
            tool_prompt: tool_prompt.min(prompt),
            searches,
            search_size: self.search_size,
            tier: self.tier,
            regional: self.regional,
            suspect,
        })
    }
}

/// Cuts two parts of `whole` down to it, the second first.
fn parts_of(whole: u64, [first, second]: [u64; 2]) -> [u64; 2] {
    let first = first.min(whole);
    [first, second.min(whole - first)]
}

/// Returns how large the searches were that a reply names so.
pub(crate) fn search_size(word: &str) -> SearchSize {
    match word {
        "low" => SearchSize::Low,
        "high" => SearchSize::High,
        _ => SearchSize::Medium,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn completion_without_reasoning_is_completed_from_the_total() {
        let raw =
            RawUsage { prompt: Some(10), completion: Some(5), total: Some(115), reasoning: Some(100), ..default() };

        let usage = raw.normalise();

        let whole = Usage { prompt: 10, completion: 105, total: 115, reasoning: 100, ..Usage::default() };
        assert_eq!(usage, Some(whole));
    }

    #[test]
    fn an_empty_usage_object_counts_as_none() {
        assert_eq!(RawUsage::default().normalise(), None);
    }

    fn default() -> RawUsage {
        RawUsage::default()
    }

    #[test]
    fn what_the_cache_held_is_not_counted_as_audio_again() {
        let raw =
            RawUsage { prompt: Some(100), cached: Some(70), audio_prompt: Some(50), tool_prompt: Some(9), ..default() };

        let usage = raw.normalise().unwrap();

        assert_eq!((usage.cached, usage.audio_prompt, usage.tool_prompt, usage.suspect), (70, 30, 9, false));
    }

    proptest! {
        #[test]
        fn the_invariants_hold_whatever_a_provider_sends(figures in proptest::array::uniform13(proptest::option::of(any::<i64>()))) {
            let [prompt, completion, total, cached, cache_write, cache_write_long, reasoning,
                 audio_prompt, image_prompt, audio_completion, image_completion, tool_prompt, searches] =
                figures.map(|figure| figure.map(i128::from));
            let raw = RawUsage {
                prompt, completion, total, cached, cache_write, cache_write_long, reasoning,
                audio_prompt, image_prompt, audio_completion, image_completion, tool_prompt, searches, ..default()
            };

            if let Some(usage) = raw.normalise() {
                let special = usage.cached + usage.cache_write + usage.audio_prompt + usage.image_prompt;
                prop_assert!(special <= usage.prompt && usage.tool_prompt <= usage.prompt);
                prop_assert!(usage.cache_write_long <= usage.cache_write);
                prop_assert!(usage.reasoning + usage.audio_completion + usage.image_completion <= usage.completion);
                prop_assert_eq!(usage.total, usage.prompt + usage.completion);
                prop_assert!(usage.total <= 4 * TOKENS_MAX);
            }
        }
    }
}
