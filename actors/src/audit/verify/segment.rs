//! The files of a data directory, read for verification: segments of the journal, hashes of retired ones, bodies.
//!
//! It shares no code with the writer on purpose, so that a mistake there is not repeated here.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{Fault, FaultKind, leaf_head, open};
use crate::audit::merkle::Hash;

/// Bytes of a frame before its record.
const FRAME_HEAD: usize = 8;
/// Bytes of a frame before its body.
const BODY_HEAD: usize = 16;
/// More bytes than a record has, and than a body has.
const RECORD_MAX: u32 = 64 * 1024;
const BODY_MAX: u32 = 256 * 1024 * 1024;
/// What a disk writes whole.
const SECTOR: u64 = 512;

/// The kinds of files with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `journal/`: records.
    Segment,
    /// `leaves/`: hashes of records that were retired.
    Leaves,
    /// `bodies/`: sealed bodies.
    Bodies,
}

impl Kind {
    /// Returns the folder, which is the extension as well.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Segment => "journal",
            Self::Leaves => "leaves",
            Self::Bodies => "bodies",
        }
    }

    fn magic(self) -> &'static [u8; 8] {
        match self {
            Self::Segment => b"BURSARJ1",
            Self::Leaves => b"BURSARL1",
            Self::Bodies => b"BURSARB1",
        }
    }
}

/// A file by its kind and the first record it is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// First record.
    pub first: u64,
    /// What it holds.
    pub kind: Kind,
    /// Where it is.
    pub path: PathBuf,
}

/// Returns the files of `kind` in the data directory, by their first record.
pub fn parts(root: &Path, kind: Kind) -> Result<Vec<Part>, Fault> {
    let folder = root.join(kind.folder());
    let entries = match std::fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|error| Fault::unread(&folder, &error))?,
    };
    let mut parts = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| Fault::unread(&folder, &error))?.path();
        let first = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        if let Some(first) = first.filter(|_| path.extension().is_some_and(|extension| extension == kind.folder())) {
            parts.push(Part { first, kind, path });
        }
    }
    parts.sort();
    Ok(parts)
}

fn damaged(part: &Part, what: &str) -> Fault {
    Fault::at(part.first, format!("`{}` {what}", part.path.display()))
}

/// Reads the head of a file, whose bytes end with their checksum; returns the log and what stands between.
fn read_head<const LENGTH: usize>(part: &Part, reader: &mut impl Read) -> Result<(String, [u8; LENGTH]), Fault> {
    let mut head = [0; LENGTH];
    reader.read_exact(&mut head).map_err(|_| damaged(part, "ends within its head"))?;
    let log = head[8..24].iter().map(|byte| format!("{byte:02x}")).collect();
    if head[..8] != *part.kind.magic() || number(&head[24..32]) != part.first {
        return Err(damaged(part, "is not the file that its name says"));
    }
    Ok((log, head))
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Records of one segment, one after the other.
pub struct Segment {
    reader: BufReader<File>,
    path: PathBuf,
    length: u64,
    offset: u64,
    log: String,
    leaf: Vec<u8>,
}

/// What stands next in a segment.
pub enum Next {
    /// A record; [`Segment::leaf`] has it.
    Leaf,
    /// Nothing but the zeros of room that was made ahead.
    End,
    /// No whole frame.
    Bad,
}

impl Segment {
    /// Opens a segment and checks its head.
    pub fn open(part: &Part) -> Result<Self, Fault> {
        let (file, path) = open(part.path.clone())?;
        let length = file.metadata().map_err(|error| Fault::unread(&path, &error))?.len();
        let mut reader = BufReader::with_capacity(1 << 20, file);
        let (log, head) = read_head::<36>(part, &mut reader)?;
        if number(&head[32..]) != u64::from(crc32fast::hash(&head[..32])) {
            return Err(damaged(part, "has a damaged head"));
        }
        Ok(Self { reader, path, length, offset: 36, log, leaf: Vec::new() })
    }

    /// Returns the log that the segment belongs to.
    pub fn log(&self) -> &str {
        &self.log
    }

    /// Returns the length in bytes, and how many of them were read.
    pub fn extent(&self) -> (u64, u64) {
        (self.length, self.offset)
    }

    /// Returns the record that [`Segment::next`] found.
    pub fn leaf(&self) -> &[u8] {
        &self.leaf
    }

    /// Reads what should be record `index`.
    pub fn next(&mut self, index: u64) -> Result<Next, Fault> {
        self.read(index).map_err(|error| Fault::unread(&self.path, &error))
    }

    fn read(&mut self, index: u64) -> io::Result<Next> {
        let left = self.length - self.offset;
        let mut head = [0; FRAME_HEAD];
        if left < FRAME_HEAD as u64 {
            return self.rest_is_zeros();
        }
        self.reader.read_exact(&mut head)?;
        let (length, crc) = (number(&head[..4]), number(&head[4..]));
        if length == 0 {
            return if crc == 0 { self.rest_is_zeros() } else { Ok(Next::Bad) };
        }
        if length > RECORD_MAX.into() || length + FRAME_HEAD as u64 > left {
            return Ok(Next::Bad);
        }
        self.leaf.resize(usize::try_from(length).expect("bounded above"), 0);
        self.reader.read_exact(&mut self.leaf)?;
        if crc != u64::from(frame_crc(index, &self.leaf)) {
            return Ok(Next::Bad);
        }
        self.offset += FRAME_HEAD as u64 + length;
        Ok(Next::Leaf)
    }

    fn rest_is_zeros(&mut self) -> io::Result<Next> {
        let mut buffer = [0; 64 * 1024];
        loop {
            match self.reader.read(&mut buffer)? {
                0 => return Ok(Next::End),
                read if buffer[..read].iter().all(|byte| *byte == 0) => {}
                _ => return Ok(Next::Bad),
            }
        }
    }

    /// Returns whether whole records of this log stand behind a bad frame, and no hole that a loss of power leaves.
    ///
    /// Room is zeros before it is written, so what was not written in time is whole sectors of zeros.
    pub fn was_whole(&self, index: u64) -> Result<bool, Fault> {
        let mut rest = vec![0; usize::try_from(self.length - self.offset).unwrap_or_default()];
        let read = self.reader.get_ref().read_exact_at(&mut rest, self.offset);
        read.map_err(|error| Fault::unread(&self.path, &error))?;
        let start = usize::try_from((SECTOR - self.offset % SECTOR) % SECTOR).expect("below a sector");
        let hole = rest.get(start..).and_then(|rest| {
            rest.chunks_exact(SECTOR as usize).position(|sector| sector.iter().all(|byte| *byte == 0))
        });
        let end = hole.map_or(rest.len(), |sector| start + sector * SECTOR as usize);
        let frame_at = |at: usize| {
            let head = rest.get(at..at + FRAME_HEAD)?;
            let length = usize::try_from(number(&head[..4])).ok().filter(|length| *length <= RECORD_MAX as usize)?;
            let leaf = rest.get(at + FRAME_HEAD..at + FRAME_HEAD + length)?;
            let (log, found) = leaf_head(leaf)?;
            let is_sound = number(&head[4..]) == u64::from(frame_crc(found, leaf));
            (log == self.log && is_sound).then_some(found)
        };
        // A running gateway may have finished the frame since it was read.
        Ok(frame_at(0) != Some(index) && (1..end).any(|at| frame_at(at).is_some_and(|found| found > index)))
    }
}

fn frame_crc(index: u64, content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&index.to_le_bytes());
    hasher.update(content);
    hasher.finalize()
}

/// Reads the hashes of retired records; returns the log and the hashes.
pub fn retired(part: &Part) -> Result<(String, Vec<Hash>), Fault> {
    let (file, path) = open(part.path.clone())?;
    let mut reader = BufReader::new(file);
    let (log, head) = read_head::<44>(part, &mut reader)?;
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).map_err(|error| Fault::unread(&path, &error))?;
    let (hashes, rest) = bytes.as_chunks::<32>();
    let mut crc = crc32fast::Hasher::new();
    crc.update(&head[..40]);
    crc.update(&bytes);
    let is_sound = number(&head[32..40]) == hashes.len() as u64 && number(&head[40..]) == u64::from(crc.finalize());
    if !is_sound || !rest.is_empty() {
        return Err(damaged(part, "is damaged"));
    }
    Ok((log, hashes.iter().copied().map(Hash).collect()))
}

/// Bodies, found by the places that records name.
pub struct Bodies {
    root: PathBuf,
    open: Option<(u64, File)>,
}

impl Bodies {
    /// Reads from the data directory `root`.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), open: None }
    }

    /// Returns the hash of the body of record `index` at `place` (`<file>+<offset>`); `None` if it is gone.
    pub fn hash(&mut self, log: &str, index: u64, place: &str) -> Result<Option<Hash>, Fault> {
        let bad = || Fault::at(index, format!("the body of record {index} is not where and what it was"));
        let (first, offset) = place.split_once('+').ok_or_else(bad)?;
        let (Ok(first), Ok(offset)) = (first.parse(), offset.parse::<u64>()) else { return Err(bad()) };
        let Some(file) = self.file(log, first)? else { return Ok(None) };
        let mut head = [0; BODY_HEAD];
        file.read_exact_at(&mut head, offset).map_err(|_| bad())?;
        let length = number(&head[..4]);
        if length > BODY_MAX.into() || number(&head[8..]) != index {
            return Err(bad());
        }
        let mut sealed = vec![0; usize::try_from(length).map_err(|_| bad())?];
        file.read_exact_at(&mut sealed, offset.saturating_add(BODY_HEAD as u64)).map_err(|_| bad())?;
        // What is sealed never begins with a zero; erasing overwrites it with zeros from the front.
        if sealed.first() == Some(&0) {
            return Ok(None);
        }
        if number(&head[4..8]) != u64::from(frame_crc(index, &sealed)) {
            return Err(bad());
        }
        Ok(Some(Hash::of(&sealed)))
    }

    fn file(&mut self, log: &str, first: u64) -> Result<Option<&File>, Fault> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != first) {
            let path = self.root.join(format!("bodies/{first:020}.bodies"));
            let part = Part { first, kind: Kind::Bodies, path };
            let mut file = match File::open(&part.path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                other => other.map_err(|error| Fault::unread(&part.path, &error))?,
            };
            let (found, head) = read_head::<36>(&part, &mut file)?;
            if found != log || number(&head[32..]) != u64::from(crc32fast::hash(&head[..32])) {
                return Err(Fault::new(FaultKind::Tampered, format!("`{}` has a damaged head", part.path.display())));
            }
            self.open = Some((first, file));
        }
        Ok(self.open.as_ref().map(|(_, file)| file))
    }
}
