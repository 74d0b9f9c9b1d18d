//! Retention in the log: which records are old enough, and how they leave journal and index while the tree stays.
//!
//! The actor does it itself, so that nobody reads or rebuilds meanwhile. It asks for a few segments at a time.

use std::collections::BTreeSet;
use std::ops::Range;

use actix::{Context, Handler, Message};

use super::{AuditLog, Follower, LogError, Progress};
use crate::audit::filter::Gist;
use crate::audit::index::Index;
use crate::audit::journal::Journal;
use crate::audit::retire::{Due, LeafFile, RetireError, Retired, retire};
use crate::store::Field;

/// Records that are taken out of the index at once.
const FORGOTTEN_AT_ONCE: usize = 16 * 1_024;

impl Follower {
    /// Returns the index of the first record that is not older than `at_us`, by the wall clock of the records before it.
    ///
    /// A record that was dated too late, by a clock that was wrong, keeps those behind it back.
    pub fn first_since(&mut self, at_us: u64) -> Result<u64, LogError> {
        let mut index = self.index.older_than(at_us);
        while index < self.index.size() {
            match self.record(index)? {
                Some(leaf) if Gist::of(&leaf).at_us >= at_us => break,
                _ => index += 1,
            }
        }
        Ok(index)
    }

    /// Retires up to `segments_max` segments of which all records are older than `before_us`, but none from the first
    /// record of a user in `held` on.
    pub fn retire(&mut self, before_us: u64, segments_max: u64, held: &BTreeSet<String>) -> Result<Retired, LogError> {
        let due = Due { before: self.first_since(before_us)?, segments_max };
        let is_held = |leaf: &[u8]| {
            !held.is_empty() && Gist::of(leaf).value(Field::User).is_some_and(|user| held.contains(&*user))
        };
        let (path, disk) = (self.path.clone(), self.disk.clone());
        let retired = retire(&path, due, disk.as_ref(), is_held, |records| self.forget(records));
        // Whatever it came to: some may be gone.
        let first = self.seeker.look_again()?;
        self.reader.look_again()?;
        self.index.begins_with(first);
        retired
    }

    /// Takes records that are still in the journal out of what the index finds.
    fn forget(&mut self, records: Range<u64>) -> Result<(), LogError> {
        self.seeker.seek(records.start, None)?;
        let mut from = records.start;
        while from < records.end {
            let mut leaves = Vec::new();
            while leaves.len() < FORGOTTEN_AT_ONCE
                && let Some(leaf) = self.seeker.next(records.end)?
            {
                leaves.push(leaf.bytes.to_vec());
            }
            self.index.forget(from, &leaves)?;
            from += leaves.len().max(1) as u64;
        }
        Ok(())
    }
}

/// Adds the hashes of retired records to an `index` that ends before the journal's `first` record.
pub(super) fn add_retired(
    index: &mut Index,
    journal: &Journal,
    first: u64,
    progress: &mut Progress<'_>,
) -> Result<(), LogError> {
    index.begins_with(first);
    if index.size() >= first {
        return Ok(());
    }
    let folder = journal.path().join("leaves");
    let damaged = |what: String| RetireError::Damaged { path: folder.clone(), what };
    for file in LeafFile::all(journal.path(), journal.disk().as_ref())? {
        if file.log() != journal.log_id() {
            return Err(damaged(format!("it holds hashes of the log {}", file.log())).into());
        }
        // The last segment may be there still, if the process ended as it was about to be removed.
        let missing = first.saturating_sub(index.size()) as usize;
        for hash in file.hashes_from(index.size())?.into_iter().take(missing) {
            index.add_retired(hash)?;
        }
        progress(index.size(), first);
    }
    if index.size() < first {
        return Err(damaged(format!("the hashes of records {} to {} are missing", index.size(), first - 1)).into());
    }
    Ok(())
}

/// Asks for the first record that is not older than a moment, in microseconds since 1970; all before it are.
#[derive(Message)]
#[rtype(result = "Result<u64, LogError>")]
pub struct FirstSince(pub u64);

impl Handler<FirstSince> for AuditLog {
    type Result = Result<u64, LogError>;

    fn handle(&mut self, FirstSince(at_us): FirstSince, _: &mut Context<Self>) -> Self::Result {
        self.with_index(|follower| follower.first_since(at_us))
    }
}

/// Asks for segments of old records to be replaced by the hashes of these; none retired means that nothing is left to do.
///
/// Who asks holds the journal's [housekeeping](Journal::housekeeping) until the answer is there.
#[derive(Message)]
#[rtype(result = "Result<Retired, LogError>")]
pub struct Retire {
    /// Records from this moment on stay, in microseconds since 1970.
    pub before_us: u64,
    /// How many segments at most, since the log answers nobody else meanwhile.
    pub segments_max: u64,
    /// Pseudonyms of users under a legal hold: the first segment with a record of theirs stays, and all behind it.
    pub held: BTreeSet<String>,
}

impl Handler<Retire> for AuditLog {
    type Result = Result<Retired, LogError>;

    fn handle(&mut self, ask: Retire, _: &mut Context<Self>) -> Self::Result {
        self.with_index(|follower| follower.retire(ask.before_us, ask.segments_max, &ask.held))
    }
}
