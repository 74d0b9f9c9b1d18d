//! What durable records cost: the journal beside plain segment writes, in turns within one run.
//!
//! "plain" encodes nothing and wakes nobody: it writes groups of as many records as there are writers to a file and
//! calls fdatasync after each, which is the least that makes them durable. "plain, room ahead" does so over zeros that
//! it writes ahead a MiB at a time, as the journal does. The journal's writers are tasks on one thread, as on a worker
//! of the gateway, each waiting for its ticket before it sends the next. CPU is the whole process's, user and system.
//!
//! `cargo bench --bench journal`; the files lie in `TMPDIR`, so point that at the disk to be measured.

use std::cell::RefCell;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bursar_actors::audit::journal::{Durability, Entry, Journal, JournalOptions};
use rustix::time::{ClockId, clock_gettime};
use tokio::task::LocalSet;

const ROUNDS: usize = 15;
const STRETCH: Duration = Duration::from_millis(400);
/// Bytes of a record with its frame, about.
const RECORD: usize = 1024;

/// One stretch of one way of writing.
#[derive(Clone, Copy, Default)]
struct Figures {
    records_per_s: f64,
    cpu_us_per_record: f64,
    groups_per_s: f64,
    p50_us: f64,
    p99_us: f64,
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// Measures what `run` does: it returns how many records it made durable and how long each group or record took.
fn measure(run: impl FnOnce() -> (u64, Vec<Duration>)) -> Figures {
    let (wall, used) = (Instant::now(), cpu());
    let (records, mut waits) = run();
    let (wall, used) = (wall.elapsed(), cpu() - used);
    waits.sort_unstable();
    let at = |share: f64| waits.get((waits.len() as f64 * share) as usize).map_or(0.0, |wait| wait.as_secs_f64() * 1e6);
    Figures {
        records_per_s: records as f64 / wall.as_secs_f64(),
        cpu_us_per_record: used.as_secs_f64() * 1e6 / records as f64,
        groups_per_s: waits.len() as f64 / wall.as_secs_f64(),
        p50_us: at(0.5),
        p99_us: at(0.99),
    }
}

/// Writes and syncs groups of `writers` records.
fn plain(writers: usize, is_room_made: bool) -> Figures {
    let file = tempfile::tempfile().expect("the temporary folder can be written");
    let group = vec![b'x'; writers * RECORD];
    let zeros = vec![0; 1024 * 1024];
    measure(|| {
        let begun = Instant::now();
        let (mut at, mut room) = (0, 0);
        let mut waits = Vec::new();
        while begun.elapsed() < STRETCH {
            let sent = Instant::now();
            put(&file, &group, at);
            at += group.len() as u64;
            if is_room_made && at > room {
                put(&file, &zeros, at);
                room = at + zeros.len() as u64;
            }
            file.sync_data().expect("the disk syncs");
            waits.push(sent.elapsed());
        }
        (at / RECORD as u64, waits)
    })
}

fn put(file: &File, bytes: &[u8], at: u64) {
    file.write_all_at(bytes, at).expect("the disk takes it");
}

/// Lets `writers` tasks append strict records one after the other.
fn journal(writers: usize) -> Figures {
    let folder = tempfile::tempdir().expect("the temporary folder can be written");
    let (journal, _) = Journal::open(JournalOptions::new(folder.path())).expect("a new journal opens");
    let groups = Arc::new(AtomicU64::new(0));
    let counts = groups.clone();
    journal.on_durable(move |_| {
        counts.fetch_add(1, Ordering::Relaxed);
    });
    let filler = "x".repeat(RECORD - 100);
    let tail = Rc::new(format!("\"at_us\":1,\"note\":\"{filler}\"}}").into_bytes());
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime starts");
    let mut figures = measure(|| {
        let waits = Rc::new(RefCell::new(Vec::new()));
        let tasks = LocalSet::new();
        let begun = Instant::now();
        for _ in 0..writers {
            let (journal, tail, waits) = (journal.clone(), tail.clone(), waits.clone());
            tasks.spawn_local(async move {
                while begun.elapsed() < STRETCH {
                    let sent = Instant::now();
                    let entry = Entry { tail: tail.to_vec(), body: None };
                    journal.append(entry, Durability::Strict).await.expect("a sound disk takes it");
                    waits.borrow_mut().push(sent.elapsed());
                }
            });
        }
        runtime.block_on(tasks);
        let waits = waits.take();
        (waits.len() as u64, waits)
    });
    figures.groups_per_s = groups.load(Ordering::Relaxed) as f64 / STRETCH.as_secs_f64();
    figures
}

/// The median of each figure over the rounds.
fn median(rounds: &[Figures]) -> Figures {
    let of = |figure: fn(&Figures) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(figure).collect();
        values.sort_unstable_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Figures {
        records_per_s: of(|f| f.records_per_s),
        cpu_us_per_record: of(|f| f.cpu_us_per_record),
        groups_per_s: of(|f| f.groups_per_s),
        p50_us: of(|f| f.p50_us),
        p99_us: of(|f| f.p99_us),
    }
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn main() {
    println!("| writers | way | records/s | CPU µs per record | p50 µs | p99 µs | groups/s |");
    println!("|---|---|---|---|---|---|---|");
    for writers in [1, 64, 512] {
        let mut rounds = [const { Vec::new() }; 3];
        for _ in 0..ROUNDS {
            rounds[0].push(plain(writers, false));
            rounds[1].push(plain(writers, true));
            rounds[2].push(journal(writers));
        }
        for (way, rounds) in ["plain", "plain, room ahead", "journal"].iter().zip(&rounds) {
            let f = median(rounds);
            println!(
                "| {writers} | {way} | {:.0} | {:.1} | {:.0} | {:.0} | {:.0} |",
                f.records_per_s, f.cpu_us_per_record, f.p50_us, f.p99_us, f.groups_per_s
            );
        }
    }
}
