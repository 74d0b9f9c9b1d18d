//! The ledger against plain sums, over cuts, restarts, damage and other logs; steps told once, and budgets that stay raised.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use proptest::prelude::*;

use super::*;
use crate::audit::journal::JournalOptions;
use crate::audit::record::{Phase, Record};
use crate::budget::ledger::{Dimension, Sums, ledger_path};
use crate::budget::{Act, BudgetSpec, Period, Quote, Step, WHOLE_PPM, Zone};

/// Noon of 2026-12-15, UTC.
const NOW: i64 = 1_797_336_000;

/// One request that has ended.
#[derive(Debug, Clone)]
struct Spent {
    team: usize,
    model: usize,
    /// Days before [`NOW`].
    ago: i64,
    cost: u64,
    failed: bool,
}

fn spent() -> impl Strategy<Value = Spent> {
    (0..3_usize, 0..2_usize, 0..40_i64, 0..1_000_u64, any::<bool>())
        .prop_map(|(team, model, ago, cost, failed)| Spent { team, model, ago, cost, failed })
}

fn record(spent: &Spent, call: u64) -> Vec<u8> {
    let (team, model) = (["a", "b", "c"][spent.team], ["m1", "m2"][spent.model]);
    let record = Record {
        at_us: NOW.cast_unsigned() * 1_000_000,
        began_us: Some((NOW - spent.ago * 86_400).cast_unsigned() * 1_000_000),
        phase: Some(Phase::Completed),
        call: Some(call),
        org: Some("acme".into()),
        team: Some(team.into()),
        actor: Some("k".into()),
        provider: Some("p".into()),
        model: Some(model.into()),
        outcome: Some(if spent.failed { "failed" } else { "served" }.into()),
        cost_nano: Some(spent.cost),
        tags: vec!["env=prod".into()],
        ..Record::default()
    };
    record.to_tail()
}

fn journal(path: &Path) -> Journal {
    Journal::open(JournalOptions::new(path)).unwrap().0
}

fn append(journal: &Journal, spent: &[Spent], from: u64) {
    let mut last = None;
    for (call, spent) in (from..).zip(spent) {
        last = Some(journal.append(journal::Entry { tail: record(spent, call), body: None }, Durability::Strict));
    }
    last.into_iter().for_each(|ticket| _ = ticket.wait().unwrap());
}

fn table() -> Table {
    let steps = vec![Step { at_ppm: WHOLE_PPM / 2, act: Act::Notify }, Step { at_ppm: WHOLE_PPM, act: Act::Block }];
    let spec = |id: &str, period| BudgetSpec {
        id: id.into(),
        amount_nano: 1_000,
        period,
        zone: Zone::default(),
        rollover_ppm: WHOLE_PPM / 4,
        soft: false,
        steps: steps.clone(),
    };
    let both: Arc<[BudgetSpec]> =
        vec![spec("month", Period::Month), spec("week", Period::Rolling { seconds: 7 * 86_400 })].into();
    let holders = [Holder::Team("a".into()), Holder::Org("acme".into()), Holder::Model("p/m1".into())];
    Table { holders: holders.into_iter().map(|holder| (holder, both.clone())).collect(), ..Table::default() }
}

type Told = Arc<Mutex<Vec<Notice>>>;

fn budget(journal: &Journal) -> (Budget, Told) {
    let told = Told::default();
    let hook = told.clone();
    let options = BudgetOptions {
        accounts: Arc::default(),
        run_from: journal.durable(),
        wall: Arc::new(|| NOW.cast_unsigned() * 1_000_000),
    };
    let mut budget = Budget::open(journal.clone(), options, &mut |_, _| {}).unwrap();
    budget.tell_to(Box::new(move |notice| hook.lock().unwrap().push(notice.clone())));
    budget.put_in_force(table()).unwrap();
    (budget, told)
}

fn by_team(budget: &Budget) -> BTreeMap<String, Sums> {
    let by = vec![Dimension::Team];
    let asked = UsageAsked { by, window: Window { start_s: i64::MIN, end_s: i64::MAX }, only: vec![] };
    let rows = budget.ledger.spending().usage(&asked).unwrap();
    rows.into_iter().map(|row| (row.by[0].clone(), row.sums)).collect()
}

/// How all accounts stand.
fn standings(budget: &Budget) -> Vec<(String, String, u64, u64, u64)> {
    let statements = budget.options.accounts.statements(NOW).into_iter();
    let figures = statements.map(|statement| {
        let standing = statement.standing;
        let limit = standing.limit_nano;
        (statement.holder.to_string(), statement.budget.id, limit, standing.posted_nano, standing.pending_nano)
    });
    figures.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_ledger_is_the_sum_of_the_records_wherever_it_was_cut(
        all in proptest::collection::vec(spent(), 1..60),
        cuts in proptest::collection::vec(0..60_usize, 0..4),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let journal = journal(folder.path());
        let mut plain: BTreeMap<String, (u64, u64, u64)> = BTreeMap::new();
        let mut posted: BTreeMap<&str, u64> = BTreeMap::new();
        for spent in &all {
            let sums = plain.entry(["a", "b", "c"][spent.team].to_owned()).or_default();
            *sums = (sums.0 + 1, sums.1 + u64::from(spent.failed), sums.2 + spent.cost);
            if spent.ago < 15 {
                *posted.entry(["a", "b", "c"][spent.team]).or_default() += spent.cost;
            }
        }
        let mut done = 0;
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(all.len())).collect();
        cuts.sort_unstable();
        // Each cut is a restart of the actor.
        for cut in cuts.into_iter().chain([all.len()]) {
            append(&journal, &all[done..cut], done as u64);
            done = cut;
            let (mut budget, _) = budget(&journal);
            prop_assert!(budget.catch_up().is_ok());
        }
        let (mut followed, _) = budget(&journal);
        let sums = by_team(&followed);
        let figures: BTreeMap<_, _> =
            sums.iter().map(|(team, sums)| (team.clone(), (sums.requests, sums.failed, sums.cost_nano))).collect();
        prop_assert_eq!(figures, plain);
        let of_a = standings(&followed).into_iter().find(|(holder, id, ..)| holder == "team `a`" && id == "month");
        prop_assert_eq!(of_a.map(|(_, _, _, posted, _)| posted), Some(posted.get("a").copied().unwrap_or_default()));
        let before = standings(&followed);
        prop_assert!(followed.rebuild("a test").is_ok());
        prop_assert_eq!(by_team(&followed), sums);
        prop_assert_eq!(standings(&followed), before.clone());
        drop(followed);
        let (again, _) = budget(&journal);
        prop_assert_eq!(standings(&again), before);
    }
}

fn spend(team: usize, cost: u64) -> Spent {
    Spent { team, model: 1, ago: 0, cost, failed: false }
}

#[test]
fn a_step_is_told_once_over_restarts_and_rebuilds() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(folder.path());
    let (mut first, told) = budget(&journal);
    append(&journal, &[spend(0, 400), spend(0, 200)], 0);
    first.catch_up().unwrap();

    let words = |told: &Told| -> Vec<String> {
        told.lock()
            .unwrap()
            .iter()
            .map(|notice| format!("{} {} {}", notice.holder, notice.budget, notice.act))
            .collect()
    };
    // What the month before left makes its limit 1,250.
    assert_eq!(words(&told), ["organisation `acme` week notify", "team `a` week notify"]);
    drop(first);
    for rebuild in [false, true] {
        let (mut again, told) = budget(&journal);
        again.catch_up().unwrap();
        if rebuild {
            again.rebuild("a test").unwrap();
        }
        append(&journal, &[spend(0, 1)], 7);
        again.catch_up().unwrap();
        assert_eq!(words(&told), [""; 0]);
    }
    let (mut last, told) = budget(&journal);
    append(&journal, &[spend(0, 500)], 9);
    last.catch_up().unwrap();
    let words = words(&told);
    assert!(["month notify", "week block"].iter().all(|step| words.contains(&format!("team `a` {step}"))), "{words:?}");
}

#[test]
fn a_budget_stays_raised_over_restarts_and_rebuilds_until_its_time_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(folder.path());
    let raise = |budget: &mut Budget, extra_nano: u64, id: &str| {
        let by = Override { extra_nano, until_s: NOW + 60, reason: "a launch".into(), by: "ann".into() };
        let order = Raise { holder: Holder::Team("a".into()), budget: id.into(), by };
        Handler::handle(budget, order, &mut Context::new())
    };
    let limit = |budget: &Budget, now_s: i64| {
        let statements = budget.options.accounts.statements(now_s);
        let of_a = statements.iter().find(|one| one.holder == Holder::Team("a".into()) && one.budget.id == "month");
        of_a.unwrap().standing.limit_nano
    };
    let (mut first, _) = budget(&journal);
    let whole = limit(&first, NOW);

    assert!(matches!(raise(&mut first, 70, "year"), Err(RaiseError::NoSuch { .. })));
    raise(&mut first, 70, "month").unwrap();
    assert_eq!(limit(&first, NOW), whole + 70);
    first.configure(table()).unwrap();
    assert_eq!(limit(&first, NOW), whole + 70);
    drop(first);
    std::fs::remove_dir_all(ledger_path(folder.path())).unwrap();
    let (mut again, _) = budget(&journal);
    assert_eq!((limit(&again, NOW), limit(&again, NOW + 60)), (whole + 70, whole));
    raise(&mut again, 0, "month").unwrap();
    drop(again);
    assert_eq!(limit(&budget(&journal).0, NOW), whole);
}

#[test]
fn what_is_held_becomes_what_is_posted_without_a_moment_of_neither_or_both() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(folder.path());
    let (mut budget, _) = budget(&journal);
    let accounts = budget.options.accounts.clone();
    let above = [Holder::Team("a".into())];
    let used = |budget: &Budget| standings(budget).iter().find(|(holder, ..)| holder == "team `a`").unwrap().clone();

    let hold = accounts.reserve(&above, 0, Quote::exact(300), NOW, None).unwrap();
    hold.settle(250, NOW);
    assert_eq!((used(&budget).3, used(&budget).4), (0, 250));
    append(&journal, &[spend(0, 250)], 0);
    budget.catch_up().unwrap();
    assert_eq!((used(&budget).3, used(&budget).4), (250, 0));
}

#[test]
fn a_ledger_of_another_log_or_with_damage_is_made_again() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (journal_one, journal_other) = (journal(one.path()), journal(other.path()));
    append(&journal_one, &[spend(0, 5), spend(1, 7)], 0);
    append(&journal_other, &[spend(0, 11)], 0);
    let sums = |journal: &Journal| by_team(&budget(journal).0)["a"].cost_nano;
    assert_eq!((sums(&journal_one), sums(&journal_other)), (5, 11));

    std::fs::remove_dir_all(ledger_path(other.path())).unwrap();
    std::fs::rename(ledger_path(one.path()), ledger_path(other.path())).unwrap();
    assert_eq!((sums(&journal_one), sums(&journal_other)), (5, 11));
    for file in std::fs::read_dir(ledger_path(one.path())).unwrap() {
        let file = file.unwrap().path();
        if file.is_file() {
            std::fs::write(file, b"no ledger at all").unwrap();
        }
    }
    assert_eq!(sums(&journal_one), 5);
}

#[test]
fn an_actor_that_runs_tells_steps_and_raises_budgets() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(folder.path());
    let system = actix::System::new();
    let (told, raised) = system.block_on(async {
        // As in the program: within the runtime, where nothing may wait as threads usually do.
        let (mut budget, told) = budget(&journal);
        append_beside(&journal, &[spend(0, 1_000)], 0);
        budget.put_in_force(table()).unwrap();
        let budget = Budget::start_in_arbiter(&actix::Arbiter::new().handle(), move |_| budget);
        append_beside(&journal, &[spend(0, 250)], 1);
        budget.send(CatchUp).await.unwrap().unwrap();
        let by = Override { extra_nano: 70, until_s: NOW + 60, reason: "a launch".into(), by: "ann".into() };
        let order = Raise { holder: Holder::Team("a".into()), budget: "month".into(), by };
        (told, budget.send(order).await.unwrap().is_ok())
    });

    let told = told.lock().unwrap().len();
    assert_eq!((told, raised), (8, true), "two steps of two budgets of two holders");
}

/// As [`append`], from within a runtime.
fn append_beside(journal: &Journal, spent: &[Spent], from: u64) {
    std::thread::scope(|scope| scope.spawn(|| append(journal, spent, from)).join().unwrap());
}
