//! What the gateway's own decisions cost: choosing an endpoint or key, letting a request in by its limits, and one acquire
//! through both actors.
//!
//! `acquire` asks from another thread, one call after the other, as a lone request does: it is the latency of waking the
//! actors' thread and being woken in return, far more than the work of either.

#[path = "../actors/tests/fixture/mod.rs"]
mod fixture;

use std::hint::black_box;
use std::time::Instant;

use bursar_actors::limits::{Holder, Limits, Meters, admit};
use bursar_actors::{
    Acquire, Chance, Clock, EndpointSpec, Load, Outcome, RetryBudget, Strategy, SystemOptions, choose, start,
};
use criterion::{Criterion, criterion_group, criterion_main};

const ENDPOINTS: [&str; 4] = ["e0", "e1", "e2", "e3"];

fn routing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("choose");
    for count in [2, 10, 40] {
        let loads: Vec<Load> = (0..count)
            .map(|index| Load {
                weight: 1,
                in_flight: index,
                recent: 0.0,
                latency_us: Some(1e5),
                headroom: 1.0,
                rank: index,
            })
            .collect();
        for strategy in [Strategy::P2cEwma, Strategy::Weighted, Strategy::LeastInflight, Strategy::RoundRobin] {
            let mut chance = Chance::seeded(1);
            let mut turn = 0;
            group.bench_function(format!("{strategy:?}/{count}"), |bencher| {
                bencher.iter(|| {
                    turn += 1;
                    choose(strategy, loads.len(), |index| Some(loads[index]), turn, &mut chance)
                });
            });
        }
    }
}

fn retry_budget(criterion: &mut Criterion) {
    let budget = RetryBudget::new(0.2, 3.0, Instant::now());
    criterion.bench_function("retry_budget/on_request", |bencher| bencher.iter(|| budget.on_request(Instant::now())));
}

/// A request under a key, its team, its organisation and a user, each with limits of requests, tokens and concurrency.
fn limits(criterion: &mut Criterion) {
    let each = Limits { rpm: Some(u64::MAX), tpm: Some(u64::MAX), concurrency: Some(u32::MAX), ..Limits::default() };
    let key = (Holder::Key("ci".into()), each);
    let (team, org) = (Holder::Team("research".into()), Holder::Org("acme".into()));
    let above = [key, (Holder::User("research".into(), "ann".into()), each), (team, each), (org, each)];
    for holders in [1, 3, 4] {
        let meters = Meters::default();
        criterion.bench_function(&format!("limits/admit_and_settle/{holders}_holders"), |bencher| {
            bencher.iter(|| {
                let above = above[..holders].iter().map(|(holder, limits)| meters.limited(holder.clone(), *limits));
                let grant = admit(above, 500, Instant::now());
                grant.map(|mut grant| grant.used(400)).is_ok()
            });
        });
    }
}

fn acquire(criterion: &mut Criterion) {
    let system = actix::System::new();
    let handles = system.block_on(async {
        let keys: Vec<String> = (0..10).map(|index| format!("key_{index}")).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let endpoint = |id: &&str| EndpointSpec { in_flight_max: 1_000, ..fixture::endpoint(id, &keys) };
        let endpoints = ENDPOINTS.iter().map(endpoint).collect();
        start(SystemOptions { endpoints, clock: Clock::system(), seed: 1, chance_for: None })
    });
    let ask = Acquire { strategy: Strategy::P2cEwma, tokens: 500, ..fixture::ask(&ENDPOINTS) };
    criterion.bench_function("acquire_and_report/4_endpoints_of_10_keys", |bencher| {
        bencher.iter_custom(|rounds| {
            system.block_on(async {
                let began = Instant::now();
                for _ in 0..rounds {
                    let lease = handles.supervisor.send(black_box(ask.clone())).await;
                    if let Ok(Ok(lease)) = lease {
                        lease.report(Outcome::Served);
                    }
                }
                began.elapsed()
            })
        });
    });
}

criterion_group!(benches, routing, retry_budget, limits, acquire);
criterion_main!(benches);
