//! Which files are read, in which order, and how their lists join.
//!
//! The order is the machine's own file, then `./bursar.toml` or the files of `--config`; behind the last file of each
//! folder come the `*.toml` of its `conf.d`, by name. Values and plain lists of a later file replace earlier ones. Lists
//! of tables with an `id` (client keys, provider keys, endpoints) join, so that each file of `conf.d` can bring its own.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::fault::{Fault, Faults};
use super::layer::{Layer, child, read};
use super::load::Sources;
use super::schema::{Shape, schema};

/// The folder beside a file that holds more of the same.
const MORE: &str = "conf.d";

/// What was read.
#[derive(Default)]
pub struct Files {
    pub layers: Vec<Layer>,
    /// Names of the files that were there, for the banner.
    pub names: Vec<String>,
    /// Every file and `conf.d` that was looked for: a change of any of them may change the configuration.
    pub watched: Vec<PathBuf>,
    /// Whether a file is missing or could not be parsed.
    pub incomplete: bool,
    lists: Vec<(String, Vec<Value>)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Must {
    Exist,
    Maybe,
}

impl Files {
    /// Reads everything that `sources` name. What is wrong goes to `faults`.
    pub fn read(sources: &Sources, faults: &mut Faults) -> Self {
        let mut files = Self::default();
        let mut wanted = vec![(sources.system_file.clone(), Must::Maybe)];
        if sources.files.is_empty() {
            wanted.push((PathBuf::from("bursar.toml"), Must::Maybe));
        }
        wanted.extend(sources.files.iter().map(|path| (path.clone(), Must::Exist)));
        let folders: Vec<PathBuf> = wanted.iter().map(|(path, _)| folder_of(&sources.working_dir.join(path))).collect();
        let mut there = vec![false; wanted.len()];
        for (index, (path, must)) in wanted.iter().enumerate() {
            there[index] = files.one(path, *must, sources, faults);
            let here = |(other, folder): (usize, &PathBuf)| (*folder == folders[index]).then_some(other);
            let same: Vec<usize> = folders.iter().enumerate().filter_map(here).collect();
            if same.last() == Some(&index) {
                let main = same.iter().any(|other| there[*other]);
                files.more(&folders[index].join(MORE), main, sources, faults);
            }
        }
        files
    }

    /// Reads the files of a `conf.d`, if the file that it stands beside exists.
    fn more(&mut self, folder: &Path, main: bool, sources: &Sources, faults: &mut Faults) {
        self.watched.push(folder.to_owned());
        if !main {
            return;
        }
        match toml_files(folder) {
            Ok(paths) => {
                for path in paths {
                    self.one(&path, Must::Exist, sources, faults);
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                let name = display_name(folder, &sources.working_dir);
                faults.push(Fault::error(format!("{name} cannot be read: {error}")));
                self.incomplete = true;
            }
        }
    }

    /// Reads one file; returns whether it is there.
    fn one(&mut self, path: &Path, must: Must, sources: &Sources, faults: &mut Faults) -> bool {
        let whole = sources.working_dir.join(path);
        let name = display_name(&whole, &sources.working_dir);
        let read_text = std::fs::read_to_string(&whole);
        self.watched.push(whole);
        match read_text {
            Ok(text) => {
                match read(&name, self.names.len(), text.trim_start_matches('\u{feff}'), faults) {
                    Some(mut layer) => {
                        self.join(&mut layer);
                        self.layers.push(layer);
                    }
                    None => self.incomplete = true,
                }
                self.names.push(name);
                true
            }
            Err(error) if must == Must::Maybe && error.kind() == ErrorKind::NotFound => false,
            Err(error) => {
                faults.push(Fault::error(format!("{name} cannot be read: {error}")));
                self.incomplete = true;
                false
            }
        }
    }

    /// Puts what earlier files say in lists that join before what `layer` says there.
    fn join(&mut self, layer: &mut Layer) {
        let mut found = Vec::new();
        joining_lists(&mut layer.table, schema(), "", &mut found);
        for (path, list) in found {
            match self.lists.iter_mut().find(|(known, _)| *known == path) {
                Some((_, before)) => {
                    layer.origins.shift(&path, before.len());
                    before.append(list);
                    *list = before.clone();
                }
                None => self.lists.push((path, list.clone())),
            }
        }
    }
}

/// Collects the lists of tables with an `id`, with their paths.
fn joining_lists<'t>(table: &'t mut Table, shape: &Shape, path: &str, found: &mut Vec<(String, &'t mut Vec<Value>)>) {
    for (key, value) in table.iter_mut() {
        let inner = match shape {
            Shape::Table(keys) => keys.get(key.as_str()),
            Shape::Map(item) => Some(&**item),
            _ => None,
        };
        let here = child(path, key);
        match (inner, value) {
            (Some(Shape::List(item)), Value::Array(list)) if has_id(item) => found.push((here, list)),
            (Some(inner), Value::Table(table)) => joining_lists(table, inner, &here, found),
            _ => {}
        }
    }
}

/// Returns whether a list of such items joins.
fn has_id(item: &Shape) -> bool {
    matches!(item, Shape::Table(keys) if keys.contains_key("id"))
}

/// Returns the `*.toml` of `folder` by name. Those that start with a dot are an editor's or Kubernetes' own.
pub fn toml_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn folder_of(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new(".")).to_owned()
}

/// Returns `path` as the operator would write it.
fn display_name(path: &Path, working_dir: &Path) -> String {
    let path = path.strip_prefix(working_dir).unwrap_or(path);
    path.strip_prefix(".").unwrap_or(path).display().to_string()
}
