//! What was measured, as a table for eyes and as JSON lines for scripts.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::load::Tally;

/// Errors after which a target is no longer asked one request after the other.
const TOO_MANY_ERRORS: u64 = 5;

/// Every figure: its name in the JSON lines, its name in the table, and how many decimals carry meaning.
const ROWS: &[(&str, &str, usize)] = &[
    ("cpu_us_per_request", "CPU µs per request, 64 connections", 1),
    ("requests_per_s", "requests per s, 64 connections", 0),
    ("p50_us", "p50 µs, one connection", 0),
    ("added_p50_us", "  added to direct", 0),
    ("p99_us", "p99 µs, one connection", 0),
    ("added_p99_us", "  added to direct", 0),
    ("first_token_us", "first token µs, one connection", 0),
    ("added_first_token_us", "  added to direct", 0),
    ("cpu_us_per_chunk_16", "CPU µs per chunk, 16 streams", 1),
    ("cpu_us_per_chunk_1000", "CPU µs per chunk, 1,000 streams", 1),
    ("longest_gap_16_ms", "longest gap ms, 16 streams", 1),
    ("longest_gap_1000_ms", "longest gap ms, 1,000 streams", 1),
    ("memory_idle_mib", "memory MiB, idle", 1),
    ("memory_after_load_mib", "memory MiB, after load", 1),
    ("memory_1000_streams_mib", "memory MiB, 1,000 streams", 1),
    ("cold_start_ms", "cold start ms", 0),
    ("syscalls_per_request", "system calls per request", 1),
    ("syscalls_per_chunk", "system calls per chunk", 1),
];

/// The figures of one target.
pub struct Figures {
    pub label: &'static str,
    values: BTreeMap<&'static str, f64>,
    errors: u64,
    first_error: Option<String>,
}

impl Figures {
    /// Nothing measured yet.
    pub fn new(label: &'static str) -> Self {
        Self { label, values: BTreeMap::new(), errors: 0, first_error: None }
    }

    /// Notes one figure; what is no number (nothing was answered) stays unmeasured.
    pub fn set(&mut self, figure: &'static str, value: f64) {
        debug_assert!(ROWS.iter().any(|(name, _, _)| *name == figure), "`{figure}` has no row in the table");
        if value.is_finite() {
            self.values.insert(figure, value);
        }
    }

    /// Notes `whole` spread over `units`.
    pub fn set_ratio(&mut self, figure: &'static str, whole: f64, units: u64) {
        self.set(figure, whole / units as f64);
    }

    /// Counts one failed request.
    pub fn add_error(&mut self, error: &str) {
        self.errors += 1;
        self.first_error.get_or_insert_with(|| error.to_owned());
    }

    /// Counts the failed requests of a closed loop.
    pub fn add_errors(&mut self, tally: &Tally) {
        self.errors += tally.errors;
        self.first_error = self.first_error.take().or_else(|| tally.first_error.clone());
    }

    /// Returns whether to stop asking this target one request after the other.
    pub fn has_failed(&self) -> bool {
        self.errors >= TOO_MANY_ERRORS
    }
}

/// Renders one column per target and, where nginx took part, each figure of `bursar` as a multiple of nginx's.
pub fn table(figures: &[Figures]) -> String {
    let of = |label: &str| figures.iter().find(|figures| figures.label == label);
    let ratio = of("bursar").zip(of("nginx"));
    let mut out = format!("{:36}", "");
    for figures in figures {
        let _ = write!(out, "{:>12}", figures.label);
    }
    if ratio.is_some() {
        let _ = write!(out, "{:>16}", "bursar ÷ nginx");
    }
    out.push('\n');
    for (name, title, decimals) in ROWS {
        let _ = write!(out, "{title:36}");
        for figures in figures {
            match figures.values.get(name) {
                Some(value) => _ = write!(out, "{value:>12.decimals$}"),
                None => _ = write!(out, "{:>12}", "n/a"),
            }
        }
        if let Some((bursar, nginx)) = ratio
            && let (Some(bursar), Some(nginx)) = (bursar.values.get(name), nginx.values.get(name))
            && *nginx > 0.0
        {
            let _ = write!(out, "{:>15.2}×", bursar / nginx);
        }
        out.push('\n');
    }
    for figures in figures.iter().filter(|figures| figures.errors > 0) {
        let first = figures.first_error.as_deref().unwrap_or("no text");
        let _ = writeln!(out, "{}: {} requests failed, the first with: {first}", figures.label, figures.errors);
    }
    out
}

/// Appends one JSON object per target to `bench-results/overhead.jsonl` below `target`; returns the file's path.
pub fn append(figures: &[Figures], target: &Path, is_quick: bool) -> io::Result<PathBuf> {
    let folder = target.join("bench-results");
    fs::create_dir_all(&folder)?;
    let path = folder.join("overhead.jsonl");
    let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
    let run = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    for figures in figures {
        let line = serde_json::json!({
            "run": run, "quick": is_quick, "cores": cores, "version": env!("CARGO_PKG_VERSION"),
            "target": figures.label, "errors": figures.errors, "figures": figures.values,
        });
        writeln!(file, "{line}")?;
    }
    Ok(path)
}
