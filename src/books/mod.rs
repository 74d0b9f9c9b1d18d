//! The books as the gateway keeps them: a page for every request, a line for every thing done by hand.
//!
//! What is written goes into the journal (`bursar_actors::audit`), which is the truth; the `AuditLog` actor follows it and
//! answers questions. Nothing here waits for the disk except who asks to ([`Page::durable`], [`Books::note`], and what
//! lets go of content: `erasing`, `retention`).

pub mod desk;
mod erasing;
mod event;
mod opening;
mod page;
mod redacting;

pub mod retention;
pub mod witness;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix::Addr;
use arc_swap::ArcSwapOption;
use bursar_actors::audit::checkpoint::SigningKey;
use bursar_actors::audit::journal::{Durability, Entry, Journal, JournalState, Refused, Ticket};
use bursar_actors::audit::log::{AuditLog, LogView, SignCheckpoint};
use bursar_actors::audit::merkle::Hash;
use bursar_actors::audit::record::{Phase, Record};
use bursar_actors::budget::Accounts;
use bursar_actors::budget::keeper::{Budget, BudgetView};
use bursar_actors::vault::bodies::Bodies;
use bursar_actors::vault::{ContentHasher, Month, Subject, Vault, VaultError};
use tracing::{error, warn};

use crate::call::unix_us;
use crate::config::audit::{Commit, Kept, Retention};
use crate::telemetry::audit::AuditFigures;
pub use event::Strangers;
pub use opening::{BooksError, Keys, Opened, open_vault};
pub use page::{Closing, Page};

/// How long a closing gateway waits for its last checkpoint.
const LAST_CHECKPOINT: Duration = Duration::from_secs(10);

/// The books of this process.
pub struct Books {
    journal: Journal,
    /// Seals what is kept of prompts and answers, and knows users by their pseudonyms.
    pub vault: Arc<Vault>,
    /// Answers questions about the log.
    pub log: Addr<AuditLog>,
    /// What of the log can be read without asking.
    pub view: Arc<LogView>,
    /// Counts what is spent, and answers questions about it.
    pub budget: Addr<Budget>,
    /// What every holder of a budget may still spend.
    pub accounts: Arc<Accounts>,
    /// What of the ledger can be read without asking.
    pub budget_view: Arc<BudgetView>,
    /// Failed authentications that are not written down yet.
    pub strangers: Strangers,
    /// Signs exports; the actor signs checkpoints with it.
    signing: SigningKey,
    /// What is under way at the desk.
    work: desk::Work,
    bodies: Bodies,
    commit: Commit,
    kept: Kept,
    content_max: usize,
    retention: Retention,
    /// Whether bodies whose keys are gone were looked for since the start.
    swept: AtomicBool,
    /// Hash of the configuration in force.
    config: Arc<ArcSwapOption<String>>,
    calls: AtomicU64,
    /// Requests of the last run that the start closed.
    abandoned: u64,
    /// Keys that were not made because a team has too many users, and when that was last told.
    unkeyed: AtomicU64,
    bound_told: Mutex<Option<Month>>,
    /// Requests turned away while the journal took nothing, of which no record speaks yet.
    unwritten: AtomicU64,
    started: Instant,
}

impl Books {
    /// Returns the journal, for its state and for reading.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Returns how the books fare, for the metrics.
    pub fn figures(&self) -> AuditFigures {
        let (durable, indexed) = (self.journal.durable(), self.view.indexed.load(Ordering::Relaxed));
        let signed = self.view.checkpoint.load();
        let age_us = signed.as_ref().map(|note| unix_us().saturating_sub(note.checkpoint().at_us));
        AuditFigures {
            state: match self.journal.state() {
                JournalState::Open => "open",
                JournalState::Full(_) => "full",
                JournalState::Failed(_) => "failed",
                JournalState::Closed => "closed",
            },
            records: durable,
            lag: durable.saturating_sub(indexed),
            open: self.view.open.load(Ordering::Relaxed),
            abandoned: self.abandoned,
            unwritten: self.unwritten.load(Ordering::Relaxed),
            unkeyed: self.unkeyed.load(Ordering::Relaxed),
            checkpoint_age: age_us.map(Duration::from_micros),
            rebuilds: self.view.rebuilds.load(Ordering::Relaxed),
            fault: self.view.fault.load().is_some(),
        }
    }

    /// Says that the configuration with this hash is in force.
    pub fn set_config(&self, hash: String) {
        self.config.store(Some(Arc::new(hash)));
    }

    fn next_call(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed)
    }

    fn config_hash(&self) -> Option<std::borrow::Cow<'static, str>> {
        self.config.load().as_ref().map(|hash| hash.as_ref().clone().into())
    }

    /// Dates the record and puts it into the journal.
    fn append(&self, record: Record<'_>, body: Option<Vec<u8>>, durability: Durability) -> Ticket {
        self.journal.append(self.entry(record, body), durability)
    }

    fn entry(&self, mut record: Record<'_>, body: Option<Vec<u8>>) -> Entry {
        record.at_us = unix_us();
        record.mono_us = self.started.elapsed().as_micros() as u64;
        Entry { tail: record.to_tail(), body }
    }

    /// Writes down what was done by hand, and returns once it is durable. It is for a caller to decide what a failure
    /// means: reads and exports of the log are refused then, other things happen anyway and the log says so.
    pub async fn note(&self, record: Record<'_>) -> Result<u64, Refused> {
        let noted = self.append(record, None, Durability::Strict).await;
        if let Err(why) = &noted {
            error!("the books could not be told: {why}");
        }
        noted
    }

    /// Writes down what has happened and cannot be refused any more.
    pub fn tell(&self, record: Record<'_>) {
        // Nobody waits: the journal keeps what is lazy until it can be written.
        drop(self.append(record, None, Durability::Lazy));
    }

    /// Returns what makes the fingerprint of content; none where it cannot be made.
    fn content_hasher(&self, team: &str, user: Option<&str>) -> Option<ContentHasher> {
        self.made(self.vault.content_hasher(&Subject { team, user, month: month() }))
    }

    /// Returns the fingerprint of content; none where it cannot be made.
    fn content_hash(&self, team: &str, user: Option<&str>, content: &[u8]) -> Option<String> {
        self.made(self.vault.content_hash(&Subject { team, user, month: month() }, content))
    }

    fn made<T>(&self, fingerprint: Result<T, VaultError>) -> Option<T> {
        fingerprint.inspect_err(|why| self.unsealed("has no hash in the books", why)).ok()
    }

    /// Tells that content `lacks` something. That a team has too many users is told once a month, since each of their requests
    /// meets it, and counted.
    fn unsealed(&self, lacks: &str, why: &VaultError) {
        let is_bound = matches!(why, VaultError::TooMany { .. });
        if is_bound {
            self.unkeyed.fetch_add(1, Ordering::Relaxed);
        }
        if !is_bound || self.bound_told.lock().unwrap_or_else(PoisonError::into_inner).replace(month()) != Some(month())
        {
            warn!("what was asked or answered {lacks}: {why}");
        }
    }

    /// Seals `content` of the request as what the record says of it: the bytes to keep, and their hash.
    fn seal(
        &self,
        subject: &Subject<'_>,
        request: &str,
        call: u64,
        part: &str,
        content: &[u8],
    ) -> Option<(Vec<u8>, String)> {
        let bound = binding(&self.journal.log_id().to_string(), request, call, part);
        match self.vault.seal(subject, bound.as_bytes(), &[content]) {
            Ok(sealed) => Some((sealed.bytes, Hash(sealed.hash).to_string())),
            Err(why) => {
                self.unsealed("could not be sealed and is not kept", &why);
                None
            }
        }
    }

    /// Ends the books: the last line, a checkpoint over everything, and the journal's files closed.
    pub async fn close(&self) {
        self.flush_strangers();
        let stop = Record { phase: Some(Phase::Stop), action: "stop".into(), ..Record::default() };
        if self.append(stop, None, Durability::Strict).await.is_ok() {
            let signed = tokio::time::timeout(LAST_CHECKPOINT, self.log.send(SignCheckpoint)).await;
            if !matches!(signed, Ok(Ok(Ok(_)))) {
                warn!("the last checkpoint of the books could not be signed; the next start signs one");
            }
        }
        let journal = self.journal.clone();
        let _ = tokio::task::spawn_blocking(move || journal.close()).await;
    }
}

/// Returns `1 key` or `7 keys`.
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Returns what sealed content is bound to: which part of which request of which log it is.
pub fn binding(log: &str, request: &str, call: u64, part: &str) -> String {
    format!("{log}/{request}/{call}/{part}")
}

fn month() -> Month {
    Month::of_micros(unix_us())
}
