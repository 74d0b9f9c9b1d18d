//! What is taken out of the log for good: old files after their retention, and single bodies after an erasure.

use std::sync::PoisonError;

use super::disk::Access;
use super::frame::{BODY_HEAD, BodyPosition, Kind};
use super::scan::body_at;
use super::segment::{firsts, path_of};
use super::{Handle, Journal, JournalError};

impl Journal {
    /// Removes the segments of which all records are below `below`, and the bodies' files that only they name; returns
    /// the index of the first record that is left. The segment being written always stays.
    ///
    /// Proofs need the leaf hashes of what is removed: the caller saves them before, durably, and opens the journal with
    /// that index as [`super::JournalOptions::pruned_to`] from then on.
    pub fn prune(&self, below: u64) -> Result<u64, JournalError> {
        self.0.prune(below)
    }

    /// Overwrites the sealed body of record `index` with zeros, durably; the record itself stays as it is. Returns
    /// whether there was one.
    pub fn drop_body(&self, index: u64, position: BodyPosition) -> Result<bool, JournalError> {
        self.0.drop_body(index, position)
    }
}

impl Handle {
    fn prune(&self, below: u64) -> Result<u64, JournalError> {
        let _alone = self.housekeeping.lock().unwrap_or_else(PoisonError::into_inner);
        let segments = firsts(self.disk.as_ref(), &self.path, Kind::Journal)?;
        let kept =
            segments.iter().rev().find(|&&first| first <= below).or(segments.first()).copied().unwrap_or_default();
        // From the oldest on, so that what a crash leaves is still one log without a gap.
        for &first in segments.iter().filter(|&&first| first < kept) {
            self.remove(Kind::Journal, first)?;
        }
        let bodies = firsts(self.disk.as_ref(), &self.path, Kind::Bodies)?;
        for pair in bodies.windows(2).filter(|pair| pair[1] <= kept) {
            self.remove(Kind::Bodies, pair[0])?;
        }
        for kind in [Kind::Journal, Kind::Bodies] {
            let folder = self.path.join(kind.name());
            self.disk.sync_folder(&folder).map_err(|source| JournalError::Io {
                doing: "syncing",
                path: folder,
                source,
            })?;
        }
        Ok(kept)
    }

    fn remove(&self, kind: Kind, first: u64) -> Result<(), JournalError> {
        let path = path_of(&self.path, kind, first);
        self.disk.remove(&path).map_err(|source| JournalError::Io { doing: "removing", path, source })
    }

    fn drop_body(&self, index: u64, position: BodyPosition) -> Result<bool, JournalError> {
        let _alone = self.housekeeping.lock().unwrap_or_else(PoisonError::into_inner);
        // Only what really is the body of this record is written over.
        let Some(body) = body_at(self.disk.as_ref(), &self.path, index, position)? else { return Ok(false) };
        let path = path_of(&self.path, Kind::Bodies, position.file);
        let written = self.disk.open(&path, Access::Write).and_then(|file| {
            file.write_all_at(&vec![0; body.len()], position.offset + BODY_HEAD as u64)?;
            file.sync()
        });
        written.map(|()| true).map_err(|source| JournalError::Io { doing: "erasing a body in", path, source })
    }
}
