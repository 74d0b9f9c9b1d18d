//! `bursar audit verify`: whether an export or a data directory is what was signed, from its files alone.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bursar_actors::audit::checkpoint::{SigningKey, VerifyingKey};
use bursar_actors::audit::verify::{Outcome, Signed, Trusted, Verification, verify_export, verify_log};
use clap::Args;
use serde_json::json;

use super::super::{Output, complain};
use super::counter::Teller;
use crate::config::load::{Sources, data_path, load};

/// Exit code for what was asked wrongly.
const EXIT_USAGE: u8 = 2;

#[derive(Args)]
pub struct Verify {
    /// A folder that was exported, or a data directory; the configured one by default
    path: Option<PathBuf>,
    /// The public key, or a file that holds it, from somebody you trust; without one an export's signature is held against
    /// the key that it names itself
    #[arg(long)]
    key: Option<String>,
    /// A file with a checkpoint of the same log that you have kept
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Form of the verdict
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Verifies and says what came of it.
pub fn run(what: &Verify, sources: &Sources, output: &mut dyn Write) -> io::Result<ExitCode> {
    let trusted = match trusted(what, sources) {
        Ok(trusted) => trusted,
        Err(why) => {
            complain(why);
            return Ok(ExitCode::from(EXIT_USAGE));
        }
    };
    let path = match &what.path {
        Some(path) => sources.working_dir.join(path),
        None => sources.working_dir.join(sources.data.clone().unwrap_or_else(|| data_path(sources))),
    };
    let mut teller = Teller::default();
    let mut progress = |done: u64, total: u64| teller.tell("verifying", done, total);
    let is_log = path.join("journal").is_dir();
    let verification =
        if is_log { verify_log(&path, &trusted, &mut progress) } else { verify_export(&path, &trusted, &mut progress) };
    drop(teller);
    match what.output {
        Output::Json => writeln!(output, "{:#}", as_json(&verification))?,
        Output::Csv | Output::Table => write!(output, "{}", in_words(&verification, &path))?,
    }
    Ok(ExitCode::from(verification.outcome.exit_code()))
}

fn trusted(what: &Verify, sources: &Sources) -> Result<Trusted, String> {
    let key = match &what.key {
        Some(text) => Some(read_key(text)?),
        None if what.path.is_none() => own_key(sources),
        None => None,
    };
    let read = |path: &PathBuf| {
        let path = sources.working_dir.join(path);
        let text = fs::read_to_string(&path);
        let text = text.map_err(|error| format!("cannot read the checkpoint {}: {error}", path.display()))?;
        // A note ends in one line break; what was copied by hand may end in any number.
        Ok::<_, String>(format!("{}\n", text.trim_end()))
    };
    Ok(Trusted { key, checkpoint: what.checkpoint.as_ref().map(read).transpose()? })
}

/// Returns the public half of the key with which this machine signs, where it can be read.
fn own_key(sources: &Sources) -> Option<VerifyingKey> {
    let audit = load(sources).ok()?.audit;
    let text = match &audit.signing_key {
        Some(key) => key.expose().to_owned(),
        None => fs::read_to_string(audit.keys_path.join("audit.ed25519")).ok()?,
    };
    SigningKey::parse(&text).map(|key| key.verifying())
}

/// Returns the public key that `text` is, or that the file of this name holds.
pub fn read_key(text: &str) -> Result<VerifyingKey, String> {
    let told = || VerifyingKey::parse(text).or_else(|| VerifyingKey::parse(&fs::read_to_string(text).ok()?));
    told().ok_or_else(|| {
        format!("`{text}` is no Ed25519 public key and no file with one; `bursar audit status` shows the gateway's")
    })
}

fn as_json(verification: &Verification) -> serde_json::Value {
    let Verification { outcome, report } = verification;
    let (what, index) = match outcome {
        Outcome::Sound => (None, None),
        Outcome::Wrong(fault) => (Some(&fault.what), fault.index),
    };
    let (signed, key) = match &report.signed {
        Signed::Unchecked => ("unchecked", None),
        Signed::Trusted(key) => ("trusted", Some(key)),
        Signed::Named(key) => ("named", Some(key)),
    };
    json!({
        "exit_code": outcome.exit_code(),
        "sound": *outcome == Outcome::Sound,
        "what": what,
        "index": index,
        "log": report.log,
        "start": report.start,
        "end": report.end,
        "records": report.records,
        "gaps": report.gaps,
        "bodies": report.bodies,
        "bodies_gone": report.bodies_gone,
        "checkpoints": report.checkpoints,
        "size": report.size,
        "root": report.root,
        "signed": signed,
        "key": key,
        "torn_bytes": report.torn_bytes,
    })
}

fn in_words(verification: &Verification, path: &Path) -> String {
    let Verification { outcome, report } = verification;
    if let Outcome::Wrong(fault) = outcome {
        let at = fault.index.map(|index| format!(" (record {index})")).unwrap_or_default();
        return format!("WRONG: {}: {}{at}\n", path.display(), fault.what);
    }
    let root = report.root.map(|root| root.to_string()).unwrap_or_default();
    let mut words = format!(
        "sound: {}\n  records      {} of {} to {}; {} left out or retired\n  bodies       {}; {} erased or retired\n  \
         checkpoints  {}\n  root         {root} over {} records\n",
        path.display(),
        report.records,
        report.start,
        report.end.saturating_sub(1),
        report.gaps,
        report.bodies,
        report.bodies_gone,
        report.checkpoints,
        report.size,
    );
    words += &match &report.signed {
        Signed::Trusted(key) => format!("  signed with  {key}\n"),
        Signed::Named(key) => {
            format!("  signed with  {key}, which it names itself: compare it with the gateway's, or give --key\n")
        }
        Signed::Unchecked => "  signed with  not checked: give --key\n".to_owned(),
    };
    words
}
