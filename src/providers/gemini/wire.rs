//! The shapes of Gemini's replies, read as loosely as types allow: whatever is missing, null or unknown does no harm.

use bursar_actors::{Tier, Usage};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::providers::dialect::{Nonsense, object};
use crate::providers::usage::RawUsage;
use crate::schema::chat::Finish;

/// A `GenerateContentResponse`: a whole reply or one event of a stream.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Response<'a> {
    #[serde(borrow)]
    pub(super) candidates: Option<Vec<Candidate<'a>>>,
    pub(super) prompt_feedback: Option<PromptFeedback>,
    pub(super) usage_metadata: Option<UsageMetadata>,
    pub(super) model_version: Option<String>,
    pub(super) response_id: Option<String>,
    pub(super) create_time: Option<String>,
    pub(super) error: Option<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Candidate<'a> {
    pub(super) index: Option<u32>,
    #[serde(borrow)]
    pub(super) content: Option<Content<'a>>,
    pub(super) finish_reason: Option<String>,
    pub(super) finish_message: Option<String>,
    pub(super) citation_metadata: Option<Value>,
    pub(super) grounding_metadata: Option<Value>,
    pub(super) logprobs_result: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Content<'a> {
    #[serde(borrow)]
    pub(super) parts: Option<Vec<&'a RawValue>>,
}

/// A part of text or a call; all others are kept as they came.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Part<'a> {
    pub(super) text: Option<String>,
    pub(super) thought: Option<bool>,
    pub(super) thought_signature: Option<String>,
    #[serde(borrow)]
    pub(super) function_call: Option<FunctionCall<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct FunctionCall<'a> {
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    #[serde(borrow)]
    pub(super) args: Option<&'a RawValue>,
    pub(super) partial_args: Option<Vec<Value>>,
    pub(super) will_continue: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PromptFeedback {
    pub(super) block_reason: Option<String>,
    pub(super) block_reason_message: Option<String>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct UsageMetadata {
    #[serde(deserialize_with = "loose_count")]
    prompt_token_count: Option<i128>,
    #[serde(deserialize_with = "loose_count")]
    tool_use_prompt_token_count: Option<i128>,
    #[serde(deserialize_with = "loose_count")]
    cached_content_token_count: Option<i128>,
    #[serde(deserialize_with = "loose_count")]
    candidates_token_count: Option<i128>,
    #[serde(deserialize_with = "loose_count")]
    thoughts_token_count: Option<i128>,
    #[serde(deserialize_with = "loose_count")]
    total_token_count: Option<i128>,
    prompt_tokens_details: Option<Vec<ModalityCount>>,
    cache_tokens_details: Option<Vec<ModalityCount>>,
    candidates_tokens_details: Option<Vec<ModalityCount>>,
    traffic_type: Option<String>,
    service_tier: Option<String>,
}

/// Tokens of one kind, a part of a count.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ModalityCount {
    modality: Option<String>,
    #[serde(deserialize_with = "loose_count")]
    token_count: Option<i128>,
}

/// Returns how many of the tokens are of `modality`, where the list says it.
fn tokens_of(details: Option<&Vec<ModalityCount>>, modality: &str) -> Option<i128> {
    let entry = details?.iter().find(|entry| entry.modality.as_deref() == Some(modality))?;
    entry.token_count
}

/// Returns how many searches a candidate rests on.
pub(super) fn searches(grounding: Option<&Value>) -> u64 {
    let queries = grounding.and_then(|metadata| metadata.get("webSearchQueries")?.as_array());
    queries.map_or(0, |queries| queries.len() as u64)
}

impl UsageMetadata {
    /// Returns the usage: the prompt with what tools added to it, the completion with its thoughts. `searches` stands
    /// elsewhere in the reply.
    pub(super) fn usage(&self, searches: u64) -> Option<Usage> {
        // What the cache held is counted as cached, of whatever kind it is.
        let fresh = |modality| {
            let all = tokens_of(self.prompt_tokens_details.as_ref(), modality)?;
            Some(all - tokens_of(self.cache_tokens_details.as_ref(), modality).unwrap_or(0).min(all))
        };
        let written = |modality| tokens_of(self.candidates_tokens_details.as_ref(), modality);
        let sum = |first: Option<i128>, second: Option<i128>| {
            (first.is_some() || second.is_some()).then(|| first.unwrap_or(0) + second.unwrap_or(0))
        };
        let raw = RawUsage {
            prompt: sum(self.prompt_token_count, self.tool_use_prompt_token_count),
            completion: sum(self.candidates_token_count, self.thoughts_token_count),
            total: self.total_token_count,
            cached: self.cached_content_token_count,
            reasoning: self.thoughts_token_count,
            audio_prompt: fresh("AUDIO"),
            image_prompt: fresh("IMAGE"),
            audio_completion: written("AUDIO"),
            image_completion: written("IMAGE"),
            tool_prompt: self.tool_use_prompt_token_count,
            searches: Some(searches.into()),
            tier: self.tier(),
            ..RawUsage::default()
        };
        raw.normalise()
    }

    fn tier(&self) -> Tier {
        match self.service_tier() {
            Some(word) => Tier::served(&word),
            // Paid for beforehand.
            None if self.traffic_type.as_deref() == Some("PROVISIONED_THROUGHPUT") => Tier::Other,
            None => Tier::Standard,
        }
    }

    /// Returns OpenAI's word for the tier that served, where the provider names one.
    pub(super) fn service_tier(&self) -> Option<String> {
        let tier = match (self.service_tier.as_deref(), self.traffic_type.as_deref()) {
            (Some("standard" | "STANDARD"), _) => "default",
            (Some("flex" | "FLEX"), _) | (_, Some("ON_DEMAND_FLEX")) => "flex",
            (Some("priority" | "PRIORITY"), _) | (_, Some("ON_DEMAND_PRIORITY")) => "priority",
            _ => return None,
        };
        Some(tier.to_owned())
    }
}

fn loose_count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i128>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Number(number) => {
            number.as_i64().map(i128::from).or_else(|| number.as_f64().map(|figure| figure as i128))
        }
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    })
}

/// What a `finishReason` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    Finished(Finish),
    /// The model's own output could not be used: another try may do.
    Malformed,
    /// No reason at all.
    Open,
}

/// Reads a `finishReason`. What nobody knows yet ends like any other answer.
pub(super) fn ending(reason: &str) -> Ending {
    match reason {
        "" | "FINISH_REASON_UNSPECIFIED" => Ending::Open,
        "MAX_TOKENS" | "CONTINUATION" => Ending::Finished(Finish::Length),
        "SAFETY" | "RECITATION" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" | "LANGUAGE" | "MODEL_ARMOR"
        | "ESCALATION" | "JAILBREAK" => Ending::Finished(Finish::ContentFilter),
        "MALFORMED_FUNCTION_CALL"
        | "UNEXPECTED_TOOL_CALL"
        | "TOO_MANY_TOOL_CALLS"
        | "MISSING_THOUGHT_SIGNATURE"
        | "MALFORMED_RESPONSE" => Ending::Malformed,
        "IMAGE_OTHER" | "NO_IMAGE" => Ending::Finished(Finish::Stop { sequence: None }),
        other if other.starts_with("IMAGE_") => Ending::Finished(Finish::ContentFilter),
        _ => Ending::Finished(Finish::Stop { sequence: None }),
    }
}

/// Returns what the provider means by a reason that is [`Ending::Malformed`]; the reason itself is a fixed word.
pub(super) fn malformed(reason: &str) -> Nonsense {
    Nonsense::of_model(format!("the model's own output is unusable ({reason}); another try may do better"))
}

/// Returns the replies in `body`: one, or those of a streamed array.
pub(super) fn responses(body: &[u8]) -> Result<Vec<Response<'_>>, Nonsense> {
    let read = match body.trim_ascii_start().first() {
        Some(b'[') => serde_json::from_slice::<Vec<Response<'_>>>(body),
        _ => serde_json::from_slice::<Response<'_>>(body).map(|response| vec![response]),
    };
    read.map_err(|_| object(body).err().unwrap_or_else(|| Nonsense::of("a field of it has an unexpected type")))
}

/// Returns whether `body` is an error, bare or in an array.
pub(super) fn is_error(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Top {
        #[serde(default)]
        error: Option<IgnoredAny>,
    }
    match body.trim_ascii_start().first() {
        Some(b'[') => serde_json::from_slice::<Vec<Top>>(body).is_ok_and(|tops| tops.iter().any(|t| t.error.is_some())),
        _ => serde_json::from_slice::<Top>(body).is_ok_and(|top| top.error.is_some()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_finds_its_place() {
        /// Prompt, completion, cached, reasoning.
        type Figures = (u64, u64, u64, u64);
        let table: [(&str, Figures); 4] = [
            (
                r#"{"promptTokenCount":9,"candidatesTokenCount":28,"totalTokenCount":281,"thoughtsTokenCount":244}"#,
                (9, 272, 0, 244),
            ),
            (
                r#"{"promptTokenCount":60,"toolUsePromptTokenCount":40,"candidatesTokenCount":1,"totalTokenCount":101}"#,
                (100, 1, 0, 0),
            ),
            (r#"{"promptTokenCount":15,"totalTokenCount":15,"cachedContentTokenCount":5}"#, (15, 0, 5, 0)),
            (r#"{"promptTokenCount":"7","candidatesTokenCount":2.0,"thoughtsTokenCount":null}"#, (7, 2, 0, 0)),
        ];
        for (text, expected) in table {
            let usage = serde_json::from_str::<UsageMetadata>(text).unwrap().usage(0).unwrap();

            assert_eq!((usage.prompt, usage.completion, usage.cached, usage.reasoning), expected, "{text}");
            assert!(!usage.suspect, "{text}");
        }
        assert_eq!(serde_json::from_str::<UsageMetadata>(r#"{"trafficType":"ON_DEMAND"}"#).unwrap().usage(0), None);
    }

    #[test]
    fn an_error_is_told_bare_and_in_an_array() {
        for (body, expected) in [
            (r#"{"error":{"code":400}}"#, true),
            (r#" [{"error":{"code":429}}]"#, true),
            (r#"{"error":null,"candidates":[]}"#, false),
            (r#"[{"candidates":[]}]"#, false),
            ("<html>", false),
        ] {
            assert_eq!(is_error(body.as_bytes()), expected, "{body}");
        }
    }
}
