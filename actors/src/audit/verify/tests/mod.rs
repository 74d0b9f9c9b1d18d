//! Exports and data directories: whole ones are believed, and whatever is done to them is noticed, in Rust and Python.

mod attacks;
mod flips;
mod log;
mod orders;
mod python;

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::audit::checkpoint::{Checkpoint, SigningKey};
use crate::audit::export::{Bodies, Body, ExportError, Filter, Order, Source, Stored, Take, export};
use crate::audit::merkle::{Hashes, leaf_hash, root_at};
use crate::audit::record::Record;

pub const LOG: &str = "00112233445566778899aabbccddeeff";
/// Records of the log that most tests export, and the range.
pub const SIZE: usize = 40;
pub const RANGE: Range<u64> = 5..33;

pub fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

/// A log in memory.
#[derive(Clone)]
pub struct Books {
    pub leaves: Vec<Vec<u8>>,
    pub hashes: Vec<Hash>,
    pub bodies: BTreeMap<u64, Vec<u8>>,
    pub retired: u64,
}

impl Books {
    /// Makes a log in which every third record has a body; that of record 12 is erased.
    pub fn new(size: usize) -> Self {
        let mut books = Self { leaves: Vec::new(), hashes: Vec::new(), bodies: BTreeMap::new(), retired: 0 };
        for index in 0..size as u64 {
            let body = index.is_multiple_of(3).then(|| format!("sealed body {index}").into_bytes());
            let mut leaf = format!("{{\"v\":1,\"log\":\"{LOG}\",\"index\":{index},").into_bytes();
            leaf.extend(tail(index, body.as_deref()));
            books.hashes.push(leaf_hash(&leaf));
            books.leaves.push(leaf);
            books.bodies.extend(body.filter(|_| index != 12).map(|body| (index, body)));
        }
        books
    }

    /// Returns the checkpoint at `size`, signed with the first key.
    pub fn note(&self, size: usize) -> Note {
        self.signed(size, &key(1))
    }

    pub fn signed(&self, size: usize, key: &SigningKey) -> Note {
        let root = root_at(self.hashes.as_slice(), size as u64).expect("the log is longer");
        let (log, config) = (LOG.to_owned(), Some("c0ffee".to_owned()));
        Checkpoint { log, size: size as u64, root, at_us: 7, previous: None, config }.sign(key)
    }
}

/// What the gateway says of record `index`.
pub fn tail(index: u64, body: Option<&[u8]>) -> Vec<u8> {
    let record = Record {
        at_us: 1_795_000_000_000_000 + index,
        phase: Some(crate::audit::record::Phase::Completed),
        request: Some(format!("01REQUEST{index}").into()),
        team: Some(if index.is_multiple_of(2) { "search" } else { "=ads" }.into()),
        action: "chat".into(),
        outcome: Some("served".into()),
        status: Some(200),
        body_hash: body.map(|body| Hash::of(body).to_string().into()),
        ..Record::default()
    };
    record.to_tail()
}

impl Hashes for Books {
    fn subtree(&self, level: u32, index: u64) -> Option<Hash> {
        self.hashes.as_slice().subtree(level, index)
    }
}

impl Source for Books {
    fn records(&self, range: Range<u64>, take: &mut Take<'_>) -> Result<(), ExportError> {
        for index in range {
            let at = usize::try_from(index).expect("a small log");
            let stored =
                if index < self.retired { Stored::Retired(self.hashes[at]) } else { Stored::Leaf(&self.leaves[at]) };
            take(index, stored)?;
        }
        Ok(())
    }

    fn body(&self, index: u64, _leaf: &[u8]) -> Result<Body, ExportError> {
        Ok(self.bodies.get(&index).map_or(Body::Erased, |body| Body::Sealed(body.clone())))
    }
}

/// Orders everything there is of `range` to `folder`.
pub fn order(folder: &Path, range: Range<u64>) -> Order<'static> {
    Order {
        folder: folder.to_owned(),
        range,
        filter: None,
        by: "admin".to_owned(),
        why: "yearly review".to_owned(),
        made_at_us: 1_795_000_100_000_000,
        bodies: Bodies::Included,
        previous: None,
    }
}

/// Exports `RANGE` of a log of `SIZE` records; the folder is `export` in the one returned.
pub fn exported() -> (TempDir, PathBuf) {
    let home = tempfile::tempdir().expect("a temporary folder");
    let folder = home.path().join("export");
    let books = Books::new(SIZE);
    export(&books, &order(&folder, RANGE), &books.note(SIZE), &key(1), &mut |_, _| {}).expect("an export");
    (home, folder)
}

pub fn trusting(key: &SigningKey) -> Trusted {
    Trusted { key: Some(key.verifying()), checkpoint: None }
}

/// Returns exit code and first bad record.
pub fn verdict(folder: &Path, trusted: &Trusted) -> (u8, Option<u64>) {
    code(&verify_export(folder, trusted, &mut |_, _| {}))
}

pub fn code(verification: &Verification) -> (u8, Option<u64>) {
    let index = match &verification.outcome {
        Outcome::Sound => None,
        Outcome::Wrong(fault) => fault.index,
    };
    (verification.outcome.exit_code(), index)
}

pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).expect("a file");
        }
    }
}
