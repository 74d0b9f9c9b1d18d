//! That old segments become their hashes without anything being lost on the way.

use std::fs;

use tempfile::TempDir;

use super::*;
use crate::audit::journal::RealDisk;
use crate::vault::stopping::stop_everywhere;

const LOG: LogId = LogId([9; 16]);

/// A journal with segments of these first indices, the last of which holds three records; and all leaf hashes.
fn journal(firsts: &[u64]) -> (TempDir, Vec<Hash>) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("journal")).expect("a folder");
    let prefix = frame::Prefix::new(LOG);
    let mut hashes = Vec::new();
    for (n, first) in firsts.iter().enumerate() {
        let end = firsts.get(n + 1).copied().unwrap_or(first + 3);
        let mut bytes = frame::header(Kind::Journal, LOG, *first).to_vec();
        for index in *first..end {
            let start = bytes.len() + RECORD_HEAD;
            let tail = format!("\"note\":\"{}\"}}", "x".repeat((index as usize * 37) % 1_900));
            prefix.push_record(&mut bytes, index, None, tail.as_bytes());
            hashes.push(leaf_hash(&bytes[start..]));
        }
        bytes.resize(bytes.len() + 10_000, 0);
        fs::write(segment(&folder, *first), bytes).expect("written");
    }
    (folder, hashes)
}

fn segment(folder: &TempDir, first: u64) -> PathBuf {
    folder.path().join(format!("journal/{first:020}.journal"))
}

fn segments(folder: &TempDir) -> Vec<u64> {
    let files = numbered(&RealDisk, &folder.path().join("journal"), "journal").expect("listed");
    files.into_iter().map(|(first, _)| first).collect()
}

fn hashes(folder: &TempDir) -> Vec<Hash> {
    let files = LeafFile::all(folder.path(), &RealDisk).expect("hashes that can be read");
    assert!(files.iter().all(|file| file.log() == LOG && file.hash(file.end()).expect("read").is_none()));
    let hashes: Vec<Hash> = files
        .iter()
        .flat_map(|file| (file.first()..file.end()).map(|index| file.hash(index).expect("read").expect("a hash")))
        .collect();
    for from in [0, hashes.len() / 3, hashes.len()] {
        let rest: Vec<Hash> = files.iter().flat_map(|file| file.hashes_from(from as u64).expect("read")).collect();
        assert_eq!(rest, hashes[from..]);
    }
    hashes
}

fn retire(folder: &Path, before: u64, disk: &dyn Disk, keep: impl Fn(&[u8]) -> bool) -> Result<Retired, RetireError> {
    super::retire(folder, Due { before, segments_max: u64::MAX }, disk, keep, |_| Ok(()))
}

#[test]
fn no_more_segments_go_than_may_and_none_that_is_not_forgotten_elsewhere() {
    let (folder, _) = journal(&[0, 5, 10, 15]);
    let mut told = Vec::new();
    let mut once = |segments_max, refuses: bool| {
        super::retire(
            folder.path(),
            Due { before: 15, segments_max },
            &RealDisk,
            |_| false,
            |records| {
                told.push(records);
                if refuses { Err(damaged(Path::new("index"), "it cannot forget".into())) } else { Ok(()) }
            },
        )
    };

    assert_eq!(once(1, false).expect("retired").records, 5);
    assert!(once(1, true).is_err());
    assert_eq!(segments(&folder), [5, 10, 15]);
    assert_eq!(once(9, false).expect("retired").segments, 2);

    assert_eq!(told, [0..5, 5..10, 5..10, 10..15]);
    assert_eq!(retired_to(folder.path(), &RealDisk).expect("the hashes"), 15);
}

#[test]
fn whole_segments_below_the_bound_become_their_hashes() {
    let (folder, all) = journal(&[0, 2_000, 2_500, 2_501]);

    let retired = retire(folder.path(), 2_500, &RealDisk, |_| false).expect("retired");

    assert_eq!(retired, Retired { segments: 2, records: 2_500, kept_for: None });
    assert_eq!(segments(&folder), [2_500, 2_501]);
    assert_eq!(hashes(&folder), all[..2_500]);
    assert_eq!(retire(folder.path(), 2_500, &RealDisk, |_| false).expect("again"), Retired::default());
    retire(folder.path(), u64::MAX, &RealDisk, |_| false).expect("retired");
    assert_eq!(segments(&folder), [2_501], "the newest stays");
    assert_eq!(hashes(&folder), all[..2_501]);
}

#[test]
fn a_record_that_must_be_kept_keeps_its_segment_and_those_behind() {
    let (folder, _) = journal(&[0, 5, 10, 15]);
    let is_seventh = |leaf: &[u8]| frame::Prefix::new(LOG).strip(leaf).is_some_and(|(index, _)| index == 7);

    let retired = retire(folder.path(), 15, &RealDisk, is_seventh).expect("retired");

    assert_eq!(retired, Retired { segments: 1, records: 5, kept_for: Some(7) });
    assert_eq!(segments(&folder), [5, 10, 15]);
}

#[test]
fn nothing_is_lost_wherever_it_is_stopped() {
    stop_everywhere(|disk, changes| {
        let (folder, all) = journal(&[0, 5, 10, 15]);

        disk.allow(changes);
        let is_done = retire(folder.path(), 15, disk, |_| false).is_ok();

        let left = segments(&folder);
        assert!(hashes(&folder).len() as u64 >= left[0], "{left:?}");
        retire(folder.path(), 15, &RealDisk, |_| false).expect("finished");
        assert_eq!(segments(&folder), [15]);
        assert_eq!(hashes(&folder), all[..15]);
        assert!(!is_done || left == [15]);
        is_done
    });
}

#[test]
fn a_damaged_segment_is_not_thrown_away() {
    let (folder, _) = journal(&[0, 5, 10]);
    let mut bytes = fs::read(segment(&folder, 5)).expect("the segment");
    bytes[300] ^= 1;
    fs::write(segment(&folder, 5), &bytes).expect("written");

    let refused = retire(folder.path(), 10, &RealDisk, |_| false).expect_err("refused").to_string();

    assert!(refused.contains("record 6 at byte") && refused.contains("not touched"), "{refused}");
    assert_eq!(segments(&folder), [5, 10]);
    assert_eq!(fs::read(segment(&folder, 5)).expect("the segment"), bytes);
}

#[test]
fn every_flipped_bit_and_every_gap_of_the_hashes_is_noticed() {
    let (folder, _) = journal(&[0, 3, 6, 9]);
    retire(folder.path(), 9, &RealDisk, |_| false).expect("retired");
    let path = folder.path().join(format!("leaves/{:020}.leaves", 3));
    let whole = fs::read(&path).expect("the hashes");

    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, bytes).expect("written");
        assert!(LeafFile::all(folder.path(), &RealDisk).is_err(), "bit {bit}");
    }
    fs::remove_file(&path).expect("removed");
    let gap = LeafFile::all(folder.path(), &RealDisk).expect_err("a gap").to_string();
    assert!(gap.contains("begins at record 6, where 3 should follow"), "{gap}");
}
