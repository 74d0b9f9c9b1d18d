//! What an index does that fails while the gateway runs.

use super::*;
use crate::audit::journal::{Durability, Entry, JournalOptions, RealDisk};

fn open(folder: &Path, clock: Clock) -> (AuditLog, Journal) {
    let journal = Journal::open(JournalOptions::new(folder)).expect("it opens").0;
    let signing = SigningKey::random();
    let checkpoints =
        CheckpointFile::open(&RealDisk, &folder.join("checkpoints"), &signing.verifying()).expect("there are none");
    let options = LogOptions {
        path: folder.to_owned(),
        signing,
        checkpoint_every: Duration::from_secs(60),
        wall: Arc::new(|| 1),
        clock,
        config: Arc::default(),
    };
    let log = AuditLog::open(journal.clone(), checkpoints, options, &mut |_, _| {}).expect("it opens");
    (log, journal)
}

fn append(journal: &Journal, count: usize) {
    for _ in 0..count {
        let tail = br#""at_us":1,"phase":"start","action":"start"}"#.to_vec();
        journal.append(Entry { tail, body: None }, Durability::Strict).wait().expect("there is room");
    }
}

#[test]
fn an_index_that_keeps_failing_is_made_again_at_once_and_then_with_rests() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Clock::manual();
    let (mut log, journal) = open(folder.path(), clock.clone());
    append(&journal, 5);
    let broken = || StoreError::Unusable("the disk is gone".into());
    let rebuilds = |log: &AuditLog| log.view.rebuilds.load(Ordering::Relaxed);

    assert!(log.mend(broken()).is_ok());
    assert_eq!((rebuilds(&log), log.follower.index.size()), (1, 5));
    append(&journal, 1);
    assert!(log.mend(broken()).is_err());
    for _ in 0..3 {
        let why = log.catch_up().expect_err("it rests").to_string();
        assert_eq!(why, "the index of the books cannot be used: the disk is gone");
    }
    assert_eq!((rebuilds(&log), log.follower.index.size()), (1, 5), "a broken index takes nothing in");
    log.tick();
    assert!(log.view.fault.load().is_some());
    clock.advance(REBUILD_REST);
    log.tick();

    assert_eq!((rebuilds(&log), log.follower.index.size()), (2, 6));
    assert!(log.view.fault.load().is_none());
}

#[test]
fn a_record_that_cannot_be_read_is_the_journals_fault_and_costs_no_index() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut log, journal) = open(folder.path(), Clock::manual());
    append(&journal, 5);
    log.catch_up().expect("it follows");
    let place = log.follower.index.place(2).expect("the index is sound").expect("there is a record 2");
    let segment = folder.path().join(format!("journal/{:020}.journal", place.segment));
    let mut bytes = std::fs::read(&segment).expect("the segment is there");
    bytes[place.offset as usize + 20] ^= 1;
    std::fs::write(&segment, bytes).expect("changed");

    let fetched = log.with_index(|follower| follower.record(2)).expect_err("it is damaged");
    let found = log.with_index(|follower| follower.search(&Filter::default(), u64::MAX, 10)).expect_err("likewise");

    for fault in [fetched, found] {
        assert!(matches!(&fault, LogError::Journal(why) if why.to_string().contains("record 2")), "{fault}");
    }
    assert_eq!(log.view.rebuilds.load(Ordering::Relaxed), 0);
    assert!(log.with_index(|follower| follower.record(1)).expect("the others are read").is_some());
}

#[test]
fn an_index_that_points_to_the_wrong_place_is_made_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut log, journal) = open(folder.path(), Clock::manual());
    append(&journal, 5);
    log.catch_up().expect("it follows");
    let place = log.follower.index.place(2).expect("the index is sound").expect("there is a record 2");
    let astray = Place { offset: place.offset + 8, ..place };

    let why = read(&mut log.follower.seeker, 2, astray).expect_err("no record stands there");

    assert!(matches!(why, LogError::Store(StoreError::Unusable(_))), "{why}");
}
