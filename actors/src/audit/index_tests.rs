//! What the index finds, beside what a plain reading of all records finds.

use proptest::prelude::*;

use super::*;
use crate::audit::merkle::root_at;

/// Records in memory, each at the offset of its index.
struct Log(Vec<Vec<u8>>);

impl Log {
    fn of(count: u64) -> Self {
        let leaf = |index: u64| {
            let (call, team) = (index / 2, ["support", "research", "clinic"][(index / 5 % 3) as usize]);
            let phase = if index.is_multiple_of(2) { "admitted" } else { "completed" };
            format!(
                r#"{{"v":1,"index":{index},"at_us":{at},"phase":"{phase}","request":"r{call}","call":{call},"team":"{team}","actor":"key{}","action":"chat"}}"#,
                index % 7,
                at = 1_000 * index,
            )
        };
        Self((0..count).map(|index| leaf(index).into_bytes()).collect())
    }

    fn follow(&self, index: &mut Index) {
        for at in index.size()..self.0.len() as u64 {
            index.add(&self.0[at as usize], Place { segment: 0, offset: at as u32 }).unwrap();
        }
    }

    fn find(&self, index: &Index, filter: &Filter, limit: usize) -> Vec<u64> {
        let mut read = |at: u64, place: Place| {
            assert_eq!(u64::from(place.offset), at);
            Ok(Some(self.0[at as usize].clone()))
        };
        let (mut found, mut before) = (Vec::new(), u64::MAX);
        loop {
            let page = index.search(filter, before, limit, &mut read).unwrap();
            found.extend(page.records.iter().map(|(index, _)| *index));
            let Some(next) = page.next else { return found };
            before = next;
        }
    }

    fn plainly(&self, filter: &Filter) -> Vec<u64> {
        let fits = |index: &u64| filter.fits(&Gist::of(&self.0[*index as usize]));
        (0..self.0.len() as u64).rev().filter(fits).collect()
    }
}

fn indexed(log: &Log) -> (tempfile::TempDir, Index) {
    let folder = tempfile::tempdir().unwrap();
    let mut index = Index::open(folder.path()).unwrap();
    log.follow(&mut index);
    (folder, index)
}

#[test]
fn every_filter_finds_what_a_plain_reading_finds() {
    let log = Log::of(3 * BLOCK + 321);
    let (_folder, index) = indexed(&log);
    let term = |field, value: &str| (field, value.to_owned());
    let filters = [
        Filter::default(),
        Filter { terms: vec![term(Field::Team, "clinic")], ..Filter::default() },
        Filter { terms: vec![term(Field::Team, "clinic"), term(Field::Actor, "key3")], ..Filter::default() },
        Filter { terms: vec![term(Field::Team, "clinic"), term(Field::Team, "support")], ..Filter::default() },
        Filter {
            terms: vec![term(Field::Phase, "completed")],
            from_us: Some(900_000),
            to_us: Some(2_100_500),
            ..Filter::default()
        },
        Filter { from_us: Some(3_300_000), ..Filter::default() },
        Filter { terms: vec![term(Field::User, "nobody")], ..Filter::default() },
        Filter { request: Some("r700".into()), ..Filter::default() },
        Filter { request: Some("r1600".into()), ..Filter::default() },
        Filter { request: Some("r1600".into()), terms: vec![term(Field::Phase, "admitted")], ..Filter::default() },
    ];
    for filter in filters {
        for limit in [1, 7, 1_000] {
            assert_eq!(log.find(&index, &filter, limit), log.plainly(&filter), "{filter:?} by {limit}");
        }
    }
}

/// Opens an index that was closed just now. A child that another test forks meanwhile holds its lock until it executes
/// its program.
fn reopened(path: &Path) -> Index {
    let begun = std::time::Instant::now();
    loop {
        match Index::open(path) {
            Err(StoreError::Unusable(why)) if why.contains("lock") && begun.elapsed().as_secs() < 10 => {
                std::thread::yield_now();
            }
            opened => return opened.unwrap(),
        }
    }
}

#[test]
fn after_opening_again_it_goes_on_where_the_store_ends() {
    let log = Log::of(2 * BLOCK + 5);
    let (folder, index) = indexed(&log);
    let root = index.root();
    let open = index.open_requests().clone();
    drop(index);

    let mut index = reopened(folder.path());
    assert_eq!(index.size(), 2 * BLOCK, "what fills no block is read again");
    log.follow(&mut index);

    assert_eq!((index.root(), index.open_requests()), (root, &open));
    assert_eq!(open, [(BLOCK + 2, 2 * BLOCK + 4)].into());
}

#[test]
fn the_root_of_every_earlier_size_is_known() {
    let log = Log::of(BLOCK + 300);
    let (_folder, index) = indexed(&log);
    let mut plain = Frontier::default();
    for (size, leaf) in (1..).zip(&log.0) {
        plain.append(leaf_hash(leaf));
        if size % 97 == 0 || size > BLOCK + 290 {
            assert_eq!(root_at(&index, size), Some(plain.root()), "{size}");
        }
    }
}

#[test]
fn a_span_of_time_is_covered_even_if_the_clock_jumped() {
    let at = |index: u64| if index == 5 { 9_000_000 } else { 1_000 * index };
    let leaf = |index: u64| format!(r#"{{"at_us":{}}}"#, at(index)).into_bytes();
    let log = Log((0..2 * BLOCK + 20).map(leaf).collect());
    let (_folder, index) = indexed(&log);

    assert_eq!(index.covering(None, None), Some(0..2 * BLOCK + 20));
    assert_eq!(index.covering(Some(8_999_999), None), Some(0..BLOCK));
    assert_eq!(index.covering(Some(2_052_000), Some(2_055_000)), Some(0..2 * BLOCK + 7));
    assert_eq!(index.covering(Some(9_000_001), None), None);
    assert_eq!(index.covering(Some(1_100_000), Some(1_100_001)), Some(0..2 * BLOCK));
}

#[test]
fn long_terms_with_one_beginning_hide_none_of_their_records() {
    let long = "m".repeat(200);
    let leaf =
        |index: u64| format!(r#"{{"at_us":{index},"phase":"refused","asked":"{long}{}"}}"#, index % 2).into_bytes();
    let log = Log((0..BLOCK + 3).map(leaf).collect());
    let (_folder, index) = indexed(&log);

    for end in ["0", "1"] {
        let filter = Filter { terms: vec![(Field::Asked, format!("{long}{end}"))], ..Filter::default() };
        assert_eq!(log.find(&index, &filter, 100), log.plainly(&filter));
    }
}

#[test]
fn many_records_of_one_request_come_by_pages() {
    let leaf = |index: u64| format!(r#"{{"at_us":{index},"phase":"refused","request":"mine"}}"#).into_bytes();
    let log = Log((0..BLOCK + 300).map(leaf).collect());
    let (_folder, index) = indexed(&log);
    let filter = Filter { request: Some("mine".into()), ..Filter::default() };

    assert_eq!(log.find(&index, &filter, 50), log.plainly(&filter));
}

#[test]
fn what_is_no_record_of_ours_is_kept_and_not_found() {
    let (_folder, mut index) = indexed(&Log::of(0));

    index.add(b"{}", Place { segment: 0, offset: 0 }).unwrap();
    index.add(br#"{"phase":"of_the_future","at_us":1,"team":"a"}"#, Place { segment: 0, offset: 2 }).unwrap();

    assert_eq!(index.size(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn pages_of_any_size_come_to_the_same(count in 1_u64..2_500, limit in 1_usize..400, actor in 0..9) {
        let log = Log::of(count);
        let (_folder, index) = indexed(&log);
        let filter = Filter { terms: vec![(Field::Actor, format!("key{actor}"))], ..Filter::default() };

        prop_assert_eq!(log.find(&index, &filter, limit), log.plainly(&filter));
    }
}
