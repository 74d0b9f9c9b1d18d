//! Leases granted ahead of need: when they are, when they are void, and that the books agree.

mod fixture;

use std::sync::Arc;
use std::time::Duration;

use bursar_actors::{
    BreakerPolicy, Clock, Command, EndpointSpec, ErrorClass, Handles, KeySpec, Lease, LeasePool, Outcome, Reconfigure,
    Refill, ReplyForm, Steering, Strategy, SystemOptions, Views, start,
};

use fixture::{endpoint, key};

fn begin(endpoints: Vec<EndpointSpec>) -> Handles {
    start(SystemOptions { endpoints, clock: Clock::manual(), seed: 7, chance_for: None })
}

fn pool(endpoints: &[&str], strategy: Strategy) -> Arc<LeasePool> {
    Arc::new(LeasePool::new(fixture::candidates(endpoints), strategy, ReplyForm::Whole))
}

/// Passes messages through the tree until all before them are done.
async fn pass(handles: &Handles) {
    for _ in 0..5 {
        handles.supervisor.send(Views).await.expect("the supervisor lives");
    }
}

/// Asks the pool once, as a request does.
async fn ask(handles: &Handles, pool: &Arc<LeasePool>) -> Option<Lease> {
    let taken = pool.take(100);
    if taken.refill {
        handles.supervisor.send(Refill { pool: pool.clone() }).await.expect("the supervisor lives");
    }
    taken.lease
}

/// Asks until the pool has one: a refusal stands until the next sweep.
async fn take(handles: &Handles, pool: &Arc<LeasePool>) -> Option<Lease> {
    for _ in 0..100_000 {
        let lease = ask(handles, pool).await;
        if lease.is_some() {
            return lease;
        }
        pass(handles).await;
    }
    None
}

/// Returns whether the pool stays empty although it was asked for a lease, and asked to be filled.
async fn stays_empty(handles: &Handles, pool: &Arc<LeasePool>) -> bool {
    for _ in 0..5 {
        if ask(handles, pool).await.is_some() {
            return false;
        }
        pass(handles).await;
    }
    true
}

fn load(handles: &Handles, id: &str) -> (u32, u32) {
    let pulse = handles.board.view(&id.into()).expect("the endpoint is on the board").pulse;
    (pulse.in_flight, pulse.ahead)
}

#[actix::test]
async fn a_name_that_is_used_twice_gets_its_leases_without_asking() {
    let handles = begin(vec![endpoint("a", &["k"])]);
    let pool = pool(&["a"], Strategy::P2cEwma);

    let first = pool.take(1);
    assert!(first.lease.is_none() && !first.refill);
    let lease = take(&handles, &pool).await.expect("plain weather");
    pass(&handles).await;

    assert_eq!((lease.key_id.as_str(), lease.candidate), ("k", 0));
    assert_eq!(load(&handles, "a"), (1, 1), "one call, and one more lease for the next");
    assert_eq!(handles.board.leases_granted(), 1, "what nobody took is not counted");
    lease.report(Outcome::Served);
    drop(pool);
    pass(&handles).await;
    assert_eq!(load(&handles, "a"), (0, 0));
    assert_eq!((handles.board.leases_granted(), handles.board.leases_reported()), (1, 1));
}

#[actix::test]
async fn a_failure_voids_at_once_what_was_granted_ahead() {
    let handles = begin(vec![endpoint("a", &["k", "l"])]);
    let pool = pool(&["a"], Strategy::P2cEwma);
    let lease = take(&handles, &pool).await.expect("plain weather");
    pass(&handles).await;
    let refused = lease.key_id.clone();

    lease.report(Outcome::Failed { class: ErrorClass::AuthInvalid, retry_after: None });

    assert!(ask(&handles, &pool).await.is_none(), "its lease may be of the very key that was refused");
    pass(&handles).await;
    for _ in 0..8 {
        let lease = take(&handles, &pool).await.expect("the other key is well");
        assert_ne!(lease.key_id, refused);
        lease.report(Outcome::Served);
    }
}

#[actix::test]
async fn a_refusal_that_is_the_clients_own_voids_nothing() {
    let handles = begin(vec![endpoint("a", &["k"])]);
    let pool = pool(&["a"], Strategy::P2cEwma);
    let lease = take(&handles, &pool).await.expect("plain weather");
    pass(&handles).await;

    lease.report(Outcome::Failed { class: ErrorClass::ClientInvalid, retry_after: None });

    assert!(pool.take(100).lease.is_some());
}

#[actix::test]
async fn what_the_operator_takes_out_serves_no_further_call() {
    let handles = begin(vec![endpoint("a", &["k"])]);
    let pool = pool(&["a"], Strategy::P2cEwma);
    drop(take(&handles, &pool).await.expect("plain weather"));
    pass(&handles).await;

    let steering = Steering::Rest(Duration::from_secs(60));
    let command = Command { endpoint: "a".into(), key: None, steering };
    handles.supervisor.send(command).await.unwrap().expect("there is such an endpoint");

    assert!(stays_empty(&handles, &pool).await);
    pass(&handles).await;
    assert_eq!(load(&handles, "a"), (0, 0));
}

#[actix::test]
async fn a_renewed_endpoint_grants_afresh() {
    let handles = begin(vec![endpoint("a", &["old"])]);
    let pool = pool(&["a"], Strategy::P2cEwma);
    drop(take(&handles, &pool).await.expect("plain weather"));
    pass(&handles).await;

    let endpoints = vec![endpoint("a", &["new"])];
    handles.supervisor.send(Reconfigure { endpoints }).await.unwrap();

    assert!(ask(&handles, &pool).await.is_none());
    assert_eq!(take(&handles, &pool).await.expect("plain weather").key_id.as_str(), "new");
}

#[actix::test]
async fn nothing_is_granted_ahead_where_calls_are_counted_out() {
    let few_requests = KeySpec { rpm: Some(60), ..key("k") };
    let few_tokens = KeySpec { tpm: Some(100_000), ..key("k") };
    let of_a_team = KeySpec { teams: vec!["research".into()], ..key("l") };
    let rings = [vec![few_requests], vec![few_tokens], vec![key("k"), of_a_team]];
    for keys in rings {
        let handles = begin(vec![EndpointSpec { keys, ..endpoint("a", &[]) }]);
        assert!(stays_empty(&handles, &pool(&["a"], Strategy::P2cEwma)).await);
        assert_eq!(load(&handles, "a"), (0, 0));
    }
    let handles = begin(vec![EndpointSpec { in_flight_max: 100, ..endpoint("a", &["k"]) }]);
    assert!(stays_empty(&handles, &pool(&["a"], Strategy::P2cEwma)).await);
}

#[actix::test]
async fn an_endpoint_that_may_have_healed_is_asked_call_by_call() {
    let fragile = BreakerPolicy { open_after: 1, ..BreakerPolicy::default() };
    let clock = Clock::manual();
    let endpoints = ["a", "b"].map(|id| EndpointSpec { breaker: fragile.clone(), ..endpoint(id, &["k"]) });
    let handles = start(SystemOptions { endpoints: endpoints.into(), clock: clock.clone(), seed: 7, chance_for: None });
    let pool = pool(&["a", "b"], Strategy::Ordered);
    let lease = take(&handles, &pool).await.expect("plain weather");
    lease.report(Outcome::Failed { class: ErrorClass::ConnectFailed, retry_after: None });
    pass(&handles).await;

    let lease = take(&handles, &pool).await.expect("b is well");
    assert_eq!(lease.endpoint().as_str(), "b");
    lease.report(Outcome::Served);
    pass(&handles).await;
    clock.advance(Duration::from_secs(600));
    // What b had granted is taken first; then a's probe is due, and only an acquire can make it.
    while ask(&handles, &pool).await.is_some() {}
    assert!(stays_empty(&handles, &pool).await);
}

#[actix::test]
async fn leases_ahead_are_spread_like_any_others() {
    let handles = begin(vec![endpoint("a", &["k"]), endpoint("b", &["k"])]);
    let pool = pool(&["a", "b"], Strategy::P2cEwma);
    let mut counts = [0; 2];
    let mut served = 0;
    while served < 400 {
        if let Some(lease) = take(&handles, &pool).await {
            counts[usize::from(lease.endpoint().as_str() == "b")] += 1;
            served += 1;
            lease.report(Outcome::Served);
        }
    }

    assert!(counts.iter().all(|count| (180..=220).contains(count)), "{counts:?}");
}
