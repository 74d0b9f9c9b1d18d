//! A bad disk: full, failing, slow, or writing in small pieces.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bursar_actors::audit::journal::{Durability, Journal, JournalOptions, JournalState, Refused};

use crate::faulty_disk::FaultyDisk;
use crate::{entry, notes, numbered, shared, with_body};

fn open_on(disk: &FaultyDisk, path: &Path) -> Journal {
    let options = JournalOptions {
        disk: shared(disk.clone()),
        full_retry: Duration::from_millis(1),
        ..JournalOptions::new(path)
    };
    Journal::open(options).expect("it opens").0
}

#[track_caller]
fn until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "it has not come about within a minute");
        std::thread::yield_now();
    }
}

#[test]
fn a_full_disk_refuses_strict_records_keeps_lazy_ones_and_recovers_wherever_it_ended() {
    for room in (0..900).step_by(37) {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = FaultyDisk::default();
        let journal = open_on(&disk, folder.path());
        assert_eq!(journal.append(entry("before"), Durability::Strict).wait(), Ok(0));
        // So that the next records go beyond the room made ahead, and need more.
        let filler = with_body("filler", &[7; 200]);
        disk.full_after(room);

        let mut strict_taken = 0;
        let lazy: Vec<_> =
            (0..3).map(|n| journal.append(with_body(&format!("lazy{n}"), b"x"), Durability::Lazy)).collect();
        while strict_taken < 20_000 {
            match journal.append(filler.clone(), Durability::Strict).wait() {
                Ok(_) => strict_taken += 1,
                Err(Refused::Full(why)) => {
                    assert!(why.contains("full") || why.contains("space"), "{why}");
                    break;
                }
                Err(other) => panic!("{other}"),
            }
        }
        assert!(strict_taken < 20_000, "the disk never filled up");
        until(|| matches!(journal.state(), JournalState::Full(_)));
        assert!(matches!(journal.admits(Durability::Strict), Err(Refused::Full(_))));
        assert_eq!(journal.admits(Durability::Lazy), Ok(()));
        let late = journal.append(entry("late"), Durability::Lazy);
        disk.free();

        until(|| journal.state() == JournalState::Open);
        assert!(late.wait().is_ok());
        let after = journal.append(entry("after"), Durability::Strict).wait().expect("it takes records again");
        for ticket in lazy {
            assert!(ticket.wait().is_ok(), "a lazy record was lost");
        }
        journal.close();
        let notes = notes(folder.path());
        assert_eq!(notes.len() as u64, after + 1);
        assert_eq!(notes.len(), 1 + 3 + strict_taken + 1 + 1, "refused records must not stand in the log");
        assert_eq!(notes.iter().filter(|note| note.starts_with("lazy")).count(), 3);
    }
}

#[test]
fn a_failed_sync_acknowledges_nothing_more_and_is_not_tried_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = FaultyDisk::default();
    let journal = open_on(&disk, folder.path());
    for n in 0..5 {
        assert_eq!(journal.append(entry(&format!("r{n}")), Durability::Strict).wait(), Ok(n));
    }
    disk.fail_sync_after(0);

    let failed = journal.append(entry("r5"), Durability::Strict).wait();

    assert!(matches!(&failed, Err(Refused::Failed(why)) if why.contains("syncing")), "{failed:?}");
    until(|| matches!(journal.state(), JournalState::Failed(_)));
    let syncs = disk.syncs();
    for durability in [Durability::Strict, Durability::Lazy] {
        assert!(matches!(journal.admits(durability), Err(Refused::Failed(_))));
        assert!(matches!(journal.append(entry("late"), durability).wait(), Err(Refused::Failed(_))));
    }
    assert_eq!(journal.durable(), 5);
    journal.close();
    assert_eq!(disk.syncs(), syncs);
    assert_eq!(notes(folder.path())[..5], numbered(5));
}

#[test]
fn a_failed_write_ends_the_journal_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = FaultyDisk::default();
    let journal = open_on(&disk, folder.path());
    assert_eq!(journal.append(entry("r0"), Durability::Strict).wait(), Ok(0));
    disk.break_writes();

    assert!(matches!(journal.append(entry("r1"), Durability::Lazy).wait(), Err(Refused::Failed(_))));

    journal.close();
    assert_eq!(notes(folder.path()), numbered(1));
}

#[test]
fn short_writes_are_completed() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = FaultyDisk::default();
    let journal = open_on(&disk, folder.path());
    disk.write_pieces_of(4099);

    let tickets: Vec<_> =
        (0..40).map(|n| journal.append(with_body(&format!("r{n}"), &[3; 999]), Durability::Strict)).collect();

    for (n, ticket) in tickets.into_iter().enumerate() {
        assert_eq!(ticket.wait(), Ok(n as u64));
    }
    journal.close();
    assert_eq!(notes(folder.path()), numbered(40));
}

#[test]
fn a_queue_that_is_full_refuses_strict_records_and_takes_lazy_ones() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = FaultyDisk::default();
    let options = JournalOptions { disk: shared(disk.clone()), queue_max: 2000, ..JournalOptions::new(folder.path()) };
    let (journal, _) = Journal::open(options).expect("it opens");
    disk.hold_syncs();

    let mut tickets = Vec::new();
    while journal.admits(Durability::Strict).is_ok() {
        tickets.push(journal.append(entry(&format!("r{}", tickets.len())), Durability::Strict));
        assert!(tickets.len() < 100, "the queue has no end");
    }
    let refused = journal.append(entry("no"), Durability::Strict).wait();
    for _ in 0..50 {
        tickets.push(journal.append(entry(&format!("r{}", tickets.len())), Durability::Lazy));
    }
    disk.release_syncs();

    assert!(matches!(refused, Err(Refused::Busy { bound: 2000, .. })), "{refused:?}");
    let count = tickets.len();
    for (n, ticket) in tickets.into_iter().enumerate() {
        assert_eq!(ticket.wait(), Ok(n as u64));
    }
    until(|| journal.admits(Durability::Strict).is_ok());
    journal.close();
    assert_eq!(notes(folder.path()), numbered(count));
}

#[test]
fn what_waits_while_one_group_is_synced_goes_out_as_one_group() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = FaultyDisk::default();
    let journal = open_on(&disk, folder.path());
    disk.hold_syncs();
    let syncs = disk.syncs();
    let first = journal.append(entry("r0"), Durability::Strict);
    until(|| disk.syncs() > syncs);

    let rest: Vec<_> = (1..100).map(|n| journal.append(entry(&format!("r{n}")), Durability::Strict)).collect();
    disk.release_syncs();

    assert_eq!(first.wait(), Ok(0));
    for (n, ticket) in (1..).zip(rest) {
        assert_eq!(ticket.wait(), Ok(n));
    }
    assert_eq!(disk.syncs() - syncs, 2);
}

#[test]
fn what_must_precede_and_bodies_are_durable_before_the_record_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = FaultyDisk::default();
    let journal = open_on(&disk, folder.path());
    let (keyring, log) = (Arc::new(AtomicBool::new(false)), disk.clone());
    let synced = keyring.clone();
    journal.sync_first(move || {
        assert!(!log.clone().events().iter().any(|event| event.contains("journal") || event.contains("write bodies")));
        synced.store(true, Ordering::SeqCst);
        Ok(())
    });
    disk.events();

    assert_eq!(journal.append(with_body("r0", b"sealed"), Durability::Strict).wait(), Ok(0));

    assert!(keyring.load(Ordering::SeqCst));
    let events = disk.events();
    let header = ["write bodies", "sync bodies"];
    assert_eq!(events, [header, ["write bodies", "sync bodies"], ["write journal", "sync journal"]].concat());
}

#[test]
fn what_must_precede_fails_as_a_file_of_the_journal_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = FaultyDisk::default();
    let journal = open_on(&disk, folder.path());
    let is_full = Arc::new(AtomicBool::new(true));
    let fault = is_full.clone();
    journal.sync_first(
        move || {
            if fault.load(Ordering::SeqCst) { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        },
    );

    assert!(matches!(journal.append(entry("no"), Durability::Strict).wait(), Err(Refused::Full(_))));
    let lazy = journal.append(entry("r0"), Durability::Lazy);
    is_full.store(false, Ordering::SeqCst);

    assert_eq!(lazy.wait(), Ok(0));
    until(|| journal.state() == JournalState::Open);
    journal.close();
    assert_eq!(notes(folder.path()), numbered(1));
}

#[test]
fn closing_on_a_full_disk_says_what_was_not_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = FaultyDisk::default();
    let journal = open_on(&disk, folder.path());
    disk.full_after(0);
    let lazy = journal.append(entry("no"), Durability::Lazy);

    journal.close();

    assert!(matches!(lazy.wait(), Err(Refused::Full(_))));
    disk.free();
    assert_eq!(notes(folder.path()), numbered(0));
}

#[test]
fn what_belongs_to_a_refused_record_is_refused_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = FaultyDisk::default();
    let journal = open_on(&disk, folder.path());
    journal.append(entry("before"), Durability::Strict).wait().expect("there is room");
    disk.full_after(0);
    disk.hold_syncs();
    // More than the room made ahead.
    let filler = entry(&"x".repeat(60_000));
    let admitted: Vec<_> = (0..40).map(|_| journal.append(filler.clone(), Durability::Strict)).collect();

    let ended: Vec<_> = admitted.into_iter().map(|first| journal.append_after(first, entry("end"))).collect();
    disk.release_syncs();
    until(|| matches!(journal.state(), JournalState::Full(_)));
    disk.free();

    let ended: Vec<_> = ended.into_iter().map(|ticket| ticket.wait().is_ok()).collect();
    journal.close();
    let notes = notes(folder.path());
    let (begun, ends) =
        (notes.iter().filter(|note| note.starts_with('x')).count(), ended.iter().filter(|ok| **ok).count());
    assert_eq!(begun, ends, "each that began has its end, and no other");
    assert_eq!(notes.iter().filter(|note| *note == "end").count(), ends);
    assert!(ends < 40, "the disk was full");
}

#[test]
fn a_slow_disk_admits_nothing_new_beyond_the_queue_and_takes_what_has_happened() {
    for durability in [Durability::Strict, Durability::Lazy] {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = FaultyDisk::default();
        let options =
            JournalOptions { disk: shared(disk.clone()), queue_max: 10_000, ..JournalOptions::new(folder.path()) };
        let journal = Journal::open(options).expect("it opens").0;
        disk.hold_syncs();

        let mut waiting = Vec::new();
        while journal.admits(durability).is_ok() {
            waiting.push(journal.append(entry("admitted"), durability));
            assert!(waiting.len() < 10_000, "nothing bounds {durability:?} admissions");
        }
        assert!(matches!(journal.admits(durability), Err(Refused::Busy { .. })));
        waiting.push(journal.append(entry("ended"), Durability::Lazy));
        disk.release_syncs();

        for ticket in waiting {
            assert!(ticket.wait().is_ok());
        }
        assert_eq!(journal.admits(durability), Ok(()));
    }
}
