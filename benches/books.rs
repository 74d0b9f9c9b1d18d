//! What finding things in the books costs: a log of many records is written, followed, searched, made again.
//!
//! `cargo bench --bench books`; `BOOKS_RECORDS=1000000` for a million. The files lie in `TMPDIR`. The records are those of
//! requests, an `admitted` and a `completed` each, of 20 teams, 200 keys and 2,000 users over 30 days.

#![allow(clippy::print_stdout, reason = "a benchmark reports on its terminal")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use bursar_actors::Usage;
use bursar_actors::audit::filter::Filter;
use bursar_actors::audit::journal::{Durability, Entry, Journal, JournalOptions};
use bursar_actors::audit::log::Follower;
use bursar_actors::audit::record::{Attempt, Content, Latency, Phase, Record};
use bursar_actors::store::Field;
use rustix::time::{ClockId, clock_gettime};

const DAY_US: u64 = 86_400_000_000;
/// The first of the 30 days, in microseconds since 1970.
const BEGIN_US: u64 = 1_795_000_000_000_000;
const ROUNDS: usize = 200;

fn record(index: u64, all: u64) -> Record<'static> {
    let call = index / 2;
    let at_us = BEGIN_US + 30 * DAY_US / all * index;
    let admitted = Record {
        at_us,
        phase: Some(Phase::Admitted),
        request: Some(request(call, all).into()),
        call: Some(call),
        actor: Some(format!("key_{}", call % 200).into()),
        team: Some(format!("team_{}", call % 20).into()),
        user: Some(format!("u_{:020x}", call % 2_000).into()),
        network: Some("10.1.2.0/24".into()),
        action: "chat".into(),
        asked: Some("fast".into()),
        alias: Some("fast".into()),
        content: Some(Content { request: Some("9f".repeat(32).into()), ..Content::default() }),
        config: Some("72dab5cc18dcc7a5c72025e470266960".into()),
        ..Record::default()
    };
    if index.is_multiple_of(2) {
        return admitted;
    }
    Record {
        phase: Some(Phase::Completed),
        provider: Some("openai".into()),
        model: Some("gpt-5.4-mini".into()),
        endpoint: Some("openai".into()),
        key: Some(format!("pool_{:02}", call % 40).into()),
        outcome: Some(if call.is_multiple_of(50) { "failed" } else { "served" }.into()),
        tokens: Some(Usage { prompt: 1_200, completion: 300, total: 1_500, ..Usage::default() }),
        cost_nano: Some(480_000),
        price: Some("72dab5cc18dcc7a5c72025e470266960".into()),
        attempts_made: 1,
        attempts: vec![Attempt {
            target: "openai/gpt-5.4-mini".into(),
            outcome: "served".into(),
            ..Attempt::default()
        }],
        latency_us: Some(Latency { total: 900_000, ..Latency::default() }),
        ..admitted
    }
}

/// Returns the id of a request, which tells its time as a ULID does.
fn request(call: u64, all: u64) -> String {
    let millis = (BEGIN_US + 30 * DAY_US / all * 2 * call) / 1_000;
    let digit = |at: u32| b"0123456789ABCDEFGHJKMNPQRSTVWXYZ"[(millis >> (5 * (9 - at)) & 31) as usize] as char;
    format!("{}{call:016X}", (0..10).map(digit).collect::<String>())
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// Returns the resident memory in MiB, where the system tells.
fn resident_mib() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).map_or(f64::NAN, |kib| kib / 1024.0)
}

fn size(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else { return fs::metadata(path).map_or(0, |file| file.len()) };
    entries.flatten().map(|entry| size(&entry.path())).sum()
}

/// Times `search` over many questions and prints median and worst.
fn time(what: &str, mut search: impl FnMut(usize) -> usize) {
    let mut found = 0;
    let mut waits: Vec<Duration> = (0..ROUNDS)
        .map(|round| {
            let began = Instant::now();
            found += search(round);
            began.elapsed()
        })
        .collect();
    waits.sort_unstable();
    let (median, worst) = (waits[ROUNDS / 2], waits[ROUNDS - 1]);
    println!(
        "{what:<34} p50 {:>9.1?}  worst {:>9.1?}  {:.1} records each",
        median,
        worst,
        found as f64 / ROUNDS as f64
    );
}

fn main() {
    let all: u64 = std::env::var("BOOKS_RECORDS").ok().and_then(|text| text.parse().ok()).unwrap_or(100_000);
    let folder = tempfile::tempdir().expect("the temporary folder can be written");
    let (journal, _) = Journal::open(JournalOptions::new(folder.path())).expect("a new journal opens");
    let (wall, used) = (Instant::now(), cpu());
    for index in 0..all {
        let entry = Entry { tail: record(index, all).to_tail(), body: None };
        let ticket = journal.append(entry, Durability::Lazy);
        if index + 1 == all {
            ticket.wait().expect("the disk takes it");
        }
    }
    let per_record = |time: Duration| time.as_secs_f64() * 1e6 / all as f64;
    println!("{all} records; resident {:.0} MiB", resident_mib());
    println!("made and written: {:.1} µs each, {:.1} µs CPU", per_record(wall.elapsed()), per_record(cpu() - used));

    let (wall, used) = (Instant::now(), cpu());
    let mut follower = Follower::rebuild(&journal, &mut |_, _| {}).expect("the journal can be followed");
    println!("followed: {:.1} µs each, {:.1} µs CPU", per_record(wall.elapsed()), per_record(cpu() - used));
    let (log, index) = (size(&folder.path().join("journal")), size(&folder.path().join("index")));
    println!("on disk: {} + {} bytes each in journal and index", log / all, index / all);

    time("by request", |round| {
        let filter = Filter { request: Some(request(round as u64 * 7919 % (all / 2), all)), ..Filter::default() };
        follower.search(&filter, u64::MAX, 50).expect("the index can be read").records.len()
    });
    time("by team and day, first 50", |round| {
        let from = BEGIN_US + round as u64 % 30 * DAY_US;
        let terms = vec![(Field::Team, format!("team_{}", round % 20))];
        let filter = Filter { terms, from_us: Some(from), to_us: Some(from + DAY_US), ..Filter::default() };
        follower.search(&filter, u64::MAX, 50).expect("the index can be read").records.len()
    });
    time("by user, first 50", |round| {
        let filter = Filter { terms: vec![(Field::User, format!("u_{round:020x}"))], ..Filter::default() };
        follower.search(&filter, u64::MAX, 50).expect("the index can be read").records.len()
    });
    time("nobody of that name", |round| {
        let filter = Filter { terms: vec![(Field::User, format!("nobody_{round}"))], ..Filter::default() };
        follower.search(&filter, u64::MAX, 50).expect("the index can be read").records.len()
    });
    println!("resident {:.0} MiB", resident_mib());

    drop(follower);
    let began = Instant::now();
    let (follower, rebuilt) = Follower::open(&journal, &mut |_, _| {}).expect("the index opens");
    println!("opened again in {:.1?}{}", began.elapsed(), if rebuilt { " (made again)" } else { "" });
    assert_eq!(follower.index().size(), all);
}
