//! The providers that speak the chat dialect, one row each: what sets a provider apart is data here, never a branch on
//! its name.
//!
//! A row names only what differs from [`PLAIN`], a server nobody knows. Where a provider answers is told by its kind in the
//! configuration.

pub use super::quirks::{CacheStyle, EffortStyle, Files, Forced, MessageRules, Row, ThoughtStyle, ToolRules};
use crate::schema::chat::Effort;

const LOW_HIGH: &[(Effort, &str)] = &[(Effort::Low, "low"), (Effort::High, "high")];
const THREE: &[(Effort, &str)] = &[(Effort::Low, "low"), (Effort::Medium, "medium"), (Effort::High, "high")];
const ANY: EffortStyle = EffortStyle::Words(&[]);
const NO_THOUGHTS: &[(&str, ThoughtStyle)] = &[("", ThoughtStyle::Never)];
const BACK: &[(&str, ThoughtStyle)] = &[("", ThoughtStyle::Field("reasoning_content"))];

/// A server nobody knows: what most of them take.
pub const PLAIN: Row = Row {
    name: "openai_compatible",
    max_tokens: "max_tokens",
    drops: &[],
    knows: None,
    renames: &[],
    adds: &[],
    temperature_max: None,
    stream_options: true,
    choices: true,
    logprobs_count: false,
    effort: &[("", ANY)],
    openai_models: false,
    thoughts: NO_THOUGHTS,
    think_tags: true,
    tools: PLAIN_TOOLS,
    json_schema: true,
    messages: PLAIN_MESSAGES,
    embeddings: true,
    completions: true,
};

const PLAIN_TOOLS: ToolRules = ToolRules {
    forced: Forced::Yes,
    strict: true,
    custom: false,
    allowed: false,
    parallel: true,
    nine_character_ids: false,
    signatures: false,
};

const PLAIN_MESSAGES: MessageRules = MessageRules {
    developer: false,
    one_system: true,
    text_parts: false,
    names: true,
    image_urls: true,
    audio: false,
    files: Files::No,
    refusals: false,
    cache: CacheStyle::Automatic,
    prefill: None,
};

/// A hosted service: several system messages are no trouble.
const HOSTED_MESSAGES: MessageRules = MessageRules { one_system: false, ..PLAIN_MESSAGES };

const OPENAI: Row = Row {
    name: "openai",
    max_tokens: "max_completion_tokens",
    drops: &["top_k"],
    openai_models: true,
    think_tags: false,
    tools: ToolRules { custom: true, allowed: true, ..PLAIN_TOOLS },
    messages: MessageRules {
        developer: true,
        one_system: false,
        text_parts: true,
        audio: true,
        files: Files::OpenAi,
        refusals: true,
        cache: CacheStyle::Breakpoint,
        ..PLAIN_MESSAGES
    },
    ..PLAIN
};

/// A server with vLLM's manners: extra sampling parameters are known, one system message, thought back in its own field.
const VLLM: Row = Row { name: "vllm", thoughts: BACK, ..PLAIN };

/// The fields of Mistral's own schema; it answers 422 to any other.
const MISTRAL_KNOWS: &[&str] = &[
    "model",
    "messages",
    "temperature",
    "top_p",
    "max_tokens",
    "stream",
    "stop",
    "random_seed",
    "metadata",
    "response_format",
    "tools",
    "tool_choice",
    "presence_penalty",
    "frequency_penalty",
    "n",
    "prediction",
    "parallel_tool_calls",
    "prompt_mode",
    "reasoning_effort",
    "safe_prompt",
    "guardrails",
];

/// All providers.
pub const ROWS: &[Row] = &[
    PLAIN,
    OPENAI,
    Row {
        name: "azure_openai",
        messages: MessageRules { files: Files::No, cache: CacheStyle::Automatic, ..OPENAI.messages },
        ..OPENAI
    },
    Row {
        name: "groq",
        max_tokens: "max_completion_tokens",
        drops: &["logprobs", "top_logprobs", "logit_bias", "top_k", "prompt_cache_key", "verbosity"],
        choices: false,
        effort: &[
            ("qwen", EffortStyle::Words(&[(Effort::None, "none"), (Effort::Medium, "default")])),
            ("", EffortStyle::Words(THREE)),
        ],
        thoughts: &[("gpt-oss", ThoughtStyle::Field("reasoning")), ("", ThoughtStyle::Never)],
        messages: MessageRules { names: false, ..HOSTED_MESSAGES },
        completions: false,
        ..PLAIN
    },
    Row {
        name: "deepseek",
        drops: &["top_k", "logit_bias", "seed", "verbosity", "service_tier", "prompt_cache_key", "metadata"],
        choices: false,
        effort: &[(
            "",
            EffortStyle::SwitchAndWords(&[(Effort::Low, "low"), (Effort::High, "high"), (Effort::Max, "max")]),
        )],
        thoughts: &[("", ThoughtStyle::ToolTurns("reasoning_content"))],
        think_tags: false,
        tools: ToolRules { forced: Forced::UnlessThinking, strict: false, parallel: false, ..PLAIN_TOOLS },
        json_schema: false,
        messages: HOSTED_MESSAGES,
        embeddings: false,
        completions: false,
        ..PLAIN
    },
    Row {
        name: "xai",
        max_tokens: "max_completion_tokens",
        // Its models that think reject penalties and `stop`, and nearly all of them do think.
        drops: &["presence_penalty", "frequency_penalty", "stop", "top_k", "logit_bias", "verbosity"],
        effort: &[
            // Models that are named by whether they think take no word about it.
            ("reasoning", EffortStyle::Unknown),
            ("grok-4.3", ANY),
            ("grok-4.5", EffortStyle::Words(THREE)),
            ("", EffortStyle::Words(LOW_HIGH)),
        ],
        think_tags: false,
        messages: HOSTED_MESSAGES,
        ..PLAIN
    },
    Row {
        name: "together",
        // Otherwise it cuts a prompt that is too long without a word.
        adds: &[("context_length_exceeded_behavior", "\"error\"")],
        logprobs_count: true,
        effort: &[("", EffortStyle::ObjectAndWords(THREE))],
        messages: HOSTED_MESSAGES,
        ..PLAIN
    },
    Row { name: "fireworks", messages: MessageRules { names: false, ..HOSTED_MESSAGES }, ..PLAIN },
    Row {
        name: "openrouter",
        adds: &[("usage", "{\"include\":true}")],
        effort: &[("", EffortStyle::Object)],
        thoughts: &[("", ThoughtStyle::Details)],
        think_tags: false,
        messages: MessageRules {
            text_parts: true,
            audio: true,
            files: Files::OpenAiAndUrls,
            cache: CacheStyle::CacheControl,
            ..HOSTED_MESSAGES
        },
        ..PLAIN
    },
    Row {
        name: "perplexity",
        drops: &["tools", "logit_bias", "logprobs", "top_logprobs", "seed", "verbosity", "service_tier", "user"],
        stream_options: false,
        choices: false,
        effort: &[("", EffortStyle::Words(THREE))],
        embeddings: false,
        completions: false,
        ..PLAIN
    },
    Row {
        name: "cerebras",
        max_tokens: "max_completion_tokens",
        drops: &["logit_bias", "top_k", "presence_penalty", "frequency_penalty", "verbosity"],
        choices: false,
        effort: &[("gpt-oss", EffortStyle::Words(THREE)), ("", ANY)],
        thoughts: &[
            ("glm", ThoughtStyle::Tags),
            ("gpt-oss", ThoughtStyle::Field("reasoning")),
            ("", ThoughtStyle::Never),
        ],
        tools: ToolRules { forced: Forced::No, ..PLAIN_TOOLS },
        messages: HOSTED_MESSAGES,
        embeddings: false,
        ..PLAIN
    },
    Row {
        name: "moonshot",
        drops: &["top_k", "logit_bias", "logprobs", "top_logprobs", "seed", "verbosity"],
        temperature_max: Some(1.0),
        effort: &[("", EffortStyle::Switch)],
        thoughts: BACK,
        tools: ToolRules { forced: Forced::NamedOnly, strict: false, ..PLAIN_TOOLS },
        messages: MessageRules { image_urls: false, prefill: Some("partial"), ..HOSTED_MESSAGES },
        embeddings: false,
        completions: false,
        ..PLAIN
    },
    Row {
        name: "zai",
        drops: &["top_k", "logit_bias", "logprobs", "top_logprobs", "seed", "presence_penalty", "frequency_penalty"],
        choices: false,
        effort: &[("", EffortStyle::Switch)],
        thoughts: BACK,
        tools: ToolRules { forced: Forced::No, strict: false, ..PLAIN_TOOLS },
        json_schema: false,
        messages: HOSTED_MESSAGES,
        completions: false,
        ..PLAIN
    },
    Row {
        name: "mistral",
        knows: Some(MISTRAL_KNOWS),
        renames: &[("seed", "random_seed")],
        temperature_max: Some(1.5),
        stream_options: false,
        effort: &[("", EffortStyle::Words(&[(Effort::None, "none"), (Effort::High, "high")]))],
        thoughts: &[("magistral", ThoughtStyle::Parts), ("", ThoughtStyle::Never)],
        think_tags: false,
        tools: ToolRules { forced: Forced::Any, nine_character_ids: true, ..PLAIN_TOOLS },
        messages: MessageRules {
            names: false,
            audio: true,
            files: Files::DocumentUrl,
            prefill: Some("prefix"),
            ..HOSTED_MESSAGES
        },
        completions: false,
        ..PLAIN
    },
    VLLM,
    Row { name: "sglang", ..VLLM },
    // The chat template decides what it takes; several choices are not offered.
    Row { name: "llama_cpp", choices: false, ..VLLM },
    Row { name: "lm_studio", choices: false, ..VLLM },
    Row { name: "tgi", choices: false, effort: &[("", EffortStyle::Unknown)], ..VLLM },
    Row { name: "nvidia", ..VLLM },
    Row { name: "huggingface", completions: false, ..PLAIN },
    Row {
        name: "github_models",
        messages: MessageRules { files: Files::No, cache: CacheStyle::Automatic, ..OPENAI.messages },
        completions: false,
        ..OPENAI
    },
    Row { name: "sambanova", drops: &["logit_bias", "presence_penalty", "frequency_penalty"], ..VLLM },
    Row { name: "deepinfra", ..VLLM },
    Row { name: "nebius", ..VLLM },
    Row { name: "novita", ..VLLM },
    Row { name: "hyperbolic", ..VLLM },
];

/// Returns the row of a kind of provider; none has no quirks that anybody knows of.
pub fn row(kind: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name == kind)
}

/// Returns the first entry whose text `model` holds.
pub(super) fn by_model<T: Copy>(entries: &[(&str, T)], model: &str) -> Option<T> {
    let model = model.to_ascii_lowercase();
    entries.iter().find(|(part, _)| model.contains(part)).map(|(_, entry)| *entry)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::ProviderKind;

    #[test]
    fn every_row_is_of_another_kind() {
        let kinds: BTreeSet<&str> = ProviderKind::ALL.iter().map(|kind| kind.as_str()).collect();
        let rows: BTreeSet<&str> = ROWS.iter().map(|row| row.name).collect();

        assert_eq!(rows.len(), ROWS.len());
        assert!(rows.is_subset(&kinds), "{:?}", rows.difference(&kinds));
        assert!(row("nobody").is_none());
    }

    #[test]
    fn every_row_ends_its_choices_by_model_and_adds_sound_json() {
        for row in ROWS {
            assert_eq!(row.effort.last().map(|entry| entry.0), Some(""), "{}", row.name);
            assert_eq!(row.thoughts.last().map(|entry| entry.0), Some(""), "{}", row.name);
            for (_, value) in row.adds {
                assert!(serde_json::from_str::<serde_json::Value>(value).is_ok(), "{}", row.name);
            }
        }
    }
}
