//! The one thread that writes: it takes what waits, writes it as one group, syncs, and only then acknowledges.
//!
//! Order within a group: what must precede (the keyring), bodies, sync of the bodies, records, sync of the records. So no
//! durable record lacks its body. Lazy records wait up to `lazy_wait` for a strict one or for more of their kind.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::JournalOptions;
use super::disk::Disk;
use super::frame::{BODY_HEAD, BodyPosition, Kind, LogId, Prefix, push_body};
use super::queue::{Durability, JournalState, Refused, Ticket, Waiting};
use super::segment::{AppendFile, Trouble};
use super::shared::{Mark, Shared};

/// Bytes of entries that are written as one group; what waits beyond them is the next.
const GROUP: usize = 4 * 1024 * 1024;
/// What an idle writer keeps of a buffer.
const KEPT: usize = 1024 * 1024;

/// What the thread owns.
pub struct Writer {
    shared: Arc<Shared>,
    options: JournalOptions,
    disk: Arc<dyn Disk>,
    log: LogId,
    prefix: Prefix,
    /// Index of the next record to write.
    next: u64,
    records: AppendFile,
    bodies: Option<AppendFile>,
    /// Taken from the queue, not written yet.
    backlog: VecDeque<Waiting>,
    /// Written, not synced yet, for want of room: who waits for which index.
    written: Vec<(u64, oneshot::Sender<Result<u64, Refused>>)>,
    /// What the written ones were charged.
    written_bytes: usize,
    bodies_dirty: bool,
    record_buffer: Vec<u8>,
    body_buffer: Vec<u8>,
}

impl Writer {
    pub fn new(shared: Arc<Shared>, options: JournalOptions, log: LogId, next: u64, records: AppendFile) -> Self {
        Self {
            shared,
            disk: options.disk.clone(),
            options,
            log,
            prefix: Prefix::new(log),
            next,
            records,
            bodies: None,
            backlog: VecDeque::new(),
            written: Vec::new(),
            written_bytes: 0,
            bodies_dirty: false,
            record_buffer: Vec::new(),
            body_buffer: Vec::new(),
        }
    }

    /// Writes until the journal is closed or the disk fails.
    pub fn run(mut self) {
        // Should a bug end this thread, nobody may wait for it for ever.
        let _guard = Guard(self.shared.clone());
        let mut taken = Vec::new();
        let mut is_full = false;
        loop {
            let is_closing =
                if is_full { self.shared.queue.rest(Instant::now() + self.options.full_retry) } else { false };
            let is_closing = self.shared.queue.take(&mut taken, !is_full, self.options.lazy_wait) || is_closing;
            self.backlog.extend(taken.drain(..));
            match self.turn(is_full, is_closing) {
                Ok(()) if is_closing => return self.end(JournalState::Closed, &Refused::Closed),
                Ok(()) if is_full => {
                    is_full = false;
                    tracing::info!(records = self.next, "the audit journal's disk takes records again");
                    self.shared.queue.set_state(JournalState::Open);
                }
                Ok(()) => {}
                Err(Trouble::Full(why)) if is_closing => {
                    tracing::error!(lost = self.backlog.len(), "the audit journal was closed on a full disk: {why}");
                    // What is written already needs no more room; what fails here is answered below like the rest.
                    let _ = self.finish();
                    return self.end(JournalState::Closed, &Refused::Full(why));
                }
                Err(Trouble::Full(why)) => {
                    if !is_full {
                        tracing::error!("the audit journal's disk is full, strict records are refused: {why}");
                    }
                    is_full = true;
                    self.refuse_strict(&why);
                    if let Err(Trouble::Fatal(why)) = self.sync() {
                        return self.fail(why);
                    }
                }
                Err(Trouble::Fatal(why)) => return self.fail(why),
            }
        }
    }

    /// One round: writes what waits, tries a disk that was full, and ends the files at last.
    fn turn(&mut self, is_full: bool, is_closing: bool) -> Result<(), Trouble> {
        self.work()?;
        if is_closing {
            return self.finish();
        }
        if is_full { self.probe() } else { Ok(()) }
    }

    /// Writes and syncs all that waits.
    fn work(&mut self) -> Result<(), Trouble> {
        while !self.backlog.is_empty() {
            self.write_group()?;
        }
        self.record_buffer.shrink_to(KEPT);
        self.body_buffer.shrink_to(KEPT);
        Ok(())
    }

    /// Writes one group, syncs and acknowledges it. On `Full` all of it waits as before.
    fn write_group(&mut self) -> Result<(), Trouble> {
        self.drop_orphans();
        if self.backlog.is_empty() {
            return Ok(());
        }
        let mut bytes = 0;
        let mut count = 0;
        for waiting in &self.backlog {
            if bytes >= GROUP {
                break;
            }
            bytes += waiting.charge();
            count += 1;
        }
        self.shared.precede()?;
        self.rotate()?;
        self.encode(count)?;
        let bodies_before = self.bodies.as_ref().map(AppendFile::length);
        if let Err(trouble) = self.append() {
            if let Trouble::Full(_) = trouble {
                self.undo(bodies_before)?;
            }
            return Err(trouble);
        }
        for (index, waiting) in (self.next..).zip(self.backlog.drain(..count)) {
            self.written.push((index, waiting.done));
        }
        self.next += count as u64;
        self.written_bytes += bytes;
        self.sync_records()
    }

    /// Refuses what belongs to a record that was refused. One that is undecided stands ahead in the same group.
    fn drop_orphans(&mut self) {
        if self.backlog.iter().all(|waiting| waiting.after.is_none()) {
            return;
        }
        let mut freed = 0;
        for mut waiting in std::mem::take(&mut self.backlog) {
            match waiting.after.as_mut().and_then(Ticket::ready) {
                Some(Err(why)) => {
                    freed += waiting.charge();
                    let _ = waiting.done.send(Err(why));
                    continue;
                }
                // A ticket tells once.
                Some(Ok(_)) => waiting.after = None,
                None => {}
            }
            self.backlog.push_back(waiting);
        }
        self.shared.queue.release(freed);
    }

    /// Begins new files where the present ones have grown to `segment_max`.
    fn rotate(&mut self) -> Result<(), Trouble> {
        if self.records.length() >= self.options.segment_max {
            self.sync()?;
            self.records.finish()?;
            self.records = self.create(Kind::Journal, self.next)?;
        }
        if self.bodies.as_ref().is_some_and(|bodies| bodies.length() >= self.options.segment_max) {
            self.sync()?;
            if let Some(mut bodies) = self.bodies.take() {
                bodies.finish()?;
            }
        }
        Ok(())
    }

    fn create(&self, kind: Kind, first: u64) -> Result<AppendFile, Trouble> {
        AppendFile::create(&self.disk, &self.options.path, kind, self.log, first)
    }

    /// Puts the first `count` of the backlog into the buffers.
    fn encode(&mut self, count: usize) -> Result<(), Trouble> {
        self.record_buffer.clear();
        self.body_buffer.clear();
        for at in 0..count {
            let index = self.next + at as u64;
            let mut place = None;
            if self.backlog[at].entry.body.is_some() {
                if self.bodies.is_none() {
                    self.bodies = Some(self.create(Kind::Bodies, index)?);
                }
                let file = self.bodies.as_ref().expect("it was created a line ago");
                place =
                    Some(BodyPosition { file: file.first(), offset: file.length() + self.body_buffer.len() as u64 });
            }
            let entry = &self.backlog[at].entry;
            if let Some(body) = &entry.body {
                self.body_buffer.reserve(BODY_HEAD + body.len());
                push_body(&mut self.body_buffer, index, body);
            }
            self.prefix.push_record(&mut self.record_buffer, index, place, &entry.tail);
        }
        Ok(())
    }

    fn append(&mut self) -> Result<(), Trouble> {
        if let Some(bodies) = &mut self.bodies {
            if !self.body_buffer.is_empty() {
                bodies.append(&self.body_buffer)?;
                self.bodies_dirty = true;
            }
            if self.bodies_dirty {
                bodies.sync()?;
                self.bodies_dirty = false;
            }
        }
        let before = self.records.length();
        self.records.append(&self.record_buffer).or_else(|trouble| {
            if let Trouble::Full(_) = trouble {
                self.records.cut(before)?;
            }
            Err(trouble)
        })
    }

    /// Takes back what a group that could not be written whole has left in the bodies.
    fn undo(&mut self, bodies_before: Option<u64>) -> Result<(), Trouble> {
        match (&mut self.bodies, bodies_before) {
            (Some(bodies), Some(before)) => bodies.cut(before),
            _ => Ok(()),
        }
    }

    /// Syncs all that is written, and acknowledges it.
    fn sync(&mut self) -> Result<(), Trouble> {
        if self.written.is_empty() {
            return Ok(());
        }
        self.shared.precede()?;
        if let Some(bodies) = self.bodies.as_ref().filter(|_| self.bodies_dirty) {
            bodies.sync()?;
            self.bodies_dirty = false;
        }
        self.sync_records()
    }

    fn sync_records(&mut self) -> Result<(), Trouble> {
        self.records.sync()?;
        self.shared.queue.release(std::mem::take(&mut self.written_bytes));
        self.shared.publish(self.mark());
        for (index, done) in self.written.drain(..) {
            // Whoever dropped the ticket does not want to know.
            let _ = done.send(Ok(index));
        }
        self.shared.tell();
        Ok(())
    }

    fn mark(&self) -> Mark {
        Mark {
            next: self.next,
            segment: self.records.first(),
            segment_length: self.records.length(),
            bodies: self.bodies.as_ref().map(|bodies| (bodies.first(), bodies.length())),
        }
    }

    /// Tries whether the disk has some room again, and not only for what waited.
    fn probe(&mut self) -> Result<(), Trouble> {
        self.rotate()?;
        self.records.make_room()
    }

    /// Answers those that must not wait for a disk to be freed, and keeps the others.
    fn refuse_strict(&mut self, why: &str) {
        let mut waiting = self.shared.queue.set_full(why);
        self.backlog.extend(waiting.drain(..));
        let mut freed = 0;
        for waiting in std::mem::take(&mut self.backlog) {
            if waiting.durability == Durability::Lazy {
                self.backlog.push_back(waiting);
            } else {
                freed += waiting.charge();
                let _ = waiting.done.send(Err(Refused::Full(why.to_owned())));
            }
        }
        self.shared.queue.release(freed);
    }

    /// Syncs what is left and gives back the room made ahead.
    fn finish(&mut self) -> Result<(), Trouble> {
        self.sync()?;
        self.records.finish()?;
        self.bodies.as_mut().map_or(Ok(()), AppendFile::finish)
    }

    fn fail(&mut self, why: String) {
        tracing::error!("the audit journal stopped, because its disk failed: {why}");
        self.end(JournalState::Failed(why.clone()), &Refused::Failed(why));
    }

    /// Answers everybody who still waits.
    fn end(&mut self, state: JournalState, refusal: &Refused) {
        let late = self.shared.queue.set_state(state);
        for waiting in late.into_iter().chain(self.backlog.drain(..)) {
            let _ = waiting.done.send(Err(refusal.clone()));
        }
        for (_, done) in self.written.drain(..) {
            let _ = done.send(Err(refusal.clone()));
        }
    }
}

/// Marks the journal as failed when the thread ends by a panic; the tickets resolve as their senders are dropped.
struct Guard(Arc<Shared>);

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.queue.set_state(JournalState::Failed("the writer panicked".to_owned()));
        }
    }
}
