//! What organisations, teams and client keys may spend, where the admin API made them.

use std::sync::Arc;

use actix::{Handler, Message};

use super::directory::Directory;
use super::holder::Owner;
use super::order::Denied;
use super::register::Register;
use super::scope::Scope;
use crate::budget::{Act, BudgetSpec, Table};
use crate::limits::Holder;

/// Asks for the budgets of all that the admin API made. Those of files are not among them.
#[derive(Message, Debug)]
#[rtype(result = "Table")]
pub struct Budgets;

impl Register {
    /// Returns the budgets of all that the admin API made and no file has taken the id of.
    pub fn budgets(&self) -> Table {
        let mut table = Table::default();
        let orgs = self.orgs().filter(|org| org.owner == Owner::Api);
        let teams = || self.teams().filter(|team| team.owner == Owner::Api);
        let keys = self.keys().filter(|key| key.owner == Owner::Api);
        let of_orgs = orgs.map(|org| (Holder::Org(org.id.clone()), &org.budgets));
        let of_teams = teams().map(|team| (Holder::Team(team.id.clone()), &team.budgets));
        let of_keys = keys.map(|key| (Holder::Key(key.id.as_str().into()), &key.budgets));
        for (holder, budgets) in of_orgs.chain(of_teams).chain(of_keys).filter(|(_, budgets)| !budgets.is_empty()) {
            table.holders.insert(holder, Arc::from(budgets.as_slice()));
        }
        for team in teams().filter(|team| !team.members_budgets.is_empty()) {
            table.members.insert(team.id.clone(), Arc::from(team.members_budgets.as_slice()));
        }
        table
    }
}

/// Checks that no step of `budgets` sends requests to an alias outside `scope`. `whose` is for the refusal.
pub(super) fn downgrades_stay_within<'b>(
    budgets: impl IntoIterator<Item = &'b BudgetSpec>,
    scope: &Scope,
    whose: &str,
) -> Result<(), Denied> {
    for budget in budgets {
        let aliases = budget.steps.iter().filter_map(|step| match &step.act {
            Act::Downgrade { to } => to.as_deref(),
            _ => None,
        });
        if let Some(alias) = aliases.into_iter().find(|alias| !scope.models.allow(alias)) {
            let id = &budget.id;
            let why = format!("budget `{id}` sends requests to alias `{alias}`, which {whose} may not use");
            return Err(Denied::Invalid(why));
        }
    }
    Ok(())
}

impl Handler<Budgets> for Directory {
    type Result = actix::MessageResult<Budgets>;

    fn handle(&mut self, _: Budgets, _: &mut Self::Context) -> Self::Result {
        actix::MessageResult(self.budgets())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{ClientKey, Holders, Kind, Names, Order, Team, Wish};
    use super::*;
    use crate::access;
    use crate::budget::{Period, Step, Zone};

    fn budget(id: &str, to: Option<&str>) -> BudgetSpec {
        let steps = to.map(|to| Step { at_ppm: 800_000, act: Act::Downgrade { to: Some(to.to_owned()) } });
        BudgetSpec {
            id: id.to_owned(),
            amount_nano: 5_000_000_000,
            period: Period::Month,
            zone: Zone::default(),
            rollover_ppm: 0,
            soft: false,
            steps: steps.into_iter().collect(),
        }
    }

    fn order(kind: Kind, id: &str, act: access::Act) -> Order {
        Order { kind, id: id.to_owned(), act, within: None, now_s: 1_800_000_000 }
    }

    fn wish(budget: BudgetSpec) -> Wish {
        Wish { budgets: Some(vec![budget]), ..Wish::default() }
    }

    #[test]
    fn the_table_has_what_was_made_by_hand_and_nothing_that_a_file_took_over() {
        let mut directory = Directory::in_memory();
        directory.order(&order(Kind::Org, "acme", access::Act::Create(wish(budget("a", None))))).unwrap();
        let team = Wish { members_budgets: Some(vec![budget("m", None)]), ..wish(budget("b", None)) };
        directory.order(&order(Kind::Team, "search", access::Act::Create(team))).unwrap();
        let key = Wish { team: Some("search".into()), ..wish(budget("c", None)) };
        directory.order(&order(Kind::Key, "ci", access::Act::Create(key))).unwrap();

        let table = directory.budgets();
        let ids = |holder: &Holder| table.of(holder).map(|budgets| budgets[0].id.clone());
        assert_eq!(ids(&Holder::Org("acme".into())).as_deref(), Some("a"));
        assert_eq!(ids(&Holder::Team("search".into())).as_deref(), Some("b"));
        assert_eq!(ids(&Holder::Key("ci".into())).as_deref(), Some("c"));
        assert_eq!(ids(&Holder::User("search".into(), "u_1".into())).as_deref(), Some("m"));

        let none = Wish { budgets: Some(vec![]), ..Wish::default() };
        directory.order(&order(Kind::Key, "ci", access::Act::Update(none))).unwrap();
        directory.order(&order(Kind::Key, "ci", access::Act::Update(Wish::default()))).unwrap();
        let of_file = Team { owner: Owner::File("bursar.toml:1:1".into()), ..Team::new("search".into(), "Search") };
        let teams = [(of_file.id.clone(), of_file)].into();
        directory.take_files(Holders { teams, ..Holders::default() });

        let table = directory.budgets();
        let holders: Vec<_> = table.holders.keys().cloned().collect();
        assert_eq!((holders, table.members.len()), (vec![Holder::Org("acme".into())], 0));
    }

    #[test]
    fn no_budget_sends_requests_where_its_holder_may_not_go() {
        let mut directory = Directory::in_memory();
        let names = |list: &[&str]| Some(Names::of(list.iter().map(|name| (*name).to_owned())));
        let team = |to: &str| Wish { models: names(&["fast", "smart"]), ..wish(budget("month", Some(to))) };

        let denied = directory.order(&order(Kind::Team, "search", access::Act::Create(team("other")))).unwrap_err();
        directory.order(&order(Kind::Team, "search", access::Act::Create(team("fast")))).unwrap();
        let key = Wish { team: Some("search".into()), ..wish(budget("day", Some("other"))) };
        let of_key = directory.order(&order(Kind::Key, "ci", access::Act::Create(key))).unwrap_err();
        let narrower = Wish { models: names(&["smart"]), ..Wish::default() };
        let narrowed = directory.order(&order(Kind::Team, "search", access::Act::Update(narrower))).unwrap_err();

        let words = "budget `month` sends requests to alias `other`, which team `search` may not use";
        assert_eq!(denied.to_string(), words);
        assert!(of_key.to_string().contains("client key `ci` may not use"), "{of_key}");
        assert!(narrowed.to_string().contains("alias `fast`, which team `search` may not use"), "{narrowed}");
    }

    #[test]
    fn a_record_of_before_there_were_budgets_is_read() {
        let written = r#"{"id":"ci","team":"search","secrets":[],"owner":"api"}"#;

        let key: ClientKey = serde_json::from_str(written).unwrap();
        let kept = ClientKey { budgets: vec![budget("month", Some("fast"))], ..key };
        let read: ClientKey = serde_json::from_slice(&serde_json::to_vec(&kept).unwrap()).unwrap();

        assert_eq!(read, kept);
    }
}
