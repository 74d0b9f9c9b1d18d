//! Organisations, teams and client keys, as a file defines them or the admin API makes them.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::scope::Scope;
use crate::budget::BudgetSpec;
use crate::ids::{OrgId, TeamId};
use crate::limits::Limits;

/// What the operator writes beside a holder: names and texts, for people and for reports.
pub type Notes = BTreeMap<String, String>;

/// Hash of a client key, by which it is found.
pub type KeyHash = [u8; 32];

/// Who says what a holder is; nobody else may change it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// A configuration file, at this place: `bursar.toml:12:1`.
    File(String),
    /// The admin API, which keeps it in its store.
    Api,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(place) => f.write_str(place),
            Self::Api => f.write_str("admin API"),
        }
    }
}

/// An organisation: what all its teams have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Org {
    /// Its id.
    pub id: OrgId,
    /// For people.
    pub name: String,
    /// Most that its teams may have.
    #[serde(default)]
    pub scope: Scope,
    /// Of all requests of its teams together.
    #[serde(default)]
    pub limits: Limits,
    /// What it may spend, where the admin API made it. What files say of theirs is a table of the configuration.
    #[serde(default)]
    pub budgets: Vec<BudgetSpec>,
    /// Of every request of its teams, for reports.
    #[serde(default)]
    pub tags: Notes,
    /// For people.
    #[serde(default)]
    pub metadata: Notes,
    /// Who may change it.
    pub owner: Owner,
}

/// A team, to which client keys belong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Team {
    /// Its id.
    pub id: TeamId,
    /// The organisation it is in, if any.
    #[serde(default)]
    pub org: Option<OrgId>,
    /// For people.
    pub name: String,
    /// Most that its keys may have.
    #[serde(default)]
    pub scope: Scope,
    /// Of all requests of its keys together.
    #[serde(default)]
    pub limits: Limits,
    /// Of each end user, by the client's word.
    #[serde(default)]
    pub user_limits: Limits,
    /// What it may spend, where the admin API made it. What files say of theirs is a table of the configuration.
    #[serde(default)]
    pub budgets: Vec<BudgetSpec>,
    /// What each of its end users may spend, likewise.
    #[serde(default)]
    pub members_budgets: Vec<BudgetSpec>,
    /// Of every request of its keys, for reports.
    #[serde(default)]
    pub tags: Notes,
    /// For people.
    #[serde(default)]
    pub metadata: Notes,
    /// Who may change it.
    pub owner: Owner,
}

impl Team {
    /// Returns a team that the admin API makes: in no organisation, bound by nothing.
    pub fn new(id: TeamId, name: &str) -> Self {
        Self {
            id,
            org: None,
            name: name.to_owned(),
            scope: Scope::default(),
            limits: Limits::default(),
            user_limits: Limits::default(),
            budgets: Vec::new(),
            members_budgets: Vec::new(),
            tags: Notes::new(),
            metadata: Notes::new(),
            owner: Owner::Api,
        }
    }
}

/// One value that a client key has, or had until lately.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeySecret {
    /// Of the whole key as clients send it.
    pub hash: KeyHash,
    /// In seconds since 1970; `None` as long as the key is good.
    #[serde(default)]
    pub until: Option<u64>,
}

/// A hash is no secret, but nobody who reads a log needs it.
impl fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySecret {{ until: {:?} }}", self.until)
    }
}

/// A client key. What it looks like is known to its holder alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientKey {
    /// Its id, which stands in records and logs.
    pub id: String,
    /// Its team.
    pub team: TeamId,
    /// For people.
    #[serde(default)]
    pub name: String,
    /// The part of the newest value that may be shown; empty where the key was not made here.
    #[serde(default)]
    pub public: String,
    /// The newest value first; older ones while a rotation overlaps.
    pub secrets: Vec<KeySecret>,
    /// Narrower than the team's.
    #[serde(default)]
    pub scope: Scope,
    /// When it ends, in seconds since 1970.
    #[serde(default)]
    pub expires: Option<u64>,
    /// Refused until it is enabled.
    #[serde(default)]
    pub disabled: bool,
    /// Refused for good.
    #[serde(default)]
    pub revoked: bool,
    /// When it was made, in seconds since 1970; 0 where a file does not say.
    #[serde(default)]
    pub created: u64,
    /// Of all its requests together.
    #[serde(default)]
    pub limits: Limits,
    /// What it may spend, where the admin API made it. What files say of theirs is a table of the configuration.
    #[serde(default)]
    pub budgets: Vec<BudgetSpec>,
    /// Of every request, for reports; wins over its team's.
    #[serde(default)]
    pub tags: Notes,
    /// For people.
    #[serde(default)]
    pub metadata: Notes,
    /// Who may change it.
    pub owner: Owner,
}

/// Whether a key lets anybody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    Active,
    /// Its time is over.
    Expired,
    /// Not until it is enabled.
    Disabled,
    /// Never again.
    Revoked,
}

impl Standing {
    /// Returns the word in lists.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Disabled => "disabled",
            Self::Revoked => "revoked",
        }
    }
}

impl ClientKey {
    /// Returns how the key stands at `now_s`, in seconds since 1970.
    pub fn standing(&self, now_s: u64) -> Standing {
        match self {
            Self { revoked: true, .. } => Standing::Revoked,
            Self { disabled: true, .. } => Standing::Disabled,
            Self { expires: Some(expires), .. } if *expires <= now_s => Standing::Expired,
            _ => Standing::Active,
        }
    }
}
