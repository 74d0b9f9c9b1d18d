//! Reads frames: those of one segment in their order, with one buffer, or a single one at its place.

use std::io;
use std::ops::Range;
use std::path::Path;

use super::JournalError;
use super::disk::{Access, Disk, DiskFile};
use super::frame::{BODY_HEAD, BodyPosition, Found, HEADER, Kind, Position, RECORD_HEAD, read_body, read_record};
use super::segment::path_of;

/// Bytes of the first read behind a place; each further one doubles, because whoever follows a live log wants little and
/// whoever verifies one wants all.
const CHUNK_MIN: usize = 16 * 1024;
const CHUNK_MAX: usize = 256 * 1024;

/// A walk over the frames of a segment's file.
pub struct Scan {
    file: Box<dyn DiskFile>,
    buffer: Vec<u8>,
    /// Where the buffer begins in the file.
    base: u64,
    /// Where the next frame begins in the buffer.
    at: usize,
    /// Where the last leaf lies in the buffer.
    leaf: Range<usize>,
    chunk: usize,
}

/// What the walk came upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A record: [`Scan::leaf`].
    Leaf,
    /// No frame (yet).
    End,
    /// Bytes that are no frame of this record, or not the whole of it.
    Broken,
}

impl Scan {
    /// Begins at the first frame of `file`.
    pub fn new(file: Box<dyn DiskFile>) -> Self {
        Self::at(file, HEADER as u64)
    }

    /// Begins at the frame at `offset`.
    pub fn at(file: Box<dyn DiskFile>, offset: u64) -> Self {
        Self { file, buffer: Vec::new(), base: offset, at: 0, leaf: 0..0, chunk: CHUNK_MIN }
    }

    /// Returns where the next frame begins in the file.
    pub fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    /// Reads the frame of record `index`. What is no frame is read afresh by the next call, since a writer may be at work.
    pub fn next(&mut self, index: u64) -> io::Result<Step> {
        let mut wanted = RECORD_HEAD;
        let found = loop {
            if self.buffer.len() - self.at < wanted && !self.fill(wanted)? {
                break read_record(&self.buffer[self.at..], index);
            }
            match read_record(&self.buffer[self.at..], index) {
                Found::Partial(whole) => wanted = whole,
                found => break found,
            }
        };
        match found {
            Found::Frame(content) => {
                let start = self.at;
                self.at += content.end;
                self.leaf = start + content.start..start + content.end;
                Ok(Step::Leaf)
            }
            other => {
                self.forget();
                Ok(if other == Found::End { Step::End } else { Step::Broken })
            }
        }
    }

    /// Returns the leaf that the last call of [`Scan::next`] found, and where its frame begins in the file.
    pub fn leaf(&self) -> (u64, &[u8]) {
        ((self.base + self.leaf.start as u64).saturating_sub(RECORD_HEAD as u64), &self.buffer[self.leaf.clone()])
    }

    fn forget(&mut self) {
        self.base = self.offset();
        self.at = 0;
        self.leaf = 0..0;
        self.chunk = CHUNK_MIN;
        self.buffer.clear();
    }

    /// Reads on until `wanted` bytes stand behind `at`; false if the file ends before.
    fn fill(&mut self, wanted: usize) -> io::Result<bool> {
        self.buffer.drain(..self.at);
        self.base += self.at as u64;
        self.at = 0;
        let had = self.buffer.len();
        self.buffer.resize(wanted.max(self.chunk), 0);
        self.chunk = (self.chunk * 2).min(CHUNK_MAX);
        let read = self.file.read_full_at(&mut self.buffer[had..], self.base + had as u64)?;
        self.buffer.truncate(had + read);
        Ok(self.buffer.len() >= wanted)
    }
}

/// Returns the leaf of record `index` if its frame stands at `position`.
pub fn record_at(
    disk: &dyn Disk,
    root: &Path,
    index: u64,
    position: Position,
) -> Result<Option<Vec<u8>>, JournalError> {
    let path = path_of(root, Kind::Journal, position.segment);
    frame_at(disk, &path, position.offset, RECORD_HEAD, 4096, |bytes| read_record(bytes, index))
}

/// Returns the body of record `index` if its frame stands at `position`.
pub fn body_at(
    disk: &dyn Disk,
    root: &Path,
    index: u64,
    position: BodyPosition,
) -> Result<Option<Vec<u8>>, JournalError> {
    let path = path_of(root, Kind::Bodies, position.file);
    frame_at(disk, &path, position.offset, BODY_HEAD, 64 * 1024, |bytes| match read_body(bytes) {
        (Found::Frame(_), other) if other != index => Found::Broken,
        (found, _) => found,
    })
}

/// Returns the content of the frame at `offset`, as `read` finds it; none if there is no such frame or no such file.
/// Reads `guess` bytes first, and more only if the frame is longer.
fn frame_at(
    disk: &dyn Disk,
    path: &Path,
    offset: u64,
    head: usize,
    guess: usize,
    read: impl Fn(&[u8]) -> Found,
) -> Result<Option<Vec<u8>>, JournalError> {
    let failed = |source| JournalError::Io { doing: "reading", path: path.to_owned(), source };
    let file = match disk.open(path, Access::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(failed)?,
    };
    let left = file.length().map_err(failed)?.saturating_sub(offset);
    let mut bytes = vec![0; guess.min(usize::try_from(left).unwrap_or(guess))];
    let mut filled = file.read_full_at(&mut bytes, offset).map_err(failed)?;
    if let Found::Partial(whole) = read(&bytes[..filled])
        && whole > head
        && whole as u64 <= left
    {
        bytes.resize(whole, 0);
        filled = file.read_full_at(&mut bytes, offset).map_err(failed)?;
    }
    let Found::Frame(content) = read(&bytes[..filled]) else { return Ok(None) };
    bytes.truncate(content.end);
    bytes.drain(..content.start);
    Ok(Some(bytes))
}
