//! `bursar catalog build`: makes the shipped file of prices and abilities again, out of its two sources.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::complain;
use crate::providers::catalog::build::build;

/// Where a build reads and writes.
pub struct Files<'f> {
    pub litellm: &'f Path,
    pub genai: &'f Path,
    /// Standard output where none is named.
    pub out: Option<&'f PathBuf>,
}

/// Builds the catalog of `day` and writes it; what was left out and why goes to standard error.
pub fn run(files: &Files<'_>, day: &str, output: &mut dyn Write) -> io::Result<ExitCode> {
    if !is_day(day) {
        return Ok(complain(format!("`{day}` is no day; write for example 2026-11-23")));
    }
    let read = |path: &Path| std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()));
    let built = read(files.litellm).and_then(|litellm| build(&litellm, &read(files.genai)?, day));
    let built = match built {
        Ok(built) => built,
        Err(message) => return Ok(complain(message)),
    };
    let written = match files.out {
        Some(path) => std::fs::write(path, &built.text).map_err(|error| format!("{}: {error}", path.display())),
        None => return output.write_all(built.text.as_bytes()).map(|()| say(&built.report)),
    };
    Ok(match written {
        Ok(()) => say(&built.report),
        Err(message) => complain(message),
    })
}

fn say(report: &dyn std::fmt::Display) -> ExitCode {
    let _ = write!(io::stderr(), "{report}");
    ExitCode::SUCCESS
}

fn is_day(text: &str) -> bool {
    let form = "0000-00-00";
    let fits = |(byte, form): (u8, u8)| if form == b'0' { byte.is_ascii_digit() } else { byte == form };
    text.len() == form.len() && text.bytes().zip(form.bytes()).all(fits)
}
