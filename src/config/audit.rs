//! `[audit]` and `[storage.retention]`: what the books keep, how soon, where their keys are, and for how long.

use std::path::PathBuf;
use std::time::Duration;

use bursar_actors::Secret;
use serde::Deserialize;

/// `[audit]`.
#[derive(Debug, Clone)]
pub struct Audit {
    pub enabled: bool,
    pub content: Kept,
    /// Most bytes kept of one request or answer with `content = "full"`.
    pub content_max: usize,
    /// New users of one team and month whose content is hashed or kept.
    pub users_max: u32,
    pub commit: Commit,
    /// Folder of the keys that have no value of their own.
    pub keys_path: PathBuf,
    /// Signs checkpoints and exports; else a file in `keys_path`, made on the first start.
    pub signing_key: Option<Secret>,
    /// Wraps the keys that seal what is kept; likewise.
    pub master_key: Option<Secret>,
    /// Longest time between two checkpoints of a log that grows.
    pub checkpoint_every: Duration,
    /// Where checkpoints are told besides.
    pub witnesses: Vec<Witness>,
    pub retention: Retention,
}

/// `[storage.retention]`.
#[derive(Debug, Clone)]
pub struct Retention {
    /// How long records are kept; their hashes are kept for good.
    pub audit: Duration,
    /// How long prompts and answers are kept.
    pub content: Duration,
}

/// What is kept of prompts and answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    /// Nothing.
    None,
    /// A keyed hash, which proves to who holds the text that it was this text.
    #[default]
    Hash,
    /// What is left once personal data is masked.
    Redacted,
    /// The text, sealed, and its hash.
    Full,
}

impl Kept {
    /// Returns its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Hash => "hash",
            Self::Redacted => "redacted",
            Self::Full => "full",
        }
    }
}

/// When the record of a request has to be durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Commit {
    /// Before anything is sent to a provider.
    BeforeDispatch,
    /// Before the first byte of the answer.
    #[default]
    BeforeReply,
    /// Soon; a machine that loses its power may lose the last few milliseconds.
    Async,
}

impl Commit {
    /// Returns its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BeforeDispatch => "before_dispatch",
            Self::BeforeReply => "before_reply",
            Self::Async => "async",
        }
    }
}

/// Somebody else who keeps checkpoints, so that whoever holds the signing key cannot rewrite the log unseen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Witness {
    /// Appended to a file, best on a medium that is written once.
    File(PathBuf),
    /// The system's log.
    Syslog,
    /// Posted as `text/plain`.
    Url(String),
}

impl Witness {
    /// Returns it as it is written, which holds no secret.
    pub fn label(&self) -> String {
        match self {
            Self::File(path) => format!("file:{}", path.display()),
            Self::Syslog => "syslog".into(),
            Self::Url(url) => url.clone(),
        }
    }
}
