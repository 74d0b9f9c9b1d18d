//! Whether a data directory is the log that was signed: every record from the first on, the checkpoints, the bodies.
//!
//! A running gateway does not disturb it: what stands behind the last checkpoint need not be whole yet.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Take};
use std::path::Path;

use serde::Deserialize;

use super::segment::{Bodies, Kind, Next, Part, Segment, parts, retired};
use super::{Fault, FaultKind, Outcome, Progress, Report, Signed, Trusted, Verification, leaf_head};
use crate::audit::checkpoint::{Chain, Note, NoteError, Notes, VerifyingKey, origin};
use crate::audit::merkle::{Frontier, Hash, leaf_hash};

/// Verifies the data directory `root`; `progress` is told how many bytes of the journal are done.
pub fn verify_log(root: &Path, trusted: &Trusted, progress: &mut Progress<'_>) -> Verification {
    let mut report = Report::default();
    let outcome = match run(root, trusted, progress, &mut report) {
        Ok(()) => Outcome::Sound,
        Err(fault) => Outcome::Wrong(fault),
    };
    Verification { outcome, report }
}

fn run(root: &Path, trusted: &Trusted, progress: &mut Progress<'_>, report: &mut Report) -> Result<(), Fault> {
    // Checkpoints before records: a running gateway may sign one meanwhile, of records that were not looked at.
    let checks = Checks::new(root, trusted)?;
    let segments = parts(root, Kind::Segment)?;
    let leaves = parts(root, Kind::Leaves)?;
    if segments.is_empty() {
        let what = format!("`{}` is no data directory: it has no journal", root.display());
        return Err(Fault::new(FaultKind::Usage, what));
    }
    let mut walk = Walk { tree: Frontier::default(), checks, bodies: Bodies::new(root), log: None, report };
    let walked = walk.run(&segments, &leaves, progress);
    walk.report.end = walk.tree.size();
    walk.report.size = walk.tree.size();
    walk.report.root = Some(walk.tree.root());
    walk.report.log.clone_from(&walk.log);
    walked?;
    walk.checks.finish(&walk.tree, walk.report)
}

/// What was signed of the log, held against it as it grows.
struct Checks {
    notes: Option<Notes<BufReader<Take<File>>>>,
    chain: Chain,
    next: Option<Note>,
    last: Option<Note>,
    trusted: Option<Note>,
    key: Option<VerifyingKey>,
}

impl Checks {
    fn new(root: &Path, trusted: &Trusted) -> Result<Self, Fault> {
        let path = root.join("checkpoints");
        let opened = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let notes = match opened {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(Fault::unread(&path, &error)),
            Ok((length, file)) => Some(Notes::new(BufReader::new(file.take(length)))),
        };
        let seen = trusted.checkpoint.as_deref().map(|text| {
            let note = Note::parse(text)?;
            trusted.key.map_or(Ok(()), |key| note.verify(&key))?;
            Ok(note)
        });
        let seen = seen
            .transpose()
            .map_err(|why: NoteError| Fault::new(FaultKind::Signature, format!("the trusted checkpoint: {why}")))?;
        let mut checks =
            Self { notes, chain: Chain::default(), next: None, last: None, trusted: seen, key: trusted.key };
        checks.advance()?;
        Ok(checks)
    }

    fn advance(&mut self) -> Result<(), Fault> {
        self.last = self.next.take().or(self.last.take());
        let Some(notes) = &mut self.notes else { return Ok(()) };
        let read = notes.next_note().map_err(|error| Fault::unread(Path::new("checkpoints"), &error))?;
        if let Some(note) = read {
            let number = self.chain.notes();
            let note = note.map_err(|why| Fault::tampered(format!("checkpoint {number}: {why}")))?;
            self.chain.follow(&note).map_err(|why| Fault::tampered(why.to_string()))?;
            self.next = Some(note);
        }
        Ok(())
    }

    /// Holds the tree against every checkpoint of its size.
    fn at(&mut self, tree: &Frontier) -> Result<(), Fault> {
        while let Some(note) = self.next.as_ref().filter(|note| note.checkpoint().size == tree.size()) {
            fits(note, tree, "a checkpoint")?;
            self.advance()?;
        }
        match &self.trusted {
            Some(note) if note.checkpoint().size == tree.size() => fits(note, tree, "the trusted checkpoint"),
            _ => Ok(()),
        }
    }

    /// Returns how many records something was signed of that is still ahead.
    fn ahead(&self) -> Option<u64> {
        self.next.as_ref().map(|note| note.checkpoint().size)
    }

    fn finish(&self, tree: &Frontier, report: &mut Report) -> Result<(), Fault> {
        let size = tree.size();
        if let Some(ahead) = self.ahead() {
            let what = format!("the log has {size} records, but a checkpoint was signed at {ahead}");
            return Err(Fault::at(size, what));
        }
        if let Some(note) = self.trusted.as_ref().filter(|note| note.checkpoint().size > size) {
            let covered = note.checkpoint().size;
            let what = format!("the log has {size} records, the trusted checkpoint covers {covered}");
            return Err(Fault::new(FaultKind::Older, what));
        }
        for note in self.last.iter().chain(&self.trusted) {
            if Some(&note.checkpoint().log) != report.log.as_ref() {
                return Err(Fault::tampered("a checkpoint is of another log"));
            }
        }
        report.checkpoints = self.chain.notes();
        let Some(last) = &self.last else {
            let what = "no checkpoint was signed of this log, so nothing shows that it was not changed";
            return if size == 0 { Ok(()) } else { Err(Fault::new(FaultKind::Incomplete, what)) };
        };
        if let Some(key) = &self.key {
            // The last note names the hash of the one before it, and so on: its signature vouches for all.
            last.verify(key).map_err(|why| Fault::new(FaultKind::Signature, format!("the last checkpoint: {why}")))?;
            report.signed = Signed::Trusted(key.text(&origin(&last.checkpoint().log)));
        }
        Ok(())
    }
}

fn fits(note: &Note, tree: &Frontier, whose: &str) -> Result<(), Fault> {
    if tree.root() == note.checkpoint().root {
        return Ok(());
    }
    let size = tree.size();
    Err(Fault::tampered(format!("the first {size} records do not give the root of {whose}: one of them was changed")))
}

/// The walk over the whole log.
struct Walk<'a> {
    tree: Frontier,
    checks: Checks,
    bodies: Bodies,
    log: Option<String>,
    report: &'a mut Report,
}

impl Walk<'_> {
    fn run(&mut self, segments: &[Part], leaves: &[Part], progress: &mut Progress<'_>) -> Result<(), Fault> {
        let length = |part: &Part| std::fs::metadata(&part.path).map_or(0, |metadata| metadata.len());
        let total = segments.iter().map(length).sum();
        let mut done = 0;
        self.checks.at(&self.tree)?;
        let last = segments.last().map_or(0, |part| part.first);
        while self.tree.size() <= last {
            let at = |part: &&Part| part.first == self.tree.size();
            if let Some(part) = segments.iter().find(at) {
                self.segment(part, part.first == last, &mut |read| progress(done + read, total))?;
                done += length(part);
                if part.first == last {
                    break;
                }
            } else if let Some(part) = leaves.iter().find(at) {
                self.retired(part)?;
            } else {
                let missing = self.tree.size();
                let what = format!("record {missing} is missing: neither its segment nor its hash is there");
                return Err(Fault { index: Some(missing), ..Fault::new(FaultKind::Incomplete, what) });
            }
        }
        progress(total, total);
        Ok(())
    }

    fn belongs(&mut self, log: &str, part: &Part) -> Result<(), Fault> {
        if self.log.get_or_insert_with(|| log.to_owned()) == log {
            return Ok(());
        }
        Err(Fault::at(part.first, format!("`{}` belongs to another log", part.path.display())))
    }

    fn retired(&mut self, part: &Part) -> Result<(), Fault> {
        let (log, hashes) = retired(part)?;
        self.belongs(&log, part)?;
        if hashes.is_empty() {
            return Err(Fault::at(part.first, format!("`{}` holds no hash", part.path.display())));
        }
        self.report.gaps += hashes.len() as u64;
        for hash in hashes {
            self.tree.append(hash);
            self.checks.at(&self.tree)?;
        }
        Ok(())
    }

    fn segment(&mut self, part: &Part, is_last: bool, progress: &mut dyn FnMut(u64)) -> Result<(), Fault> {
        let mut segment = Segment::open(part)?;
        self.belongs(segment.log(), part)?;
        loop {
            let index = self.tree.size();
            match segment.next(index)? {
                Next::Leaf => {}
                Next::End if index > part.first || is_last => return Ok(()),
                Next::Bad if is_last && !segment.was_whole(index)? && self.checks.ahead().is_none() => {
                    let (length, offset) = segment.extent();
                    self.report.torn_bytes = length - offset;
                    return Ok(());
                }
                Next::End | Next::Bad => {
                    let offset = segment.extent().1;
                    let what = format!("record {index} is damaged: `{}` at byte {offset}", part.path.display());
                    return Err(Fault::at(index, what));
                }
            }
            let leaf = segment.leaf();
            if leaf_head(leaf) != Some((segment.log(), index)) {
                return Err(Fault::at(index, format!("what stands in the place of record {index} is not that record")));
            }
            self.tree.append(leaf_hash(leaf));
            self.checks.at(&self.tree)?;
            self.report.records += 1;
            self.body(segment.log(), index, leaf)?;
            if self.report.records.is_multiple_of(4_096) {
                progress(segment.extent().1);
            }
        }
    }

    fn body(&mut self, log: &str, index: u64, leaf: &[u8]) -> Result<(), Fault> {
        #[derive(Deserialize)]
        struct Told<'a> {
            body: &'a str,
            body_hash: Hash,
        }
        // The place of a body stands right behind the index; most records have none and are not read any further.
        let head = &leaf[..leaf.len().min(120)];
        if !head.windows(8).any(|window| window == b"\"body\":\"") {
            return Ok(());
        }
        let told: Told<'_> = serde_json::from_slice(leaf)
            .map_err(|error| Fault::at(index, format!("record {index} names its body wrongly: {error}")))?;
        match self.bodies.hash(log, index, told.body)? {
            None => self.report.bodies_gone += 1,
            Some(hash) if hash == told.body_hash => self.report.bodies += 1,
            Some(_) => return Err(Fault::at(index, format!("the body of record {index} is not the one it was"))),
        }
        Ok(())
    }
}
