//! Tokens that one call used, in one arithmetic for all providers.

use serde::{Deserialize, Serialize};

/// Tokens of one reply: `cached + cache_write ≤ prompt`, `cache_write_long ≤ cache_write`, `reasoning ≤ completion`, `total = prompt + completion`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Everything read, cached parts included.
    pub prompt: u64,
    /// Everything written, reasoning included.
    pub completion: u64,
    /// Both together.
    pub total: u64,
    /// Read from the provider's prompt cache.
    pub cached: u64,
    /// Written to the provider's prompt cache.
    pub cache_write: u64,
    /// The part of `cache_write` that the provider keeps for an hour and bills higher.
    pub cache_write_long: u64,
    /// Written but not shown.
    pub reasoning: u64,
    /// A figure was negative, absurd or impossible and has been bent into shape; estimate rather than trust it.
    pub suspect: bool,
}
