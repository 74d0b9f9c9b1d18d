//! The lock of the data directory: one process at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::JournalError;

/// Holds the data directory until it is dropped; the kernel lets go of it when the process dies in any way.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Takes `<folder>/lock` and writes this process's id into it.
    ///
    /// Fails with [`JournalError::Locked`] and the holder's id while another process holds it.
    pub fn take(folder: &Path) -> Result<Self, JournalError> {
        let path = folder.join("lock");
        let failed = |source: io::Error| JournalError::Io { doing: "locking", path: path.clone(), source };
        // Not truncated: until the lock is ours, the id in it is somebody else's.
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                file.take(20).read_to_string(&mut holder).map_err(failed)?;
                return Err(JournalError::Locked { path: folder.to_owned(), pid: holder.trim().parse().ok() });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0).map_err(failed)?;
        file.rewind().map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self { _file: file })
    }
}
