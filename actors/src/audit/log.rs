//! The `AuditLog` actor: follows the journal, answers what is asked of it, and signs checkpoints.
//!
//! It is told nothing; whatever is durable it reads from the disk, at the latest [`FOLLOW_EVERY`] later and before every
//! answer. An index that cannot be used is made again from the first record that there is, and from the hashes of those that
//! were retired before it.

mod retention;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actix::{Actor, AsyncContext, Context, Handler, Message};
use arc_swap::ArcSwapOption;
use tracing::{error, info, warn};

use super::checkpoint::{Checkpoint, CheckpointError, CheckpointFile, Note, SigningKey, Tampered, check_against};
use super::filter::Filter;
use super::index::{Index, Page};
use super::journal::{Disk, Journal, JournalError, JournalReader, Position};
use super::merkle::{Hash, root_at};
pub use super::prove::{Proof, Prove};
use super::retire::RetireError;
use crate::clock::Clock;
use crate::store::{AuditStore, Place, StoreError};

pub use retention::{FirstSince, Retire};

/// How long a record that is durable may be missing in the index.
pub const FOLLOW_EVERY: Duration = Duration::from_millis(200);
/// Records after which a checkpoint is signed, however little time has passed.
const CHECKPOINT_RECORDS: u64 = 1_000;
/// How long an index that failed is left alone after it was made again: what breaks it twice is its disk.
const REBUILD_REST: Duration = Duration::from_secs(30);
/// Records between two reports of progress.
const PROGRESS_RECORDS: u64 = 10_000;

/// What tells the calendar's time, in microseconds since 1970.
pub type Wall = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What the log needs besides its journal.
pub struct LogOptions {
    /// The data directory.
    pub path: PathBuf,
    /// Signs checkpoints.
    pub signing: SigningKey,
    /// Longest time between two checkpoints of a log that grows.
    pub checkpoint_every: Duration,
    /// For the dates of checkpoints.
    pub wall: Wall,
    /// Monotonic.
    pub clock: Clock,
    /// Hash of the configuration in force.
    pub config: Arc<ArcSwapOption<String>>,
}

/// What of the log can be read without a message.
#[derive(Default)]
pub struct LogView {
    /// Records in the index.
    pub indexed: AtomicU64,
    /// Requests that were admitted and have not ended, by the records.
    pub open: AtomicU64,
    /// How often the index was made again since the start.
    pub rebuilds: AtomicU64,
    /// Why checkpoints cannot be written, if they cannot.
    pub fault: ArcSwapOption<String>,
    /// The last checkpoint.
    pub checkpoint: ArcSwapOption<Note>,
}

/// Why the log cannot be opened or read, in words for a person.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The checkpoints.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The log contradicts what was signed of it.
    #[error("{0}; the data directory is kept as it is: restore the newest copy, or keep it as evidence and start anew")]
    Tampered(#[from] Tampered),
    /// The index, although it was made anew.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The hashes of retired records, or what is to be retired.
    #[error(transparent)]
    Retire(#[from] RetireError),
    /// The record is no longer there.
    #[error(
        "record {index} was retired after its retention; its hash is kept, which proves that it was there \
         (the records that are left begin with {first})"
    )]
    Retired {
        /// The record.
        index: u64,
        /// The first that is left.
        first: u64,
    },
}

impl LogError {
    /// Returns whether somebody changed the log or put an older copy of it back.
    pub fn is_tampering(&self) -> bool {
        match self {
            Self::Tampered(_) | Self::Checkpoint(CheckpointError::Tampered(_) | CheckpointError::Note { .. }) => true,
            Self::Journal(error) => matches!(error, JournalError::Corrupt { .. }),
            Self::Retire(error) => matches!(error, RetireError::Damaged { .. }),
            _ => false,
        }
    }
}

/// Told `(done, total)` now and then while the index is made.
pub type Progress<'a> = dyn FnMut(u64, u64) + 'a;

/// The index over the journal, and what reads both.
pub struct Follower {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    index: Index,
    /// Stands where the index ends.
    reader: JournalReader,
    /// Goes wherever a search sends it.
    seeker: JournalReader,
}

/// Returns the folder of the index in the data directory `path`.
pub fn index_path(path: &Path) -> PathBuf {
    path.join("index")
}

impl Follower {
    /// Opens the index of the journal in the data directory `path`, and makes it again if it cannot be used or does not
    /// belong to this journal. Reads up to `durable`.
    pub fn open(journal: &Journal, progress: &mut Progress<'_>) -> Result<(Self, bool), LogError> {
        let path = index_path(journal.path());
        let opened = caught(|| {
            let index = Index::open(&path)?;
            if index.size() > journal.durable() {
                return Err(StoreError::Damaged("a").into());
            }
            let mut follower = Self::over(index, journal, progress)?;
            follower.follow(journal.durable(), progress)?;
            Ok(follower)
        });
        match opened {
            Ok(follower) => Ok((follower, false)),
            // The journal's own faults are not mended by another index.
            Err(error @ LogError::Journal(_)) if !matches!(error, LogError::Journal(JournalError::Corrupt { .. })) => {
                Err(error)
            }
            Err(why) => {
                warn!("{why}; it is made again from the journal");
                Ok((Self::rebuild(journal, progress)?, true))
            }
        }
    }

    /// Makes the index anew from the journal's first record.
    pub fn rebuild(journal: &Journal, progress: &mut Progress<'_>) -> Result<Self, LogError> {
        let path = index_path(journal.path());
        let removing = |source| JournalError::Io { doing: "removing the index", path: path.clone(), source };
        AuditStore::discard(&path).map_err(removing)?;
        let mut follower = Self::over(Index::open(&path)?, journal, progress)?;
        follower.follow(journal.durable(), progress)?;
        Ok(follower)
    }

    fn over(mut index: Index, journal: &Journal, progress: &mut Progress<'_>) -> Result<Self, LogError> {
        index.belong_to(&journal.log_id().to_string())?;
        let (mut reader, seeker) = (journal.reader()?, journal.reader()?);
        retention::add_retired(&mut index, journal, reader.first_index(), progress)?;
        reader.seek(index.size(), None)?;
        Ok(Self { path: journal.path().to_owned(), disk: journal.disk(), index, reader, seeker })
    }

    /// Takes in all records below `durable`.
    pub fn follow(&mut self, durable: u64, progress: &mut Progress<'_>) -> Result<(), LogError> {
        while let Some(leaf) = self.reader.next(durable)? {
            let place = Place { segment: leaf.position.segment, offset: leaf.position.offset as u32 };
            self.index.add(leaf.bytes, place)?;
            if leaf.index % PROGRESS_RECORDS == PROGRESS_RECORDS - 1 {
                progress(leaf.index + 1, durable);
            }
        }
        Ok(())
    }

    /// Returns the index.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Returns record `index`; `None` where there is none, or no longer.
    pub fn record(&mut self, index: u64) -> Result<Option<Vec<u8>>, LogError> {
        let Some(place) = self.index.place(index)? else { return Ok(None) };
        read(&mut self.seeker, index, place)
    }

    /// Returns a page of the records that fit, the latest first, below `before`.
    pub fn search(&mut self, filter: &Filter, before: u64, limit: usize) -> Result<Page, LogError> {
        let Self { index, seeker, .. } = self;
        let mut fault = None;
        let found = index.search(filter, before, limit, &mut |index, place| {
            read(seeker, index, place).map_err(|why| {
                let told = StoreError::Unusable(why.to_string());
                fault = Some(why);
                told
            })
        });
        fault.map_or(found.map_err(LogError::from), Err)
    }

    /// Returns the data directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Reads a record where the index says that it lies. Where it does not stand there but elsewhere, the index is wrong; where it
/// cannot be read at all, the journal is damaged, which no other index mends.
fn read(seeker: &mut JournalReader, index: u64, place: Place) -> Result<Option<Vec<u8>>, LogError> {
    if index < seeker.first_index() {
        return Ok(None);
    }
    let mut from = |known| {
        seeker.seek(index, known)?;
        Ok::<_, JournalError>(seeker.next(index + 1)?.map(|leaf| leaf.bytes.to_vec()))
    };
    match from(Some(Position { segment: place.segment, offset: u64::from(place.offset) })) {
        Err(misled) => {
            from(None)?;
            Err(StoreError::Unusable(misled.to_string()).into())
        }
        found => Ok(found?),
    }
}

/// Does `work` and takes a panic for an index that cannot be used, since that is what sled does about some damage.
fn caught<T>(work: impl FnOnce() -> Result<T, LogError>) -> Result<T, LogError> {
    let panicked = |_| Err(StoreError::Unusable("sled panicked".into()).into());
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(panicked)
}

/// The actor. Answers on a thread of its own, since it reads the disk.
pub struct AuditLog {
    journal: Journal,
    follower: Follower,
    checkpoints: CheckpointFile,
    options: LogOptions,
    view: Arc<LogView>,
    /// When the last checkpoint was signed, and how long the log was then.
    pub(super) signed: (Instant, u64),
    /// When the index was last made again because it failed, and what is wrong with it if it failed once more.
    mended: Option<Instant>,
    broken: Option<String>,
}

impl AuditLog {
    /// Opens checkpoints and index and holds them against each other: a log that is shorter than a checkpoint says, or
    /// has another root, was changed or put back from an older copy.
    pub fn open(
        journal: Journal,
        checkpoints: CheckpointFile,
        options: LogOptions,
        progress: &mut Progress<'_>,
    ) -> Result<Self, LogError> {
        let (mut follower, rebuilt) = Follower::open(&journal, progress)?;
        if let Some(note) = checkpoints.last() {
            let check = |follower: &Follower| {
                let fits = || check_against([note], journal.durable(), |size| root_at(follower.index(), size));
                caught(|| Ok(fits()?))
            };
            // An index of another day says nothing about the journal: only what is made from it does.
            if check(&follower).is_err() && !rebuilt {
                warn!("the index does not fit the last checkpoint; it is made again from the journal");
                drop(follower);
                follower = Follower::rebuild(&journal, progress)?;
            }
            check(&follower)?;
        }
        let view = Arc::new(LogView::default());
        view.rebuilds.store(u64::from(rebuilt), Ordering::Relaxed);
        view.checkpoint.store(checkpoints.last().cloned().map(Arc::new));
        let signed = (options.clock.now(), checkpoints.last().map_or(0, |note| note.checkpoint().size));
        let log = Self { journal, follower, checkpoints, options, view, signed, mended: None, broken: None };
        log.publish();
        Ok(log)
    }

    /// Returns what can be read without a message.
    pub fn view(&self) -> Arc<LogView> {
        self.view.clone()
    }

    /// Returns the index and what reads the journal, for what is done before the actor starts.
    pub fn follower(&mut self) -> &mut Follower {
        &mut self.follower
    }

    fn publish(&self) {
        self.view.indexed.store(self.follower.index.size(), Ordering::Relaxed);
        self.view.open.store(self.follower.index.open_requests().len() as u64, Ordering::Relaxed);
    }

    /// Takes in what is durable by now. An index that fails is made again.
    fn catch_up(&mut self) -> Result<(), LogError> {
        let durable = self.journal.durable();
        let followed = match self.broken.take() {
            Some(why) => Err(StoreError::Unusable(why).into()),
            None => caught(|| self.follower.follow(durable, &mut |_, _| {})),
        };
        if let Err(LogError::Store(why)) = followed {
            self.mend(why)?;
        } else {
            followed?;
        }
        self.publish();
        Ok(())
    }

    /// Makes an index that failed again, unless that has just been done.
    fn mend(&mut self, why: StoreError) -> Result<(), LogError> {
        let now = self.options.clock.now();
        match self.mended {
            Some(before) if now.saturating_duration_since(before) < REBUILD_REST => {
                // It has lost its place, and must not go on as if nothing had happened.
                self.broken = Some(why.cause());
                Err(why.into())
            }
            _ => {
                self.mended = Some(now);
                self.rebuild(&why.to_string())
            }
        }
    }

    fn rebuild(&mut self, why: &str) -> Result<(), LogError> {
        error!("{why}; the index is made again from the journal");
        self.view.rebuilds.fetch_add(1, Ordering::Relaxed);
        let mut told = Instant::now();
        let mut progress = |done, total| {
            if told.elapsed() > Duration::from_secs(1) {
                told = Instant::now();
                info!(done, total, "the index is being made again");
            }
        };
        let made = caught(|| Follower::rebuild(&self.journal, &mut progress)).and_then(|follower| {
            // What was signed of the log holds for whatever is made from it: nothing is signed over a log that was changed.
            let last = self.checkpoints.last();
            check_against(last, follower.index.size(), |size| root_at(follower.index(), size))?;
            Ok(follower)
        });
        match made {
            Ok(follower) => (self.follower, self.broken) = (follower, None),
            Err(why) => {
                // The old one has lost its files, and must not go on as if nothing had happened.
                self.broken = Some(why.to_string());
                return Err(why);
            }
        }
        Ok(())
    }

    /// Answers with `work` over an index that is up to date; if the index fails, once more over a new one.
    pub(super) fn with_index<T>(&mut self, work: impl Fn(&mut Follower) -> Result<T, LogError>) -> Result<T, LogError> {
        self.catch_up()?;
        match caught(|| work(&mut self.follower)) {
            Err(LogError::Store(why)) => self.mend(why)?,
            done => return done,
        }
        caught(|| work(&mut self.follower))
    }

    /// Signs a checkpoint over all records that are durable, unless the last one says the same.
    fn checkpoint(&mut self) -> Result<(), LogError> {
        self.catch_up()?;
        let size = self.follower.index.size();
        if size == 0 || size == self.signed.1 {
            self.signed.0 = self.options.clock.now();
            return Ok(());
        }
        let checkpoint = Checkpoint {
            log: self.journal.log_id().to_string(),
            size,
            root: self.follower.index.root(),
            at_us: (self.options.wall)(),
            previous: self.checkpoints.last().map(Note::hash),
            config: self.options.config.load().as_ref().map(|hash| hash.as_ref().clone()),
        };
        self.checkpoints.append(checkpoint.sign(&self.options.signing))?;
        self.signed = (self.options.clock.now(), size);
        self.view.checkpoint.store(self.checkpoints.last().cloned().map(Arc::new));
        Ok(())
    }

    /// Follows, and signs a checkpoint if one is due.
    fn tick(&mut self) {
        let due = |log: &Self| {
            let grown = log.follower.index.size() - log.signed.1;
            let waited = log.options.clock.now().saturating_duration_since(log.signed.0);
            grown >= CHECKPOINT_RECORDS || grown > 0 && waited >= log.options.checkpoint_every
        };
        let ticked = self.catch_up().and_then(|()| if due(self) { self.checkpoint() } else { Ok(()) });
        self.note_fault(ticked.err());
    }

    fn note_fault(&mut self, fault: Option<LogError>) {
        let told = fault.map(|error| Arc::new(error.to_string()));
        if let (Some(why), None) = (&told, self.view.fault.load().as_ref()) {
            error!("{why}");
        }
        self.view.fault.store(told);
    }
}

impl Actor for AuditLog {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        context.run_interval(FOLLOW_EVERY, |log, _| log.tick());
    }
}

/// Asks for a page of the records that fit `filter`, the latest first, below `before`.
#[derive(Message)]
#[rtype(result = "Result<Page, LogError>")]
pub struct Search {
    /// Which.
    pub filter: Filter,
    /// Records before this index; `u64::MAX` for the latest.
    pub before: u64,
    /// How many at most.
    pub limit: usize,
}

impl Handler<Search> for AuditLog {
    type Result = Result<Page, LogError>;

    fn handle(&mut self, ask: Search, _: &mut Context<Self>) -> Self::Result {
        self.with_index(|follower| follower.search(&ask.filter, ask.before, ask.limit))
    }
}

/// Asks for one record; of one that was retired [`LogError::Retired`] tells.
#[derive(Message)]
#[rtype(result = "Result<Option<Vec<u8>>, LogError>")]
pub struct Fetch(pub u64);

impl Handler<Fetch> for AuditLog {
    type Result = Result<Option<Vec<u8>>, LogError>;

    fn handle(&mut self, Fetch(index): Fetch, _: &mut Context<Self>) -> Self::Result {
        self.with_index(|follower| match follower.record(index)? {
            None if index < follower.index.first() => Err(LogError::Retired { index, first: follower.index.first() }),
            found => Ok(found),
        })
    }
}

/// Asks for a checkpoint over everything that is durable; returns the last one.
#[derive(Message)]
#[rtype(result = "Result<Option<Arc<Note>>, LogError>")]
pub struct SignCheckpoint;

impl Handler<SignCheckpoint> for AuditLog {
    type Result = Result<Option<Arc<Note>>, LogError>;

    fn handle(&mut self, _: SignCheckpoint, _: &mut Context<Self>) -> Self::Result {
        self.checkpoint()?;
        Ok(self.view.checkpoint.load_full())
    }
}

/// Asks for the index to be made again from the journal; returns the root over it.
#[derive(Message)]
#[rtype(result = "Result<(u64, Hash), LogError>")]
pub struct Rebuild;

impl Handler<Rebuild> for AuditLog {
    type Result = Result<(u64, Hash), LogError>;

    fn handle(&mut self, _: Rebuild, _: &mut Context<Self>) -> Self::Result {
        self.rebuild("a rebuild was asked for")?;
        self.publish();
        Ok((self.follower.index.size(), self.follower.index.root()))
    }
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
