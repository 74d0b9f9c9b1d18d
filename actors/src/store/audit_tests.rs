//! That the index keeps what it was given, whole blocks of it, and notices what is none of its own.

use proptest::prelude::*;

use super::*;
use crate::audit::merkle::{Frontier, leaf_hash};

fn leaf(index: u64) -> Hash {
    leaf_hash(&index.to_be_bytes())
}

/// Block `number`, in segments of 700 records, each third record with the term.
fn block(number: u64) -> Block {
    let indices = number * BLOCK..(number + 1) * BLOCK;
    let mut postings = Postings::default();
    (0..BLOCK as u16).filter(|record| record % 3 == 0).for_each(|record| postings.add(Field::Team, "support", record));
    Block {
        places: indices.clone().map(place).collect(),
        leaves: indices.clone().map(leaf).collect(),
        times: indices.collect(),
        postings,
        requests: vec![(request_hash(&format!("request-{number}")), 7)],
    }
}

fn place(index: u64) -> Place {
    Place { segment: index / 700 * 700, offset: (index % 700) as u32 * 1_000 }
}

#[test]
fn what_was_committed_is_found_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = AuditStore::open(folder.path()).unwrap();
    let open = [Open { call: 3, index: 2_047 }];
    (0..3).for_each(|number| store.commit(&block(number), &open).unwrap());
    store.flush().unwrap();
    drop(store);

    let store = AuditStore::open(folder.path()).unwrap();

    assert_eq!(store.applied().unwrap(), 3 * BLOCK);
    assert_eq!(store.open_requests().unwrap(), open);
    assert_eq!(store.spans().unwrap()[1], Span { from_us: 1_024, to_us: 2_047 });
    assert_eq!(store.places(2).unwrap().unwrap(), (2_048..3_072).map(place).collect::<Vec<_>>());
    assert_eq!(store.maybe_about(request_hash("request-1"), 1).unwrap(), [7]);
    assert!(store.maybe_about(request_hash("request-1"), 0).unwrap().is_empty());
    let blocks: Vec<_> = store.blocks_with(Field::Team, "support", 0..2).map(|found| found.unwrap().0).collect();
    assert_eq!(blocks, [1, 0], "the last first, within the range");
    assert_eq!(store.holders(Field::Team, "support", 2).unwrap().len(), 342);
    assert!(store.holders(Field::Team, "suppor", 2).unwrap().is_empty());
}

#[test]
fn the_tiles_give_the_root_of_a_plain_tree() {
    let folder = tempfile::tempdir().unwrap();
    let store = AuditStore::open(folder.path()).unwrap();
    (0..5).for_each(|number| store.commit(&block(number), &[]).unwrap());
    let mut plain = Frontier::default();
    (0..5 * BLOCK).for_each(|index| plain.append(leaf(index)));

    let root = crate::audit::merkle::root_at(&store, 5 * BLOCK);

    assert_eq!(root, Some(plain.root()));
    assert_eq!(store.subtree(0, 5 * BLOCK), None);
}

#[test]
fn a_damaged_file_is_an_error_or_an_empty_index_and_never_a_panic() {
    for damage in 0..8 {
        let folder = tempfile::tempdir().unwrap();
        let store = AuditStore::open(folder.path()).unwrap();
        (0..4).for_each(|number| store.commit(&block(number), &[]).unwrap());
        store.flush().unwrap();
        drop(store);
        let file = folder.path().join("db");
        let mut bytes = fs::read(&file).unwrap();
        let at = bytes.len() * damage / 8;
        bytes[at..].iter_mut().take(64).for_each(|byte| *byte ^= 0xff);
        fs::write(&file, bytes).unwrap();

        let opened = AuditStore::open(folder.path()).and_then(|store| store.applied());

        assert!(opened.map_or(true, |applied| applied <= 4 * BLOCK));
        AuditStore::discard(folder.path()).unwrap();
        assert_eq!(AuditStore::open(folder.path()).unwrap().applied().unwrap(), 0);
    }
}

proptest! {
    #[test]
    fn places_come_back(segments in prop::collection::vec(1_usize..9, 1..20), offset in any::<u32>()) {
        let runs = segments.iter().enumerate();
        let places = runs.flat_map(|(segment, length)| vec![Place { segment: segment as u64, offset }; *length]);
        let places: Vec<Place> = places.collect();
        let block = Block { places: places.clone(), ..Block::default() };

        prop_assert_eq!(decode_places(&encode_places(&block)).unwrap(), places);
    }
}
