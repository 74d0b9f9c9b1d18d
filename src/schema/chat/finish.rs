//! Why an answer ended.

/// Why a choice ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finish {
    /// By itself, or at a stop sequence: which one, where the provider says.
    Stop {
        sequence: Option<String>,
    },
    Length,
    ToolCalls,
    /// The provider's filter, or the model's refusal; the explanation is a [`super::Content::Refusal`].
    ContentFilter,
}

impl Finish {
    /// Returns the word for records and logs, the same whatever dialects an answer came in and left in.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Stop { .. } => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
            Self::ContentFilter => "content_filter",
        }
    }
}
