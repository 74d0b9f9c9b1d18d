//! What an operator orders: exports, checkpoints, erasures, legal holds; and raw content and proofs.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::super::complain;
use super::{Which, counter};
use crate::books::counted;
use crate::books::desk::{Ask, ExportOrder, Reply, Subject};
use crate::config::load::Sources;

#[derive(Args)]
pub struct Export {
    #[command(flatten)]
    which: Which,
    /// First record of the range, instead of --from
    #[arg(long, value_name = "INDEX")]
    start: Option<u64>,
    /// The record behind the last of the range, instead of --to
    #[arg(long, value_name = "INDEX")]
    end: Option<u64>,
    /// Tables to make besides the records: jsonl (always there), csv, ocsf, parquet; csv and ocsf by default
    #[arg(long, value_name = "FORMATS", value_delimiter = ',')]
    format: Vec<String>,
    /// The folder to make; the gateway writes it
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// What for: it stands in the manifest and in the log
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    /// Who wants it, likewise
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// With the prompts and answers that are kept, sealed as they are
    #[arg(long)]
    bodies: bool,
}

/// Makes an export and says what is in it and how to verify it.
pub fn export(sources: &Sources, export: Export, output: &mut dyn Write) -> io::Result<ExitCode> {
    let folder = match absolute(sources, &export.out) {
        Ok(folder) => folder,
        Err(why) => return Ok(complain(why)),
    };
    let Export { which, start, end, format: formats, why, by, bodies, .. } = export;
    let order = ExportOrder { folder, filter: which.pairs(), start, end, formats, bodies, by, why };
    let made = match counter::json(sources, Ask::Export(order)) {
        Ok(made) => made,
        Err(failure) => return Ok(failure.told()),
    };
    let text = |field: &str| made[field].as_str().unwrap_or_default();
    let number = |field: &str| made[field].as_u64().unwrap_or_default();
    writeln!(
        output,
        "exported {} of the records {} to {} to {}\n  files  {}\n  root   {} over {} records\n  key    {}\n  verify bursar audit \
         verify {} --key '{}'",
        number("matched"),
        number("start"),
        number("end").saturating_sub(1),
        text("folder"),
        made["files"].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        text("root"),
        number("size"),
        text("public_key"),
        text("folder"),
        text("public_key"),
    )?;
    Ok(ExitCode::SUCCESS)
}

/// Returns `path` as seen from where the command was given.
pub fn absolute(sources: &Sources, path: &Path) -> Result<PathBuf, String> {
    let joined = sources.working_dir.join(path);
    let whole =
        std::path::absolute(&joined).map_err(|error| format!("`{}` is no folder: {error}", joined.display()))?;
    if whole.to_str().is_none() {
        return Err(format!("`{}` is not in UTF-8; choose another name", whole.display()));
    }
    Ok(whole)
}

/// Writes the content of a body as it is.
pub fn body(sources: &Sources, index: u64, out: Option<PathBuf>, output: &mut dyn Write) -> io::Result<ExitCode> {
    let bytes = match counter::ask(sources, Ask::Body(index)) {
        Ok(Reply::Content { bytes, .. }) => bytes,
        Ok(Reply::Json(_)) => return Ok(complain("the answer is no content")),
        Err(failure) => return Ok(failure.told()),
    };
    let Some(path) = out else {
        output.write_all(&bytes)?;
        return Ok(ExitCode::SUCCESS);
    };
    // A prompt is nobody else's to read.
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
    match file.and_then(|mut file| file.write_all(&bytes)) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => Ok(complain(format!("cannot write {}: {error}", path.display()))),
    }
}

/// Prints the answer as it came.
pub fn print(sources: &Sources, ask: Ask, output: &mut dyn Write) -> io::Result<ExitCode> {
    told(counter::json(sources, ask), output, |answer| format!("{answer:#}"))
}

/// Prints the checkpoint, for whoever keeps it elsewhere.
pub fn checkpoint(sources: &Sources, output: &mut dyn Write) -> io::Result<ExitCode> {
    told(counter::json(sources, Ask::Checkpoint), output, |signed| {
        signed["checkpoint"].as_str().unwrap_or_default().trim_end().to_owned()
    })
}

/// Makes the index again.
pub fn rebuild(sources: &Sources, output: &mut dyn Write) -> io::Result<ExitCode> {
    told(counter::json(sources, Ask::Rebuild), output, |made| {
        format!(
            "the index was made again: {}, root {}",
            counted(made["size"].as_u64().unwrap_or_default(), "record", "records"),
            made["root"].as_str().unwrap_or_default()
        )
    })
}

/// Destroys a user's content.
pub fn erase(sources: &Sources, subject: Subject, output: &mut dyn Write) -> io::Result<ExitCode> {
    told(counter::json(sources, Ask::Erase(subject)), output, |erased| {
        let user = erased["user"].as_str().unwrap_or_default();
        let number = |field: &str| erased[field].as_u64().unwrap_or_default();
        let keys = counted(number("keys_destroyed"), "key", "keys");
        format!("erased {user}: {keys} destroyed, {} wiped", counted(number("bodies_wiped"), "body", "bodies"))
    })
}

/// Puts a user's content under a legal hold.
pub fn hold(sources: &Sources, subject: Subject, output: &mut dyn Write) -> io::Result<ExitCode> {
    told(counter::json(sources, Ask::Hold(subject)), output, |held| {
        format!("{} is under a legal hold", held["user"].as_str().unwrap_or_default())
    })
}

/// Ends a legal hold.
pub fn release(sources: &Sources, subject: Subject, output: &mut dyn Write) -> io::Result<ExitCode> {
    told(counter::json(sources, Ask::Release(subject)), output, |released| {
        format!("{} is under no legal hold any more", released["user"].as_str().unwrap_or_default())
    })
}

fn told(
    answer: Result<Value, counter::Failure>,
    output: &mut dyn Write,
    words: impl Fn(&Value) -> String,
) -> io::Result<ExitCode> {
    match answer {
        Ok(answer) => {
            writeln!(output, "{}", words(&answer))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(failure) => Ok(failure.told()),
    }
}
