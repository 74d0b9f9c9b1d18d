//! The ring's rules, one behaviour each.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn spec(id: &str) -> KeySpec {
    KeySpec {
        id: KeyId::from(id),
        secret: Some(Secret::new(format!("sk-{id}"))),
        weight: 1,
        rpm: None,
        tpm: None,
        models: vec!["*".into()],
        deny: vec![],
        teams: vec![],
    }
}

fn policy() -> KeyPolicy {
    KeyPolicy {
        strategy: Strategy::P2cEwma,
        headroom: 0.9,
        quota_rest: 3600 * SECOND,
        breaker: BreakerPolicy::default(),
    }
}

struct Bench {
    ring: KeyRing,
    now: Instant,
    chance: Chance,
    model: ModelName,
}

impl Bench {
    fn new(specs: Vec<KeySpec>) -> Self {
        let now = Instant::now();
        Self { ring: KeyRing::new(specs, policy(), now), now, chance: Chance::seeded(3), model: "m".into() }
    }

    fn pick(&mut self, after: Duration) -> Result<Picked, NoKey> {
        self.pick_for(None, &[], after)
    }

    fn pick_for(&mut self, team: Option<&TeamId>, tried: &[KeyId], after: Duration) -> Result<Picked, NoKey> {
        let model = self.model.clone();
        let need = KeyNeed { model: &model, team, tokens: 10, form: ReplyForm::Whole, tried };
        self.ring.pick(&need, self.now + after, &mut self.chance)
    }

    fn end(&mut self, picked: Picked, outcome: Outcome, after: Duration) {
        let model = self.model.clone();
        self.ring.on_outcome(picked, &model, &outcome, &LearnedLimits::default(), self.now + after, 0.5);
    }

    fn fail(&mut self, picked: Picked, class: ErrorClass, retry_after: Option<Duration>, after: Duration) {
        self.end(picked, Outcome::Failed { class, retry_after }, after);
    }
}

#[test]
fn a_throttled_key_rests_and_the_next_one_serves() {
    let mut bench = Bench::new(vec![spec("k1"), spec("k2")]);
    let first = bench.pick(Duration::ZERO).unwrap();

    bench.fail(first, ErrorClass::RateLimited, Some(20 * SECOND), Duration::ZERO);

    for _ in 0..10 {
        let next = bench.pick(SECOND).unwrap();
        assert_ne!(next.index, first.index);
        bench.end(next, Outcome::Served, SECOND);
    }
    let later: Vec<_> = (0..10).map(|_| bench.pick(20 * SECOND).unwrap().index).collect();
    assert!(later.contains(&first.index));
}

#[test]
fn a_rest_concerns_one_model_only() {
    let mut bench = Bench::new(vec![spec("k1")]);
    let picked = bench.pick(Duration::ZERO).unwrap();
    bench.fail(picked, ErrorClass::RateLimited, Some(20 * SECOND), Duration::ZERO);

    assert_eq!(bench.pick(SECOND), Err(NoKey::Resting { until: bench.now + 20 * SECOND }));
    bench.model = "other".into();
    assert!(bench.pick(SECOND).is_ok());
}

#[test]
fn a_429_without_a_time_rests_two_seconds_then_four() {
    let mut bench = Bench::new(vec![spec("k1")]);
    let first = bench.pick(Duration::ZERO).unwrap();
    bench.fail(first, ErrorClass::RateLimited, None, Duration::ZERO);
    assert_eq!(bench.pick(SECOND), Err(NoKey::Resting { until: bench.now + 2 * SECOND }));

    let second = bench.pick(2 * SECOND).unwrap();
    bench.fail(second, ErrorClass::RateLimited, None, 2 * SECOND);

    assert_eq!(bench.pick(3 * SECOND), Err(NoKey::Resting { until: bench.now + 6 * SECOND }));
}

#[test]
fn a_key_refused_with_401_never_comes_back_by_itself() {
    let mut bench = Bench::new(vec![spec("k1"), spec("k2")]);
    let picked = bench.pick(Duration::ZERO).unwrap();

    bench.fail(picked, ErrorClass::AuthInvalid, None, Duration::ZERO);

    for hour in 0..50 {
        assert_ne!(bench.pick(3600 * SECOND * hour).unwrap().index, picked.index);
    }
    assert_eq!(bench.ring.views(bench.now)[picked.index].state, KeyState::Retired);
}

#[test]
fn an_upstream_without_keys_is_never_out_for_good() {
    let mut bench = Bench::new(vec![KeySpec { secret: None, ..spec("none") }]);
    for class in [ErrorClass::AuthInvalid, ErrorClass::QuotaExhausted, ErrorClass::PermissionModel] {
        let picked = bench.pick(Duration::ZERO).unwrap();
        bench.fail(picked, class, Some(3600 * SECOND), Duration::ZERO);

        assert_eq!(bench.pick(SECOND), Err(NoKey::Resting { until: bench.now + 10 * SECOND }));
        bench.now += 10 * SECOND;
    }
}

#[test]
fn a_provider_cannot_ask_for_more_than_an_hour() {
    let mut bench = Bench::new(vec![spec("k1")]);
    let picked = bench.pick(Duration::ZERO).unwrap();

    bench.fail(picked, ErrorClass::RateLimited, Some(Duration::from_secs(1_000_000_000)), Duration::ZERO);

    assert_eq!(bench.pick(SECOND), Err(NoKey::Resting { until: bench.now + REST_MAX }));
}

#[test]
fn a_flapping_key_is_suspended_but_never_more_than_half_of_them() {
    let mut bench = Bench::new(vec![spec("k1"), spec("k2"), spec("k3")]);

    for _ in 0..100 {
        let picked = bench.pick(Duration::ZERO).unwrap();
        bench.fail(picked, ErrorClass::ServerError, None, Duration::ZERO);
    }

    let views = bench.ring.views(bench.now);
    assert_eq!(views.iter().filter(|view| view.state == KeyState::Suspended).count(), 1);
}

#[test]
fn a_team_gets_only_the_keys_it_may_use() {
    let team = TeamId::from("research");
    let mut bench = Bench::new(vec![KeySpec { teams: vec![team.clone()], ..spec("k1") }]);

    assert_eq!(bench.pick(Duration::ZERO), Err(NoKey::NotAllowed));
    assert!(bench.pick_for(Some(&team), &[], Duration::ZERO).is_ok());
}

#[test]
fn a_request_does_not_get_a_key_twice() {
    let mut bench = Bench::new(vec![spec("k1")]);

    assert_eq!(bench.pick_for(None, &["k1".into()], Duration::ZERO), Err(NoKey::Tried));
}

#[test]
fn what_the_provider_says_is_left_is_respected() {
    let mut bench = Bench::new(vec![spec("k1"), spec("k2")]);
    let picked = bench.pick(Duration::ZERO).unwrap();
    let left = crate::outcome::Learned { limit: Some(100), remaining: 0, reset: Some(30 * SECOND) };
    let limits = LearnedLimits { requests: Some(left), tokens: None };

    bench.ring.on_outcome(picked, &bench.model.clone(), &Outcome::Served, &limits, bench.now, 0.5);

    for _ in 0..10 {
        assert_ne!(bench.pick(SECOND).unwrap().index, picked.index);
    }
}

#[test]
fn a_renewed_ring_keeps_the_state_of_keys_that_stay() {
    let mut bench = Bench::new(vec![spec("k1"), spec("k2")]);
    let resting = bench.pick(Duration::ZERO).unwrap();
    bench.fail(resting, ErrorClass::RateLimited, Some(20 * SECOND), Duration::ZERO);
    let busy = bench.pick(SECOND).unwrap();
    let state = |bench: &Bench, picked: Picked| {
        let id = bench.ring.spec(picked).unwrap().id.clone();
        let view = bench.ring.views(bench.now + SECOND).into_iter().find(|view| view.id == id).unwrap();
        (view.state, view.in_flight, view.served)
    };

    let heavier = KeySpec { weight: 5, ..spec("k2") };
    bench.ring.renew(vec![spec("k0"), heavier, spec("k1")], policy(), bench.now + SECOND);

    assert_eq!(state(&bench, resting), (KeyState::Resting, 0, 0));
    assert_eq!(state(&bench, busy), (KeyState::Up, 1, 0));
    bench.end(busy, Outcome::Served, SECOND);
    assert_eq!(state(&bench, busy), (KeyState::Up, 0, 1));
}

#[test]
fn a_new_value_makes_a_retired_key_fresh_and_the_old_ones_reports_do_not_touch_it() {
    let mut bench = Bench::new(vec![spec("k1")]);
    let late = bench.pick(Duration::ZERO).unwrap();
    let refused = bench.pick(Duration::ZERO).unwrap();
    bench.fail(refused, ErrorClass::AuthInvalid, None, Duration::ZERO);
    assert_eq!(bench.pick(SECOND), Err(NoKey::Retired));

    bench.ring.renew(vec![spec("k1")], policy(), bench.now);
    assert_eq!(bench.pick(SECOND), Err(NoKey::Retired), "the same value is still refused");
    let changed = KeySpec { secret: Some(Secret::new("sk-new".into())), ..spec("k1") };
    bench.ring.renew(vec![changed], policy(), bench.now);

    let fresh = bench.pick(SECOND).unwrap();
    bench.fail(late, ErrorClass::AuthInvalid, None, SECOND);
    bench.end(fresh, Outcome::Served, SECOND);
    assert_eq!(bench.ring.views(bench.now + SECOND)[0].state, KeyState::Up);
    assert_eq!(bench.ring.views(bench.now + SECOND)[0].in_flight, 0);
}

#[test]
fn a_removed_key_is_not_picked_and_its_report_finds_nobody() {
    let mut bench = Bench::new(vec![spec("k1"), spec("k2")]);
    let picked = bench.pick(Duration::ZERO).unwrap();
    let left = if picked.index == 0 { "k2" } else { "k1" };

    bench.ring.renew(vec![spec(left)], policy(), bench.now);

    bench.fail(picked, ErrorClass::RateLimited, None, SECOND);
    assert!(bench.ring.spec(picked).is_none());
    assert_eq!(bench.ring.views(bench.now + SECOND)[0].state, KeyState::Up);
    let next = bench.pick(SECOND).unwrap();
    assert_eq!(bench.ring.spec(next).unwrap().id, KeyId::from(left));
}

#[test]
fn a_changed_limit_counts_from_now_on_and_an_unchanged_one_goes_on() {
    let limited = |rpm| KeySpec { rpm: Some(rpm), ..spec("k1") };
    let mut bench = Bench::new(vec![limited(10)]);
    for _ in 0..9 {
        bench.pick(Duration::ZERO).unwrap();
    }

    bench.ring.renew(vec![limited(10)], policy(), bench.now);
    assert!(matches!(bench.pick(SECOND), Err(NoKey::Resting { .. })));

    bench.ring.renew(vec![limited(20)], policy(), bench.now);
    assert!(bench.pick(SECOND).is_ok());
}

#[test]
fn the_operator_can_rest_a_key_and_wake_it_again() {
    let mut bench = Bench::new(vec![spec("k1")]);
    let (key, now) = (KeyId::from("k1"), bench.now);

    assert!(bench.ring.steer(&key, Some(now + 60 * SECOND), now));
    assert_eq!(bench.pick(SECOND), Err(NoKey::Resting { until: now + 60 * SECOND }));

    assert!(bench.ring.steer(&key, None, now));
    assert!(bench.pick(SECOND).is_ok());
    assert!(!bench.ring.steer(&"nobody".into(), None, now));
}

#[test]
fn waking_brings_back_even_a_retired_key() {
    let mut bench = Bench::new(vec![spec("k1")]);
    let picked = bench.pick(Duration::ZERO).unwrap();
    bench.fail(picked, ErrorClass::AuthInvalid, None, Duration::ZERO);
    assert_eq!(bench.pick(SECOND), Err(NoKey::Retired));

    bench.ring.steer(&"k1".into(), None, bench.now);

    assert!(bench.pick(SECOND).is_ok());
}

#[test]
fn the_key_with_more_quota_left_gets_more_of_the_traffic() {
    let mut bench = Bench::new(vec![spec("k1"), spec("k2")]);
    for (index, remaining) in [(0, 900), (1, 200)] {
        let left = crate::outcome::Learned { limit: Some(1_000), remaining, reset: Some(60 * SECOND) };
        let limits = LearnedLimits { requests: Some(left), tokens: None };
        let picked = Picked { index, serial: bench.ring.keys[index].serial, pass: Pass::Plain };
        bench.ring.on_outcome(picked, &bench.model.clone(), &Outcome::Served, &limits, bench.now, 0.5);
    }

    let mut picks = [0, 0];
    for call in 0..100 {
        let picked = bench.pick(Duration::from_millis(call * 20)).unwrap();
        picks[picked.index] += 1;
        bench.end(picked, Outcome::Served, Duration::from_millis(call * 20));
    }
    assert!(picks[0] > 2 * picks[1], "{picks:?}");
}
