//! Credentials that expire, minted ahead of need and read by every worker without a lock.
//!
//! | file           | question                                                           |
//! |----------------|--------------------------------------------------------------------|
//! | `schedule`     | when is one minted, when again                                     |
//! | `refresher`    | the one task that does it for the whole gateway                    |
//! | `mint`         | which questions one takes, of whom                                 |
//! | `exchange`     | one question and its answer                                        |
//! | `google`, `entra`, `aws`, `sts` | what each cloud is asked and how its answers read |
//! | `surroundings` | the environment in which the process was started                   |
//!
//! A key whose credential is minted has a placeholder in place of its value, and a lease hands that out like any other
//! value. `Upstream` exchanges it for what is current. A 401 then says that the token is stale and not that the key is
//! bad, so the key is never retired: the token is minted anew, and the call goes out once more.

mod aws;
mod entra;
pub(super) mod exchange;
mod google;
mod mint;
mod refresher;
mod schedule;
mod sts;
mod surroundings;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bursar_actors::{Clock, ErrorClass, Secret};
use tokio::sync::{Notify, watch};

use super::Failure;
use super::dial::DialSettings;
use crate::config::credential::{Credential, MARK};
use crate::config::dial::Dial;
use crate::config::{Config, Provider};
use schedule::FRESH_FOR;

pub use refresher::Refresher;
pub use surroundings::Surroundings;

/// A key rests no longer than this for want of a credential, so that a new one does not lie idle.
const REST_MAX: Duration = Duration::from_secs(10);
/// While a credential is being minted for so short a time, its key does not rest at all.
const SOON: Duration = Duration::from_secs(1);

/// Names one credential: the placeholder that its keys have for a value.
#[derive(Clone, PartialEq, Eq)]
pub struct CredentialId(Secret);

impl CredentialId {
    /// Returns the credential that `secret` stands for; `None` for an ordinary key.
    pub fn of(secret: &Secret) -> Option<Self> {
        secret.expose().starts_with(MARK).then(|| Self(secret.clone()))
    }
}

impl Hash for CredentialId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.expose().hash(state);
    }
}

impl fmt::Debug for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialId(…)")
    }
}

/// What calls are made with until it expires.
#[derive(Debug, Clone)]
pub struct Minted {
    pub kind: Kind,
    /// On the clock of the store; `None` where nobody says so.
    pub expires: Option<Instant>,
    pub minted_at: Instant,
}

/// How a call shows what was minted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// `authorization: Bearer ...`.
    Bearer(Secret),
    /// Signs the call (Signature Version 4) instead of being sent: whoever encodes calls to AWS asks the store for it and
    /// signs the finished request with it.
    Aws { access_key_id: Secret, secret_access_key: Secret, session_token: Option<Secret> },
}

/// One credential that keys of the configuration need.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub id: CredentialId,
    /// `provider/key` of the first key that needs it, for the log.
    pub name: String,
    pub source: Credential,
    /// How an issuer is reached: as the provider is.
    pub dial: Arc<DialSettings>,
    /// How a service of the machine or container itself is reached: directly, and at its private address.
    pub local: Arc<DialSettings>,
}

/// What is known of one credential.
#[derive(Debug, Clone, Default)]
struct Held {
    minted: Option<Arc<Minted>>,
    /// Since when it is being minted.
    trying_since: Option<Instant>,
    next_try: Option<Instant>,
    /// Why the last try failed.
    why: Option<String>,
}

/// The credentials of all keys, as of now.
#[derive(Debug)]
pub struct Credentials {
    clock: Clock,
    held: ArcSwap<HashMap<CredentialId, Held>>,
    wanted: Mutex<Vec<Wanted>>,
    /// Refused by a provider, and when they had been minted.
    refused: Mutex<HashMap<CredentialId, Instant>>,
    /// Something for the refresher to look at.
    called: Notify,
    /// Something was minted, or could not be.
    tried: watch::Sender<()>,
}

impl Default for Credentials {
    fn default() -> Self {
        Self::new(Clock::system())
    }
}

impl Credentials {
    /// Returns a store without credentials.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            held: ArcSwap::default(),
            wanted: Mutex::default(),
            refused: Mutex::default(),
            called: Notify::new(),
            tried: watch::Sender::new(()),
        }
    }

    /// Says which credentials are needed from now on: new ones are minted at once, others are forgotten.
    pub fn want(&self, wanted: Vec<Wanted>) {
        *self.wanted.lock().unwrap_or_else(PoisonError::into_inner) = wanted;
        self.called.notify_one();
    }

    /// Says which credentials are needed besides those that are; one of the same name is taken over as it is now.
    pub fn want_also(&self, mut more: Vec<Wanted>) {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.retain(|known| more.iter().all(|new| new.id != known.id));
        wanted.append(&mut more);
        self.called.notify_one();
    }

    fn wanted(&self) -> Vec<Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns what calls are to be made with now; `None` until the first is minted and after the last has expired.
    pub fn current(&self, id: &CredentialId) -> Option<Arc<Minted>> {
        let held = self.held.load();
        let minted = held.get(id)?.minted.as_ref()?;
        let expired = minted.expires.is_some_and(|expires| expires <= self.clock.now());
        (!expired).then(|| minted.clone())
    }

    /// Returns the failure of a call that has nothing to be made with, or whose credential the provider refused in the
    /// words of `refusal`. Another key may serve; this one rests until its credential is tried again.
    pub fn pending(&self, id: &CredentialId, refusal: Option<Failure>) -> Failure {
        let (held, now) = (self.held.load(), self.clock.now());
        let held = held.get(id).cloned().unwrap_or_default();
        let in_time = held.trying_since.is_some_and(|since| now.saturating_duration_since(since) < SOON);
        let fresh = held.minted.filter(|minted| now.saturating_duration_since(minted.minted_at) < FRESH_FOR);
        let rest = match (&refusal, held.trying_since, held.next_try) {
            // What was just minted is refused, too: no renewal helps, only somebody who grants it more.
            (Some(_), ..) if fresh.is_some() => REST_MAX,
            (_, Some(_), _) if in_time => Duration::ZERO,
            (_, Some(_), _) => SOON,
            (_, None, next_try) => next_try.map_or(SOON, |at| at.saturating_duration_since(now)),
        };
        let why = match &refusal {
            Some(refusal) => format!("the upstream refused the key's token ({})", refusal.message),
            None => {
                let why = held.why.map_or_else(String::new, |why| format!(": {why}"));
                format!("the key has no valid token yet{why}")
            }
        };
        let status = refusal.and_then(|refusal| refusal.status);
        let plain = Failure::plain(ErrorClass::CredentialPending, why);
        Failure { retry_after: Some(rest.min(REST_MAX)), status, ..plain }
    }

    /// Says that a provider refused `minted`: it is minted anew at once, or a little later where it was fresh.
    pub fn suspect(&self, id: &CredentialId, minted: &Minted) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.insert(id.clone(), minted.minted_at);
        self.called.notify_one();
    }

    /// Waits for another credential than `than`, which was refused; `None` where none comes of the next try, or where
    /// `than` is so fresh that another would be refused as well.
    pub async fn renewed(&self, id: &CredentialId, than: &Arc<Minted>) -> Option<Arc<Minted>> {
        let mut tried = self.tried.subscribe();
        let other = || self.current(id).filter(|current| !Arc::ptr_eq(current, than));
        if let Some(other) = other() {
            return Some(other);
        }
        if self.clock.now().saturating_duration_since(than.minted_at) < FRESH_FOR {
            return None;
        }
        loop {
            tried.changed().await.ok()?;
            let failed = || self.held.load().get(id).is_none_or(|held| held.why.is_some());
            match other() {
                Some(other) => return Some(other),
                None if failed() => return None,
                None => {}
            }
        }
    }
}

/// Returns the credentials that the keys of `config` need, each once.
pub fn wanted(config: &Config) -> Vec<Wanted> {
    let mut seen = HashSet::new();
    let keys = config.providers.values().flat_map(|provider| provider.keys.iter().map(move |key| (provider, key)));
    let wanted = keys.filter_map(|(provider, key)| {
        let id = CredentialId::of(&key.value)?;
        let source = key.credential.clone()?;
        let name = format!("{}/{}", provider.id, key.id);
        seen.insert(id.clone()).then(|| Wanted { id, name, dial: dial_of(provider), local: local_of(provider), source })
    });
    wanted.collect()
}

fn dial_of(provider: &Provider) -> Arc<DialSettings> {
    // A certificate says who we are to the provider; its issuer of tokens did not ask.
    DialSettings::of(provider.connect_timeout, &Dial { identity: None, ..provider.dial.clone() })
}

fn local_of(provider: &Provider) -> Arc<DialSettings> {
    let dial = Dial { allow_metadata: true, allow_private: true, ..Dial::default() };
    DialSettings::of(provider.connect_timeout, &dial)
}
