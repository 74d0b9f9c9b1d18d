//! `bursar usage`: what was used and spent, by the running gateway.

mod bill;
mod exact;
mod formats;
mod matching;
mod reconcile;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Subcommand;

use crate::config::load::Sources;

#[derive(Subcommand)]
pub enum UsageCommand {
    /// Hold a provider's bill, or its export of usage, against what Bursar counted
    ///
    /// Exit code: 0 where both sums agree, 2 where they differ by more than the tolerance, 1 where they cannot be compared.
    Reconcile(reconcile::Reconcile),
}

/// Runs `bursar usage`.
pub fn run(command: &UsageCommand, sources: &Sources, output: &mut dyn Write) -> io::Result<ExitCode> {
    match command {
        UsageCommand::Reconcile(command) => reconcile::run(command, sources, output),
    }
}
