//! How a ring takes over a new configuration while calls are out.
//!
//! A key is the same as before if its name and its value are. It keeps everything: rests, breaker, latencies, calls in
//! flight. A new value under an old name is a new key, so one that was retired is up again. A key that is gone gets no
//! more calls; the reports of those that are out find nobody and change nothing.

use super::*;

impl KeyRing {
    /// Goes on with `specs` and `policy`.
    pub fn renew(&mut self, specs: Vec<KeySpec>, policy: KeyPolicy, now: Instant) {
        self.policy = policy;
        let mut before: HashMap<KeyId, Key> =
            std::mem::take(&mut self.keys).into_iter().map(|key| (key.spec.id.clone(), key)).collect();
        for spec in specs {
            let same = before.remove(&spec.id).filter(|key| key.spec.secret == spec.secret);
            let key = match same {
                Some(key) => key.renewed(spec, &self.policy, now),
                None => self.fresh(spec, now),
            };
            self.keys.push(key);
        }
    }

    fn fresh(&mut self, spec: KeySpec, now: Instant) -> Key {
        self.next_serial += 1;
        Key {
            serial: self.next_serial,
            pulse: Pulse::default(),
            retired: false,
            exhausted_until: None,
            paused_until: None,
            rests: HashMap::new(),
            breaker: CircuitBreaker::closed(self.policy.breaker.clone(), now),
            requests: Allowance::configured(spec.rpm, now),
            tokens: Allowance::configured(spec.tpm, now),
            served: 0,
            failed: 0,
            last_error: None,
            probed_at: None,
            spec,
        }
    }
}

impl Key {
    fn renewed(mut self, spec: KeySpec, policy: &KeyPolicy, now: Instant) -> Self {
        // What the provider said of its limits is worth more than a figure that stays as it was.
        if self.spec.rpm != spec.rpm {
            self.requests = Allowance::configured(spec.rpm, now);
        }
        if self.spec.tpm != spec.tpm {
            self.tokens = Allowance::configured(spec.tpm, now);
        }
        self.breaker.renew(policy.breaker.clone());
        self.spec = spec;
        self
    }
}
