//! `bursar audit`: what a reviewer reads of the books, and what an operator does to them; `bursar backup` and `restore`.
//!
//! The running gateway answers. Where none runs, the command opens the books itself. Only `verify` needs neither: it
//! reads files and believes nothing else.

mod copies;
mod counter;
mod listing;
mod orders;
mod verify;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::Output;
use crate::books::desk::{Ask, Pairs, Subject};
use crate::config::load::Sources;
pub use copies::{backup, restore};

#[derive(Subcommand)]
pub enum AuditCommand {
    /// Say how the books are: size, root, last checkpoint, what is wrong
    Status {
        /// Form of the answer
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// List records, the latest first
    Search {
        #[command(flatten)]
        which: Box<Which>,
        /// How many at most
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// Only records before this index
        #[arg(long, value_name = "INDEX")]
        before: Option<u64>,
        /// Form of the list
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Show one record, and prove that it is in the log
    ///
    /// Exit code: 0 shown and proven, 1 not.
    Show {
        /// The record
        index: u64,
        /// The public key to verify with, or a file that holds it; the gateway's own word by default
        #[arg(long)]
        key: Option<String>,
        /// Form of the answer
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Print the prompt or answer that is kept beside a record
    Body {
        /// The record
        index: u64,
        /// Where to write; standard output by default
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Print a proof by Merkle hashes (RFC 9162) as JSON
    Proof {
        #[command(subcommand)]
        of: ProofOf,
    },
    /// Write part of the log to a folder that whoever receives it can verify
    Export(Box<orders::Export>),
    /// Verify an export, or a whole data directory, from its files alone
    ///
    /// Exit code: 0 sound, 1 something was changed, 2 asked wrongly, 3 something is missing, 4 a signature or the key does
    /// not fit, 5 older than the checkpoint that is trusted.
    Verify(verify::Verify),
    /// Sign the state of the log now, and print the checkpoint
    Checkpoint,
    /// Make the index again from the journal, and print the root
    Rebuild,
    /// Destroy what is kept of a user's prompts and answers; the records stay and go on verifying
    Erase(Whose),
    /// Keep a user's content from being erased, whoever asks
    Hold(Whose),
    /// End a legal hold
    Release {
        #[command(flatten)]
        user: User,
        /// Why
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// List legal holds
    Holds {
        /// Form of the list
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
}

#[derive(Subcommand)]
pub enum ProofOf {
    /// That a record is in the log
    Inclusion {
        /// The record
        index: u64,
        /// Of the log of this many records; those of the last checkpoint by default
        #[arg(long)]
        size: Option<u64>,
    },
    /// That the log of today begins with that of an earlier size
    Consistency {
        /// The earlier size
        old: u64,
        /// The later size; that of the last checkpoint by default
        #[arg(long)]
        size: Option<u64>,
    },
}

/// Which records. An option given twice takes either value.
#[derive(Args, Clone, Default)]
pub struct Which {
    /// From this time on: 2026-11-23, 2026-11-23T17:30:00Z, or how long ago: 2h, 7d
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Before this time
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Of a team
    #[arg(long)]
    team: Vec<String>,
    /// Of an end user, by the pseudonym in the records
    #[arg(long, value_name = "PSEUDONYM")]
    user: Vec<String>,
    /// Of an end user, by the name that requests give; with --team if there is one
    #[arg(long, value_name = "NAME")]
    user_name: Option<String>,
    /// Of a client key, by its id; or of socket, admin, offline
    #[arg(long, value_name = "ID")]
    key: Vec<String>,
    /// Served by this provider/model
    #[arg(long, value_name = "PROVIDER/MODEL")]
    model: Vec<String>,
    /// Asked for by this name
    #[arg(long, value_name = "NAME")]
    asked: Vec<String>,
    /// Served by this provider
    #[arg(long)]
    provider: Vec<String>,
    /// admitted, completed, abandoned, refused, auth, admin, config, export, review, erase, start, stop
    #[arg(long)]
    phase: Vec<String>,
    /// served, failed, cancelled, unknown; of orders: done, failed
    #[arg(long)]
    outcome: Vec<String>,
    /// Code of an error
    #[arg(long)]
    error: Vec<String>,
    /// chat, messages, audit.search, …
    #[arg(long)]
    action: Vec<String>,
    /// About one request, by its id
    #[arg(long, value_name = "ID")]
    request: Option<String>,
}

impl Which {
    /// Returns them as they stand in a query.
    fn pairs(&self) -> Pairs {
        let one =
            |name: &str, value: &Option<String>| value.iter().map(|value| (name.to_owned(), value.clone())).collect();
        let each =
            |name: &str, values: &[String]| values.iter().map(|value| (name.to_owned(), value.clone())).collect();
        let all: [Vec<_>; 14] = [
            one("from", &self.from),
            one("to", &self.to),
            each("team", &self.team),
            each("user", &self.user),
            one("user_name", &self.user_name),
            each("key", &self.key),
            each("model", &self.model),
            each("asked", &self.asked),
            each("provider", &self.provider),
            each("phase", &self.phase),
            each("outcome", &self.outcome),
            each("error", &self.error),
            each("action", &self.action),
            one("request", &self.request),
        ];
        all.concat()
    }
}

/// A user, by the name that requests give.
#[derive(Args)]
pub struct User {
    /// The team of the user's client key; none for requests without one
    #[arg(long, default_value = "")]
    team: String,
    /// The user's name, as in the field `user` of requests
    #[arg(long, value_name = "NAME")]
    user: String,
}

/// A user, and why.
#[derive(Args)]
pub struct Whose {
    #[command(flatten)]
    user: User,
    /// Why: it stands in the record
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

impl Whose {
    fn subject(self) -> Subject {
        subject(self.user, self.reason)
    }
}

fn subject(User { team, user }: User, reason: String) -> Subject {
    Subject { team, user, reason }
}

/// Runs one command.
pub fn run(command: AuditCommand, sources: &Sources, output: &mut dyn Write) -> io::Result<ExitCode> {
    match command {
        AuditCommand::Status { output: form } => listing::status(sources, form, output),
        AuditCommand::Search { which, limit, before, output: form } => {
            let page = listing::Page { pairs: which.pairs(), limit, before };
            listing::search(sources, page, form, output)
        }
        AuditCommand::Show { index, key, output: form } => listing::show(sources, index, key.as_deref(), form, output),
        AuditCommand::Body { index, out } => orders::body(sources, index, out, output),
        AuditCommand::Proof { of: ProofOf::Inclusion { index, size } } => {
            orders::print(sources, Ask::Inclusion { index, size }, output)
        }
        AuditCommand::Proof { of: ProofOf::Consistency { old, size } } => {
            orders::print(sources, Ask::Consistency { old, size }, output)
        }
        AuditCommand::Export(export) => orders::export(sources, *export, output),
        AuditCommand::Verify(what) => verify::run(&what, sources, output),
        AuditCommand::Checkpoint => orders::checkpoint(sources, output),
        AuditCommand::Rebuild => orders::rebuild(sources, output),
        AuditCommand::Erase(whose) => orders::erase(sources, whose.subject(), output),
        AuditCommand::Hold(whose) => orders::hold(sources, whose.subject(), output),
        AuditCommand::Release { user, reason } => orders::release(sources, subject(user, reason), output),
        AuditCommand::Holds { output: form } => listing::holds(sources, form, output),
    }
}
