//! What is taken out of the log for good: who does it is alone with the files, and single bodies go here.

use std::sync::{MutexGuard, PoisonError};

use super::disk::Access;
use super::frame::{BODY_HEAD, BodyPosition, Kind};
use super::scan::body_at;
use super::segment::path_of;
use super::{Handle, Journal, JournalError};

/// The right to remove and overwrite files of the journal; see [`Journal::housekeeping`].
#[must_use]
pub struct Housekeeping<'a> {
    _alone: MutexGuard<'a, ()>,
}

impl Journal {
    /// Keeps backups and others who remove or overwrite files waiting while the guard is held; waits for them first.
    ///
    /// For whoever does so by other ways than this journal: retiring segments, wiping and dropping bodies. The journal's
    /// own [`Journal::drop_body`] and [`Journal::backup`] would wait for their own caller.
    pub fn housekeeping(&self) -> Housekeeping<'_> {
        Housekeeping { _alone: self.0.housekeeping.lock().unwrap_or_else(PoisonError::into_inner) }
    }

    /// Overwrites the sealed body of record `index` with zeros, durably; the record itself stays as it is. Returns
    /// whether there was one.
    pub fn drop_body(&self, index: u64, position: BodyPosition) -> Result<bool, JournalError> {
        self.0.drop_body(index, position)
    }
}

impl Handle {
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
