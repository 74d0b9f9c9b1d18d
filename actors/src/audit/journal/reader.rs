//! Reads records and bodies back: in their order from any index on, or one by its place.
//!
//! Reading needs no lock and no journal: it follows a log that another process writes as well as a folder at rest.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::JournalError;
use super::disk::{Access, Disk};
use super::frame::{BodyPosition, HEADER, Kind, LogId, Position};
use super::recovery::{check_header, scan_last};
use super::scan::{Scan, Step, body_at, record_at};
use super::segment::{firsts, path_of};

/// Reads a journal from the disk.
pub struct JournalReader {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    log: LogId,
    /// The segment being read; none before the first read.
    open: Option<(u64, Scan)>,
    /// The record that [`JournalReader::next`] reads next.
    index: u64,
    first: u64,
}

/// One record as it stands in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf<'a> {
    /// Its sequence number, from 0 without a gap.
    pub index: u64,
    /// Where it stands; [`JournalReader::read_at`] finds it there.
    pub position: Position,
    /// Its bytes, exactly as they were hashed.
    pub bytes: &'a [u8],
}

impl JournalReader {
    /// Opens the journal in the data directory `root`, at its first record.
    pub fn open(disk: Arc<dyn Disk>, root: &Path) -> Result<Self, JournalError> {
        let segments = firsts(disk.as_ref(), root, Kind::Journal)?;
        let Some(&first) = segments.first() else {
            return Err(JournalError::None { path: root.to_owned() });
        };
        let log = check_header(disk.as_ref(), root, Kind::Journal, first, None)?;
        Ok(Self { disk, root: root.to_owned(), log, open: None, index: first, first })
    }

    /// Returns the id of the log.
    pub fn log_id(&self) -> LogId {
        self.log
    }

    /// Returns the index of the first record there is: above 0 where old segments were retired.
    pub fn first_index(&self) -> u64 {
        self.first
    }

    /// Looks again where the records begin, as segments were retired since, and returns that index.
    pub fn look_again(&mut self) -> Result<u64, JournalError> {
        self.first = firsts(self.disk.as_ref(), &self.root, Kind::Journal)?.first().copied().unwrap_or(self.first);
        Ok(self.first)
    }

    /// Returns the index of the record that is read next.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Goes to record `index`, at most one behind the last. Costs a walk through the segment it lies in,
    /// unless `known` tells where it stands.
    pub fn seek(&mut self, index: u64, known: Option<Position>) -> Result<(), JournalError> {
        if let Some(position) = known {
            self.open_segment(position.segment, Some(position.offset))?;
            self.index = index;
            return Ok(());
        }
        let segments = firsts(self.disk.as_ref(), &self.root, Kind::Journal)?;
        let Some(&segment) = segments.iter().rev().find(|&&first| first <= index) else {
            let from = segments.first().copied().unwrap_or_default();
            return Err(self.corrupt(from, 0, format!("record {index} was asked for, the log begins with {from}")));
        };
        self.open_segment(segment, None)?;
        self.index = segment;
        while self.next(index)?.is_some() {}
        Ok(())
    }

    /// Returns how many records the log has, for one that no journal in this process holds open. Reads the last segment.
    ///
    /// A torn end does not count; damage that sound records follow is [`JournalError::Corrupt`].
    pub fn end(&self) -> Result<u64, JournalError> {
        let segments = firsts(self.disk.as_ref(), &self.root, Kind::Journal)?;
        let last = segments.last().copied().unwrap_or(self.first);
        Ok(scan_last(&self.disk, &self.root, self.log, last)?.next)
    }

    /// Reads the next record with an index below `bound`: what [`super::Journal::durable`] or [`JournalReader::end`]
    /// returned. None when there is none.
    ///
    /// Fails with [`JournalError::Corrupt`] if a record below `bound` cannot be read.
    pub fn next(&mut self, bound: u64) -> Result<Option<Leaf<'_>>, JournalError> {
        if self.index >= bound {
            return Ok(None);
        }
        if self.open.is_none() {
            self.open_segment(self.index, None)?;
        }
        // What the buffer held may be older than the record, so a second look goes to the disk.
        if !self.step()? && !self.step()? {
            let segment = self.segment();
            let segments = firsts(self.disk.as_ref(), &self.root, Kind::Journal)?;
            if segments.binary_search(&self.index).is_err() || segment == self.index {
                return Err(self.unreadable(&segments));
            }
            self.open_segment(self.index, None)?;
            if !self.step()? {
                return Err(self.unreadable(&segments));
            }
        }
        let index = self.index;
        self.index += 1;
        let (segment, scan) = self.open.as_ref().expect("a segment was opened above");
        let (offset, bytes) = scan.leaf();
        Ok(Some(Leaf { index, position: Position { segment: *segment, offset }, bytes }))
    }

    fn step(&mut self) -> Result<bool, JournalError> {
        let (segment, scan) = self.open.as_mut().expect("the caller has opened a segment");
        let path = path_of(&self.root, Kind::Journal, *segment);
        let step = scan.next(self.index).map_err(|source| JournalError::Io { doing: "reading", path, source })?;
        Ok(step == Step::Leaf)
    }

    fn segment(&self) -> u64 {
        self.open.as_ref().map_or(self.first, |(segment, _)| *segment)
    }

    fn unreadable(&self, segments: &[u64]) -> JournalError {
        let segment = self.segment();
        let offset = self.open.as_ref().map_or(0, |(_, scan)| scan.offset());
        let what = match segments.iter().find(|&&first| first > segment) {
            Some(next) => format!("record {} is damaged or missing; the next segment begins with {next}", self.index),
            None => format!("record {} is damaged or missing, though it was durable", self.index),
        };
        self.corrupt(segment, offset, what)
    }

    fn corrupt(&self, segment: u64, offset: u64, what: String) -> JournalError {
        let file = path_of(&self.root, Kind::Journal, segment);
        JournalError::Corrupt { file, offset, index: self.index, what }
    }

    fn open_segment(&mut self, segment: u64, offset: Option<u64>) -> Result<(), JournalError> {
        check_header(self.disk.as_ref(), &self.root, Kind::Journal, segment, Some(self.log))?;
        let path = path_of(&self.root, Kind::Journal, segment);
        let file = self.disk.open(&path, Access::Read).map_err(|source| JournalError::Io {
            doing: "opening",
            path,
            source,
        })?;
        self.open = Some((segment, Scan::at(file, offset.unwrap_or(HEADER as u64))));
        Ok(())
    }

    /// Reads the leaf of record `index` at the place where it was once found.
    pub fn read_at(&self, index: u64, position: Position) -> Result<Vec<u8>, JournalError> {
        record_at(self.disk.as_ref(), &self.root, index, position)?.ok_or_else(|| JournalError::Corrupt {
            file: path_of(&self.root, Kind::Journal, position.segment),
            offset: position.offset,
            index,
            what: format!("record {index} does not stand there or is damaged"),
        })
    }

    /// Reads the sealed body of record `index`; none if it is gone, by erasure, retention, or a loss of power, or damaged.
    pub fn read_body(&self, index: u64, position: BodyPosition) -> Result<Option<Vec<u8>>, JournalError> {
        body_at(self.disk.as_ref(), &self.root, index, position)
    }
}
