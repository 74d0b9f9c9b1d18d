//! What a directory of 100,000 client keys in 5,000 teams costs: to make, to open, to look a key up in, to change.
//!
//! No criterion: opening happens once, and what is asked is a figure for each, not a distribution.

#![allow(clippy::print_stdout, reason = "a benchmark reports on its terminal")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use bursar_actors::access::{Act, Directory, Holders, Kind, Order, Wish};
use bursar_actors::limits::{Amount, Limit, Meters, Span, Which, admit};

const TEAMS: usize = 5_000;
const KEYS: usize = 100_000;
/// In 2026.
const NOW_S: u64 = 1_790_000_000;
const ROUNDS: u32 = 1_000_000;

fn order(kind: Kind, id: String, act: Act) -> Order {
    Order { kind, id, act, within: None, now_s: NOW_S }
}

/// Returns the resident memory of this process, in MiB.
fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    kib.map_or(f64::NAN, |kib| kib / 1024.0)
}

fn told(what: &str, took: Duration, rounds: u32) {
    println!("{what:<58} {:>12.3} µs", took.as_secs_f64() * 1e6 / f64::from(rounds));
}

fn main() {
    let of = |amount| Limit::Metered(Which::Window(amount, Span::Minute));
    let (rpm, tpm) = (of(Amount::Requests), of(Amount::Tokens));
    let place = tempfile::tempdir().expect("a folder");
    let mut values = Vec::with_capacity(KEYS);
    {
        let mut directory = Directory::open(place.path()).expect("it opens");
        let begun = Instant::now();
        let limits = vec![(rpm, Some(u64::MAX)), (tpm, Some(u64::MAX))];
        for team in 0..TEAMS {
            let wish = Wish { limits: limits.clone(), ..Wish::default() };
            let made = directory.order(&order(Kind::Team, format!("team_{team}"), Act::Create(wish)));
            made.expect("a team is made");
        }
        for key in 0..KEYS {
            let team = Some(format!("team_{}", key % TEAMS).into());
            let wish = Wish { team, limits: limits.clone(), ..Wish::default() };
            let made = directory.order(&order(Kind::Key, format!("key_{key}"), Act::Create(wish)));
            values.push(made.expect("a key is made").value.expect("it has a value").expose().to_owned());
        }
        told("make one, synced", begun.elapsed(), (TEAMS + KEYS) as u32);
    }
    let before = resident_mib();
    let begun = Instant::now();
    let mut directory = Directory::open(place.path()).expect("it opens again");
    directory.take_files(Holders::default());
    println!("open {KEYS} keys of {TEAMS} teams {:>40.0} ms", begun.elapsed().as_secs_f64() * 1e3);
    println!("memory that it takes {:>54.1} MiB", resident_mib() - before);

    let roster = directory.roster().clone();
    let begun = Instant::now();
    for round in 0..ROUNDS {
        assert!(black_box(roster.find(&values[round as usize * 7_919 % KEYS], NOW_S)).is_some());
    }
    told("look a key up", begun.elapsed(), ROUNDS);
    let unknown = format!("{}x", &values[0][..values[0].len() - 1]);
    let mut begun = Instant::now();
    for _ in 0..ROUNDS {
        black_box(roster.find(&unknown, NOW_S));
    }
    told("look an unknown key up", begun.elapsed(), ROUNDS);
    for (which, keys) in [("all keys", KEYS), ("1,000 of them", 1_000)] {
        let meters = Meters::default();
        for round in 0..2 * ROUNDS {
            if round == ROUNDS {
                begun = Instant::now();
            }
            let found = roster.find(&values[round as usize * 7_919 % keys], NOW_S).expect("it is known");
            let above = found.limits.iter().map(|(holder, limits)| meters.limited(holder.clone(), *limits));
            let grant = admit(above, 500, Instant::now());
            black_box(grant.map(|mut grant| grant.used(400)).is_ok());
        }
        told(&format!("authenticate, limits of key and team; {which}"), begun.elapsed(), ROUNDS);
    }

    let begun = Instant::now();
    for key in 0..100 {
        directory.order(&order(Kind::Key, format!("key_{key}"), Act::Revoke)).expect("it is revoked");
    }
    told("revoke a key, synced", begun.elapsed(), 100);
    let begun = Instant::now();
    for team in 0..100 {
        let wish = Wish { name: Some("Another".into()), ..Wish::default() };
        directory.order(&order(Kind::Team, format!("team_{team}"), Act::Update(wish))).expect("it is changed");
    }
    told("change a team of 20 keys, synced", begun.elapsed(), 100);
}
