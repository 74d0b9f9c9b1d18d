//! Who a request comes from, as the hot path needs it: everything is worked out when the key, its team or its
//! organisation changes, and nothing when a request comes.

use std::sync::Arc;

use super::holder::{ClientKey, Notes, Org, Team};
use super::scope::Scope;
use crate::ids::{OrgId, TeamId};
use crate::limits::{Holder, Limits};

/// What a client key stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Id of the client key; never the key.
    pub key: Arc<str>,
    /// Its team.
    pub team: TeamId,
    /// The team's organisation.
    pub org: Option<OrgId>,
    /// What it may use, already cut to what team and organisation may.
    pub scope: Scope,
    /// When this value of the key ends, in seconds since 1970.
    pub until: Option<u64>,
    /// Everybody above a request who has limits, the nearest first: key, team, organisation.
    pub limits: Arc<[(Holder, Limits)]>,
    /// Of each end user of the team.
    pub user_limits: Limits,
    /// Of organisation, team and key; the nearest wins.
    pub tags: Arc<Notes>,
}

impl Identity {
    /// Returns what whoever belongs to `team` may do, whoever says so; it has no key and no end.
    pub fn of_team(team: &Team, org: Option<&Org>) -> Self {
        let mut tags = org.map(|org| org.tags.clone()).unwrap_or_default();
        tags.extend(team.tags.clone());
        Self {
            key: "".into(),
            team: team.id.clone(),
            org: org.map(|org| org.id.clone()),
            scope: org.map_or_else(|| team.scope.clone(), |org| team.scope.within(&org.scope)),
            limits: above(None, team, org),
            user_limits: team.user_limits,
            until: None,
            tags: Arc::new(tags),
        }
    }

    /// Returns whether the value it was found by is still good at `now_s`, in seconds since 1970.
    pub fn is_current(&self, now_s: u64) -> bool {
        self.until.is_none_or(|until| now_s < until)
    }
}

/// Returns what the values of `key` stand for, in their order: nothing where the key is disabled or revoked.
pub fn identity(key: &ClientKey, team: &Team, org: Option<&Org>) -> Vec<Arc<Identity>> {
    if key.disabled || key.revoked {
        return Vec::new();
    }
    let of_team = org.map_or_else(|| team.scope.clone(), |org| team.scope.within(&org.scope));
    let (scope, id) = (key.scope.within(&of_team), Arc::<str>::from(key.id.as_str()));
    let mut tags = org.map(|org| org.tags.clone()).unwrap_or_default();
    tags.extend(team.tags.clone());
    tags.extend(key.tags.clone());
    let tags = Arc::new(tags);
    let limits = above(Some(key), team, org);
    let of = |until: Option<u64>| {
        Arc::new(Identity {
            key: id.clone(),
            team: team.id.clone(),
            org: org.map(|org| org.id.clone()),
            scope: scope.clone(),
            limits: limits.clone(),
            user_limits: team.user_limits,
            until: [until, key.expires].into_iter().flatten().min(),
            tags: tags.clone(),
        })
    };
    key.secrets.iter().map(|secret| of(secret.until)).collect()
}

fn above(key: Option<&ClientKey>, team: &Team, org: Option<&Org>) -> Arc<[(Holder, Limits)]> {
    let own = key.map(|key| (Holder::Key(key.id.as_str().into()), key.limits));
    let of_team = (Holder::Team(team.id.clone()), team.limits);
    let of_org = org.map(|org| (Holder::Org(org.id.clone()), org.limits));
    let above = [own, Some(of_team), of_org].into_iter().flatten();
    let above: Vec<_> = above.filter(|(_, limits)| !limits.is_empty()).collect();
    // Most keys of most gateways have none, and the empty one is shared.
    if above.is_empty() { Arc::default() } else { above.into() }
}
