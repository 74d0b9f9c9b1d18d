//! For tests: a disk that stops for good before its n-th change, as a killed process stops.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::audit::journal::{Access, Disk, DiskFile, RealDisk};

/// The real disk, until its changes are used up; reading goes on.
#[derive(Clone)]
pub struct StoppingDisk(Arc<AtomicI64>);

impl StoppingDisk {
    /// Returns one that does not stop yet.
    pub fn running() -> Self {
        Self(Arc::new(AtomicI64::new(i64::MAX)))
    }

    /// Allows `changes` from now on.
    pub fn allow(&self, changes: i64) {
        self.0.store(changes, Ordering::SeqCst);
    }

    fn change(&self) -> io::Result<()> {
        match self.0.fetch_sub(1, Ordering::SeqCst) {
            ..=0 => Err(io::Error::other("stopped")),
            _ => Ok(()),
        }
    }
}

/// Calls `attempt` with a fresh disk and with how many changes to allow, one more each time, until it tells that it got
/// to its end.
pub fn stop_everywhere(mut attempt: impl FnMut(&StoppingDisk, i64) -> bool) {
    let stops = (0..1_000).find(|changes| attempt(&StoppingDisk::running(), *changes));
    assert!(stops.expect("done after a thousand changes") > 0, "there is something to stop");
}

impl Disk for StoppingDisk {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        if access == Access::Create {
            self.change()?;
        }
        Ok(Box::new(StoppingFile { disk: self.clone(), file: RealDisk.open(path, access)? }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change()?;
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if path.exists() {
            self.change()?;
        }
        RealDisk.remove(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        RealDisk.list(folder)
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        RealDisk.create_folder(folder)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.change()?;
        RealDisk.sync_folder(folder)
    }
}

struct StoppingFile {
    disk: StoppingDisk,
    file: Box<dyn DiskFile>,
}

impl DiskFile for StoppingFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        // Half of what does not fit any more is written, as when a machine stops.
        if let Err(error) = self.disk.change() {
            if self.disk.0.load(Ordering::SeqCst) == -1 {
                self.file.write_at(&bytes[..bytes.len() / 2], offset)?;
            }
            return Err(error);
        }
        self.file.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.change()?;
        self.file.sync()
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.disk.change()?;
        self.file.truncate(length)
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
}
