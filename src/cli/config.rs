//! `bursar config show|schema|fmt`: what the settings are, what they may be, and how a file is laid out.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};

use super::list::{self, Column};
use super::{Output, complain};
use crate::config::fault::Faults;
use crate::config::files::Files;
use crate::config::json_schema::json_schema;
use crate::config::layout::laid_out;
use crate::config::load::{Sources, load};
use crate::config::settings::{Setting, settings};

const COLUMNS: [Column; 3] = [("SETTING", "path"), ("VALUE", "value"), ("ORIGIN", "origin")];

/// Whether a list says where each value came from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Origins {
    Shown,
    Hidden,
}

/// Whether files are written or only looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fmt {
    Write,
    Check,
}

/// Prints every setting with its value; secrets show as `…`. Returns 1 where the configuration has faults.
pub fn show(sources: &Sources, origins: Origins, form: Output, output: &mut dyn Write) -> io::Result<ExitCode> {
    let config = match load(sources) {
        Ok(config) => config,
        Err(faults) => return Ok(complain(format!("the configuration has faults\n{faults}"))),
    };
    let row = |setting: Setting| match origins {
        Origins::Shown => json!({ "path": setting.path, "value": setting.value, "origin": setting.origin }),
        Origins::Hidden => json!({ "path": setting.path, "value": setting.value }),
    };
    let rows: Vec<Value> = settings(&config).into_iter().map(row).collect();
    let columns = if origins == Origins::Shown { &COLUMNS[..] } else { &COLUMNS[..2] };
    list::write(&rows, columns, form, output)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the JSON Schema.
pub fn schema(output: &mut dyn Write) -> io::Result<ExitCode> {
    writeln!(output, "{:#}", json_schema())?;
    Ok(ExitCode::SUCCESS)
}

/// Puts the layout of `paths` in order, or of the files that would be read (but the machine's own) where none is named.
/// Returns 1 where a file is no TOML or, when only checking, would change.
pub fn fmt(sources: &Sources, paths: &[PathBuf], mode: Fmt, output: &mut dyn Write) -> io::Result<ExitCode> {
    let paths = if paths.is_empty() { own_files(sources) } else { paths.to_vec() };
    let mut code = ExitCode::SUCCESS;
    for path in paths {
        let whole = sources.working_dir.join(&path);
        let shown = whole.strip_prefix(&sources.working_dir).unwrap_or(&whole).display();
        let text = match std::fs::read_to_string(&whole) {
            Ok(text) => text,
            Err(error) => {
                code = complain(format!("{shown} cannot be read: {error}"));
                continue;
            }
        };
        match laid_out(&text) {
            Err(error) => code = complain(format!("{shown}: {error}")),
            Ok(ordered) if ordered == text => {}
            Ok(_) if mode == Fmt::Check => {
                writeln!(output, "{shown} would change")?;
                code = ExitCode::FAILURE;
            }
            Ok(ordered) => match replace(&whole, &ordered) {
                Ok(()) => writeln!(output, "{shown} put in order")?,
                Err(error) => code = complain(format!("{shown} cannot be written: {error}")),
            },
        }
    }
    Ok(code)
}

fn own_files(sources: &Sources) -> Vec<PathBuf> {
    let files = Files::read(sources, &mut Faults::default());
    files.watched.into_iter().filter(|path| *path != sources.system_file && path.is_file()).collect()
}

/// Writes beside the file and renames, so that a gateway that watches it never reads half of it.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let path = path.canonicalize()?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = std::fs::write(&beside, text)
        .and_then(|()| std::fs::set_permissions(&beside, std::fs::metadata(&path)?.permissions()))
        .and_then(|()| std::fs::rename(&beside, &path));
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written
}
