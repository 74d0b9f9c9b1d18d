//! Fetches the keys of issuers: at the start, every quarter of an hour, and when a token names one that is not there.
//!
//! As long as an issuer cannot be reached its old keys serve.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::future::join_all;
use serde::Deserialize;
use tracing::{info, warn};

use super::keys::KeySet;
use super::{Issuers, Known};
use crate::config::dial::Dial;
use crate::config::oidc::{Source, is_trustworthy};
use crate::upstream::Upstream;
use crate::upstream::dial::DialSettings;

/// How often an issuer is asked, and how often a file is read.
const ASK_EVERY: Duration = Duration::from_secs(15 * 60);
const READ_EVERY: Duration = Duration::from_secs(5);
/// How soon it is asked again for a key that is not there.
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// First and longest pause after a failure.
const BACKOFF: Duration = Duration::from_secs(2);
const BACKOFF_MAX: Duration = Duration::from_secs(300);
/// How often it is looked whether anything is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest set of keys that is read from a file, in bytes.
const FILE_MAX: u64 = 1 << 20;

/// Fetches keys for the issuers of the configuration in force.
pub struct Keeper {
    issuers: Arc<ArcSwap<Issuers>>,
    upstream: Upstream,
    dial: Arc<DialSettings>,
}

/// When an issuer is asked next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Schedule {
    due: Instant,
    asked: Option<Instant>,
    failures: u32,
}

impl Schedule {
    fn new(now: Instant) -> Self {
        Self { due: now, asked: None, failures: 0 }
    }

    /// Returns whether it is to be asked now. `is_wanted`: a token named a key that is not there.
    fn is_due(&self, is_wanted: bool, now: Instant) -> bool {
        let is_rested = self.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= ASK_AGAIN);
        now >= self.due || is_wanted && is_rested && self.failures == 0
    }

    /// Notes how it went.
    fn asked(&mut self, is_there: bool, every: Duration, now: Instant) {
        self.asked = Some(now);
        self.failures = if is_there { 0 } else { self.failures + 1 };
        let pause = match self.failures {
            0 => every,
            failures => BACKOFF.saturating_mul(1 << (failures - 1).min(16)).min(BACKOFF_MAX).min(every),
        };
        self.due = now + pause;
    }
}

impl Keeper {
    /// Returns who fetches by way of `upstream`.
    pub fn new(issuers: Arc<ArcSwap<Issuers>>, upstream: Upstream) -> Self {
        // An issuer is often a neighbour, and no secret goes there.
        let dial = DialSettings::of(CONNECT_TIMEOUT, &Dial { allow_private: true, ..Dial::default() });
        Self { issuers, upstream, dial }
    }

    /// Fetches for as long as it is polled.
    pub async fn run(self) {
        let mut schedules: Vec<(Arc<Known>, Schedule)> = Vec::new();
        loop {
            let issuers = self.issuers.load_full();
            let now = Instant::now();
            let mut old = std::mem::take(&mut schedules);
            schedules.extend(issuers.issuers.iter().map(|known| {
                let before = old.iter().position(|(other, _)| Arc::ptr_eq(other, known));
                before.map_or_else(|| (known.clone(), Schedule::new(now)), |at| old.swap_remove(at))
            }));
            let due = schedules
                .iter_mut()
                .filter(|(known, schedule)| schedule.is_due(known.asked_for.load(Ordering::Acquire), now));
            join_all(due.map(|(known, schedule)| self.keep(known, schedule))).await;
            tokio::select! {
                () = issuers.called.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    async fn keep(&self, known: &Known, schedule: &mut Schedule) {
        known.asked_for.store(false, Ordering::Release);
        let every = if matches!(known.settings.source, Source::File(_)) { READ_EVERY } else { ASK_EVERY };
        let fetched = self.fetch(known).await.and_then(|json| KeySet::read(&json));
        schedule.asked(fetched.is_ok(), every, Instant::now());
        let (issuer, source) = (&known.settings.issuer, known.settings.source.label());
        match fetched {
            Ok(keys) => {
                let (count, had) = (keys.count(), known.keys.load().count());
                if known.fault.swap(None).is_some() || had == 0 {
                    info!(issuer, keys = count, "the keys of the issuer {issuer} are there");
                }
                known.publish(keys);
            }
            Err(why) => {
                // Once per outage.
                if known.fault.swap(Some(Arc::new(why.clone()))).is_none() {
                    let old = known.keys.load().count();
                    warn!(issuer, old, "the keys of the issuer {issuer} cannot be had from {source}: {why}");
                }
            }
        }
    }

    async fn fetch(&self, known: &Known) -> Result<Bytes, String> {
        match &known.settings.source {
            Source::File(path) => read(path.clone()).await,
            Source::Url(url) => self.upstream.get_json(&self.dial, url).await,
            Source::Discovery(url) => {
                let described = self.upstream.get_json(&self.dial, url).await?;
                self.upstream.get_json(&self.dial, &keys_of(&described, &known.settings.issuer)?).await
            }
        }
    }
}

/// Returns where the keys are by an issuer's description of itself (OpenID Connect Discovery 1.0, 4.3).
fn keys_of(described: &[u8], issuer: &str) -> Result<String, String> {
    #[derive(Deserialize)]
    struct Description {
        issuer: String,
        jwks_uri: String,
    }
    let Description { issuer: told, jwks_uri } =
        serde_json::from_slice(described).map_err(|error| format!("it is no description of an issuer: {error}"))?;
    if told != issuer {
        return Err(format!("it describes the issuer `{told}`, and `{issuer}` is configured"));
    }
    if !is_trustworthy(&jwks_uri) {
        return Err(format!("it names `{jwks_uri}` for its keys, which is no https:// address"));
    }
    Ok(jwks_uri)
}

async fn read(path: PathBuf) -> Result<Bytes, String> {
    let work = move || {
        let length = std::fs::metadata(&path)?.len();
        if length > FILE_MAX {
            return Err(std::io::Error::other("it is larger than 1 MiB"));
        }
        std::fs::read(&path)
    };
    let read = tokio::task::spawn_blocking(work).await.map_err(|_| "the gateway is stopping".to_owned())?;
    read.map(Bytes::from).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_issuer_is_asked_in_time_and_for_a_new_key_at_most_once_a_minute() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        assert!(schedule.is_due(false, start));

        schedule.asked(true, ASK_EVERY, start);

        assert!(!schedule.is_due(false, start + ASK_EVERY - SECOND));
        assert!(schedule.is_due(false, start + ASK_EVERY));
        assert!(!schedule.is_due(true, start + ASK_AGAIN - SECOND));
        assert!(schedule.is_due(true, start + ASK_AGAIN));
    }

    #[test]
    fn one_that_is_away_is_asked_ever_more_seldom_also_by_strangers() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        let mut pauses = Vec::new();
        for _ in 0..10 {
            schedule.asked(false, ASK_EVERY, start);
            pauses.push((schedule.due - start).as_secs());
            assert!(!schedule.is_due(true, schedule.due - SECOND), "tokens with unknown keys hurry nobody");
        }

        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        schedule.asked(true, ASK_EVERY, start);
        assert_eq!(schedule.failures, 0);
    }

    #[test]
    fn a_description_is_believed_of_the_issuer_alone_and_names_no_open_address() {
        let told = |issuer: &str, keys: &str| {
            keys_of(serde_json::json!({ "issuer": issuer, "jwks_uri": keys }).to_string().as_bytes(), "https://i")
        };

        assert_eq!(told("https://i", "https://i/keys").as_deref(), Ok("https://i/keys"));
        assert!(told("https://other", "https://i/keys").is_err());
        assert!(told("https://i", "http://i/keys").is_err());
        assert!(keys_of(b"{}", "https://i").is_err());
    }
}
