//! Which fields of a request are known, and which JSON kinds each may have.
//!
//! A field that is not listed is the upstream's business and passes unread.

use super::Operation;

/// A set of JSON kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kinds(u8);

impl Kinds {
    const STRING: Self = Self(1);
    const NUMBER: Self = Self(2);
    const INTEGER: Self = Self(4);
    const BOOLEAN: Self = Self(8);
    const ARRAY: Self = Self(16);
    const OBJECT: Self = Self(32);
    const NULL: Self = Self(64);

    const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns the kind of a JSON text that is known to be valid; a whole number is both integer and number.
    pub(super) fn of(raw: &str) -> Self {
        match raw.as_bytes().first() {
            Some(b'"') => Self::STRING,
            Some(b'{') => Self::OBJECT,
            Some(b'[') => Self::ARRAY,
            Some(b't' | b'f') => Self::BOOLEAN,
            Some(b'n') | None => Self::NULL,
            Some(_) if raw.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')) => Self::NUMBER,
            Some(_) => Self::NUMBER.or(Self::INTEGER),
        }
    }

    pub(super) fn allows(self, found: Self) -> bool {
        self.0 & found.0 != 0
    }

    pub(super) fn is_null(self) -> bool {
        self == Self::NULL
    }

    /// Returns the set in words, for a message: `a string or an array`.
    pub(super) fn words(self) -> String {
        const NAMES: [(Kinds, &str); 7] = [
            (Kinds::STRING, "a string"),
            (Kinds::INTEGER, "an integer"),
            (Kinds::NUMBER, "a number"),
            (Kinds::BOOLEAN, "true or false"),
            (Kinds::ARRAY, "an array"),
            (Kinds::OBJECT, "an object"),
            (Kinds::NULL, "null"),
        ];
        let named: Vec<_> = NAMES.iter().filter(|(kind, _)| self.allows(*kind)).map(|(_, name)| *name).collect();
        named.join(" or ")
    }

    /// Returns the one kind a value has, in words.
    pub(super) fn found(self) -> String {
        if self == Self::NUMBER.or(Self::INTEGER) { "an integer".to_owned() } else { self.words() }
    }
}

/// Returns the field's own name and the kinds it may have, or `None` for a field that nobody here reads.
pub(super) fn known(operation: Operation, key: &str) -> Option<(&'static str, Kinds)> {
    if key == "bursar" {
        return Some(("bursar", Kinds::OBJECT));
    }
    match operation {
        Operation::ChatCompletions => chat(key),
        Operation::Completions => completions(key),
        Operation::Embeddings => embeddings(key),
        Operation::Responses => responses(key),
        Operation::Messages => messages(key),
        Operation::GenerateContent => generate_content(key),
        Operation::EmbedContent => embed_content(key),
        Operation::BatchEmbedContents => batch_embed_contents(key),
    }
}

/// Builds the look-up from rows of `kinds: names`; every optional field may also be null.
macro_rules! table {
    ($key:expr, { $($kinds:expr => $($name:literal),+;)+ }) => {
        match $key { $($($name => Some(($name, $kinds)),)+)+ _ => None }
    };
}

const STRING: Kinds = Kinds::STRING.or(Kinds::NULL);
const NUMBER: Kinds = Kinds::NUMBER.or(Kinds::NULL);
const INTEGER: Kinds = Kinds::INTEGER.or(Kinds::NULL);
const BOOLEAN: Kinds = Kinds::BOOLEAN.or(Kinds::NULL);
const ARRAY: Kinds = Kinds::ARRAY.or(Kinds::NULL);
const OBJECT: Kinds = Kinds::OBJECT.or(Kinds::NULL);
const STRING_OR_ARRAY: Kinds = STRING.or(Kinds::ARRAY);
const STRING_OR_OBJECT: Kinds = STRING.or(Kinds::OBJECT);
/// Read if it can be, and otherwise left to the upstream.
const ANY: Kinds = Kinds(u8::MAX);

fn chat(key: &str) -> Option<(&'static str, Kinds)> {
    table!(key, {
        Kinds::STRING => "model";
        Kinds::ARRAY => "messages";
        BOOLEAN => "stream", "parallel_tool_calls", "store";
        OBJECT => "stream_options", "response_format", "logit_bias", "metadata", "audio", "prediction",
            "web_search_options";
        INTEGER => "n", "max_tokens", "max_completion_tokens", "seed";
        NUMBER => "temperature", "top_p", "presence_penalty", "frequency_penalty", "top_logprobs";
        ARRAY => "tools", "functions", "modalities";
        STRING_OR_OBJECT => "tool_choice", "function_call";
        STRING_OR_ARRAY => "stop";
        STRING => "user", "safety_identifier", "prompt_cache_key", "service_tier", "verbosity";
        ANY => "reasoning_effort", "reasoning";
    })
}

fn completions(key: &str) -> Option<(&'static str, Kinds)> {
    table!(key, {
        Kinds::STRING => "model";
        Kinds::STRING.or(Kinds::ARRAY) => "prompt";
        BOOLEAN => "stream", "echo";
        OBJECT => "stream_options", "logit_bias";
        INTEGER => "n", "best_of", "max_tokens", "seed", "logprobs";
        NUMBER => "temperature", "top_p", "presence_penalty", "frequency_penalty";
        STRING_OR_ARRAY => "stop";
        STRING => "user", "suffix";
    })
}

fn embeddings(key: &str) -> Option<(&'static str, Kinds)> {
    table!(key, {
        Kinds::STRING => "model";
        Kinds::STRING.or(Kinds::ARRAY) => "input";
        INTEGER => "dimensions";
        STRING => "user", "encoding_format";
    })
}

fn responses(key: &str) -> Option<(&'static str, Kinds)> {
    table!(key, {
        Kinds::STRING => "model";
        Kinds::STRING.or(Kinds::ARRAY) => "input";
        BOOLEAN => "stream", "parallel_tool_calls", "store", "background";
        INTEGER => "max_output_tokens", "max_tool_calls", "top_logprobs";
        NUMBER => "temperature", "top_p";
        ARRAY => "tools", "include";
        OBJECT => "text", "reasoning", "metadata";
        STRING_OR_OBJECT => "tool_choice", "conversation";
        STRING => "instructions", "user", "safety_identifier", "prompt_cache_key", "service_tier", "truncation",
            "previous_response_id";
    })
}

fn messages(key: &str) -> Option<(&'static str, Kinds)> {
    table!(key, {
        Kinds::STRING => "model";
        Kinds::ARRAY => "messages";
        BOOLEAN => "stream";
        INTEGER => "max_tokens", "top_k";
        NUMBER => "temperature", "top_p";
        ARRAY => "tools", "stop_sequences";
        OBJECT => "tool_choice", "thinking", "metadata", "output_config";
        STRING_OR_ARRAY => "system";
        STRING => "service_tier";
        ANY => "output_format";
    })
}

fn generate_content(key: &str) -> Option<(&'static str, Kinds)> {
    table!(key, {
        Kinds::ARRAY.or(Kinds::OBJECT).or(Kinds::STRING) => "contents";
        Kinds::OBJECT => "generateContentRequest";
        ARRAY => "tools";
        ANY => "generationConfig";
    })
}

fn embed_content(key: &str) -> Option<(&'static str, Kinds)> {
    table!(key, { Kinds::OBJECT => "content"; })
}

fn batch_embed_contents(key: &str) -> Option<(&'static str, Kinds)> {
    table!(key, { Kinds::ARRAY => "requests"; })
}
