//! Old records leave journal and index, and the log stays the same tree.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use actix::{Actor, System};
use arc_swap::ArcSwapOption;
use bursar_actors::Clock;
use bursar_actors::audit::checkpoint::{CheckpointFile, SigningKey};
use bursar_actors::audit::filter::Filter;
use bursar_actors::audit::journal::{Durability, Entry, Journal, JournalOptions, RealDisk};
use bursar_actors::audit::log::{
    AuditLog, Fetch, FirstSince, Follower, LogError, LogOptions, Prove, Retire, SignCheckpoint, index_path,
};
use bursar_actors::audit::merkle::{Hash, inclusion_proof, leaf_hash, verify_inclusion};
use bursar_actors::audit::retire::retired_to;
use bursar_actors::store::{AuditStore, Field, request_hash};

const RECORDS: u64 = 2_600;

fn open(folder: &Path) -> Journal {
    let pruned_to = retired_to(folder, &RealDisk).expect("the hashes");
    let options = JournalOptions { segment_max: 20_000, pruned_to, ..JournalOptions::new(folder) };
    Journal::open(options).expect("the journal opens").0
}

/// A journal whose record *n* is of moment *n*, about request `r<n>` of team `care`, of user `u_<n % 100>`.
fn journal(folder: &Path) -> Journal {
    let journal = open(folder);
    for n in 0..RECORDS {
        let tail = format!(
            "\"at_us\":{n},\"phase\":\"refused\",\"request\":\"r{n}\",\"team\":\"care\",\"user\":\"u_{}\"}}",
            n % 100
        );
        let ticket = journal.append(Entry { tail: tail.into_bytes(), body: None }, Durability::Lazy);
        // A group is not divided among segments.
        if n % 100 == 99 || n + 1 == RECORDS {
            ticket.wait().expect("taken");
        }
    }
    journal
}

fn follower(journal: &Journal) -> (Follower, bool) {
    Follower::open(journal, &mut |_, _| {}).expect("the index opens")
}

fn none_held() -> BTreeSet<String> {
    BTreeSet::new()
}

/// Every record that a search finds, the latest first.
fn found(follower: &mut Follower, filter: &Filter) -> Vec<u64> {
    let (mut found, mut before) = (Vec::new(), u64::MAX);
    loop {
        let page = follower.search(filter, before, 700).expect("found");
        found.extend(page.records.iter().map(|(index, _)| *index));
        let Some(next) = page.next else { return found };
        before = next;
    }
}

#[track_caller]
fn assert_one_log(follower: &mut Follower, first: u64, root: Hash, leaf: Hash) {
    assert_eq!((follower.index().size(), follower.index().root()), (RECORDS, root));
    assert_eq!(follower.index().first(), first);
    let proof = inclusion_proof(follower.index(), 7, RECORDS).expect("a proof of a retired record");
    assert!(verify_inclusion(&leaf, 7, RECORDS, &proof, &root));
    assert!(follower.record(7).expect("read").is_none());
    assert!(follower.record(first).expect("read").is_some());
    let left: Vec<u64> = (first..RECORDS).rev().collect();
    let by_team = Filter { terms: vec![(Field::Team, "care".into())], ..Filter::default() };
    for filter in [Filter::default(), by_team] {
        assert_eq!(found(follower, &filter), left);
    }
    let of = |n: u64| Filter { request: Some(format!("r{n}")), ..Filter::default() };
    assert!(found(follower, &of(first - 1)).is_empty());
    assert_eq!(found(follower, &of(first)), [first]);
}

#[test]
fn retired_records_are_proven_and_not_found_and_the_rest_stays_also_in_an_index_made_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let journal = journal(folder.path());
    let (mut index, _) = follower(&journal);
    let root = index.index().root();
    let leaf = leaf_hash(&index.record(7).expect("read").expect("there"));

    let once = index.retire(2_500, 2, &none_held()).expect("retired");
    let rest = index.retire(2_500, u64::MAX, &none_held()).expect("retired");

    let first = once.records + rest.records;
    assert_eq!(once.segments, 2);
    // Behind the last whole block of the index, whose tail is made of the journal at every start.
    assert!((2_049..=2_500).contains(&first), "{first}");
    assert_one_log(&mut index, first, root, leaf);
    drop(index);
    journal.close();

    let store = AuditStore::open(&index_path(folder.path())).expect("the store opens");
    for n in [0, 7, 1_023, 1_024, 2_047] {
        assert!(store.maybe_about(request_hash(&format!("r{n}")), n / 1_024).expect("read").is_empty(), "{n}");
    }
    for number in [0, 1] {
        for (field, value) in [(Field::Team, "care"), (Field::User, "u_7"), (Field::Phase, "refused")] {
            assert!(store.holders(field, value, number).expect("read").is_empty(), "{number} {value}");
        }
    }
    drop(store);
    for made_anew in [false, true] {
        if made_anew {
            AuditStore::discard(&index_path(folder.path())).expect("removed");
        }
        let journal = open(folder.path());
        let (mut index, rebuilt) = follower(&journal);
        assert!(!rebuilt);
        assert_one_log(&mut index, first, root, leaf);
        journal.close();
    }
}

#[test]
fn only_what_goes_is_taken_out_of_a_block_that_stays_in_part() {
    let folder = tempfile::tempdir().expect("a folder");
    let journal = journal(folder.path());
    let (mut index, _) = follower(&journal);

    let first = index.retire(500, u64::MAX, &none_held()).expect("retired").records;

    assert!((1..=500).contains(&first));
    drop(index);
    journal.close();
    let store = AuditStore::open(&index_path(folder.path())).expect("the store opens");
    let holders = store.holders(Field::Team, "care", 0).expect("read");
    assert_eq!(holders, (first as u16..1_024).collect::<Vec<_>>());
}

#[test]
fn a_hold_keeps_the_users_records() {
    let folder = tempfile::tempdir().expect("a folder");
    let journal = journal(folder.path());
    let (mut index, _) = follower(&journal);

    let held = index.retire(2_500, u64::MAX, &["u_0".to_owned()].into()).expect("nothing");

    assert_eq!((held.segments, held.kept_for), (0, Some(0)));
    assert!(index.record(0).expect("read").is_some());
    journal.close();
}

#[test]
fn hashes_that_are_missing_or_changed_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let journal = journal(folder.path());
    let (mut index, _) = follower(&journal);
    index.retire(2_500, 2, &none_held()).expect("retired");
    drop(index);
    AuditStore::discard(&index_path(folder.path())).expect("removed");
    let leaves = folder.path().join("leaves");
    let names: Vec<_> = fs::read_dir(&leaves).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    let last = names.iter().max().expect("a file").clone();
    let whole = fs::read(&last).expect("read");
    let fault = || Follower::open(&journal, &mut |_, _| {}).err().expect("refused");

    fs::remove_file(&last).expect("removed");
    let missing = fault();
    let mut changed = whole.clone();
    changed[70] ^= 1;
    fs::write(&last, changed).expect("written");
    let damaged = fault();
    fs::write(&last, whole).expect("written");

    assert!(missing.to_string().contains("are missing") && missing.is_tampering(), "{missing}");
    assert!(damaged.to_string().contains("checksum") && damaged.is_tampering(), "{damaged}");
    assert_eq!(follower(&journal).0.index().size(), RECORDS);
    journal.close();
}

#[test]
fn the_actor_retires_and_says_so_of_a_retired_record() {
    let folder = tempfile::tempdir().expect("a folder");
    let journal = journal(folder.path());
    let signing = SigningKey::parse(&"ab".repeat(32)).expect("a key");
    let checkpoints = CheckpointFile::open(&RealDisk, &folder.path().join("checkpoints"), &signing.verifying());
    let checkpoints = checkpoints.expect("opened");
    let options = LogOptions {
        path: folder.path().into(),
        signing,
        checkpoint_every: std::time::Duration::from_secs(60),
        wall: Arc::new(|| 0),
        clock: Clock::system(),
        config: Arc::new(ArcSwapOption::empty()),
    };
    let log = AuditLog::open(journal.clone(), checkpoints, options, &mut |_, _| {}).expect("the log opens");

    System::new().block_on(async {
        let log = log.start();
        let signed = log.send(SignCheckpoint).await.expect("alive").expect("signed").expect("a note");
        assert_eq!(log.send(FirstSince(1_500)).await.expect("alive").expect("found"), 1_500);
        let retire = Retire { before_us: 1_500, segments_max: u64::MAX, held: none_held() };
        let retired = log.send(retire).await.expect("alive").expect("retired");
        assert!(retired.records > 0);

        let fetched = log.send(Fetch(7)).await.expect("alive").expect_err("retired");
        let proof = log.send(Prove::Inclusion { index: 7, size: None }).await.expect("alive").expect("read");
        let proof = proof.expect("a proof");

        assert!(matches!(fetched, LogError::Retired { index: 7, first } if first == retired.records), "{fetched}");
        assert_eq!(proof.root, signed.checkpoint().root);
        assert!(verify_inclusion(&proof.leaf.expect("its hash"), 7, proof.size, &proof.path, &proof.root));
        assert!(log.send(Fetch(retired.records)).await.expect("alive").expect("read").is_some());
        assert!(log.send(Fetch(RECORDS)).await.expect("alive").expect("read").is_none());
    });
    journal.close();
}
