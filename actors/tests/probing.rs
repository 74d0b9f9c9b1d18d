//! Probes over the real tree: who is asked when, with which key, and what an answer changes.
#![allow(clippy::unwrap_used)]

mod fixture;

use std::time::Duration;

use bursar_actors::{
    Acquire, BreakerState, Candidate, Clock, Command, EndpointSpec, EndpointStatus, ErrorClass, Handles, KeyState,
    Outcome, ProbeLease, Probed, ProbesDue, Reconfigure, Repeat, Steering, SystemOptions, Views, start,
};

const EVERY: Duration = Duration::from_secs(30);
/// Longer than any jitter makes of [`EVERY`].
const LONG: Duration = Duration::from_secs(37);

fn endpoint(id: &str, keys: &[&str]) -> EndpointSpec {
    EndpointSpec { home: 1, ..fixture::endpoint(id, keys) }
}

fn begin(endpoints: Vec<EndpointSpec>) -> (Handles, Clock) {
    let clock = Clock::manual();
    (start(SystemOptions { endpoints, clock: clock.clone(), seed: 11, chance_for: None }), clock)
}

async fn due(handles: &Handles, endpoints: &[&str], most: usize) -> Vec<ProbeLease> {
    let endpoints = endpoints.iter().map(|id| ((*id).into(), 1)).collect();
    handles.supervisor.send(ProbesDue { endpoints, every: EVERY, most }).await.unwrap()
}

async fn names(handles: &Handles, endpoints: &[&str], most: usize) -> Vec<String> {
    due(handles, endpoints, most).await.iter().map(|lease| lease.endpoint.to_string()).collect()
}

/// Lets every probe end so; returns when that was taken in, because the clock is turned next.
async fn end(handles: &Handles, leases: Vec<ProbeLease>, probed: Probed) {
    assert!(!leases.is_empty());
    leases.into_iter().for_each(|lease| lease.report(probed.clone()));
    handles.supervisor.send(Views).await.unwrap();
}

fn failed(class: ErrorClass) -> Probed {
    Probed::Failed { class, retry_after: None, why: "it did".into() }
}

async fn status(handles: &Handles) -> EndpointStatus {
    handles.supervisor.send(Views).await.unwrap().remove(0)
}

async fn serve(handles: &Handles, endpoint: &str, outcome: Outcome) {
    let candidate = Candidate { endpoint: endpoint.into(), home: 1, model: "m".into(), weight: 1, rank: 0 };
    let acquire = Acquire { candidates: [candidate].into(), repeat: Repeat::Never, ..fixture::ask(&[]) };
    handles.supervisor.send(acquire).await.unwrap().unwrap_or_else(|why| panic!("{why:?}")).report(outcome);
}

#[actix::test]
async fn a_quiet_endpoint_is_probed_and_one_that_serves_is_not() {
    let (handles, clock) = begin(vec![endpoint("a", &["k"]), endpoint("b", &["k"])]);
    end(&handles, due(&handles, &["a", "b"], 9).await, Probed::Ok).await;

    clock.advance(LONG - EVERY);
    assert!(names(&handles, &["a", "b"], 9).await.is_empty());
    clock.advance(EVERY - Duration::from_secs(1));
    serve(&handles, "a", Outcome::Served).await;
    // Its word is collected with this question, and the clock then says that it has just served.
    assert!(!names(&handles, &["a"], 9).await.contains(&"a".to_owned()));
    clock.advance(Duration::from_secs(2));

    assert_eq!(names(&handles, &["a", "b"], 9).await, ["b"]);
}

#[actix::test]
async fn a_call_that_fails_does_not_put_a_probe_off() {
    let (handles, clock) = begin(vec![endpoint("a", &["k"])]);
    end(&handles, due(&handles, &["a"], 9).await, Probed::Ok).await;
    clock.advance(LONG);

    serve(&handles, "a", Outcome::Failed { class: ErrorClass::ServerError, retry_after: None }).await;

    assert_eq!(names(&handles, &["a"], 9).await, ["a"]);
}

#[actix::test]
async fn probes_of_one_endpoint_never_overlap_and_one_given_up_may_be_repeated() {
    let (handles, clock) = begin(vec![endpoint("a", &["k"])]);
    let out = due(&handles, &["a"], 9).await;
    clock.advance(10 * LONG);

    assert!(names(&handles, &["a"], 9).await.is_empty());
    drop(out);

    assert_eq!(names(&handles, &["a"], 9).await, ["a"]);
    assert_eq!(status(&handles).await.probe, None);
}

#[actix::test]
async fn no_more_are_granted_than_were_asked_for_and_none_for_another_address() {
    let (handles, _) = begin(["a", "b", "c"].map(|id| endpoint(id, &["k"])).into());

    let elsewhere = ProbesDue { endpoints: vec![("a".into(), 2), ("z".into(), 1)], every: EVERY, most: 9 };
    assert!(handles.supervisor.send(elsewhere).await.unwrap().is_empty());
    let two = due(&handles, &["c", "b", "a"], 2).await;

    assert_eq!(two.iter().map(|lease| lease.endpoint.as_str()).collect::<Vec<_>>(), ["c", "b"]);
}

#[actix::test]
async fn a_wrong_key_is_retired_and_the_next_is_asked_at_once() {
    let (handles, _) = begin(vec![endpoint("a", &["k1", "k2"])]);
    let first = due(&handles, &["a"], 9).await;
    assert_eq!(first[0].secret.as_ref().unwrap().expose(), "sk-k1");

    end(&handles, first, failed(ErrorClass::AuthInvalid)).await;
    let second = due(&handles, &["a"], 9).await;

    assert_eq!(second[0].secret.as_ref().unwrap().expose(), "sk-k2");
    end(&handles, second, Probed::Ok).await;
    let status = status(&handles).await;
    assert_eq!(status.keys.iter().map(|key| key.state).collect::<Vec<_>>(), [KeyState::Retired, KeyState::Up]);
    let probe = status.probe.unwrap();
    assert_eq!((probe.key.as_str(), probe.probed), ("k2", Probed::Ok));
    assert_eq!(status.keys[0].failed, 0, "a probe is no call");
}

#[actix::test]
async fn keys_that_nobody_knows_are_asked_one_after_the_other_and_then_in_turn() {
    let (handles, clock) = begin(vec![endpoint("a", &["k1", "k2", "k3"])]);

    let mut asked = vec![];
    loop {
        let out = due(&handles, &["a"], 9).await;
        assert!(out.len() < 2, "never two at once");
        let Some(lease) = out.first() else { break };
        asked.push(lease.secret.as_ref().unwrap().expose().to_owned());
        end(&handles, out, Probed::Ok).await;
    }

    assert_eq!(asked, ["sk-k1", "sk-k2", "sk-k3"]);
    clock.advance(LONG);
    assert_eq!(due(&handles, &["a"], 9).await.len(), 1);
}

#[actix::test]
async fn an_upstream_that_fails_is_not_asked_with_one_key_after_the_other() {
    let (handles, _) = begin(vec![endpoint("a", &["k1", "k2"])]);

    end(&handles, due(&handles, &["a"], 9).await, failed(ErrorClass::ConnectFailed)).await;

    assert!(names(&handles, &["a"], 9).await.is_empty());
}

#[actix::test]
async fn an_endpoint_without_a_ready_key_or_taken_out_is_left_alone() {
    let (handles, clock) = begin(vec![endpoint("a", &["k"]), endpoint("b", &["k"])]);
    let command = |endpoint: &str, key: Option<&str>| Command {
        endpoint: endpoint.into(),
        key: key.map(Into::into),
        steering: Steering::Rest(LONG),
    };
    handles.supervisor.send(command("a", Some("k"))).await.unwrap().unwrap();
    handles.supervisor.send(command("b", None)).await.unwrap().unwrap();

    assert!(names(&handles, &["a", "b"], 9).await.is_empty());
    clock.advance(LONG);

    assert_eq!(names(&handles, &["a", "b"], 9).await, ["a", "b"]);
}

#[actix::test]
async fn failed_probes_open_the_breaker_and_only_a_call_closes_it() {
    let (handles, clock) = begin(vec![endpoint("a", &["k"])]);
    for _ in 0..5 {
        end(&handles, due(&handles, &["a"], 9).await, failed(ErrorClass::ConnectFailed)).await;
        clock.advance(LONG);
    }
    assert!(matches!(status(&handles).await.view.breaker, BreakerState::Open { .. }));

    end(&handles, due(&handles, &["a"], 9).await, Probed::Ok).await;
    let after_probe = status(&handles).await;
    assert!(matches!(after_probe.view.breaker, BreakerState::Open { .. }));
    assert_eq!(after_probe.probe.unwrap().probed, Probed::Ok);
    assert_eq!((handles.board.leases_granted(), after_probe.view.pulse.in_flight), (0, 0));

    serve(&handles, "a", Outcome::Served).await;
    assert_eq!(status(&handles).await.view.breaker, BreakerState::Closed);
}

#[actix::test]
async fn after_a_reload_a_changed_endpoint_is_probed_at_once() {
    let (handles, _) = begin(vec![endpoint("a", &["old"])]);
    end(&handles, due(&handles, &["a"], 9).await, failed(ErrorClass::AuthInvalid)).await;
    assert!(names(&handles, &["a"], 9).await.is_empty(), "no key is left");

    handles.supervisor.send(Reconfigure { endpoints: vec![endpoint("a", &["new"])] }).await.unwrap();

    let leases = due(&handles, &["a"], 9).await;
    assert_eq!(leases[0].secret.as_ref().unwrap().expose(), "sk-new");
}

#[actix::test]
async fn a_key_woken_by_hand_is_probed_at_once() {
    let (handles, _) = begin(vec![endpoint("a", &["k"])]);
    end(&handles, due(&handles, &["a"], 9).await, failed(ErrorClass::AuthInvalid)).await;
    assert!(names(&handles, &["a"], 9).await.is_empty());

    let wake = Command { endpoint: "a".into(), key: Some("k".into()), steering: Steering::Wake };
    handles.supervisor.send(wake).await.unwrap().unwrap();

    assert_eq!(names(&handles, &["a"], 9).await, ["a"]);
}

#[actix::test]
async fn a_probe_of_an_address_that_was_left_counts_for_nothing() {
    let (handles, _) = begin(vec![endpoint("a", &["k"])]);
    let out = due(&handles, &["a"], 9).await;
    let moved = EndpointSpec { home: 2, ..endpoint("a", &["k"]) };
    handles.supervisor.send(Reconfigure { endpoints: vec![moved] }).await.unwrap();

    end(&handles, out, failed(ErrorClass::AuthInvalid)).await;

    let status = status(&handles).await;
    assert_eq!((status.probe, status.keys[0].state), (None, KeyState::Up));
}
