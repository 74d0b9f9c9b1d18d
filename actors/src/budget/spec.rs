//! A budget as configuration and API state it: how much, in which windows, and what is done on the way to the limit.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::WHOLE_PPM;
use crate::ids::TeamId;
use crate::limits::Holder;

/// How much a holder may spend in each window of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetSpec {
    /// Its name, unique among those of its holder.
    pub id: String,
    /// Nano-dollars per window.
    pub amount_nano: u64,
    /// How long a window is.
    pub period: Period,
    /// By whose calendar windows begin.
    #[serde(default)]
    pub zone: Zone,
    /// Share of what was left of a window that the next one has more, in millionths.
    #[serde(default)]
    pub rollover_ppm: u32,
    /// The amount tells and does not block.
    #[serde(default)]
    pub soft: bool,
    /// What is done on the way, from low to high.
    #[serde(default)]
    pub steps: Vec<Step>,
}

impl BudgetSpec {
    /// Returns at which share of the limit requests are refused, in millionths; `None`: never.
    pub fn blocks_at_ppm(&self) -> Option<u32> {
        let step = self.steps.iter().filter(|step| step.act == Act::Block).map(|step| step.at_ppm).min();
        step.or_else(|| (!self.soft).then_some(WHOLE_PPM))
    }
}

/// How long a window is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// From midnight to midnight.
    Day,
    /// From Monday on.
    Week,
    /// From the first on.
    Month,
    /// From the first of January, April, July and October on.
    Quarter,
    /// From the first of January on.
    Year,
    /// The last so many seconds, wherever now is: a multiple of 900, an hour to 366 days.
    Rolling {
        /// Its length.
        seconds: u64,
    },
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Day => f.write_str("day"),
            Self::Week => f.write_str("week"),
            Self::Month => f.write_str("month"),
            Self::Quarter => f.write_str("quarter"),
            Self::Year => f.write_str("year"),
            Self::Rolling { seconds } if seconds % 86_400 == 0 => write!(f, "{}d", seconds / 86_400),
            Self::Rolling { seconds } if seconds % 3_600 == 0 => write!(f, "{}h", seconds / 3_600),
            Self::Rolling { seconds } => write!(f, "{}m", seconds / 60),
        }
    }
}

/// A time zone of the IANA database; UTC by default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Zone {
    /// Returns the zone of that name (`Europe/Berlin`), whatever the case; `None` where there is none.
    pub fn of_name(name: &str) -> Option<Self> {
        TimeZone::get(name).ok().map(Self)
    }

    /// Returns the names of all zones.
    pub fn names() -> impl Iterator<Item = String> {
        jiff::tz::db().available().map(|name| name.as_str().to_owned())
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    pub(super) fn time_zone(&self) -> &TimeZone {
        &self.0
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::of_name(&name).ok_or_else(|| serde::de::Error::custom(format!("there is no time zone `{name}`")))
    }
}

/// What is done from a share of the limit on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The share, in millionths: 1 to 1 000 000.
    pub at_ppm: u32,
    /// What.
    pub act: Act,
}

/// What a step does, besides telling that it was reached, once per window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Nothing else.
    Notify,
    /// Requests go to a cheaper model: an alias, or the cheapest that is enough.
    Downgrade {
        /// The alias.
        to: Option<String>,
    },
    /// The holder has so many requests in any minute.
    Throttle {
        /// How many.
        rpm: u64,
    },
    /// Requests wait until they fit below the step.
    Queue {
        /// At most so long.
        max_wait: Duration,
        /// Who goes first of those that wait.
        priority: Priority,
    },
    /// Requests are refused.
    Block,
}

impl Act {
    /// Returns the word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Notify => "notify",
            Self::Downgrade { .. } => "downgrade",
            Self::Throttle { .. } => "throttle",
            Self::Queue { .. } => "queue",
            Self::Block => "block",
        }
    }
}

/// Who goes first of those that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Last.
    Low,
    /// In between.
    #[default]
    Normal,
    /// First.
    High,
}

impl Priority {
    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }
}

/// All budgets, by whom they are of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// Of those that are named.
    pub holders: HashMap<Holder, Arc<[BudgetSpec]>>,
    /// Of each end user of a team.
    pub members: HashMap<TeamId, Arc<[BudgetSpec]>>,
}

impl Table {
    /// Returns the budgets of `holder`.
    pub fn of(&self, holder: &Holder) -> Option<&Arc<[BudgetSpec]>> {
        self.holders.get(holder).or_else(|| match holder {
            Holder::User(team, _) => self.members.get(team),
            _ => None,
        })
    }

    /// Returns whether nobody has one.
    pub fn is_empty(&self) -> bool {
        self.holders.is_empty() && self.members.is_empty()
    }
}
