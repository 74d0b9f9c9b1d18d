//! The books under fire: whatever happens to requests, process and disk, the log tells each request once and whole.

mod disks;
mod endings;
mod kills;
mod requests;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bursar_actors::audit::checkpoint::{Chain, Notes, SigningKey};
use bursar_actors::audit::journal::{JournalReader, RealDisk};
use bursar_actors::audit::merkle::{Frontier, Hash, leaf_hash};
use serde_json::Value;

use crate::harness::{Bursar, SOON};
use crate::process::Place;

/// All records of a log, in their order, and the hashes of their bytes.
pub struct Ledger {
    pub records: Vec<Value>,
    leaves: Vec<Hash>,
}

/// How the requests of a log ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    pub admitted: u64,
    pub served: u64,
    pub failed: u64,
    pub cancelled: u64,
    /// Closed by a later start.
    pub abandoned: u64,
    pub open: u64,
    pub refused: u64,
}

/// A request within a log: the run of the process, counted by its starts, and its number there.
type Call = (usize, u64);

impl Ledger {
    /// Reads the log in a data directory that no process holds.
    #[track_caller]
    pub fn at_rest(data: &Path) -> Self {
        let reader = JournalReader::open(Arc::new(RealDisk), data).unwrap();
        let end = reader.end().unwrap();
        Self::read(reader, end)
    }

    /// Reads the log of a running gateway once every request in it has ended.
    #[track_caller]
    pub fn settled(bursar: &Bursar) -> Self {
        bursar.books();
        let journal = bursar.gateway.books.as_ref().unwrap().journal();
        let begun = Instant::now();
        loop {
            let ledger = Self::read(journal.reader().unwrap(), journal.durable());
            let totals = ledger.totals();
            let waiting = bursar.client().get("/metrics").text();
            let admitted = crate::harness::Books::read(&waiting).admitted;
            if totals.open == 0 && totals.admitted + totals.refused == admitted {
                return ledger;
            }
            assert!(begun.elapsed() < SOON, "{admitted} requests came, the log tells {totals:?}");
        }
    }

    #[track_caller]
    fn read(mut reader: JournalReader, end: u64) -> Self {
        let (mut records, mut leaves) = (Vec::new(), Vec::new());
        while let Some(leaf) = reader.next(end).unwrap() {
            let record: Value = serde_json::from_slice(leaf.bytes).unwrap();
            assert_eq!(record["index"], leaf.index, "no gap, none twice");
            assert!(leaf.bytes.len() <= 2_048, "{record}");
            leaves.push(leaf_hash(leaf.bytes));
            records.push(record);
        }
        assert_eq!(records.len() as u64, end);
        Self { records, leaves }
    }

    /// Holds the records against each other: every end belongs to one admission and follows it.
    #[track_caller]
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        let mut run = 0;
        let mut open: BTreeMap<Call, &Value> = BTreeMap::new();
        let mut seen: BTreeMap<Call, ()> = BTreeMap::new();
        for record in &self.records {
            let call = (run, record["call"].as_u64().unwrap_or(u64::MAX));
            match record["phase"].as_str().unwrap() {
                "start" => {
                    assert!(open.is_empty(), "a start closes what was open: {open:?}");
                    run += 1;
                }
                "admitted" => {
                    assert_eq!(seen.insert(call, ()), None, "admitted twice: {record}");
                    open.insert(call, record);
                    totals.admitted += 1;
                }
                // Those that found the journal full are counted.
                "refused" if record["count"].is_u64() => totals.refused += record["count"].as_u64().unwrap(),
                "refused" => {
                    assert_eq!(seen.insert(call, ()), None, "admitted and refused: {record}");
                    totals.refused += 1;
                }
                phase @ ("completed" | "abandoned") => {
                    let admitted =
                        open.remove(&call).unwrap_or_else(|| panic!("it ends without having begun: {record}"));
                    for field in ["request", "action", "asked", "alias", "actor", "team", "user"] {
                        assert_eq!(admitted[field], record[field], "{admitted} {record}");
                    }
                    match (phase, record["outcome"].as_str().unwrap()) {
                        ("completed", "served") => totals.served += 1,
                        ("completed", "failed") => totals.failed += 1,
                        ("completed", "cancelled") => totals.cancelled += 1,
                        ("abandoned", "unknown") => totals.abandoned += 1,
                        other => panic!("{other:?}: {record}"),
                    }
                }
                _ => {}
            }
        }
        totals.open = open.len() as u64;
        let ended = totals.served + totals.failed + totals.cancelled + totals.abandoned;
        assert_eq!(totals.admitted, ended + totals.open, "{totals:?}");
        totals
    }

    /// Holds all checkpoints of a place at rest against the records, and the last against all of them.
    #[track_caller]
    pub fn is_signed(&self, place: &Place) {
        let (key, _) = SigningKey::open(&place.path().join("data.keys/audit.ed25519")).unwrap();
        let text = std::fs::read(place.data().join("checkpoints")).unwrap();
        let mut notes = Notes::new(text.as_slice());
        let (mut chain, mut tree, mut last) = (Chain::default(), Frontier::default(), 0);
        while let Some(note) = notes.next_note().unwrap() {
            let note = note.unwrap();
            chain.follow(&note).unwrap();
            assert_eq!(note.verify(&key.verifying()), Ok(()));
            last = note.checkpoint().size as usize;
            self.leaves[tree.size() as usize..last].iter().for_each(|leaf| tree.append(*leaf));
            assert_eq!(note.checkpoint().root, tree.root(), "at {last} records");
        }
        assert_eq!(last, self.leaves.len(), "the last checkpoint covers everything");
    }

    /// Returns the records of a request in one phase.
    pub fn of(&self, request: &str, phase: &str) -> Vec<&Value> {
        self.records.iter().filter(|record| record["request"] == request && record["phase"] == phase).collect()
    }

    /// Returns the one record of a request that tells its end.
    #[track_caller]
    pub fn end_of(&self, request: &str) -> &Value {
        let ends = self.of(request, "completed");
        assert_eq!(ends.len(), 1, "{ends:?}");
        ends[0]
    }
}
