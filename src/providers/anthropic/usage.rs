//! Usage in Anthropic's arithmetic, where `input_tokens` leaves out whatever the cache had to do with.

use bursar_actors::{Tier, Usage};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::providers::usage::RawUsage;

/// The `usage` object of a message, or what a stream has said of it so far.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct MessageUsage {
    #[serde(default)]
    input_tokens: Value,
    #[serde(default)]
    cache_creation_input_tokens: Value,
    #[serde(default)]
    cache_read_input_tokens: Value,
    #[serde(default)]
    cache_creation: Value,
    #[serde(default)]
    output_tokens: Value,
    #[serde(default)]
    output_tokens_details: Value,
    #[serde(default)]
    server_tool_use: Value,
    #[serde(default)]
    speed: Value,
    #[serde(default)]
    inference_geo: Value,
    #[serde(default)]
    pub(super) service_tier: Value,
}

impl MessageUsage {
    /// Takes what a later event says. Its figures are running totals, so that they are never added.
    pub(super) fn merge(&mut self, later: Self) {
        let pairs = [
            (&mut self.input_tokens, later.input_tokens),
            (&mut self.cache_creation_input_tokens, later.cache_creation_input_tokens),
            (&mut self.cache_read_input_tokens, later.cache_read_input_tokens),
            (&mut self.cache_creation, later.cache_creation),
            (&mut self.output_tokens, later.output_tokens),
            (&mut self.output_tokens_details, later.output_tokens_details),
            (&mut self.server_tool_use, later.server_tool_use),
            (&mut self.speed, later.speed),
            (&mut self.inference_geo, later.inference_geo),
            (&mut self.service_tier, later.service_tier),
        ];
        for (before, later) in pairs {
            if !later.is_null() {
                *before = later;
            }
        }
    }

    /// Returns the figures in the one shape, or `None` if there are none.
    pub(super) fn normalise(&self) -> Option<Usage> {
        let (input, output) = (figure(&self.input_tokens), figure(&self.output_tokens));
        let cached = figure(&self.cache_read_input_tokens);
        let cache_write = figure(&self.cache_creation_input_tokens);
        let long = figure(&self.cache_creation["ephemeral_1h_input_tokens"]);
        let parts = [input, cached, cache_write];
        let prompt =
            parts.iter().any(Option::is_some).then(|| parts.into_iter().flatten().fold(0, i128::saturating_add));
        let raw = RawUsage {
            prompt,
            completion: output,
            total: None,
            cached,
            cache_write,
            cache_write_long: long,
            reasoning: figure(&self.output_tokens_details["thinking_tokens"]),
            searches: figure(&self.server_tool_use["web_search_requests"]),
            tier: self.served(),
            regional: !matches!(self.inference_geo.as_str(), None | Some("" | "global" | "not_available")),
            ..RawUsage::default()
        };
        raw.normalise()
    }

    /// Returns the tier that the price goes by. The fast form of a model is another thing than its place in the queue.
    fn served(&self) -> Tier {
        let fast = self.speed == "fast";
        if fast { Tier::Fast } else { Tier::served(self.service_tier.as_str().unwrap_or_default()) }
    }

    /// Returns the tier in OpenAI's words.
    pub(super) fn tier(&self) -> Option<String> {
        let tier = self.service_tier.as_str()?;
        Some(if tier == "standard" { "default".to_owned() } else { tier.to_owned() })
    }
}

fn figure(value: &Value) -> Option<i128> {
    match value.as_i64() {
        Some(whole) => Some(whole.into()),
        None => value.as_f64().map(|figure| figure as i128),
    }
}

/// Writes usage as Anthropic counts it.
pub(super) fn write(usage: &Usage, tier: Option<&str>) -> Value {
    let tier = match tier {
        Some("priority" | "fast") => "priority",
        Some("batch") => "batch",
        _ => "standard",
    };
    let mut written = json!({
        "input_tokens": usage.prompt.saturating_sub(usage.cached + usage.cache_write),
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cached,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write.saturating_sub(usage.cache_write_long),
            "ephemeral_1h_input_tokens": usage.cache_write_long,
        },
        "output_tokens": usage.completion,
        "output_tokens_details": { "thinking_tokens": usage.reasoning },
        "service_tier": tier,
    });
    if usage.searches > 0 {
        written["server_tool_use"] = json!({ "web_search_requests": usage.searches });
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: Value) -> MessageUsage {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_prompt_is_what_was_read_whether_from_the_cache_or_not() {
        let usage = read(json!({
            "input_tokens": 10, "cache_creation_input_tokens": 300, "cache_read_input_tokens": 2000,
            "cache_creation": { "ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200 },
            "output_tokens": 50, "output_tokens_details": { "thinking_tokens": 20 },
        }));

        let usage = usage.normalise().unwrap();

        let expected = Usage {
            prompt: 2310,
            completion: 50,
            total: 2360,
            cached: 2000,
            cache_write: 300,
            cache_write_long: 200,
            reasoning: 20,
            ..Usage::default()
        };
        assert_eq!(usage, expected);
        assert_eq!(read(write(&usage, None)).normalise(), Some(expected));
        assert_eq!(write(&usage, None)["input_tokens"], 10);
    }

    #[test]
    fn searches_speed_and_place_are_told() {
        let mut usage = read(json!({ "input_tokens": 1, "service_tier": "priority", "inference_geo": "us" }));
        usage.merge(read(json!({ "output_tokens": 1, "server_tool_use": { "web_search_requests": 3 } })));

        let told = usage.normalise().unwrap();
        usage.speed = "fast".into();

        assert_eq!((told.searches, told.tier, told.regional), (3, Tier::Priority, true));
        assert_eq!(usage.normalise().unwrap().tier, Tier::Fast);
    }

    #[test]
    fn later_figures_overwrite_and_nulls_do_not() {
        let mut usage = read(json!({ "input_tokens": 589, "output_tokens": 1, "cache_read_input_tokens": 7 }));

        usage.merge(read(json!({ "input_tokens": 1250, "output_tokens": 83, "cache_read_input_tokens": null })));

        let usage = usage.normalise().unwrap();
        assert_eq!((usage.prompt, usage.completion, usage.cached), (1257, 83, 7));
        assert_eq!(MessageUsage::default().normalise(), None);
    }
}
