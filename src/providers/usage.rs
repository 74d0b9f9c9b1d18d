//! What a reply says it used, bent into the one shape of [`Usage`] for all providers.

use bursar_actors::Usage;

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
        if self.prompt.is_none() {
            prompt = total.saturating_sub(completion);
        }
        let excess = total.saturating_sub(prompt + completion);
        // xAI, and Gemini's own OpenAI surface, count reasoning in the total but not in the completion.
        if (excess > 0 && (excess == reasoning || reasoning == 0)) || (total == 0 && reasoning > completion) {
            completion += if total == 0 { reasoning } else { excess };
        }
        suspect |= cached + cache_write > prompt || cache_write_long > cache_write || reasoning > completion;
        let cached = cached.min(prompt);
        let cache_write = cache_write.min(prompt - cached);
        Some(Usage {
            prompt,
            completion,
            total: prompt + completion,
            cached,
            cache_write,
            cache_write_long: cache_write_long.min(cache_write),
            reasoning: reasoning.min(completion),
            suspect,
        })
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

    proptest! {
        #[test]
        fn the_invariants_hold_whatever_a_provider_sends(figures in proptest::array::uniform7(proptest::option::of(any::<i64>()))) {
            let [prompt, completion, total, cached, cache_write, cache_write_long, reasoning] = figures.map(|figure| figure.map(i128::from));
            let raw = RawUsage { prompt, completion, total, cached, cache_write, cache_write_long, reasoning };

            if let Some(usage) = raw.normalise() {
                prop_assert!(usage.cached + usage.cache_write <= usage.prompt);
                prop_assert!(usage.cache_write_long <= usage.cache_write);
                prop_assert!(usage.reasoning <= usage.completion);
                prop_assert_eq!(usage.total, usage.prompt + usage.completion);
                prop_assert!(usage.total <= 4 * TOKENS_MAX);
            }
        }
    }
}
