//! Finds records: the stored blocks and, in memory, the records that do not fill a block yet.
//!
//! It is made by following the journal; after a start it goes on where the store ends, and if the store cannot be used it
//! begins again from the first record. Either way it comes to the same figures.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::Path;

use super::filter::{Filter, Gist};
use super::merkle::{Frontier, Hash, Hashes, leaf_hash, node_hash};
use super::record::Phase;
use crate::store::{AuditStore, BLOCK, Block, Field, Open, Place, Span, StoreError};

/// Largest page that a search returns.
pub const PAGE_MAX: usize = 1_000;

/// One page of what was found, the latest record first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Index and bytes of each record.
    pub records: Vec<(u64, Vec<u8>)>,
    /// Where the next page begins: pass it as `before`. `None` on the last page.
    pub next: Option<u64>,
}

/// A block that may hold what is asked for, and which of its records may, where that is known already.
type Candidate = (u64, Option<Vec<u16>>);

/// Reads the bytes of a record where it lies; `None` where it was retired.
pub type Read<'a> = dyn FnMut(u64, Place) -> Result<Option<Vec<u8>>, StoreError> + 'a;

/// The index of the books.
pub struct Index {
    store: AuditStore,
    spans: Vec<Span>,
    /// Of the blocks up to each, the latest time.
    latest: Vec<u64>,
    tail: Vec<Entry>,
    tail_requests: HashMap<String, Vec<u64>>,
    frontier: Frontier,
    /// Index of the record of admission, by the request's number.
    open: BTreeMap<u64, u64>,
    /// Of the records before it there is only the hash left.
    first: u64,
}

struct Entry {
    gist: Gist,
    place: Place,
    leaf: Hash,
}

impl Index {
    /// Opens the index in the folder `path`.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let store = AuditStore::open(path)?;
        let (applied, spans) = (store.applied()?, store.spans()?);
        if spans.len() as u64 * BLOCK != applied {
            return Err(StoreError::Damaged("a"));
        }
        let frontier = right_edge(&store, applied).ok_or(StoreError::Damaged("l"))?;
        let open = store.open_requests()?.into_iter().map(|open| (open.call, open.index)).collect();
        let mut index = Self {
            store,
            spans: vec![],
            latest: vec![],
            tail: vec![],
            tail_requests: HashMap::new(),
            frontier,
            open,
            first: 0,
        };
        spans.into_iter().for_each(|span| index.add_span(span));
        Ok(index)
    }

    fn add_span(&mut self, span: Span) {
        let latest = self.latest.last().copied().unwrap_or_default();
        self.latest.push(latest.max(span.to_us));
        self.spans.push(span);
    }

    /// Returns how many records are in it: the index of the next.
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// Returns the root over all records in it.
    pub fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// Returns the requests that were admitted and have not ended, by their number, each with its record's index.
    pub fn open_requests(&self) -> &BTreeMap<u64, u64> {
        &self.open
    }

    /// Returns the bytes that the stored part takes up.
    pub fn size_on_disk(&self) -> Result<u64, StoreError> {
        self.store.size_on_disk()
    }

    /// Adds the next record.
    pub fn add(&mut self, leaf: &[u8], place: Place) -> Result<(), StoreError> {
        let index = self.size();
        let (gist, hash) = (Gist::of(leaf), leaf_hash(leaf));
        match (gist.phase, gist.call) {
            (Some(Phase::Admitted), Some(call)) => _ = self.open.insert(call, index),
            (Some(Phase::Completed | Phase::Abandoned), Some(call)) => _ = self.open.remove(&call),
            _ => {}
        }
        if let Some(request) = &gist.request {
            self.tail_requests.entry(request.clone()).or_default().push(index);
        }
        self.push(Entry { gist, place, leaf: hash })
    }

    /// Adds the next record, of which only the hash is left: it counts and can be proven, but not be found.
    pub fn add_retired(&mut self, leaf: Hash) -> Result<(), StoreError> {
        self.push(Entry { gist: Gist::default(), place: Place { segment: 0, offset: 0 }, leaf })
    }

    fn push(&mut self, entry: Entry) -> Result<(), StoreError> {
        self.frontier.append(entry.leaf);
        self.tail.push(entry);
        if self.tail.len() as u64 == BLOCK { self.store_block() } else { Ok(()) }
    }

    fn store_block(&mut self) -> Result<(), StoreError> {
        let mut block = Block::default();
        for (record, entry) in (0_u16..).zip(&self.tail) {
            block.places.push(entry.place);
            block.leaves.push(entry.leaf);
            block.times.push(entry.gist.at_us);
            for field in Field::ALL {
                if let Some(value) = entry.gist.value(field) {
                    block.postings.entry((field, value)).or_default().push(record);
                }
            }
            block.requests.extend(entry.gist.request.clone().map(|request| (request, record)));
        }
        let open: Vec<Open> = self.open.iter().map(|(call, index)| Open { call: *call, index: *index }).collect();
        self.store.commit(&block, &open)?;
        let times = || block.times.iter().copied();
        self.add_span(Span { from_us: times().min().unwrap_or(0), to_us: times().max().unwrap_or(0) });
        self.tail.clear();
        self.tail_requests.clear();
        Ok(())
    }

    /// Says that records before `first` are retired: a search ends there.
    pub fn begins_with(&mut self, first: u64) {
        self.first = first;
    }

    /// Returns the first record that is not retired.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Takes the records from `from` on with these gists out of what they can be found by.
    pub fn forget(&mut self, from: u64, gists: &[Gist]) -> Result<(), StoreError> {
        let mut postings: BTreeMap<_, Vec<u16>> = BTreeMap::new();
        let mut requests = Vec::new();
        for (index, gist) in (from..).zip(gists) {
            if let Some(behind) = index.checked_sub(self.stored()) {
                if let Some(entry) = self.tail.get_mut(behind as usize) {
                    entry.gist = Gist::bare(entry.gist.at_us);
                }
                if let Some(indices) = gist.request.as_ref().and_then(|request| self.tail_requests.get_mut(request)) {
                    indices.retain(|other| *other != index);
                }
                continue;
            }
            for field in Field::ALL {
                if let Some(value) = gist.value(field) {
                    postings.entry(((field, value), index / BLOCK)).or_default().push((index % BLOCK) as u16);
                }
            }
            requests.extend(gist.request.clone().map(|request| (request, index)));
        }
        self.store.forget(&postings, &requests)
    }

    /// Returns an index below which every record is older than `at_us`; the first younger one follows within a block.
    pub fn older_than(&self, at_us: u64) -> u64 {
        let blocks = self.latest.partition_point(|latest| *latest < at_us) as u64;
        (blocks * BLOCK).max(self.first)
    }

    fn stored(&self) -> u64 {
        self.spans.len() as u64 * BLOCK
    }

    /// Returns where record `index` lies.
    pub fn place(&self, index: u64) -> Result<Option<Place>, StoreError> {
        if let Some(behind) = index.checked_sub(self.stored()) {
            return Ok(self.tail.get(behind as usize).map(|entry| entry.place));
        }
        let places = self.store.places(index / BLOCK)?;
        Ok(places.and_then(|places| places.get((index % BLOCK) as usize).copied()))
    }

    /// Returns up to `limit` (at most [`PAGE_MAX`]) records that fit, the latest first, all with an index below `before`.
    pub fn search(&self, filter: &Filter, before: u64, limit: usize, read: &mut Read<'_>) -> Result<Page, StoreError> {
        let limit = limit.clamp(1, PAGE_MAX);
        let mut page = Page::default();
        if let Some(request) = &filter.request {
            let mut indices = self.store.of_request(request)?;
            indices.extend(self.tail_requests.get(request).into_iter().flatten());
            for index in indices.into_iter().rev().filter(|index| (self.first..before).contains(index)) {
                if let Some(place) = self.place(index)? {
                    take(&mut page, filter, index, place, read)?;
                }
            }
            return Ok(page);
        }
        for (behind, entry) in self.tail.iter().enumerate().rev() {
            let index = self.stored() + behind as u64;
            if (self.first..before).contains(&index) && filter.fits(&entry.gist) {
                if page.records.len() == limit {
                    page.next = page.records.last().map(|(index, _)| *index);
                    return Ok(page);
                }
                take(&mut page, filter, index, entry.place, read)?;
            }
        }
        self.search_blocks(filter, before.min(self.stored()), limit, &mut page, read)?;
        Ok(page)
    }

    fn search_blocks(
        &self,
        filter: &Filter,
        before: u64,
        limit: usize,
        page: &mut Page,
        read: &mut Read<'_>,
    ) -> Result<(), StoreError> {
        let fields: Vec<_> = filter.fields().collect();
        let end = before.div_ceil(BLOCK);
        for found in self.candidates(&fields, (self.first / BLOCK).min(end)..end) {
            let (number, first) = found?;
            let span = self.spans[number as usize];
            if filter.from_us.is_some_and(|from| self.latest[number as usize] < from) {
                return Ok(());
            }
            let outside = filter.from_us.is_some_and(|from| span.to_us < from)
                || filter.to_us.is_some_and(|to| span.from_us >= to);
            if outside {
                continue;
            }
            let records = self.holding_all(&fields, number, first)?;
            let Some(places) = self.store.places(number)? else { continue };
            for record in records.into_iter().rev() {
                let (index, place) = (number * BLOCK + u64::from(record), places[usize::from(record)]);
                if !(self.first..before).contains(&index) {
                    continue;
                }
                if page.records.len() == limit {
                    page.next = page.records.last().map(|(index, _)| *index);
                    return Ok(());
                }
                take(page, filter, index, place, read)?;
            }
        }
        Ok(())
    }

    /// Returns the blocks that may hold what is asked for, the last first, with the records of the first field where that
    /// has one value.
    fn candidates<'a>(
        &'a self,
        fields: &[(Field, Vec<&'a String>)],
        numbers: Range<u64>,
    ) -> Box<dyn Iterator<Item = Result<Candidate, StoreError>> + 'a> {
        match fields.first() {
            Some((field, values)) if values.len() == 1 => {
                let blocks = self.store.blocks_with(*field, values[0], numbers);
                Box::new(blocks.map(|found| found.map(|(number, records)| (number, Some(records)))))
            }
            _ => Box::new(numbers.rev().map(|number| Ok((number, None)))),
        }
    }

    /// Returns the records of a block that hold a value of every field, rising.
    fn holding_all(
        &self,
        fields: &[(Field, Vec<&String>)],
        number: u64,
        first: Option<Vec<u16>>,
    ) -> Result<Vec<u16>, StoreError> {
        let rest = &fields[usize::from(first.is_some())..];
        let mut records = first.unwrap_or_else(|| (0..BLOCK as u16).collect());
        for (field, values) in rest {
            let mut holders = Vec::new();
            for value in values {
                holders.extend(self.store.holders(*field, value, number)?);
            }
            holders.sort_unstable();
            records.retain(|record| holders.binary_search(record).is_ok());
        }
        Ok(records)
    }
}

/// Returns the frontier of the first `size` leaves.
fn right_edge(hashes: &impl Hashes, size: u64) -> Option<Frontier> {
    let mut frontier = Frontier::default();
    for level in (0..u64::BITS).rev().filter(|level| size >> level & 1 == 1) {
        frontier.append_subtree(level, hashes.subtree(level, frontier.size() >> level)?).then_some(())?;
    }
    Some(frontier)
}

/// Reads a record and takes it if it fits after all: the store knows the terms, not the moment.
fn take(page: &mut Page, filter: &Filter, index: u64, place: Place, read: &mut Read<'_>) -> Result<(), StoreError> {
    if let Some(leaf) = read(index, place)?
        && filter.fits(&Gist::of(&leaf))
    {
        page.records.push((index, leaf));
    }
    Ok(())
}

impl Hashes for Index {
    fn subtree(&self, level: u32, index: u64) -> Option<Hash> {
        if let Some(hash) = self.store.subtree(level, index) {
            return Some(hash);
        }
        // A whole subtree that is not in the store lies behind it: the tail is shorter than a block.
        if level == 0 {
            let behind = index.checked_sub(self.stored())?;
            return self.tail.get(usize::try_from(behind).ok()?).map(|entry| entry.leaf);
        }
        if level > BLOCK.ilog2() || index << level < self.stored() {
            return None;
        }
        Some(node_hash(&self.subtree(level - 1, 2 * index)?, &self.subtree(level - 1, 2 * index + 1)?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::audit::merkle::root_at;

    /// Records in memory, each at the offset of its index.
    struct Log(Vec<Vec<u8>>);

    impl Log {
        fn of(count: u64) -> Self {
            let leaf = |index: u64| {
                let (call, team) = (index / 2, ["support", "research", "clinic"][(index / 5 % 3) as usize]);
                let phase = if index.is_multiple_of(2) { "admitted" } else { "completed" };
                format!(
                    r#"{{"v":1,"index":{index},"at_us":{at},"phase":"{phase}","request":"r{call}","call":{call},"team":"{team}","actor":"key{}","action":"chat"}}"#,
                    index % 7,
                    at = 1_000 * index,
                )
            };
            Self((0..count).map(|index| leaf(index).into_bytes()).collect())
        }

        fn follow(&self, index: &mut Index) {
            for at in index.size()..self.0.len() as u64 {
                index.add(&self.0[at as usize], Place { segment: 0, offset: at as u32 }).unwrap();
            }
        }

        fn find(&self, index: &Index, filter: &Filter, limit: usize) -> Vec<u64> {
            let mut read = |at: u64, place: Place| {
                assert_eq!(u64::from(place.offset), at);
                Ok(Some(self.0[at as usize].clone()))
            };
            let (mut found, mut before) = (Vec::new(), u64::MAX);
            loop {
                let page = index.search(filter, before, limit, &mut read).unwrap();
                found.extend(page.records.iter().map(|(index, _)| *index));
                let Some(next) = page.next else { return found };
                before = next;
            }
        }

        fn plainly(&self, filter: &Filter) -> Vec<u64> {
            let fits = |index: &u64| filter.fits(&Gist::of(&self.0[*index as usize]));
            (0..self.0.len() as u64).rev().filter(fits).collect()
        }
    }

    fn indexed(log: &Log) -> (tempfile::TempDir, Index) {
        let folder = tempfile::tempdir().unwrap();
        let mut index = Index::open(folder.path()).unwrap();
        log.follow(&mut index);
        (folder, index)
    }

    #[test]
    fn every_filter_finds_what_a_plain_reading_finds() {
        let log = Log::of(3 * BLOCK + 321);
        let (_folder, index) = indexed(&log);
        let term = |field, value: &str| (field, value.to_owned());
        let filters = [
            Filter::default(),
            Filter { terms: vec![term(Field::Team, "clinic")], ..Filter::default() },
            Filter { terms: vec![term(Field::Team, "clinic"), term(Field::Actor, "key3")], ..Filter::default() },
            Filter { terms: vec![term(Field::Team, "clinic"), term(Field::Team, "support")], ..Filter::default() },
            Filter {
                terms: vec![term(Field::Phase, "completed")],
                from_us: Some(900_000),
                to_us: Some(2_100_500),
                ..Filter::default()
            },
            Filter { from_us: Some(3_300_000), ..Filter::default() },
            Filter { terms: vec![term(Field::User, "nobody")], ..Filter::default() },
            Filter { request: Some("r700".into()), ..Filter::default() },
            Filter { request: Some("r1600".into()), ..Filter::default() },
            Filter { request: Some("r1600".into()), terms: vec![term(Field::Phase, "admitted")], ..Filter::default() },
        ];
        for filter in filters {
            for limit in [1, 7, 1_000] {
                assert_eq!(log.find(&index, &filter, limit), log.plainly(&filter), "{filter:?} by {limit}");
            }
        }
    }

    #[test]
    fn after_opening_again_it_goes_on_where_the_store_ends() {
        let log = Log::of(2 * BLOCK + 5);
        let (folder, index) = indexed(&log);
        let root = index.root();
        let open = index.open_requests().clone();
        drop(index);

        let mut index = Index::open(folder.path()).unwrap();
        assert_eq!(index.size(), 2 * BLOCK, "what fills no block is read again");
        log.follow(&mut index);

        assert_eq!((index.root(), index.open_requests()), (root, &open));
        assert_eq!(open, [(BLOCK + 2, 2 * BLOCK + 4)].into());
    }

    #[test]
    fn the_root_of_every_earlier_size_is_known() {
        let log = Log::of(BLOCK + 300);
        let (_folder, index) = indexed(&log);
        let mut plain = Frontier::default();
        for (size, leaf) in (1..).zip(&log.0) {
            plain.append(leaf_hash(leaf));
            if size % 97 == 0 || size > BLOCK + 290 {
                assert_eq!(root_at(&index, size), Some(plain.root()), "{size}");
            }
        }
    }

    #[test]
    fn what_is_no_record_of_ours_is_kept_and_not_found() {
        let (_folder, mut index) = indexed(&Log::of(0));

        index.add(b"{}", Place { segment: 0, offset: 0 }).unwrap();
        index.add(br#"{"phase":"of_the_future","at_us":1,"team":"a"}"#, Place { segment: 0, offset: 2 }).unwrap();

        assert_eq!(index.size(), 2);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn pages_of_any_size_come_to_the_same(count in 1_u64..2_500, limit in 1_usize..400, actor in 0..9) {
            let log = Log::of(count);
            let (_folder, index) = indexed(&log);
            let filter = Filter { terms: vec![(Field::Actor, format!("key{actor}"))], ..Filter::default() };

            prop_assert_eq!(log.find(&index, &filter, limit), log.plainly(&filter));
        }
    }
}
