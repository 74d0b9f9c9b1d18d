//! Journal, vault and retention together: a subject is forgotten, old records go, and the log stays one log.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use bursar_actors::audit::journal::{
    BodyPosition, Durability, Entry, Journal, JournalOptions, JournalReader, LogId, RealDisk,
};
use bursar_actors::audit::merkle::{Hash, leaf_hash};
use bursar_actors::audit::retire::{Due, LeafFile, RetireError, retire};
use bursar_actors::vault::bodies::Bodies;
use bursar_actors::vault::{MasterKey, Month, Subject, Vault, VaultError};

const RECORDS: u64 = 90;
const USERS: [Option<&str>; 3] = [Some("ann"), Some("bob"), None];

struct Books {
    journal: Journal,
    vault: Arc<Vault>,
    bodies: Bodies,
}

fn open(folder: &Path, pruned_to: u64) -> Books {
    let master = MasterKey::parse(&"0123456789abcdef".repeat(4)).expect("a key");
    let options = JournalOptions { segment_max: 1_024, pruned_to, ..JournalOptions::new(folder) };
    let (journal, _) = Journal::open(options).expect("the journal opens");
    let vault = Arc::new(Vault::open(folder, &master, Arc::new(RealDisk)).expect("the vault opens").0);
    let keys = vault.clone();
    journal.sync_first(move || keys.sync());
    Books { journal, vault, bodies: Bodies::new(folder, Arc::new(RealDisk)) }
}

fn aad(n: u64) -> Vec<u8> {
    format!("log|request {n}|body").into_bytes()
}

fn text(n: u64) -> String {
    format!("record {n} says heliotrope-7731 ").repeat(9)
}

/// Writes record `n` with a body and returns its index once it is durable.
fn write(books: &Books, n: u64) -> u64 {
    let subject = Subject { team: "care", user: USERS[n as usize % 3], month: Month::of_micros(0) };
    let sealed = books.vault.seal(&subject, &aad(n), &[text(n).as_bytes()]).expect("sealed");
    let tail = format!("\"at_us\":1,\"note\":\"{n}\"}}").into_bytes();
    let index = books.journal.append(Entry { tail, body: Some(sealed.bytes) }, Durability::Strict).wait();
    assert!(!books.vault.is_dirty(), "the key is durable before the record is acknowledged");
    index.expect("it is taken")
}

/// Every record that is left: its leaf hash, and where its body is.
fn leaves(reader: &mut JournalReader, log: LogId, bound: u64) -> Vec<(Hash, u64, BodyPosition)> {
    let mut leaves = Vec::new();
    while let Some(leaf) = reader.next(bound).expect("it reads") {
        leaves.push((
            leaf_hash(leaf.bytes),
            leaf.index,
            BodyPosition::of_leaf(leaf.bytes, log).expect("it has a body"),
        ));
    }
    leaves
}

/// What becomes of a body: its text, or why there is none.
fn content(books: &Books, index: u64, position: BodyPosition) -> Result<Vec<u8>, VaultError> {
    books.vault.unseal(&aad(index), &books.bodies.read(position, index)?)
}

fn lies_in(folder: &Path, needle: &[u8]) -> bool {
    fs::read_dir(folder).expect("a folder").any(|entry| {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            return lies_in(&path, needle);
        }
        fs::read(path).expect("a file").windows(needle.len()).any(|window| window == needle)
    })
}

#[test]
fn a_log_whose_subjects_and_old_records_are_forgotten_is_still_one_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let books = open(root, 0);
    let log = books.journal.log_id();
    for n in 0..RECORDS {
        assert_eq!(write(&books, n), n);
    }
    let all = leaves(&mut books.journal.reader().expect("a reader"), log, RECORDS);
    assert!(all.iter().all(|(_, n, place)| content(&books, *n, *place).is_ok_and(|body| body == text(*n).as_bytes())));

    assert_eq!(books.vault.erase("care", "ann").expect("erased"), 1);
    let wiped = books.bodies.wipe_erased(&books.vault, books.journal.durable()).expect("wiped");

    assert_eq!(wiped.wiped, RECORDS / 3);
    for (_, n, place) in &all {
        let content = content(&books, *n, *place);
        match USERS[*n as usize % 3] {
            Some("ann") => assert!(matches!(content, Err(VaultError::Erased)), "{n}: {content:?}"),
            _ => assert_eq!(content.expect("readable"), text(*n).as_bytes()),
        }
    }
    assert!(!lies_in(root, b"heliotrope"));

    let due = Due { before: RECORDS / 2, segments_max: u64::MAX };
    let retired = retire(root, due, &RealDisk, |_| false, |_| Ok::<_, RetireError>(())).expect("retired");
    let dropped = books.bodies.drop_before(&books.vault, retired.records).expect("dropped");
    write(&books, RECORDS);
    books.journal.close();

    assert!(retired.segments > 1 && retired.records <= RECORDS / 2 && dropped.files > 0, "{retired:?} {dropped:?}");
    let files = LeafFile::all(root, &RealDisk).expect("the hashes");
    let pruned_to = files.last().expect("a file").end();
    let books = open(root, pruned_to);
    assert_eq!((pruned_to, books.journal.durable()), (retired.records, RECORDS + 1));
    let mut hashes: Vec<Hash> = files
        .iter()
        .flat_map(|file| (file.first()..file.end()).map(|n| file.hash(n).expect("read").expect("a hash")))
        .collect();
    let mut reader = books.journal.reader().expect("a reader");
    assert_eq!(reader.first_index(), pruned_to);
    hashes.extend(leaves(&mut reader, log, RECORDS).iter().map(|(hash, ..)| *hash));
    assert!(hashes.iter().eq(all.iter().map(|(hash, ..)| hash)), "every leaf of the tree is still known");
    let (_, first, place) = all[0];
    assert!(matches!(content(&books, first, place), Err(VaultError::Dropped { .. })));
    let (_, last, place) = all[RECORDS as usize - 1];
    assert_eq!(content(&books, last, place).expect("readable"), text(last).as_bytes());
    books.journal.close();
}

#[test]
fn a_guess_cannot_be_confirmed_once_the_user_is_erased() {
    let folder = tempfile::tempdir().expect("a folder");
    let books = open(folder.path(), 0);
    let hash = |user| {
        books
            .vault
            .content_hash(&Subject { team: "care", user, month: Month::of_micros(0) }, b"I am ill")
            .expect("a hash")
    };
    let (ann, nobody) = (hash(Some("ann")), hash(None));
    books.vault.expire(Month::of_micros(u64::MAX / 2)).expect("expired");
    assert_eq!(hash(Some("ann")), ann, "what a record says is proven for as long as the record is kept");

    assert_eq!(books.vault.erase("care", "ann").expect("erased"), 1);

    assert_ne!(hash(Some("ann")), ann);
    assert_eq!(hash(None), nobody);
    books.journal.close();
}
