//! What Claude models can do and what they reject, by the beginning of their names.
//!
//! Source: Anthropic's model overview and migration guides, merged with the profile tables of open-source clients, November
//! 2026. What an operator or the provider's own list says ([`ModelFacts`]) goes before a row.

use crate::providers::dialect::ModelFacts;
use crate::schema::chat::Effort::{self, High, Low, Max, Medium, XHigh};

/// How a model is told how much to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// It cannot.
    Never,
    /// By a number of tokens.
    Budget,
    /// By an effort; with it, how to tell it not to.
    Adaptive(Off),
}

/// How thinking is switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Off {
    Disabled,
    BetweenTools,
    /// Not at all.
    Never,
}

/// A model's behaviour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) style: Style,
    pub(super) sampling: bool,
    /// `top_p` beside `temperature`.
    pub(super) both_samplings: bool,
    pub(super) prefill: bool,
    pub(super) forced_tools: bool,
    /// Takes the role `system` in the middle of a conversation and heeds it.
    pub(super) mid_system: bool,
    /// Structured outputs and strict tools.
    pub(super) json_schema: bool,
    pub(super) efforts: &'static [Effort],
    pub(super) max_output: u64,
}

const THREE: Model = Model {
    style: Style::Never,
    sampling: true,
    both_samplings: true,
    prefill: true,
    forced_tools: true,
    mid_system: false,
    json_schema: false,
    efforts: &[],
    max_output: 8_192,
};
const FOUR: Model = Model { style: Style::Budget, both_samplings: false, max_output: 64_000, ..THREE };
const FOUR_FIVE: Model = Model { json_schema: true, ..FOUR };
const FOUR_SIX: Model = Model {
    style: Style::Adaptive(Off::Disabled),
    prefill: false,
    efforts: &[Low, Medium, High, Max],
    max_output: 128_000,
    ..FOUR_FIVE
};
const FOUR_SEVEN: Model = Model { sampling: false, efforts: &[Low, Medium, High, XHigh, Max], ..FOUR_SIX };
const FIVE: Model = Model { mid_system: true, ..FOUR_SEVEN };
const ALWAYS: Model = Model { style: Style::Adaptive(Off::Never), ..FIVE };
const ALWAYS_UNFORCED: Model = Model { forced_tools: false, ..ALWAYS };

/// The longest beginning that fits counts. The last row is a Claude nobody has heard of yet, taken for one of the newest.
const ROWS: &[(&str, Model)] = &[
    ("claude-2", Model { max_output: 4_096, ..THREE }),
    ("claude-instant", Model { max_output: 4_096, ..THREE }),
    ("claude-3-", Model { max_output: 4_096, ..THREE }),
    ("claude-3-5-", THREE),
    ("claude-3-7-", Model { both_samplings: true, ..FOUR }),
    ("claude-opus-4", Model { max_output: 32_000, ..FOUR }),
    ("claude-sonnet-4", FOUR),
    ("claude-haiku-4-5", FOUR_FIVE),
    ("claude-sonnet-4-5", FOUR_FIVE),
    ("claude-opus-4-5", FOUR_FIVE),
    ("claude-sonnet-4-6", FOUR_SIX),
    ("claude-opus-4-6", FOUR_SIX),
    ("claude-opus-4-7", FOUR_SEVEN),
    ("claude-opus-4-8", FIVE),
    // It answers to the role `system`, but does not heed it.
    ("claude-sonnet-5", FOUR_SEVEN),
    ("claude-opus-5", FIVE),
    ("claude-haiku-5-5", FOUR_SEVEN),
    ("claude-sonnet-5-5", Model { style: Style::Adaptive(Off::BetweenTools), forced_tools: false, ..FOUR_SEVEN }),
    ("claude-opus-5-5", ALWAYS_UNFORCED),
    ("claude-fable-5", ALWAYS),
    ("claude-mythos-5", ALWAYS),
    ("claude-fable-5-1", ALWAYS_UNFORCED),
    ("claude-fable-5-2", ALWAYS_UNFORCED),
    ("claude-mythos-5-1", ALWAYS_UNFORCED),
    ("claude-mythos-5-2", ALWAYS_UNFORCED),
    ("claude-", Model { mid_system: false, ..ALWAYS_UNFORCED }),
];

/// Somebody else's model behind the Messages API: nothing is known, so that everything may be tried.
const STRANGER: Model = Model { style: Style::Budget, json_schema: true, ..THREE };

/// Returns the behaviour of the model of this name, wherever it is sold.
pub(super) fn model(name: &str, facts: &ModelFacts) -> Model {
    // `anthropic.claude-…-v1:0`, `anthropic/claude-sonnet-4.5`, `eu.anthropic.claude-…`.
    let name = name.to_ascii_lowercase().replace('.', "-");
    let name = name.find("claude-").map_or("", |at| &name[at..]);
    // A version ends where no letter or digit goes on, or a date would be taken for one: `claude-fable-5-20260401`.
    let fits = ROWS.iter().filter(|(prefix, _)| {
        let rest = name.strip_prefix(prefix).map(str::as_bytes);
        rest.is_some_and(|rest| prefix.ends_with('-') || rest.first().is_none_or(|byte| !byte.is_ascii_alphanumeric()))
    });
    let row = fits.max_by_key(|(prefix, _)| prefix.len()).map_or(STRANGER, |(_, model)| *model);
    Model {
        style: if facts.reasoning == Some(false) { Style::Never } else { row.style },
        sampling: facts.sampling.unwrap_or(row.sampling),
        prefill: facts.prefill.unwrap_or(row.prefill),
        forced_tools: facts.forced_tools.unwrap_or(row.forced_tools),
        json_schema: facts.json_schema.unwrap_or(row.json_schema),
        max_output: facts.max_output.unwrap_or(row.max_output),
        ..row
    }
}

impl Model {
    /// Returns the effort nearest to `wanted` that the model takes; upwards only from `xhigh` to `max`.
    pub(super) fn effort(&self, wanted: Effort, facts: &ModelFacts) -> Effort {
        let known = if facts.efforts.is_empty() { self.efforts } else { &facts.efforts };
        let wanted = wanted.max(Low);
        if known.is_empty() || known.contains(&wanted) {
            return wanted;
        }
        if wanted == XHigh && known.contains(&Max) {
            return Max;
        }
        let below = known.iter().filter(|effort| **effort < wanted && **effort >= Low).max();
        below.or(known.first()).copied().unwrap_or(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str) -> Model {
        model(name, &ModelFacts::default())
    }

    #[test]
    fn the_longest_beginning_counts_wherever_the_model_is_sold() {
        let rows = [
            ("claude-sonnet-4-20250514", FOUR),
            ("claude-opus-4-1-20250805", Model { max_output: 32_000, ..FOUR }),
            ("claude-haiku-4-5-20251001", FOUR_FIVE),
            ("anthropic/claude-sonnet-4.6", FOUR_SIX),
            ("eu.anthropic.claude-opus-4-7-v1:0", FOUR_SEVEN),
            ("claude-opus-5", FIVE),
            ("claude-opus-5-5", ALWAYS_UNFORCED),
            ("claude-mythos-5-20260401", ALWAYS),
            ("claude-fable-9", Model { mid_system: false, ..ALWAYS_UNFORCED }),
            ("kimi-k3", STRANGER),
        ];

        for (name, expected) in rows {
            assert_eq!(of(name), expected, "{name}");
        }
    }

    #[test]
    fn facts_go_before_rows() {
        let facts =
            ModelFacts { sampling: Some(true), max_output: Some(5), forced_tools: Some(true), ..Default::default() };

        let model = model("claude-opus-5-5", &facts);

        assert_eq!((model.sampling, model.max_output, model.forced_tools), (true, 5, true));
    }

    #[test]
    fn efforts_go_to_the_nearest() {
        let cases = [(Effort::Minimal, Low), (XHigh, Max), (Max, Max), (Medium, Medium)];
        for (wanted, got) in cases {
            assert_eq!(FOUR_SIX.effort(wanted, &ModelFacts::default()), got);
        }
        let facts = ModelFacts { efforts: vec![Low, Medium, High], ..Default::default() };
        assert_eq!([XHigh, Max].map(|wanted| FIVE.effort(wanted, &facts)), [High, High]);
    }
}
