//! Retention: what of the books is over, looked for once an hour.
//!
//! Prompts and answers go by `storage.retention.content`, records by `storage.retention.audit`; a legal hold keeps both.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use actix::{MailboxError, Message};
use bursar_actors::audit::log::{AuditLog, FirstSince, LogError, Retire};
use bursar_actors::audit::record::{Phase, Record};
use bursar_actors::audit::retire::Retired;
use bursar_actors::vault::bodies::Cleared;
use bursar_actors::vault::{Month, VaultError};
use tokio::runtime::Handle;
use tracing::{info, warn};

use super::{Books, counted};
use crate::call::unix_us;

/// After the start, which has enough to do.
const FIRST_AFTER: Duration = Duration::from_secs(300);
const EVERY: Duration = Duration::from_secs(3_600);
/// Segments retired at once: the log answers nobody else meanwhile. One holds some 100,000 records.
const SEGMENTS_AT_ONCE: u64 = 1;

/// What was let go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LetGo {
    /// Keys of content destroyed.
    pub keys: u64,
    pub bodies: Cleared,
    pub records: Retired,
}

impl LetGo {
    /// Returns whether there was nothing to do.
    pub fn is_nothing(&self) -> bool {
        self.keys == 0 && self.bodies.files == 0 && self.bodies.wiped == 0 && self.records.segments == 0
    }
}

impl fmt::Display for LetGo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { keys, bodies, records } = self;
        let retired = counted(records.records, "record", "records");
        write!(f, "{retired} in {} retired to hashes, ", counted(records.segments, "segment", "segments"))?;
        let files = |count| counted(count, "file of bodies", "files of bodies");
        write!(f, "{} removed, {} overwritten, ", files(bodies.files), counted(bodies.wiped, "body", "bodies"))?;
        write!(f, "{} of content destroyed", counted(*keys, "key", "keys"))?;
        if bodies.files_held > 0 {
            write!(f, "; {} kept for legal holds", files(bodies.files_held))?;
        }
        records.kept_for.map_or(Ok(()), |index| write!(f, "; records from {index} on stay for a legal hold"))
    }
}

/// Why not everything was let go that is over.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log's actor is gone, or the process about to end.
    #[error("the gateway is stopping")]
    Stopping,
}

impl From<MailboxError> for RetentionError {
    fn from(_: MailboxError) -> Self {
        Self::Stopping
    }
}

/// Lets go of what is over, now and then, for as long as there are books.
pub async fn keep(books: Weak<Books>) {
    let mut wait = FIRST_AFTER;
    loop {
        tokio::time::sleep(wait).await;
        wait = EVERY;
        let Some(books) = books.upgrade() else { return };
        match books.let_go(unix_us()).await {
            Ok(gone) if gone.is_nothing() => {}
            Ok(gone) => info!("retention: {gone}"),
            Err(RetentionError::Stopping) => return,
            Err(why) => warn!("what is over could not be let go, which is tried again in an hour: {why}"),
        }
    }
}

impl Books {
    /// Lets go of what is over at `now_us` and writes down how much that was.
    ///
    /// Content: the keys of months that are over, whole files of bodies, and single bodies in the others. Records: whole
    /// segments. Backups wait meanwhile.
    pub async fn let_go(self: &Arc<Self>, now_us: u64) -> Result<LetGo, RetentionError> {
        let (books, handle) = (self.clone(), Handle::current());
        let work = move || {
            let mut gone = LetGo::default();
            let done = books.let_go_blocking(now_us, &handle, &mut gone);
            // Also where it failed half-way: what is gone is gone.
            if !gone.is_nothing() {
                books.tell(Record {
                    phase: Some(Phase::Admin),
                    action: "retention".into(),
                    config: books.config_hash(),
                    count: Some(gone.records.records),
                    note: Some(gone.to_string().into()),
                    ..Record::default()
                });
            }
            done.map(|()| gone)
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| RetentionError::Stopping)?
    }

    fn let_go_blocking(&self, now_us: u64, handle: &Handle, gone: &mut LetGo) -> Result<(), RetentionError> {
        let _alone = self.journal.housekeeping();
        let before = |kept: Duration| now_us.saturating_sub(u64::try_from(kept.as_micros()).unwrap_or(u64::MAX));

        let content_us = before(self.retention.content);
        gone.keys = self.vault.expire(Month::of_micros(content_us))?;
        let first = self.ask(handle, FirstSince(content_us))?;
        gone.bodies = self.bodies.drop_before(&self.vault, first)?;
        // An erasure may have been stopped between the keys and the bodies.
        if gone.keys > 0 || !self.swept.swap(true, Ordering::Relaxed) {
            gone.bodies.wiped += self.bodies.wipe_erased(&self.vault, self.journal.durable())?.wiped;
        }

        let before_us = before(self.retention.audit);
        let held: BTreeSet<String> = self.vault.holds().into_iter().map(|hold| hold.user).collect();
        loop {
            let ask = Retire { before_us, segments_max: SEGMENTS_AT_ONCE, held: held.clone() };
            let retired = self.ask(handle, ask)?;
            gone.records.segments += retired.segments;
            gone.records.records += retired.records;
            gone.records.kept_for = retired.kept_for;
            if retired.segments == 0 {
                return Ok(());
            }
        }
    }

    /// Asks the log and waits for its answer, on a thread that may.
    fn ask<M, T>(&self, handle: &Handle, message: M) -> Result<T, RetentionError>
    where
        M: Message<Result = Result<T, LogError>> + Send + 'static,
        T: Send + 'static,
        AuditLog: actix::Handler<M>,
    {
        Ok(handle.block_on(self.log.send(message))??)
    }
}
