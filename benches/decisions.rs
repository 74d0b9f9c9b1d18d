//! What the gateway's own decisions cost: choosing an endpoint or key, and one acquire through both actors.
//!
//! `acquire` asks from another thread, one call after the other, as a lone request does: it is the latency of waking the
//! actors' thread and being woken in return, far more than the work of either.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bursar_actors::{
    Acquire, BreakerPolicy, Candidate, Chance, Clock, EndpointSpec, KeyPolicy, KeySpec, Load, Outcome, Repeat,
    ReplyForm, RetryBudget, Secret, Strategy, SystemOptions, choose, start,
};
use criterion::{Criterion, criterion_group, criterion_main};

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

fn endpoint(id: String, keys: usize) -> EndpointSpec {
    let key = |index: usize| KeySpec {
        id: format!("key_{index}").into(),
        secret: Some(Secret::new(format!("sk-{index}"))),
        weight: 1,
        rpm: None,
        tpm: None,
        models: vec!["*".into()],
        deny: vec![],
        teams: vec![],
    };
    EndpointSpec {
        id: id.into(),
        home: 0,
        keys: (0..keys).map(key).collect(),
        in_flight_max: 1_000,
        breaker: BreakerPolicy::default(),
        key_policy: KeyPolicy {
            strategy: Strategy::P2cEwma,
            headroom: 0.9,
            quota_rest: Duration::from_secs(3600),
            breaker: BreakerPolicy::default(),
        },
    }
}

fn acquire(criterion: &mut Criterion) {
    let system = actix::System::new();
    let handles = system.block_on(async {
        let endpoints = (0..4).map(|index| endpoint(format!("e{index}"), 10)).collect();
        start(SystemOptions { endpoints, clock: Clock::system(), seed: 1, chance_for: None })
    });
    let candidate =
        |rank: u32| Candidate { endpoint: format!("e{rank}").into(), home: 0, model: "m".into(), weight: 1, rank };
    let ask = Acquire {
        candidates: (0..4).map(candidate).collect(),
        left_out: vec![],
        strategy: Strategy::P2cEwma,
        team: None,
        tokens: 500,
        form: ReplyForm::Whole,
        tried: vec![],
        repeat: Repeat::LastResort,
    };
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

criterion_group!(benches, routing, retry_budget, acquire);
criterion_main!(benches);
