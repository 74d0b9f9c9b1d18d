//! What Bursar adds: the same requests sent straight to an upstream and through the gateway, in turns, on loopback.
//!
//! ```sh
//! cargo bench --bench overhead               # about a minute and a half
//! cargo bench --bench overhead -- --quick    # about twenty seconds, for a look
//! ```
//!
//! The upstream is a mock in a process of its own (`mock.rs`), the gateway is the real binary with one provider, one alias
//! and one client key that it requires. Where nginx is installed it takes part as a plain proxy. Nothing is asserted.
//! The table goes to stdout; `target/bench-results/overhead.jsonl` gets one line per target.
//!
//! | figure | what it means |
//! |---|---|
//! | CPU per request | user and system time of the gateway's processes at 64 connections, divided by the answers: the figure to trust |
//! | requests per s | at 64 connections; client and mock share the cores, so it says little beyond this run |
//! | p50, p99, added | one connection, request to last byte; *added* is the distance between the percentiles of both distributions |
//! | first token | one connection, request to first byte of a stream's body, median |
//! | CPU per chunk | as above, divided by the server-sent events that reached the client; the mock waits 1 ms (16) or 20 ms (1,000) |
//! | longest gap | longest wait between two reads of any stream's body; compare with direct, which holds the mock's own waits |
//! | memory | proportional set size of the processes: once started, after the 64 connections, and the most with 1,000 streams |
//! | cold start | exec to the first complete answer to a chat request, data folder empty, median |
//! | system calls | counted by `strace` while it slows everything down; the count is steady where times are not |
//!
//! **Only ratios within one run compare.** One connection is bimodal on a small virtual machine: an idle core is polled or
//! woken, at 10 or 80 µs. The CPU clock ticks every 10 ms, so below a second of CPU two digits are all there is.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark reports on its terminal")]

mod load;
mod measure;
mod mock;
mod process;
mod report;
mod targets;

use std::io;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use measure::{FULL, QUICK, Sizes};
use report::Figures;
use targets::{MOCK_ENV, Program, Running};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

/// Set once the limit of open files has been raised.
const RAISED_ENV: &str = "BURSAR_BENCH_RAISED";

fn main() -> ExitCode {
    if std::env::var_os(MOCK_ENV).is_some() {
        return finish(mock::serve().map(|()| true));
    }
    let is_quick = std::env::args().any(|argument| argument == "--quick");
    // Without `--bench` this is `cargo test --benches`, which wants to know that it builds.
    if !is_quick && !std::env::args().any(|argument| argument == "--bench") {
        println!("overhead: run it with `cargo bench --bench overhead`");
        return ExitCode::SUCCESS;
    }
    if std::env::var_os(RAISED_ENV).is_none() {
        return finish(Err(raise_open_files()));
    }
    finish(run(is_quick))
}

fn finish(result: io::Result<bool>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("overhead: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Starts this program again with room for 1,000 streams; returns only if that failed.
fn raise_open_files() -> io::Error {
    // The limit is set by the shell, because a system call of our own would need unsafe code.
    let script = "n=$(ulimit -Hn); case $n in unlimited) n=65536;; esac; [ \"$n\" -gt 65536 ] && n=65536\n\
                  ulimit -Sn \"$n\"; exec \"$0\" \"$@\"";
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return error,
    };
    Command::new("sh").arg("-c").arg(script).arg(program).args(std::env::args_os().skip(1)).env(RAISED_ENV, "1").exec()
}

/// Measures everything; returns false if a program did not start and its column is missing.
fn run(is_quick: bool) -> io::Result<bool> {
    let sizes = if is_quick { QUICK } else { FULL };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (_mock, upstream) = targets::start_mock()?;
    // A signal ends the measurement by dropping it, so that no child is left behind.
    let (figures, is_complete) = LocalSet::new().block_on(&runtime, async {
        tokio::select! {
            compared = compare(upstream, sizes) => compared,
            error = interrupted() => Err(error),
        }
    })?;
    print!("{}", report::table(&figures));
    // Cargo gives benchmarks a scratch folder directly below its target folder.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap_or(Path::new("target"));
    println!("written to {}", report::append(&figures, target, is_quick)?.display());
    Ok(is_complete)
}

/// Waits for SIGINT or SIGTERM.
async fn interrupted() -> io::Error {
    let (mut interrupt, mut terminate) = match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(interrupt), Ok(terminate)) => (interrupt, terminate),
        (Err(error), _) | (_, Err(error)) => return error,
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    io::Error::new(io::ErrorKind::Interrupted, "interrupted")
}

async fn compare(upstream: SocketAddr, sizes: Sizes) -> io::Result<(Vec<Figures>, bool)> {
    let mut programs = vec![Program::Bursar];
    if targets::is_installed("nginx") {
        programs.insert(0, Program::Nginx);
    }
    let mut is_complete = true;
    let mut running: Vec<(Program, Running)> = Vec::new();
    for program in programs {
        let mut started = program.start(upstream)?;
        match started.ready().await {
            Ok(()) => running.push((program, started)),
            Err(error) => {
                eprintln!("overhead: {error}");
                is_complete = false;
            }
        }
    }
    let direct = load::Target { label: "direct", address: upstream, headers: vec![], pid: None };
    let targets: Vec<_> = [direct].into_iter().chain(running.iter().map(|(_, it)| it.target.clone())).collect();
    let summaries = tempfile::tempdir()?;
    let mut figures = measure::all(&targets, sizes, summaries.path()).await;
    // The long-running processes go first: a cold start beside them would share its cores with their idle work.
    let programs: Vec<Program> = running.into_iter().map(|(program, _)| program).collect();
    for (program, figures) in programs.into_iter().zip(figures.iter_mut().skip(1)) {
        match measure::cold_start(program, upstream, sizes).await {
            Ok(millis) => figures.set("cold_start_ms", millis),
            Err(error) => figures.add_error(&error.to_string()),
        }
    }
    Ok((figures, is_complete))
}
