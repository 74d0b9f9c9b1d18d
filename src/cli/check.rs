//! `bursar check`: says whether the gateway would start with these settings, and if not, everything that is in the way.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::config::Config;
use crate::config::fault::Faults;
use crate::config::load::{Sources, load};
use crate::pipeline::fitness;

/// Checks `sources`, prints the result to `output`, and returns 0 where the gateway would start, otherwise 1.
pub fn run(sources: &Sources, output: &mut dyn Write) -> io::Result<ExitCode> {
    match load(sources) {
        Ok(mut config) => {
            config.warnings.extend(fitness::warnings(&config));
            for warning in &config.warnings {
                writeln!(output, "{warning} [warning]")?;
            }
            writeln!(output, "{}", summary(&config))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(faults) => {
            writeln!(output, "{faults}")?;
            writeln!(output, "{}", verdict(&faults))?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Returns `ok: 2 providers, 3 keys, …`, with where the settings came from.
fn summary(config: &Config) -> String {
    let keys: usize = config.providers.values().map(|provider| provider.keys.len()).sum();
    let parts = [
        counted(config.providers.len(), "provider"),
        counted(keys, "key"),
        counted(config.models.aliases.len(), "alias"),
        counted(config.teams.len(), "team"),
        counted(config.client_keys.len(), "client key"),
        counted(config.warnings.len(), "warning"),
    ];
    let sources = if config.sources.is_empty() { "defaults".to_owned() } else { config.sources.join(" + ") };
    format!("ok: {} (from {sources})", parts.join(", "))
}

/// Returns `3 errors, 2 warnings. Nothing was changed.`
fn verdict(faults: &Faults) -> String {
    let (errors, warnings) = (counted(faults.errors(), "error"), counted(faults.warnings(), "warning"));
    format!("{errors}, {warnings}. Nothing was changed.")
}

fn counted(number: usize, noun: &str) -> String {
    match (number, noun) {
        (1, noun) => format!("1 {noun}"),
        (number, "alias") => format!("{number} aliases"),
        (number, noun) => format!("{number} {noun}s"),
    }
}
