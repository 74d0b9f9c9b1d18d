//! Named records that are the truth themselves: what the admin API made. A change is on the disk before it is known.
//!
//! Every change is one batch with a sync behind it, so that a kill leaves all of it or nothing. A store that cannot be
//! read is never thrown away: its keys exist nowhere else.

use std::fs::File;
use std::io;
use std::path::Path;

use sled::{Batch, Config, Db, Mode};

use super::copy::Entry;
use super::opening;

/// Memory for pages: everything is read once, at the start.
const CACHE_BYTES: u64 = 4 << 20;

/// A record to be put, or to be removed where there is no value, by its name.
pub type Change = (String, Option<Vec<u8>>);

/// The store. Its texts of errors are for a person.
pub struct RecordStore {
    db: Db,
}

impl RecordStore {
    /// Opens the store in the folder `path`, or makes an empty one.
    pub fn open(path: &Path) -> Result<Self, String> {
        let config =
            Config::new().path(path).cache_capacity(CACHE_BYTES).mode(Mode::LowSpace).print_profile_on_drop(false);
        let db = opening::open(&config);
        let why = |why| format!("cannot open {}: {why}; if it is damaged, restore it from a backup", path.display());
        Ok(Self { db: db.map_err(why)? })
    }

    /// Makes a store of `records` in the folder `path`, where there is none; returns once it is on the disk.
    pub fn make(path: &Path, records: Vec<Entry>) -> Result<(), String> {
        let failed = |error: io::Error| format!("cannot write {}: {error}", path.display());
        let changes: Vec<Change> = records.into_iter().map(|(name, value)| (name, Some(value))).collect();
        Self::open(path)?.apply(&changes)?;
        File::open(path).and_then(|folder| folder.sync_all()).map_err(failed)
    }

    /// Returns every record, by name.
    pub fn all(&self) -> Result<Vec<Entry>, String> {
        let mut records = Vec::new();
        for entry in self.db.iter() {
            let (name, value) = entry.map_err(|error| error.to_string())?;
            let name = String::from_utf8(name.to_vec()).map_err(|_| "a name in it is no text".to_owned())?;
            records.push((name, value.to_vec()));
        }
        Ok(records)
    }

    /// Makes all of `changes` or none, and returns once they are on the disk.
    pub fn apply(&self, changes: &[Change]) -> Result<(), String> {
        let mut batch = Batch::default();
        for (name, value) in changes {
            match value {
                Some(value) => batch.insert(name.as_str(), value.as_slice()),
                None => batch.remove(name.as_str()),
            }
        }
        self.db.apply_batch(batch).map_err(|error| error.to_string())?;
        self.db.flush().map(drop).map_err(|error| error.to_string())
    }
}
