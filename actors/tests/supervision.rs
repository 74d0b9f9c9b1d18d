//! The supervision tree with real actors: leases are counted, deaths are answered, a poison request fails alone.

mod fixture;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bursar_actors::{
    Acquire, BreakerState, Chance, ChanceFactory, Clock, Command, EndpointSpec, ErrorClass, Handles, NoSuch, Outcome,
    Refusal, Steering, SystemOptions, Tried, Views, start,
};

use fixture::{acquire, ask, endpoint, in_flight, settle};

fn begin(endpoints: Vec<EndpointSpec>, clock: &Clock, chance_for: Option<ChanceFactory>) -> Handles {
    start(SystemOptions { endpoints, clock: clock.clone(), seed: 11, chance_for })
}

/// A chance that panics from its `fuse`-th draw of an endpoint's first incarnation on.
fn fused(victim: &'static str, fuse: u32, every_incarnation: bool) -> ChanceFactory {
    Box::new(move |id, incarnation| {
        if id.as_str() != victim || (incarnation > 0 && !every_incarnation) {
            return Chance::seeded(incarnation);
        }
        let draws = AtomicU32::new(0);
        Chance::from_fn(move || {
            assert!(draws.fetch_add(1, Ordering::Relaxed) < fuse, "the fuse is blown");
            0.5
        })
    })
}

#[actix::test]
async fn a_lease_counts_as_in_flight_until_it_reports() {
    let handles = begin(vec![endpoint("a", &["k"])], &Clock::system(), None);
    let lease = acquire(&handles, ask(&["a"])).await.unwrap();
    assert_eq!(in_flight(&handles, "a"), 1);
    assert_eq!((lease.key_id.as_str(), lease.endpoint().as_str(), lease.candidate), ("k", "a", 0));

    lease.report(Outcome::Served);

    settle(&handles, |handles| in_flight(handles, "a") == 0).await;
    assert_eq!((handles.board.leases_granted(), handles.board.leases_reported()), (1, 1));
}

#[actix::test]
async fn a_forgotten_lease_reports_itself() {
    let handles = begin(vec![endpoint("a", &["k"])], &Clock::system(), None);

    drop(acquire(&handles, ask(&["a"])).await.unwrap());

    settle(&handles, |handles| in_flight(handles, "a") == 0).await;
    assert_eq!(handles.board.leases_reported(), 1);
}

#[actix::test]
async fn an_answer_nobody_waits_for_gives_its_lease_back() {
    let handles = begin(vec![endpoint("a", &["k"])], &Clock::system(), None);

    // Polled once, so that it is in the mailbox, and then dropped, as when a client hangs up.
    let mut asked = Box::pin(handles.supervisor.send(ask(&["a"])));
    let _ = std::future::poll_fn(|context| std::task::Poll::Ready(asked.as_mut().poll(context))).await;
    drop(asked);

    // Whether the lease was still granted is a race; that it is not kept is not.
    handles.supervisor.send(Views).await.unwrap();
    settle(&handles, |handles| handles.board.leases_granted() == handles.board.leases_reported()).await;
    settle(&handles, |handles| in_flight(handles, "a") == 0).await;
}

#[actix::test]
async fn room_for_one_call_serves_one_call_after_the_other_without_a_pause() {
    let handles = begin(vec![EndpointSpec { in_flight_max: 1, ..endpoint("a", &["k"]) }], &Clock::system(), None);

    for _ in 0..20 {
        let lease = acquire(&handles, ask(&["a"])).await.expect("the call before has ended");
        assert!(acquire(&handles, ask(&["a"])).await.is_err(), "there is room for one");
        lease.report(Outcome::Served);
    }
}

#[actix::test]
async fn the_call_after_a_good_probe_goes_at_once() {
    let handles = begin(vec![endpoint("a", &["k"])], &Clock::manual(), None);
    for _ in 0..20 {
        for _ in 0..5 {
            let lease = acquire(&handles, ask(&["a"])).await.expect("five failures open it, not fewer");
            lease.report(Outcome::Failed { class: ErrorClass::ConnectFailed, retry_after: None });
        }
        assert!(acquire(&handles, ask(&["a"])).await.is_err(), "the breaker is open");
        command(&handles, None, Steering::Wake).await.unwrap();

        acquire(&handles, ask(&["a"])).await.expect("the probe").report(Outcome::Served);
        acquire(&handles, ask(&["a"])).await.expect("the probe was served").report(Outcome::Served);
    }
}

#[actix::test]
async fn a_failing_endpoint_is_left_for_the_next_one() {
    let handles = begin(vec![endpoint("a", &["k"]), endpoint("b", &["k"])], &Clock::system(), None);
    let tried = vec![Tried { candidate: 0, key: "k".into(), class: ErrorClass::FirstByteTimeout }];

    let lease = acquire(&handles, Acquire { tried, ..ask(&["a", "b"]) }).await.unwrap();

    assert_eq!(lease.endpoint().as_str(), "b");
    assert!(!lease.again);
}

#[actix::test]
async fn who_is_left_out_is_not_asked_whatever_becomes_of_the_others() {
    let handles = begin(vec![endpoint("a", &["k"]), endpoint("b", &["k"])], &Clock::manual(), None);
    let wanted = || Acquire { left_out: vec![0], ..ask(&["b", "a"]) };

    let lease = acquire(&handles, wanted()).await.unwrap();
    command(&handles, None, Steering::Drain).await.unwrap();
    let refused = acquire(&handles, wanted()).await.err().unwrap();

    assert_eq!((lease.candidate, lease.endpoint().as_str()), (1, "a"));
    assert!(matches!(refused.refusals[..], [(1, Refusal::Paused { .. })]), "{refused:?}");
}

#[actix::test]
async fn with_nothing_else_left_the_same_endpoint_is_tried_again_once() {
    let handles = begin(vec![endpoint("a", &["k"])], &Clock::system(), None);
    let failed = || Tried { candidate: 0, key: "k".into(), class: ErrorClass::ServerError };

    assert!(acquire(&handles, Acquire { tried: vec![failed()], ..ask(&["a"]) }).await.unwrap().again);

    let refused = acquire(&handles, Acquire { tried: vec![failed(), failed()], ..ask(&["a"]) }).await.err().unwrap();
    assert_eq!(refused.refusals, [(0, Refusal::Tried)]);
}

#[actix::test]
async fn five_failures_open_the_breaker_and_the_refusal_says_until_when() {
    let clock = Clock::manual();
    let handles = begin(vec![endpoint("a", &["k"])], &clock, None);
    for _ in 0..5 {
        let lease = acquire(&handles, ask(&["a"])).await.unwrap();
        lease.report(Outcome::Failed { class: ErrorClass::ConnectFailed, retry_after: None });
    }

    settle(&handles, |handles| !handles.board.view(&"a".into()).unwrap().admits(clock.now())).await;
    let refused = acquire(&handles, ask(&["a"])).await.err().unwrap();
    let soonest = refused.soonest.unwrap();
    assert!((8..=12).contains(&soonest.as_secs()), "{soonest:?}");

    clock.advance(Duration::from_secs(12));
    acquire(&handles, ask(&["a"])).await.unwrap().report(Outcome::Served);
    settle(&handles, |handles| handles.board.view(&"a".into()).unwrap().breaker == BreakerState::Closed).await;
}

#[actix::test]
async fn what_the_gateway_itself_lacks_blames_neither_endpoint_nor_key() {
    let clock = Clock::manual();
    let handles = begin(vec![endpoint("a", &["k"])], &clock, None);
    for _ in 0..20 {
        let lease = acquire(&handles, ask(&["a"])).await.unwrap();
        lease.report(Outcome::Failed { class: ErrorClass::GatewayOverloaded, retry_after: None });
    }

    settle(&handles, |handles| handles.board.leases_reported() == 20).await;
    let lease = acquire(&handles, ask(&["a"])).await.unwrap();
    let view = handles.board.view(&"a".into()).unwrap();

    assert_eq!(view.breaker, BreakerState::Closed);
    assert_eq!(view.pulse.errors.share(clock.now()), 0.0);
    lease.report(Outcome::Served);
}

#[actix::test]
async fn a_poison_request_fails_alone_and_its_endpoint_lives() {
    // Two keys make the choice draw by chance, and the first draw panics.
    let handles = begin(vec![endpoint("a", &["k1", "k2"])], &Clock::system(), Some(fused("a", 0, true)));

    let refused = acquire(&handles, ask(&["a"])).await.err().unwrap();

    assert!(refused.poisoned);
    assert_eq!(handles.board.restarts(), 0);
    assert_eq!(handles.supervisor.send(Views).await.unwrap().len(), 1);
}

#[actix::test]
async fn a_dead_endpoint_is_restarted_half_open_and_its_neighbour_never_notices() {
    // A report draws once, outside of what is caught: the actor dies of it.
    let endpoints = vec![endpoint("a", &["k"]), endpoint("b", &["k"])];
    let handles = begin(endpoints, &Clock::system(), Some(fused("a", 0, false)));
    let neighbour = acquire(&handles, ask(&["b"])).await.unwrap();
    let survivor = acquire(&handles, ask(&["a"])).await.unwrap();

    acquire(&handles, ask(&["a"])).await.unwrap().report(Outcome::Served);

    settle(&handles, |handles| handles.board.restarts() == 1).await;
    let probe = acquire(&handles, ask(&["a"])).await.unwrap();
    assert_eq!(handles.board.view(&"a".into()).unwrap().breaker, BreakerState::HalfOpen { probing: true });
    probe.report(Outcome::Served);
    survivor.report(Outcome::Served);
    neighbour.report(Outcome::Served);
    settle(&handles, |handles| in_flight(handles, "a") == 0 && in_flight(handles, "b") == 0).await;
    assert_eq!(handles.board.leases_granted(), handles.board.leases_reported());
}

#[actix::test]
async fn an_endpoint_that_keeps_dying_is_quarantined() {
    let handles = begin(vec![endpoint("a", &["k"])], &Clock::manual(), Some(fused("a", 0, true)));

    for death in 1..=6u64 {
        acquire(&handles, ask(&["a"])).await.unwrap().report(Outcome::Served);
        settle(&handles, |handles| {
            let quarantined = handles.board.view(&"a".into()).unwrap().quarantined;
            handles.board.restarts() == death || quarantined
        })
        .await;
    }

    let refused = acquire(&handles, ask(&["a"])).await.err().unwrap();
    assert_eq!(refused.refusals, [(0, Refusal::Quarantined)]);
    assert_eq!(handles.board.restarts(), 5);
}

async fn command(handles: &Handles, key: Option<&str>, steering: Steering) -> Result<(), NoSuch> {
    let command = Command { endpoint: "a".into(), key: key.map(Into::into), steering };
    handles.supervisor.send(command).await.expect("the supervisor lives")
}

#[actix::test]
async fn a_drained_endpoint_gets_no_calls_until_it_is_woken() {
    let handles = begin(vec![endpoint("a", &["k"])], &Clock::manual(), None);
    let running = acquire(&handles, ask(&["a"])).await.unwrap();

    command(&handles, None, Steering::Drain).await.unwrap();

    let refused = acquire(&handles, ask(&["a"])).await.err().unwrap();
    assert!(matches!(refused.refusals[..], [(0, Refusal::Paused { .. })]), "{refused:?}");
    running.report(Outcome::Served);
    command(&handles, None, Steering::Wake).await.unwrap();
    assert!(acquire(&handles, ask(&["a"])).await.is_ok());
}

#[actix::test]
async fn a_rest_ends_by_itself_and_unknown_names_are_told() {
    let clock = Clock::manual();
    let handles = begin(vec![endpoint("a", &["k"])], &clock, None);

    command(&handles, Some("k"), Steering::Rest(Duration::from_secs(60))).await.unwrap();
    let refused = acquire(&handles, ask(&["a"])).await.err().unwrap();
    assert_eq!(refused.soonest, Some(Duration::from_secs(60)));

    clock.advance(Duration::from_secs(60));
    assert!(acquire(&handles, ask(&["a"])).await.is_ok());
    assert_eq!(command(&handles, Some("nobody"), Steering::Wake).await, Err(NoSuch::Key));
    let nowhere = Command { endpoint: "b".into(), key: None, steering: Steering::Wake };
    assert_eq!(handles.supervisor.send(nowhere).await.unwrap(), Err(NoSuch::Endpoint));
}

#[actix::test]
async fn no_lease_is_lost_when_many_ask_at_once() {
    let handles = begin(vec![endpoint("a", &["k1", "k2"]), endpoint("b", &["k"])], &Clock::system(), None);
    let handles = Arc::new(handles);

    let askers = (0..64).map(|n| {
        let handles = handles.clone();
        actix::spawn(async move {
            for call in 0..50 {
                let lease = acquire(&handles, ask(&["a", "b"])).await.unwrap();
                match (n + call) % 3 {
                    0 => drop(lease),
                    1 => lease.report(Outcome::Cancelled),
                    _ => lease.report(Outcome::Served),
                }
            }
        })
    });
    for asker in askers.collect::<Vec<_>>() {
        asker.await.unwrap();
    }

    settle(&handles, |handles| in_flight(handles, "a") + in_flight(handles, "b") == 0).await;
    assert_eq!(handles.board.leases_granted(), 64 * 50);
    assert_eq!(handles.board.leases_reported(), 64 * 50);
}
