//! Log lines: pretty on a terminal, one JSON object per line otherwise.

use std::io::{self, IsTerminal};

use tracing::Level;
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

use crate::config::{LogFormat, Logs};

/// Noise below this from crates that are not ours stays out at every level.
const OTHERS: Level = Level::WARN;

/// Sends all log lines to standard error in the configured form. Does nothing if a subscriber is set already.
pub fn install(logs: &Logs) {
    let level = logs.level;
    let filter = tracing_subscriber::filter::filter_fn(move |event| {
        let ours = event.target().starts_with("bursar");
        *event.level() <= if ours { level } else { level.min(OTHERS) }
    });
    let pretty = match logs.format {
        LogFormat::Auto => io::stderr().is_terminal(),
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    let line = fmt::layer().with_writer(io::stderr).with_target(false);
    let layer = if pretty {
        line.with_ansi(io::stderr().is_terminal()).with_filter(filter).boxed()
    } else {
        line.json().flatten_event(true).with_filter(filter).boxed()
    };
    let _ = tracing_subscriber::registry().with(layer).try_init();
}
