//! The measurements, each taken of all targets in turn within the same seconds.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::load::{Answer, Ask, Connection, Tally, Target, Until, ask_once, closed_loop};
use crate::process::{SyscallCount, cpu_time, memory_mib};
use crate::report::Figures;
use crate::targets::Program;

/// How much of everything; `--quick` is for a look, not for a figure to quote.
#[derive(Clone, Copy)]
pub struct Sizes {
    /// Blocks in which targets take turns.
    pub blocks: u32,
    /// Plain requests per block at one connection.
    pub serial: u32,
    /// Streams per block at one connection, for the first token.
    pub first_tokens: u32,
    /// Time per block at 64 connections. There are three blocks: shorter ones would drown in the 10 ms of a CPU tick.
    pub busy: Duration,
    /// Streams per connection and block at 16 connections, 200 chunks each.
    pub streams: u32,
    /// Chunks in each of the 1,000 concurrent streams, 20 ms apart.
    pub slow_chunks: u32,
    /// Starts per program.
    pub cold_starts: u32,
}

pub const FULL: Sizes = Sizes {
    blocks: 12,
    serial: 250,
    first_tokens: 20,
    busy: Duration::from_secs(2),
    streams: 6,
    slow_chunks: 150,
    cold_starts: 5,
};

pub const QUICK: Sizes = Sizes {
    blocks: 4,
    serial: 100,
    first_tokens: 10,
    busy: Duration::from_millis(500),
    streams: 1,
    slow_chunks: 40,
    cold_starts: 2,
};

const BUSY_BLOCKS: u32 = 3;
const BUSY_CONNECTIONS: u32 = 64;
const STREAM_CONNECTIONS: u32 = 16;
const CHUNKS: u32 = 200;
const MANY_STREAMS: u32 = 1000;
const TRACED_REQUESTS: u32 = 50;

/// Takes every figure of `targets`, the first of which is the baseline that `added_*` is counted from.
pub async fn all(targets: &[Target], sizes: Sizes, summaries: &Path) -> Vec<Figures> {
    let mut figures: Vec<Figures> = targets.iter().map(|target| Figures::new(target.label)).collect();
    memory(targets, &mut figures, "memory_idle_mib");
    serial(targets, &mut figures, sizes).await;
    first_token(targets, &mut figures, sizes).await;
    busy(targets, &mut figures, sizes).await;
    memory(targets, &mut figures, "memory_after_load_mib");
    few_streams(targets, &mut figures, sizes).await;
    many_streams(targets, &mut figures, sizes).await;
    syscalls(targets, &mut figures, summaries).await;
    figures
}

fn memory(targets: &[Target], figures: &mut [Figures], figure: &'static str) {
    for (target, figures) in targets.iter().zip(figures) {
        if let Some(pid) = target.pid {
            figures.set(figure, memory_mib(pid));
        }
    }
}

/// One connection per target, which asks `per_block` times before the next target's turn.
async fn turns(targets: &[Target], figures: &mut [Figures], ask: Ask, blocks: u32, per_block: u32) -> Vec<Vec<Answer>> {
    let requests: Vec<Vec<u8>> = targets.iter().map(|target| target.request(ask)).collect();
    let mut connections: Vec<Option<Connection>> = targets.iter().map(|_| None).collect();
    let mut answers: Vec<Vec<Answer>> = targets.iter().map(|_| Vec::new()).collect();
    // Block 0 warms up caches, pools and branch predictors and is not counted.
    for block in 0..=blocks {
        for (index, target) in targets.iter().enumerate() {
            for _ in 0..per_block {
                if figures[index].has_failed() {
                    break;
                }
                match ask_once(&mut connections[index], target.address, &requests[index]).await {
                    Ok(answer) if block > 0 => answers[index].push(answer),
                    Ok(_) => {}
                    Err(error) => {
                        figures[index].add_error(&error.to_string());
                    }
                }
            }
        }
    }
    answers
}

async fn serial(targets: &[Target], figures: &mut [Figures], sizes: Sizes) {
    let answers = turns(targets, figures, Ask::Plain, sizes.blocks, sizes.serial).await;
    let totals = |answers: &Vec<Answer>| answers.iter().map(|answer| answer.total).collect::<Vec<_>>();
    let times: Vec<_> = answers.iter().map(totals).collect();
    for (share, figure, added) in [(0.5, "p50_us", "added_p50_us"), (0.99, "p99_us", "added_p99_us")] {
        against_baseline(&times, figures, share, figure, added);
    }
}

async fn first_token(targets: &[Target], figures: &mut [Figures], sizes: Sizes) {
    let ask = Ask::Stream { chunks: 4, chunk_ms: 2 };
    let answers = turns(targets, figures, ask, sizes.blocks, sizes.first_tokens).await;
    let firsts = |answers: &Vec<Answer>| answers.iter().map(|answer| answer.first).collect::<Vec<_>>();
    let times: Vec<_> = answers.iter().map(firsts).collect();
    against_baseline(&times, figures, 0.5, "first_token_us", "added_first_token_us");
}

fn against_baseline(
    times: &[Vec<Duration>],
    figures: &mut [Figures],
    share: f64,
    figure: &'static str,
    added: &'static str,
) {
    let baseline = times.first().and_then(|times| percentile(times, share));
    for (index, times) in times.iter().enumerate() {
        let Some(micros) = percentile(times, share) else { continue };
        figures[index].set(figure, micros);
        if let Some(baseline) = baseline.filter(|_| index > 0) {
            figures[index].set(added, micros - baseline);
        }
    }
}

/// Returns the time, in µs, that the given share of `times` does not exceed.
fn percentile(times: &[Duration], share: f64) -> Option<f64> {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let index = (sorted.len() as f64 * share) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).map(|time| time.as_secs_f64() * 1e6)
}

/// Runs one closed loop and returns it with the CPU that the target's processes used meanwhile.
async fn charged(target: &Target, ask: Ask, connections: u32, ramp: Duration, until: Until) -> (Tally, Duration) {
    let before = target.pid.map(cpu_time).unwrap_or_default();
    let tally = closed_loop(target, ask, connections, ramp, until).await;
    let after = target.pid.map(cpu_time).unwrap_or_default();
    (tally, after.saturating_sub(before))
}

async fn busy(targets: &[Target], figures: &mut [Figures], sizes: Sizes) {
    let mut sums: Vec<(Tally, Duration)> = targets.iter().map(|_| Default::default()).collect();
    for block in 0..=BUSY_BLOCKS {
        for (target, (sum, cpu)) in targets.iter().zip(&mut sums) {
            let time = if block == 0 { sizes.busy / 4 } else { sizes.busy };
            let (tally, used) =
                charged(target, Ask::Plain, BUSY_CONNECTIONS, Duration::ZERO, Until::Elapsed(time)).await;
            if block > 0 {
                sum.merge(tally);
                *cpu += used;
            }
        }
    }
    for ((target, figures), (tally, cpu)) in targets.iter().zip(figures).zip(sums) {
        figures.add_errors(&tally);
        figures.set("requests_per_s", tally.answers as f64 / tally.elapsed.as_secs_f64());
        if target.pid.is_some() {
            figures.set_ratio("cpu_us_per_request", cpu.as_secs_f64() * 1e6, tally.answers);
        }
    }
}

async fn few_streams(targets: &[Target], figures: &mut [Figures], sizes: Sizes) {
    let ask = Ask::Stream { chunks: CHUNKS, chunk_ms: 1 };
    let mut sums: Vec<(Tally, Duration)> = targets.iter().map(|_| Default::default()).collect();
    for _ in 0..BUSY_BLOCKS {
        for (target, (sum, cpu)) in targets.iter().zip(&mut sums) {
            let until = Until::Rounds(sizes.streams);
            let (tally, used) = charged(target, ask, STREAM_CONNECTIONS, Duration::ZERO, until).await;
            sum.merge(tally);
            *cpu += used;
        }
    }
    for ((target, figures), (tally, cpu)) in targets.iter().zip(figures).zip(sums) {
        figures.add_errors(&tally);
        figures.set("longest_gap_16_ms", tally.longest_gap.as_secs_f64() * 1e3);
        if target.pid.is_some() {
            figures.set_ratio("cpu_us_per_chunk_16", cpu.as_secs_f64() * 1e6, tally.events);
        }
    }
}

async fn many_streams(targets: &[Target], figures: &mut [Figures], sizes: Sizes) {
    let ask = Ask::Stream { chunks: sizes.slow_chunks, chunk_ms: 20 };
    for (target, figures) in targets.iter().zip(figures) {
        let largest = Rc::new(Cell::new(0.0_f64));
        let watch = tokio::task::spawn_local(note_largest_memory(target.pid, Rc::clone(&largest)));
        let ramp = Duration::from_secs(1);
        let (tally, cpu) = charged(target, ask, MANY_STREAMS, ramp, Until::Rounds(1)).await;
        watch.abort();
        figures.add_errors(&tally);
        figures.set("longest_gap_1000_ms", tally.longest_gap.as_secs_f64() * 1e3);
        if let Some(pid) = target.pid {
            figures.set_ratio("cpu_us_per_chunk_1000", cpu.as_secs_f64() * 1e6, tally.events);
            // Buffers are kept for a while after the last stream, so a look right behind it completes the samples.
            figures.set("memory_1000_streams_mib", largest.get().max(memory_mib(pid)));
        }
    }
}

async fn note_largest_memory(pid: Option<u32>, largest: Rc<Cell<f64>>) {
    let Some(pid) = pid else { return };
    loop {
        tokio::time::sleep(Duration::from_millis(250)).await;
        largest.set(largest.get().max(memory_mib(pid)));
    }
}

async fn syscalls(targets: &[Target], figures: &mut [Figures], summaries: &Path) {
    let stream = Ask::Stream { chunks: CHUNKS, chunk_ms: 1 };
    for (target, figures) in targets.iter().zip(figures) {
        let Some(pid) = target.pid else { continue };
        for (figure, ask, connections, rounds) in [
            ("syscalls_per_request", Ask::Plain, BUSY_CONNECTIONS, TRACED_REQUESTS),
            ("syscalls_per_chunk", stream, STREAM_CONNECTIONS, 1),
        ] {
            let summary = summaries.join(format!("{}-{figure}", target.label));
            let Some(count) = SyscallCount::attach(pid, &summary) else { continue };
            let tally = closed_loop(target, ask, connections, Duration::ZERO, Until::Rounds(rounds)).await;
            figures.add_errors(&tally);
            let units = if tally.events > 0 { tally.events } else { tally.answers };
            if let Some(calls) = count.finish(&summary) {
                figures.set_ratio(figure, calls as f64, units);
            }
        }
    }
}

/// Returns the median time, in ms, from exec to the first complete answer to a chat request.
pub async fn cold_start(program: Program, upstream: SocketAddr, sizes: Sizes) -> io::Result<f64> {
    let mut times = Vec::new();
    for _ in 0..sizes.cold_starts {
        let began = Instant::now();
        let mut running = program.start(upstream)?;
        let request = running.target.request(Ask::Plain);
        running.first_success(&request, Duration::from_millis(1)).await?;
        times.push(began.elapsed());
    }
    Ok(percentile(&times, 0.5).unwrap_or_default() / 1e3)
}
