//! What callers and the writer thread share: the queue, the journal's state, and the tickets.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot::{self, error::TryRecvError};

/// When an append counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Synced as soon as the disk is free; refused when the queue or the disk is full.
    Strict,
    /// Written and synced with the next strict one or after a few milliseconds; never refused for want of room.
    Lazy,
}

/// What is appended.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// The leaf's JSON after its prefix: it begins with the name of a field and ends with `}`.
    pub tail: Vec<u8>,
    /// Sealed content that belongs to the record.
    pub body: Option<Vec<u8>>,
}

/// Why a record was not taken, in words for a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Too much waits already.
    #[error("the audit journal is behind: {waiting} bytes wait for the disk, {bound} may; try again shortly")]
    Busy {
        /// Bytes that wait.
        waiting: usize,
        /// `queue_max`.
        bound: usize,
    },
    /// There is no room on the disk.
    #[error("the audit journal's disk is full ({0}); free some space, it recovers by itself")]
    Full(String),
    /// The disk failed.
    #[error("the audit journal stopped because its disk failed ({0}); check the disk and restart")]
    Failed(String),
    /// The journal was closed.
    #[error("the audit journal is closed, because the gateway is shutting down")]
    Closed,
    /// The record or its body is longer than a frame may be.
    #[error("a record of {bytes} bytes is too long for the audit journal, which takes {bound}")]
    TooLong {
        /// Bytes of the record or of its body.
        bytes: usize,
        /// The most it may have.
        bound: usize,
    },
}

/// How the journal fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalState {
    /// It takes records.
    Open,
    /// No room on the disk: strict records are refused, lazy ones wait; it recovers by itself.
    Full(String),
    /// The disk failed: nothing is taken any more.
    Failed(String),
    /// It was closed.
    Closed,
}

impl JournalState {
    fn refusal(&self, durability: Durability) -> Option<Refused> {
        match (self, durability) {
            (Self::Open, _) | (Self::Full(_), Durability::Lazy) => None,
            (Self::Full(why), Durability::Strict) => Some(Refused::Full(why.clone())),
            (Self::Failed(why), _) => Some(Refused::Failed(why.clone())),
            (Self::Closed, _) => Some(Refused::Closed),
        }
    }
}

type Outcome = Result<u64, Refused>;

/// Bytes of lazy entries that end the wait for others.
const NAP_MAX: usize = 1024 * 1024;

/// Tells when a record is durable: resolves to its index. Dropping it changes nothing for the record.
#[must_use = "a strict record counts only once its ticket says so"]
pub struct Ticket(oneshot::Receiver<Outcome>);

impl Ticket {
    pub(super) fn pair() -> (oneshot::Sender<Outcome>, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Self(receiver))
    }

    /// Returns what is known without waiting; none while it is undecided. It tells once: what it says after that has no
    /// meaning.
    pub fn ready(&mut self) -> Option<Outcome> {
        match self.0.try_recv() {
            Ok(told) => Some(told),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Closed) => Some(Err(abandoned())),
        }
    }

    /// Blocks this thread until it is decided. Not for a thread that serves requests: panics inside a tokio runtime.
    pub fn wait(self) -> Outcome {
        self.0.blocking_recv().unwrap_or_else(|_| Err(abandoned()))
    }

    /// Blocks this thread until it is decided, inside a tokio runtime, too: for what is rare, in an actor that has a thread of
    /// its own. Another thread does the waiting: polled here, many tickets in one turn would use up what tokio lets a task do.
    pub fn wait_beside(self) -> Outcome {
        let failed = |error: io::Error| Refused::Failed(format!("nobody can wait for its writer: {error}"));
        thread::scope(|scope| {
            let waiting = thread::Builder::new().spawn_scoped(scope, || self.wait()).map_err(failed)?;
            waiting.join().unwrap_or_else(|_| Err(abandoned()))
        })
    }
}

/// The writer drops no sender unless it panicked.
fn abandoned() -> Refused {
    Refused::Failed("its writer stopped unexpectedly".to_owned())
}

impl Future for Ticket {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let told = ready!(Pin::new(&mut self.0).poll(context));
        Poll::Ready(told.unwrap_or_else(|_| Err(abandoned())))
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket")
    }
}

/// An entry on its way to the disk.
pub struct Waiting {
    pub entry: Entry,
    pub durability: Durability,
    /// The record without which this one must not stand, until that is known to be durable.
    pub after: Option<Ticket>,
    pub done: oneshot::Sender<Outcome>,
}

impl Waiting {
    /// Returns the bytes it is charged with while it waits.
    pub fn charge(&self) -> usize {
        charge(&self.entry)
    }
}

fn charge(entry: &Entry) -> usize {
    entry.tail.len() + entry.body.as_ref().map_or(0, Vec::len) + size_of::<Waiting>()
}

/// What the writer sleeps for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sleep {
    /// It is awake, and looks at the queue before it sleeps.
    None,
    /// For anything.
    Idle,
    /// For what cannot wait: lazy records are there, and wait a little for others.
    Napping,
}

struct Inner {
    waiting: Vec<Waiting>,
    /// Bytes of entries that wait or are being written.
    bytes: usize,
    /// Those of them that wait since the writer last took some.
    fresh: usize,
    /// Whether a strict one is among those.
    is_urgent: bool,
    state: JournalState,
    is_closing: bool,
    sleep: Sleep,
}

impl Inner {
    /// Returns whether what waits is to be written now.
    fn is_due(&self) -> bool {
        self.is_urgent || self.is_closing || self.fresh >= NAP_MAX
    }
}

fn takes(inner: &Inner, durability: Durability) -> Result<(), Refused> {
    match inner.state.refusal(durability) {
        Some(refusal) => Err(refusal),
        None if inner.is_closing => Err(Refused::Closed),
        None => Ok(()),
    }
}

/// The queue before the writer thread.
pub struct Queue {
    inner: Mutex<Inner>,
    wake: Condvar,
    bound: usize,
}

impl Queue {
    pub fn new(bound: usize) -> Self {
        let inner = Inner {
            waiting: Vec::new(),
            bytes: 0,
            fresh: 0,
            is_urgent: false,
            state: JournalState::Open,
            is_closing: false,
            sleep: Sleep::None,
        };
        Self { inner: Mutex::new(inner), wake: Condvar::new(), bound }
    }

    /// A panic elsewhere leaves the queue itself whole: every change to it is one assignment.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn state(&self) -> JournalState {
        self.lock().state.clone()
    }

    /// Says whether something new may begin whose records have this durability.
    pub fn admits(&self, durability: Durability) -> Result<(), Refused> {
        let inner = self.lock();
        takes(&inner, durability)?;
        self.has_room(&inner)
    }

    fn has_room(&self, inner: &Inner) -> Result<(), Refused> {
        match &inner.state {
            _ if inner.bytes < self.bound => Ok(()),
            JournalState::Full(why) => Err(Refused::Full(why.clone())),
            _ => Err(Refused::Busy { waiting: inner.bytes, bound: self.bound }),
        }
    }

    /// Puts an entry at the end. What cannot be taken has its ticket resolved at once.
    pub fn push(&self, entry: Entry, durability: Durability, after: Option<Ticket>) -> Ticket {
        let (done, ticket) = Ticket::pair();
        let mut inner = self.lock();
        // Asked under the lock, so that nothing comes in behind a writer that has given up and emptied the queue. What
        // has happened is taken however much waits: only what may begin is bounded.
        let bounded = durability == Durability::Strict;
        let taken = takes(&inner, durability).and_then(|()| if bounded { self.has_room(&inner) } else { Ok(()) });
        if let Err(refusal) = taken {
            drop(inner);
            let _ = done.send(Err(refusal));
            return ticket;
        }
        let charge = charge(&entry);
        inner.bytes += charge;
        inner.fresh += charge;
        inner.is_urgent |= durability == Durability::Strict;
        inner.waiting.push(Waiting { entry, durability, after, done });
        // A wake-up is dearer than all else here.
        let wakes = inner.sleep == Sleep::Idle || inner.sleep == Sleep::Napping && inner.is_due();
        if wakes {
            inner.sleep = Sleep::None;
        }
        drop(inner);
        if wakes {
            self.wake.notify_one();
        }
        ticket
    }

    /// Waits for entries and swaps them into `taken`, which is empty: for lazy ones alone until `nap` after they were seen,
    /// and for none at all if not `wait`. Returns whether the queue is closing.
    pub fn take(&self, taken: &mut Vec<Waiting>, wait: bool, nap: Duration) -> bool {
        let mut inner = self.lock();
        let mut until = None;
        while wait && !inner.is_due() {
            if inner.waiting.is_empty() {
                inner.sleep = Sleep::Idle;
                inner = self.wake.wait(inner).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let now = Instant::now();
            let left = until.get_or_insert(now + nap).saturating_duration_since(now);
            if left.is_zero() {
                break;
            }
            inner.sleep = Sleep::Napping;
            inner = self.wake.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        inner.sleep = Sleep::None;
        inner.fresh = 0;
        inner.is_urgent = false;
        std::mem::swap(&mut inner.waiting, taken);
        inner.is_closing
    }

    /// Waits until `until` or until the queue closes, whatever comes in; returns whether it is closing.
    pub fn rest(&self, until: Instant) -> bool {
        let mut inner = self.lock();
        while !inner.is_closing {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            inner = self.wake.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        inner.is_closing
    }

    /// Takes `bytes` of what was charged off the books.
    pub fn release(&self, bytes: usize) {
        let mut inner = self.lock();
        inner.bytes = inner.bytes.saturating_sub(bytes);
    }

    /// Changes the state; returns what waits, for the caller to answer, if nothing will be written any more.
    pub fn set_state(&self, state: JournalState) -> Vec<Waiting> {
        let mut inner = self.lock();
        let ends = matches!(state, JournalState::Failed(_) | JournalState::Closed);
        inner.state = state;
        if !ends {
            return Vec::new();
        }
        inner.bytes = 0;
        std::mem::take(&mut inner.waiting)
    }

    /// Changes the state to `Full` and returns what waits, so that the strict ones can be answered.
    pub fn set_full(&self, why: &str) -> Vec<Waiting> {
        let mut inner = self.lock();
        inner.state = JournalState::Full(why.to_owned());
        std::mem::take(&mut inner.waiting)
    }

    /// Lets the writer finish what waits, and nothing new come in.
    pub fn close(&self) {
        self.lock().is_closing = true;
        self.wake.notify_all();
    }
}
