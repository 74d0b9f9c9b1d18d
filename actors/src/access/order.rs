//! What the admin API asks of the directory, and what it answers.

use std::fmt;

use super::holder::{ClientKey, Notes, Org, Owner, Team};
use super::key::NewKey;
use super::network::Network;
use super::scope::Names;
use crate::budget::BudgetSpec;
use crate::ids::{OrgId, TeamId};
use crate::limits::Limit;

/// What there is in the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Organisations.
    Org,
    /// Teams.
    Team,
    /// Client keys.
    Key,
}

impl Kind {
    /// Returns what people call one of them.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Org => "organisation",
            Self::Team => "team",
            Self::Key => "client key",
        }
    }

    /// Returns the first letter of its records' names in the store.
    pub(super) fn letter(self) -> char {
        match self {
            Self::Org => 'o',
            Self::Team => 't',
            Self::Key => 'k',
        }
    }
}

/// One limit and its new figure; `None` takes it away.
pub type LimitChange = (Limit, Option<u64>);

/// What a holder shall be. What is `None` stays as it is, or as it is by default.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// For people.
    pub name: Option<String>,
    /// Of a team: `Some(None)` takes it out of its organisation.
    pub org: Option<Option<OrgId>>,
    /// Of a new key.
    pub team: Option<TeamId>,
    /// See [`super::Scope::models`].
    pub models: Option<Names>,
    /// See [`super::Scope::providers`].
    pub providers: Option<Names>,
    /// See [`super::Scope::regions`].
    pub regions: Option<Names>,
    /// See [`super::Scope::endpoints`].
    pub endpoints: Option<Names>,
    /// See [`super::Scope::networks`].
    pub networks: Option<Option<Vec<Network>>>,
    /// Of a key: in seconds since 1970; `Some(None)` for never.
    pub expires: Option<Option<u64>>,
    /// What becomes of the limits that are named; the others stay.
    pub limits: Vec<LimitChange>,
    /// Of a team: likewise, of each end user.
    pub user_limits: Vec<LimitChange>,
    /// All of them.
    pub budgets: Option<Vec<BudgetSpec>>,
    /// Of a team: likewise, of each end user.
    pub members_budgets: Option<Vec<BudgetSpec>>,
    /// All of them.
    pub tags: Option<Notes>,
    /// All of it.
    pub metadata: Option<Notes>,
}

/// What is to be done to one holder.
#[derive(Debug, Clone)]
pub enum Act {
    /// Make it. A key without an id is called after its public part.
    Create(Wish),
    /// Change it.
    Update(Wish),
    /// Remove it.
    Delete,
    /// Give a key a new value; the old one stays good for so many seconds.
    Rotate {
        /// 0 ends it at once.
        overlap_s: u64,
    },
    /// Refuse a key until it is enabled.
    Disable,
    /// Take that back.
    Enable,
    /// Refuse a key for good.
    Revoke,
}

/// An order.
#[derive(Debug, Clone)]
pub struct Order {
    /// What it is about.
    pub kind: Kind,
    /// Which; may be empty for a new key only.
    pub id: String,
    /// What is to be done.
    pub act: Act,
    /// The one team whose keys whoever orders may see and change; nothing else exists for it.
    pub within: Option<TeamId>,
    /// In seconds since 1970.
    pub now_s: u64,
}

/// One of the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Holder {
    Org(Org),
    Team(Team),
    Key(ClientKey),
}

/// What an order came to.
#[derive(Debug)]
pub struct Done {
    /// As it is now, or was before it was removed.
    pub holder: Holder,
    /// The new value of a key, to be shown once.
    pub value: Option<NewKey>,
}

/// Why an order is refused. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// There is none, or none for whoever asks.
    NotFound(Kind, String),
    /// The id belongs to another already.
    Taken(Kind, String, Owner),
    /// A file defines it, and a file has to change it.
    OfFile(Kind, String, String),
    /// What is asked for cannot be; in words that say what can.
    Invalid(String),
    /// Others depend on it, or its standing does not allow it.
    Conflict(String),
    /// It could not be written.
    NotStored(String),
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(kind, id) => write!(f, "there is no {} `{id}`", kind.as_str()),
            Self::Taken(kind, id, owner) => {
                write!(f, "{} `{id}` is there already, by {owner}; choose another id, or update it", kind.as_str())
            }
            Self::OfFile(kind, id, place) => {
                write!(f, "{} `{id}` is defined in {place}; change it there, and reload", kind.as_str())
            }
            Self::Invalid(why) | Self::Conflict(why) => f.write_str(why),
            Self::NotStored(why) => write!(f, "the change could not be written, so nothing has changed: {why}"),
        }
    }
}
