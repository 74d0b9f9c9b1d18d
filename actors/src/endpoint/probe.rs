//! When an endpoint is asked for its list of models while nobody uses it, and what the answer means.
//!
//! A probe costs no tokens and tells of a dead upstream or a wrong key before a request meets it. A failure counts as
//! that of a call would, except against requests: there is none to retry. An answer mends nothing that calls broke: who
//! lists models need not serve them, so an open breaker waits for a live call.
//!
//! The lease says exactly once how the probe ended, by a message to the very actor that granted it; one that has died
//! meanwhile starts anew and needs no word.

use std::time::{Duration, Instant};

use actix::{AsyncContext, Handler, Message, WeakAddr};
use tracing::{debug, info, warn};

use super::Endpoint;
use super::keyring::Picked;
use crate::ids::{EndpointId, KeyId, Secret};
use crate::outcome::{ErrorClass, KeyEffect, Outcome};

/// An upstream that has no list is asked no more often than this.
const RARELY: Duration = Duration::from_secs(3600);
/// Longest time by which an upstream can put the next probe off.
const PUT_OFF_MAX: Duration = Duration::from_secs(3600);

/// How a probe ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Probed {
    /// The upstream answered as it should.
    Ok,
    /// The upstream is there and has no list of models; `why` in words for the operator.
    NoList {
        /// See the variant.
        why: String,
    },
    /// It failed.
    Failed {
        /// Why, as of any call.
        class: ErrorClass,
        /// The provider's own figure, where it gave one.
        retry_after: Option<Duration>,
        /// In words for the operator.
        why: String,
    },
    /// It was given up without a verdict; the next may go out at once.
    Void,
}

impl Probed {
    /// Returns the outcome's name in lists and metrics: `ok`, `no_model_list`, `void` or the class of the failure.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NoList { .. } => "no_model_list",
            Self::Failed { class, .. } => class.as_str(),
            Self::Void => "void",
        }
    }

    /// Returns why it was not `ok`, in words.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::NoList { why } | Self::Failed { why, .. } => Some(why),
            Self::Ok | Self::Void => None,
        }
    }
}

/// The last probe of an endpoint, for lists.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeView {
    /// When it ended.
    pub at: Instant,
    /// Which key it went out with.
    pub key: KeyId,
    /// How it ended.
    pub probed: Probed,
}

/// When the next probe is due. Plain data; all time comes in.
#[derive(Debug, Default)]
pub(crate) struct Probing {
    /// When an answer, to a call or to a probe, last came; without one a probe is due at once.
    quiet_since: Option<Instant>,
    /// In [0, 1): spreads the wait by ± 20 %, so that endpoints do not stay in step.
    draw: f64,
    /// Of an upstream that asked to be left alone.
    not_before: Option<Instant>,
    out: bool,
    last: Option<ProbeView>,
}

impl Probing {
    /// Returns whether a probe is to go out, when each quiet endpoint is to be probed `every` so often.
    fn is_due(&self, every: Duration, now: Instant) -> bool {
        let no_list = self.last.as_ref().is_some_and(|last| matches!(last.probed, Probed::NoList { .. }));
        let wait = if no_list { every.max(RARELY) } else { every }.mul_f64(0.8 + 0.4 * self.draw);
        !self.out
            && self.not_before.is_none_or(|at| now >= at)
            && self.quiet_since.is_none_or(|since| now.saturating_duration_since(since) >= wait)
    }

    /// Takes in that a call was answered: nothing has to be asked for a while. The first probe goes out all the same,
    /// because it brings the list of models.
    pub(crate) fn on_traffic(&mut self, now: Instant) {
        if let Some(since) = &mut self.quiet_since {
            *since = now;
        }
    }

    /// Takes in that the endpoint is described differently, or that a key was woken or is unknown: the next probe is due at
    /// once.
    pub(crate) fn on_news(&mut self) {
        self.quiet_since = None;
        self.not_before = None;
    }

    /// Returns the last probe that ended with a verdict.
    pub(crate) fn last(&self) -> Option<&ProbeView> {
        self.last.as_ref()
    }

    /// Takes in the end of the probe that is out, and what it did to its key.
    fn on_end(&mut self, key: KeyId, probed: Probed, effect: KeyEffect, now: Instant, draw: f64) {
        self.out = false;
        if probed == Probed::Void {
            return;
        }
        self.draw = draw;
        // A wrong key says nothing of the endpoint: the next key is asked at once, and none twice.
        self.quiet_since = (effect != KeyEffect::Retire).then_some(now);
        self.not_before = match probed {
            Probed::Failed { retry_after: Some(after), .. } => Some(now + after.min(PUT_OFF_MAX)),
            _ => None,
        };
        self.last = Some(ProbeView { at: now, key, probed });
    }
}

/// Asks for permission for a probe; `None` where none is due or no key is ready.
#[derive(Message)]
#[rtype(result = "Option<ProbeLease>")]
pub(crate) struct Probe {
    /// The address that whoever probes means.
    pub home: u64,
    pub every: Duration,
}

/// Permission for one probe of one endpoint; there is never a second at the same time.
///
/// Reports exactly once: by [`ProbeLease::report`], or by its `Drop` as void.
pub struct ProbeLease {
    /// Which endpoint.
    pub endpoint: EndpointId,
    /// Its address, as in its specification.
    pub home: u64,
    /// The key; `None` where the upstream asks for none.
    pub secret: Option<Secret>,
    picked: Picked,
    key: KeyId,
    probed: Probed,
    // Weak, so that a probe never keeps an endpoint alive that was let go.
    granted_by: WeakAddr<Endpoint>,
}

impl ProbeLease {
    /// Reports how the probe ended.
    pub fn report(mut self, probed: Probed) {
        self.probed = probed;
    }
}

impl Drop for ProbeLease {
    fn drop(&mut self) {
        let Some(endpoint) = self.granted_by.upgrade() else { return };
        let probed = std::mem::replace(&mut self.probed, Probed::Void);
        #[allow(clippy::disallowed_methods)]
        endpoint.do_send(ProbeEnded { home: self.home, picked: self.picked, key: self.key.clone(), probed });
    }
}

/// A probe ended. Sent by its lease, once.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct ProbeEnded {
    home: u64,
    picked: Picked,
    key: KeyId,
    probed: Probed,
}

impl Endpoint {
    fn grant_probe(&mut self, probe: &Probe, myself: WeakAddr<Endpoint>) -> Option<ProbeLease> {
        let now = self.clock.now();
        let paused = self.paused_until.is_some_and(|until| until > now);
        if probe.home != self.home || paused || !self.probing.is_due(probe.every, now) {
            return None;
        }
        let picked = self.ring.pick_for_probe(now)?;
        let key = self.ring.spec(picked)?;
        let (key, secret) = (key.id.clone(), key.secret.clone());
        self.probing.out = true;
        let (endpoint, home, probed) = (self.id.clone(), self.home, Probed::Void);
        Some(ProbeLease { endpoint, home, secret, picked, key, probed, granted_by: myself })
    }

    fn on_probe(&mut self, ended: ProbeEnded) {
        let ProbeEnded { home, picked, key, probed } = ended;
        // It went to an upstream that this is no longer.
        if home != self.home {
            return;
        }
        let (now, draw) = (self.clock.now(), self.chance.draw());
        let mut effect = KeyEffect::None;
        match &probed {
            Probed::Ok | Probed::NoList { .. } => self.breaker.on_probe_success(),
            Probed::Failed { class, retry_after, .. } => {
                if class.trips_breaker() {
                    self.pulse.errors.observe(true, now);
                    if self.breaker.on_probe_failure(now, draw) {
                        self.log_trip(*class, now);
                    }
                }
                effect = self.ring.on_probe(picked, *class, *retry_after, now);
                if class.trips_breaker() || effect != KeyEffect::None {
                    self.notice.epoch.end();
                }
                self.log_key(effect, picked, &Outcome::Failed { class: *class, retry_after: *retry_after });
            }
            Probed::Void => {}
        }
        self.log_probe(&key, &probed);
        let answers = probed == Probed::Ok;
        self.probing.on_end(key, probed, effect, now, draw);
        // Keys of which nobody knows whether they work do not wait for their turn, as long as the upstream answers.
        if answers && self.ring.has_unknown(now) {
            self.probing.on_news();
        }
    }

    /// Logs what is news: an outcome like the one before is none.
    fn log_probe(&self, key: &KeyId, probed: &Probed) {
        let before = self.probing.last().map(|last| last.probed.as_str());
        let (endpoint, outcome) = (&self.id, probed.as_str());
        if before == Some(outcome) {
            return;
        }
        match probed {
            Probed::Ok if before.is_some() => info!(endpoint = %endpoint, "`{endpoint}` answers probes"),
            Probed::Ok | Probed::Void => debug!(endpoint = %endpoint, outcome, "probe of `{endpoint}`: {outcome}"),
            Probed::NoList { why } => info!(endpoint = %endpoint, "`{endpoint}` lists no models: {why}"),
            Probed::Failed { why, .. } => {
                warn!(endpoint = %endpoint, key = %key, outcome, "a probe of `{endpoint}` failed: {why}");
            }
        }
    }
}

impl Handler<Probe> for Endpoint {
    type Result = Option<ProbeLease>;

    fn handle(&mut self, probe: Probe, context: &mut Self::Context) -> Self::Result {
        self.collect();
        let granted = self.grant_probe(&probe, context.address().downgrade());
        self.publish();
        granted
    }
}

impl Handler<ProbeEnded> for Endpoint {
    type Result = ();

    fn handle(&mut self, ended: ProbeEnded, _: &mut Self::Context) {
        self.collect();
        self.on_probe(ended);
        self.publish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(30);

    fn failed(class: ErrorClass, retry_after: Option<Duration>) -> Probed {
        Probed::Failed { class, retry_after, why: "it did".into() }
    }

    fn ended(probed: Probed, effect: KeyEffect, now: Instant) -> Probing {
        let mut probing = Probing { out: true, ..Probing::default() };
        probing.on_end("k".into(), probed, effect, now, 0.5);
        probing
    }

    #[test]
    fn the_first_probe_is_due_at_once_and_the_next_when_it_was_quiet_for_long_enough() {
        let start = Instant::now();
        assert!(Probing::default().is_due(EVERY, start));

        let mut probing = ended(Probed::Ok, KeyEffect::None, start);

        assert!(!probing.is_due(EVERY, start + EVERY - Duration::from_millis(1)));
        assert!(probing.is_due(EVERY, start + EVERY));
        probing.on_traffic(start + EVERY);
        assert!(!probing.is_due(EVERY, start + EVERY), "a call was answered");
        assert!(probing.is_due(EVERY, start + 2 * EVERY));
    }

    #[test]
    fn traffic_does_not_put_off_the_first_probe() {
        let start = Instant::now();
        let mut probing = Probing::default();

        probing.on_traffic(start);

        assert!(probing.is_due(EVERY, start));
    }

    #[test]
    fn waits_are_spread_by_a_fifth() {
        let start = Instant::now();
        for (draw, factor) in [(0.0, 0.8), (0.999_999, 1.2)] {
            let mut probing = Probing { out: true, ..Probing::default() };
            probing.on_end("k".into(), Probed::Ok, KeyEffect::None, start, draw);

            assert!(!probing.is_due(EVERY, start + EVERY.mul_f64(factor - 0.01)));
            assert!(probing.is_due(EVERY, start + EVERY.mul_f64(factor)));
        }
    }

    #[test]
    fn none_goes_out_while_another_is() {
        let probing = Probing { out: true, ..Probing::default() };

        assert!(!probing.is_due(EVERY, Instant::now() + RARELY));
    }

    #[test]
    fn an_upstream_without_a_list_is_asked_rarely() {
        let start = Instant::now();

        let probing = ended(Probed::NoList { why: "404".into() }, KeyEffect::None, start);

        assert!(!probing.is_due(EVERY, start + RARELY - EVERY));
        assert!(probing.is_due(EVERY, start + RARELY));
    }

    #[test]
    fn an_upstream_that_asks_for_peace_gets_it() {
        let start = Instant::now();
        let wait = Duration::from_secs(300);

        let mut probing = ended(failed(ErrorClass::RateLimited, Some(wait)), KeyEffect::None, start);

        assert!(!probing.is_due(EVERY, start + wait - EVERY));
        assert!(probing.is_due(EVERY, start + wait));
        probing.on_news();
        assert!(probing.is_due(EVERY, start), "it may be another key now");
    }

    #[test]
    fn after_a_wrong_key_the_next_is_asked_at_once() {
        let start = Instant::now();

        let probing = ended(failed(ErrorClass::AuthInvalid, None), KeyEffect::Retire, start);

        assert!(probing.is_due(EVERY, start));
    }

    #[test]
    fn a_probe_given_up_leaves_no_trace() {
        let start = Instant::now();

        let probing = ended(Probed::Void, KeyEffect::None, start);

        assert!(probing.is_due(EVERY, start) && probing.last().is_none());
    }
}
