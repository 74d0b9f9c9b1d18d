//! A disk that is full, broken or slow when a test says so, over real files.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use bursar_actors::audit::journal::{Access, Disk, DiskFile, RealDisk};

/// What is wrong with the disk; its clones are the same disk.
#[derive(Clone, Default)]
pub struct FaultyDisk(Arc<Faults>);

#[derive(Default)]
struct Faults {
    /// The device has this many bytes left to write; as much as wanted while the switch is off.
    is_bounded: AtomicBool,
    room: AtomicI64,
    /// The most bytes one call writes; 0 for all.
    piece: AtomicUsize,
    /// Syncs that succeed before one fails with EIO; none fails at `u64::MAX`.
    syncs_left: AtomicU64,
    breaks_syncs: AtomicBool,
    breaks_writes: AtomicBool,
    syncs: AtomicU64,
    /// What was done to which kind of file (its folder), in order; writes of zeros (room made ahead) left out.
    events: Mutex<Vec<String>>,
    /// Syncs wait while it is set.
    is_held: Mutex<bool>,
    released: Condvar,
}

#[allow(dead_code, reason = "each test binary uses some of it")]
impl FaultyDisk {
    /// Lets `bytes` more be written, then says that the device is full.
    pub fn full_after(&self, bytes: i64) {
        self.0.room.store(bytes, Ordering::SeqCst);
        self.0.is_bounded.store(true, Ordering::SeqCst);
    }

    /// Frees the device.
    pub fn free(&self) {
        self.0.is_bounded.store(false, Ordering::SeqCst);
    }

    /// Writes at most `bytes` per call.
    pub fn write_pieces_of(&self, bytes: usize) {
        self.0.piece.store(bytes, Ordering::SeqCst);
    }

    /// Lets `count` syncs succeed, and fails the one after with EIO; later ones "succeed", as on Linux.
    pub fn fail_sync_after(&self, count: u64) {
        self.0.syncs_left.store(count, Ordering::SeqCst);
        self.0.breaks_syncs.store(true, Ordering::SeqCst);
    }

    /// Fails every write with EIO.
    pub fn break_writes(&self) {
        self.0.breaks_writes.store(true, Ordering::SeqCst);
    }

    /// Makes syncs wait until [`FaultyDisk::release_syncs`].
    pub fn hold_syncs(&self) {
        *self.0.is_held.lock().expect("no test panics with it") = true;
    }

    /// Lets held syncs go on.
    pub fn release_syncs(&self) {
        *self.0.is_held.lock().expect("no test panics with it") = false;
        self.0.released.notify_all();
    }

    /// Returns what was written and synced since the last call: `write journal`, `sync bodies`.
    pub fn events(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.events.lock().expect("no test panics with it"))
    }

    /// Returns how many syncs were asked for.
    pub fn syncs(&self) -> u64 {
        self.0.syncs.load(Ordering::SeqCst)
    }
}

struct FaultyFile {
    file: Box<dyn DiskFile>,
    faults: Arc<Faults>,
    kind: String,
}

impl FaultyFile {
    fn note(&self, what: &str) {
        let mut events = self.faults.events.lock().expect("no test panics with it");
        events.push(format!("{what} {}", self.kind));
    }
}

impl Disk for FaultyDisk {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let folder = path.parent().and_then(Path::file_name).unwrap_or_default();
        let kind = folder.to_string_lossy().into_owned();
        Ok(Box::new(FaultyFile { file: RealDisk.open(path, access)?, faults: self.0.clone(), kind }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        RealDisk.list(folder)
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        RealDisk.create_folder(folder)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        RealDisk.sync_folder(folder)
    }
}

impl DiskFile for FaultyFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        if self.faults.breaks_writes.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(5));
        }
        let piece = self.faults.piece.load(Ordering::SeqCst);
        let mut length = if piece == 0 { bytes.len() } else { bytes.len().min(piece) };
        if self.faults.is_bounded.load(Ordering::SeqCst) {
            let room = self.faults.room.load(Ordering::SeqCst).max(0) as usize;
            if room == 0 {
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            length = length.min(room);
            self.faults.room.fetch_sub(length as i64, Ordering::SeqCst);
        }
        if bytes.iter().any(|&byte| byte != 0) {
            self.note("write");
        }
        self.file.write_at(&bytes[..length], offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.faults.syncs.fetch_add(1, Ordering::SeqCst);
        self.note("sync");
        let mut held = self.faults.is_held.lock().expect("no test panics with it");
        while *held {
            held = self.faults.released.wait(held).expect("no test panics with it");
        }
        drop(held);
        if self.faults.breaks_syncs.load(Ordering::SeqCst) && self.faults.syncs_left.fetch_sub(1, Ordering::SeqCst) == 0
        {
            self.faults.breaks_syncs.store(false, Ordering::SeqCst);
            return Err(io::Error::from_raw_os_error(5));
        }
        self.file.sync()
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.file.truncate(length)
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
}
