//! Which key a probe goes out with, and what its failure means for that key.
//!
//! Only a key that would serve anything may go: one that rests, for whatever model, is left in peace. The probe takes
//! nothing of a key's allowance and counts as no call.

use super::*;

impl KeyRing {
    /// Returns the ready key that was not probed for the longest time, new ones first; `None` if none is ready.
    pub fn pick_for_probe(&mut self, now: Instant) -> Option<Picked> {
        let ready = |key: &Key| key.view(now).state == KeyState::Up && key.breaker.state() == BreakerState::Closed;
        let ready = self.keys.iter_mut().enumerate().filter(|(_, key)| ready(key));
        let (index, key) = ready.min_by_key(|(_, key)| key.probed_at)?;
        key.probed_at = Some(now);
        Some(Picked { index, serial: key.serial, pass: Pass::Plain })
    }

    /// Returns whether there is a ready key of which nothing is known: neither probed nor called.
    pub fn has_unknown(&self, now: Instant) -> bool {
        let unknown = |key: &Key| key.probed_at.is_none() && key.served == 0 && key.failed == 0;
        self.keys.iter().any(|key| unknown(key) && key.view(now).state == KeyState::Up)
    }

    /// Takes in that a probe failed. Returns the effect it had on the key: what concerns the account counts as after any
    /// call, what concerns one model or a doubtful answer does not, because no model was asked for.
    pub fn on_probe(
        &mut self,
        picked: Picked,
        class: ErrorClass,
        retry_after: Option<Duration>,
        now: Instant,
    ) -> KeyEffect {
        let Some(index) = self.place(picked) else { return KeyEffect::None };
        let effect = class.key_effect();
        let key = &mut self.keys[index];
        let of_key = matches!(effect, KeyEffect::Retire | KeyEffect::Exhaust) && key.spec.secret.is_some();
        if !of_key && effect != KeyEffect::RestAll {
            return KeyEffect::None;
        }
        key.last_error = Some(class);
        // None of these effects is about a model.
        self.apply(effect, index, &ModelName::from(""), retry_after, now);
        effect
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(secrets: &[Option<&str>]) -> KeyRing {
        let spec = |(index, secret): (usize, &Option<&str>)| KeySpec {
            id: format!("k{index}").into(),
            secret: secret.map(|secret| Secret::new(secret.to_owned())),
            weight: 1,
            rpm: None,
            tpm: None,
            models: vec!["*".into()],
            deny: vec![],
            teams: vec![],
        };
        let policy = KeyPolicy {
            strategy: Strategy::Ordered,
            headroom: 0.9,
            quota_rest: Duration::from_secs(3600),
            breaker: BreakerPolicy::default(),
        };
        KeyRing::new(secrets.iter().enumerate().map(spec).collect(), policy, Instant::now())
    }

    fn picks(ring: &mut KeyRing, times: usize) -> Vec<Option<usize>> {
        let now = Instant::now();
        (0..times)
            .map(|n| ring.pick_for_probe(now + Duration::from_secs(n as u64)).map(|picked| picked.index))
            .collect()
    }

    #[test]
    fn keys_take_turns() {
        assert_eq!(picks(&mut ring(&[Some("a"), Some("b")]), 3), [Some(0), Some(1), Some(0)]);
    }

    #[test]
    fn a_wrong_key_is_out_and_not_probed_again() {
        let now = Instant::now();
        let mut ring = ring(&[Some("a"), Some("b")]);
        let picked = ring.pick_for_probe(now).unwrap();

        let effect = ring.on_probe(picked, ErrorClass::AuthInvalid, None, now);

        assert_eq!(effect, KeyEffect::Retire);
        assert_eq!(picks(&mut ring, 2), [Some(1), Some(1)]);
        assert_eq!(ring.views(now)[0].state, KeyState::Retired);
        assert_eq!(ring.views(now)[0].last_error, Some(ErrorClass::AuthInvalid));
    }

    #[test]
    fn a_key_that_rests_for_any_model_is_left_in_peace() {
        let now = Instant::now();
        let mut ring = ring(&[Some("a")]);
        let limited = Outcome::Failed { class: ErrorClass::RateLimited, retry_after: Some(Duration::from_secs(60)) };
        let picked = Picked { index: 0, serial: 1, pass: Pass::Plain };
        ring.on_outcome(picked, &"m".into(), &limited, &LearnedLimits::default(), now, 0.5);

        assert_eq!(ring.pick_for_probe(now), None);
        assert!(ring.pick_for_probe(now + Duration::from_secs(61)).is_some());
    }

    #[test]
    fn a_failure_that_is_not_the_keys_leaves_it_as_it_was() {
        let now = Instant::now();
        for class in [ErrorClass::RateLimited, ErrorClass::ServerError, ErrorClass::PermissionModel] {
            let mut ring = ring(&[Some("a")]);
            let picked = ring.pick_for_probe(now).unwrap();

            assert_eq!(ring.on_probe(picked, class, None, now), KeyEffect::None);
            assert_eq!(ring.views(now)[0].state, KeyState::Up);
        }
    }

    #[test]
    fn where_no_key_is_asked_for_none_is_retired() {
        let now = Instant::now();
        let mut ring = ring(&[None]);
        let picked = ring.pick_for_probe(now).unwrap();

        assert_eq!(ring.on_probe(picked, ErrorClass::AuthInvalid, None, now), KeyEffect::None);
        assert_eq!(ring.views(now)[0].state, KeyState::Up);
    }
}
