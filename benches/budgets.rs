//! What budgets cost a request: to hold of all above it and to settle, alone and beside others; to post what is booked. And how
//! much of a budget holds keep from use.
//!
//! No criterion: what is asked is a figure for each, not a distribution.

#![allow(clippy::print_stdout, reason = "a benchmark reports on its terminal")]

use std::hint::black_box;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bursar_actors::audit::journal::{Durability, Entry, Journal, JournalOptions};
use bursar_actors::audit::record::{Phase, Record};
use bursar_actors::budget::ledger::Ledger;
use bursar_actors::budget::{Accounts, Act, BudgetSpec, Period, Posting, Quote, Step, Table, Zone};
use bursar_actors::limits::Holder;

const DOLLAR: u64 = 1_000_000_000;
const ROUNDS: u64 = 1_000_000;
const RECORDS: u64 = 100_000;
/// In 2026.
const NOW_S: i64 = 1_790_000_000;

fn told(what: &str, took: Duration, rounds: u64) {
    println!("{what:<66} {:>10.3} µs", took.as_secs_f64() * 1e6 / rounds as f64);
}

fn spec(amount_nano: u64) -> BudgetSpec {
    let steps = vec![
        Step { at_ppm: 800_000, act: Act::Notify },
        Step { at_ppm: 900_000, act: Act::Downgrade { to: None } },
        Step { at_ppm: 1_000_000, act: Act::Block },
    ];
    let (id, zone) = ("month".into(), Zone::of_name("Europe/Berlin").unwrap_or_default());
    BudgetSpec { id, amount_nano, period: Period::Month, zone, rollover_ppm: 0, soft: false, steps }
}

/// Key, user, team, organisation and model of one request.
fn above(key: &str) -> Vec<Holder> {
    vec![
        Holder::Key(key.into()),
        Holder::User("search".into(), "u_1".into()),
        Holder::Team("search".into()),
        Holder::Org("acme".into()),
        Holder::Model("fast".into()),
    ]
}

fn accounts(holders: impl IntoIterator<Item = Holder>, amount_nano: u64) -> Arc<Accounts> {
    let accounts = Arc::<Accounts>::default();
    let budgets: Arc<[BudgetSpec]> = vec![spec(amount_nano)].into();
    let holders = holders.into_iter().map(|holder| (holder, budgets.clone())).collect();
    accounts.configure(Table { holders, ..Table::default() }, &[], NOW_S, &mut |_, _| vec![]);
    accounts
}

/// Holds and settles `rounds` times; what is settled is posted by the way, and not timed.
fn hold_and_settle(accounts: &Arc<Accounts>, key: &str, rounds: u64, first: u64) -> Duration {
    let above = above(key);
    let mut took = Duration::ZERO;
    let posting = |call| Posting { call: Some(call), began_s: NOW_S, key: Some(key.into()), ..Posting::default() };
    for batch in 0..rounds / 1_000 {
        let calls = first + batch * 1_000..first + (batch + 1) * 1_000;
        let begun = Instant::now();
        for call in calls.clone() {
            black_box(accounts.in_force(&above, NOW_S));
            let hold = accounts.reserve(&above, call, Quote { expected: 40, worst: 90 }, NOW_S, None);
            black_box(hold.map(|hold| hold.settle(30, NOW_S)).is_ok());
        }
        took += begun.elapsed();
        calls.for_each(|call| _ = accounts.apply(&posting(call), true, NOW_S));
    }
    took
}

fn main() {
    let nobody = Accounts::default();
    let begun = Instant::now();
    for _ in 0..ROUNDS {
        black_box(nobody.is_empty());
    }
    told("nobody has a budget", begun.elapsed(), ROUNDS);

    let one = accounts(above("k0"), u64::MAX / 4);
    told("look at the steps, hold of five budgets, settle", hold_and_settle(&one, "k0", ROUNDS, 0), ROUNDS);
    let shared = accounts(above("k0").into_iter().chain([Holder::Key("k1".into())]), u64::MAX / 4);
    let took = thread::scope(|scope| {
        let other = scope.spawn(|| hold_and_settle(&shared, "k1", ROUNDS, ROUNDS));
        hold_and_settle(&shared, "k0", ROUNDS, 0).max(other.join().unwrap_or_default())
    });
    told("the same on two threads, four of the budgets shared", took, ROUNDS);

    let folder = tempfile::tempdir().expect("a folder");
    let (journal, _) = Journal::open(JournalOptions::new(folder.path())).expect("it opens");
    let mut last = None;
    for call in 0..RECORDS {
        let record = Record {
            at_us: NOW_S.cast_unsigned() * 1_000_000,
            began_us: Some(NOW_S.cast_unsigned() * 1_000_000),
            phase: Some(if call % 2 == 0 { Phase::Admitted } else { Phase::Completed }),
            call: Some(call / 2),
            org: Some("acme".into()),
            team: Some("search".into()),
            actor: Some(format!("k{}", call % 50).into()),
            user: Some(format!("u_{}", call % 500).into()),
            alias: Some("fast".into()),
            provider: Some("openai".into()),
            model: Some("gpt-5.4-mini".into()),
            key: Some("pool_01".into()),
            cost_nano: Some(call),
            tags: vec!["env=prod".into()],
            ..Record::default()
        };
        last = Some(journal.append(Entry { tail: record.to_tail(), body: None }, Durability::Lazy));
    }
    last.map(|ticket| ticket.wait().expect("it is written"));
    let mut ledger = Ledger::open(&journal).expect("it opens");
    let begun = Instant::now();
    while ledger.follow(journal.durable()).expect("it follows").is_some() {}
    told("take a record into the ledger (half of them end a request)", begun.elapsed(), RECORDS);

    // A long call: 20,000 tokens read and at most 64,000 written, at 3 and 15 dollars a million; most write a thousand.
    let quote = Quote { expected: 75 * DOLLAR / 1_000, worst: 1_020 * DOLLAR / 1_000 };
    println!("\n200 long calls at once, each 0.075 dollars in all likelihood and 1.02 at worst:");
    for left in [1_000, 100, 40, 21, 20, 10] {
        let accounts = accounts([Holder::Team("search".into())], left * DOLLAR);
        let team = [Holder::Team("search".into())];
        let holds: Vec<_> = (0..200).map_while(|call| accounts.reserve(&team, call, quote, NOW_S, None).ok()).collect();
        let held: u64 = holds.iter().map(|hold| hold.amount_nano()).sum();
        let share = held as f64 / (left * DOLLAR) as f64 * 100.0;
        println!("{left:>6} dollars left: {:>3} run, {share:>5.1} % of them are held", holds.len());
    }
}
