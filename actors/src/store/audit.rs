//! The index of the books: where each record lies, which records hold a term, and the hashes of the Merkle log.
//!
//! It grows by whole blocks of [`BLOCK`] records; each is one batch, so that a kill leaves a whole number of them.

use std::collections::{BTreeMap, HashMap, btree_map};
use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;

use sled::{Batch, Config, Db, IVec, Mode};

use super::opening;
use crate::audit::merkle::tile::{TileHashes, TileId, entries_of, tile_root};
use crate::audit::merkle::{Hash, Hashes};

/// Records of one block.
pub const BLOCK: u64 = 1_024;
/// Memory for pages; what is read often is small.
const CACHE_BYTES: u64 = 8 << 20;
/// Longest term that is told from others with the same beginning, in bytes.
const TERM_MAX: usize = 200;

/// What a record can be found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Field {
    /// The end user's pseudonym.
    User = b'u',
    /// The client key, or who else acted.
    Actor = b'k',
    /// The team.
    Team = b't',
    /// `provider/model` that served.
    Served = b's',
    /// The model's name as it was asked for.
    Asked = b'm',
    /// The provider that served.
    Provider = b'v',
    /// The class of the error.
    Error = b'e',
    /// The phase of the record.
    Phase = b'p',
    /// How the request ended.
    Outcome = b'o',
    /// What was done.
    Action = b'a',
}

impl Field {
    /// Every field, the most telling first.
    pub const ALL: [Self; 10] = [
        Self::User,
        Self::Actor,
        Self::Error,
        Self::Served,
        Self::Asked,
        Self::Team,
        Self::Provider,
        Self::Action,
        Self::Outcome,
        Self::Phase,
    ];

    /// Returns its place in [`Field::ALL`].
    fn slot(self) -> usize {
        match self {
            Self::User => 0,
            Self::Actor => 1,
            Self::Error => 2,
            Self::Served => 3,
            Self::Asked => 4,
            Self::Team => 5,
            Self::Provider => 6,
            Self::Action => 7,
            Self::Outcome => 8,
            Self::Phase => 9,
        }
    }
}

/// A field with its value.
pub type Term = (Field, String);

/// Where a record lies in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// First index of the segment.
    pub segment: u64,
    /// Of the record's frame, in bytes from the segment's beginning.
    pub offset: u32,
}

/// Earliest and latest time in a block, in microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Earliest.
    pub from_us: u64,
    /// Latest.
    pub to_us: u64,
}

/// A request that was admitted and has not ended: its number within the run of the process, and the record's index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open {
    /// See [`crate::audit::record::Record::call`].
    pub call: u64,
    /// Index of the record of admission.
    pub index: u64,
}

/// [`BLOCK`] records, as they are put into the index.
#[derive(Debug, Default)]
pub struct Block {
    /// Of each record, in order.
    pub places: Vec<Place>,
    /// Of each record, in order.
    pub leaves: Vec<Hash>,
    /// Of each record, in order, in microseconds since 1970.
    pub times: Vec<u64>,
    /// Which records hold a term.
    pub postings: Postings,
    /// Hash of the request that a record is about, and the record, counted likewise.
    pub requests: Vec<(u32, u16)>,
}

impl Block {
    /// Returns which records may be about the request with this hash, rising.
    pub fn maybe_about(&self, hash: u32) -> Vec<u16> {
        self.requests.iter().filter(|(other, _)| *other == hash).map(|(_, record)| *record).collect()
    }

    /// Returns the earliest and latest time.
    pub fn span(&self) -> Span {
        let (from, to) = (self.times.iter().min(), self.times.iter().max());
        Span { from_us: from.copied().unwrap_or_default(), to_us: to.copied().unwrap_or_default() }
    }

    /// Empties it for the next.
    pub fn clear(&mut self) {
        let Self { places, leaves, times, postings, requests } = self;
        places.clear();
        leaves.clear();
        times.clear();
        postings.0.iter_mut().for_each(HashMap::clear);
        requests.clear();
    }
}

/// Which records of a block hold a term, counted from the block's first, rising.
#[derive(Debug, Default)]
pub struct Postings([HashMap<String, Vec<u16>>; Field::ALL.len()]);

impl Postings {
    /// Adds a record behind all others.
    pub fn add(&mut self, field: Field, value: &str, record: u16) {
        let (terms, value) = (&mut self.0[field.slot()], as_term(value));
        // Most terms are there already, and need no name of their own.
        match terms.get_mut(value) {
            Some(records) => records.push(record),
            None => _ = terms.insert(value.to_owned(), vec![record]),
        }
    }

    /// Takes a record out.
    pub fn remove(&mut self, field: Field, value: &str, record: u16) {
        if let Some(records) = self.0[field.slot()].get_mut(as_term(value)) {
            records.retain(|other| *other != record);
        }
    }

    /// Returns the records that hold the term.
    pub fn holders(&self, field: Field, value: &str) -> &[u16] {
        self.0[field.slot()].get(as_term(value)).map_or(&[], Vec::as_slice)
    }

    fn iter(&self) -> impl Iterator<Item = (Field, &String, &Vec<u16>)> {
        let of = |field: Field| self.0[field.slot()].iter().map(move |(value, records)| (field, value, records));
        Field::ALL.into_iter().flat_map(of).filter(|(_, _, records)| !records.is_empty())
    }
}

/// Why the index cannot be used. It can always be made again.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// sled cannot read or write its files.
    #[error("the index of the books cannot be used: {0}")]
    Unusable(String),
    /// It was made from another log.
    #[error("the index of the books is of another log")]
    Foreign,
    /// What it holds is no index of ours.
    #[error("the index of the books is damaged at `{0}`")]
    Damaged(&'static str),
}

impl StoreError {
    /// Returns what is wrong, as [`StoreError::Unusable`] takes it.
    pub fn cause(&self) -> String {
        match self {
            Self::Unusable(why) => why.clone(),
            other => other.to_string(),
        }
    }
}

impl From<sled::Error> for StoreError {
    fn from(error: sled::Error) -> Self {
        Self::Unusable(error.to_string())
    }
}

/// The index, on disk. Cheap to clone; readable from several threads.
#[derive(Clone)]
pub struct AuditStore {
    db: Db,
}

impl AuditStore {
    /// Opens the index in the folder `path`, or makes an empty one.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let config =
            Config::new().path(path).cache_capacity(CACHE_BYTES).mode(Mode::LowSpace).print_profile_on_drop(false);
        Ok(Self { db: opening::open(&config).map_err(StoreError::Unusable)? })
    }

    /// Removes the index in the folder `path`, whatever state it is in.
    pub fn discard(path: &Path) -> io::Result<()> {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Returns how many records are in the index: a multiple of [`BLOCK`].
    pub fn applied(&self) -> Result<u64, StoreError> {
        self.db.get(b"a")?.map_or(Ok(0), |value| number(&value, "a"))
    }

    /// Checks that the index is of the log with this id; an empty one becomes that log's.
    pub fn belong_to(&self, log: &str) -> Result<(), StoreError> {
        match self.db.get(b"i")? {
            Some(id) if *id == *log.as_bytes() => Ok(()),
            None if self.applied()? == 0 => {
                self.db.insert(b"i", log)?;
                Ok(())
            }
            _ => Err(StoreError::Foreign),
        }
    }

    /// Returns the requests that were open behind the last record of the index.
    pub fn open_requests(&self) -> Result<Vec<Open>, StoreError> {
        let Some(value) = self.db.get(b"o")? else { return Ok(Vec::new()) };
        let open = value.chunks_exact(16).map(|pair| {
            let (call, index) = pair.split_at(8);
            Open { call: big_endian(call), index: big_endian(index) }
        });
        Ok(open.collect())
    }

    /// Returns the span of each block.
    pub fn spans(&self) -> Result<Vec<Span>, StoreError> {
        let span = |entry: Result<(IVec, IVec), sled::Error>| {
            let (_, value) = entry?;
            let head = value.get(..16).ok_or(StoreError::Damaged("b"))?;
            Ok(Span { from_us: big_endian(&head[..8]), to_us: big_endian(&head[8..]) })
        };
        self.db.scan_prefix(b"b").map(span).collect()
    }

    /// Puts the next block in, with the requests that are open behind it, all or nothing.
    pub fn commit(&self, block: &Block, open: &[Open]) -> Result<(), StoreError> {
        let first = self.applied()?;
        let number = first / BLOCK;
        let mut batch = Batch::default();
        batch.insert(key(b"b", &[number]), encode_places(block));
        for (field, value, records) in block.postings.iter() {
            let records: Vec<u8> = records.iter().flat_map(|record| record.to_be_bytes()).collect();
            batch.insert(term_key(field, value, Some(number)), records);
        }
        batch.insert(key(b"r", &[number]), encode_requests(&block.requests));
        self.add_tiles(first, &block.leaves, &mut batch)?;
        let open: Vec<u8> =
            open.iter().flat_map(|open| [open.call.to_be_bytes(), open.index.to_be_bytes()].concat()).collect();
        batch.insert(b"o", open);
        batch.insert(b"a", &(first + block.places.len() as u64).to_be_bytes());
        self.db.apply_batch(batch)?;
        Ok(())
    }

    /// Takes records out of what they can be found by: `postings` and `requests` name them within each block, rising. Places, times and hashes stay, as the blocks have to.
    pub fn forget(
        &self,
        postings: &BTreeMap<(Term, u64), Vec<u16>>,
        requests: &BTreeMap<u64, Vec<u16>>,
    ) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        for (((field, value), number), gone) in postings {
            let key = term_key(*field, value, Some(*number));
            let Some(held) = self.db.get(&key)? else { continue };
            let stays = |record: &u16| gone.binary_search(record).is_err();
            let left: Vec<u8> = records(&held).into_iter().filter(stays).flat_map(u16::to_be_bytes).collect();
            if left.is_empty() { batch.remove(key) } else { batch.insert(key, left) }
        }
        for (number, gone) in requests {
            let key = key(b"r", &[*number]);
            let Some(held) = self.db.get(&key)? else { continue };
            let (entries, _) = held.as_chunks::<6>();
            let stays = |entry: &&[u8; 6]| gone.binary_search(&(big_endian(&entry[4..]) as u16)).is_err();
            let left: Vec<u8> = entries.iter().filter(stays).flatten().copied().collect();
            if left.is_empty() { batch.remove(key) } else { batch.insert(key, left) }
        }
        self.db.apply_batch(batch)?;
        Ok(())
    }

    /// Adds the block's leaves to the tiles, and the roots of those that they complete to the tiles above.
    fn add_tiles(&self, first: u64, leaves: &[Hash], batch: &mut Batch) -> Result<(), StoreError> {
        let mut tiles: BTreeMap<TileId, Vec<Hash>> = BTreeMap::new();
        for (index, leaf) in (first..).zip(leaves) {
            let mut hash = *leaf;
            for entry in entries_of(index) {
                let tile = match tiles.entry(entry.tile) {
                    btree_map::Entry::Occupied(tile) => tile.into_mut(),
                    btree_map::Entry::Vacant(tile) => tile.insert(self.tile(entry.tile)?.unwrap_or_default()),
                };
                if tile.len() != entry.position {
                    return Err(StoreError::Damaged("l"));
                }
                tile.push(hash);
                if entry.completes {
                    hash = tile_root(tile);
                }
            }
        }
        for (id, hashes) in tiles {
            let value: Vec<u8> = hashes.iter().flat_map(|hash| hash.0).collect();
            batch.insert(key(b"l", &[u64::from(id.level), id.index]), value);
        }
        Ok(())
    }

    fn tile(&self, id: TileId) -> Result<Option<Vec<Hash>>, StoreError> {
        let Some(value) = self.db.get(key(b"l", &[u64::from(id.level), id.index]))? else { return Ok(None) };
        let (hashes, rest) = value.as_chunks::<32>();
        let hashes = hashes.iter().copied().map(Hash).collect();
        if rest.is_empty() { Ok(Some(hashes)) } else { Err(StoreError::Damaged("l")) }
    }

    /// Returns where the records of block `number` lie.
    pub fn places(&self, number: u64) -> Result<Option<Vec<Place>>, StoreError> {
        self.db.get(key(b"b", &[number]))?.map(|value| decode_places(&value)).transpose()
    }

    /// Returns which records of block `number` hold the term, counted from the block's first.
    pub fn holders(&self, field: Field, value: &str, number: u64) -> Result<Vec<u16>, StoreError> {
        Ok(self.db.get(term_key(field, value, Some(number)))?.map_or_else(Vec::new, |value| records(&value)))
    }

    /// Returns the blocks within `numbers` that hold the term, the last first, each with its records.
    pub fn blocks_with(
        &self,
        field: Field,
        value: &str,
        numbers: Range<u64>,
    ) -> impl Iterator<Item = Result<(u64, Vec<u16>), StoreError>> + use<> {
        let keys = term_key(field, value, Some(numbers.start))..term_key(field, value, Some(numbers.end));
        self.db.range(keys).rev().map(|entry| {
            let (key, value) = entry?;
            Ok((big_endian(&key[key.len() - 8..]), records(&value)))
        })
    }

    /// Returns the records of block `number` that may be about the request with this hash, rising: others may have it, too. One key for a block instead of one for a record keeps sled's cost low.
    pub fn maybe_about(&self, wanted: u32, number: u64) -> Result<Vec<u16>, StoreError> {
        let Some(value) = self.db.get(key(b"r", &[number]))? else { return Ok(Vec::new()) };
        let (entries, _) = value.as_chunks::<6>();
        let hash = |entry: &[u8; 6]| big_endian(&entry[..4]) as u32;
        let from = entries.partition_point(|entry| hash(entry) < wanted);
        let same = entries[from..].iter().take_while(|entry| hash(entry) == wanted);
        Ok(same.map(|entry| big_endian(&entry[4..]) as u16).collect())
    }

    /// Makes what was committed survive a kill of the process.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.db.flush()?;
        Ok(())
    }

    /// Returns the bytes that the index takes up on disk.
    pub fn size_on_disk(&self) -> Result<u64, StoreError> {
        Ok(self.db.size_on_disk()?)
    }
}

impl Hashes for AuditStore {
    fn subtree(&self, level: u32, index: u64) -> Option<Hash> {
        // A store that cannot be read knows no hash; whoever needs it says so.
        TileHashes::new(|id| self.tile(id).ok().flatten()).subtree(level, index)
    }
}

fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn number(value: &[u8], key: &'static str) -> Result<u64, StoreError> {
    if value.len() == 8 { Ok(big_endian(value)) } else { Err(StoreError::Damaged(key)) }
}

fn records(value: &[u8]) -> Vec<u16> {
    value.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
}

fn key(prefix: &[u8], numbers: &[u64]) -> Vec<u8> {
    prefix.iter().copied().chain(numbers.iter().flat_map(|number| number.to_be_bytes())).collect()
}

/// Returns a value as it is told from others: by its first 200 bytes.
pub fn as_term(value: &str) -> &str {
    let end = (0..=TERM_MAX.min(value.len())).rev().find(|end| value.is_char_boundary(*end)).unwrap_or_default();
    &value[..end]
}

/// Terms end in a zero, so that none is the beginning of another.
fn term_key(field: Field, value: &str, block: Option<u64>) -> Vec<u8> {
    let mut key = vec![b't', field as u8];
    key.extend_from_slice(as_term(value).as_bytes());
    key.push(0);
    key.extend(block.into_iter().flat_map(u64::to_be_bytes));
    key
}

/// Returns the hash that a request is found by.
pub fn request_hash(request: &str) -> u32 {
    crc32fast::hash(request.as_bytes())
}

/// Hash and record of each, sorted.
fn encode_requests(requests: &[(u32, u16)]) -> Vec<u8> {
    let mut entries = requests.to_vec();
    entries.sort_unstable();
    let encode = |(hash, record): (u32, u16)| hash.to_be_bytes().into_iter().chain(record.to_be_bytes());
    entries.into_iter().flat_map(encode).collect()
}

/// The span, then the segments with the record they begin at, then the offsets.
fn encode_places(block: &Block) -> Vec<u8> {
    let mut value = Vec::with_capacity(64 + 4 * block.places.len());
    let span = block.span();
    value.extend(span.from_us.to_be_bytes());
    value.extend(span.to_us.to_be_bytes());
    let mut runs: Vec<(u16, u64)> = Vec::new();
    for (record, place) in block.places.iter().enumerate() {
        if runs.last().is_none_or(|(_, segment)| *segment != place.segment) {
            runs.push((record as u16, place.segment));
        }
    }
    value.extend((runs.len() as u16).to_be_bytes());
    for (record, segment) in runs {
        value.extend(record.to_be_bytes());
        value.extend(segment.to_be_bytes());
    }
    value.extend(block.places.iter().flat_map(|place| place.offset.to_be_bytes()));
    value
}

fn decode_places(value: &[u8]) -> Result<Vec<Place>, StoreError> {
    let read = || {
        let runs = usize::from(u16::from_be_bytes(value.get(16..18)?.try_into().ok()?));
        let (runs, offsets) = value.get(18..)?.split_at_checked(runs * 10)?;
        let mut runs = runs.chunks_exact(10).map(|run| (big_endian(&run[..2]), big_endian(&run[2..]))).peekable();
        let mut segment = 0;
        let places = offsets.chunks_exact(4).enumerate().map(|(record, offset)| {
            if let Some((_, next)) = runs.next_if(|(first, _)| *first == record as u64) {
                segment = next;
            }
            Place { segment, offset: big_endian(offset) as u32 }
        });
        Some(places.collect())
    };
    read().ok_or(StoreError::Damaged("b"))
}

#[cfg(test)]
#[path = "audit_tests.rs"]
mod tests;
