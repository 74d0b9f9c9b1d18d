//! What an admin may do: each role has rights, and each admin route asks for one.

use std::fmt;

use serde::Serialize;

use crate::TeamId;

/// What an admin is trusted with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Reads status, providers and usage.
    Viewer,
    /// Reads and exports the audit log besides; changes nothing.
    Auditor,
    /// Steers endpoints and reloads the configuration; sees neither keys nor the log.
    Operator,
    /// Everything.
    Admin,
    /// The client keys, the records and the spending of one team; other teams do not exist for it.
    TeamAdmin(TeamId),
}

/// What an admin route asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Right {
    /// To be signed in, in whatever role.
    SignedIn,
    /// To read status and providers.
    Status,
    /// To read budgets and what was spent.
    Spending,
    /// To read and export the audit log.
    Records,
    /// To steer endpoints, reload the configuration, sign checkpoints.
    Operate,
    /// To see and change organisations, teams and client keys.
    Keys,
    /// What is left: users of the admin API, erasures, legal holds, the index of the log.
    Govern,
}

impl Right {
    /// Every right.
    pub const ALL: [Self; 7] =
        [Self::SignedIn, Self::Status, Self::Spending, Self::Records, Self::Operate, Self::Keys, Self::Govern];

    /// Returns what it allows, as in "may not …".
    pub fn as_words(self) -> &'static str {
        match self {
            Self::SignedIn => "sign in",
            Self::Status => "read the status",
            Self::Spending => "read budgets and usage",
            Self::Records => "read the audit log",
            Self::Operate => "operate the gateway",
            Self::Keys => "see or change client keys",
            Self::Govern => "change users, holds or the books",
        }
    }
}

impl Role {
    /// Names of the roles, as they are written.
    pub const NAMES: [&'static str; 5] = ["viewer", "auditor", "operator", "admin", "team_admin"];

    /// Returns the role with this name. A team belongs to `team_admin` and to no other; `Err` says so in words.
    pub fn read(name: &str, team: Option<&str>) -> Result<Self, String> {
        match (name, team) {
            ("viewer", None) => Ok(Self::Viewer),
            ("auditor", None) => Ok(Self::Auditor),
            ("operator", None) => Ok(Self::Operator),
            ("admin", None) => Ok(Self::Admin),
            ("team_admin", Some(team)) if !team.is_empty() => Ok(Self::TeamAdmin(team.into())),
            ("team_admin", _) => Err("a team_admin needs `team`: the one team it administrates".into()),
            (name, Some(_)) if Self::NAMES.contains(&name) => {
                Err(format!("the role `{name}` is for all teams; leave out `team`, or make it team_admin"))
            }
            (name, _) => Err(format!("`{name}` is no role; known: {}", Self::NAMES.join(", "))),
        }
    }

    /// Returns the name, as it is written.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Auditor => "auditor",
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::TeamAdmin(_) => "team_admin",
        }
    }

    /// Returns the one team that it is for; none means all.
    pub fn team(&self) -> Option<&TeamId> {
        match self {
            Self::TeamAdmin(team) => Some(team),
            _ => None,
        }
    }

    /// Returns whether the role has the right, within its team where it is for one.
    pub fn may(&self, right: Right) -> bool {
        let more: &[Right] = match self {
            Self::Viewer => &[Right::Status, Right::Spending],
            Self::Auditor => &[Right::Status, Right::Spending, Right::Records],
            Self::Operator => &[Right::Status, Right::Spending, Right::Operate],
            Self::TeamAdmin(_) => &[Right::Spending, Right::Records, Right::Keys],
            Self::Admin => &Right::ALL,
        };
        right == Right::SignedIn || more.contains(&right)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.team() {
            Some(team) => write!(f, "team_admin of `{team}`"),
            None => f.write_str(self.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_has_its_rights_and_no_other() {
        let rights = |name: &str, team| {
            let role = Role::read(name, team).unwrap();
            Right::ALL.into_iter().filter(|right| role.may(*right)).collect::<Vec<_>>()
        };
        use Right::*;

        assert_eq!(rights("viewer", None), [SignedIn, Status, Spending]);
        assert_eq!(rights("auditor", None), [SignedIn, Status, Spending, Records]);
        assert_eq!(rights("operator", None), [SignedIn, Status, Spending, Operate]);
        assert_eq!(rights("team_admin", Some("a")), [SignedIn, Spending, Records, Keys]);
        assert_eq!(rights("admin", None), Right::ALL);
    }

    #[test]
    fn a_role_is_read_as_it_is_written() {
        for name in Role::NAMES {
            let team = (name == "team_admin").then_some("a");
            assert_eq!(Role::read(name, team).unwrap().as_str(), name);
        }
        assert!(Role::read("root", None).unwrap_err().contains("known: viewer"));
        assert!(Role::read("viewer", Some("a")).unwrap_err().contains("leave out `team`"));
        assert!(Role::read("team_admin", None).unwrap_err().contains("needs `team`"));
        assert!(Role::read("team_admin", Some("")).unwrap_err().contains("needs `team`"));
    }
}
