//! The figures of a `usage` object, read without allocating.

use serde::de::MapAccess;

use super::fold::{Fold, Object, raw, skip};
use crate::providers::usage::{RawUsage, search_size};

/// A `usage` object.
#[derive(Default)]
pub(super) struct UsageFold {
    pub(super) usage: RawUsage,
    /// It has members at all.
    pub(super) seen: bool,
}

impl<'de> Fold<'de> for UsageFold {
    fn member<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        self.seen = true;
        let usage = &mut self.usage;
        match key {
            "prompt_tokens" | "input_tokens" => usage.prompt = number(raw(map)?),
            "completion_tokens" | "output_tokens" => usage.completion = number(raw(map)?),
            "total_tokens" => usage.total = number(raw(map)?),
            // DeepSeek, and Moonshot's flat field.
            "prompt_cache_hit_tokens" | "cached_tokens" => usage.cached = number(raw(map)?).or(usage.cached),
            "reasoning_tokens" => usage.reasoning = number(raw(map)?).or(usage.reasoning),
            "prompt_tokens_details" | "input_tokens_details" => {
                let mut details = Details { usage, of: Side::Prompt };
                map.next_value_seed(Object(&mut details))?;
            }
            "completion_tokens_details" | "output_tokens_details" => {
                let mut details = Details { usage, of: Side::Completion };
                map.next_value_seed(Object(&mut details))?;
            }
            // Perplexity's.
            "num_search_queries" => usage.searches = number(raw(map)?),
            "search_context_size" => {
                let size = search_size(raw(map)?.trim_matches('"'));
                (usage.search_size, usage.searches) = (size, usage.searches.or(Some(1)));
            }
            _ => skip(map)?,
        }
        Ok(())
    }
}

struct Details<'f> {
    usage: &'f mut RawUsage,
    of: Side,
}

/// Whose details they are.
#[derive(Clone, Copy)]
enum Side {
    Prompt,
    Completion,
}

impl<'de> Fold<'de> for Details<'_> {
    fn member<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        let usage = &mut *self.usage;
        match (key, self.of) {
            ("cached_tokens", _) => usage.cached = number(raw(map)?).or(usage.cached),
            ("cache_write_tokens", _) => usage.cache_write = number(raw(map)?),
            ("reasoning_tokens", _) => usage.reasoning = number(raw(map)?).or(usage.reasoning),
            ("audio_tokens", Side::Prompt) => usage.audio_prompt = number(raw(map)?),
            ("audio_tokens", Side::Completion) => usage.audio_completion = number(raw(map)?),
            ("image_tokens", Side::Prompt) => usage.image_prompt = number(raw(map)?),
            ("image_tokens", Side::Completion) => usage.image_completion = number(raw(map)?),
            _ => skip(map)?,
        }
        Ok(())
    }
}

/// Reads a count; one written as a float is cut to whole, anything else is no count.
fn number(value: &str) -> Option<i128> {
    value
        .parse()
        .ok()
        .or_else(|| value.parse::<f64>().ok().filter(|float| float.is_finite()).map(|float| float as i128))
}
