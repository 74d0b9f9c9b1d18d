//! Exports: a folder with part of the log that whoever receives it can verify without us.
//!
//! The records stand in it byte for byte; tables for spreadsheets and event systems are made from them. The leaf hash of
//! *every* record in the range is there as well, so that a reviewer can count what was not exported, ask for it, and
//! hold it against its hash. A signed manifest says who asked for what and lists every file.
//!
//! Nothing is signed that was not checked: the leaf hashes have to give the root of the checkpoint. Records are read
//! and written one at a time; the folder appears under its name once all of it is durable.

pub mod columns;
pub mod manifest;
mod ocsf;
mod output;
#[cfg(feature = "parquet")]
mod parquet;

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value};
use thiserror::Error;

use self::columns::Row;
use self::manifest::{BodyLine, Counts, Listed, Manifest, Previous};
use self::output::Output;
use super::checkpoint::{Note, SigningKey, origin};
use super::merkle::{Frontier, Hash, Hashes, RangeProof, consistency_proof, leaf_hash, range_proof};
use super::record::Record;

/// The verifier that goes with every export.
pub const VERIFIER: &str = include_str!("verify.py");
const READ_ME: &str = include_str!("reviewer.md");

/// One record as the log still has it.
#[derive(Clone, Copy, Debug)]
pub enum Stored<'a> {
    /// Its bytes.
    Leaf(&'a [u8]),
    /// Its leaf hash, which outlives its retention.
    Retired(Hash),
}

/// What is left of a body.
#[derive(Clone, Debug)]
pub enum Body {
    /// The sealed bytes.
    Sealed(Vec<u8>),
    /// They were erased.
    Erased,
}

/// Where an export takes its records from.
pub trait Source: Hashes {
    /// Calls `take` with every record of `range`, in order and without gaps; ends early when `take` fails.
    fn records(&self, range: Range<u64>, take: &mut Take<'_>) -> Result<(), ExportError>;

    /// Returns the body of the record `index` with these bytes, which names one.
    fn body(&self, index: u64, leaf: &[u8]) -> Result<Body, ExportError>;
}

/// Takes a record with its index.
pub type Take<'a> = dyn FnMut(u64, Stored<'_>) -> Result<(), ExportError> + 'a;

/// Which records of the range to export.
pub struct Filter<'a> {
    /// The filter in words, for the manifest.
    pub text: String,
    /// Returns whether a record is wanted. Records that this version cannot read are exported, never left out silently.
    pub wanted: &'a dyn Fn(&Record<'_>) -> bool,
}

/// What is to be exported, by whom and why.
pub struct Order<'a> {
    /// The folder to make; it must not exist.
    pub folder: PathBuf,
    /// The records to look at; within the checkpoint.
    pub range: Range<u64>,
    /// Which of them to export; all without one.
    pub filter: Option<Filter<'a>>,
    /// Who asked for it.
    pub by: String,
    /// What for.
    pub why: String,
    /// The wall clock, in microseconds since 1970.
    pub made_at_us: u64,
    /// Whether sealed bodies go along.
    pub bodies: Bodies,
    /// The checkpoint of the export before, to which this one is tied.
    pub previous: Option<&'a Note>,
}

/// Whether sealed bodies go along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bodies {
    /// They do.
    Included,
    /// They do not.
    LeftOut,
}

/// Why there is no export.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The folder cannot be written, or the log not read.
    #[error("cannot export to `{path}`: {source}", path = .path.display())]
    File {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What was asked cannot be.
    #[error("{0}")]
    Order(String),
    /// The log does not hold what its checkpoint says.
    #[error(
        "the log does not fit its checkpoint at {size} records, so nothing was exported: {what}; run `bursar audit verify`"
    )]
    Damaged {
        /// Records the checkpoint covers.
        size: u64,
        /// What does not fit.
        what: String,
    },
    /// The log could not be read.
    #[error("cannot read record {index}: {why}")]
    Read {
        /// The record.
        index: u64,
        /// Why not.
        why: String,
    },
}

/// Makes the export that `order` describes, proven against `checkpoint` and signed with `key`.
///
/// `progress` is told how many records of the range are done, and how many there are. On an error nothing is left behind.
pub fn export(
    source: &dyn Source,
    order: &Order<'_>,
    checkpoint: &Note,
    key: &SigningKey,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Manifest, ExportError> {
    let proof = check(source, order, checkpoint)?;
    let previous = tie(source, order.previous, checkpoint)?;
    let failed = |source| ExportError::File { path: order.folder.clone(), source };
    let beside = partial(&order.folder);
    DirBuilder::new().recursive(true).mode(0o700).create(&beside).map_err(failed)?;
    let made = fill(&beside, source, order, checkpoint, key, (proof, previous), progress)
        .and_then(|manifest| settle(&beside, &order.folder).map(|()| manifest).map_err(failed));
    if made.is_err() {
        // Best effort: the error that stopped the export is the one to tell.
        let _ = fs::remove_dir_all(&beside);
    }
    made
}

fn partial(folder: &Path) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_os_string();
    name.push(".partial");
    folder.with_file_name(name)
}

/// Gives the finished folder its name, durably.
fn settle(beside: &Path, folder: &Path) -> io::Result<()> {
    File::open(beside)?.sync_all()?;
    fs::rename(beside, folder)?;
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// Checks the order, and proves the range against the checkpoint.
fn check(source: &dyn Source, order: &Order<'_>, checkpoint: &Note) -> Result<RangeProof, ExportError> {
    let size = checkpoint.checkpoint().size;
    let Range { start, end } = order.range;
    let wrong = |text: String| Err(ExportError::Order(text));
    if start > end || end > size {
        return wrong(format!("the range {start} to {end} is not within the {size} records of the checkpoint"));
    }
    for path in [order.folder.clone(), partial(&order.folder)] {
        if path.exists() {
            return wrong(format!("`{}` exists; name a folder that does not", path.display()));
        }
    }
    range_proof(source, start, end, size)
        .ok_or_else(|| ExportError::Damaged { size, what: "hashes of its tree are missing".to_owned() })
}

fn tie(source: &dyn Source, previous: Option<&Note>, checkpoint: &Note) -> Result<Option<Previous>, ExportError> {
    let Some(note) = previous else { return Ok(None) };
    let (old, new) = (note.checkpoint(), checkpoint.checkpoint());
    let proof = consistency_proof(source, old.size, new.size).ok_or_else(|| ExportError::Damaged {
        size: new.size,
        what: format!("the export before covers {} records", old.size),
    })?;
    Ok(Some(Previous { checkpoint: note.text().to_owned(), proof }))
}

fn fill(
    folder: &Path,
    source: &dyn Source,
    order: &Order<'_>,
    checkpoint: &Note,
    key: &SigningKey,
    (proof, previous): (RangeProof, Option<Previous>),
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Manifest, ExportError> {
    let failed = |source| ExportError::File { path: order.folder.clone(), source };
    let log = &checkpoint.checkpoint().log;
    let mut writing = Writing::new(folder, log, order, &proof).map_err(failed)?;
    let total = order.range.end - order.range.start;
    source.records(order.range.clone(), &mut |index, stored| {
        writing.take(source, order, index, stored)?;
        progress(writing.counts.in_range, total);
        Ok(())
    })?;
    if proof.root_behind(writing.tree.clone()) != Some(checkpoint.checkpoint().root) {
        let what = "its records give another root".to_owned();
        return Err(ExportError::Damaged { size: proof.size, what });
    }
    let (counts, mut files) = writing.finish().map_err(failed)?;
    let extra = [
        (manifest::CHECKPOINT, checkpoint.text().to_owned()),
        (manifest::READ_ME, read_me(order, log, &key.verifying().text(&origin(log)))),
        (manifest::VERIFIER, VERIFIER.to_owned()),
    ];
    for (name, text) in extra {
        files.push(write_file(folder, name, text.as_bytes()).map_err(failed)?);
    }
    let manifest = Manifest {
        format: manifest::FORMAT.to_owned(),
        log: log.clone(),
        made_at_us: order.made_at_us,
        by: order.by.clone(),
        why: order.why.clone(),
        filter: order.filter.as_ref().map(|filter| filter.text.clone()),
        start: order.range.start,
        end: order.range.end,
        counts,
        key: key.verifying().text(&origin(log)),
        checkpoint: checkpoint.text().to_owned(),
        range_proof: proof,
        previous,
        files,
    };
    let bytes = serde_json::to_vec_pretty(&manifest).expect("a manifest has no map with other keys than strings");
    write_file(folder, manifest::MANIFEST, &bytes).map_err(failed)?;
    let signature = format!("{}\n", BASE64.encode(key.sign(&bytes)));
    write_file(folder, manifest::SIGNATURE, signature.as_bytes()).map_err(failed)?;
    Ok(manifest)
}

fn write_file(folder: &Path, name: &'static str, bytes: &[u8]) -> io::Result<Listed> {
    let mut output = Output::create(folder, name)?;
    output.write_all(bytes)?;
    output.finish()
}

fn read_me(order: &Order<'_>, log: &str, key: &str) -> String {
    let range = format!("{} to {}", order.range.start, order.range.end);
    READ_ME.replace("{log}", log).replace("{range}", &range).replace("{key}", key)
}

/// The files that grow with every record.
struct Writing {
    log: String,
    tree: Frontier,
    end: u64,
    counts: Counts,
    records: Output,
    table: Output,
    ocsf: Output,
    leaves: Output,
    bodies: Option<Output>,
    #[cfg(feature = "parquet")]
    parquet: parquet::ParquetTable,
}

impl Writing {
    fn new(folder: &Path, log: &str, order: &Order<'_>, proof: &RangeProof) -> io::Result<Self> {
        let create = |name| Output::create(folder, name);
        let bodies = (order.bodies == Bodies::Included).then(|| create(manifest::BODIES)).transpose()?;
        let mut table = create(manifest::TABLE)?;
        columns::write_head(&mut table)?;
        let asked = bodies.as_ref().map(|_| 0);
        Ok(Self {
            log: log.to_owned(),
            tree: proof.before().expect("a range proof just made has its form"),
            end: order.range.end,
            counts: Counts { bodies: asked, erased: asked, ..Counts::default() },
            records: create(manifest::RECORDS)?,
            table,
            ocsf: create(manifest::OCSF)?,
            leaves: create(manifest::LEAVES)?,
            bodies,
            #[cfg(feature = "parquet")]
            parquet: parquet::ParquetTable::new(create(manifest::PARQUET)?)?,
        })
    }

    fn take(
        &mut self,
        source: &dyn Source,
        order: &Order<'_>,
        index: u64,
        stored: Stored<'_>,
    ) -> Result<(), ExportError> {
        let unread = |why: &str| ExportError::Read { index, why: why.to_owned() };
        let failed = |source| ExportError::File { path: order.folder.clone(), source };
        if index != self.tree.size() || index >= self.end {
            return Err(unread("it came out of order"));
        }
        let hash = match stored {
            Stored::Leaf(leaf) => leaf_hash(leaf),
            Stored::Retired(hash) => hash,
        };
        self.tree.append(hash);
        self.counts.in_range += 1;
        self.leaves.write_all(&hash.0).map_err(failed)?;
        let Stored::Leaf(leaf) = stored else {
            self.counts.retired += 1;
            return Ok(());
        };
        // A line break would make two lines of one record; the journal writes none.
        if leaf.contains(&b'\n') {
            return Err(unread("it holds a line break"));
        }
        let record = serde_json::from_slice::<Record<'_>>(leaf);
        let is_wanted = match (&record, &order.filter) {
            (Ok(record), Some(filter)) => (filter.wanted)(record),
            _ => true,
        };
        if !is_wanted {
            return Ok(());
        }
        let record = record.unwrap_or_default();
        self.write(index, leaf, &record).map_err(failed)?;
        if self.bodies.is_some() && record.body_hash.is_some() {
            let body = source.body(index, leaf)?;
            self.write_body(index, body).map_err(failed)?;
        }
        Ok(())
    }

    fn write(&mut self, index: u64, leaf: &[u8], record: &Record<'_>) -> io::Result<()> {
        self.counts.matched += 1;
        self.records.line(leaf)?;
        let row = Row { index, record };
        columns::write_row(&mut self.table, &row)?;
        #[cfg(feature = "parquet")]
        self.parquet.row(&row)?;
        let raw: Map<String, Value> = serde_json::from_slice(leaf).unwrap_or_default();
        serde_json::to_writer(&mut self.ocsf, &ocsf::event(&self.log, index, record, &raw))?;
        self.ocsf.write_all(b"\n")
    }

    fn write_body(&mut self, index: u64, body: Body) -> io::Result<()> {
        let (Some(output), Some(bodies), Some(erased)) =
            (&mut self.bodies, &mut self.counts.bodies, &mut self.counts.erased)
        else {
            return Ok(());
        };
        let Body::Sealed(sealed) = body else {
            *erased += 1;
            return Ok(());
        };
        *bodies += 1;
        serde_json::to_writer(&mut *output, &BodyLine { index, sealed: BASE64.encode(sealed) })?;
        output.write_all(b"\n")
    }

    fn finish(self) -> io::Result<(Counts, Vec<Listed>)> {
        let mut outputs = vec![self.records, self.table, self.ocsf, self.leaves];
        outputs.extend(self.bodies);
        #[cfg(feature = "parquet")]
        outputs.push(self.parquet.finish()?);
        let files = outputs.into_iter().map(Output::finish).collect::<io::Result<_>>()?;
        Ok((self.counts, files))
    }
}
