//! A healthy disk: order, gaps, places, rotation, bodies, closing, the lock, and a backup.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bursar_actors::audit::journal::{
    BodyPosition, Durability, Entry, Journal, JournalError, JournalOptions, JournalReader, JournalState, LEAF_MAX,
    RealDisk, Refused,
};

use crate::{body_of, entry, fault_of, notes, notes_below, numbered, open, shared, with_body, write};

#[test]
fn records_come_back_in_order_over_restarts_and_segments() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = JournalOptions { segment_max: 600, ..JournalOptions::new(folder.path()) };

    for round in 0..4_u64 {
        let (journal, recovery) = Journal::open(options.clone()).expect("it opens");
        assert_eq!((recovery.next_index, recovery.torn_bytes, recovery.is_new), (round * 25, 0, round == 0));
        for n in 0..25 {
            let ticket = journal.append(entry(&format!("r{}", round * 25 + n)), Durability::Strict);
            assert_eq!(ticket.wait(), Ok(round * 25 + n));
            assert_eq!(journal.durable(), round * 25 + n + 1);
        }
    }

    assert_eq!(notes(folder.path()), numbered(100));
    let segments = fs::read_dir(folder.path().join("journal")).expect("a folder").count();
    assert!(segments > 10, "{segments} segments");
}

#[test]
fn a_record_is_found_by_index_and_by_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, _) =
        Journal::open(JournalOptions { segment_max: 900, ..JournalOptions::new(folder.path()) }).expect("it opens");
    for n in 0..30 {
        assert!(journal.append(entry(&format!("r{n}")), Durability::Strict).wait().is_ok());
    }

    let mut reader = journal.reader().expect("it reads");
    let mut places = Vec::new();
    while let Some(leaf) = reader.next(journal.durable()).expect("it reads") {
        places.push((leaf.index, leaf.position, leaf.bytes.to_vec()));
    }
    for (index, position, bytes) in places {
        assert_eq!(reader.read_at(index, position).expect("it stands there"), bytes);
        assert!(matches!(reader.read_at(index + 1, position), Err(JournalError::Corrupt { .. })));
        for known in [None, Some(position)] {
            reader.seek(index, known).expect("it is there");
            assert_eq!(reader.next(30).expect("it reads").map(|leaf| leaf.bytes.to_vec()), Some(bytes.clone()));
        }
    }
    assert_eq!(reader.seek(30, None).map(|()| reader.index()).expect("one behind the last may be sought"), 30);
}

#[test]
fn bodies_come_back_with_their_record_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = JournalOptions { segment_max: 2000, ..JournalOptions::new(folder.path()) };
    for round in 0..2 {
        let (journal, recovery) = Journal::open(options.clone()).expect("it opens");
        assert_eq!(recovery.bodies_lost, 0);
        for n in 0..20_u8 {
            let body = vec![n + round * 20; 300];
            let taken = if n % 3 == 0 { with_body("b", &body) } else { entry("n") };
            assert!(journal.append(taken, Durability::Strict).wait().is_ok());
        }
    }

    let mut reader = JournalReader::open(shared(RealDisk), folder.path()).expect("it reads");
    let mut found = Vec::new();
    while let Some(leaf) = reader.next(40).expect("it reads") {
        found.push((leaf.index, leaf.bytes.to_vec()));
    }
    for (index, leaf) in found {
        let has_body = (index % 20) % 3 == 0;
        assert_eq!(BodyPosition::of_leaf(&leaf, reader.log_id()).is_some(), has_body);
        if has_body {
            assert_eq!(body_of(&reader, &leaf, index), Some(vec![index as u8; 300]));
            assert_eq!(body_of(&reader, &leaf, index + 1), None);
        }
    }
}

#[test]
fn many_writers_get_each_index_once_and_find_their_record_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = JournalOptions { segment_max: 20_000, ..JournalOptions::new(folder.path()) };
    let (journal, _) = Journal::open(options).expect("it opens");

    let writers: Vec<_> = (0..64)
        .map(|writer| {
            let journal = journal.clone();
            std::thread::spawn(move || {
                let mut last = None;
                let mut acknowledged = Vec::new();
                for n in 0..20 {
                    let text = format!("w{writer}-{n}");
                    let index = journal.append(entry(&text), Durability::Strict).wait().expect("it is taken");
                    assert!(journal.durable() > index, "told before it was durable");
                    assert!(Some(index) > last, "out of order");
                    last = Some(index);
                    acknowledged.push((index, text));
                }
                acknowledged
            })
        })
        .collect();
    let acknowledged: BTreeMap<u64, String> =
        writers.into_iter().flat_map(|writer| writer.join().expect("no writer panics")).collect();

    let expected: Vec<String> = acknowledged.values().cloned().collect();
    assert_eq!(acknowledged.len(), 64 * 20);
    assert_eq!(acknowledged.keys().copied().collect::<Vec<_>>(), (0..64 * 20).collect::<Vec<u64>>());
    // While it is open, and after.
    assert_eq!(notes_below(journal.reader().expect("it reads"), journal.durable()), expected);
    journal.close();
    assert_eq!(notes(folder.path()), expected);
}

#[test]
fn closing_writes_all_that_waits_and_ends_the_file_with_its_last_record() {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(folder.path());
    let tickets: Vec<_> = (0..500).map(|n| journal.append(entry(&format!("r{n}")), Durability::Lazy)).collect();

    journal.close();

    for (n, mut ticket) in tickets.into_iter().enumerate() {
        assert_eq!(ticket.ready(), Some(Ok(n as u64)));
    }
    assert_eq!(journal.state(), JournalState::Closed);
    assert_eq!(journal.admits(Durability::Lazy), Err(Refused::Closed));
    assert_eq!(journal.append(entry("late"), Durability::Strict).wait(), Err(Refused::Closed));
    assert_eq!(notes(folder.path()), numbered(500));
    let file = fs::read(folder.path().join("journal/00000000000000000000.journal")).expect("it is there");
    assert_ne!(file.last(), Some(&0), "room made ahead is left");
}

#[test]
fn a_lazy_record_becomes_durable_without_a_strict_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(folder.path());

    assert_eq!(journal.append(entry("r0"), Durability::Lazy).wait(), Ok(0));
    assert_eq!(journal.durable(), 1);
}

#[test]
fn followers_hear_how_far_it_is_durable() {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(folder.path());
    let heard = Arc::new(AtomicU64::new(0));
    let hears = heard.clone();
    journal.on_durable(move |durable| hears.store(durable, Ordering::SeqCst));

    write_some(&journal, 3);
    journal.close();

    assert_eq!(heard.load(Ordering::SeqCst), 3);
}

fn write_some(journal: &Journal, count: usize) {
    for n in 0..count {
        assert!(journal.append(entry(&format!("r{n}")), Durability::Strict).wait().is_ok());
    }
}

#[test]
fn a_record_too_long_for_a_frame_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(folder.path());

    let refused = journal
        .append(
            Entry { tail: format!("\"x\":\"{}\"}}", "x".repeat(LEAF_MAX)).into_bytes(), body: None },
            Durability::Lazy,
        )
        .wait();

    assert!(matches!(refused, Err(Refused::TooLong { bound: LEAF_MAX, .. })), "{refused:?}");
    assert_eq!(journal.append(entry("r0"), Durability::Strict).wait(), Ok(0));
}

#[test]
fn a_second_opener_is_refused_with_the_pid_of_the_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(folder.path());

    let words = fault_of(JournalOptions::new(folder.path())).to_string();
    assert!(words.contains(&format!("in use by process {}", std::process::id())), "{words}");

    journal.close();
    drop(open(folder.path()));
}

#[test]
fn another_process_is_refused() {
    const FOLDER: &str = "BURSAR_TEST_LOCKED_FOLDER";
    if let Some(folder) = std::env::var_os(FOLDER) {
        println!("{}", fault_of(JournalOptions::new(folder)));
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (_journal, _) = open(folder.path());

    let child = Command::new(std::env::current_exe().expect("the tests run from a file"))
        .args(["--exact", "writing::another_process_is_refused", "--nocapture"])
        .env(FOLDER, folder.path())
        .output()
        .expect("it starts");

    let said = String::from_utf8_lossy(&child.stdout).into_owned();
    assert!(child.status.success() && said.contains(&format!("process {}", std::process::id())), "{said}");
}

#[test]
fn a_backup_taken_under_load_opens_and_holds_a_prefix_with_its_bodies() {
    let folder = tempfile::tempdir().expect("a folder");
    let copy = tempfile::tempdir().expect("a folder");
    let options = JournalOptions { segment_max: 10_000, ..JournalOptions::new(folder.path()) };
    let (journal, _) = Journal::open(options).expect("it opens");
    fs::write(folder.path().join("checkpoints"), "note").expect("it writes");
    fs::write(folder.path().join("keyring"), "keys").expect("it writes");
    let load = {
        let journal = journal.clone();
        std::thread::spawn(move || {
            for n in 0..600_u32 {
                let taken = with_body(&format!("r{n}"), &n.to_le_bytes().repeat(20));
                assert!(journal.append(taken, Durability::Strict).wait().is_ok());
            }
        })
    };
    while journal.durable() < 100 {
        std::thread::yield_now();
    }

    let to = copy.path().join("backup");
    let backup = journal.backup(&to, &[]).expect("it copies");
    let again = journal.backup(&to, &[]).map(|_| ()).expect_err("a full folder is not written over").to_string();
    load.join().expect("the load ends well");

    assert!(again.contains("has to be empty"), "{again}");
    assert!(backup.records >= 100);
    assert_eq!(notes(&to), numbered(backup.records as usize));
    assert_eq!(fs::read_to_string(to.join("checkpoints")).expect("it is there"), "note");
    let mut reader = JournalReader::open(shared(RealDisk), &to).expect("it reads");
    let mut leaves = Vec::new();
    while let Some(leaf) = reader.next(backup.records).expect("it reads") {
        leaves.push((leaf.index, leaf.bytes.to_vec()));
    }
    for (index, leaf) in leaves {
        assert_eq!(body_of(&reader, &leaf, index), Some((index as u32).to_le_bytes().repeat(20)));
    }
    let (copied, recovery) = open(&to);
    assert_eq!((recovery.next_index, recovery.torn_bytes, recovery.bodies_lost), (backup.records, 0, 0));
    drop(copied);
}

#[test]
fn a_log_of_another_id_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), 2);
    let other = bursar_actors::audit::journal::LogId([7; 16]);

    let words = fault_of(JournalOptions { log: Some(other), ..JournalOptions::new(folder.path()) }).to_string();

    assert!(words.contains("not 07070707070707070707070707070707"), "{words}");
}

#[test]
fn an_erased_body_is_nowhere_and_its_neighbours_stay() {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(folder.path());
    let secret = |n: u8| format!("sealed bytes of {n}").repeat(20).into_bytes();
    for n in 0..3 {
        assert!(journal.append(with_body(&format!("r{n}"), &secret(n)), Durability::Strict).wait().is_ok());
    }
    let mut reader = journal.reader().expect("it reads");
    let mut places = Vec::new();
    while let Some(leaf) = reader.next(3).expect("it reads") {
        places.push(BodyPosition::of_leaf(leaf.bytes, journal.log_id()).expect("it has a body"));
    }

    assert!(!journal.drop_body(0, places[1]).expect("it reads"), "the body of another record");
    assert!(journal.drop_body(1, places[1]).expect("it erases"));
    assert!(!journal.drop_body(1, places[1]).expect("it reads"), "it was erased before");

    drop(journal);
    let file = fs::read(folder.path().join("bodies/00000000000000000000.bodies")).expect("it reads");
    assert!(!file.windows(17).any(|window| window == b"sealed bytes of 1"));
    let (journal, recovery) = open(folder.path());
    assert_eq!((recovery.next_index, recovery.bodies_lost), (3, 1));
    let reader = journal.reader().expect("it reads");
    let bodies: Vec<_> = (0..3).map(|n| reader.read_body(n, places[n as usize]).expect("it reads")).collect();
    assert_eq!(bodies, [Some(secret(0)), None, Some(secret(2))]);
}
