//! The index of the books: where each record lies, which records hold a term, and the hashes of the Merkle log.
//!
//! It grows by whole blocks of [`BLOCK`] records; each is one batch, so that a kill leaves a whole number of them.

use std::collections::{BTreeMap, btree_map};
use std::fs;
use std::io;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use sled::{Batch, Config, Db, IVec, Mode};

use crate::audit::merkle::tile::{TileHashes, TileId, entries_of, tile_root};
use crate::audit::merkle::{Hash, Hashes};

/// Records of one block.
pub const BLOCK: u64 = 1_024;
/// How often a lock is tried for that should be free, and the time between.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(10);
/// Memory for pages; what is read often is small.
const CACHE_BYTES: u64 = 16 << 20;
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
    /// Which records hold a term, counted from the block's first, rising.
    pub postings: BTreeMap<Term, Vec<u16>>,
    /// Which request a record is about, counted likewise.
    pub requests: Vec<(String, u16)>,
}

/// Why the index cannot be used. It can always be made again.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// sled cannot read or write its files.
    #[error("the index of the books cannot be used: {0}")]
    Unusable(String),
    /// What it holds is no index of ours.
    #[error("the index of the books is damaged at `{0}`")]
    Damaged(&'static str),
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
    // Only a start waits here, or the log's own thread, which serves no requests.
    #[allow(clippy::disallowed_methods)]
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        // Some damage makes sled panic as it opens.
        let config =
            Config::new().path(path).cache_capacity(CACHE_BYTES).mode(Mode::LowSpace).print_profile_on_drop(false);
        let open = || match catch_unwind(AssertUnwindSafe(|| config.open())) {
            Ok(Ok(db)) => Ok(Self { db }),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(StoreError::Unusable("sled panicked as it read its file".into())),
        };
        let is_locked = |error: &StoreError| error.to_string().contains("could not acquire lock");
        // A child of this process keeps the lock of an index that was closed until it executes its own program.
        for _ in 0..LOCK_TRIES {
            match open() {
                Err(error) if is_locked(&error) => std::thread::sleep(LOCK_PAUSE),
                opened => return opened,
            }
        }
        open()
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
        for ((field, value), records) in &block.postings {
            let records: Vec<u8> = records.iter().flat_map(|record| record.to_be_bytes()).collect();
            batch.insert(term_key(*field, value, Some(number)), records);
        }
        for (request, record) in &block.requests {
            batch.insert(request_key(request, Some(first + u64::from(*record))), &[]);
        }
        self.add_tiles(first, &block.leaves, &mut batch)?;
        let open: Vec<u8> =
            open.iter().flat_map(|open| [open.call.to_be_bytes(), open.index.to_be_bytes()].concat()).collect();
        batch.insert(b"o", open);
        batch.insert(b"a", &(first + block.places.len() as u64).to_be_bytes());
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

    /// Returns the indices of the records about a request, rising.
    pub fn of_request(&self, request: &str) -> Result<Vec<u64>, StoreError> {
        let index = |entry: Result<(IVec, IVec), sled::Error>| {
            let (key, _) = entry?;
            Ok(big_endian(&key[key.len() - 8..]))
        };
        self.db.scan_prefix(request_key(request, None)).map(index).collect()
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

/// Terms end in a zero, so that none is the beginning of another.
fn term_key(field: Field, value: &str, block: Option<u64>) -> Vec<u8> {
    let value = value.as_bytes();
    let mut key = vec![b't', field as u8];
    key.extend_from_slice(&value[..value.len().min(TERM_MAX)]);
    key.push(0);
    key.extend(block.into_iter().flat_map(u64::to_be_bytes));
    key
}

fn request_key(request: &str, index: Option<u64>) -> Vec<u8> {
    let mut key = vec![b'r'];
    key.extend_from_slice(request.as_bytes());
    key.push(0);
    key.extend(index.into_iter().flat_map(u64::to_be_bytes));
    key
}

/// The span, then the segments with the record they begin at, then the offsets.
fn encode_places(block: &Block) -> Vec<u8> {
    let mut value = Vec::with_capacity(64 + 4 * block.places.len());
    let (from, to) = (block.times.iter().min(), block.times.iter().max());
    value.extend(from.copied().unwrap_or_default().to_be_bytes());
    value.extend(to.copied().unwrap_or_default().to_be_bytes());
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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::audit::merkle::{Frontier, leaf_hash};

    fn leaf(index: u64) -> Hash {
        leaf_hash(&index.to_be_bytes())
    }

    /// Block `number`, in segments of 700 records, each third record with the term.
    fn block(number: u64) -> Block {
        let indices = number * BLOCK..(number + 1) * BLOCK;
        let thirds = (0..BLOCK as u16).filter(|record| record % 3 == 0).collect();
        Block {
            places: indices.clone().map(place).collect(),
            leaves: indices.clone().map(leaf).collect(),
            times: indices.collect(),
            postings: [((Field::Team, "support".into()), thirds)].into(),
            requests: vec![(format!("request-{number}"), 7)],
        }
    }

    fn place(index: u64) -> Place {
        Place { segment: index / 700 * 700, offset: (index % 700) as u32 * 1_000 }
    }

    #[test]
    fn what_was_committed_is_found_after_opening_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = AuditStore::open(folder.path()).unwrap();
        let open = [Open { call: 3, index: 2_047 }];
        (0..3).for_each(|number| store.commit(&block(number), &open).unwrap());
        store.flush().unwrap();
        drop(store);

        let store = AuditStore::open(folder.path()).unwrap();

        assert_eq!(store.applied().unwrap(), 3 * BLOCK);
        assert_eq!(store.open_requests().unwrap(), open);
        assert_eq!(store.spans().unwrap()[1], Span { from_us: 1_024, to_us: 2_047 });
        assert_eq!(store.places(2).unwrap().unwrap(), (2_048..3_072).map(place).collect::<Vec<_>>());
        assert_eq!(store.of_request("request-1").unwrap(), [1_031]);
        assert!(store.of_request("request").unwrap().is_empty(), "no name is the beginning of another");
        let blocks: Vec<_> = store.blocks_with(Field::Team, "support", 0..2).map(|found| found.unwrap().0).collect();
        assert_eq!(blocks, [1, 0], "the last first, within the range");
        assert_eq!(store.holders(Field::Team, "support", 2).unwrap().len(), 342);
        assert!(store.holders(Field::Team, "suppor", 2).unwrap().is_empty());
    }

    #[test]
    fn the_tiles_give_the_root_of_a_plain_tree() {
        let folder = tempfile::tempdir().unwrap();
        let store = AuditStore::open(folder.path()).unwrap();
        (0..5).for_each(|number| store.commit(&block(number), &[]).unwrap());
        let mut plain = Frontier::default();
        (0..5 * BLOCK).for_each(|index| plain.append(leaf(index)));

        let root = crate::audit::merkle::root_at(&store, 5 * BLOCK);

        assert_eq!(root, Some(plain.root()));
        assert_eq!(store.subtree(0, 5 * BLOCK), None);
    }

    #[test]
    fn a_damaged_file_is_an_error_or_an_empty_index_and_never_a_panic() {
        for damage in 0..8 {
            let folder = tempfile::tempdir().unwrap();
            let store = AuditStore::open(folder.path()).unwrap();
            (0..4).for_each(|number| store.commit(&block(number), &[]).unwrap());
            store.flush().unwrap();
            drop(store);
            let file = folder.path().join("db");
            let mut bytes = fs::read(&file).unwrap();
            let at = bytes.len() * damage / 8;
            bytes[at..].iter_mut().take(64).for_each(|byte| *byte ^= 0xff);
            fs::write(&file, bytes).unwrap();

            let opened = AuditStore::open(folder.path()).and_then(|store| store.applied());

            assert!(opened.map_or(true, |applied| applied <= 4 * BLOCK));
            AuditStore::discard(folder.path()).unwrap();
            assert_eq!(AuditStore::open(folder.path()).unwrap().applied().unwrap(), 0);
        }
    }

    proptest! {
        #[test]
        fn places_come_back(segments in prop::collection::vec(1_usize..9, 1..20), offset in any::<u32>()) {
            let runs = segments.iter().enumerate();
            let places = runs.flat_map(|(segment, length)| vec![Place { segment: segment as u64, offset }; *length]);
            let places: Vec<Place> = places.collect();
            let block = Block { places: places.clone(), ..Block::default() };

            prop_assert_eq!(decode_places(&encode_places(&block)).unwrap(), places);
        }
    }
}
