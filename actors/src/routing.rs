//! Which endpoint serves, and which of its keys: pure choices over what the board says.

use serde::{Deserialize, Serialize};

/// How one of several healthy candidates is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Power of two choices: of two drawn by chance, the one with less peak-EWMA latency × (in flight + 1) / weight.
    #[default]
    P2cEwma,
    /// By chance, in proportion to the weights.
    Weighted,
    /// The one with the fewest calls in flight per weight.
    LeastInflight,
    /// One after the other.
    RoundRobin,
    /// The first that is healthy, in the order written.
    Ordered,
}
