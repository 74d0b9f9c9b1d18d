//! All organisations, teams and client keys there are, and the decision over each order. Pure: time and new keys come in.
//!
//! What files define and what the admin API made stand apart. An id that both have is the file's.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::budgets::downgrades_stay_within;
use super::holder::{ClientKey, KeyHash, KeySecret, Notes, Org, Owner, Team};
use super::identity::{Identity, identity};
use super::key::NewKey;
use super::order::{Act, Denied, Done, Holder, Kind, LimitChange, Order, Wish};
use super::scope::Scope;
use crate::ids::{OrgId, TeamId};
use crate::limits::Limits;

/// The team of keys that name none; made when the first such key is.
pub const DEFAULT_TEAM: &str = "default";
/// Most letters of a name or a note.
const TEXT_MAX: usize = 500;
/// Most notes of a holder, and most elements of a list.
const LIST_MAX: usize = 200;
/// Longest overlap of a rotation: a value that is good for longer has not been rotated.
const OVERLAP_MAX_S: u64 = 90 * 86_400;

/// Holders from one source.
#[derive(Debug, Clone, Default)]
pub struct Holders {
    /// By id.
    pub orgs: BTreeMap<OrgId, Org>,
    /// By id.
    pub teams: BTreeMap<TeamId, Team>,
    /// By id.
    pub keys: BTreeMap<String, ClientKey>,
}

/// All holders.
#[derive(Debug, Default)]
pub struct Register {
    files: Holders,
    made: Holders,
}

/// A holder as it shall be, or that it shall not be any more.
// There are one or two of them, for as long as an order takes.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It is made or changed.
    Put(Holder),
    /// It is removed.
    Remove(Kind, String),
}

/// Returns whether `text` is an identifier: `[a-z][a-z0-9_]*` without `__`, which an environment name can spell too.
pub fn is_id(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && !text.contains("__")
}

impl Register {
    /// Puts what files define now in the place of what they defined before.
    pub fn take_files(&mut self, files: Holders) {
        self.files = files;
    }

    /// Makes `step` so.
    pub fn apply(&mut self, step: Step) {
        let made = &mut self.made;
        match step {
            Step::Put(Holder::Org(org)) => drop(made.orgs.insert(org.id.clone(), org)),
            Step::Put(Holder::Team(team)) => drop(made.teams.insert(team.id.clone(), team)),
            Step::Put(Holder::Key(key)) => drop(made.keys.insert(key.id.clone(), key)),
            Step::Remove(Kind::Org, id) => drop(made.orgs.remove(&OrgId::from(id))),
            Step::Remove(Kind::Team, id) => drop(made.teams.remove(&TeamId::from(id))),
            Step::Remove(Kind::Key, id) => drop(made.keys.remove(&id)),
        }
    }

    /// Returns the organisation.
    pub fn org(&self, id: &OrgId) -> Option<&Org> {
        self.files.orgs.get(id).or_else(|| self.made.orgs.get(id))
    }

    /// Returns the team.
    pub fn team(&self, id: &TeamId) -> Option<&Team> {
        self.files.teams.get(id).or_else(|| self.made.teams.get(id))
    }

    /// Returns the client key.
    pub fn key(&self, id: &str) -> Option<&ClientKey> {
        self.files.keys.get(id).or_else(|| self.made.keys.get(id))
    }

    /// Returns every organisation: those of files first, each by its id.
    pub fn orgs(&self) -> impl Iterator<Item = &Org> {
        let made = self.made.orgs.values().filter(|org| !self.files.orgs.contains_key(&org.id));
        self.files.orgs.values().chain(made)
    }

    /// Returns every team, likewise.
    pub fn teams(&self) -> impl Iterator<Item = &Team> {
        let made = self.made.teams.values().filter(|team| !self.files.teams.contains_key(&team.id));
        self.files.teams.values().chain(made)
    }

    /// Returns every client key, likewise.
    pub fn keys(&self) -> impl Iterator<Item = &ClientKey> {
        let made = self.made.keys.values().filter(|key| !self.files.keys.contains_key(&key.id));
        self.files.keys.values().chain(made)
    }

    /// Returns how many client keys there are.
    pub fn count_keys(&self) -> usize {
        let both = self.files.keys.keys().filter(|id| self.made.keys.contains_key(*id)).count();
        self.files.keys.len() + self.made.keys.len() - both
    }

    /// Returns one holder, for whoever may see all or `within` one team only.
    pub fn find(&self, kind: Kind, id: &str, within: Option<&TeamId>) -> Result<Holder, Denied> {
        let seen = |team: &TeamId| within.is_none_or(|within| within == team);
        let found = match kind {
            Kind::Org => self.org(&id.into()).filter(|_| within.is_none()).cloned().map(Holder::Org),
            Kind::Team => self.team(&id.into()).filter(|team| seen(&team.id)).cloned().map(Holder::Team),
            Kind::Key => self.key(id).filter(|key| seen(&key.team)).cloned().map(Holder::Key),
        };
        found.ok_or_else(|| Denied::NotFound(kind, id.to_owned()))
    }

    /// Returns what the ids that files took from the admin API mean, in words that name both; and which keys have no team.
    pub fn warnings(&self) -> Vec<String> {
        let of = |kind: Kind, id: &str, owner: &Owner| {
            let what = kind.as_str();
            format!("{what} `{id}` is defined in {owner} and was made by the admin API too; the file wins")
        };
        let (files, made) = (&self.files, &self.made);
        let orgs = files.orgs.values().filter(|org| made.orgs.contains_key(&org.id));
        let teams = files.teams.values().filter(|team| made.teams.contains_key(&team.id));
        let keys = files.keys.values().filter(|key| made.keys.contains_key(&key.id));
        let homeless = self.keys().filter(|key| self.team(&key.team).is_none());
        orgs.map(|org| of(Kind::Org, org.id.as_str(), &org.owner))
            .chain(teams.map(|team| of(Kind::Team, team.id.as_str(), &team.owner)))
            .chain(keys.map(|key| of(Kind::Key, &key.id, &key.owner)))
            .chain(homeless.map(|key| {
                format!("client key `{}` is refused: its team `{}` is not defined any more", key.id, key.team)
            }))
            .collect()
    }

    /// Returns whom the values of `key` stand for.
    pub fn identities(&self, key: &ClientKey) -> HashMap<KeyHash, Arc<Identity>> {
        let Some((team, org)) = self.whole(&key.team) else { return HashMap::new() };
        key.secrets.iter().map(|secret| secret.hash).zip(identity(key, team, org)).collect()
    }

    /// Returns what whoever belongs to `team` may do.
    pub fn of_team(&self, team: &TeamId) -> Option<Identity> {
        self.whole(team).map(|(team, org)| Identity::of_team(team, org))
    }

    /// Returns the team with its organisation; none if it is gone, or its organisation is: what that would have forbidden,
    /// nobody knows.
    fn whole(&self, team: &TeamId) -> Option<(&Team, Option<&Org>)> {
        let team = self.team(team)?;
        match &team.org {
            None => Some((team, None)),
            Some(org) => self.org(org).map(|org| (team, Some(org))),
        }
    }

    /// Decides over `order`: what is to be done, in one go, and what to answer then. `fresh` gives a new key and its hash.
    pub fn decide(
        &self,
        order: &Order,
        fresh: &mut dyn FnMut() -> (NewKey, KeyHash),
    ) -> Result<(Vec<Step>, Done), Denied> {
        if let Act::Create(wish) = &order.act {
            return self.create(order, wish, fresh);
        }
        let found = self.find(order.kind, &order.id, order.within.as_ref())?;
        let owner = match &found {
            Holder::Org(org) => &org.owner,
            Holder::Team(team) => &team.owner,
            Holder::Key(key) => &key.owner,
        };
        if let Owner::File(place) = owner {
            return Err(Denied::OfFile(order.kind, order.id.clone(), place.clone()));
        }
        // A team's admin answers for its keys; what the team itself may do is for those above it.
        if order.within.is_some() && order.kind != Kind::Key {
            return Err(Denied::NotFound(order.kind, order.id.clone()));
        }
        match (&order.act, found) {
            (Act::Update(wish), found) => self.update(wish, found),
            (Act::Delete, found) => self.delete(found),
            (act, Holder::Key(key)) => changed(act, key, order.now_s, fresh),
            (_, Holder::Org(_) | Holder::Team(_)) => {
                Err(Denied::Invalid(format!("this can be done to a client key, not to a {}", order.kind.as_str())))
            }
        }
    }

    fn create(
        &self,
        order: &Order,
        wish: &Wish,
        fresh: &mut dyn FnMut() -> (NewKey, KeyHash),
    ) -> Result<(Vec<Step>, Done), Denied> {
        if order.within.is_some() && order.kind != Kind::Key {
            return Err(Denied::NotFound(order.kind, order.id.clone()));
        }
        let made = (order.kind == Kind::Key).then(fresh);
        let id = match &made {
            Some((new, _)) if order.id.is_empty() => format!("key_{}", new.public),
            _ => order.id.clone(),
        };
        if !is_id(&id) || id.len() > 64 {
            return Err(Denied::Invalid(format!(
                "`{id}` is no id; ids start with a-z and go on with a-z, 0-9 and single _, at most 64 of them"
            )));
        }
        if let Ok(found) = self.find(order.kind, &id, None) {
            let owner = match found {
                Holder::Org(org) => org.owner,
                Holder::Team(team) => team.owner,
                Holder::Key(key) => key.owner,
            };
            return Err(Denied::Taken(order.kind, id, owner));
        }
        let name = id.clone();
        let (scope, tags, metadata, owner) = (Scope::default(), Notes::new(), Notes::new(), Owner::Api);
        let (limits, budgets) = (Limits::default(), Vec::new());
        let (blank, before) = match (order.kind, &made) {
            (Kind::Org, _) => {
                let id = id.into();
                (Holder::Org(Org { id, name, scope, limits, budgets, tags, metadata, owner }), None)
            }
            (Kind::Team, _) => (Holder::Team(Team::new(id.into(), &name)), None),
            (Kind::Key, made) => {
                let (team, before) = self.team_of_new(wish, order.within.as_ref())?;
                let secrets = made.iter().map(|(_, hash)| KeySecret { hash: *hash, until: None }).collect();
                let public = made.as_ref().map(|(new, _)| new.public.clone()).unwrap_or_default();
                let key = ClientKey {
                    id,
                    team,
                    name,
                    public,
                    secrets,
                    scope,
                    limits,
                    budgets,
                    expires: None,
                    disabled: false,
                    revoked: false,
                    created: order.now_s,
                    tags,
                    metadata,
                    owner,
                };
                (Holder::Key(key), before)
            }
        };
        let (mut steps, mut done) = self.update(wish, blank)?;
        steps.splice(0..0, before.map(|team| Step::Put(Holder::Team(team))));
        done.value = made.map(|(new, _)| new);
        Ok((steps, done))
    }

    /// Returns the team of a new key, and that team itself where it has to be made.
    fn team_of_new(&self, wish: &Wish, within: Option<&TeamId>) -> Result<(TeamId, Option<Team>), Denied> {
        let default = TeamId::from(DEFAULT_TEAM);
        let id = wish.team.clone().unwrap_or_else(|| within.cloned().unwrap_or_else(|| default.clone()));
        if within.is_some_and(|within| *within != id) {
            return Err(Denied::NotFound(Kind::Team, id.to_string()));
        }
        match self.team(&id) {
            Some(_) => Ok((id, None)),
            None if id == default => {
                let team = Team::new(id.clone(), "Default");
                Ok((id, Some(team)))
            }
            None => {
                let known: Vec<&str> = self.teams().take(20).map(|team| team.id.as_str()).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                Err(Denied::Invalid(format!("there is no team `{id}`; known: {known}")))
            }
        }
    }

    fn update(&self, wish: &Wish, found: Holder) -> Result<(Vec<Step>, Done), Denied> {
        check(wish)?;
        let holder = match found {
            Holder::Org(mut org) => {
                put(&mut org.name, &wish.name);
                put(&mut org.tags, &wish.tags);
                put(&mut org.metadata, &wish.metadata);
                narrow(&mut org.scope, wish);
                limit(&mut org.limits, &wish.limits);
                put(&mut org.budgets, &wish.budgets);
                downgrades_stay_within(&org.budgets, &org.scope, &format!("organisation `{}`", org.id))?;
                Holder::Org(org)
            }
            Holder::Team(mut team) => {
                put(&mut team.name, &wish.name);
                put(&mut team.tags, &wish.tags);
                put(&mut team.metadata, &wish.metadata);
                put(&mut team.org, &wish.org);
                narrow(&mut team.scope, wish);
                limit(&mut team.limits, &wish.limits);
                limit(&mut team.user_limits, &wish.user_limits);
                put(&mut team.budgets, &wish.budgets);
                put(&mut team.members_budgets, &wish.members_budgets);
                let mut may_use = team.scope.clone();
                if let Some(id) = &team.org {
                    let org =
                        self.org(id).ok_or_else(|| Denied::Invalid(format!("there is no organisation `{id}`")))?;
                    within(&team.scope, &org.scope, &format!("organisation `{id}`"))?;
                    may_use = may_use.within(&org.scope);
                }
                let budgets = team.budgets.iter().chain(&team.members_budgets);
                downgrades_stay_within(budgets, &may_use, &format!("team `{}`", team.id))?;
                Holder::Team(team)
            }
            Holder::Key(mut key) => {
                if key.revoked {
                    return Err(Denied::Conflict(format!("client key `{}` is revoked, which is final", key.id)));
                }
                put(&mut key.name, &wish.name);
                put(&mut key.tags, &wish.tags);
                put(&mut key.metadata, &wish.metadata);
                put(&mut key.expires, &wish.expires);
                narrow(&mut key.scope, wish);
                limit(&mut key.limits, &wish.limits);
                put(&mut key.budgets, &wish.budgets);
                if let Some(team) = self.team(&key.team) {
                    let org = team.org.as_ref().and_then(|org| self.org(org));
                    let parent = org.map_or_else(|| team.scope.clone(), |org| team.scope.within(&org.scope));
                    within(&key.scope, &parent, &format!("team `{}`", team.id))?;
                    let may_use = key.scope.within(&parent);
                    downgrades_stay_within(&key.budgets, &may_use, &format!("client key `{}`", key.id))?;
                }
                Holder::Key(key)
            }
        };
        Ok((vec![Step::Put(holder.clone())], Done { holder, value: None }))
    }

    fn delete(&self, found: Holder) -> Result<(Vec<Step>, Done), Denied> {
        let (kind, id, children, what) = match &found {
            Holder::Org(org) => {
                let children = self.teams().filter(|team| team.org.as_ref() == Some(&org.id)).count();
                (Kind::Org, org.id.to_string(), children, "teams")
            }
            Holder::Team(team) => {
                let children = self.keys().filter(|key| key.team == team.id).count();
                (Kind::Team, team.id.to_string(), children, "client keys")
            }
            Holder::Key(key) => (Kind::Key, key.id.clone(), 0, ""),
        };
        if children > 0 {
            let kind = kind.as_str();
            return Err(Denied::Conflict(format!("{kind} `{id}` still has {children} {what}; delete these first")));
        }
        Ok((vec![Step::Remove(kind, id)], Done { holder: found, value: None }))
    }
}

/// Does to a key what only keys know.
fn changed(
    act: &Act,
    mut key: ClientKey,
    now_s: u64,
    fresh: &mut dyn FnMut() -> (NewKey, KeyHash),
) -> Result<(Vec<Step>, Done), Denied> {
    if key.revoked && !matches!(act, Act::Revoke) {
        return Err(Denied::Conflict(format!("client key `{}` is revoked, which is final; create another", key.id)));
    }
    let mut value = None;
    match act {
        Act::Rotate { overlap_s } if *overlap_s > OVERLAP_MAX_S => {
            return Err(Denied::Invalid("the old value may stay good for 90 days at most".to_owned()));
        }
        Act::Rotate { overlap_s } => {
            let (new, hash) = fresh();
            let end = now_s.saturating_add(*overlap_s);
            for secret in &mut key.secrets {
                secret.until = Some(secret.until.map_or(end, |until| until.min(end)));
            }
            key.secrets.retain(|secret| secret.until.is_none_or(|until| until > now_s));
            key.secrets.insert(0, KeySecret { hash, until: None });
            key.public.clone_from(&new.public);
            value = Some(new);
        }
        Act::Disable => key.disabled = true,
        Act::Enable => key.disabled = false,
        // Its hashes go, so that not even an older file of the store lets it in by mistake of a later version.
        Act::Revoke => (key.revoked, key.secrets) = (true, Vec::new()),
        Act::Create(_) | Act::Update(_) | Act::Delete => {}
    }
    let holder = Holder::Key(key);
    Ok((vec![Step::Put(holder.clone())], Done { holder, value }))
}

fn put<T: Clone>(place: &mut T, wish: &Option<T>) {
    if let Some(wish) = wish {
        place.clone_from(wish);
    }
}

fn narrow(scope: &mut Scope, wish: &Wish) {
    put(&mut scope.models, &wish.models);
    put(&mut scope.providers, &wish.providers);
    put(&mut scope.regions, &wish.regions);
    put(&mut scope.endpoints, &wish.endpoints);
    put(&mut scope.networks, &wish.networks);
}

fn limit(limits: &mut Limits, changes: &[LimitChange]) {
    changes.iter().for_each(|(limit, figure)| limits.set(*limit, *figure));
}

fn within(scope: &Scope, parent: &Scope, whose: &str) -> Result<(), Denied> {
    match scope.exceeds(parent) {
        None => Ok(()),
        Some(excess) => Err(Denied::Invalid(format!("this is more than its {whose} may use ({excess})"))),
    }
}

/// Checks the form of what is wished for; what it means is for others to judge.
fn check(wish: &Wish) -> Result<(), Denied> {
    let text = |what: &str, text: &str| {
        let fine = text.chars().count() <= TEXT_MAX && !text.contains(char::is_control);
        let why = || Denied::Invalid(format!("{what} has more than {TEXT_MAX} letters, or control characters"));
        if fine { Ok(()) } else { Err(why()) }
    };
    text("name", wish.name.as_deref().unwrap_or_default())?;
    for (what, notes) in [("tags", &wish.tags), ("metadata", &wish.metadata)] {
        let notes = notes.iter().flatten();
        if notes.clone().count() > LIST_MAX {
            return Err(Denied::Invalid(format!("{what} has more than {LIST_MAX} entries")));
        }
        for (name, value) in notes {
            text(what, name).and_then(|()| text(what, value))?;
        }
    }
    let lists = [
        ("models", &wish.models),
        ("providers", &wish.providers),
        ("regions", &wish.regions),
        ("endpoints", &wish.endpoints),
    ];
    let lists = lists.map(|(what, names)| (what, names.as_ref().and_then(|names| names.list())));
    for (what, list) in lists.iter().filter_map(|(what, list)| Some((what, (*list)?))) {
        if list.is_empty() || list.len() > LIST_MAX {
            let why = format!("{what} has {} entries; write 1 to {LIST_MAX}, or [\"*\"] for all", list.len());
            return Err(Denied::Invalid(why));
        }
        list.iter().try_for_each(|name| text(what, name))?;
    }
    match &wish.networks {
        Some(Some(list)) if list.is_empty() || list.len() > LIST_MAX => {
            Err(Denied::Invalid(format!("networks has {} entries; write 1 to {LIST_MAX}, or null for any", list.len())))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "register_tests.rs"]
mod tests;
