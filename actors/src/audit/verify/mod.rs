//! Verification: whether an export, or a whole data directory, is what was signed.
//!
//! It needs no running gateway and no index, believes nothing it has not computed, and stops at the first thing wrong.
//! The outcome is an exit code, because scripts ask: 0 ok, 1 tampered, 2 usage, 3 incomplete, 4 signature or key, 5
//! older than a checkpoint that the reviewer trusts. `export/verify.py` gives the same verdicts on exports.

mod folder;
mod log;
mod segment;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use folder::verify_export;
pub use log::verify_log;

use super::checkpoint::{Note, VerifyingKey};
use super::merkle::Hash;

/// What the reviewer holds from elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Trusted {
    /// The public key; without one an export is verified with the key it names itself, a log by its hashes alone.
    pub key: Option<VerifyingKey>,
    /// A checkpoint of the log seen before, a signed note.
    pub checkpoint: Option<String>,
}

/// What became of a verification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is as it was signed.
    Sound,
    /// Something is wrong.
    Wrong(Fault),
}

/// What is wrong: the kind, words for a person, and the first record concerned where it can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which kind.
    pub kind: FaultKind,
    /// In words.
    pub what: String,
    /// The first bad record.
    pub index: Option<u64>,
}

/// Kinds of faults, each with an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Something was changed, removed, inserted or swapped.
    Tampered,
    /// The verification was asked for wrongly.
    Usage,
    /// A file or a proof is missing, or cannot be read.
    Incomplete,
    /// A signature or the key does not fit.
    Signature,
    /// It is older than the trusted checkpoint.
    Older,
}

impl Outcome {
    /// Returns the exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Sound => 0,
            Self::Wrong(fault) => match fault.kind {
                FaultKind::Tampered => 1,
                FaultKind::Usage => 2,
                FaultKind::Incomplete => 3,
                FaultKind::Signature => 4,
                FaultKind::Older => 5,
            },
        }
    }
}

/// Whose signature was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Signed {
    /// None was looked for, or none was reached.
    #[default]
    Unchecked,
    /// That of the key the reviewer trusts.
    Trusted(String),
    /// That of the key the export names itself, which proves nothing by itself: compare it by another way.
    Named(String),
}

/// What was looked at, as far as the verification came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The log.
    pub log: Option<String>,
    /// First record of the range looked at.
    pub start: u64,
    /// The record behind its last.
    pub end: u64,
    /// Records whose bytes were held against their hash.
    pub records: u64,
    /// Records of the range that are not there in full: left out by the filter, or retired.
    pub gaps: u64,
    /// Bodies held against their hash.
    pub bodies: u64,
    /// Records whose body is gone: erased, or its file retired. Of an export: as its manifest says.
    pub bodies_gone: u64,
    /// Signed checkpoints that fit.
    pub checkpoints: u64,
    /// Records in the log that the root covers.
    pub size: u64,
    /// The root that was computed.
    pub root: Option<Hash>,
    /// Whose signature was found.
    pub signed: Signed,
    /// Bytes behind the last whole record, which a kill may leave.
    pub torn_bytes: u64,
}

/// What is known of a log or an export after looking at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// Whether all is well.
    pub outcome: Outcome,
    /// What was looked at.
    pub report: Report,
}

/// Told how many bytes or records are done, and how many there are.
pub type Progress<'a> = dyn FnMut(u64, u64) + 'a;

impl Fault {
    fn new(kind: FaultKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), index: None }
    }

    fn tampered(what: impl Into<String>) -> Self {
        Self::new(FaultKind::Tampered, what)
    }

    fn at(index: u64, what: impl Into<String>) -> Self {
        Self { index: Some(index), ..Self::tampered(what) }
    }

    fn unread(path: &Path, error: &std::io::Error) -> Self {
        Self::new(FaultKind::Incomplete, format!("cannot read `{}`: {error}", path.display()))
    }
}

/// Reads a note and checks its signature.
fn believed(text: &str, key: &VerifyingKey, whose: &str) -> Result<Note, Fault> {
    let note = Note::parse(text).and_then(|note| note.verify(key).map(|()| note));
    note.map_err(|why| Fault::new(FaultKind::Signature, format!("{whose}: {why}")))
}

/// Returns log and index of a record from its first bytes, `{"v":1,"log":"<id>","index":<n>`, which all records share.
pub(crate) fn leaf_head(leaf: &[u8]) -> Option<(&str, u64)> {
    let rest = leaf.strip_prefix(b"{\"v\":")?;
    let version = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let rest = rest.get(version..).filter(|_| version > 0)?.strip_prefix(b",\"log\":\"")?;
    let (log, rest) = rest.split_at_checked(32)?;
    let log = std::str::from_utf8(log).ok().filter(|log| super::checkpoint::is_log_id(log))?;
    let rest = rest.strip_prefix(b"\",\"index\":")?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = rest.split_at(digits);
    let is_plain = matches!(rest.first(), Some(b',' | b'}')) && (digits == b"0" || digits.first() != Some(&b'0'));
    let index = std::str::from_utf8(digits).ok()?.parse().ok()?;
    is_plain.then_some((log, index))
}

/// Opens `path` for hashing or walking; a missing file is incomplete.
fn open(path: PathBuf) -> Result<(std::fs::File, PathBuf), Fault> {
    match std::fs::File::open(&path) {
        Ok(file) => Ok((file, path)),
        Err(error) => Err(Fault::unread(&path, &error)),
    }
}
