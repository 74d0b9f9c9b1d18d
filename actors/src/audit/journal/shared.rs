//! What the journal's handles and its writer thread share besides the queue: how far it is durable, and who is told.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::disk::is_full;
use super::queue::Queue;
use super::segment::Trouble;

/// Where the durable part of the journal ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Records below this are durable.
    pub next: u64,
    /// First index of the segment being written, and its length.
    pub segment: u64,
    pub segment_length: u64,
    /// First index of the bodies' file being written, and its length.
    pub bodies: Option<(u64, u64)>,
}

type Precede = Box<dyn Fn() -> io::Result<()> + Send>;
type Follower = Box<dyn Fn(u64) + Send>;

/// Shared by handles and writer.
pub struct Shared {
    pub queue: Queue,
    durable: AtomicU64,
    mark: Mutex<Mark>,
    precede: Mutex<Vec<Precede>>,
    followers: Mutex<Vec<Follower>>,
}

impl Shared {
    pub fn new(queue_max: usize, mark: Mark) -> Self {
        Self {
            queue: Queue::new(queue_max),
            durable: AtomicU64::new(mark.next),
            mark: Mutex::new(mark),
            precede: Mutex::default(),
            followers: Mutex::default(),
        }
    }

    pub fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    pub fn mark(&self) -> Mark {
        *self.mark.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn publish(&self, mark: Mark) {
        *self.mark.lock().unwrap_or_else(PoisonError::into_inner) = mark;
        self.durable.store(mark.next, Ordering::Release);
    }

    pub fn add_precede(&self, sync: Precede) {
        self.precede.lock().unwrap_or_else(PoisonError::into_inner).push(sync);
    }

    pub fn add_follower(&self, follower: Follower) {
        self.followers.lock().unwrap_or_else(PoisonError::into_inner).push(follower);
    }

    /// Syncs what has to be durable before any record.
    pub fn precede(&self) -> Result<(), Trouble> {
        for sync in self.precede.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            sync().map_err(|error| {
                let words = format!("writing what records need (the keyring) failed: {error}");
                if is_full(&error) { Trouble::Full(words) } else { Trouble::Fatal(words) }
            })?;
        }
        Ok(())
    }

    /// Tells the followers how far the journal is durable.
    pub fn tell(&self) {
        let durable = self.durable();
        for follower in self.followers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            follower(durable);
        }
    }
}
