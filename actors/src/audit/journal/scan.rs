//! Reads the frames of one segment in their order, with one buffer.

use std::io;
use std::ops::Range;

use super::disk::DiskFile;
use super::frame::{Found, HEADER, RECORD_HEAD, read_record};

const CHUNK: usize = 256 * 1024;

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
        Self { file, buffer: Vec::new(), base: offset, at: 0, leaf: 0..0 }
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
        self.buffer.clear();
    }

    /// Reads on until `wanted` bytes stand behind `at`; false if the file ends before.
    fn fill(&mut self, wanted: usize) -> io::Result<bool> {
        self.buffer.drain(..self.at);
        self.base += self.at as u64;
        self.at = 0;
        let had = self.buffer.len();
        self.buffer.resize(wanted.max(CHUNK), 0);
        let read = self.file.read_full_at(&mut self.buffer[had..], self.base + had as u64)?;
        self.buffer.truncate(had + read);
        Ok(self.buffer.len() >= wanted)
    }
}
