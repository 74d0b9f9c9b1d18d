//! How much one caller may use: requests and tokens per minute, hour and day, and requests at the same time.
//!
//! | file     | what it holds                                                                                  |
//! |----------|------------------------------------------------------------------------------------------------|
//! | `window` | what was used in the last minute, hour or day, slid in 64 parts                                |
//! | `meter`  | the windows and requests in flight of one holder; decides for all of them at once              |
//! | `set`    | `admit` takes from every holder of a request or from none; a `Grant` settles it, exactly once  |
//! | `meters` | the meters of all holders, made when needed and dropped when idle                              |
//!
//! No actor and no message: a meter is a few figures behind a lock that is held for some ten nanoseconds. The limits
//! themselves stand in the snapshots of whoever asks and come along with each question, so a change of theirs holds from
//! the next request on, and what was used before still counts. Meters live in memory: they start anew with the process.

mod meter;
mod meters;
mod set;
mod window;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use meter::{Meter, Rate};
pub use meters::{Meters, USERS_MAX};
pub use set::{Denied, Grant, Limited, Standing, admit};

use crate::ids::{OrgId, TeamId};

/// What one holder may use; `None` is no limit. The names are those of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Requests in any 60 seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rpm: Option<u64>,
    /// Requests in any hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rph: Option<u64>,
    /// Requests in any 24 hours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rpd: Option<u64>,
    /// Tokens, read and written, in any 60 seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tpm: Option<u64>,
    /// Tokens in any hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tph: Option<u64>,
    /// Tokens in any 24 hours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tpd: Option<u64>,
    /// Requests at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// The most that one request may cost, in nano-dollars. Not the meters' matter: who knows the prices holds it.
    #[serde(rename = "cost_per_request_nano", skip_serializing_if = "Option::is_none")]
    pub cost_per_request: Option<u64>,
}

impl Limits {
    /// Returns whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether a meter has anything to hold.
    pub fn is_metered(&self) -> bool {
        !Self { cost_per_request: None, ..*self }.is_empty()
    }

    /// Returns the figure of `limit`; dollars as nano-dollars.
    pub fn get(&self, limit: Limit) -> Option<u64> {
        match limit {
            Limit::Metered(Which::Window(amount, span)) => self.of(amount, span),
            Limit::Metered(Which::Concurrency) => self.concurrency.map(u64::from),
            Limit::CostPerRequest => self.cost_per_request,
        }
    }

    /// Puts `figure` in the place of `limit`; `None` takes it away.
    pub fn set(&mut self, limit: Limit, figure: Option<u64>) {
        let place = match limit {
            Limit::Metered(Which::Window(Amount::Requests, Span::Minute)) => &mut self.rpm,
            Limit::Metered(Which::Window(Amount::Requests, Span::Hour)) => &mut self.rph,
            Limit::Metered(Which::Window(Amount::Requests, Span::Day)) => &mut self.rpd,
            Limit::Metered(Which::Window(Amount::Tokens, Span::Minute)) => &mut self.tpm,
            Limit::Metered(Which::Window(Amount::Tokens, Span::Hour)) => &mut self.tph,
            Limit::Metered(Which::Window(Amount::Tokens, Span::Day)) => &mut self.tpd,
            Limit::Metered(Which::Concurrency) => {
                // Nobody has more at the same time than this type holds.
                self.concurrency = figure.map(|figure| u32::try_from(figure).unwrap_or(u32::MAX));
                return;
            }
            Limit::CostPerRequest => &mut self.cost_per_request,
        };
        *place = figure;
    }

    /// Returns the limit of one window.
    pub fn of(&self, amount: Amount, span: Span) -> Option<u64> {
        match (amount, span) {
            (Amount::Requests, Span::Minute) => self.rpm,
            (Amount::Requests, Span::Hour) => self.rph,
            (Amount::Requests, Span::Day) => self.rpd,
            (Amount::Tokens, Span::Minute) => self.tpm,
            (Amount::Tokens, Span::Hour) => self.tph,
            (Amount::Tokens, Span::Day) => self.tpd,
        }
    }
}

/// What a window counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Amount {
    /// One for each request.
    Requests,
    /// Read and written together.
    Tokens,
}

impl Amount {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Requests, Self::Tokens];

    /// Returns the name of its limit in the configuration.
    pub fn key(self, span: Span) -> &'static str {
        match (self, span) {
            (Self::Requests, Span::Minute) => "rpm",
            (Self::Requests, Span::Hour) => "rph",
            (Self::Requests, Span::Day) => "rpd",
            (Self::Tokens, Span::Minute) => "tpm",
            (Self::Tokens, Span::Hour) => "tph",
            (Self::Tokens, Span::Day) => "tpd",
        }
    }
}

/// How long a window is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Span {
    /// 60 seconds.
    Minute,
    /// 60 minutes.
    Hour,
    /// 24 hours.
    Day,
}

impl Span {
    /// The shortest first.
    pub const ALL: [Self; 3] = [Self::Minute, Self::Hour, Self::Day];

    /// Returns its length.
    pub fn length(self) -> Duration {
        Duration::from_secs(match self {
            Self::Minute => 60,
            Self::Hour => 60 * 60,
            Self::Day => 24 * 60 * 60,
        })
    }

    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }
}

/// One of a holder's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// A window's.
    Window(Amount, Span),
    /// Requests at the same time.
    Concurrency,
}

impl Which {
    /// Returns its name in the configuration.
    pub fn key(self) -> &'static str {
        match self {
            Self::Window(amount, span) => amount.key(span),
            Self::Concurrency => "concurrency",
        }
    }
}

/// Any limit of a holder, for whoever sets or shows them one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// One that a meter holds.
    Metered(Which),
    /// What one request may cost at most.
    CostPerRequest,
}

impl Limit {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 8] = [
        Self::Metered(Which::Window(Amount::Requests, Span::Minute)),
        Self::Metered(Which::Window(Amount::Requests, Span::Hour)),
        Self::Metered(Which::Window(Amount::Requests, Span::Day)),
        Self::Metered(Which::Window(Amount::Tokens, Span::Minute)),
        Self::Metered(Which::Window(Amount::Tokens, Span::Hour)),
        Self::Metered(Which::Window(Amount::Tokens, Span::Day)),
        Self::Metered(Which::Concurrency),
        Self::CostPerRequest,
    ];

    /// Returns its name in the configuration.
    pub fn key(self) -> &'static str {
        match self {
            Self::Metered(which) => which.key(),
            Self::CostPerRequest => "cost_per_request",
        }
    }
}

/// Who has a limit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Holder {
    /// A client key, by its id.
    Key(Arc<str>),
    /// An end user of a team, by the client's word; without a name, all whom nobody names.
    User(TeamId, Arc<str>),
    /// All users of a team beyond `USERS_MAX`, together.
    FurtherUsers(TeamId),
    /// A team.
    Team(TeamId),
    /// An organisation.
    Org(OrgId),
    /// An alias, or `provider/model`.
    Model(Arc<str>),
    /// A tag of the caller, as `name=value`.
    Tag(Arc<str>),
    /// A provider's API key, by the provider and its id.
    ProviderKey(Arc<str>, Arc<str>),
}

impl Holder {
    /// Returns what kind of holder it is, for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Key(_) => "key",
            Self::User(..) | Self::FurtherUsers(_) => "user",
            Self::Team(_) => "team",
            Self::Org(_) => "org",
            Self::Model(_) => "model",
            Self::Tag(_) => "tag",
            Self::ProviderKey(..) => "provider_key",
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(id) => write!(f, "client key `{id}`"),
            Self::User(team, name) if name.is_empty() => write!(f, "requests of team `{team}` that name no user"),
            // The name is the client's own and may be anything; whoever is told knows whom he named.
            Self::User(team, _) => write!(f, "this user of team `{team}`"),
            Self::FurtherUsers(team) => write!(f, "further users of team `{team}`"),
            Self::Team(id) => write!(f, "team `{id}`"),
            Self::Org(id) => write!(f, "organisation `{id}`"),
            Self::Model(name) => write!(f, "model `{name}`"),
            Self::Tag(tag) => write!(f, "tag `{tag}`"),
            Self::ProviderKey(provider, id) => write!(f, "key `{id}` of provider `{provider}`"),
        }
    }
}
