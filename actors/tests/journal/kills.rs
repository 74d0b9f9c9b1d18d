//! kill -9 under load: what was acknowledged is there afterwards. 20 times; `BURSAR_KILLS=200` for more.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use bursar_actors::audit::journal::{Durability, Journal, JournalOptions};
use rand::RngExt;

use crate::{notes, with_body};

const FOLDER: &str = "BURSAR_TEST_KILLED_FOLDER";
const ROUND: &str = "BURSAR_TEST_KILLED_ROUND";

#[test]
fn nothing_acknowledged_is_lost_to_a_kill() {
    if let (Some(folder), Ok(round)) = (std::env::var_os(FOLDER), std::env::var(ROUND)) {
        return load(JournalOptions { segment_max: 40_000, ..JournalOptions::new(folder) }, &round);
    }
    let kills: usize = std::env::var("BURSAR_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(20);
    let folder = tempfile::tempdir().expect("a folder");
    let mut acknowledged = BTreeMap::new();

    for round in 0..kills {
        let lives_for = rand::rng().random_range(1..400);
        let mut child = Command::new(std::env::current_exe().expect("the tests run from a file"))
            .args(["--exact", "kills::nothing_acknowledged_is_lost_to_a_kill", "--nocapture"])
            .env(FOLDER, folder.path())
            .env(ROUND, round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut said = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        let mut count = 0;
        // To the end of the pipe, so that what was told between the decision and the kill is held to as well.
        while said.read_line(&mut line).expect("it reads") > 0 {
            if let Some(told) = line.strip_prefix("ack ").and_then(|told| told.strip_suffix('\n')) {
                let (index, text) = told.split_once(' ').expect("index and text");
                let index: usize = index.parse().expect("a number");
                assert_eq!(acknowledged.insert(index, text.to_owned()), None, "{index} was given twice");
                count += 1;
            }
            if count == lives_for {
                child.kill().expect("it is ours");
            }
            line.clear();
        }
        child.wait().expect("it is ours");
        assert!(count >= lives_for, "the child ended by itself after {count} records");

        let options = JournalOptions { durable_floor: 1, ..JournalOptions::new(folder.path()) };
        let (journal, recovery) = Journal::open(options).expect("what a kill leaves opens");
        assert_eq!(recovery.bodies_lost, 0);
        drop(journal);
        let notes = notes(folder.path());
        for (index, text) in &acknowledged {
            assert_eq!(notes.get(*index), Some(text), "record {index} after kill {round}");
        }
    }
}

/// Writes from eight threads until it is killed, and tells which records were acknowledged.
fn load(options: JournalOptions, round: &str) {
    let (journal, _) = Journal::open(options).expect("it opens");
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let journal = &journal;
            scope.spawn(move || {
                for n in 0.. {
                    let text = format!("k{round}-{writer}-{n}");
                    let durability = if n % 3 == 0 { Durability::Lazy } else { Durability::Strict };
                    let index = journal.append(with_body(&text, &[5; 64]), durability).wait().expect("it is taken");
                    let told = format!("ack {index} {text}\n");
                    if std::io::stdout().lock().write_all(told.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
}
