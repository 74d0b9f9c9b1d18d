//! What may set a provider of the chat dialect apart: the columns of [`super::table`].

use crate::schema::chat::Effort;

/// What sets one provider apart.
#[derive(Debug)]
pub struct Row {
    /// The kind of provider, as in the configuration; also in warnings.
    pub name: &'static str,
    /// The field for the most tokens written.
    pub max_tokens: &'static str,
    /// Parameters it rejects or ignores.
    pub drops: &'static [&'static str],
    /// Where it rejects every field it does not know: those it knows.
    pub knows: Option<&'static [&'static str]>,
    /// Its own names of parameters.
    pub renames: &'static [(&'static str, &'static str)],
    /// Fields that it always gets, as JSON.
    pub adds: &'static [(&'static str, &'static str)],
    /// The highest temperature it takes.
    pub temperature_max: Option<f64>,
    /// It tells the usage of a stream only if asked by `stream_options`, and knows that field.
    pub stream_options: bool,
    /// Several choices at once.
    pub choices: bool,
    /// `logprobs` is the count that OpenAI calls `top_logprobs`.
    pub logprobs_count: bool,
    /// How effort is told; the first entry whose text the model's name holds counts.
    pub effort: &'static [(&'static str, EffortStyle)],
    /// The rules of OpenAI's own models, by their names.
    pub openai_models: bool,
    /// How thought of earlier turns goes back; the first entry whose text the model's name holds counts.
    pub thoughts: &'static [(&'static str, ThoughtStyle)],
    /// Its models may think in `<think>` tags at the beginning of the content.
    pub think_tags: bool,
    pub tools: ToolRules,
    /// `response_format` of type `json_schema`.
    pub json_schema: bool,
    pub messages: MessageRules,
    pub embeddings: bool,
    /// The legacy `/completions` beside the chats.
    pub completions: bool,
}

/// What sets a provider's tools apart.
#[derive(Debug)]
pub struct ToolRules {
    pub forced: Forced,
    /// `strict` in functions.
    pub strict: bool,
    /// Tools of type `custom`.
    pub custom: bool,
    /// `tool_choice` of type `allowed_tools`.
    pub allowed: bool,
    /// `parallel_tool_calls`.
    pub parallel: bool,
    /// Ids are exactly nine letters and digits.
    pub nine_character_ids: bool,
    /// It wants Gemini's signature of a call back, in `extra_content`.
    pub signatures: bool,
}

/// What sets a provider's messages apart.
#[derive(Debug)]
pub struct MessageRules {
    /// It knows the role `developer`; else it is `system`.
    pub developer: bool,
    /// One system message at most, and first; several are made one.
    pub one_system: bool,
    /// Text may come in several parts in every role; else it is joined by line breaks.
    pub text_parts: bool,
    /// `name` of a message.
    pub names: bool,
    /// Images by their address; else only their bytes.
    pub image_urls: bool,
    pub audio: bool,
    pub files: Files,
    /// `refusal` of earlier answers; else it is content.
    pub refusals: bool,
    pub cache: CacheStyle,
    /// The field that marks a last assistant message as the beginning of the answer.
    pub prefill: Option<&'static str>,
}

/// Whether a tool's use can be demanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forced {
    Yes,
    /// Yes, but the word is `any`.
    Any,
    /// Only while it does not think.
    UnlessThinking,
    /// A tool can be named, but not "one of them".
    NamedOnly,
    No,
}

/// How effort is told.
#[derive(Debug, Clone, Copy)]
pub enum EffortStyle {
    /// Not at all.
    Unknown,
    /// `reasoning_effort`, in these words; any, where there are none.
    Words(&'static [(Effort, &'static str)]),
    /// `reasoning: {effort | max_tokens, exclude}`.
    Object,
    /// `thinking: {type: enabled | disabled}`.
    Switch,
    /// `thinking: {type: disabled}` for none, else `reasoning_effort` in these words.
    SwitchAndWords(&'static [(Effort, &'static str)]),
    /// `reasoning: {enabled: false}` for none, else `reasoning_effort` in these words.
    ObjectAndWords(&'static [(Effort, &'static str)]),
}

/// How thought of earlier turns goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThoughtStyle {
    /// Not at all.
    Never,
    /// In this field of the message.
    Field(&'static str),
    /// In this field of messages that call tools.
    ToolTurns(&'static str),
    /// As `reasoning_details`.
    Details,
    /// As parts of type `thinking`.
    Parts,
    /// In `<think>` tags before the content.
    Tags,
}

/// How documents are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Files {
    /// Not at all, but for plain text.
    No,
    /// As OpenAI's `file`.
    OpenAi,
    /// The same, and documents by their address, too.
    OpenAiAndUrls,
    /// By Mistral's `document_url`.
    DocumentUrl,
}

/// How the end of a cached prompt is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheStyle {
    /// Not at all: it caches by itself.
    Automatic,
    /// OpenAI's `prompt_cache_breakpoint`.
    Breakpoint,
    /// Anthropic's `cache_control`.
    CacheControl,
}
