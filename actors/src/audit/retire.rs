//! Retention of the journal: old segments are replaced by the hashes of their records.
//!
//! The records go, the Merkle tree over all of them stays: roots, proofs and the checks of later records need nothing
//! but the hashes. Segments go from the oldest on and without gaps, so that the first segment left tells where the
//! records begin.
//!
//! ```text
//! leaves/<first>.leaves   BURSARL1 (8) | log id (16) | first u64 | count u64 | crc32 u32 | count × SHA-256 (32)
//! ```
//!
//! Little-endian; the crc32 covers the bytes before it and the hashes.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::journal::frame::{self, Found, HEADER, Kind, LEAF_MAX, LogId, RECORD_HEAD};
use super::journal::{Access, Disk, DiskFile};
use super::merkle::{Hash, leaf_hash};

const MAGIC: &[u8; 8] = b"BURSARL1";
const HEAD_LEN: usize = 44;
const CRC_AT: usize = 40;
const HASH_LEN: usize = 32;
/// Folder within the data directory, and extension of the files in it.
const LEAVES: &str = "leaves";
/// How much of a segment is read at once.
const PIECE: usize = 1 << 20;

/// Why a segment was not retired, or the hashes of one not read.
#[derive(Debug, thiserror::Error)]
pub enum RetireError {
    /// Nothing is thrown away that cannot be proven afterwards.
    #[error("{} is damaged ({what}): it is not touched; verify the log, and restore the file from a backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The disk.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Which segments are to be retired.
#[derive(Debug, Clone, Copy)]
pub struct Due {
    /// Those of which all records lie below it.
    pub before: u64,
    /// No more than so many at once.
    pub segments_max: u64,
}

/// What was retired.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retired {
    /// Segments replaced.
    pub segments: u64,
    /// Records in them.
    pub records: u64,
    /// The record for whose sake a segment was kept, and all behind it.
    pub kept_for: Option<u64>,
}

/// Replaces segments of the data directory `folder` by the hashes of their records, from the oldest on.
///
/// The newest segment always stays. So does the first one with a record for which `keep` holds (as of a subject under
/// legal hold; it is given the leaf), and those behind it. Stopped at any point, nothing is lost: a segment is removed
/// once its hashes are durable under their name, and one whose hashes are there already is done again. Between the two,
/// `forget` is told which records go, for whoever keeps something of them elsewhere; if it fails, they stay.
///
/// The caller holds the journal's [housekeeping](super::journal::Journal::housekeeping), where it is open.
pub fn retire<E: From<RetireError>>(
    folder: &Path,
    due: Due,
    disk: &dyn Disk,
    keep: impl Fn(&[u8]) -> bool,
    mut forget: impl FnMut(Range<u64>) -> Result<(), E>,
) -> Result<Retired, E> {
    let journal = folder.join(Kind::Journal.name());
    let leaves = folder.join(LEAVES);
    let mut retired = Retired::default();
    for pair in numbered(disk, &journal, Kind::Journal.name())?.windows(2) {
        let ((first, path), (next, _)) = (&pair[0], &pair[1]);
        if *next > due.before || retired.segments == due.segments_max {
            break;
        }
        let segment = read_segment(disk, path, *first..*next, &keep)?;
        if segment.kept_for.is_some() {
            retired.kept_for = segment.kept_for;
            break;
        }
        disk.create_folder(&leaves).map_err(failed("make the folder", &leaves))?;
        disk.sync_folder(folder).map_err(failed("sync the folder", folder))?;
        write_leaves(disk, &leaves, segment.log, *first, &segment.hashes)?;
        forget(*first..*next)?;
        disk.remove(path).map_err(failed("remove", path))?;
        disk.sync_folder(&journal).map_err(failed("sync the folder", &journal))?;
        retired.segments += 1;
        retired.records += next - first;
    }
    Ok(retired)
}

/// Returns the index behind the last record of which the hash is kept: with which the journal's segments may begin.
pub fn retired_to(folder: &Path, disk: &dyn Disk) -> Result<u64, RetireError> {
    Ok(LeafFile::all(folder, disk)?.last().map_or(0, LeafFile::end))
}

/// The hashes of one retired segment.
pub struct LeafFile {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    log: LogId,
    first: u64,
    count: u64,
}

impl LeafFile {
    /// Opens those of the data directory `folder`, checked and in order; together they begin at 0 and have no gaps.
    pub fn all(folder: &Path, disk: &dyn Disk) -> Result<Vec<Self>, RetireError> {
        let mut files: Vec<Self> = Vec::new();
        for (first, path) in numbered(disk, &folder.join(LEAVES), LEAVES)? {
            let file = Self::open(disk, path)?;
            let expected = files.last().map_or(0, |last| last.end());
            if file.first != expected || file.first != first {
                let what = format!("it begins at record {}, where {expected} should follow", file.first);
                return Err(damaged(&file.path, what));
            }
            files.push(file);
        }
        Ok(files)
    }

    fn open(disk: &dyn Disk, path: PathBuf) -> Result<Self, RetireError> {
        let file = disk.open(&path, Access::Read).map_err(failed("open", &path))?;
        let mut head = [0; HEAD_LEN];
        let read = file.read_full_at(&mut head, 0).map_err(failed("read", &path))?;
        if read < HEAD_LEN || head[..8] != *MAGIC {
            return Err(damaged(&path, "it is no file of hashes".to_owned()));
        }
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| head[at + i]));
        let (first, count) = (number(24), number(32));
        let length = file.length().map_err(failed("measure", &path))?;
        if count.checked_mul(HASH_LEN as u64).and_then(|hashes| hashes.checked_add(HEAD_LEN as u64)) != Some(length) {
            return Err(damaged(&path, format!("it has {length} bytes, which are not {count} hashes")));
        }
        let mut crc = crc32fast::Hasher::new();
        crc.update(&head[..CRC_AT]);
        let mut buffer = vec![0; PIECE];
        let mut offset = HEAD_LEN as u64;
        while offset < length {
            let read = file.read_full_at(&mut buffer, offset).map_err(failed("read", &path))?;
            crc.update(&buffer[..read]);
            offset += read.max(1) as u64;
        }
        if crc.finalize().to_le_bytes() != head[CRC_AT..] {
            return Err(damaged(&path, "its checksum does not match".to_owned()));
        }
        Ok(Self { file, path, log: LogId(std::array::from_fn(|i| head[8 + i])), first, count })
    }

    /// Returns the log it belongs to.
    pub fn log(&self) -> LogId {
        self.log
    }

    /// Returns the index of its first record.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Returns the index behind its last record.
    pub fn end(&self) -> u64 {
        self.first + self.count
    }

    /// Returns the leaf hash of record `index`; none if it is not one of this file.
    pub fn hash(&self, index: u64) -> Result<Option<Hash>, RetireError> {
        if index < self.first || index >= self.end() {
            return Ok(None);
        }
        let mut hash = [0; HASH_LEN];
        let offset = HEAD_LEN as u64 + (index - self.first) * HASH_LEN as u64;
        match self.file.read_full_at(&mut hash, offset).map_err(failed("read", &self.path))? {
            HASH_LEN => Ok(Some(Hash(hash))),
            _ => Err(damaged(&self.path, "it became shorter".to_owned())),
        }
    }

    /// Returns its hashes from record `index` on, in order; none if they all lie before it.
    pub fn hashes_from(&self, index: u64) -> Result<Vec<Hash>, RetireError> {
        let skipped = index.saturating_sub(self.first).min(self.count);
        let mut bytes = vec![0; (self.count - skipped) as usize * HASH_LEN];
        let offset = HEAD_LEN as u64 + skipped * HASH_LEN as u64;
        let read = self.file.read_full_at(&mut bytes, offset).map_err(failed("read", &self.path))?;
        if read < bytes.len() {
            return Err(damaged(&self.path, "it became shorter".to_owned()));
        }
        Ok(bytes.as_chunks().0.iter().copied().map(Hash).collect())
    }
}

impl std::fmt::Debug for LeafFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LeafFile({}, {}..{})", self.path.display(), self.first, self.end())
    }
}

/// What a segment holds.
struct Segment {
    log: LogId,
    hashes: Vec<u8>,
    kept_for: Option<u64>,
}

/// Reads the records of a segment, all of which must be there.
fn read_segment(
    disk: &dyn Disk,
    path: &Path,
    records: Range<u64>,
    keep: impl Fn(&[u8]) -> bool,
) -> Result<Segment, RetireError> {
    let file = disk.open(path, Access::Read).map_err(failed("open", path))?;
    let mut buffer = vec![0; PIECE];
    let read = file.read_full_at(&mut buffer[..HEADER], 0).map_err(failed("read", path))?;
    let (log, first) = frame::read_header(Kind::Journal, &buffer[..read]).map_err(|what| damaged(path, what.into()))?;
    if first != records.start {
        return Err(damaged(path, format!("it begins at record {first}, its name says {}", records.start)));
    }
    let mut segment = Segment { log, hashes: Vec::new(), kept_for: None };
    // The piece of the file in the buffer: where it begins there, how much of it is used, how much there is.
    let (mut start, mut used, mut filled) = (HEADER as u64, 0, 0);
    for index in records {
        if filled - used < RECORD_HEAD + LEAF_MAX {
            start += used as u64;
            used = 0;
            filled = file.read_full_at(&mut buffer, start).map_err(failed("read", path))?;
        }
        let Found::Frame(content) = frame::read_record(&buffer[used..filled], index) else {
            return Err(damaged(path, format!("record {index} at byte {} is not whole", start + used as u64)));
        };
        let leaf = &buffer[used + content.start..used + content.end];
        if keep(leaf) {
            segment.kept_for = Some(index);
            return Ok(segment);
        }
        segment.hashes.extend_from_slice(&leaf_hash(leaf).0);
        used += content.end;
    }
    Ok(segment)
}

fn write_leaves(disk: &dyn Disk, folder: &Path, log: LogId, first: u64, hashes: &[u8]) -> Result<(), RetireError> {
    let mut bytes = Vec::with_capacity(HEAD_LEN + hashes.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&log.0);
    bytes.extend_from_slice(&first.to_le_bytes());
    bytes.extend_from_slice(&((hashes.len() / HASH_LEN) as u64).to_le_bytes());
    let mut crc = crc32fast::Hasher::new();
    crc.update(&bytes);
    crc.update(hashes);
    bytes.extend_from_slice(&crc.finalize().to_le_bytes());
    bytes.extend_from_slice(hashes);

    let path = folder.join(format!("{first:020}.{LEAVES}"));
    let unfinished = path.with_extension("unfinished");
    let write = || {
        let file = disk.open(&unfinished, Access::Create)?;
        file.write_all_at(&bytes, 0)?;
        file.sync()?;
        disk.rename(&unfinished, &path)?;
        disk.sync_folder(folder)
    };
    write().map_err(failed("write", &path))?;
    // What is about to be removed can be read from nowhere else.
    LeafFile::open(disk, path).map(|_| ())
}

/// Returns the files of a folder that have a number for a name and `extension`, in order.
fn numbered(disk: &dyn Disk, folder: &Path, extension: &str) -> Result<Vec<(u64, PathBuf)>, RetireError> {
    let paths = disk.list(folder).map_err(failed("list", folder))?;
    let mut files: Vec<_> = paths
        .into_iter()
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .filter_map(|path| Some((path.file_stem()?.to_str()?.parse().ok()?, path)))
        .collect();
    files.sort_unstable();
    Ok(files)
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RetireError {
    move |source| RetireError::Io { action, path: path.to_owned(), source }
}

fn damaged(path: &Path, what: String) -> RetireError {
    RetireError::Damaged { path: path.to_owned(), what }
}

#[cfg(test)]
#[path = "retire_tests.rs"]
mod tests;
