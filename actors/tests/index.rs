//! The index of the books when its files are damaged, emptied, missing, old, or another log's: it comes to the same
//! figures, because all of it is made from the journal.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actix::Actor;
use arc_swap::ArcSwapOption;
use bursar_actors::Clock;
use bursar_actors::audit::checkpoint::{CheckpointFile, SigningKey};
use bursar_actors::audit::filter::Filter;
use bursar_actors::audit::journal::{Durability, Entry, Journal, JournalOptions, RealDisk};
use bursar_actors::audit::log::{AuditLog, LogOptions, Rebuild, Search, SignCheckpoint};
use bursar_actors::audit::merkle::Hash;
use bursar_actors::store::{BLOCK, Field};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// More than three blocks, and a part of one.
const RECORDS: u64 = 3 * BLOCK + 300;

/// What has to be the same whatever happened to the index.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Figures {
    size: u64,
    root: Hash,
    /// What each filter finds, as indices.
    found: Vec<Vec<u64>>,
}

/// A record's JSON behind the prefix. The clock of these goes back now and then.
fn tail(index: u64) -> Vec<u8> {
    let (call, at) = (index / 2, 10_000_000 + 1_000 * index - if index % 700 < 90 { 2_000_000 } else { 0 });
    let phase = if index.is_multiple_of(2) { "admitted" } else { "completed" };
    let team = ["support", "research", "clinic"][(call % 3) as usize];
    format!(
        r#""at_us":{at},"mono_us":{index},"phase":"{phase}","request":"r{call}","actor":"key{}","team":"{team}","action":"chat","call":{call}}}"#,
        call % 7,
    )
    .into_bytes()
}

fn journal(data: &Path) -> Journal {
    Journal::open(JournalOptions::new(data)).unwrap().0
}

fn write(data: &Path, count: u64) {
    let journal = journal(data);
    for index in 0..count {
        drop(journal.append(Entry { tail: tail(index), body: None }, Durability::Lazy));
    }
    journal.close();
}

fn filters() -> Vec<Filter> {
    let term = |field, value: &str| (field, value.to_owned());
    vec![
        Filter { terms: vec![term(Field::Team, "clinic"), term(Field::Actor, "key3")], ..Filter::default() },
        Filter { terms: vec![term(Field::Phase, "completed")], ..Filter::default() },
        Filter { from_us: Some(10_500_000), to_us: Some(11_200_000), ..Filter::default() },
        Filter { request: Some("r700".into()), ..Filter::default() },
    ]
}

/// What a plain reading of the records finds.
fn plainly() -> Vec<Vec<u64>> {
    let fits = |filter: &Filter, index: u64| {
        let leaf = [b"{".as_slice(), &tail(index)].concat();
        filter.fits(&bursar_actors::audit::filter::Gist::of(&leaf))
    };
    filters().iter().map(|filter| (0..RECORDS).rev().filter(|index| fits(filter, *index)).collect()).collect()
}

/// Opens the books in `data` as the gateway does, signs, and asks the actor for everything.
fn figures(data: &Path, key: &Path) -> Figures {
    let (data, key) = (data.to_owned(), key.to_owned());
    actix::System::new().block_on(async move {
        let journal = journal(&data);
        let signing = SigningKey::open(&key).unwrap().0;
        let checkpoints = CheckpointFile::open(&RealDisk, &data.join("checkpoints"), &signing.verifying()).unwrap();
        let options = LogOptions {
            path: data.clone(),
            signing,
            checkpoint_every: Duration::from_secs(3_600),
            wall: Arc::new(|| 1),
            clock: Clock::system(),
            config: Arc::new(ArcSwapOption::empty()),
        };
        let log = AuditLog::open(journal.clone(), checkpoints, options, &mut |_, _| {}).unwrap();
        let log = log.start();
        let mut found = Vec::new();
        for filter in filters() {
            let (mut indices, mut before) = (Vec::new(), u64::MAX);
            loop {
                let page = log.send(Search { filter: filter.clone(), before, limit: 400 }).await.unwrap().unwrap();
                indices.extend(page.records.iter().map(|(index, _)| *index));
                let Some(next) = page.next else { break };
                before = next;
            }
            found.push(indices);
        }
        let note = log.send(SignCheckpoint).await.unwrap().unwrap().unwrap();
        journal.close();
        Figures { size: note.checkpoint().size, root: note.checkpoint().root, found }
    })
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target)
        } else {
            _ = fs::copy(entry.path(), target).unwrap()
        }
    }
}

/// A log with its index, and what it says.
struct Specimen {
    folder: tempfile::TempDir,
    sound: Figures,
}

impl Specimen {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("sound");
        write(&data, RECORDS);
        let sound = figures(&data, &folder.path().join("key"));
        assert_eq!((sound.size, &sound.found), (RECORDS, &plainly()));
        Self { folder, sound }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Has a copy of the data directory spoilt, and asks it again.
    #[track_caller]
    fn spoilt(&self, how: &str, spoil: impl FnOnce(&Path)) {
        let data = self.path("copy");
        copy(&self.path("sound"), &data);
        spoil(&data.join("index"));
        assert_eq!(figures(&data, &self.path("key")), self.sound, "{how}");
    }
}

#[test]
fn an_index_that_is_missing_emptied_cut_or_littered_comes_to_the_same_figures() {
    let specimen = Specimen::new();
    let db_length = fs::metadata(specimen.path("sound/index/db")).unwrap().len();
    let shortened =
        |index: &Path, length| fs::File::options().write(true).open(index.join("db")).unwrap().set_len(length).unwrap();

    specimen.spoilt("untouched", |_| {});
    specimen.spoilt("deleted", |index| fs::remove_dir_all(index).unwrap());
    specimen.spoilt("db deleted", |index| fs::remove_file(index.join("db")).unwrap());
    specimen.spoilt("conf deleted", |index| fs::remove_file(index.join("conf")).unwrap());
    specimen.spoilt("conf emptied", |index| fs::write(index.join("conf"), b"").unwrap());
    for part in 0..4 {
        specimen.spoilt(&format!("cut to {part} quarters"), |index| shortened(index, db_length * part / 4));
    }
    specimen.spoilt("cut in the midst of a page", |index| shortened(index, db_length - 777));
    specimen.spoilt("a snapshot was being written", |index| {
        fs::write(index.join("snap.0000000000001000.generating"), [7; 300]).unwrap();
    });
    specimen
        .spoilt("a snapshot is nonsense", |index| fs::write(index.join("snap.00000000000FFFFF"), [7; 300]).unwrap());
    specimen.spoilt("a snapshot is empty", |index| fs::write(index.join("snap.00000000000FFFFF"), []).unwrap());
}

#[test]
fn flipped_bytes_in_the_index_do_not_change_what_it_says() {
    let specimen = Specimen::new();
    let mut dice = StdRng::seed_from_u64(3);
    let rounds = std::env::var("BURSAR_FLIPS").map_or(12, |text| text.parse().expect("a number"));
    for round in 0..rounds {
        let places: Vec<f64> = (0..1 + round % 5 * 8).map(|_| dice.random()).collect();
        specimen.spoilt(&format!("round {round}, flipped at {places:?}"), |index| {
            let mut bytes = fs::read(index.join("db")).unwrap();
            let length = bytes.len() as f64;
            places.iter().for_each(|place| bytes[(place * length) as usize] ^= 0x55);
            fs::write(index.join("db"), bytes).unwrap();
        });
    }
}

#[test]
fn an_index_of_another_log_or_another_time_is_made_again() {
    let specimen = Specimen::new();
    let other = specimen.path("other");
    write(&other, 2 * BLOCK);
    figures(&other, &specimen.path("key2"));
    specimen.spoilt("another log's", |index| copy(&other.join("index"), index));
    // Without a checkpoint nothing but the log's id tells.
    specimen.spoilt("another log's, nothing signed", |index| {
        copy(&other.join("index"), index);
        fs::remove_file(index.with_file_name("checkpoints")).unwrap();
    });

    // An index that is ahead of its journal: the journal is from before, and nothing was signed since.
    let early = specimen.path("early");
    write(&early, BLOCK + 10);
    let sound = figures(&early, &specimen.path("key3"));
    let ahead = specimen.path("ahead");
    copy(&early, &ahead);
    let journal = journal(&ahead);
    (0..2 * BLOCK).for_each(|index| drop(journal.append(Entry { tail: tail(index), body: None }, Durability::Lazy)));
    journal.close();
    drop(journal);
    figures(&ahead, &specimen.path("key3"));
    copy(&ahead.join("index"), &early.join("index"));

    assert_eq!(figures(&early, &specimen.path("key3")), sound);
}

#[test]
fn a_rebuild_comes_to_the_same_root() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), RECORDS);
    let sound = figures(folder.path(), &folder.path().join("key"));
    let (data, key) = (folder.path().to_owned(), folder.path().join("key"));

    let rebuilt = actix::System::new().block_on(async move {
        let journal = journal(&data);
        let signing = SigningKey::open(&key).unwrap().0;
        let checkpoints = CheckpointFile::open(&RealDisk, &data.join("checkpoints"), &signing.verifying()).unwrap();
        let (clock, wall) = (Clock::system(), Arc::new(|| 1));
        let (every, config) = (Duration::from_secs(3_600), Arc::default());
        let options = LogOptions { path: data, signing, checkpoint_every: every, wall, clock, config };
        let log = AuditLog::open(journal, checkpoints, options, &mut |_, _| {}).unwrap().start();
        log.send(Rebuild).await.unwrap().unwrap()
    });

    assert_eq!(rebuilt, (sound.size, sound.root));
}
