//! `bursar backup` and `bursar restore`: the whole data directory, out and back.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use bursar_actors::audit::journal::RealDisk;
use bursar_actors::audit::restore::{self, Made, Restored};
use bursar_actors::audit::verify::{Outcome, Trusted, verify_log};
use serde_json::Value;

use super::super::complain;
use super::counter::{self, Teller};
use super::orders::absolute;
use crate::books::counted;
use crate::books::desk::Ask;
use crate::call::unix_us;
use crate::config::load::{Sources, data_path};

/// Copies the data directory to `folder` while it is being written.
pub fn backup(sources: &Sources, folder: &Path, output: &mut dyn Write) -> io::Result<ExitCode> {
    let folder = match absolute(sources, folder) {
        Ok(folder) => folder,
        Err(why) => return Ok(complain(why)),
    };
    match counter::json(sources, Ask::Backup { folder, beside: Vec::new() }) {
        Ok(copied) => {
            let number = |field: &str| copied[field].as_u64().unwrap_or_default();
            let folder = copied["folder"].as_str().unwrap_or_default();
            writeln!(
                output,
                "copied {} ({} bytes) to {folder}\nneither the keys of audit.keys_path nor the \
                 configuration are in it: keep copies of them elsewhere",
                counted(number("records"), "record", "records"),
                number("bytes"),
            )?;
            Ok(ExitCode::SUCCESS)
        }
        Err(failure) => Ok(failure.told()),
    }
}

/// Makes a data directory of the backup in `folder`, and verifies it.
pub fn restore(sources: &Sources, folder: &Path, output: &mut dyn Write) -> io::Result<ExitCode> {
    let to = sources.working_dir.join(sources.data.clone().unwrap_or_else(|| data_path(sources)));
    let from = sources.working_dir.join(folder);
    // Before anything is copied: what is damaged is not put in the place of what may still be good.
    let mut teller = Teller::default();
    let verified = verify_log(&from, &Trusted::default(), &mut |done, total| teller.tell("verifying", done, total));
    drop(teller);
    if let Outcome::Wrong(fault) = verified.outcome {
        return Ok(complain(format!(
            "{} is no sound copy of the books, and nothing was restored: {}",
            from.display(),
            fault.what
        )));
    }
    let now = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_micros(unix_us()));
    let origin = format!("restored {now} from {}", from.display());
    match restore::restore(&from, &to, &origin, &RealDisk) {
        Ok(Restored { bytes, made }) => {
            let report = verified.report;
            let root = report.root.map_or(Value::Null, |root| root.to_string().into());
            writeln!(
                output,
                "restored {} ({bytes} bytes) to {}\n  root  {}",
                counted(report.size, "record", "records"),
                to.display(),
                root.as_str().unwrap_or_default(),
            )?;
            for Made { what, file, records } in made {
                let records = records.map_or(format!("none, for there is no {file} in it"), |count| count.to_string());
                writeln!(output, "  {what}  {records}")?;
            }
            writeln!(
                output,
                "what was erased or revoked after the copy was made is there again: repeat what the newer log names"
            )?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => Ok(complain(error)),
    }
}
