//! Data directories as the journal writes them, and what may become of them.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::audit::checkpoint::{CheckpointFile, Notes};
use crate::audit::journal::{Durability, Entry, Journal, JournalOptions, LogId, RealDisk};

/// Records in the log; the last checkpoint covers them all.
const RECORDS: u64 = 60;

/// A data directory with several segments and bodies, and two checkpoints at 25 and at the end.
fn written() -> (TempDir, PathBuf) {
    let home = tempfile::tempdir().expect("a temporary folder");
    let root = home.path().join("data");
    let log = LogId(std::array::from_fn(|i| (i * 0x11) as u8));
    let options = JournalOptions { segment_max: 3_000, log: Some(log), ..JournalOptions::new(&root) };
    let (journal, _) = Journal::open(options).expect("a journal");
    for index in 0..RECORDS {
        let body = index.is_multiple_of(3).then(|| format!("sealed body {index}").into_bytes());
        let entry = Entry { tail: tail(index, body.as_deref()), body };
        assert_eq!(journal.append(entry, Durability::Strict).wait(), Ok(index));
    }
    journal.close();
    checkpoint(&root, 25);
    checkpoint(&root, RECORDS);
    (home, root)
}

/// Signs a checkpoint over the first `size` records as they stand on the disk.
fn checkpoint(root: &Path, size: u64) {
    let mut tree = crate::audit::merkle::Frontier::default();
    leaves(root).iter().take(size as usize).for_each(|leaf| tree.append(leaf_hash(leaf)));
    assert_eq!(tree.size(), size);
    let mut file = CheckpointFile::open(&RealDisk, &root.join("checkpoints"), &key(1).verifying()).unwrap();
    let previous = file.last().map(Note::hash);
    let checkpoint = Checkpoint { log: LOG.to_owned(), size, root: tree.root(), at_us: size, previous, config: None };
    file.append(checkpoint.sign(&key(1))).unwrap();
}

/// Reads the records as plainly as the format allows.
fn leaves(root: &Path) -> Vec<Vec<u8>> {
    let mut leaves = Vec::new();
    for path in files(root, "journal") {
        let bytes = fs::read(path).unwrap();
        let mut at = 36;
        while let Some(head) = bytes.get(at..at + 4).filter(|head| **head != [0; 4]) {
            let length = u32::from_le_bytes(head.try_into().unwrap()) as usize;
            leaves.push(bytes[at + 8..at + 8 + length].to_vec());
            at += 8 + length;
        }
    }
    leaves
}

fn files(root: &Path, folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn flip(path: &Path, at: u64, mask: u8) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ mask], at).unwrap();
}

fn verified(root: &Path) -> Verification {
    verify_log(root, &trusting(&key(1)), &mut |_, _| {})
}

#[test]
fn a_log_as_it_was_written_is_believed() {
    let (_home, root) = written();

    let verification = verified(&root);

    assert_eq!(verification.outcome, Outcome::Sound);
    let report = verification.report;
    assert!(files(&root, "journal").len() > 3, "the log has several segments");
    assert_eq!((report.start, report.end, report.records, report.gaps), (0, RECORDS, RECORDS, 0));
    assert_eq!((report.bodies, report.bodies_gone, report.checkpoints), (20, 0, 2));
    assert!(matches!(report.signed, Signed::Trusted(_)));
    assert_eq!(verdict_of(&root, &trusting(&key(2))), 4);
    assert_eq!(verdict_of(&root, &Trusted::default()), 0);
}

fn verdict_of(root: &Path, trusted: &Trusted) -> u8 {
    verify_log(root, trusted, &mut |_, _| {}).outcome.exit_code()
}

#[test]
fn every_flipped_bit_of_records_bodies_and_checkpoints_is_noticed() {
    let (_home, root) = written();
    let journal = files(&root, "journal");
    let bodies = files(&root, "bodies");
    let end_of = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1
    };

    for path in journal.iter().chain(&bodies).chain([&root.join("checkpoints")]) {
        // A prime stride reaches every kind of byte, of head, frame and content.
        for at in (0..end_of(path)).step_by(13) {
            let mask = 1 << (at % 8);
            flip(path, at, mask);
            let code = verdict_of(&root, &trusting(&key(1)));
            assert!(matches!(code, 1 | 4), "bit {mask:#x} of byte {at} of {}: {code}", path.display());
            flip(path, at, mask);
        }
    }
    assert_eq!(verified(&root).outcome, Outcome::Sound);
}

#[test]
fn a_changed_record_is_named_even_if_its_checksum_was_made_to_fit() {
    let (_home, root) = written();
    let path = &files(&root, "journal")[0];
    let mut bytes = fs::read(path).unwrap();
    let at = bytes.windows(12).position(|window| window == b"\"status\":200").unwrap();
    bytes[at + 9..at + 12].copy_from_slice(b"403");
    let length = u32::from_le_bytes(bytes[36..40].try_into().unwrap()) as usize;
    let mut crc = crc32fast::Hasher::new();
    crc.update(&0_u64.to_le_bytes());
    crc.update(&bytes[44..44 + length]);
    fs::write(path, &bytes).unwrap();
    assert_eq!(code(&verified(&root)), (1, Some(0)), "the checksum does not fit");

    bytes[40..44].copy_from_slice(&crc.finalize().to_le_bytes());
    fs::write(path, &bytes).unwrap();

    assert_eq!(code(&verified(&root)), (1, None), "the root at the first checkpoint differs");
}

#[test]
fn a_log_put_back_to_an_older_state_is_noticed() {
    let (home, root) = written();
    let older = home.path().join("older");
    copy(&root, &older);
    let segments = files(&older, "journal");
    fs::remove_file(segments.last().unwrap()).unwrap();
    let first: u64 = segments.last().unwrap().file_stem().unwrap().to_str().unwrap().parse().unwrap();
    assert!(first > 25);
    assert_eq!(code(&verified(&older)), (1, Some(first)), "behind its own checkpoint");

    // Its checkpoints were put back with it: only somebody who saw the newer one can tell.
    let notes = fs::read_to_string(root.join("checkpoints")).unwrap();
    let mut read = Notes::new(notes.as_bytes());
    let [old, newest] = [(); 2].map(|()| read.next_note().unwrap().unwrap().unwrap());
    fs::write(older.join("checkpoints"), format!("{}\n", old.text())).unwrap();
    let trusted = Trusted { checkpoint: Some(newest.text().to_owned()), ..trusting(&key(1)) };
    assert_eq!(verified(&older).outcome, Outcome::Sound);
    assert_eq!(verdict_of(&older, &trusted), 5);
    assert_eq!(verdict_of(&root, &trusted), 0);
}

#[test]
fn what_is_missing_is_named() {
    let (home, root) = written();
    let broken = |name: &str, what: &Path| {
        let folder = home.path().join(format!("without-{name}"));
        copy(&root, &folder);
        fs::remove_file(folder.join(what.strip_prefix(&root).unwrap())).unwrap();
        verify_log(&folder, &trusting(&key(1)), &mut |_, _| {})
    };
    let segment = &files(&root, "journal")[1];
    let first = segment.file_stem().unwrap().to_str().unwrap().parse().unwrap();

    assert_eq!(code(&broken("segment", segment)), (3, Some(first)));
    assert_eq!(code(&broken("first", &files(&root, "journal")[0])), (3, Some(0)));
    assert_eq!(code(&broken("checkpoints", &root.join("checkpoints"))), (3, None));
    let without = broken("bodies", &files(&root, "bodies")[0]);
    assert_eq!(without.outcome, Outcome::Sound, "bodies are retired by the file");
    assert!(without.report.bodies_gone > 0);
    assert_eq!(verdict_of(home.path(), &trusting(&key(1))), 2);
}

#[test]
fn erased_bodies_and_retired_records_leave_the_proof_whole() {
    let (_home, root) = written();
    let bodies = &files(&root, "bodies")[0];
    let bytes = fs::read(bodies).unwrap();
    let length = u32::from_le_bytes(bytes[36..40].try_into().unwrap()) as usize;
    let file = OpenOptions::new().write(true).open(bodies).unwrap();
    file.write_all_at(&vec![0; length], 36 + 16).unwrap();
    let segments = files(&root, "journal");
    let first_of = |path: &Path| path.file_stem().unwrap().to_str().unwrap().parse::<u64>().unwrap();
    let count = first_of(&segments[1]);
    let mut head = fs::read(&segments[0]).unwrap()[..32].to_vec();
    head[..8].copy_from_slice(b"BURSARL1");
    head.extend(count.to_le_bytes());
    let hashes: Vec<u8> = leaves(&root).iter().take(count as usize).flat_map(|leaf| leaf_hash(leaf).0).collect();
    let crc = crc32fast::hash(&[&head[..], &hashes].concat());
    fs::create_dir(root.join("leaves")).unwrap();
    let retired = root.join(format!("leaves/{:020}.leaves", 0));
    fs::write(&retired, [&head[..], &crc.to_le_bytes(), &hashes].concat()).unwrap();

    let both = verified(&root);
    fs::remove_file(&segments[0]).unwrap();
    let one = verified(&root);

    assert_eq!((both.outcome, both.report.bodies_gone, both.report.gaps), (Outcome::Sound, 1, 0));
    assert_eq!((one.outcome, one.report.gaps), (Outcome::Sound, count));
    flip(&retired, 60, 4);
    assert_eq!(code(&verified(&root)), (1, Some(0)));
}

#[test]
fn what_a_kill_leaves_behind_the_last_checkpoint_is_no_fault() {
    let (_home, root) = written();
    let last = files(&root, "journal").pop().unwrap();
    let mut bytes = fs::read(&last).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    bytes.truncate(end);
    let frame = bytes[36..].to_vec();
    fs::write(&last, [&bytes[..], &frame[..30]].concat()).unwrap();

    let torn = verified(&root);
    fs::write(&last, &bytes[..end - 5]).unwrap();
    let cut = verified(&root);

    assert_eq!((torn.outcome, torn.report.torn_bytes), (Outcome::Sound, 30));
    assert_eq!(code(&cut), (1, Some(RECORDS - 1)), "the last checkpoint covers it");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arbitrary_bytes_in_place_of_the_books_are_judged_without_harm(
        head in any::<bool>(), bytes in vec(any::<u8>(), 0..2_000), notes in ".{0,300}", leaf in vec(any::<u8>(), 0..90),
    ) {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("journal")).unwrap();
        let mut segment = b"BURSARJ1".to_vec();
        segment.extend([0; 24]);
        segment.extend(crc32fast::hash(&segment).to_le_bytes());
        let segment = if head { [segment, bytes].concat() } else { bytes };
        fs::write(home.path().join(format!("journal/{:020}.journal", 0)), segment).unwrap();
        fs::write(home.path().join("checkpoints"), &notes).unwrap();

        let verification = verified(home.path());

        prop_assert_eq!(verification.report.records, 0);
        prop_assert!(Note::parse(&notes).is_err());
        prop_assert!(VerifyingKey::parse(&notes).is_none());
        prop_assert!(leaf_head(&leaf).is_none());
    }
}
