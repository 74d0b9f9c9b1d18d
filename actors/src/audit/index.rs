//! Finds records: the stored blocks and, in memory, the records that do not fill a block yet.
//!
//! It is made by following the journal; after a start it goes on where the store ends, and if the store cannot be used it
//! begins again from the first record. Either way it comes to the same figures.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use super::filter::{Filter, Gist};
use super::merkle::{Frontier, Hash, Hashes, leaf_hash, node_hash};
use super::record::Phase;
use crate::store::{AuditStore, BLOCK, Block, Field, Open, Place, Span, StoreError, as_term, request_hash};

/// Longest time between a request and its last record: a day, of which requests use minutes.
const LIFE_US: u64 = 86_400_000_000 + 2 * MARGIN_US;
/// How far clocks are believed to be set back.
const MARGIN_US: u64 = 3_600_000_000;
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

impl Page {
    /// Returns whether it has `limit` records, and notes then where the next begins.
    fn is_full(&mut self, limit: usize) -> bool {
        let is_full = self.records.len() >= limit;
        if is_full {
            self.next = self.records.last().map(|(index, _)| *index);
        }
        is_full
    }
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
    /// The block that is not full yet.
    tail: Block,
    frontier: Frontier,
    /// Index of the record of admission, by the request's number.
    open: BTreeMap<u64, u64>,
    /// Of the records before it there is only the hash left.
    first: u64,
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
        let mut index = Self { store, spans: vec![], latest: vec![], tail: Block::default(), frontier, open, first: 0 };
        spans.into_iter().for_each(|span| index.add_span(span));
        Ok(index)
    }

    /// Checks that it is the index of the log with this id; an empty one becomes that log's.
    pub fn belong_to(&self, log: &str) -> Result<(), StoreError> {
        self.store.belong_to(log)
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
        let (gist, record) = (Gist::of(leaf), self.tail.places.len() as u16);
        match (gist.phase, gist.call) {
            (Some(Phase::Admitted), Some(call)) => _ = self.open.insert(call, index),
            (Some(Phase::Completed | Phase::Abandoned), Some(call)) => _ = self.open.remove(&call),
            _ => {}
        }
        for field in Field::ALL {
            if let Some(value) = gist.value(field) {
                self.tail.postings.add(field, &value, record);
            }
        }
        self.tail.requests.extend(gist.request().map(|request| (request_hash(request), record)));
        self.push(gist.at_us, place, leaf_hash(leaf))
    }

    /// Adds the next record, of which only the hash is left: it counts and can be proven, but not be found.
    pub fn add_retired(&mut self, leaf: Hash) -> Result<(), StoreError> {
        self.push(0, Place { segment: 0, offset: 0 }, leaf)
    }

    fn push(&mut self, at_us: u64, place: Place, leaf: Hash) -> Result<(), StoreError> {
        self.frontier.append(leaf);
        self.tail.times.push(at_us);
        self.tail.places.push(place);
        self.tail.leaves.push(leaf);
        if self.tail.places.len() as u64 == BLOCK { self.store_block() } else { Ok(()) }
    }

    fn store_block(&mut self) -> Result<(), StoreError> {
        let open: Vec<Open> = self.open.iter().map(|(call, index)| Open { call: *call, index: *index }).collect();
        self.store.commit(&self.tail, &open)?;
        self.add_span(self.tail.span());
        self.tail.clear();
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

    /// Takes the records from `from` on, which are these, out of what they can be found by.
    pub fn forget(&mut self, from: u64, leaves: &[Vec<u8>]) -> Result<(), StoreError> {
        let mut postings: BTreeMap<_, Vec<u16>> = BTreeMap::new();
        let mut requests: BTreeMap<u64, Vec<u16>> = BTreeMap::new();
        let unfilled = self.unfilled();
        for (index, leaf) in (from..).zip(leaves) {
            let (gist, number, record) = (Gist::of(leaf), index / BLOCK, (index % BLOCK) as u16);
            for field in Field::ALL {
                let Some(value) = gist.value(field) else { continue };
                if number == unfilled {
                    self.tail.postings.remove(field, &value, record);
                } else {
                    postings.entry(((field, as_term(&value).to_owned()), number)).or_default().push(record);
                }
            }
            if number == unfilled {
                self.tail.requests.retain(|(_, other)| *other != record);
            } else if gist.request().is_some() {
                requests.entry(number).or_default().push(record);
            }
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

    /// Returns the number of the block that is not full yet.
    fn unfilled(&self) -> u64 {
        self.spans.len() as u64
    }

    fn span(&self, number: u64) -> Span {
        self.spans.get(number as usize).copied().unwrap_or_else(|| self.tail.span())
    }

    fn places(&self, number: u64) -> Result<Option<Vec<Place>>, StoreError> {
        if number == self.unfilled() { Ok(Some(self.tail.places.clone())) } else { self.store.places(number) }
    }

    fn holders(&self, field: Field, value: &str, number: u64) -> Result<Vec<u16>, StoreError> {
        if number == self.unfilled() {
            return Ok(self.tail.postings.holders(field, value).to_vec());
        }
        self.store.holders(field, value, number)
    }

    fn maybe_about(&self, hash: u32, number: u64) -> Result<Vec<u16>, StoreError> {
        if number == self.unfilled() { Ok(self.tail.maybe_about(hash)) } else { self.store.maybe_about(hash, number) }
    }

    /// Returns where record `index` lies.
    pub fn place(&self, index: u64) -> Result<Option<Place>, StoreError> {
        if let Some(behind) = index.checked_sub(self.stored()) {
            return Ok(self.tail.places.get(behind as usize).copied());
        }
        let places = self.store.places(index / BLOCK)?;
        Ok(places.and_then(|places| places.get((index % BLOCK) as usize).copied()))
    }

    /// Returns the shortest range of whole blocks, and of what fills no block yet, that holds every record from `from_us` on
    /// and before `to_us`; `None` if there is none. The wall clock may have jumped, so order in time is not believed.
    pub fn covering(&self, from_us: Option<u64>, to_us: Option<u64>) -> Option<Range<u64>> {
        let fits = |first: u64, last: u64| from_us.is_none_or(|from| last >= from) && to_us.is_none_or(|to| first < to);
        let stored = self.stored();
        let blocks = (0..).zip(&self.spans).filter(|(_, span)| fits(span.from_us, span.to_us));
        let blocks = blocks.map(|(number, _): (u64, _)| number * BLOCK..(number + 1) * BLOCK);
        let behind = (stored..).zip(&self.tail.times).filter(|(_, at_us)| fits(**at_us, **at_us));
        let ranges = blocks.chain(behind.map(|(index, _)| index..index + 1));
        ranges.reduce(|whole, next| whole.start..next.end)
    }

    /// Returns up to `limit` (at most [`PAGE_MAX`]) records that fit, the latest first, all with an index below `before`.
    pub fn search(&self, filter: &Filter, before: u64, limit: usize, read: &mut Read<'_>) -> Result<Page, StoreError> {
        let limit = limit.clamp(1, PAGE_MAX);
        let mut page = Page::default();
        if let Some(request) = &filter.request {
            return self.search_request(request, filter, before, limit, read);
        }
        self.search_blocks(filter, before.min(self.size()), limit, &mut page, read)?;
        Ok(page)
    }

    /// Searches those about a request: there are two, as a rule, but ids may be the client's.
    fn search_request(
        &self,
        request: &str,
        filter: &Filter,
        before: u64,
        limit: usize,
        read: &mut Read<'_>,
    ) -> Result<Page, StoreError> {
        let mut page = Page::default();
        let hash = request_hash(request);
        let born = born_us(request);
        for number in (self.first / BLOCK..=self.unfilled()).rev() {
            // An id of ours tells when the request came; its records are not older, and hardly a day younger.
            let span = self.span(number);
            if born.is_some_and(|born| span.to_us < born || span.from_us > born.saturating_add(LIFE_US)) {
                continue;
            }
            let records = self.maybe_about(hash, number)?;
            let Some(places) = (!records.is_empty()).then(|| self.places(number)).transpose()?.flatten() else {
                continue;
            };
            for record in records.into_iter().rev() {
                let index = number * BLOCK + u64::from(record);
                if (self.first..before).contains(&index) {
                    if page.is_full(limit) {
                        return Ok(page);
                    }
                    take(&mut page, filter, index, places[usize::from(record)], read)?;
                }
            }
        }
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
            let span = self.span(number);
            if filter.from_us.is_some_and(|from| self.latest.get(number as usize).is_some_and(|latest| *latest < from))
            {
                return Ok(());
            }
            let outside = filter.from_us.is_some_and(|from| span.to_us < from)
                || filter.to_us.is_some_and(|to| span.from_us >= to);
            if outside {
                continue;
            }
            let records = self.holding_all(&fields, number, first)?;
            let Some(places) = self.places(number)? else { continue };
            for record in records.into_iter().rev() {
                let index = number * BLOCK + u64::from(record);
                let Some(place) = places.get(usize::from(record)).filter(|_| (self.first..before).contains(&index))
                else {
                    continue;
                };
                if page.is_full(limit) {
                    return Ok(());
                }
                take(page, filter, index, *place, read)?;
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
                let (unfilled, value) = (self.unfilled(), values[0]);
                let tail = numbers.contains(&unfilled).then(|| self.holders(*field, value, unfilled));
                let tail = tail.map(|found| found.map(|records| (unfilled, records)));
                let blocks = self.store.blocks_with(*field, value, numbers.start..numbers.end.min(unfilled));
                Box::new(
                    tail.into_iter().chain(blocks).map(|found| found.map(|(number, records)| (number, Some(records)))),
                )
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
                holders.extend(self.holders(*field, value, number)?);
            }
            holders.sort_unstable();
            records.retain(|record| holders.binary_search(record).is_ok());
        }
        Ok(records)
    }
}

/// Returns the moment that a ULID names, less a margin for clocks that were set back, in microseconds since 1970; `None` for
/// an id of the client's own making that is none. One that merely looks like a ULID may hide its records from this search.
fn born_us(request: &str) -> Option<u64> {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let digit = |byte: u8| DIGITS.iter().position(|digit| *digit == byte).map(|value| value as u64);
    if request.len() != 26 || !request.bytes().all(|byte| digit(byte).is_some()) {
        return None;
    }
    let millis = request.bytes().take(10).try_fold(0_u64, |millis, byte| Some(millis << 5 | digit(byte)?))?;
    Some(millis.saturating_mul(1_000).saturating_sub(MARGIN_US))
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
            return self.tail.leaves.get(usize::try_from(behind).ok()?).copied();
        }
        if level > BLOCK.ilog2() || index << level < self.stored() {
            return None;
        }
        Some(node_hash(&self.subtree(level - 1, 2 * index)?, &self.subtree(level - 1, 2 * index + 1)?))
    }
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
