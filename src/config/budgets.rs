//! `[budgets]`: by what budgets are counted and whom they tell. The budgets themselves are a table of the actors.

use bursar_actors::Secret;
use bursar_actors::budget::Zone;
use serde::Deserialize;

use super::catalog::Rates;

/// `[budgets]`, but for the budgets of models and tags.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BudgetPolicy {
    /// Of budgets that name none.
    pub zone: Zone,
    pub unpriced: Unpriced,
    /// Requests that wait for a budget at once, at least 1.
    pub queue_max: u32,
    pub webhooks: Vec<Webhook>,
}

/// What becomes of a request whose model has no price, where it counts against a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unpriced {
    /// It is refused.
    #[default]
    Block,
    /// It counts by these prices, of which `input` and `output` are known.
    Estimate(Rates),
    /// It counts as nothing, and its record says that.
    Flag,
}

impl Unpriced {
    /// Returns its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Estimate(_) => "estimate",
            Self::Flag => "flag",
        }
    }
}

/// Who is told of steps that were reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Of https, or of http on this machine. Often it is a secret itself.
    pub url: Secret,
    /// What its messages are signed with.
    pub secret: Option<Secret>,
    /// Which steps it is told of, at least one.
    pub events: Vec<Deed>,
}

/// What a step does, by its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    Notify,
    Downgrade,
    Throttle,
    Queue,
    Block,
}

impl Deed {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Notify, Self::Downgrade, Self::Throttle, Self::Queue, Self::Block];

    /// Returns its name in the configuration, which is that of the act.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Notify => "notify",
            Self::Downgrade => "downgrade",
            Self::Throttle => "throttle",
            Self::Queue => "queue",
            Self::Block => "block",
        }
    }
}
