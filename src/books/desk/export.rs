//! Records that leave the gateway: exports for reviewers, and copies of everything.

use std::fs::File;
use std::io::BufReader;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use actix::Addr;
use bursar_actors::audit::beside::Beside;
use bursar_actors::audit::checkpoint::{Note, Notes};
use bursar_actors::audit::export::{self, Bodies, ExportError, Order, Tables};
use bursar_actors::audit::filter::Filter;
use bursar_actors::audit::journal::RealDisk;
use bursar_actors::audit::log::{AuditLog, Search, SignCheckpoint};
use bursar_actors::audit::merkle::{Hash, Hashes};
use bursar_actors::audit::ranges::{Covering, Subtree};
use bursar_actors::audit::record::{Phase, Record};
use bursar_actors::audit::source::DirectorySource;
use bursar_actors::store::Field;
use serde_json::{Value, json};

use super::query::Query;
use super::{Desk, DeskError, ExportOrder, blocking, reason};
use crate::books::Books;
use crate::call::unix_us;

const ACTION: &str = "audit.export";

impl From<ExportError> for DeskError {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Order(why) => Self::Invalid(why),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl Desk<'_> {
    pub(super) async fn export(&self, order: ExportOrder) -> Result<Value, DeskError> {
        let query = self.read_query(&order.filter)?;
        let tables = tables(&order.formats)?;
        refuse_relative(&order.folder)?;
        let why = order.why.as_deref().map(reason).transpose()?.unwrap_or("not told").to_owned();
        let by = order.by.clone().unwrap_or_else(|| self.actor.to_owned());
        let with = if order.bodies { "; with sealed content" } else { "" };
        let which = if query.words.is_empty() { "all records" } else { &query.words };
        let range = match (order.start, order.end) {
            (None, None) => String::new(),
            (start, end) => {
                let end = end.map_or_else(|| "the end".to_owned(), |end| end.to_string());
                format!("; range {} to {end}", start.unwrap_or_default())
            }
        };
        // What tells most comes first; a filter may be long.
        let note = format!("by {by}; why: {why}{range}{with}; to {}; {which}", order.folder.display());
        self.asked(Phase::Export, ACTION, note.clone()).await?;

        let _turn = self.books.work.turn.lock().await;
        let prepared = self.prepare(&order, &query).await;
        let made = match prepared {
            Ok((range, checkpoint, previous)) => {
                let wanted = Wanted { order, query, by, why, tables, range, checkpoint, previous };
                self.make(wanted).await
            }
            Err(error) => Err(error),
        };
        self.books.work.set(0, 0);
        let size = made.as_ref().ok().and_then(|made| made["size"].as_u64());
        let count = made.as_ref().ok().and_then(|made| made["matched"].as_u64());
        self.came_to(&made, Record { size, count, ..self.record(Phase::Export, ACTION, note) });
        made
    }

    /// Returns the range, a checkpoint over it, and that of the export before.
    async fn prepare(&self, order: &ExportOrder, query: &Query) -> Result<Prepared, DeskError> {
        let books = self.books;
        let checkpoint = books.log.send(SignCheckpoint).await??;
        let checkpoint = checkpoint.ok_or_else(|| DeskError::Failed("no checkpoint could be signed".into()))?;
        let size = checkpoint.checkpoint().size;
        let Filter { from_us, to_us, .. } = query.filter;
        let covered = match (from_us, to_us) {
            (None, None) => 0..size,
            _ => books.log.send(Covering { from_us, to_us }).await??.ok_or_else(|| {
                DeskError::Missing("there is no record between these times; an export of nothing proves nothing".into())
            })?,
        };
        let range = order.start.unwrap_or(covered.start)..order.end.unwrap_or(covered.end).min(size);
        if range.is_empty() {
            return Err(DeskError::Invalid(format!(
                "the range {} to {} holds no record; the log has {size}",
                range.start, range.end
            )));
        }
        Ok((range, checkpoint, self.previous(size).await?))
    }

    /// Returns the checkpoint of the last export that was made.
    async fn previous(&self, size: u64) -> Result<Option<Note>, DeskError> {
        let words = [(Field::Phase, "export"), (Field::Action, ACTION), (Field::Outcome, "done")];
        let terms = words.map(|(field, word)| (field, word.to_owned())).to_vec();
        let ask = Search { filter: Filter { terms, ..Filter::default() }, before: u64::MAX, limit: 1 };
        let page = self.books.log.send(ask).await??;
        let Some((_, leaf)) = page.records.first() else { return Ok(None) };
        let record: Record<'_> = serde_json::from_slice(leaf).unwrap_or_default();
        let Some(covered) = record.size.filter(|covered| *covered < size) else { return Ok(None) };
        let path = self.books.journal.path().join("checkpoints");
        blocking(move || Ok(note_over(&path, covered))).await
    }

    async fn make(&self, wanted: Wanted) -> Result<Value, DeskError> {
        let books = self.books.clone();
        let runtime = tokio::runtime::Handle::current();
        blocking(move || {
            // Nothing is retired or wiped before the export has it.
            let _alone = books.journal.housekeeping();
            let Wanted { order, query, by, why, tables, range, checkpoint, previous } = wanted;
            let hashes = Remote { log: books.log.clone(), runtime };
            let source = DirectorySource::new(books.journal.path(), Arc::new(RealDisk), hashes);
            let fits = |record: &Record<'_>| query.filter.fits_record(record);
            let all = query.words.is_empty();
            let filter = (!all).then_some(export::Filter { text: query.words.clone(), wanted: &fits });
            let bodies = if order.bodies { Bodies::Included } else { Bodies::LeftOut };
            let made_at_us = unix_us();
            let previous = previous.as_ref();
            let order = Order { folder: order.folder, range, filter, by, why, made_at_us, bodies, tables, previous };
            let manifest = export::export(&source, &order, &checkpoint, &books.signing, &mut |done, total| {
                books.work.set(done, total);
            })?;
            Ok(json!({
                "folder": order.folder,
                "start": manifest.start,
                "end": manifest.end,
                "in_range": manifest.counts.in_range,
                "matched": manifest.counts.matched,
                "retired": manifest.counts.retired,
                "bodies": manifest.counts.bodies,
                "bodies_erased": manifest.counts.erased,
                "size": checkpoint.checkpoint().size,
                "root": checkpoint.checkpoint().root,
                "public_key": manifest.key,
                "files": manifest.files.iter().map(|listed| listed.name.as_str()).collect::<Vec<_>>(),
            }))
        })
        .await
    }

    pub(super) async fn backup(&self, folder: PathBuf, beside: Vec<Beside>) -> Result<Value, DeskError> {
        refuse_relative(&folder)?;
        let note = format!("all records and what is kept beside them to {}", folder.display());
        self.asked(Phase::Export, "audit.backup", note.clone()).await?;
        let _turn = self.books.work.turn.lock().await;
        // So that whoever gets the copy can verify all of it.
        self.books.log.send(SignCheckpoint).await??;
        let (journal, to) = (self.books.journal.clone(), folder.clone());
        let copy = move || journal.backup(&to, &beside).map_err(|error| DeskError::Failed(error.to_string()));
        let copied = blocking(copy).await;
        let count = copied.as_ref().ok().map(|backup| backup.records);
        self.came_to(&copied, Record { count, ..self.record(Phase::Export, "audit.backup", note) });
        let backup = copied?;
        Ok(json!({ "folder": folder, "records": backup.records, "bytes": backup.bytes }))
    }
}

type Prepared = (Range<u64>, Arc<Note>, Option<Note>);

/// An export that can begin.
struct Wanted {
    order: ExportOrder,
    query: Query,
    by: String,
    why: String,
    tables: Tables,
    range: Range<u64>,
    checkpoint: Arc<Note>,
    previous: Option<Note>,
}

/// The hashes of the tree, from the actor that has them; asked only on threads that may wait.
struct Remote {
    log: Addr<AuditLog>,
    runtime: tokio::runtime::Handle,
}

impl Hashes for Remote {
    fn subtree(&self, level: u32, index: u64) -> Option<Hash> {
        self.runtime.block_on(self.log.send(Subtree { level, index })).ok().flatten()
    }
}

impl Books {
    /// Returns how far the export or copy that runs now has come.
    pub fn progress(&self) -> Option<(u64, u64)> {
        self.work.progress()
    }
}

fn tables(formats: &[String]) -> Result<Tables, DeskError> {
    if formats.is_empty() {
        return Ok(Tables { parquet: false, ..Tables::ALL });
    }
    let mut tables = Tables { csv: false, ocsf: false, parquet: false };
    for format in formats {
        match format.as_str() {
            "jsonl" => {}
            "csv" => tables.csv = true,
            "ocsf" => tables.ocsf = true,
            "parquet" => tables.parquet = true,
            other => {
                let what = format!("`{other}` is no format; known: jsonl, csv, ocsf, parquet");
                return Err(DeskError::Invalid(what));
            }
        }
    }
    Ok(tables)
}

/// The gateway stands in a folder of its own, where nobody would look for what a relative path means.
fn refuse_relative(folder: &Path) -> Result<(), DeskError> {
    if folder.is_absolute() {
        return Ok(());
    }
    Err(DeskError::Invalid(format!("`{}` is no absolute path; name the folder from / on", folder.display())))
}

/// Returns the checkpoint over `size` records; none if there is none, or it cannot be read.
fn note_over(path: &Path, size: u64) -> Option<Note> {
    let mut notes = Notes::new(BufReader::new(File::open(path).ok()?));
    let mut found = None;
    while let Ok(Some(Ok(note))) = notes.next_note() {
        if note.checkpoint().size == size {
            found = Some(note);
        }
    }
    found
}
