//! Budgets: those of every holder, and `[budgets]`.
//!
//! They are taken out of the raw shape before anything else is checked, and checked after everything else: what they name
//! has to exist by then.

mod hand;
mod one;
mod policy;

use std::collections::{BTreeMap, BTreeSet};

use bursar_actors::access::{ClientKey, Org, Scope, Team};
use bursar_actors::budget::{Act, BudgetSpec, Period, Table, Zone};
use bursar_actors::limits::Holder;
use bursar_actors::{OrgId, TeamId};

use super::circles::{circles, walk};
use super::limits::{is_model_name, tag};
use super::{Checker, Taken};
use crate::config::budgets::BudgetPolicy;
use crate::config::fault::Fault;
use crate::config::layer::{child, item};
use crate::config::one_or_many::OneOrMany;
use crate::config::raw::{Amount, RawBudget, RawBudgets, RawConfig};
use crate::config::{Models, Provider};

pub use hand::by_hand;

/// Whose budgets they are.
pub(super) enum Whose {
    Holder(Holder),
    /// Of each end user of the team.
    Members(TeamId),
}

/// The budgets of one holder as they were written.
pub(super) struct Written {
    whose: Whose,
    /// With the path of each.
    budgets: Vec<(String, RawBudget)>,
    /// `monthly_budget` of a provider's key, with its path.
    monthly: Option<(String, Amount)>,
}

impl Written {
    fn of(holder: Holder, path: &str, budgets: &mut OneOrMany<RawBudget>) -> Self {
        Self { whose: Whose::Holder(holder), budgets: std::mem::take(budgets).placed(path), monthly: None }
    }

    fn is_empty(&self) -> bool {
        self.budgets.is_empty() && self.monthly.is_none()
    }
}

/// What budgets may name.
pub(super) struct Known<'k> {
    pub providers: &'k BTreeMap<String, Provider>,
    /// Written, but left out.
    pub skipped: &'k BTreeSet<String>,
    pub models: &'k Models,
    pub orgs: &'k BTreeMap<OrgId, Org>,
    pub teams: &'k BTreeMap<TeamId, Team>,
    pub keys: &'k [ClientKey],
}

/// Takes the budgets of all holders that have tables of their own out of `raw`.
pub(super) fn written(raw: &mut RawConfig) -> Vec<Written> {
    let mut all = Vec::new();
    for (id, org) in &mut raw.orgs {
        let path = child(&child("orgs", id), "budget");
        all.push(Written::of(Holder::Org(OrgId::from(id.as_str())), &path, &mut org.budget));
    }
    for (id, team) in &mut raw.teams {
        let (path, id) = (child("teams", id), TeamId::from(id.as_str()));
        all.push(Written::of(Holder::Team(id.clone()), &child(&path, "budget"), &mut team.budget));
        let budgets = std::mem::take(&mut team.members_budget).placed(&child(&path, "members_budget"));
        all.push(Written { whose: Whose::Members(id), budgets, monthly: None });
    }
    for (index, key) in raw.client_keys.iter_mut().enumerate() {
        let path = child(&item("client_keys", index), "budget");
        let holder = Holder::Key(key.id.as_deref().unwrap_or_default().into());
        all.push(Written::of(holder, &path, &mut key.budget));
    }
    for (provider, raw) in &mut raw.providers {
        let list = child(&child("providers", provider), "keys");
        for (index, key) in raw.keys.iter_mut().enumerate() {
            let path = item(&list, index);
            let id = key.id.as_deref().unwrap_or_default();
            let holder = Holder::ProviderKey(provider.as_str().into(), id.into());
            let monthly = key.monthly_budget.take().map(|amount| (child(&path, "monthly_budget"), amount));
            all.push(Written { monthly, ..Written::of(holder, &child(&path, "budget"), &mut key.budget) });
        }
    }
    for (name, alias) in &mut raw.models.alias {
        let path = child(&child("models.alias", name), "budget");
        all.push(Written::of(Holder::Model(name.as_str().into()), &path, &mut alias.budget));
    }
    all.retain(|written| !written.is_empty());
    all
}

/// Checks the budgets that were `written` with their holders, and `[budgets]`.
pub(super) fn budgets(
    checker: &mut Checker<'_>,
    mut written: Vec<Written>,
    mut raw: RawBudgets,
    known: &Known<'_>,
) -> (Table, BudgetPolicy) {
    for (name, mut budgets) in std::mem::take(&mut raw.models) {
        let path = child("budgets.models", &name);
        is_model_name(checker, "budgets", &name, known.providers, known.skipped);
        written.push(Written::of(Holder::Model(name.into()), &path, &mut budgets));
    }
    for (name, mut budgets) in std::mem::take(&mut raw.tags) {
        let path = child("budgets.tags", &name);
        tag(checker, "budgets", &name);
        written.push(Written::of(Holder::Tag(name.into()), &path, &mut budgets));
    }
    let policy = policy::policy(checker, &raw);
    let mut table = Table::default();
    let mut aliases = BTreeMap::new();
    for written in written {
        let first = written.budgets.first().map(|(path, _)| path.clone());
        let may_use = scope_of(&written.whose, known);
        let ground = one::Ground {
            zone: &policy.zone,
            models: known.models,
            whose: Some(&written.whose),
            scope: may_use.as_ref(),
        };
        let specs = specs(checker, written.budgets, written.monthly, &ground);
        match written.whose {
            Whose::Members(team) => _ = table.members.insert(team, specs.into()),
            Whose::Holder(holder) => {
                if let (Holder::Model(name), Some(path)) = (&holder, &first) {
                    let to = specs.iter().flat_map(|spec| &spec.steps).filter_map(|step| match &step.act {
                        Act::Downgrade { to } => to.clone(),
                        _ => None,
                    });
                    aliases.insert(name.to_string(), (path.clone(), to.collect()));
                }
                if is_there(&holder, known) && table.holders.insert(holder.clone(), specs.into()).is_some() {
                    let message = format!("{holder} has a budget in [budgets.models] and one as an alias; keep one");
                    checker.fault(&first.unwrap_or_default(), message);
                }
            }
        }
    }
    downgrades_in_circles(checker, &aliases);
    (table, policy)
}

/// Reports where the books that budgets count by are switched off.
pub(super) fn need_books(checker: &mut Checker<'_>, table: &Table, enabled: bool) {
    if !enabled && !table.is_empty() {
        let fault = Fault::error("audit.enabled is false, but budgets count what the books record");
        checker.report("audit.enabled", fault.help("set audit.enabled = true, or take the budgets out"));
    }
}

/// Returns whether the holder was not left out for want of a value.
fn is_there(holder: &Holder, known: &Known<'_>) -> bool {
    match holder {
        Holder::Key(id) => known.keys.iter().any(|key| *key.id == **id),
        Holder::ProviderKey(provider, id) => known
            .providers
            .get(&**provider)
            .is_some_and(|provider| provider.keys.iter().any(|key| key.id.as_str() == &**id)),
        _ => true,
    }
}

fn specs(
    checker: &mut Checker<'_>,
    budgets: Vec<(String, RawBudget)>,
    monthly: Option<(String, Amount)>,
    ground: &one::Ground<'_>,
) -> Vec<BudgetSpec> {
    let mut specs = Vec::new();
    let mut taken = Taken::default();
    if let Some((path, amount)) = monthly
        && let Some(amount_nano) = one::amount(checker, &path, &amount)
    {
        let (period, zone) = (Period::Month, Zone::default());
        taken.take(&period.to_string(), &path);
        specs.push(BudgetSpec {
            id: period.to_string(),
            amount_nano,
            period,
            zone,
            rollover_ppm: 0,
            soft: false,
            steps: vec![],
        });
    }
    for (path, raw) in budgets {
        let Some(spec) = one::budget(checker, &path, raw, ground) else { continue };
        if let Some(first) = taken.take(&spec.id, &path) {
            let fault = Fault::error(format!("budget id `{}` is taken by {}", spec.id, checker.placed(&first)));
            checker.report(&path, fault.help("without an `id` it is the word of its period; give one of them another"));
        }
        specs.push(spec);
    }
    specs
}

/// Returns what the holder may use, within what those above it may; `None` where that is no question.
fn scope_of(whose: &Whose, known: &Known<'_>) -> Option<Scope> {
    let org = |id: &OrgId| known.orgs.get(id).map(|org| org.scope.clone());
    let team = |id: &TeamId| {
        let team = known.teams.get(id)?;
        let above = team.org.as_ref().and_then(org);
        Some(above.map_or_else(|| team.scope.clone(), |above| team.scope.within(&above)))
    };
    match whose {
        Whose::Members(id) | Whose::Holder(Holder::Team(id)) => team(id),
        Whose::Holder(Holder::Org(id)) => org(id),
        Whose::Holder(Holder::Key(id)) => {
            let key = known.keys.iter().find(|key| *key.id == **id)?;
            Some(team(&key.team).map_or_else(|| key.scope.clone(), |above| key.scope.within(&above)))
        }
        Whose::Holder(_) => None,
    }
}

/// Reports aliases whose budgets send requests around. `aliases` holds the path of each one's budget and where it leads.
fn downgrades_in_circles(checker: &mut Checker<'_>, aliases: &BTreeMap<String, (String, Vec<String>)>) {
    let next = aliases.iter().map(|(name, (_, to))| (name.clone(), to.clone())).collect();
    for circle in circles(&next) {
        let path = aliases.get(&circle[0]).map(|(path, _)| path.as_str()).unwrap_or_default();
        checker.fault(path, format!("the downgrades go in a circle: {}", walk(&circle)));
    }
}

#[cfg(test)]
mod tests;
