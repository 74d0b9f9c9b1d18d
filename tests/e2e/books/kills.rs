//! The program killed at random moments under load, again and again over the same data.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bursar::demo::{Demo, DemoOptions};
use bursar_actors::audit::journal::{JournalReader, RealDisk};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use super::Ledger;
use crate::client::{Client, chat, stream};
use crate::harness::{Setup, until};
use crate::process::{Place, Program};

/// What all requests are counted against.
const BUDGET: &str = "[models.alias.m.budget]\namount = 1_000_000\nperiod = \"year\"\n\
    [catalog.models.\"a/demo-small\"]\nmax_output = 4_096\nprice = { input = 0.3, output = 7 }\n";

/// Clients at once.
const CLIENTS: usize = 6;

fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).map_or(usual, |text| text.parse().expect("a number"))
}

#[test]
fn no_kill_loses_a_request_whose_answer_came() {
    let (kills, seed) = (number("BURSAR_KILLS", 8), number("BURSAR_KILLS_SEED", 1));
    let paced =
        DemoOptions { any_model: true, per_token: Duration::from_millis(1), remembered: 0, ..DemoOptions::default() };
    let demo = Demo::start(paced).unwrap();
    let place = Place::with(&Setup::over(&[&demo]).more(&format!("[server]\nworkers = 2\n{BUDGET}")).file());
    let mut dice = StdRng::seed_from_u64(seed);
    let (mut answered, mut read) = (0, 0);

    for round in 0..kills {
        let commit = ["before_reply", "before_dispatch"][round as usize % 2];
        let program = place.serve(&["--set", &format!("audit.commit={commit}")]);
        assert_eq!(counted(&place), booked(&place.data()), "spent and booked (seed {seed}, kill {round})");
        let ids = load_until_killed(program, round, dice.random_range(0..80), dice.random_range(0..3_000));
        answered += ids.len();
        let (admitted, end) = admitted_since(&place.data(), read);
        let lost: Vec<_> = ids.difference(&admitted).collect();
        assert!(lost.is_empty(), "answered and not in the books: {lost:?} (seed {seed}, kill {round})");
        read = end;
        // A start that is killed before it is ready must do no harm either.
        if round % 4 == 3 {
            drop(place.begin());
        }
    }

    let before = Ledger::at_rest(&place.data());
    let open = before.totals().open;
    // Once more from the journal alone.
    std::fs::remove_dir_all(place.data().join("index")).unwrap();
    let program = place.serve(&[]);
    let (followed, spent) = (counted(&place), booked(&place.data()));
    assert!(spent > 0 && followed == spent, "{followed} followed, {spent} booked");
    drop(program);
    std::fs::remove_dir_all(place.data().join("ledger")).unwrap();
    let program = place.serve(&[]);
    assert_eq!((counted(&place), booked(&place.data())), (spent, spent), "made again from the journal");
    assert_eq!(program.client().chat(&chat(json!({}))).status, 200);
    program.signal("TERM");
    let (status, log) = program.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    let ledger = Ledger::at_rest(&place.data());
    let totals = ledger.totals();
    eprintln!(
        "{kills} kills: {answered} answers, {open} left open by the last kill, {} records, {totals:?}",
        ledger.records.len()
    );
    assert_eq!((totals.open, totals.refused), (0, 0), "{totals:?}");
    assert!(answered > 0 && totals.served >= answered as u64 / 2, "{totals:?}");
    ledger.is_signed(&place);
}

/// Returns what the running gateway says that was spent of the budget, in nano-dollars.
fn counted(place: &Place) -> u64 {
    let shown = place.run(&["budgets", "show", "model:m", "--output", "json"]);
    let rows: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    let (spent, held) = (&rows[0]["spent_usd"], &rows[0]["held_usd"]);
    assert_eq!(held, "0", "nobody asks, so nothing is held: {rows}");
    let (whole, part) = spent.as_str().unwrap().split_once('.').unwrap_or((spent.as_str().unwrap(), ""));
    whole.parse::<u64>().unwrap() * 1_000_000_000 + format!("{part:0<9}").parse::<u64>().unwrap()
}

/// Returns the sum of what all records say that was spent, in nano-dollars.
fn booked(data: &Path) -> u64 {
    let mut reader = JournalReader::open(Arc::new(RealDisk), data).unwrap();
    let end = reader.end().unwrap();
    let mut sum = 0;
    while let Some(leaf) = reader.next(end).unwrap() {
        let record: serde_json::Value = serde_json::from_slice(leaf.bytes).unwrap();
        if record["phase"] == "completed" || record["phase"] == "abandoned" {
            sum += record["cost_nano"].as_u64().unwrap_or_default();
            let abandoned = record["phase"] == "abandoned";
            assert!(!abandoned || record["cost_nano"] == record["held_nano"], "booked as it was held: {record}");
        }
    }
    sum
}

/// Asks from all sides until `answers` have come and some microseconds have passed, then kills. Returns the requests whose
/// answers came whole.
fn load_until_killed(program: Program, round: u64, answers: usize, more_us: u64) -> BTreeSet<String> {
    let (address, seen) = (program.address, AtomicUsize::new(0));
    let mut ids = BTreeSet::new();
    std::thread::scope(|scope| {
        let client = |part: usize| {
            let seen = &seen;
            move || {
                let (mut client, mut ids) = (Client::of(address), Vec::new());
                for number in 0.. {
                    let id = format!("r{round}-{part}-{number}");
                    let body = if number % 2 == 0 { chat(json!({})) } else { stream(json!({})) };
                    client.begin("POST", "/v1/chat/completions", &[("x-bursar-request-id", &id)], &body.to_string());
                    let Ok(answer) = client.try_answer("POST") else { break };
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    ids.push(id);
                    seen.fetch_add(1, Ordering::Relaxed);
                }
                ids
            }
        };
        let clients: Vec<_> = (0..CLIENTS).map(|part| scope.spawn(client(part))).collect();
        until("the clients get answers", || seen.load(Ordering::Relaxed) >= answers);
        let moment = Instant::now() + Duration::from_micros(more_us);
        while Instant::now() < moment {
            std::hint::spin_loop();
        }
        drop(program);
        for client in clients {
            ids.extend(client.join().unwrap());
        }
    });
    ids
}

/// Returns the requests that were admitted by the records from `from` on, and how many records there are.
fn admitted_since(data: &Path, from: u64) -> (BTreeSet<String>, u64) {
    let mut reader = JournalReader::open(Arc::new(RealDisk), data).unwrap();
    let end = reader.end().unwrap();
    assert!(end >= from, "{end} records are left of {from}");
    reader.seek(from, None).unwrap();
    let mut admitted = BTreeSet::new();
    while let Some(leaf) = reader.next(end).unwrap() {
        let record: serde_json::Value = serde_json::from_slice(leaf.bytes).unwrap();
        if record["phase"] == "admitted" {
            admitted.insert(record["request"].as_str().unwrap().to_owned());
        }
    }
    (admitted, end)
}
