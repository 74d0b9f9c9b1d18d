//! The gateway's own chat request, reply and chunk: what every dialect is read into and written from where a client and
//! an upstream do not speak the same one.
//!
//! What two dialects share has a field of its own; what only one knows stays as it came, with the dialect's name on it
//! ([`Content::Native`], [`Extra`]), and goes back out only to that dialect. So a field is either translated, returned to
//! its owner, or listed in ARCHITECTURE.md as lost.

mod accumulate;
mod finish;

use bursar_actors::Usage;
use serde_json::{Map, Value};

pub use accumulate::Accumulator;
pub use finish::Finish;

/// A wire format of chats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dialect {
    /// OpenAI chat completions, and everybody who copies them (Mistral too, with differences of its own).
    OpenAi,
    /// OpenAI Responses.
    Responses,
    /// Anthropic Messages.
    Anthropic,
    /// Google generateContent.
    Gemini,
    /// AWS Bedrock Converse.
    Bedrock,
    /// Cohere v2 chat.
    Cohere,
    /// Ollama's own `/api/chat`.
    Ollama,
}

/// Fields that only `dialect` knows, as they came.
#[derive(Debug, Clone, PartialEq)]
pub struct Extra {
    pub dialect: Dialect,
    pub fields: Map<String, Value>,
}

/// A chat request.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ChatRequest {
    /// As the client named it; what is sent is the target's.
    pub model: Option<String>,
    /// In order. System and developer messages stand where the client put them.
    pub messages: Vec<Message>,
    pub tools: Vec<Tool>,
    pub tool_choice: Option<ToolChoice>,
    pub parallel_tool_calls: Option<bool>,
    /// Most tokens written, reasoning included.
    pub max_tokens: Option<u64>,
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub top_k: Option<u64>,
    pub presence_penalty: Option<f64>,
    pub frequency_penalty: Option<f64>,
    pub seed: Option<i64>,
    pub stop: Vec<String>,
    /// Choices asked for, where the client said so.
    pub choices: Option<u64>,
    pub logprobs: Option<bool>,
    pub top_logprobs: Option<u64>,
    pub logit_bias: Option<Value>,
    pub format: Option<Format>,
    pub reasoning: Option<Reasoning>,
    /// `low`, `medium`, `high`.
    pub verbosity: Option<String>,
    /// In OpenAI's words: `auto`, `default`, `flex`, `priority`, …
    pub service_tier: Option<String>,
    /// Pseudonym of the end user.
    pub user: Option<String>,
    pub metadata: Option<Map<String, Value>>,
    pub prompt_cache_key: Option<String>,
    pub stream: bool,
    /// A streaming client wants the usage at the end. Dialects that always tell it say true.
    pub include_usage: bool,
    /// The client offers OpenAI's deprecated `functions`, and reads `function_call` in the reply.
    pub legacy_functions: bool,
    /// What only the client's dialect knows.
    pub extra: Option<Extra>,
    /// What of the client's request could not even be read into this one: a warning each.
    pub lost: Vec<String>,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    System,
    Developer,
    User,
    Assistant,
    /// Results of tools: parts of [`Content::ToolResult`] and nothing else.
    Tool,
}

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub role: Role,
    /// In order. Empty text is kept, so that a dialect that needs it can have it back.
    pub parts: Vec<Part>,
    pub name: Option<String>,
}

/// One part of a message.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    pub content: Content,
    /// The prompt up to here is to be cached.
    pub cache: Option<CacheMark>,
}

/// How long a cached prompt is to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheMark {
    /// As long as the provider does by itself (Anthropic: 5 minutes).
    Default,
    /// An hour, or what comes nearest.
    Long,
}

/// What a part holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    Text(String),
    /// The model declined, in words.
    Refusal(String),
    Image {
        source: Source,
        /// OpenAI's `detail`.
        detail: Option<String>,
    },
    /// `data` in base64; `format` as in `wav`, `mp3`.
    Audio {
        data: String,
        format: String,
    },
    /// A document.
    File {
        source: Source,
        name: Option<String>,
    },
    Thinking(Thinking),
    ToolCall(ToolCall),
    ToolResult(ToolResult),
    /// A block that only `dialect` knows.
    Native {
        dialect: Dialect,
        value: Value,
    },
}

/// Where the bytes of an image or document are.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    Url(String),
    /// Base64.
    Inline {
        media_type: String,
        data: String,
    },
    /// Plain text, for documents.
    Text(String),
    /// A file known to the vendor of `dialect` by this id.
    Id {
        dialect: Dialect,
        id: String,
    },
}

/// What the model thought.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Thinking {
    /// Shown text; may be empty where only the signature counts.
    pub text: String,
    /// Proves to the vendor that it is its own; without it the block is of no use upstream.
    pub signature: Option<String>,
    /// Thought that the vendor hands out encrypted only (Anthropic's `redacted_thinking`, OpenAI's `encrypted_content`).
    pub encrypted: Option<String>,
    /// The vendor whose signature or encryption it is; `None` for plain text.
    pub vendor: Option<Dialect>,
    /// The vendor's id of the item (Responses).
    pub id: Option<String>,
}

/// A call the model makes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ToolCall {
    /// Never empty: decoders make one up where the provider sends none.
    pub id: String,
    pub name: String,
    /// JSON text of an object; of a custom tool its free text. Never empty JSON: no arguments are `{}`.
    pub arguments: String,
    pub custom: bool,
    /// Gemini's `thoughtSignature` of this call.
    pub signature: Option<String>,
}

/// What a tool answered.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ToolResult {
    pub call_id: String,
    /// Of the tool, where the dialect says so or the call was found in the history.
    pub name: Option<String>,
    /// Text, images and documents.
    pub parts: Vec<Part>,
    pub is_error: bool,
}

/// A tool that the model may call.
#[derive(Debug, Clone, PartialEq)]
pub enum Tool {
    Function(Function),
    /// Takes free text. `format` as OpenAI has it.
    Custom {
        name: String,
        description: Option<String>,
        format: Option<Value>,
    },
    /// A tool that the vendor of `dialect` runs itself.
    Native {
        dialect: Dialect,
        value: Value,
    },
}

/// A function.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Function {
    pub name: String,
    pub description: Option<String>,
    /// JSON Schema; none for a function without arguments.
    pub parameters: Option<Value>,
    pub strict: Option<bool>,
    pub cache: Option<CacheMark>,
}

/// Which tools the model may or must use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolChoice {
    None,
    Auto,
    Required,
    Named(String),
    /// Only these; one of them must be used where `required`.
    Allowed {
        names: Vec<String>,
        required: bool,
    },
}

/// The form of the answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Format {
    Text,
    JsonObject,
    JsonSchema { name: String, description: Option<String>, schema: Value, strict: Option<bool> },
}

/// How much the model shall think.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Effort {
    None,
    Minimal,
    Low,
    Medium,
    High,
    XHigh,
    Max,
}

/// What the client wants of reasoning.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reasoning {
    pub effort: Option<Effort>,
    /// Tokens for thinking, where the dialect counts them.
    pub budget: Option<u64>,
    /// The thoughts, or a summary of them, are to be shown.
    pub show: Option<bool>,
}

/// A whole reply.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ChatReply {
    /// The provider's; empty where it names none.
    pub id: String,
    /// Unix seconds; 0 where the provider does not say.
    pub created: i64,
    /// As the provider names it.
    pub model: String,
    pub choices: Vec<Choice>,
    pub usage: Option<Usage>,
    pub service_tier: Option<String>,
    pub system_fingerprint: Option<String>,
}

/// One of the answers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Choice {
    pub index: u32,
    /// Text, refusal, thinking, tool calls and native blocks, in order.
    pub parts: Vec<Part>,
    pub finish: Option<Finish>,
    pub citations: Vec<Citation>,
    /// As OpenAI has them.
    pub logprobs: Option<Value>,
}

/// A source that the answer names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Citation {
    pub url: String,
    pub title: String,
    /// Characters of the text that it stands for, where known.
    pub start: Option<u64>,
    pub end: Option<u64>,
}

/// One step of a streamed reply.
///
/// A decoder hands them out in this order, per choice: `Start` (once for the stream), deltas, `Finish`; then `Usage`, if
/// any, as often as it grows. `tool` counts the calls of a choice from 0 without gaps; a `ToolCall` comes before its
/// `ToolArguments`. [`crate::providers::sequence::Sequence`] sees to what a provider leaves out.
#[derive(Debug, Clone, PartialEq)]
pub enum Chunk {
    Start {
        id: String,
        /// Unix seconds; 0 where the provider does not say.
        created: i64,
        model: String,
        service_tier: Option<String>,
        system_fingerprint: Option<String>,
    },
    Text {
        choice: u32,
        text: String,
    },
    Refusal {
        choice: u32,
        text: String,
    },
    /// More of the thinking under way, or the first of it.
    Thinking {
        choice: u32,
        text: String,
    },
    /// Ends the thinking under way; or a block that is nothing but encrypted.
    ThinkingEnd {
        choice: u32,
        signature: Option<String>,
        encrypted: Option<String>,
        vendor: Option<Dialect>,
        id: Option<String>,
    },
    /// A call begins.
    ToolCall {
        choice: u32,
        tool: u32,
        id: String,
        name: String,
        custom: bool,
        signature: Option<String>,
    },
    /// More of a call's arguments.
    ToolArguments {
        choice: u32,
        tool: u32,
        fragment: String,
    },
    Citation {
        choice: u32,
        citation: Citation,
    },
    /// As OpenAI has them, for the text just before.
    Logprobs {
        choice: u32,
        value: Value,
    },
    /// A whole block that only one dialect knows.
    Native {
        choice: u32,
        dialect: Dialect,
        value: Value,
    },
    Finish {
        choice: u32,
        finish: Finish,
    },
    /// All of it up to now, never a difference.
    Usage(Usage),
}

impl Chunk {
    /// Returns whether it is output: from then on no other upstream can take over.
    pub fn is_output(&self) -> bool {
        !matches!(self, Self::Start { .. } | Self::Usage(_))
    }
}

impl Extra {
    /// Returns the names of what another dialect loses. Of what Responses echoes, instructions are a message and reasoning a
    /// wish, too; `include` and `store` ask for no more than all clients get.
    pub fn lost_abroad(&self) -> impl Iterator<Item = &String> {
        const SERVED: [&str; 4] = ["instructions", "reasoning", "include", "store"];
        self.fields.keys().filter(|name| self.dialect != Dialect::Responses || !SERVED.contains(&name.as_str()))
    }
}

impl Part {
    /// Returns a part without a cache mark.
    pub fn new(content: Content) -> Self {
        Self { content, cache: None }
    }

    /// Returns a part of plain text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new(Content::Text(text.into()))
    }
}

impl Message {
    /// Returns a message without a name.
    pub fn new(role: Role, parts: Vec<Part>) -> Self {
        Self { role, parts, name: None }
    }

    /// Returns the text of all text parts, joined by nothing.
    pub fn plain_text(&self) -> String {
        plain_text(&self.parts)
    }
}

/// Returns the text of all text parts, joined by nothing.
pub fn plain_text(parts: &[Part]) -> String {
    let text = |part: &Part| match &part.content {
        Content::Text(text) => Some(text.clone()),
        _ => None,
    };
    parts.iter().filter_map(text).collect()
}

impl Effort {
    /// Returns OpenAI's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Minimal => "minimal",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::XHigh => "xhigh",
            Self::Max => "max",
        }
    }

    /// Returns the effort that `word` names.
    pub fn from_word(word: &str) -> Option<Self> {
        const ALL: [Effort; 7] =
            [Effort::None, Effort::Minimal, Effort::Low, Effort::Medium, Effort::High, Effort::XHigh, Effort::Max];
        ALL.into_iter().find(|effort| effort.as_str() == word)
    }
}

impl ChatRequest {
    /// Returns the name of the tool whose call has this id, from the history.
    pub fn tool_of_call(&self, id: &str) -> Option<&str> {
        let calls = self.messages.iter().flat_map(|message| &message.parts);
        calls.into_iter().find_map(|part| match &part.content {
            Content::ToolCall(call) if call.id == id => Some(call.name.as_str()),
            _ => None,
        })
    }

    /// Returns the functions, without custom and native tools.
    pub fn functions(&self) -> impl Iterator<Item = &Function> {
        self.tools.iter().filter_map(|tool| match tool {
            Tool::Function(function) => Some(function),
            _ => None,
        })
    }
}
