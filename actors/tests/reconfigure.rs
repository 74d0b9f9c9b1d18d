//! A configuration that changes while calls are out, with real actors: nothing is lost, nobody is called who is gone.
#![allow(clippy::unwrap_used)]

mod fixture;

use std::sync::Arc;

use bursar_actors::{
    BreakerState, Chance, Clock, EndpointSpec, ErrorClass, Handles, KeyState, Lease, Outcome, Reconfigure,
    Reconfigured, Refusal, SystemOptions, Unavailable, Views, start,
};

use fixture::{ask, endpoint, in_flight, settle};

fn begin(endpoints: Vec<EndpointSpec>) -> Handles {
    start(SystemOptions { endpoints, clock: Clock::system(), seed: 5, chance_for: None })
}

async fn acquire(handles: &Handles, endpoints: &[&str]) -> Result<Lease, Unavailable> {
    fixture::acquire(handles, ask(endpoints)).await
}

async fn reconfigure(handles: &Handles, endpoints: Vec<EndpointSpec>) -> Reconfigured {
    handles.supervisor.send(Reconfigure { endpoints }).await.expect("the supervisor lives")
}

async fn key_states(handles: &Handles) -> Vec<(String, KeyState, u32)> {
    let endpoints = handles.supervisor.send(Views).await.unwrap();
    let keys = endpoints.iter().flat_map(|endpoint| &endpoint.keys);
    keys.map(|key| (key.id.to_string(), key.state, key.in_flight)).collect()
}

#[actix::test]
async fn endpoints_come_and_go_while_the_others_serve() {
    let handles = begin(vec![endpoint("a", &["k"]), endpoint("b", &["k"])]);
    let on_b = acquire(&handles, &["b"]).await.unwrap();

    let done = reconfigure(&handles, vec![endpoint("b", &["k"]), endpoint("c", &["k"])]).await;

    assert_eq!((done.started, done.renewed, done.stopped), (vec!["c".into()], vec![], vec!["a".into()]));
    let refused = acquire(&handles, &["a"]).await.err().unwrap();
    assert_eq!(refused.refusals, [(0, Refusal::Restarting)]);
    assert_eq!(acquire(&handles, &["a", "c"]).await.unwrap().endpoint().as_str(), "c");
    assert_eq!(in_flight(&handles, "b"), 1);
    on_b.report(Outcome::Served);
    settle(&handles, |handles| in_flight(handles, "b") == 0 && in_flight(handles, "c") == 0).await;
}

#[actix::test]
async fn a_request_that_knows_the_old_address_gets_no_key_of_the_new_one() {
    let handles = begin(vec![endpoint("a", &["k"])]);
    let moved = EndpointSpec { home: 7, ..endpoint("a", &["new"]) };

    reconfigure(&handles, vec![moved]).await;

    let refused = acquire(&handles, &["a"]).await.err().unwrap();
    assert_eq!(refused.refusals, [(0, Refusal::Moved)]);
}

#[actix::test]
async fn a_lease_of_a_removed_endpoint_reports_and_does_not_disturb_its_successor_of_the_same_name() {
    let handles = begin(vec![endpoint("a", &["k"])]);
    let old = acquire(&handles, &["a"]).await.unwrap();
    reconfigure(&handles, vec![]).await;
    assert!(handles.board.view(&"a".into()).is_none());

    reconfigure(&handles, vec![endpoint("a", &["k"])]).await;
    let new = acquire(&handles, &["a"]).await.unwrap();
    old.report(Outcome::Failed { class: ErrorClass::AuthInvalid, retry_after: None });

    handles.supervisor.send(Views).await.unwrap();
    assert_eq!(in_flight(&handles, "a"), 1);
    assert_eq!(key_states(&handles).await, [("k".to_owned(), KeyState::Up, 1)]);
    drop(new);
    settle(&handles, |handles| in_flight(handles, "a") == 0).await;
    assert_eq!((handles.board.leases_granted(), handles.board.leases_reported()), (2, 2));
    assert_eq!(handles.board.restarts(), 0);
}

#[actix::test]
async fn the_actor_of_a_removed_endpoint_ends() {
    let alive = Arc::new(());
    let held = alive.clone();
    let chance_for = Box::new(move |_: &_, _| {
        let held = held.clone();
        Chance::from_fn(move || f64::from(Arc::strong_count(&held) as u32) * 0.0)
    });
    let options = SystemOptions {
        endpoints: vec![endpoint("a", &["k"]), endpoint("b", &["k"])],
        clock: Clock::system(),
        seed: 5,
        chance_for: Some(chance_for),
    };
    let handles = start(options);
    handles.supervisor.send(Views).await.unwrap();
    // The test's, the factory's and one for each of two endpoints.
    assert_eq!(Arc::strong_count(&alive), 4);

    reconfigure(&handles, vec![endpoint("b", &["k"])]).await;

    settle(&handles, |_| Arc::strong_count(&alive) == 3).await;
}

#[actix::test]
async fn the_breaker_of_an_endpoint_stays_open_when_its_description_changes() {
    let handles = begin(vec![endpoint("a", &["k"])]);
    for _ in 0..5 {
        let lease = acquire(&handles, &["a"]).await.unwrap();
        lease.report(Outcome::Failed { class: ErrorClass::ConnectFailed, retry_after: None });
    }
    let is_open =
        |handles: &Handles| matches!(handles.board.view(&"a".into()).unwrap().breaker, BreakerState::Open { .. });
    settle(&handles, is_open).await;

    let done = reconfigure(&handles, vec![EndpointSpec { in_flight_max: 7, ..endpoint("a", &["k"]) }]).await;

    assert_eq!(done.renewed, ["a".into()]);
    assert!(is_open(&handles));
    assert_eq!(handles.board.view(&"a".into()).unwrap().in_flight_max, 7);
}

#[actix::test]
async fn a_retired_key_with_a_new_value_is_up_again() {
    let handles = begin(vec![endpoint("a", &["k=old"])]);
    let refused = acquire(&handles, &["a"]).await.unwrap();
    refused.report(Outcome::Failed { class: ErrorClass::AuthInvalid, retry_after: None });
    settle(&handles, |handles| in_flight(handles, "a") == 0).await;
    assert_eq!(key_states(&handles).await[0].1, KeyState::Retired);

    reconfigure(&handles, vec![endpoint("a", &["k=new"])]).await;

    assert_eq!(key_states(&handles).await[0].1, KeyState::Up);
    assert_eq!(acquire(&handles, &["a"]).await.unwrap().secret.as_ref().unwrap().expose(), "sk-new");
}

#[actix::test]
async fn a_rotation_under_many_askers_loses_nothing() {
    let ring = |turn: usize| {
        let keys = [format!("k{}", turn % 5), format!("k{}", (turn + 1) % 5), format!("hot=v{turn}")];
        endpoint("a", &keys.each_ref().map(String::as_str))
    };
    let handles = Arc::new(begin(vec![ring(0), endpoint("b", &["k"])]));
    let askers = (0..64).map(|n| {
        let handles = handles.clone();
        actix::spawn(async move {
            for call in 0..50 {
                let lease = acquire(&handles, &["a", "b"]).await.unwrap();
                match (n + call) % 4 {
                    0 => drop(lease),
                    1 => lease.report(Outcome::Cancelled),
                    2 => lease.report(Outcome::Failed { class: ErrorClass::ContextLength, retry_after: None }),
                    _ => lease.report(Outcome::Served),
                }
            }
        })
    });
    let askers: Vec<_> = askers.collect();

    for turn in 1..=100 {
        let mut wanted = vec![ring(turn), endpoint("b", &["k"])];
        if turn % 3 == 0 {
            wanted.push(endpoint("guest", &["k"]));
        }
        reconfigure(&handles, wanted).await;
    }
    for asker in askers {
        asker.await.unwrap();
    }

    settle(&handles, |handles| in_flight(handles, "a") + in_flight(handles, "b") == 0).await;
    assert_eq!(handles.board.leases_granted(), 64 * 50);
    assert_eq!(handles.board.leases_reported(), 64 * 50);
    assert!(key_states(&handles).await.iter().all(|(_, _, in_flight)| *in_flight == 0));
    assert_eq!(handles.board.restarts(), 0);
}
