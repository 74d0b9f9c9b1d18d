//! `[responses]`: which answers to Responses requests are stored, for how long, and how much of them.

use std::time::Duration;

use serde::Deserialize;

/// `[responses]`.
#[derive(Debug, Clone)]
pub struct Responses {
    pub store: StoreWhen,
    /// How long one is kept.
    pub retention: Duration,
    /// Most bytes of all of them, as they lie sealed on the disk; beyond it the oldest go.
    pub storage: usize,
}

/// When an answer is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreWhen {
    /// Where the request says `store: true`: what nobody asked for is not kept.
    #[default]
    OnRequest,
    /// Unless the request says `store: false`, as at OpenAI.
    Always,
    /// Not at all.
    Never,
}

impl StoreWhen {
    /// Returns its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OnRequest => "on_request",
            Self::Always => "always",
            Self::Never => "never",
        }
    }
}
