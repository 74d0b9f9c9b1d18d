//! The one task that mints: at start, ahead of each end, after a refusal, and again after a failure.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rand::RngExt;
use tracing::{info, warn};

use super::mint::{Fresh, Mint};
use super::schedule::{Schedule, renew_after};
use super::{CredentialId, Credentials, Held, Minted, Surroundings, Wanted};
use crate::upstream::Upstream;

/// Most credentials that are minted at the same time.
const AT_ONCE: usize = 16;
/// How often the schedules are looked at when nothing happens.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Keeps `credentials` current.
pub struct Refresher {
    credentials: Arc<Credentials>,
    mint: Mint,
}

struct Job {
    wanted: Wanted,
    schedule: Schedule,
    held: Held,
}

impl Refresher {
    /// Returns who asks by way of `upstream`, in a process that was started in these `surroundings`.
    pub fn new(credentials: Arc<Credentials>, upstream: Upstream, surroundings: Surroundings) -> Self {
        Self { credentials, mint: Mint { upstream, surroundings } }
    }

    /// Mints until `stopping` says so; what is out then is given up.
    pub async fn run(self, stopping: impl Fn() -> bool) {
        let (credentials, mint) = (&self.credentials, &self.mint);
        let mut jobs = HashMap::new();
        let mut out = FuturesUnordered::new();
        while !stopping() {
            self.follow(&mut jobs);
            for job in self.due(&mut jobs, AT_ONCE.saturating_sub(out.len())) {
                out.push(async move { (job.id.clone(), mint.mint(&job).await) });
            }
            publish(credentials, &jobs);
            tokio::select! {
                biased;
                Some((id, result)) = out.next() => {
                    self.take(&mut jobs, &id, result);
                    publish(credentials, &jobs);
                    credentials.tried.send_replace(());
                }
                () = credentials.called.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Takes over what is wanted and what was refused since.
    fn follow(&self, jobs: &mut HashMap<CredentialId, Job>) {
        let now = self.credentials.clock.now();
        let wanted = self.credentials.wanted();
        jobs.retain(|id, _| wanted.iter().any(|wanted| wanted.id == *id));
        for wanted in wanted {
            match jobs.get_mut(&wanted.id) {
                Some(job) => job.wanted = wanted,
                None => {
                    let job = Job { schedule: Schedule::new(now), held: Held::default(), wanted };
                    jobs.insert(job.wanted.id.clone(), job);
                }
            }
        }
        let refused = std::mem::take(&mut *self.credentials.refused.lock().unwrap_or_else(PoisonError::into_inner));
        for (id, minted_at) in refused {
            let Some(job) = jobs.get_mut(&id) else { continue };
            // A refusal of one that has been exchanged meanwhile is no news.
            if job.held.minted.as_ref().is_some_and(|minted| minted.minted_at == minted_at) {
                job.schedule.refused(minted_at, now);
            }
        }
    }

    /// Begins what is to be minted now, at most so many.
    fn due(&self, jobs: &mut HashMap<CredentialId, Job>, most: usize) -> Vec<Wanted> {
        let now = self.credentials.clock.now();
        let due = jobs.values_mut().filter(|job| job.held.trying_since.is_none() && job.schedule.is_due(now));
        let begun = due.take(most).map(|job| {
            job.held.trying_since = Some(now);
            job.wanted.clone()
        });
        begun.collect()
    }

    /// Takes in how minting ended. What is there stays until it expires.
    fn take(&self, jobs: &mut HashMap<CredentialId, Job>, id: &CredentialId, result: Result<Fresh, String>) {
        let Some(job) = jobs.get_mut(id) else { return };
        let (now, draw) = (self.credentials.clock.now(), rand::rng().random::<f64>());
        // What it says of its life was true when it was asked for, at the earliest.
        let minted_at = job.held.trying_since.take().unwrap_or(now);
        let name = &job.wanted.name;
        match result {
            Ok(Fresh { kind, life, read_again }) => {
                let renew = life.map(|life| renew_after(life, draw)).into_iter().chain(read_again).min();
                job.schedule.minted(renew, now);
                let first = job.held.minted.is_none();
                job.held.minted =
                    Some(Arc::new(Minted { kind, expires: life.map(|life| minted_at + life), minted_at }));
                job.held.why = None;
                let life_s = life.map(|life| life.as_secs());
                match first {
                    true => info!(key = %name, life_s, "the credential of key `{name}` is there"),
                    false => tracing::debug!(key = %name, life_s, "the credential of key `{name}` was renewed"),
                }
            }
            Err(why) => {
                job.schedule.failed(now, draw);
                let left = job.held.minted.as_ref().and_then(|minted| minted.expires);
                let left_s = left.map(|expires| expires.saturating_duration_since(now).as_secs());
                warn!(key = %name, left_s, "the credential of key `{name}` cannot be minted: {why}");
                job.held.why = Some(why);
            }
        }
    }
}

fn publish(credentials: &Credentials, jobs: &HashMap<CredentialId, Job>) {
    let held = jobs.iter().map(|(id, job)| (id.clone(), Held { next_try: job.schedule.due, ..job.held.clone() }));
    credentials.held.store(Arc::new(held.collect()));
}
