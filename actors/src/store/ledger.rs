//! The ledger of what was spent, by quarters of an hour: of every combination of who asked, what served and by which tags, and of
//! each holder of budgets.
//!
//! ```text
//! i                                    → id of the log
//! v                                    → version of this format
//! a                                    → records applied, u64 | hash of the last of them (32)
//! c                                    → since when it is complete, in seconds since 1970, i64
//! r | quarter i64 | dimensions (JSON)  → sums, u64 each
//! h | length u16 | holder (JSON) | quarter i64 → nano-dollars, u64
//! m | index of the record, u64         → the record of the phase `budget`
//! ```
//!
//! Big-endian; quarters with their sign turned, so that they sort. A group of records is one batch with `a`, so that a kill
//! leaves all of it or nothing, and what is missing is read from the journal again.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use sled::{Batch, Config, Db, Mode};

use super::{AuditStore, opening};
use crate::budget::ledger::{Dimensions, Sums};
use crate::budget::{HolderName, Window};
use crate::limits::Holder;

/// Memory for pages.
const CACHE_BYTES: u64 = 16 << 20;
/// Which format this is; a ledger of another is made again.
const VERSION: &[u8] = &[1];
/// Turns the sign of a number, so that its bytes sort as it does.
const SIGN: u64 = 1 << 63;

/// Why the ledger cannot be used. It can always be made again.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// sled cannot read or write its files.
    #[error("the ledger of budgets cannot be used: {0}")]
    Unusable(String),
    /// It was made from another log, or in another format.
    #[error("the ledger of budgets is of another log or version")]
    Foreign,
    /// What it holds is no ledger of ours.
    #[error("the ledger of budgets is damaged at `{0}`")]
    Damaged(&'static str),
}

impl From<sled::Error> for LedgerError {
    fn from(error: sled::Error) -> Self {
        Self::Unusable(error.to_string())
    }
}

/// How far the journal is in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Applied {
    /// Records.
    pub count: u64,
    /// Hash of the last of them.
    pub last: [u8; 32],
}

/// What a group of records comes to.
#[derive(Debug, Default)]
pub struct Group {
    /// By quarter and dimensions.
    pub rows: BTreeMap<(i64, Dimensions), Sums>,
    /// Nano-dollars by holder and quarter.
    pub costs: BTreeMap<(HolderName<'static>, i64), u64>,
    /// Records of budgets, by their index.
    pub marks: Vec<(u64, Vec<u8>)>,
}

/// The ledger, on disk. Cheap to clone; readable from several threads.
#[derive(Clone)]
pub struct LedgerStore {
    db: Db,
}

impl LedgerStore {
    /// Opens the ledger in the folder `path` of the log with this id, or makes an empty one.
    pub fn open(path: &Path, log: &str) -> Result<Self, LedgerError> {
        let config =
            Config::new().path(path).cache_capacity(CACHE_BYTES).mode(Mode::LowSpace).print_profile_on_drop(false);
        let store = Self { db: opening::open(&config).map_err(LedgerError::Unusable)? };
        match (store.db.get(b"i")?, store.db.get(b"v")?) {
            (Some(id), Some(version)) if *id == *log.as_bytes() && *version == *VERSION => Ok(store),
            (None, None) if store.db.is_empty() => {
                store.db.insert(b"i", log)?;
                store.db.insert(b"v", VERSION)?;
                Ok(store)
            }
            _ => Err(LedgerError::Foreign),
        }
    }

    /// Removes the ledger in the folder `path`, whatever state it is in.
    pub fn discard(path: &Path) -> io::Result<()> {
        AuditStore::discard(path)
    }

    /// Returns how far the journal is in it.
    pub fn applied(&self) -> Result<Applied, LedgerError> {
        let Some(value) = self.db.get(b"a")? else { return Ok(Applied::default()) };
        let (count, last) = value.split_at_checked(8).ok_or(LedgerError::Damaged("a"))?;
        Ok(Applied { count: number(count, "a")?, last: last.try_into().map_err(|_| LedgerError::Damaged("a"))? })
    }

    /// Returns since when everything that was spent is in it, in seconds since 1970; `None`: from the beginning.
    pub fn complete_since(&self) -> Result<Option<i64>, LedgerError> {
        self.db.get(b"c")?.map(|value| quarter_of(&value, "c")).transpose()
    }

    /// Notes that what was spent before this moment was retired from the books, and is not in it.
    pub fn set_complete_since(&self, at_s: i64) -> Result<(), LedgerError> {
        self.db.insert(b"c", &quarter_bytes(at_s))?;
        Ok(())
    }

    /// Adds a group of records, all or nothing.
    pub fn commit(&self, group: &Group, applied: Applied) -> Result<(), LedgerError> {
        let mut batch = Batch::default();
        for ((quarter, dimensions), sums) in &group.rows {
            let key = [b"r".as_slice(), &quarter_bytes(*quarter), &dimensions.to_bytes()].concat();
            let before = self.db.get(&key)?.map(|value| sums_of(&value)).transpose()?.unwrap_or_default();
            batch.insert(key, sums_bytes(&before.and(sums)));
        }
        for ((holder, quarter), cost) in &group.costs {
            let key = [holder_prefix(holder).as_slice(), &quarter_bytes(*quarter)].concat();
            let before = self.db.get(&key)?.map_or(Ok(0), |value| number(&value, "h"))?;
            batch.insert(key, &before.saturating_add(*cost).to_be_bytes());
        }
        for (index, record) in &group.marks {
            batch.insert([b"m".as_slice(), &index.to_be_bytes()].concat(), record.as_slice());
        }
        batch.insert(b"a", [applied.count.to_be_bytes().as_slice(), &applied.last].concat());
        self.db.apply_batch(batch)?;
        Ok(())
    }

    /// Returns what a holder spent in a window, in nano-dollars by quarters of an hour, the earliest first.
    pub fn costs(&self, holder: &Holder, window: Window) -> Result<Vec<(i64, u64)>, LedgerError> {
        let prefix = holder_prefix(&HolderName::of(holder));
        let edge = |second: i64| [prefix.as_slice(), &quarter_bytes(second)].concat();
        let quarters = self.db.range(edge(window.start_s)..edge(window.end_s)).map(|entry| {
            let (key, cost) = entry?;
            Ok((quarter_of(&key[prefix.len()..], "h")?, number(&cost, "h")?))
        });
        quarters.collect()
    }

    /// Returns every holder that spent anything.
    pub fn holders(&self) -> Result<Vec<Holder>, LedgerError> {
        let mut holders = Vec::new();
        let mut from = b"h".to_vec();
        while let Some((key, _)) = self.db.range(from..b"i".to_vec()).next().transpose()? {
            let holder = holder_of(&key)?;
            // Behind all of its quarters.
            from = [holder_prefix(&holder).as_slice(), &[u8::MAX; 9]].concat();
            holders.extend(holder.to_holder());
        }
        Ok(holders)
    }

    /// Gives `each` the rows of the quarters that begin within the window.
    pub fn rows(&self, window: Window, each: &mut dyn FnMut(i64, Dimensions, Sums)) -> Result<(), LedgerError> {
        let edge = |second: i64| [b"r".as_slice(), &quarter_bytes(second)].concat();
        for entry in self.db.range(edge(window.start_s)..edge(window.end_s)) {
            let (key, sums) = entry?;
            let (quarter, dimensions) = key[1..].split_at_checked(8).ok_or(LedgerError::Damaged("r"))?;
            let dimensions = Dimensions::of_bytes(dimensions).ok_or(LedgerError::Damaged("r"))?;
            each(quarter_of(quarter, "r")?, dimensions, sums_of(&sums)?);
        }
        Ok(())
    }

    /// Returns the records of budgets, in their order.
    pub fn marks(&self) -> Result<Vec<Vec<u8>>, LedgerError> {
        self.db.scan_prefix(b"m").values().map(|record| Ok(record?.to_vec())).collect()
    }
}

fn quarter_bytes(second: i64) -> [u8; 8] {
    (second.cast_unsigned() ^ SIGN).to_be_bytes()
}

fn quarter_of(bytes: &[u8], place: &'static str) -> Result<i64, LedgerError> {
    Ok((number(bytes, place)? ^ SIGN).cast_signed())
}

fn number(bytes: &[u8], place: &'static str) -> Result<u64, LedgerError> {
    Ok(u64::from_be_bytes(bytes.try_into().map_err(|_| LedgerError::Damaged(place))?))
}

/// A name may be as long as configuration allows, some hundred bytes.
fn holder_prefix(holder: &HolderName<'_>) -> Vec<u8> {
    let name = serde_json::to_vec(holder).unwrap_or_default();
    let length = u16::try_from(name.len()).unwrap_or(u16::MAX).to_be_bytes();
    [b"h".as_slice(), &length, &name].concat()
}

fn holder_of(key: &[u8]) -> Result<HolderName<'static>, LedgerError> {
    let damaged = LedgerError::Damaged("h");
    let name = key.get(3..key.len().saturating_sub(8)).and_then(|name| serde_json::from_slice(name).ok());
    name.ok_or(damaged)
}

fn sums_bytes(sums: &Sums) -> Vec<u8> {
    sums.figures().iter().flat_map(|figure| figure.to_be_bytes()).collect()
}

fn sums_of(value: &[u8]) -> Result<Sums, LedgerError> {
    let (figures, rest) = value.as_chunks::<8>();
    let figures: Vec<u64> = figures.iter().map(|bytes| u64::from_be_bytes(*bytes)).collect();
    let figures = figures.try_into().map_err(|_| LedgerError::Damaged("r"))?;
    if rest.is_empty() { Ok(Sums::of_figures(figures)) } else { Err(LedgerError::Damaged("r")) }
}
