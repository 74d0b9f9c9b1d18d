//! What the gateway keeps for its clients: answers under idempotency keys for a day, Responses for as long as the settings
//! say. It comes in sealed and goes out sealed; this actor decides who is first under a key, what goes, and when.
//!
//! | message  | reply                        | sent by                                    |
//! |----------|------------------------------|--------------------------------------------|
//! | `Begin`  | `Begun`, with a `Turn`       | a request with an idempotency key          |
//! | `End`    | –                            | a `Turn`, once                             |
//! | `Put`    | nothing, once it is on disk  | a request whose Response is stored         |
//! | `Walk`   | the Response and those before| a request that goes on from one; a reader  |
//! | `Remove` | whether there was one        | a client                                   |
//! | `Flush`  | –                            | itself, behind what it has to write        |
//! | `Close`  | nothing, once all is on disk | whoever ends the process                   |
//!
//! It waits for the disk, so it has a thread of its own. Who asks first opens the store: a gateway that keeps nothing has
//! none.

mod answers;
mod responses;
mod turn;

use std::collections::HashMap;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, Arbiter, AsyncContext, Context, Handler, Message};
use tokio::sync::oneshot;
use tracing::{info, warn};

pub use answers::{Begin, Begun, Turn};
pub use responses::{Lack, Put, Remove, TURNS_MAX, Walk, Walked};

pub use crate::store::{Digest, KeptError};
use crate::store::{Kept, KeptStore, Shelf};
use crate::vault::{Month, Standing, Vault};
use turn::{Row, State};

/// How long an answer is kept under its key, in microseconds: a day.
pub const ANSWERS_KEPT_US: u64 = 86_400_000_000;
/// What the answers under idempotency keys may weigh together, in bytes; then the oldest go.
pub const ANSWERS_BYTES: u64 = 256 << 20;

/// How long what nobody waits for may be missing on the disk.
const FLUSH_EVERY: Duration = Duration::from_millis(500);
/// How often it is looked after what is over.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Messages that may wait.
const MAILBOX: usize = 1_024;

/// What tells the calendar's time, in microseconds since 1970.
pub type Wall = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What the actor is started with.
#[derive(Clone)]
pub struct StoredOptions {
    /// The folder of its store.
    pub path: PathBuf,
    /// What seals; here for its keys' durability, their end, and legal holds.
    pub vault: Arc<Vault>,
    /// For the dates at which things are over.
    pub wall: Wall,
    /// What the Responses may weigh together, in bytes; then the oldest go.
    pub responses_bytes: u64,
    /// How long Responses are kept.
    pub responses_kept: Duration,
}

/// The actor.
pub struct Stored {
    options: StoredOptions,
    store: Option<KeptStore>,
    /// Fingerprints of the requests that are being served, by their keys.
    serving: HashMap<Digest, Digest>,
    /// Who waits until what was written is on the disk.
    waiting: Vec<oneshot::Sender<Result<(), KeptError>>>,
    /// Whether something was written that is not on the disk.
    is_dirty: bool,
    /// The vault's destructions that were swept after.
    swept: Option<u64>,
}

impl Stored {
    /// Starts the actor on a thread of its own; needs a running actix system.
    pub fn start_with(options: StoredOptions) -> Addr<Self> {
        Self::start_in_arbiter(&Arbiter::new().handle(), move |context| {
            context.set_mailbox_capacity(MAILBOX);
            let (serving, waiting) = (HashMap::new(), Vec::new());
            Self { options, store: None, serving, waiting, is_dirty: false, swept: None }
        })
    }

    /// Works on the store, which is opened if need be. What is damaged is put aside: an empty store serves, none does not.
    fn with_store<T>(&mut self, work: impl FnOnce(&mut KeptStore) -> Result<T, KeptError>) -> Result<T, KeptError> {
        let store = match &mut self.store {
            Some(store) => store,
            none => none.insert(open(&self.options.path)?),
        };
        let worked = catch_unwind(AssertUnwindSafe(|| work(store)));
        let done = worked.unwrap_or_else(|_| Err(KeptError("sled panicked".into())));
        if let Err(why) = &done {
            warn!("{why}");
            // The next one tries with what a new start would find.
            self.store = None;
        }
        done
    }

    fn put(&mut self, shelf: Shelf, digest: &Digest, kept: &Kept, most: u64) -> Result<(), KeptError> {
        let vault = self.options.vault.clone();
        self.is_dirty = true;
        let evicted = self.with_store(|store| {
            store.put(shelf, digest, kept)?;
            store.shrink(shelf, most, |value| standing(&vault, shelf, value) != Standing::Held)
        })?;
        if evicted > 0 {
            info!(evicted, "the oldest of what is kept for clients went to make room");
        }
        Ok(())
    }

    fn put_row(&mut self, key: &Digest, row: &Row<'_>) -> Result<(), KeptError> {
        let kept = Kept { until_us: (self.options.wall)() + ANSWERS_KEPT_US, value: row.bytes() };
        self.put(Shelf::Answers, key, &kept, ANSWERS_BYTES)
    }

    /// Returns what is kept and not over.
    fn get(&mut self, shelf: Shelf, digest: &Digest) -> Result<Option<Vec<u8>>, KeptError> {
        let now_us = (self.options.wall)();
        let found = self.with_store(|store| store.get(shelf, digest))?;
        Ok(found.filter(|kept| kept.until_us > now_us).map(|kept| kept.value))
    }

    /// Removes a value; one under a legal hold stays, but nobody finds it.
    fn remove(&mut self, shelf: Shelf, digest: &Digest) -> Result<bool, KeptError> {
        let Some(value) = self.get(shelf, digest)? else { return Ok(false) };
        self.is_dirty = true;
        if standing(&self.options.vault, shelf, &value) == Standing::Held {
            let over = Kept { until_us: (self.options.wall)(), value };
            return self.with_store(|store| store.put(shelf, digest, &over)).map(|()| true);
        }
        self.with_store(|store| store.remove(shelf, digest))
    }

    /// Brings what was written to the disk, first the keys that it is sealed with, and tells who waits.
    fn flush(&mut self) {
        let vault = self.options.vault.clone();
        let done = if self.is_dirty {
            self.with_store(|store| {
                vault.sync().map_err(|why| KeptError(why.to_string()))?;
                store.flush()
            })
        } else {
            Ok(())
        };
        self.is_dirty = false;
        for waiting in mem::take(&mut self.waiting) {
            let _ = waiting.send(done.clone());
        }
    }

    /// Returns what comes once all that was written up to now is on the disk. Who writes meanwhile waits for the same.
    fn durable(&mut self, context: &mut Context<Self>) -> oneshot::Receiver<Result<(), KeptError>> {
        let (sender, receiver) = oneshot::channel();
        self.waiting.push(sender);
        if self.waiting.len() == 1 && context.address().try_send(Flush).is_err() {
            self.flush();
        }
        receiver
    }

    /// Lets go of what is over, and of what nobody can open any more.
    fn sweep(&mut self) {
        if self.store.is_none() {
            return;
        }
        let StoredOptions { vault, wall, responses_kept, .. } = self.options.clone();
        let now_us = wall();
        let kept_us = u64::try_from(responses_kept.as_micros()).unwrap_or(u64::MAX).max(ANSWERS_KEPT_US);
        if let Err(why) = vault.expire_stored(Month::of_micros(now_us.saturating_sub(kept_us))) {
            warn!("keys of what is kept for clients could not be destroyed: {why}");
        }
        let destructions = vault.destructions();
        let is_new = self.swept.replace(destructions) != Some(destructions);
        let gone = self.with_store(|store| {
            let mut gone = 0;
            for shelf in Shelf::ALL {
                let of = |value: &[u8]| standing(&vault, shelf, value);
                gone += store.expire(shelf, now_us, |value| of(value) != Standing::Held)?;
                if is_new {
                    gone += store.sweep(shelf, |value| of(value) == Standing::Erased)?;
                }
            }
            Ok(gone)
        });
        if gone.is_ok_and(|gone| gone > 0) {
            self.is_dirty = true;
        }
    }
}

fn open(path: &Path) -> Result<KeptStore, KeptError> {
    KeptStore::open(path).or_else(|why| {
        warn!(path = %path.display(), "{why}; it is put aside as `.damaged`, and what it held cannot be found any more");
        KeptStore::put_aside(path).map_err(|error| KeptError(error.to_string()))?;
        KeptStore::open(path)
    })
}

/// Tells what may be done with a value.
fn standing(vault: &Vault, shelf: Shelf, value: &[u8]) -> Standing {
    let sealed = match shelf {
        Shelf::Answers => match Row::read(value).map(|row| row.state) {
            Some(State::Answered(sealed)) => sealed,
            _ => return Standing::Free,
        },
        Shelf::Responses => responses::split(value).map_or(&[][..], |(_, sealed)| sealed),
    };
    vault.standing(sealed)
}

fn stopping() -> KeptError {
    KeptError("the gateway is stopping".into())
}

impl Actor for Stored {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        // What was kept before is looked after, even if nobody asks for it.
        if self.options.path.exists() {
            let _ = self.with_store(|_| Ok(()));
            self.sweep();
        }
        context.run_interval(FLUSH_EVERY, |stored, _| {
            if stored.is_dirty {
                stored.flush();
            }
        });
        context.run_interval(SWEEP_EVERY, |stored, _| stored.sweep());
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Flush;

impl Handler<Flush> for Stored {
    type Result = ();

    fn handle(&mut self, _: Flush, _: &mut Context<Self>) {
        self.flush();
    }
}

/// Asks for an orderly end: answered once everything is on the disk and the store is closed.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Close;

impl Handler<Close> for Stored {
    type Result = ();

    fn handle(&mut self, _: Close, _: &mut Context<Self>) {
        self.flush();
        self.store = None;
    }
}
