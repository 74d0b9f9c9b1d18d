//! A copy of the log while it is being written.
//!
//! Files only grow and what is below [`Journal::durable`] never changes, so copying each of them up to the same durable
//! point gives a log that opens and verifies. The order matters at the edges: checkpoints go first, so that none of them
//! speaks of more records than were copied; the keyring goes last, so that it holds the key of every body that was.

use std::io;
use std::path::Path;
use std::sync::PoisonError;

use super::disk::Access;
use super::frame::Kind;
use super::segment::{firsts, path_of};
use super::{Handle, Journal, JournalError};
use crate::audit::beside::Beside;

/// What a backup holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backup {
    /// Records below this are in it.
    pub records: u64,
    /// Bytes that were copied.
    pub bytes: u64,
}

impl Journal {
    /// Copies checkpoints, records, bodies, leaf hashes of retired segments and the keyring to the folder `to`, up to one
    /// durable point, and writes there what lies `beside` the log. `to` must not exist or be empty. Blocks; records go on
    /// being written meanwhile.
    ///
    /// The keys (the signing key and the master key) lie outside the data directory and are not copied; the index is
    /// made anew from the records.
    pub fn backup(&self, to: &Path, beside: &[Beside]) -> Result<Backup, JournalError> {
        self.0.backup(to, beside)
    }
}

impl Handle {
    fn backup(&self, to: &Path, beside: &[Beside]) -> Result<Backup, JournalError> {
        let _kept = self.housekeeping.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |doing, path: &Path, source| JournalError::Io { doing, path: path.to_owned(), source };
        let is_taken = ["", "journal", "bodies"]
            .iter()
            .any(|folder| self.disk.list(&to.join(folder)).is_ok_and(|files| !files.is_empty()));
        if is_taken {
            let source = io::Error::new(io::ErrorKind::AlreadyExists, "the folder of a backup has to be empty");
            return Err(failed("backing up to", to, source));
        }
        let mut bytes = 0;
        for folder in ["", "journal", "bodies", "leaves"] {
            let folder = to.join(folder);
            self.disk.create_folder(&folder).map_err(|source| failed("creating", &folder, source))?;
        }
        // First, so that a copy that was stopped has no records without it.
        for Beside { name, content } in beside {
            let path = to.join(name);
            let file = self.disk.open(&path, Access::Create).map_err(|source| failed("creating", &path, source))?;
            file.write_all_at(content, 0)
                .and_then(|()| file.sync())
                .map_err(|source| failed("writing", &path, source))?;
            bytes += content.len() as u64;
        }
        bytes += self.copy_if_there(Path::new("checkpoints"), to)?;
        let mark = self.shared.mark();
        for (kind, last) in [(Kind::Journal, Some((mark.segment, mark.segment_length))), (Kind::Bodies, mark.bodies)] {
            for first in firsts(self.disk.as_ref(), &self.path, kind)? {
                let length = last.filter(|&(file, _)| file == first).map(|(_, length)| length);
                if length.is_some() || first < mark.next {
                    let from = path_of(&self.path, kind, first);
                    bytes += self.copy(&from, &path_of(to, kind, first), length)?;
                }
            }
        }
        for path in self.disk.list(&self.path.join("leaves")).map_err(|source| failed("listing", &self.path, source))? {
            if let Some(name) = path.file_name() {
                bytes += self.copy(&path, &to.join("leaves").join(name), None)?;
            }
        }
        bytes += self.copy_if_there(Path::new("holds"), to)?;
        bytes += self.copy_if_there(Path::new("keyring"), to)?;
        for folder in ["journal", "bodies", "leaves", ""] {
            let folder = to.join(folder);
            self.disk.sync_folder(&folder).map_err(|source| failed("syncing", &folder, source))?;
        }
        Ok(Backup { records: mark.next, bytes })
    }

    fn copy_if_there(&self, name: &Path, to: &Path) -> Result<u64, JournalError> {
        let from = self.path.join(name);
        match self.disk.open(&from, Access::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            _ => self.copy(&from, &to.join(name), None),
        }
    }

    /// Copies `from`, or its first `length` bytes; returns how many bytes that were.
    fn copy(&self, from: &Path, to: &Path, length: Option<u64>) -> Result<u64, JournalError> {
        let failed = |doing, path: &Path, source| JournalError::Io { doing, path: path.to_owned(), source };
        let source = self.disk.open(from, Access::Read).map_err(|error| failed("opening", from, error))?;
        let target = self.disk.open(to, Access::Create).map_err(|error| failed("creating", to, error))?;
        let mut at = 0;
        let mut buffer = vec![0; 1024 * 1024];
        loop {
            let wanted = length.map_or(buffer.len(), |length| buffer.len().min((length - at) as usize));
            let read =
                source.read_full_at(&mut buffer[..wanted], at).map_err(|error| failed("reading", from, error))?;
            if read == 0 {
                break;
            }
            target.write_all_at(&buffer[..read], at).map_err(|error| failed("writing", to, error))?;
            at += read as u64;
        }
        if length.is_some_and(|length| length != at) {
            let error = io::Error::new(io::ErrorKind::UnexpectedEof, format!("it ends after {at} bytes"));
            return Err(failed("reading", from, error));
        }
        target.sync().map_err(|error| failed("syncing", to, error))?;
        Ok(at)
    }
}
