//! Budgets under many hands at once, and against a simple model.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use proptest::prelude::*;

use super::*;
use crate::budget::Priority;
use crate::budget::{Period, WHOLE_PPM};
use crate::ids::{OrgId, TeamId};

fn spec(amount_nano: u64, steps: &[(u32, Act)]) -> BudgetSpec {
    let steps = steps.iter().map(|(percent, act)| Step { at_ppm: percent * (WHOLE_PPM / 100), act: act.clone() });
    BudgetSpec {
        id: "month".into(),
        amount_nano,
        period: Period::Month,
        zone: Default::default(),
        rollover_ppm: 0,
        soft: false,
        steps: steps.collect(),
    }
}

fn team(name: &str) -> Holder {
    Holder::Team(TeamId::from(name))
}

fn org() -> Holder {
    Holder::Org(OrgId::from("acme"))
}

fn key(name: &str) -> Holder {
    Holder::Key(name.into())
}

/// Returns accounts of which nothing was spent yet.
fn accounts(budgets: Vec<(Holder, BudgetSpec)>) -> Arc<Accounts> {
    let mut table = Table::default();
    budgets.into_iter().for_each(|(holder, spec)| _ = table.holders.insert(holder, [spec].into()));
    let accounts = Arc::<Accounts>::default();
    accounts.configure(table, &[], NOW, &mut |_, _| Vec::new());
    accounts
}

/// A moment in November 2026.
const NOW: i64 = 1_795_000_000;

fn used(accounts: &Accounts, holder: &Holder) -> (u64, u64) {
    let statement = accounts.statements(NOW).into_iter().find(|statement| statement.holder == *holder).unwrap();
    (statement.standing.posted_nano, statement.standing.pending_nano)
}

fn posting(call: u64, holders: &[Holder], cost_nano: u64) -> Posting {
    let mut posting = Posting { began_s: NOW, call: Some(call), cost_nano, ..Posting::default() };
    for holder in holders {
        match holder {
            Holder::Org(org) => posting.org = Some(org.as_str().into()),
            Holder::Team(team) => posting.team = Some(team.as_str().into()),
            Holder::Key(key) => posting.key = Some(key.clone()),
            Holder::Tag(tag) => posting.tags.push(tag.clone()),
            _ => unreachable!("no test needs it"),
        }
    }
    posting
}

#[test]
fn sixty_four_callers_of_one_budget_never_pass_its_limit() {
    let limits = [(org(), 50_000), (team("a"), 30_000), (team("b"), 40_000), (key("k"), 20_000)];
    let accounts = accounts(limits.iter().map(|(holder, limit)| (holder.clone(), spec(*limit, &[]))).collect());
    let (calls, served) = (AtomicU64::new(0), Mutex::new(Vec::new()));

    thread::scope(|scope| {
        for caller in 0..64_u64 {
            let (accounts, calls, served) = (&accounts, &calls, &served);
            scope.spawn(move || {
                let team = if caller % 2 == 0 { team("a") } else { team("b") };
                let above = if caller % 4 == 0 { vec![key("k"), team, org()] } else { vec![team, org()] };
                for turn in 0..40_u64 {
                    let call = calls.fetch_add(1, Ordering::Relaxed);
                    let Ok(mut hold) = accounts.reserve(&above, call, Quote::exact(100), NOW, None) else { continue };
                    let cost = match turn % 5 {
                        // Failed before anything was spent, was given up, cost less, cost what was held.
                        0 => continue,
                        1 => 0,
                        2 => 40,
                        3 if hold.change(150, NOW).is_ok() => 150,
                        _ => 100,
                    };
                    assert_eq!(hold.settle(cost, NOW), 0);
                    served.lock().unwrap().push((call, above.clone(), cost));
                }
            });
        }
        let watch = scope.spawn(|| {
            for _ in 0..200 {
                for statement in accounts.statements(NOW) {
                    assert!(statement.standing.used_nano() <= statement.standing.limit_nano, "{statement:?}");
                }
            }
        });
        watch.join().unwrap();
    });

    let served = served.into_inner().unwrap();
    let sum =
        |holder: &Holder| served.iter().filter(|(_, above, _)| above.contains(holder)).map(|(.., cost)| cost).sum();
    for (holder, _) in &limits {
        assert_eq!(used(&accounts, holder), (0, sum(holder)), "{holder}");
    }
    for (call, above, cost) in &served {
        accounts.apply(&posting(*call, above, *cost), true, NOW);
    }
    for (holder, limit) in &limits {
        assert_eq!(used(&accounts, holder), (sum(holder), 0), "{holder}");
        assert!(sum(holder) <= *limit, "{holder}: {}", sum(holder));
    }
    assert!(sum(&org()) > 45_000, "the parent of all is used up: {}", sum(&org()));
}

#[test]
fn a_bill_above_its_hold_is_posted_in_full_and_keeps_out_the_next() {
    let accounts = accounts(vec![(team("a"), spec(1_000, &[]))]);
    let hold = accounts.reserve(&[team("a")], 1, Quote::exact(900), NOW, None).unwrap();

    assert_eq!(hold.settle(1_300, NOW), 300);

    let denied = accounts.reserve(&[team("a")], 2, Quote::exact(1), NOW, None).unwrap_err();
    let Exceeded { short, .. } = denied.exceeded();
    assert_eq!((short.limit_nano, short.used_nano, short.queued), (1_000, 1_300, None));
    assert!(short.resets_s.unwrap() > NOW);
    assert!(accounts.reserve(&[team("a")], 3, Quote::exact(0), NOW, None).is_ok(), "what costs nothing fits");
}

#[test]
fn while_there_is_plenty_only_what_is_likely_is_held() {
    let accounts = accounts(vec![(team("a"), spec(1_000, &[]))]);
    let quote = Quote { expected: 10, worst: 40 };
    let mut holds = Vec::new();
    while let Ok(hold) = accounts.reserve(&[team("a")], holds.len() as u64, quote, NOW, None) {
        holds.push(hold);
    }

    let likely = holds.iter().filter(|hold| hold.amount_nano() == 10).count();
    // 800 have to be left for twenty at their worst.
    assert_eq!((likely, holds.len()), (21, 21 + 19));
}

#[test]
fn from_its_step_on_requests_wait_for_room_below_it() {
    let wait = Act::Queue { max_wait: std::time::Duration::from_secs(5), priority: Priority::Normal };
    let accounts = accounts(vec![(team("a"), spec(1_000, &[(90, wait)]))]);
    let above = [team("a")];
    let first = accounts.reserve(&above, 1, Quote::exact(800), NOW, None).unwrap();

    let denied = accounts.reserve(&above, 2, Quote::exact(200), NOW, None).unwrap_err();
    assert!(denied.exceeded().short.queued.is_some());
    let turn = denied.wait(None, &above).unwrap();
    let behind = accounts.reserve(&above, 3, Quote::exact(50), NOW, None).unwrap_err();
    assert!(behind.exceeded().short.queued.is_some(), "it would fit, and somebody was first");

    first.settle(300, NOW);
    let second = accounts.reserve(&above, 2, Quote::exact(200), NOW, Some(&turn)).unwrap();
    turn.served();
    assert_eq!(second.amount_nano(), 200);
    assert!(accounts.reserve(&above, 3, Quote::exact(50), NOW, None).is_ok());
}

#[test]
fn the_next_window_begins_with_nothing_and_late_bills_go_to_their_own() {
    let mut month = spec(1_000, &[(50, Act::Notify)]);
    month.rollover_ppm = WHOLE_PPM / 2;
    let accounts = accounts(vec![(team("a"), month)]);
    let above = [team("a")];
    let hold = accounts.reserve(&above, 1, Quote::exact(700), NOW, None).unwrap();
    let next = Period::Month.window_at(NOW, &Default::default()).end_s;

    let limit = |accounts: &Accounts| accounts.statements(next)[0].standing;
    assert_eq!((limit(&accounts).limit_nano, limit(&accounts).used_nano()), (1_150, 0));
    assert_eq!(hold.settle(400, next), 0);
    assert_eq!((limit(&accounts).limit_nano, limit(&accounts).used_nano()), (1_300, 0));
    assert!(accounts.apply(&posting(1, &above, 400), true, next).is_empty());
    assert_eq!((limit(&accounts).limit_nano, limit(&accounts).used_nano()), (1_300, 0));
}

#[test]
fn steps_are_told_once_and_ask_what_they_say() {
    let steps = [(70, Act::Notify), (85, Act::Downgrade { to: Some("fast".into()) })];
    let accounts = accounts(vec![(team("a"), spec(1_000, &steps)), (org(), spec(9_000, &[]))]);
    let above = [team("a"), org()];
    let spend = |call, cost| {
        accounts.reserve(&above, call, Quote::exact(cost), NOW, None).unwrap().settle(cost, NOW);
        let reached = accounts.apply(&posting(call, &above, cost), true, NOW);
        reached.iter().map(|reached| reached.step.act.word()).collect::<Vec<_>>().join(" ")
    };

    assert_eq!(spend(1, 699), "");
    assert_eq!(spend(2, 1), "notify");
    assert_eq!(accounts.in_force(&above, NOW).downgrade, None);
    assert_eq!(spend(3, 150), "downgrade");
    let force = accounts.in_force(&above, NOW);
    let used = force.tightest.map(|tightest| (tightest.holder, tightest.standing.used_nano()));
    assert_eq!((force.downgrade, used), (Some(Some("fast".into())), Some((team("a"), 850))));
    assert_eq!(spend(4, 1), "");
}

#[test]
fn a_rolling_window_says_when_enough_of_it_is_gone() {
    let rolling = BudgetSpec { period: Period::Rolling { seconds: 3_600 }, ..spec(1_000, &[]) };
    let accounts = accounts(vec![(team("a"), rolling)]);
    let above = [team("a")];
    let begin = NOW.div_euclid(900) * 900;
    for (call, quarter, cost) in [(1, 0, 300), (2, 1, 500), (3, 3, 200)] {
        let now = begin + quarter * 900;
        accounts.reserve(&above, call, Quote::exact(cost), now, None).unwrap().settle(cost, now);
        accounts.apply(&Posting { began_s: now, ..posting(call, &above, cost) }, true, now);
    }
    let resets = |cost| {
        let denied = accounts.reserve(&above, 9, Quote::exact(cost), begin + 3 * 900, None).unwrap_err();
        denied.exceeded().short.resets_s.map(|at| at - begin)
    };

    assert_eq!(resets(300), Some(3_600));
    assert_eq!(resets(301), Some(4_500));
    assert_eq!(resets(1_001), None);
    assert!(accounts.reserve(&above, 9, Quote::exact(300), begin + 3_600, None).is_ok());
}

#[test]
fn another_table_begins_with_what_the_ledger_has() {
    let accounts = accounts(vec![(team("a"), spec(1_000, &[]))]);
    let hold = accounts.reserve(&[team("a"), org()], 1, Quote::exact(100), NOW, None).unwrap();
    let mut table = Table::default();
    table.holders.insert(team("a"), [spec(2_000, &[])].into());
    table.holders.insert(org(), [spec(5_000, &[])].into());

    let reached = accounts.configure(table, &[], NOW, &mut |_, window| vec![(window.start_s, 300)]);

    assert!(reached.is_empty());
    assert_eq!((used(&accounts, &team("a")), used(&accounts, &org())), ((300, 100), (300, 0)));
    hold.settle(80, NOW);
    accounts.apply(&posting(1, &[team("a"), org()], 80), true, NOW);
    // The organisation has had no budget when the request came, and is booked on all the same.
    assert_eq!((used(&accounts, &team("a")), used(&accounts, &org())), ((380, 0), (380, 0)));
}

proptest! {
    #[test]
    fn accounts_are_what_a_simple_model_says(
        deeds in prop::collection::vec((0_u8..6, 0_usize..3, 0_u64..400), 1..120),
    ) {
        let chains = [vec![key("k"), team("a"), org()], vec![team("a"), org()], vec![team("b"), org()]];
        let limits = BTreeMap::from([("k", 900_u64), ("a", 1_500), ("b", 1_000), ("acme", 2_000)]);
        let name = |holder: &Holder| match holder {
            Holder::Org(_) => "acme",
            Holder::Team(team) if team.as_str() == "a" => "a",
            Holder::Team(_) => "b",
            _ => "k",
        };
        let accounts = accounts([key("k"), team("a"), team("b"), org()].map(|h| (h.clone(), spec(limits[name(&h)], &[]))).into());
        // Of each holder what is held or spent, and the requests under way.
        let mut model: BTreeMap<&str, u64> = BTreeMap::new();
        let mut open: Vec<(Hold, usize, u64)> = Vec::new();
        let mut unposted: Vec<(u64, usize, u64)> = Vec::new();
        for (call, (deed, chain, amount)) in deeds.into_iter().enumerate() {
            let call = call as u64;
            let fits = |model: &BTreeMap<&str, u64>, chain: usize, more: u64| {
                more == 0 || chains[chain].iter().all(|h| model.get(name(h)).unwrap_or(&0) + more <= limits[name(h)])
            };
            match deed {
                0..=2 => {
                    let hold = accounts.reserve(&chains[chain], call, Quote::exact(amount), NOW, None);
                    prop_assert_eq!(hold.is_ok(), fits(&model, chain, amount));
                    if let Ok(hold) = hold {
                        chains[chain].iter().for_each(|h| *model.entry(name(h)).or_default() += amount);
                        open.push((hold, chain, call));
                    }
                }
                3 if !open.is_empty() => {
                    let (hold, chain, call) = open.swap_remove(amount as usize % open.len());
                    let held = hold.amount_nano();
                    hold.settle(amount, NOW);
                    chains[chain].iter().for_each(|h| *model.entry(name(h)).or_default() += amount);
                    chains[chain].iter().for_each(|h| *model.entry(name(h)).or_default() -= held);
                    unposted.push((call, chain, amount));
                }
                4 if !open.is_empty() => {
                    let at = amount as usize % open.len();
                    let (hold, chain, _) = &mut open[at];
                    let held = hold.amount_nano();
                    let grows = amount > held;
                    let changed = hold.change(amount, NOW).is_ok();
                    prop_assert_eq!(changed, !grows || fits(&model, *chain, amount - held));
                    if changed {
                        chains[*chain].iter().for_each(|h| *model.entry(name(h)).or_default() += amount);
                        chains[*chain].iter().for_each(|h| *model.entry(name(h)).or_default() -= held);
                    }
                }
                5 if !unposted.is_empty() => {
                    let (call, chain, cost) = unposted.swap_remove(amount as usize % unposted.len());
                    accounts.apply(&posting(call, &chains[chain], cost), true, NOW);
                }
                _ => {}
            }
            for holder in accounts.table().holders.keys() {
                let (posted, pending) = used(&accounts, holder);
                prop_assert_eq!(posted + pending, *model.get(name(holder)).unwrap_or(&0), "{}", holder);
            }
        }
        drop(open);
        for (call, chain, cost) in unposted {
            accounts.apply(&posting(call, &chains[chain], cost), true, NOW);
        }
        for holder in accounts.table().holders.keys() {
            prop_assert_eq!(used(&accounts, holder).1, 0);
        }
    }
}
