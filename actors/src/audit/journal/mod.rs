//! The journal: every record of the audit log, one after the other, in files that only ever grow.
//!
//! It is the log itself: record *n* is leaf *n* of the Merkle tree, and all else (index, search, tiles) is made by
//! reading it from the disk. One thread writes; callers push and hold a [`Ticket`] that resolves once their record is
//! durable. Nothing acknowledged is lost: a full disk refuses strict records and keeps lazy ones, a failed one ends it.
//!
//! | file | holds |
//! |---|---|
//! | `lock` | the id of the one process that may write |
//! | `journal/<first index>.journal` | records, framed (`frame`) |
//! | `bodies/<first index>.bodies` | sealed content of records, framed |
//! | `journal/<index>.torn` | what a loss of power left of an unfinished group, if whole records stood in it |

mod backup;
mod disk;
pub(crate) mod frame;
mod housekeeping;
mod lock;
mod queue;
mod reader;
mod recovery;
mod scan;
mod segment;
mod shared;
mod writer;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

pub use backup::Backup;
pub use disk::{Access, Disk, DiskFile, RealDisk, is_full};
pub use frame::{BODY_MAX, BodyPosition, LEAF_MAX, LogId, Position};
pub use housekeeping::Housekeeping;
pub use lock::DirectoryLock;
pub use queue::{Durability, Entry, JournalState, Refused, Ticket};
pub use reader::{JournalReader, Leaf};

use frame::Prefix;
use recovery::Recovered;
use shared::{Mark, Shared};
use writer::Writer;

/// How a journal is opened.
#[derive(Clone)]
pub struct JournalOptions {
    /// The data directory.
    pub path: PathBuf,
    /// Bytes after which a file is ended and the next begun; a group is never divided, so files grow a little beyond.
    pub segment_max: u64,
    /// Bytes that may wait for the disk before nothing new is admitted. Lazy records, which tell what has happened, are
    /// taken beyond it.
    pub queue_max: usize,
    /// The longest a lazy record waits to be written, for a strict one or for others to be written with.
    pub lazy_wait: Duration,
    /// How long after a full disk the next try is made.
    pub full_retry: Duration,
    /// The log that has to be there; a log that begins gets this id. None takes the one that is there, or draws one.
    pub log: Option<LogId>,
    /// Records known to have been durable, as the last signed checkpoint says. A log that ends before is refused.
    pub durable_floor: u64,
    /// The first record that has to be there: segments before it may have been retired (see
    /// [`crate::audit::retire::retired_to`]).
    pub pruned_to: u64,
    /// Where the files lie.
    pub disk: Arc<dyn Disk>,
}

impl JournalOptions {
    /// Returns the usual options for the data directory `path`: segments of 64 MiB, a queue of 32 MiB, 5 ms.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            segment_max: 64 * 1024 * 1024,
            queue_max: 32 * 1024 * 1024,
            lazy_wait: Duration::from_millis(5),
            full_retry: Duration::from_secs(1),
            log: None,
            durable_floor: 0,
            pruned_to: 0,
            disk: Arc::new(RealDisk),
        }
    }
}

/// Why a journal cannot be opened, read or copied, in words for a person.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process holds the data directory.
    #[error(
        "the data directory `{}` is in use by {}; stop that process or set another storage.path",
        path.display(),
        pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    )]
    Locked {
        /// The data directory.
        path: PathBuf,
        /// The process that holds it, if it said so.
        pid: Option<u32>,
    },
    /// The log is not as it was written. Nothing was changed.
    #[error(
        "the audit journal is damaged: `{}` at byte {offset} (record {index}): {what}; restore the data directory from a \
         backup, or keep it as evidence and set another storage.path",
        file.display()
    )]
    Corrupt {
        /// The file at fault.
        file: PathBuf,
        /// Where in it, in bytes.
        offset: u64,
        /// The record that should stand there.
        index: u64,
        /// What is wrong.
        what: String,
    },
    /// A file could not be used.
    #[error("{doing} `{}` failed: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A new log could not be begun.
    #[error("a new audit journal cannot be begun: {0}")]
    Begin(String),
    /// There is no journal to read.
    #[error("there is no audit journal in `{}`; storage.path names the data directory", path.display())]
    None {
        /// The data directory.
        path: PathBuf,
    },
}

/// What was found when a journal was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// The log's id.
    pub log_id: LogId,
    /// The first record there is: above 0 where old segments were retired.
    pub first_index: u64,
    /// The index of the next record, which is how many the log has.
    pub next_index: u64,
    /// Bytes of an unfinished write that were cut off the end. None of it had been acknowledged.
    pub torn_bytes: u64,
    /// Whole records within these; if there were any, the bytes were kept in `journal/<next index>.torn`.
    pub torn_records: u64,
    /// Records of the last segment whose body is gone.
    pub bodies_lost: u64,
    /// The log was begun just now.
    pub is_new: bool,
}

/// A journal that is open for writing. Its clones are the same journal; the last one dropped closes it.
#[derive(Clone)]
pub struct Journal(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    log: LogId,
    leaf_bound: usize,
    path: PathBuf,
    disk: Arc<dyn Disk>,
    /// Held by a backup and by whoever removes files, since one must not happen during the other.
    housekeeping: Mutex<()>,
    writer: Mutex<Option<(JoinHandle<()>, DirectoryLock)>>,
}

impl Journal {
    /// Locks the data directory, recovers what is there (or begins a log) and starts the writer's thread.
    pub fn open(options: JournalOptions) -> Result<(Self, Recovery), JournalError> {
        let failed = |source| JournalError::Io { doing: "creating", path: options.path.clone(), source };
        options.disk.create_folder(&options.path).map_err(failed)?;
        // The data directory as a whole is its owner's to lock; this is the journal's own.
        let folder = options.path.join("journal");
        options.disk.create_folder(&folder).map_err(failed)?;
        let lock = DirectoryLock::take(&folder)?;
        let Recovered { recovery, records } = recovery::recover(&options)?;
        let next = recovery.next_index;
        let mark = Mark { next, segment: records.first(), segment_length: records.length(), bodies: None };
        let shared = Arc::new(Shared::new(options.queue_max, mark));
        let (path, disk) = (options.path.clone(), options.disk.clone());
        let writer = Writer::new(shared.clone(), options, recovery.log_id, next, records);
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.run())
            .map_err(|source| JournalError::Io { doing: "starting the writer of", path: path.clone(), source })?;
        let handle = Handle {
            shared,
            log: recovery.log_id,
            leaf_bound: Prefix::new(recovery.log_id).leaf_bound(0),
            path,
            disk,
            housekeeping: Mutex::default(),
            writer: Mutex::new(Some((thread, lock))),
        };
        Ok((Self(Arc::new(handle)), recovery))
    }

    /// Says whether something new may begin whose records have this durability, and if not, why: the queue is full, or
    /// the disk. A request asks before anything is done for it, so that what waits is bounded.
    pub fn admits(&self, durability: Durability) -> Result<(), Refused> {
        self.0.shared.queue.admits(durability)
    }

    /// Puts a record at the end of the queue; never blocks. Lazy records are taken however much waits, strict ones if
    /// [`Journal::admits`] says so; the ticket of one that is not taken resolves to the reason at once.
    pub fn append(&self, entry: Entry, durability: Durability) -> Ticket {
        self.put(entry, durability, None)
    }

    /// Puts a lazy record at the end of the queue that must not stand without the one that `first` is the ticket of: if
    /// that is refused, so is this.
    pub fn append_after(&self, first: Ticket, entry: Entry) -> Ticket {
        self.put(entry, Durability::Lazy, Some(first))
    }

    fn put(&self, mut entry: Entry, durability: Durability, after: Option<Ticket>) -> Ticket {
        debug_assert!(
            entry.tail.starts_with(b"\"") && entry.tail.ends_with(b"}"),
            "the tail completes the prefix's JSON"
        );
        entry.body = entry.body.filter(|body| !body.is_empty());
        let leaf = self.0.leaf_bound + entry.tail.len();
        let body = entry.body.as_ref().map_or(0, Vec::len);
        let too_long = [(leaf, LEAF_MAX), (body, BODY_MAX)].into_iter().find(|(bytes, bound)| bytes > bound);
        if let Some((bytes, bound)) = too_long {
            let (done, ticket) = Ticket::pair();
            let _ = done.send(Err(Refused::TooLong { bytes, bound }));
            return ticket;
        }
        self.0.shared.queue.push(entry, durability, after)
    }

    /// Returns how many records are durable: all indices below it are.
    pub fn durable(&self) -> u64 {
        self.0.shared.durable()
    }

    /// Returns how the journal fares.
    pub fn state(&self) -> JournalState {
        self.0.shared.queue.state()
    }

    /// Returns the log's id.
    pub fn log_id(&self) -> LogId {
        self.0.log
    }

    /// Returns the data directory.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Returns where the files lie.
    pub fn disk(&self) -> Arc<dyn Disk> {
        self.0.disk.clone()
    }

    /// Opens a reader at the first record.
    pub fn reader(&self) -> Result<JournalReader, JournalError> {
        JournalReader::open(self.0.disk.clone(), &self.0.path)
    }

    /// Calls `follower` with [`Journal::durable`] after every sync, on the writer's thread: it should only wake someone,
    /// and must not hold the journal, which would then never be dropped.
    pub fn on_durable(&self, follower: impl Fn(u64) + Send + 'static) {
        self.0.shared.add_follower(Box::new(follower));
    }

    /// Calls `sync` before records are synced, on the writer's thread: whatever records need in order to be read, such as
    /// the keyring, it makes durable, cheaply if nothing changed. What fails there fails as the journal's own files do.
    pub fn sync_first(&self, sync: impl Fn() -> io::Result<()> + Send + 'static) {
        self.0.shared.add_precede(Box::new(sync));
    }

    /// Writes and syncs all that waits, ends the thread and lets go of the data directory. Blocks until that is done.
    /// Further calls return at once.
    pub fn close(&self) {
        self.0.close();
    }
}

impl Handle {
    fn close(&self) {
        self.shared.queue.close();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((thread, lock)) = writer {
            // A writer that panicked has said so in the state.
            let _ = thread.join();
            drop(lock);
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("log", &self.0.log).field("durable", &self.durable()).finish_non_exhaustive()
    }
}
