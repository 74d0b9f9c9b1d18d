//! The providers that speak the chat dialect, one row each: what sets a provider apart is data here, never a branch on
//! its name.
//!
//! A row names only what differs from [`PLAIN`], a server nobody knows. An address marked "unverified" is widely used but
//! was not seen in recorded traffic.

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
    aliases: &["plain", "compatible"],
    base_url: None,
    variable: None,
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
    aliases: &[],
    base_url: Some("https://api.openai.com/v1"),
    variable: Some("OPENAI_API_KEY"),
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
const VLLM: Row = Row { name: "vllm", aliases: &[], thoughts: BACK, ..PLAIN };

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
        name: "azure",
        aliases: &["azure_openai"],
        base_url: None,
        variable: None,
        messages: MessageRules { files: Files::No, cache: CacheStyle::Automatic, ..OPENAI.messages },
        ..OPENAI
    },
    Row {
        name: "groq",
        aliases: &[],
        base_url: Some("https://api.groq.com/openai/v1"),
        variable: Some("GROQ_API_KEY"),
        max_tokens: "max_completion_tokens",
        drops: &["logprobs", "top_logprobs", "logit_bias", "top_k", "prompt_cache_key", "verbosity"],
        choices: false,
        effort: &[
            ("qwen", EffortStyle::Words(&[(Effort::None, "none"), (Effort::Medium, "default")])),
            ("", EffortStyle::Words(THREE)),
        ],
        thoughts: &[("gpt-oss", ThoughtStyle::Field("reasoning")), ("", ThoughtStyle::Never)],
        messages: MessageRules { names: false, ..HOSTED_MESSAGES },
        ..PLAIN
    },
    Row {
        name: "deepseek",
        aliases: &[],
        base_url: Some("https://api.deepseek.com/v1"),
        variable: Some("DEEPSEEK_API_KEY"),
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
        ..PLAIN
    },
    Row {
        name: "xai",
        aliases: &["grok"],
        base_url: Some("https://api.x.ai/v1"),
        variable: Some("XAI_API_KEY"),
        max_tokens: "max_completion_tokens",
        // Its models that think reject penalties and `stop`, and nearly all of them do think.
        drops: &["presence_penalty", "frequency_penalty", "stop", "top_k", "logit_bias", "verbosity"],
        effort: &[("grok-4.3", ANY), ("", EffortStyle::Words(LOW_HIGH))],
        think_tags: false,
        messages: HOSTED_MESSAGES,
        ..PLAIN
    },
    Row {
        name: "together",
        aliases: &["together_ai"],
        base_url: Some("https://api.together.xyz/v1"),
        variable: Some("TOGETHER_API_KEY"),
        // Otherwise it cuts a prompt that is too long without a word.
        adds: &[("context_length_exceeded_behavior", "\"error\"")],
        logprobs_count: true,
        effort: &[("", EffortStyle::ObjectAndWords(THREE))],
        messages: HOSTED_MESSAGES,
        ..PLAIN
    },
    Row {
        name: "fireworks",
        aliases: &["fireworks_ai"],
        base_url: Some("https://api.fireworks.ai/inference/v1"),
        variable: Some("FIREWORKS_API_KEY"),
        messages: MessageRules { names: false, ..HOSTED_MESSAGES },
        ..PLAIN
    },
    Row {
        name: "openrouter",
        aliases: &["open_router"],
        base_url: Some("https://openrouter.ai/api/v1"),
        variable: Some("OPENROUTER_API_KEY"),
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
        aliases: &[],
        base_url: Some("https://api.perplexity.ai"),
        variable: Some("PERPLEXITY_API_KEY"),
        drops: &["tools", "logit_bias", "logprobs", "top_logprobs", "seed", "verbosity", "service_tier", "user"],
        stream_options: false,
        choices: false,
        effort: &[("", EffortStyle::Words(THREE))],
        embeddings: false,
        ..PLAIN
    },
    Row {
        name: "cerebras",
        aliases: &[],
        base_url: Some("https://api.cerebras.ai/v1"),
        variable: Some("CEREBRAS_API_KEY"),
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
        aliases: &["kimi"],
        base_url: Some("https://api.moonshot.ai/v1"),
        variable: Some("MOONSHOT_API_KEY"),
        drops: &["top_k", "logit_bias", "logprobs", "top_logprobs", "seed", "verbosity"],
        temperature_max: Some(1.0),
        effort: &[("", EffortStyle::Switch)],
        thoughts: BACK,
        tools: ToolRules { forced: Forced::NamedOnly, strict: false, ..PLAIN_TOOLS },
        messages: MessageRules { image_urls: false, prefill: Some("partial"), ..HOSTED_MESSAGES },
        embeddings: false,
        ..PLAIN
    },
    Row {
        name: "zai",
        aliases: &["glm", "z.ai", "zhipu"],
        base_url: Some("https://api.z.ai/api/paas/v4"),
        variable: Some("ZAI_API_KEY"),
        drops: &["top_k", "logit_bias", "logprobs", "top_logprobs", "seed", "presence_penalty", "frequency_penalty"],
        choices: false,
        effort: &[("", EffortStyle::Switch)],
        thoughts: BACK,
        tools: ToolRules { forced: Forced::No, strict: false, ..PLAIN_TOOLS },
        json_schema: false,
        messages: HOSTED_MESSAGES,
        ..PLAIN
    },
    Row {
        name: "mistral",
        aliases: &[],
        base_url: Some("https://api.mistral.ai/v1"),
        variable: Some("MISTRAL_API_KEY"),
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
        ..PLAIN
    },
    Row {
        name: "cohere_compatible",
        aliases: &["cohere_compat"],
        // Unverified.
        base_url: Some("https://api.cohere.ai/compatibility/v1"),
        drops: &["top_k", "logit_bias", "top_logprobs", "metadata", "user", "service_tier", "verbosity"],
        temperature_max: Some(1.0),
        choices: false,
        effort: &[("", EffortStyle::Words(&[(Effort::None, "none"), (Effort::High, "high")]))],
        think_tags: false,
        tools: ToolRules { parallel: false, ..PLAIN_TOOLS },
        messages: HOSTED_MESSAGES,
        ..PLAIN
    },
    Row {
        name: "gemini_compatible",
        aliases: &["gemini_compat"],
        base_url: Some("https://generativelanguage.googleapis.com/v1beta/openai"),
        variable: Some("GEMINI_API_KEY"),
        drops: &[
            "top_k",
            "logit_bias",
            "logprobs",
            "top_logprobs",
            "metadata",
            "user",
            "verbosity",
            "prompt_cache_key",
        ],
        effort: &[(
            "",
            EffortStyle::Words(&[
                (Effort::None, "none"),
                (Effort::Minimal, "minimal"),
                (Effort::Low, "low"),
                (Effort::Medium, "medium"),
                (Effort::High, "high"),
            ]),
        )],
        think_tags: false,
        tools: ToolRules { signatures: true, ..PLAIN_TOOLS },
        messages: MessageRules { image_urls: false, audio: true, ..HOSTED_MESSAGES },
        ..PLAIN
    },
    VLLM,
    Row { name: "sglang", ..VLLM },
    // The chat template decides what it takes; several choices are not offered.
    Row { name: "llama_cpp", aliases: &["llamacpp", "llama.cpp"], choices: false, ..VLLM },
    Row { name: "lm_studio", aliases: &["lmstudio"], choices: false, ..VLLM },
    Row {
        name: "ollama_compatible",
        aliases: &["ollama_compat"],
        choices: false,
        drops: &["logit_bias", "parallel_tool_calls"],
        ..VLLM
    },
    Row {
        name: "tgi",
        aliases: &["text_generation_inference"],
        choices: false,
        effort: &[("", EffortStyle::Unknown)],
        ..VLLM
    },
    Row {
        name: "nvidia",
        aliases: &["nim"],
        base_url: Some("https://integrate.api.nvidia.com/v1"), // Unverified.
        variable: Some("NVIDIA_API_KEY"),
        ..VLLM
    },
    Row {
        name: "huggingface",
        aliases: &["hf", "hugging_face"],
        base_url: Some("https://router.huggingface.co/v1"),
        ..PLAIN
    },
    Row {
        name: "github_models",
        aliases: &["github"],
        base_url: Some("https://models.github.ai/inference"), // Unverified.
        variable: None,
        messages: MessageRules { files: Files::No, cache: CacheStyle::Automatic, ..OPENAI.messages },
        ..OPENAI
    },
    Row {
        name: "sambanova",
        base_url: Some("https://api.sambanova.ai/v1"), // Unverified.
        variable: Some("SAMBANOVA_API_KEY"),
        ..VLLM
    },
    Row {
        name: "deepinfra",
        base_url: Some("https://api.deepinfra.com/v1/openai"), // Unverified.
        variable: Some("DEEPINFRA_API_KEY"),
        ..VLLM
    },
    Row {
        name: "nebius",
        base_url: Some("https://api.studio.nebius.com/v1"), // Unverified.
        variable: Some("NEBIUS_API_KEY"),
        ..VLLM
    },
    Row {
        name: "novita",
        base_url: Some("https://api.novita.ai/v3/openai"), // Unverified.
        variable: Some("NOVITA_API_KEY"),
        ..VLLM
    },
    Row {
        name: "hyperbolic",
        base_url: Some("https://api.hyperbolic.xyz/v1"), // Unverified.
        variable: Some("HYPERBOLIC_API_KEY"),
        ..VLLM
    },
];

/// Returns the row of a provider, by one of its names; case does not matter, nor does `-` for `_`.
pub fn row(kind_or_name: &str) -> Option<&'static Row> {
    let same = |name: &str| {
        let plain = |byte: u8| if byte == b'-' { b'_' } else { byte.to_ascii_lowercase() };
        name.bytes().map(plain).eq(kind_or_name.bytes().map(plain))
    };
    ROWS.iter().find(|row| same(row.name) || row.aliases.iter().any(|alias| same(alias)))
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

    #[test]
    fn every_name_finds_its_own_row() {
        let names: Vec<&str> = ROWS.iter().flat_map(|row| row.aliases.iter().copied().chain([row.name])).collect();

        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        for wanted in ROWS {
            assert_eq!(row(wanted.name).map(|found| found.name), Some(wanted.name));
        }
        assert_eq!(row("LM-Studio").map(|found| found.name), Some("lm_studio"));
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
