//! What is kept for clients until a moment: answers under idempotency keys, and stored Responses. It comes in sealed.
//!
//! ```text
//! shelf | v | digest (32)                → until_us u64 | value
//! shelf | d | until_us u64 | digest (32) → length of the value, u32
//! ```
//!
//! Big-endian. Both entries of a value are written in one batch, so that a kill leaves both or none; the second kind is what
//! is over and what is oldest, and what all of it weighs, without reading the values. Nobody else has what lies here, so a
//! store that cannot be read is put aside and not removed.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use sled::{Batch, Config, Db, IVec, Mode};

use super::opening;

/// Names one value: a hash of whose it is and what it is called.
pub type Digest = [u8; 32];

/// Memory for pages.
const CACHE_BYTES: u64 = 8 << 20;
/// Bytes before the value.
const HEAD: usize = 8;

/// What lies together and is bounded together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Shelf {
    /// Answers under idempotency keys.
    Answers = b'a',
    /// Stored Responses.
    Responses = b'r',
}

impl Shelf {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Answers, Self::Responses];

    fn index(self) -> usize {
        usize::from(self == Self::Responses)
    }
}

/// Why nothing can be kept or found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("what is kept for clients cannot be used: {0}")]
pub struct KeptError(pub String);

impl From<sled::Error> for KeptError {
    fn from(error: sled::Error) -> Self {
        Self(error.to_string())
    }
}

/// A value and until when it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// In microseconds since 1970.
    pub until_us: u64,
    /// As it was put in.
    pub value: Vec<u8>,
}

/// The store, on disk.
pub struct KeptStore {
    db: Db,
    /// What the values of each shelf weigh, in bytes.
    bytes: [u64; 2],
}

impl KeptStore {
    /// Opens the store in the folder `path`, or makes an empty one.
    pub fn open(path: &Path) -> Result<Self, KeptError> {
        // It is synced when the actor says so, once what it is sealed with is durable.
        let config = Config::new()
            .path(path)
            .cache_capacity(CACHE_BYTES)
            .mode(Mode::LowSpace)
            .flush_every_ms(None)
            .print_profile_on_drop(false);
        let db = opening::open(&config).map_err(KeptError)?;
        // Some damage shows only now.
        let weighed = catch_unwind(AssertUnwindSafe(|| db.weighed()));
        weighed.unwrap_or_else(|_| Err(KeptError("sled panicked as it read its file".into())))
    }

    /// Moves the store in the folder `path` out of the way, to the same name with `.damaged` behind it; one that lay there
    /// already is removed.
    pub fn put_aside(path: &Path) -> io::Result<()> {
        let aside = path.with_extension("damaged");
        match fs::remove_dir_all(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::rename(path, aside)
    }

    /// Returns a value that is kept, however long it still is.
    pub fn get(&self, shelf: Shelf, digest: &Digest) -> Result<Option<Kept>, KeptError> {
        self.db.get(value_key(shelf, digest))?.map(|found| kept(&found)).transpose()
    }

    /// Keeps `value` until a moment, in place of what was kept by that name.
    pub fn put(&mut self, shelf: Shelf, digest: &Digest, kept: &Kept) -> Result<(), KeptError> {
        let mut batch = Batch::default();
        let before = self.take_out(shelf, digest, &mut batch)?.unwrap_or(0);
        batch.insert(value_key(shelf, digest), [&kept.until_us.to_be_bytes(), kept.value.as_slice()].concat());
        let length = u32::try_from(kept.value.len()).map_err(|_| KeptError("a value of 4 GiB or more".into()))?;
        batch.insert(due_key(shelf, kept.until_us, digest), &length.to_be_bytes());
        self.db.apply_batch(batch)?;
        let bytes = &mut self.bytes[shelf.index()];
        *bytes = bytes.saturating_sub(before) + u64::from(length);
        Ok(())
    }

    /// Removes a value; returns whether there was one.
    pub fn remove(&mut self, shelf: Shelf, digest: &Digest) -> Result<bool, KeptError> {
        let mut batch = Batch::default();
        let Some(before) = self.take_out(shelf, digest, &mut batch)? else { return Ok(false) };
        self.db.apply_batch(batch)?;
        let bytes = &mut self.bytes[shelf.index()];
        *bytes = bytes.saturating_sub(before);
        Ok(true)
    }

    /// Removes what was kept until `now_us` or before, as far as it `may_go`; returns how many values that were.
    pub fn expire(&mut self, shelf: Shelf, now_us: u64, may_go: impl Fn(&[u8]) -> bool) -> Result<u64, KeptError> {
        let mut gone = 0;
        for (until_us, digest) in self.due(shelf)? {
            if until_us > now_us {
                break;
            }
            gone += u64::from(self.remove_if(shelf, &digest, &may_go)?);
        }
        Ok(gone)
    }

    /// Removes what is over soonest, as far as it `may_go`, until the shelf weighs no more than `most` bytes; returns how many
    /// values that were.
    pub fn shrink(&mut self, shelf: Shelf, most: u64, may_go: impl Fn(&[u8]) -> bool) -> Result<u64, KeptError> {
        let mut gone = 0;
        if self.bytes(shelf) <= most {
            return Ok(0);
        }
        for (_, digest) in self.due(shelf)? {
            if self.bytes(shelf) <= most {
                break;
            }
            gone += u64::from(self.remove_if(shelf, &digest, &may_go)?);
        }
        Ok(gone)
    }

    /// Removes every value that `is_gone`; returns how many.
    pub fn sweep(&mut self, shelf: Shelf, is_gone: impl Fn(&[u8]) -> bool) -> Result<u64, KeptError> {
        let mut gone = 0;
        for (_, digest) in self.due(shelf)? {
            gone += u64::from(self.remove_if(shelf, &digest, &is_gone)?);
        }
        Ok(gone)
    }

    /// Returns what the values of a shelf weigh, in bytes.
    pub fn bytes(&self, shelf: Shelf) -> u64 {
        self.bytes[shelf.index()]
    }

    /// Returns once everything is on disk.
    pub fn flush(&self) -> Result<(), KeptError> {
        self.db.flush()?;
        Ok(())
    }

    /// Adds the removal of a value to `batch`; returns how many bytes it has, if there is one.
    fn take_out(&self, shelf: Shelf, digest: &Digest, batch: &mut Batch) -> Result<Option<u64>, KeptError> {
        let key = value_key(shelf, digest);
        let Some(found) = self.db.get(&key)? else { return Ok(None) };
        let until_us = kept(&found)?.until_us;
        batch.remove(key);
        batch.remove(due_key(shelf, until_us, digest).as_slice());
        Ok(Some((found.len() - HEAD) as u64))
    }

    fn remove_if(&mut self, shelf: Shelf, digest: &Digest, may_go: impl Fn(&[u8]) -> bool) -> Result<bool, KeptError> {
        let found = self.get(shelf, digest)?;
        if found.is_none_or(|kept| may_go(&kept.value)) { self.remove(shelf, digest) } else { Ok(false) }
    }

    /// Returns what is kept, what is over soonest first.
    fn due(&self, shelf: Shelf) -> Result<impl Iterator<Item = (u64, Digest)> + use<>, KeptError> {
        let entries: Result<Vec<IVec>, sled::Error> = self.db.scan_prefix([shelf as u8, b'd']).keys().collect();
        let read = |key: IVec| {
            let (until, digest) = key.get(2..)?.split_first_chunk::<8>()?;
            Some((u64::from_be_bytes(*until), digest.try_into().ok()?))
        };
        Ok(entries?.into_iter().filter_map(read))
    }
}

/// Weighs what lies in a store that was opened.
trait Weighed {
    fn weighed(self) -> Result<KeptStore, KeptError>;
}

impl Weighed for Db {
    fn weighed(self) -> Result<KeptStore, KeptError> {
        let mut bytes = [0; 2];
        for shelf in Shelf::ALL {
            for length in self.scan_prefix([shelf as u8, b'd']).values() {
                let length: [u8; 4] = length?.as_ref().try_into().map_err(|_| damaged())?;
                bytes[shelf.index()] += u64::from(u32::from_be_bytes(length));
            }
        }
        Ok(KeptStore { db: self, bytes })
    }
}

fn kept(found: &IVec) -> Result<Kept, KeptError> {
    let (until, value) = found.split_first_chunk::<HEAD>().ok_or_else(damaged)?;
    Ok(Kept { until_us: u64::from_be_bytes(*until), value: value.to_vec() })
}

fn damaged() -> KeptError {
    KeptError("an entry is too short".into())
}

fn value_key(shelf: Shelf, digest: &Digest) -> Vec<u8> {
    [&[shelf as u8, b'v'], digest.as_slice()].concat()
}

fn due_key(shelf: Shelf, until_us: u64, digest: &Digest) -> Vec<u8> {
    [&[shelf as u8, b'd'], until_us.to_be_bytes().as_slice(), digest].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, KeptStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = KeptStore::open(&folder.path().join("kept")).unwrap();
        (folder, store)
    }

    fn value(until_us: u64, bytes: usize) -> Kept {
        Kept { until_us, value: vec![7; bytes] }
    }

    const ONE: Digest = [1; 32];
    const TWO: Digest = [2; 32];

    #[test]
    fn what_was_put_in_is_found_on_its_shelf_only_and_after_a_new_start() {
        let (folder, mut store) = store();
        store.put(Shelf::Answers, &ONE, &value(50, 10)).unwrap();
        store.put(Shelf::Answers, &ONE, &value(60, 4)).unwrap();
        store.flush().unwrap();
        drop(store);

        let store = KeptStore::open(&folder.path().join("kept")).unwrap();

        assert_eq!(store.get(Shelf::Answers, &ONE).unwrap(), Some(value(60, 4)));
        assert_eq!(store.get(Shelf::Responses, &ONE).unwrap(), None);
        assert_eq!((store.bytes(Shelf::Answers), store.bytes(Shelf::Responses)), (4, 0));
    }

    #[test]
    fn what_is_over_goes_unless_it_must_stay() {
        let (_folder, mut store) = store();
        store.put(Shelf::Responses, &ONE, &value(50, 10)).unwrap();
        store.put(Shelf::Responses, &TWO, &value(51, 20)).unwrap();

        assert_eq!(store.expire(Shelf::Responses, 50, |_| false).unwrap(), 0);
        assert_eq!(store.expire(Shelf::Responses, 50, |_| true).unwrap(), 1);

        assert_eq!(store.bytes(Shelf::Responses), 20);
        assert_eq!(store.get(Shelf::Responses, &ONE).unwrap(), None);
    }

    #[test]
    fn too_much_makes_room_from_the_oldest_on() {
        let (_folder, mut store) = store();
        store.put(Shelf::Answers, &TWO, &value(51, 20)).unwrap();
        store.put(Shelf::Answers, &ONE, &value(50, 10)).unwrap();

        assert_eq!(store.shrink(Shelf::Answers, 25, |_| true).unwrap(), 1);

        assert_eq!(store.get(Shelf::Answers, &ONE).unwrap(), None);
        assert_eq!(store.bytes(Shelf::Answers), 20);
        assert!(store.remove(Shelf::Answers, &TWO).unwrap() && !store.remove(Shelf::Answers, &TWO).unwrap());
        assert_eq!(store.bytes(Shelf::Answers), 0);
    }

    #[test]
    fn a_store_that_cannot_be_read_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept");
        fs::write(&path, "no store").unwrap();
        assert!(KeptStore::open(&path).is_err());

        KeptStore::put_aside(&path).unwrap();

        assert!(KeptStore::open(&path).is_ok());
        assert!(folder.path().join("kept.damaged").exists());
    }
}
