//! The journal over real files: what is acknowledged stays, what is damaged is told, and a bad disk is borne.

#[path = "../support/faulty_disk.rs"]
mod faulty_disk;

mod damage;
mod disks;
mod kills;
mod writing;

use std::path::Path;
use std::sync::Arc;

use bursar_actors::audit::journal::{
    BodyPosition, Disk, Durability, Entry, Journal, JournalError, JournalOptions, JournalReader, RealDisk, Recovery,
};

/// A record as callers write it, told apart by `text`.
fn entry(text: &str) -> Entry {
    Entry { tail: format!("\"at_us\":1,\"note\":\"{text}\"}}").into_bytes(), body: None }
}

fn with_body(text: &str, body: &[u8]) -> Entry {
    Entry { body: Some(body.to_vec()), ..entry(text) }
}

fn open(path: &Path) -> (Journal, Recovery) {
    Journal::open(JournalOptions::new(path)).expect("the journal opens")
}

fn fault_of(options: JournalOptions) -> JournalError {
    Journal::open(options).map(|_| ()).expect_err("the journal must not open")
}

/// Writes `count` records, each durable before the next, and closes the journal.
fn write(path: &Path, count: usize) {
    let (journal, recovery) = open(path);
    for n in 0..count {
        let index = journal.append(entry(&format!("r{n}")), Durability::Strict).wait().expect("it is taken");
        assert_eq!(index, recovery.next_index + n as u64);
    }
    journal.close();
}

/// Reads all records of a journal at rest: their notes, in order.
fn notes(path: &Path) -> Vec<String> {
    let reader = JournalReader::open(Arc::new(RealDisk), path).expect("there is a journal");
    let end = reader.end().expect("its end is sound");
    notes_below(reader, end)
}

fn notes_below(mut reader: JournalReader, bound: u64) -> Vec<String> {
    let mut notes = Vec::new();
    let log = reader.log_id();
    let mut expected = reader.first_index();
    while let Some(leaf) = reader.next(bound).expect("it reads") {
        let text = String::from_utf8(leaf.bytes.to_vec()).expect("leaves are text");
        let prefix = format!("{{\"v\":1,\"log\":\"{log}\",\"index\":{expected},");
        assert!(text.starts_with(&prefix), "{text}");
        assert_eq!(leaf.index, expected);
        let (_, note) = text.split_once("\"note\":\"").expect("every record of these tests has a note");
        notes.push(note.trim_end_matches("\"}").to_owned());
        expected += 1;
    }
    assert_eq!(expected, bound);
    notes
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("r{n}")).collect()
}

fn body_of(reader: &JournalReader, leaf: &[u8], index: u64) -> Option<Vec<u8>> {
    let place = BodyPosition::of_leaf(leaf, reader.log_id()).expect("the record names a body");
    reader.read_body(index, place).expect("it reads")
}

fn shared<D: Disk + 'static>(disk: D) -> Arc<dyn Disk> {
    Arc::new(disk)
}
