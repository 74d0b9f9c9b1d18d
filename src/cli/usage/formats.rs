//! The exports that are understood: by which columns each is known, and what its columns mean.
//!
//! Names of columns are compared in small letters, with what stands in brackets left out and `_` for all else, so that order,
//! case and further columns do not matter.

use crate::config::ProviderKind;

/// Who wrote the bill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vendor {
    OpenAi,
    Anthropic,
    Google,
}

impl Vendor {
    /// Returns its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "OpenAI",
            Self::Anthropic => "Anthropic",
            Self::Google => "Google",
        }
    }

    /// Returns whether providers of this kind are on its bill.
    pub fn bills(self, kind: ProviderKind) -> bool {
        match self {
            Self::OpenAi => kind == ProviderKind::OpenAi,
            Self::Anthropic => kind == ProviderKind::Anthropic,
            Self::Google => matches!(kind, ProviderKind::Gemini | ProviderKind::Vertex),
        }
    }
}

/// What an export counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// US dollars.
    Dollars,
    /// Tokens, read and written.
    Tokens,
}

/// When what a line says has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// On the day or at the moment that is named.
    Inclusive,
    /// Before that.
    Exclusive,
}

/// Where a line names its model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelIn {
    /// In this column, as it is called, or for people.
    Name(&'static str),
    /// In this column, before a comma and the kind of token.
    LineItem(&'static str),
    /// Among the words that say what was sold.
    Sku(&'static str),
}

/// One export.
pub struct Format {
    pub vendor: Vendor,
    /// For people: what it is called where it comes from.
    pub name: &'static str,
    pub measure: Measure,
    /// It is this one if it has all of these.
    pub known_by: &'static [&'static str],
    /// The first of these that is there.
    pub day: &'static [&'static str],
    /// Likewise; without one a line is about its day.
    pub until: &'static [&'static str],
    pub end: End,
    pub model: ModelIn,
    /// What counts: of amounts the first that is there, of tokens all.
    pub amounts: &'static [&'static str],
    pub requests: Option<&'static str>,
    pub currency: Option<&'static str>,
}

/// Every export. The first that fits counts.
///
/// Sources: headers of exports as of 2026 (OpenAI: "Usage" of an organisation, spend and completions; Anthropic: "Usage" and
/// "Cost" of the Console; Google: "Reports" grouped by SKU and date, and the "Cost table", of Cloud Billing).
pub const FORMATS: [Format; 5] = [
    Format {
        vendor: Vendor::OpenAi,
        name: "costs of an OpenAI organisation",
        measure: Measure::Dollars,
        known_by: &["amount_value"],
        day: &["start_time_iso", "start_time"],
        until: &["end_time_iso", "end_time"],
        end: End::Exclusive,
        model: ModelIn::LineItem("line_item"),
        amounts: &["amount_value"],
        requests: None,
        currency: Some("amount_currency"),
    },
    Format {
        vendor: Vendor::OpenAi,
        name: "usage (completions) of an OpenAI organisation",
        measure: Measure::Tokens,
        known_by: &["num_model_requests", "input_tokens", "output_tokens"],
        day: &["start_time_iso", "start_time"],
        until: &["end_time_iso", "end_time"],
        end: End::Exclusive,
        model: ModelIn::Name("model"),
        amounts: &["input_tokens", "output_tokens"],
        requests: Some("num_model_requests"),
        currency: None,
    },
    Format {
        vendor: Vendor::Anthropic,
        name: "cost of the Anthropic Console",
        measure: Measure::Dollars,
        known_by: &["usage_date_utc", "cost_usd"],
        day: &["usage_date_utc"],
        until: &[],
        end: End::Inclusive,
        model: ModelIn::Name("model"),
        amounts: &["cost_usd"],
        requests: None,
        currency: None,
    },
    Format {
        vendor: Vendor::Anthropic,
        name: "usage of the Anthropic Console",
        measure: Measure::Tokens,
        known_by: &["usage_date_utc", "usage_output_tokens"],
        day: &["usage_date_utc"],
        until: &[],
        end: End::Inclusive,
        model: ModelIn::Name("model_version"),
        amounts: &[
            "usage_input_tokens_no_cache",
            "usage_input_tokens_cache_write",
            "usage_input_tokens_cache_write_5m",
            "usage_input_tokens_cache_write_1h",
            "usage_input_tokens_cache_read",
            "usage_output_tokens",
        ],
        requests: None,
        currency: None,
    },
    Format {
        vendor: Vendor::Google,
        name: "Google Cloud Billing, by SKU",
        measure: Measure::Dollars,
        known_by: &["service_description", "sku_description"],
        day: &["date", "usage_start_date", "usage_start_time"],
        until: &["usage_end_date"],
        end: End::Inclusive,
        model: ModelIn::Sku("sku_description"),
        amounts: &["unrounded_subtotal", "subtotal", "unrounded_cost", "cost"],
        requests: None,
        currency: None,
    },
];

/// Returns the name of a column as the table above writes it.
pub fn column_name(written: &str) -> String {
    let plain = written.trim_start_matches('\u{feff}').split('(').next().unwrap_or_default();
    let words = plain.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("_")
}

/// Returns the one name for all ways in which a model is called: `Claude Haiku 4.5`, `claude-haiku-4-5-20251001` and
/// `claude-haiku-4-5` are one. Dated versions of a model are taken together, because not all exports tell them apart.
pub fn one_name(model: &str) -> String {
    let model = model.trim().to_ascii_lowercase();
    let model = model.rsplit('/').next().unwrap_or_default();
    let mut words: Vec<&str> =
        model.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    if let Some(preview) = words.iter().position(|word| *word == "preview") {
        words.truncate(preview);
    }
    let is_number = |word: &&str, digits: usize| word.len() == digits && word.bytes().all(|byte| byte.is_ascii_digit());
    match words.as_slice() {
        [_, .., year, month, day] if is_number(year, 4) && is_number(month, 2) && is_number(day, 2) => {
            words.truncate(words.len() - 3);
        }
        [_, .., date] if is_number(date, 8) || is_number(date, 3) || *date == "latest" => {
            words.truncate(words.len() - 1)
        }
        _ => {}
    }
    words.join("-")
}

/// Words of which Gemini models' names are made, besides numbers.
const GEMINI_WORDS: [&str; 9] = ["flash", "pro", "ultra", "nano", "lite", "native", "embedding", "robotics", "omni"];

/// Returns the model among the words for what was sold, such as "Generate content output token count gemini 2.5 flash short
/// input text"; `None` where that names none.
pub fn model_of_sku(sku: &str) -> Option<String> {
    let name = one_name(sku);
    let words: Vec<&str> = name.split('-').collect();
    let start = words.iter().position(|word| *word == "gemini")?;
    let belongs = |word: &&&str| word.bytes().all(|byte| byte.is_ascii_digit()) || GEMINI_WORDS.contains(*word);
    let rest: Vec<&str> = words[start + 1..].iter().take_while(belongs).copied().collect();
    (!rest.is_empty()).then(|| format!("gemini-{}", rest.join("-")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_ways_to_write_a_model_are_one_name() {
        for (one, other) in [
            ("Claude Haiku 4.5", "claude-haiku-4-5-20251001"),
            ("Claude 3.5 Sonnet 2024-10-22", "claude-3-5-sonnet-20241022"),
            ("Claude Sonnet 4", "claude-sonnet-4-20250514"),
            ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
            ("gpt-5-chat-latest", "gpt-5-chat"),
            ("models/gemini-2.0-flash-001", "gemini-2.0-flash"),
            ("gemini-2.5-flash-preview-05-20", "gemini-2.5-flash"),
        ] {
            assert_eq!(one_name(one), one_name(other), "{one}");
        }
        assert_ne!(one_name("gpt-4o"), one_name("gpt-4o-mini"));
        assert_ne!(one_name("claude-haiku-4-5"), one_name("claude-haiku-4"));
        assert_eq!(one_name("20250101"), "20250101");
    }

    #[test]
    fn the_model_is_found_in_what_was_sold() {
        let model = |sku: &str| model_of_sku(sku);

        assert_eq!(
            model("Generate content output token count gemini 2.5 flash short input text"),
            Some("gemini-2-5-flash".to_owned())
        );
        assert_eq!(
            model("Generate_content image output token count for Gemini 2.5 Flash Native Image Generation"),
            Some("gemini-2-5-flash-native".to_owned())
        );
        assert_eq!(
            model("Generate content input token count gemini 3.1 flash lite text"),
            Some("gemini-3-1-flash-lite".into())
        );
        assert_eq!(model("N2 Instance Core running in Americas"), None);
        assert_eq!(model("Gemini"), None);
    }

    #[test]
    fn columns_are_known_however_they_are_written() {
        assert_eq!(column_name("\u{feff}Unrounded subtotal ($)"), "unrounded_subtotal");
        assert_eq!(column_name("SKU description"), "sku_description");
        assert_eq!(column_name("amount_value"), "amount_value");
    }
}
