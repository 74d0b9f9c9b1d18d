//! Files that are not as they were left: torn ends are cut, anything else is told and nothing is changed.

use std::fs;
use std::path::{Path, PathBuf};

use bursar_actors::audit::journal::{Durability, Journal, JournalError, JournalOptions, JournalReader, RealDisk};

use crate::{entry, fault_of, notes, numbered, open, shared, with_body, write};

fn segment(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("journal/{first:020}.journal"))
}

/// Where each frame of a segment ends, the header's end first.
fn ends(bytes: &[u8]) -> Vec<usize> {
    let mut ends = vec![36];
    while let Some(head) = bytes.get(ends[ends.len() - 1]..).and_then(|rest| rest.get(..4)) {
        let length = u32::from_le_bytes(head.try_into().expect("four bytes")) as usize;
        ends.push(ends[ends.len() - 1] + 8 + length);
    }
    ends
}

#[test]
fn an_end_torn_at_any_byte_gives_the_records_before_it() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), 3);
    let path = segment(folder.path(), 0);
    let whole = fs::read(&path).expect("it reads");
    let ends = ends(&whole);

    for cut in 36..=whole.len() {
        // With and without room made ahead behind it.
        for zeros in [0, 5000] {
            let mut torn = whole[..cut].to_vec();
            torn.resize(cut + zeros, 0);
            fs::write(&path, torn).expect("it writes");
            let kept = ends.iter().filter(|&&end| end <= cut).count() - 1;

            let (journal, recovery) = open(folder.path());

            assert_eq!(recovery.next_index, kept as u64, "cut at {cut}");
            assert_eq!(recovery.torn_records, 0);
            // A frame may end in its file with zeros of its own length; no more than that may be missing.
            let torn_bytes =
                whole[ends[kept]..cut].iter().rposition(|&byte| byte != 0).map_or(0, |last| last as u64 + 1);
            assert_eq!(recovery.torn_bytes, torn_bytes, "cut at {cut}");
            let index = journal.append(entry(&format!("r{kept}")), Durability::Strict).wait();
            assert_eq!(index, Ok(kept as u64));
            drop(journal);
            assert_eq!(notes(folder.path()), numbered(kept + 1));
        }
    }
}

#[test]
fn a_bit_changed_anywhere_before_the_last_record_is_told_and_nothing_is_cut() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), 5);
    let path = segment(folder.path(), 0);
    let whole = fs::read(&path).expect("it reads");
    let ends = ends(&whole);

    for at in 0..ends[4] {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        fs::write(&path, &changed).expect("it writes");
        let damaged = ends.iter().filter(|&&end| end <= at).count().saturating_sub(1) as u64;

        match fault_of(JournalOptions::new(folder.path())) {
            JournalError::Corrupt { file, index, offset, .. } => {
                assert_eq!((file, index), (path.clone(), damaged), "byte {at}");
                assert!(offset <= at as u64);
            }
            other => panic!("byte {at}: {other}"),
        }
        assert_eq!(fs::read(&path).expect("it reads"), changed, "it was changed after byte {at}");
    }
}

#[test]
fn a_changed_last_record_is_a_torn_end_unless_it_is_known_to_have_been_durable() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), 5);
    let path = segment(folder.path(), 0);
    let mut changed = fs::read(&path).expect("it reads");
    *changed.last_mut().expect("it is not empty") ^= 1;
    fs::write(&path, &changed).expect("it writes");

    let fault = fault_of(JournalOptions { durable_floor: 5, ..JournalOptions::new(folder.path()) }).to_string();
    assert!(fault.contains("ends with 4 records, but 5 are known to have been durable"), "{fault}");
    assert_eq!(fs::read(&path).expect("it reads"), changed);
    assert_eq!(open(folder.path()).1.next_index, 4);
}

#[test]
fn sectors_that_a_loss_of_power_kept_from_the_disk_are_a_torn_end_and_are_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), 40);
    let path = segment(folder.path(), 0);
    let whole = fs::read(&path).expect("it reads");
    let mut torn = whole.clone();
    torn[1024..2048].fill(0);
    fs::write(&path, &torn).expect("it writes");
    let kept = ends(&whole).iter().filter(|&&end| end <= 1024).count() - 1;

    let fault = fault_of(JournalOptions { durable_floor: 40, ..JournalOptions::new(folder.path()) });
    assert!(matches!(fault, JournalError::Corrupt { .. }));
    let (journal, recovery) = open(folder.path());

    assert_eq!(recovery.next_index, kept as u64);
    assert!(recovery.torn_records > 10, "{recovery:?}");
    drop(journal);
    assert_eq!(notes(folder.path()), numbered(kept));
    let aside = fs::read(folder.path().join(format!("journal/{kept:020}.torn"))).expect("it was kept");
    assert_eq!(aside, torn[ends(&whole)[kept]..]);
}

/// Writes 40 records to segments of about five.
fn write_segments(folder: &Path) -> Vec<u64> {
    let options = JournalOptions { segment_max: 500, ..JournalOptions::new(folder) };
    let (journal, _) = Journal::open(options).expect("it opens");
    for n in 0..40 {
        assert!(journal.append(entry(&format!("r{n}")), Durability::Strict).wait().is_ok());
    }
    drop(journal);
    let mut firsts: Vec<u64> = fs::read_dir(folder.join("journal"))
        .expect("a folder")
        .map(|entry| entry.expect("it lists").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "journal"))
        .map(|path| path.file_stem().and_then(|stem| stem.to_str()?.parse().ok()).expect("a number"))
        .collect();
    firsts.sort_unstable();
    assert!(firsts.len() > 5, "{firsts:?}");
    firsts
}

fn index_at_fault(folder: &Path) -> u64 {
    match fault_of(JournalOptions::new(folder)) {
        JournalError::Corrupt { index, .. } => index,
        other => panic!("{other}"),
    }
}

#[test]
fn a_missing_foreign_or_shortened_segment_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let firsts = write_segments(folder.path());
    let other = tempfile::tempdir().expect("a folder");
    assert_eq!(write_segments(other.path()), firsts);
    let path = segment(folder.path(), firsts[2]);
    let whole = fs::read(&path).expect("it reads");

    fs::remove_file(&path).expect("it is removed");
    assert_eq!(index_at_fault(folder.path()), firsts[3] - 1, "missing");
    fs::copy(segment(other.path(), firsts[2]), &path).expect("it copies");
    assert_eq!(index_at_fault(folder.path()), firsts[2], "foreign");
    fs::copy(segment(folder.path(), firsts[1]), &path).expect("it copies");
    assert_eq!(index_at_fault(folder.path()), firsts[2], "another segment of the same log");
    for cut in [0, 20, 36, whole.len() - 1, ends(&whole)[1]] {
        fs::write(&path, &whole[..cut]).expect("it writes");
        index_at_fault(folder.path());
    }
    fs::write(&path, &whole).expect("it writes");
    fs::remove_file(segment(folder.path(), 0)).expect("it is removed");
    assert_eq!(index_at_fault(folder.path()), firsts[1], "the first one is missing");

    let pruned = JournalOptions { pruned_to: firsts[1], ..JournalOptions::new(folder.path()) };
    let (_, recovery) = Journal::open(pruned).expect("a pruned log opens");
    assert_eq!((recovery.first_index, recovery.next_index), (firsts[1], 40));
}

#[test]
fn damage_in_the_middle_of_an_old_segment_is_found_by_reading() {
    let folder = tempfile::tempdir().expect("a folder");
    let firsts = write_segments(folder.path());
    let path = segment(folder.path(), firsts[2]);
    let mut bytes = fs::read(&path).expect("it reads");
    bytes[60] ^= 4;
    fs::write(&path, bytes).expect("it writes");

    let mut reader = JournalReader::open(shared(RealDisk), folder.path()).expect("it reads");
    let fault = loop {
        match reader.next(40) {
            Ok(leaf) => assert!(leaf.is_some(), "the damage was passed over"),
            Err(fault) => break fault,
        }
    };

    assert!(
        matches!(&fault, JournalError::Corrupt { file, index, .. } if (file, *index) == (&path, firsts[2])),
        "{fault}"
    );
}

#[test]
fn a_journal_that_vanished_beside_its_bodies_is_not_begun_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(folder.path());
    assert!(journal.append(with_body("r0", b"sealed"), Durability::Strict).wait().is_ok());
    drop(journal);
    fs::remove_file(segment(folder.path(), 0)).expect("it is removed");

    let words = fault_of(JournalOptions::new(folder.path())).to_string();

    assert!(words.contains("all segments of the journal are missing"), "{words}");
}

#[test]
fn lost_bodies_are_counted_and_bodies_without_a_record_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(folder.path());
    for n in 0..3 {
        assert!(journal.append(with_body(&format!("r{n}"), &[9; 100]), Durability::Strict).wait().is_ok());
    }
    drop(journal);
    let bodies = folder.path().join("bodies/00000000000000000000.bodies");
    let whole = fs::read(&bodies).expect("it reads");
    fs::write(&bodies, &whole[..whole.len() - 1]).expect("it writes");
    let orphan = folder.path().join("bodies/00000000000000000009.bodies");
    fs::copy(&bodies, &orphan).expect("it copies");
    fs::write(folder.path().join("journal/00000000000000000003.journal.new"), "half").expect("it writes");

    let (journal, recovery) = open(folder.path());

    assert_eq!((recovery.next_index, recovery.bodies_lost), (3, 1));
    assert!(!orphan.exists());
    assert!(!folder.path().join("journal/00000000000000000003.journal.new").exists());
    assert_eq!(fs::read(&bodies).expect("it reads").len(), whole.len() - 1, "a body that a record names was cut");
    assert!(journal.append(with_body("r3", &[1; 10]), Durability::Strict).wait().is_ok());
    drop(journal);
    fs::remove_file(&bodies).expect("it is removed");
    assert_eq!(open(folder.path()).1.bodies_lost, 3);
}

#[test]
fn nothing_but_a_journal_is_read() {
    let folder = tempfile::tempdir().expect("a folder");

    let words =
        JournalReader::open(shared(RealDisk), folder.path()).map(|_| ()).expect_err("there is none").to_string();

    assert!(words.contains("there is no audit journal"), "{words}");
}
